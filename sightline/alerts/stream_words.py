"""A stream as a sentence: what is watched, and how it moved, for people who did not write the engine."""

from __future__ import annotations

from dataclasses import dataclass

from metrics_py.wording import number, percent
from sightline.spec.plan import AUDITED_AS
from sightline.spec.stretches import split

ROLES = {
    "@score": "the model's score",
    "@prediction": "the prediction",
    "@label": "the label",
    "@features": "the features together",
}
ACRONYMS = {
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "mape": "MAPE",
    "r2": "R²",
    "smape": "sMAPE",
}


@dataclass(frozen=True)
class _Statistic:
    """What a statistic measures; `unit` is ``share``, or follows the number."""

    phrase: str
    unit: str = ""


STATISTICS = {
    "location": _Statistic("the mean", "standard deviations from the reference's"),
    "spread": _Statistic("the spread", "times the reference's"),
    "skew": _Statistic("the skew of its values against the reference's"),
    "tails": _Statistic("the weight of its extreme values against the reference's"),
    "log_psi": _Statistic("the distance from the reference (PSI)"),
    "correlation_distance": _Statistic("the distance of their correlations from the reference's"),
    "rff_distance": _Statistic("the joint distance from the reference (MMD)"),
    "pca_error": _Statistic(
        "the error of their reconstruction from the reference's components", "times the reference's"
    ),
    "domain_auc": _Statistic("how well a classifier tells the rows from the reference's (area under the curve)"),
    "norm": _Statistic("the mean norm of the vectors"),
    "centroid_distance": _Statistic("the distance of the mean vector from the reference's"),
    "hotelling": _Statistic("the distance of the mean vector in usual days (Hotelling's T² per dimension)"),
    "wrong_dimension_rate": _Statistic("the share of vectors of another dimension", "share"),
    "zero_vector_rate": _Statistic("the share of zero vectors", "share"),
    "duplicate_rate": _Statistic("the share of vectors that repeat another one", "share"),
    "no_vector_rate": _Statistic("the share of texts without a vector", "share"),
    "word_distance": _Statistic("the distance of its words from the reference's"),
    "unknown_word_share": _Statistic("the share of words that the reference does not know", "share"),
    "duplicate_text_rate": _Statistic("the share of texts that repeat another one of the window", "share"),
    "near_duplicate_text_rate": _Statistic("the share of texts that nearly repeat another one of the window", "share"),
    "reference_copy_rate": _Statistic("the share of texts that repeat one of the reference", "share"),
    "null_rate": _Statistic("the share of missing values", "share"),
    "not_finite_rate": _Statistic("the share of values that are no finite numbers", "share"),
    "out_of_range_rate": _Statistic("the share of values outside of the reference's range", "share"),
    "unseen_rate": _Statistic("the share of values that the reference does not hold", "share"),
    "contract_rate": _Statistic("the share of values that break the contract", "share"),
    "n_rows": _Statistic("the number of predictions"),
    "rejected_rate": _Statistic("the share of rejected rows", "share"),
    "error_rate": _Statistic("the share of failed calls", "share"),
    "latency_p95_ms": _Statistic("the latency that 5 % of calls exceed", "ms"),
    "labelled_rate": _Statistic("the share of predictions with a label", "share"),
    "label_arrivals": _Statistic(
        "the labels that came in a window, whatever they belong to", "times as many as expected"
    ),
    "positive_rate": _Statistic("the share of positives", "share"),
}


def parts(stream: str) -> tuple[str, str, str]:
    """Asset, column (empty without one) and statistic of a stream's name.

    Parameters
    ----------
    stream : str
        ``<asset>/<column>/<statistic>`` or ``<asset>/<statistic>``.

    Examples
    --------
    >>> parts("drift/visib/atom_rate:10"), parts("data_quality/n_rows"), parts("drift/a/b/skew")
    (('drift', 'visib', 'atom_rate:10'), ('data_quality', '', 'n_rows'), ('drift', 'a/b', 'skew'))
    """
    asset, _, rest = stream.partition("/")
    column, _, statistic = rest.rpartition("/")
    return asset, column, statistic


def stream_words(
    stream: str, before: float | None = None, after: float | None = None, extreme: float | None = None
) -> str:
    """What a stream watches and, where its levels are known, how it moved.

    Parameters
    ----------
    stream : str
        Name of the stream.
    before, after : float, optional
        Displayed levels before and after the change.
    extreme : float, optional
        Displayed value farthest from `before` since the change; told where both levels read the same.

    Returns
    -------
    str
        Without the technical name.

    Examples
    --------
    >>> stream_words("drift/visib/atom_rate:10", 0.88, 0.4)
    'visib: the share of rows at exactly 10 fell from 88 % to 40 %'
    >>> stream_words("model_quality/roc_auc", 0.8123, 0.7)
    'ROC AUC fell from 0.8123 to 0.7'
    >>> stream_words("drift/@score/spread", 1.0, 1.5)
    "the model's score: the spread rose from 1 to 1.5 times the reference's"
    >>> stream_words("drift/age/spread", 1.0, None)
    "age: the spread changed, by how much is not known: too many values lie beyond the reference's range"
    >>> stream_words("data_quality/temp/null_rate", 0.0, 0.0, 0.34)
    'temp: the share of missing values, usually 0 %, was 34 % in one window'
    >>> stream_words("model_quality/estimation_error_roc_auc", 0.0, -0.1)
    'the realised ROC AUC minus the estimated one fell from 0 to -0.1'
    >>> stream_words("data_quality/n_rows")
    'the number of predictions'
    >>> stream_words("data_quality/carrier/unseen_rate@7d", 0.0, 0.12)
    'carrier: the share of values that the reference does not hold, over 7 days, rose from 0 % to 12 %'
    >>> stream_words("model_quality/roc_auc@28d", 0.8, 0.7)
    'ROC AUC of the last 28 days fell from 0.8 to 0.7'
    """
    name, long = split(stream)
    _, column, statistic = parts(name)
    known = _statistic(statistic)
    subject = f"{ROLES.get(column, column)}: {known.phrase}" if column else known.phrase
    if long and column:
        subject += f", over {long}{'' if before is None or after is None else ','}"
    elif long:
        subject += f" of the last {long}"
    if statistic == "spread" and before is not None and after is None:
        return f"{subject} changed, by how much is not known: too many values lie beyond the reference's range"
    if before is None or after is None:
        return subject
    first, last = (percent(x) if known.unit == "share" else number(x) for x in (before, after))
    unit = f" {known.unit}" if known.unit and known.unit != "share" else ""
    if first == last:
        peak = last if extreme is None else percent(extreme) if known.unit == "share" else number(extreme)
        return (
            f"{subject} stays near {last}{unit}"
            if peak == last
            else (f"{subject}, usually {last}{unit}, was {peak}{unit} in one window")
        )
    return f"{subject} {'rose' if after > before else 'fell'} from {first} to {last}{unit}"


def _statistic(name: str) -> _Statistic:
    kind, _, value = name.partition(":")
    if kind == "atom_rate":
        exactly = f"its frequent value {value}" if value.startswith("#") else f"exactly {value}"
        return _Statistic(f"the share of rows at {exactly}", "share")
    if name in STATISTICS:
        return STATISTICS[name]
    metric = name.removeprefix(AUDITED_AS)
    words = ACRONYMS.get(metric, metric.replace("_", " "))
    return _Statistic(words if metric == name else f"the realised {words} minus the estimated one")
