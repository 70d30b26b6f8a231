"""Quality of a classifier with several classes before any label has come: `metrics_py.estimation.cbpe`, class by class.

A row that is decided to be of a class is of it as often as rows of this score that were decided so in the reference,
and of another class as often as rows of that one's score that were not. It assumes that this has not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.calibration import N_SCORE_BINS
from metrics_py.estimation.cbpe import ESTIMATE_SCHEMA, MIN_DECIDED, MIN_REFERENCE, MOST_BLURRED, MOST_UNSEEN, Z95
from metrics_py.estimation.class_calibration import ClassCalibrations
from metrics_py.estimation.class_expectations import aggregates_of, dense_sums, evaluate, own_classes
from metrics_py.estimation.dispersion import FEWEST_WINDOWS
from metrics_py.quality.definition import QualityMetric
from metrics_py.quality.multiclass_metrics import MULTICLASS
from metrics_py.quality.probabilities import improper_words
from metrics_py.reasons import ReasonCode

FloatArray = NDArray[np.float64]

PRECISION = "precision_macro"
ALIKE = (PRECISION, "recall_macro", "f1_macro", "specificity_macro", "balanced_accuracy", "roc_auc_macro")
"""Metrics in which a class of few rows counts as much as one of many."""

ESTIMATED = (
    *ALIKE,
    "accuracy",
    *(f"{name}_{average}" for name in ("precision", "recall", "f1") for average in ("micro", "weighted")),
    "log_loss",
    "brier",
)
"""Metrics that are estimated. Those of calibration are as in the reference by construction."""

ASSUMED = "estimated without labels: assumes P(y | score, decision) of each class as in the reference"
MIN_EXPECTED = 10
"""Rows of a class that are expected here at least: of fewer it is chance whether the class occurs."""

MOST_UNSCORED = 0.001
"""Share of labelled reference rows of classes without a score, from which on nothing is estimated."""


def estimated_metrics(more: Sequence[QualityMetric] = ()) -> list[QualityMetric]:
    """Definitions of the metrics that are estimated.

    Parameters
    ----------
    more : sequence of QualityMetric, optional
        Metrics of the decisions besides `ESTIMATED`, such as the business value.

    Returns
    -------
    list of QualityMetric
        In the order of the registry, `more` last.
    """
    return [*(metric for metric in MULTICLASS if metric.name in ESTIMATED), *more]


def estimate(
    scores: pl.DataFrame,
    model: ClassCalibrations,
    *,
    min_rows: int,
    by: Sequence[str],
    more: Sequence[QualityMetric] = (),
) -> pl.DataFrame:
    """Estimated quality with intervals for the realised value, one row per group and metric.

    Parameters
    ----------
    scores : DataFrame
        `by`, then ``predicted_class, class_name, score_bin, n, sum_log_loss, sum_score, sum_squared_score`` of all rows
        with a score of every class (the mart `class_score_bins`). Where ``n_improper``, how many of them do not sum to
        1, is not 0 (or null), neither log loss nor Brier score is told.
    model : ClassCalibrations
        Of the reference.
    min_rows : int
        Fewer rows give ``insufficient_data``.
    by : sequence of str
        Key columns.
    more : sequence of QualityMetric, optional
        Metrics of the decisions besides `ESTIMATED`, of confusion matrices of the model's classes in their order.

    Returns
    -------
    DataFrame
        `by`, ``metric, value, ci_low, ci_high, n, status, reason, reason_code, variance``. The interval is one of
        95 % for the value that all labels will give; a value that is not told has none.

    Notes
    -----
    The expected confusion matrix holds, for rows decided to be of c, ``sum_b n_ccb p_c(b | decided)`` on its diagonal
    and ``sum_b n_ckb p_k(b | not decided)`` beside it; the latter are scaled, so that all rows of c are of some class.
    Both errors are as in `metrics_py.estimation.cbpe.estimate`, with the probabilities of all classes taken as
    independent; the derivatives go through the scaling.

    Metrics that count all classes alike are not told where a class has too few rows: decided so in the reference, or
    expected here; nor is their precision where one is decided too rarely here. A class that the reference lacks, and
    that is never decided here, is none.

    References
    ----------
    Kivimaki, Bialek, Nurminen & Kuberski (2025), arXiv:2505.05295.
    """
    keys = list(by)
    groups = scores.select(keys).unique().sort(keys).with_row_index("_group")
    cells = scores.join(groups, on=keys, nulls_equal=True)
    names, metrics = _names(cells, model), estimated_metrics(more)
    improper = _improper(cells, model)
    rows: list[tuple[Any, ...]] = []
    for first, dense in dense_sums(cells, len(groups), names, model):
        found = evaluate(dense, model, metrics)
        n, unseen = dense[0, :, :, 0].sum(axis=(1, 2)), _unseen(dense[0], model)
        few = [_rare(dense[0, k], found.expected[k], model) for k in range(len(n))]
        few_decided = [_rarely_decided(dense[0, k], model) for k in range(len(n))]
        for metric in metrics:
            least, most = metric.range
            variance, (below, above) = found.variance(metric.name, with_calibration=True), found.blurs[metric.name]
            half, value = Z95 * np.sqrt(variance), found.values[metric.name]
            low, high = np.maximum(value - half - below, least), np.minimum(value + half + above, most)
            for k in range(len(n)):
                finite = bool(np.isfinite(low[k] + high[k]))
                told = _state(int(n[k]), unseen[k], model, min_rows) or _of_metric(
                    metric, finite, float(below[k] + above[k]), few[k], few_decided[k]
                )
                off = improper.get(first + k, 0) if metric.needs_probabilities else 0
                told = told or (_no_probabilities(off) if off else ("ok", ASSUMED, "estimated"))
                numbers = (value[k], low[k], high[k]) if told[0] == "ok" else (None,) * 3
                more_variance = variance[k] if told[0] == "ok" else None
                rows.append((first + k, metric.name, *numbers, int(n[k]), *told, more_variance))
    table = pl.DataFrame(rows, schema={"_group": pl.UInt32, **ESTIMATE_SCHEMA}, orient="row")
    return groups.join(table, on="_group").drop("_group").sort([*keys, "metric"])


def between_windows(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    model: ClassCalibrations,
    *,
    min_rows: int,
    more: Sequence[QualityMetric] = (),
) -> Mapping[str, float] | None:
    """Variance of each metric between windows, beyond that of independent outcomes.

    Parameters
    ----------
    scores : DataFrame
        ``window_start`` and the columns of `estimate`, of the reference's windows.
    labels : DataFrame
        ``window_start, predicted_class, class_name, score_bin, is_positive, n`` of their labelled rows (the mart
        `class_label_bins`).
    model : ClassCalibrations
        Learnt from these labels.
    min_rows : int
        Windows with fewer labelled rows tell nothing.
    more : sequence of QualityMetric, optional
        As of `estimate`.

    Returns
    -------
    mapping of metric name to variance, or None
        Not below 0. None with fewer than `metrics_py.estimation.dispersion.FEWEST_WINDOWS` windows.

    Notes
    -----
    Mean over the windows of the squared difference of realised and expected metric, less the variance that independent
    outcomes have. Labelled rows of a cell are taken to have the mean score of all of its rows.

    References
    ----------
    DerSimonian & Laird (1986), Controlled Clinical Trials 7:177.
    """
    known = labels.filter(class_name=model.classes[0]).group_by("window_start").agg(pl.col("n").sum())
    known = known.filter(pl.col("n") >= min_rows).join(
        scores.select("window_start").unique(), on="window_start", how="semi"
    )
    if len(known) < FEWEST_WINDOWS:
        return None
    index = known.sort("window_start").select("window_start").with_row_index("_group")
    of_scores = scores.join(index, on="window_start")
    of_labels = labels.drop_nulls().join(index, on="window_start")
    names, metrics = _names(pl.concat([of_scores, of_labels], how="diagonal"), model), estimated_metrics(more)
    hits = of_labels.filter("is_positive")
    off: dict[str, list[FloatArray]] = {metric.name: [] for metric in metrics}
    parts = (dense_sums(frame, len(index), names, model) for frame in (of_scores, of_labels, hits))
    for (_, all_rows), (_, labelled), (_, positive) in zip(*parts, strict=True):
        means = all_rows[1:] / np.maximum(all_rows[0], 1.0)
        found = evaluate(_of_means(labelled[0], means), model, metrics)
        realised = aggregates_of(_of_means(positive[0], means), _of_means(labelled[0], means))
        for metric in metrics:
            with np.errstate(invalid="ignore", divide="ignore"):
                told = metric.value(realised if metric in MULTICLASS else own_classes(realised, model))[:, 0]
                apart = (told - found.values[metric.name]) ** 2
            off[metric.name].append(apart - found.variance(metric.name, with_calibration=False))
    more_than_chance = {name: np.concatenate(parts) for name, parts in off.items()}
    return {
        name: max(float(values[np.isfinite(values)].mean()), 0.0)
        for name, values in more_than_chance.items()
        if np.isfinite(values).sum() >= FEWEST_WINDOWS
    }


def _of_means(n: FloatArray, means: FloatArray) -> FloatArray:
    return np.concatenate([n[None], n * means])


def _improper(cells: pl.DataFrame, model: ClassCalibrations) -> dict[int, int]:
    """Rows whose class scores do not sum to 1, by group; a table of an earlier release does not tell."""
    if "n_improper" not in cells.columns:
        return {}
    each_once = cells.filter(class_name=model.classes[0]).group_by("_group").agg(pl.col("n_improper").sum())
    return dict(each_once.iter_rows())


def _no_probabilities(n: int) -> tuple[str, str, ReasonCode]:
    return "insufficient_data", improper_words({"": n}), "improper_scores"


def _names(cells: pl.DataFrame, model: ClassCalibrations) -> list[str]:
    """Decided classes: those with a score, in their order, then others."""
    decided = cells["predicted_class"].drop_nulls().unique().sort().to_list()
    return [*model.classes, *(name for name in decided if name not in model.classes)]


def _unseen(n: FloatArray, model: ClassCalibrations) -> FloatArray:
    """Share of the rows whose decision, or whose score of it, lies beyond those of the reference, by group."""
    bins, lost = np.arange(N_SCORE_BINS), n[:, len(model.classes) :, 0].sum(axis=(1, 2))
    for k in range(len(model.classes)):
        seen = np.flatnonzero(model.sides[k, True].rows)
        outside = (bins < seen[0]) | (bins > seen[-1]) if model.n_decided[k] else np.ones(N_SCORE_BINS, dtype=bool)
        lost = lost + n[:, k, k, outside].sum(axis=1)
    return lost / np.maximum(n[:, :, 0].sum(axis=(1, 2)), 1.0)


def _rare(n: FloatArray, expected: FloatArray, model: ClassCalibrations) -> str | None:
    """Which class has too few rows to count as much as others; `n` is by decision, class and score bin."""
    for k, name in enumerate(model.classes):
        here, decided = n[k, k].sum(), model.n_decided[k]
        if here and decided < MIN_DECIDED:
            return f"{decided:.0f} labelled reference rows were predicted {name}, {MIN_DECIDED} needed"
        if (here or model.n_actual[k]) and expected[k] < MIN_EXPECTED:
            return f"{expected[k]:.3g} rows are expected to be {name}, {MIN_EXPECTED} needed"
    return None


def _rarely_decided(n: FloatArray, model: ClassCalibrations) -> str | None:
    """Which class is decided too rarely for a precision of its own; `n` is by decision, class and score bin."""
    for k, name in enumerate(model.classes):
        here = n[k, k].sum()
        if model.n_decided[k] and here < MIN_EXPECTED:
            return f"{here:.0f} rows were predicted {name}, {MIN_EXPECTED} needed"
    return None


def _state(n: int, unseen: float, model: ClassCalibrations, min_rows: int) -> tuple[str, str, ReasonCode] | None:
    """Status, reason and its code where there is no estimate of any metric."""
    if n < min_rows:
        return "insufficient_data", f"{n} rows, {min_rows} needed", "too_few_rows"
    if model.n < MIN_REFERENCE:
        needed = f"{MIN_REFERENCE} needed to know the calibration"
        return "insufficient_data", f"{model.n:,} labelled rows in the reference, {needed}", "too_few_rows"
    if model.unscored > MOST_UNSCORED:
        other = f"{100 * model.unscored:.3g} % of the labelled reference rows are of classes without a score"
        return "insufficient_data", other, "not_identifiable"
    if unseen > MOST_UNSEEN:
        beyond = f"{100 * unseen:.3g} % of the decisions or their scores lie beyond those of the reference"
        return "insufficient_data", beyond, "not_identifiable"
    return None


def _of_metric(
    metric: QualityMetric, is_finite: bool, blur: float, few: str | None, few_decided: str | None
) -> tuple[str, str, ReasonCode] | None:
    """As `_state`, of one metric."""
    if metric.name in ALIKE and few:
        return "insufficient_data", few, "too_few_rows"
    if metric.name == PRECISION and few_decided:
        return "insufficient_data", few_decided, "too_few_rows"
    if not is_finite:
        return "insufficient_data", metric.undefined, "undefined"
    span = metric.range[1] - metric.range[0]
    if np.isfinite(span) and blur > MOST_BLURRED * span:
        wide = f"{N_SCORE_BINS} score bins are too wide for these scores"
        return "insufficient_data", f"{wide}: they leave open {blur:.2g} of the value", "not_identifiable"
    return None
