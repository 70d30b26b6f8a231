"""Model quality straight from labelled rows.

The same aggregates as the warehouse's marts, and the same table of results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import polars as pl

from metrics_py.class_names import ClassNames, binary_classes, class_text, several_classes
from metrics_py.intervals import N_BUCKETS
from metrics_py.profile.resolution import decision_threshold
from metrics_py.profile.values import categories_of, read_classes
from metrics_py.quality.areas import areas_of_scores, exact_values
from metrics_py.quality.probabilities import is_improper
from metrics_py.quality.ranking import K, ranking_table
from metrics_py.quality.score_histograms import N_SCORE_BINS
from metrics_py.quality.table import quality_table

SMALLEST_PROBABILITY = 1e-15
LARGEST = 1e145
"""Squares of this, added up over any table, are finite."""
KEYS = ("_all", "bucket")
TASKS = ("binary_classification", "multiclass_classification", "regression", "ranking")


KNOWN = pl.DataFrame({"_all": ["all"], "n_labelled": [0]})


@dataclass(frozen=True)
class Roles:
    """Which columns hold the truth and the model's output.

    Attributes
    ----------
    task : str
        binary_classification, multiclass_classification, regression or ranking.
    label : str
        Column with the truth (ranking: the relevance, 0 and more); rows without it do not count.
    score : str, optional
        Binary: column with P(positive). Ranking: column with the score, highest first.
    prediction : str, optional
        Column with the predicted class or value; binary default: score >= `threshold`, multiclass: the most probable
        class.
    class_scores : mapping of class to column
        Multiclass: columns with the probability of each class.
    classes : tuple of str, default ()
        Multiclass: all classes; default: those of `class_scores`, else every name but words for no answer (``unknown``,
        ``N/A``, ``?``). A label that is none of them is left out, and the reason says how many.
    positive : str, default "1"
        The positive class; 1, 1.0, ``"1.0"`` and ``True`` are one (`metrics_py.class_names`).
    negative : tuple of str, default ()
        What counts as negative; default: the counterpart of 1, true, yes (or 0, false, no), and every other class if
        `positive` has none. A label that is neither is left out, and the reason says how many.
    threshold : float, default 0.5
        Score at and above which the decision is positive.
    entity : str, optional
        Rows of one entity stay in one jackknife bucket (ranking: its queries); default: every row by itself (ranking:
        the rows of a query).
    query : str, optional
        Ranking: column that tells which rows are ranked together.
    k : int, default 10
        Ranking: places that are looked at.
    """

    task: str
    label: str
    score: str | None = None
    prediction: str | None = None
    class_scores: Mapping[str, str] = field(default_factory=dict[str, str])
    classes: tuple[str, ...] = ()
    positive: str = "1"
    negative: tuple[str, ...] = ()
    threshold: float = 0.5
    entity: str | None = None
    query: str | None = None
    k: int = K

    @property
    def columns(self) -> list[str]:
        """All columns that are named."""
        named = (self.label, self.score, self.prediction, self.entity, self.query)
        return [name for name in (*named, *self.class_scores.values()) if name]

    @property
    def class_names(self) -> ClassNames:
        """How the classes may be spelled."""
        if self.task == "binary_classification":
            return binary_classes(self.positive, self.negative)
        return several_classes([*self.class_scores, *map(class_text, self.classes)])


def quality_of_rows(rows: pl.DataFrame, roles: Roles, *, min_labels: int = 100) -> pl.DataFrame:
    """Quality with 95 % intervals from rows that hold label and model output.

    Parameters
    ----------
    rows : DataFrame
        One row per prediction.
    roles : Roles
        Columns.
    min_labels : int, default 100
        Fewer labelled rows (ranking: queries): insufficient_data.

    Returns
    -------
    DataFrame
        ``metric, value, ci_low, ci_high, n, status, reason, ...`` as `quality_table`, without keys.

    Raises
    ------
    ValueError
        If a column is missing, a probability lies outside [0, 1], or the task lacks the columns it needs.

    Notes
    -----
    Rows are reduced to the aggregates of the warehouse's marts: confusion matrix, histograms of 256 score bins, sums,
    in 64 buckets hashed from the entity (or the position of the row). So values agree with `quality_table` on the same
    rows, and intervals are as wide as the dependence within entities asks for. Areas (ROC AUC, average precision) are
    those of the scores themselves. Without `Roles.entity` every row counts as independent: with
    several rows per user intervals are too narrow.

    Rows without a label do not count. If labels come sooner for some rows than for others, quality of the labelled rows
    is not that of all.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 11. Wilson (1927), JASA 22:209. Franco, Little,
    Louis & Slud (2019), JSSAM 7:334. DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837.

    Examples
    --------
    Four of six decisions are right, and 8 of the 9 pairs of a positive and a negative row are in the right order:

    >>> rows = pl.DataFrame({"score": [0.9, 0.8, 0.7, 0.4, 0.3, 0.2], "label": [1, 1, 0, 1, 0, 0]})
    >>> found = quality_of_rows(rows, Roles("binary_classification", "label", score="score"), min_labels=6)
    >>> chosen = found.filter(pl.col("metric").is_in(["accuracy", "roc_auc"]))
    >>> chosen.select("metric", pl.col("value").round(4), "n", "status").rows()
    [('accuracy', 0.6667, 6, 'ok'), ('roc_auc', 0.8889, 6, 'ok')]
    """
    _check(rows, roles)
    if roles.task == "ranking":
        return ranking_table(_of_queries(rows, roles), k=roles.k, min_queries=min_labels)
    buckets = (
        pl.col(roles.entity).cast(pl.String).hash(seed=0) if roles.entity else pl.int_range(pl.len()).hash(seed=0)
    ) % N_BUCKETS
    keyed = rows.with_columns(_all=pl.lit("all"), bucket=buckets.cast(pl.Int64))
    if roles.task == "regression":
        found = quality_table(
            sums=_regression_sums(keyed, roles), label_counts=KNOWN, task=roles.task, min_labels=min_labels, by=["_all"]
        )
    elif roles.task == "binary_classification":
        found = _binary(keyed, roles, min_labels)
    else:
        found = _multiclass(keyed, roles, min_labels)
    found = found.drop("_all")
    return found if roles.task == "regression" else _told(found, rows, roles)


def _check(rows: pl.DataFrame, roles: Roles) -> None:
    if roles.task not in TASKS:
        raise ValueError(f"quality_of_rows: task={roles.task!r} is unknown; allowed: {', '.join(TASKS)}")
    for name in roles.columns:
        if name not in rows.columns:
            raise ValueError(f"quality_of_rows: there is no column {name!r}; there are: {', '.join(rows.columns)}")
    wanted = {
        "binary_classification": ("score or prediction", roles.score or roles.prediction),
        "multiclass_classification": ("prediction or class_scores", roles.prediction or roles.class_scores),
        "regression": ("prediction", roles.prediction),
        "ranking": ("query and the column score", roles.query and roles.score),
    }[roles.task]
    if not wanted[1]:
        raise ValueError(f"quality_of_rows: {roles.task} needs the column {wanted[0]}")
    regression = (roles.label, roles.prediction) if roles.task == "regression" else ()
    for name in (roles.score, *roles.class_scores.values(), *regression):
        if name is None or not rows.height:
            continue
        values = _numbers(rows[name])
        if name in regression:
            if values.is_infinite().any():
                raise ValueError(f"quality_of_rows: the column {name!r} holds infinite values; leave out those rows")
            if (cast("float | None", values.abs().max()) or 0) > LARGEST:
                raise ValueError(
                    f"quality_of_rows: the column {name!r} holds values beyond {LARGEST:.0e}, "
                    "whose squares cannot be added up; leave out those rows"
                )
            continue
        if roles.task == "ranking":
            continue
        low, high = cast("tuple[float | None, float | None]", (values.min(), values.max()))
        if low is not None and high is not None and (low < 0 or high > 1):
            raise ValueError(f"quality_of_rows: the column {name!r} holds {low} to {high}; probabilities lie in [0, 1]")


def _numbers(column: pl.Series) -> pl.Series:
    """Values as numbers; null for NaN."""
    try:
        values = column.cast(pl.Float64, strict=False).fill_nan(None)
    except pl.exceptions.PolarsError:
        values = None
    if values is None or values.null_count() > column.null_count() + _n_nan(column):
        raise ValueError(f"quality_of_rows: the column {column.name!r} of type {column.dtype} does not hold numbers")
    return values


def _of_queries(rows: pl.DataFrame, roles: Roles) -> pl.DataFrame:
    assert roles.query is not None and roles.score is not None  # _check refuses it
    relevance = rows[roles.label].cast(pl.Float64, strict=False)
    if relevance.null_count() > rows[roles.label].null_count():
        raise ValueError(f"quality_of_rows: the column {roles.label!r} does not hold numbers; a relevance is 0 or more")
    names = {"query": roles.query, "score": roles.score, **({"entity": roles.entity} if roles.entity else {})}
    return pl.DataFrame({name: rows[column] for name, column in names.items()} | {"relevance": relevance})


def _n_nan(values: pl.Series) -> int:
    return int(values.is_nan().sum()) if values.dtype.is_float() else 0


def classes_of(values: pl.Series, roles: Roles) -> tuple[pl.Series, pl.Series]:
    """Classes of a column, and where it holds what is no class of the task.

    Parameters
    ----------
    values : polars.Series
        Labels or predicted classes, of any scalar type.
    roles : Roles
        Task and classes.

    Returns
    -------
    classes : polars.Series of String
        Null where there is none.
    unknown : polars.Series of Boolean
        Where there is a value that is no class.

    Examples
    --------
    >>> roles = Roles("binary_classification", "y", score="p")
    >>> [part.to_list() for part in classes_of(pl.Series([True, False, None]), roles)]
    [['1', '0', None], [False, False, False]]
    """
    classes, _, unknown = read_classes(categories_of(values, "categorical", values.name), roles.class_names)
    return classes, unknown


def _told(found: pl.DataFrame, rows: pl.DataFrame, roles: Roles) -> pl.DataFrame:
    """The table with a reason where labels or predictions are no class."""
    told: list[str] = []
    for name, effect in ((roles.label, "left out"), (roles.prediction, "taken for missing")):
        if name is None:
            continue
        classes, unknown = classes_of(rows[name], roles)
        if isinstance(rows[name].dtype, (pl.String, pl.Categorical, pl.Enum)):  # words for "no value", such as None
            unknown |= (
                classes.is_null() & rows[name].is_not_null() & (rows[name].cast(pl.String).str.strip_chars() != "")
            )
        if n := int(unknown.sum()):
            shown = str(rows[name].filter(unknown)[0])[:40]
            told.append(f"{n} of {rows.height} values of {name!r} are no class, such as {shown!r}: {effect}")
    if not told:
        return found
    reason = pl.concat_str(pl.col("reason"), pl.lit("; ".join(told)), separator="; ", ignore_nulls=True)
    return found.with_columns(reason=reason)


def _binary(rows: pl.DataFrame, roles: Roles, min_labels: int) -> pl.DataFrame:
    label, _ = classes_of(rows[roles.label], roles)
    positive = roles.class_names.read(roles.positive)
    score = rows[roles.score].cast(pl.Float64).fill_nan(None) if roles.score else None
    decided = score >= decision_threshold(roles.threshold) if score is not None else None
    if roles.prediction:
        said = classes_of(rows[roles.prediction], roles)[0] == positive
        decided = said if decided is None else said.zip_with(said.is_not_null(), decided)
    assert decided is not None  # _check refuses neither
    keyed = rows.select(KEYS).with_columns(
        predicted=decided,
        positive=label == positive,
        score=score if score is not None else pl.lit(None),
    )
    keyed = keyed.filter(pl.col("positive").is_not_null())
    confusion = _confusion(keyed.with_columns(pl.col("predicted", "positive").cast(pl.Int8).cast(pl.String)))
    if score is None:
        return quality_table(confusion, label_counts=KNOWN, task=roles.task, min_labels=min_labels, by=["_all"])
    scored = keyed.drop_nulls("score").with_columns(class_name=pl.lit(""), is_positive="positive")
    probability = pl.when("positive").then(pl.col("score")).otherwise(1 - pl.col("score"))
    squared = (pl.col("score") - pl.col("positive").cast(pl.Float64)) ** 2
    return quality_table(
        confusion,
        _score_bins(scored),
        _sums(keyed, probability, squared, pl.col("score")),
        label_counts=KNOWN,
        task=roles.task,
        min_labels=min_labels,
        by=["_all"],
        exact=_exact(scored, roles.task),
    )


def _exact(scored: pl.DataFrame, task: str) -> pl.DataFrame:
    """Areas of the scores themselves."""
    return exact_values(areas_of_scores(scored, ["_all", "class_name"]).drop("class_name"), ["_all"], task)


def _multiclass(rows: pl.DataFrame, roles: Roles, min_labels: int) -> pl.DataFrame:
    names = list(roles.class_scores)
    label, _ = classes_of(rows[roles.label], roles)
    scores = [rows[column].cast(pl.Float64).fill_nan(None).alias(name) for name, column in roles.class_scores.items()]
    keyed = (
        rows.select(KEYS).with_columns(positive=label).hstack(pl.DataFrame(scores))
        if scores
        else (rows.select(KEYS).with_columns(positive=label))
    )
    if roles.prediction:
        keyed = keyed.with_columns(predicted=classes_of(rows[roles.prediction], roles)[0])
    else:
        best = pl.concat_list(names).list.arg_max()
        keyed = keyed.with_columns(predicted=best.replace_strict(range(len(names)), names, return_dtype=pl.String))
    keyed = keyed.filter(pl.col("positive").is_not_null())
    confusion = _confusion(keyed)
    if not names:
        return quality_table(confusion, label_counts=KNOWN, task=roles.task, min_labels=min_labels, by=["_all"])
    parts = [
        keyed.select(*KEYS, class_name=pl.lit(name), is_positive=pl.col("positive") == name, score=pl.col(name))
        for name in names
    ]
    truth, squared = of_several_classes(pl.col("positive"), {name: name for name in names})
    scored = pl.concat(parts).drop_nulls("score")
    return quality_table(
        confusion,
        _score_bins(scored),
        _sums(keyed.with_columns(is_improper=is_improper(names)), truth, squared, truth),
        label_counts=KNOWN,
        task=roles.task,
        min_labels=min_labels,
        by=["_all"],
        exact=_exact(scored, roles.task),
    )


def of_several_classes(label: pl.Expr, columns: Mapping[str, str]) -> tuple[pl.Expr, pl.Expr]:
    """Probability of the true class, and squared distance of all probabilities from the outcome (Brier).

    Probabilities that sum to 1 leave nothing for a class without a score: its probability is 0, and what came true is a
    distance of 1. Leaving such rows out would forgive a model the classes that it does not know.

    Parameters
    ----------
    label : Expr
        True class.
    columns : mapping of str to str
        Class -> column with its score.

    Returns
    -------
    probability, distance : Expr
        Null unless every class has a score and there is a label.

    Examples
    --------
    >>> rows = pl.DataFrame({"y": ["a", "c", None], "p": [0.75, 0.75, 0.75], "q": [0.25, 0.25, 0.25]})
    >>> probability, distance = of_several_classes(pl.col("y"), {"a": "p", "b": "q"})
    >>> rows.select(p=probability, d=distance).rows()
    [(0.75, 0.125), (0.0, 1.625), (None, None)]
    """
    known = pl.all_horizontal(label.is_not_null(), *(pl.col(column).is_not_null() for column in columns.values()))
    own = [pl.when(label == name).then(pl.col(column)) for name, column in columns.items()]
    gaps = [(pl.col(column) - (label == name).cast(pl.Float64)) ** 2 for name, column in columns.items()]
    unscored = (~label.is_in(list(columns))).cast(pl.Float64)
    return pl.when(known).then(pl.coalesce(*own, pl.lit(0.0))), pl.when(known).then(pl.sum_horizontal(*gaps, unscored))


def _confusion(keyed: pl.DataFrame) -> pl.DataFrame:
    decided = keyed.drop_nulls(["predicted", "positive"])
    return decided.group_by(*KEYS, predicted_class="predicted", actual_class="positive").agg(n=pl.len())


def _score_bins(keyed: pl.DataFrame) -> pl.DataFrame:
    score_bin = (pl.col("score") * N_SCORE_BINS).floor().clip(0, N_SCORE_BINS - 1).cast(pl.Int32)
    return keyed.group_by(*KEYS, "class_name", "is_positive", score_bin=score_bin).agg(
        n=pl.len(), sum_score=pl.col("score").sum()
    )


def _sums(keyed: pl.DataFrame, probability: pl.Expr, squared: pl.Expr, score: pl.Expr) -> pl.DataFrame:
    known = keyed.filter(probability.is_not_null())
    clipped = probability.clip(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return known.group_by(KEYS).agg(
        n=pl.len(),
        n_score=pl.len(),
        sum_score=score.sum(),
        sum_log_loss=-clipped.log().sum(),
        sum_brier=squared.sum(),
        **({"n_improper": pl.col("is_improper").sum()} if "is_improper" in known.columns else {}),
    )


def _regression_sums(rows: pl.DataFrame, roles: Roles) -> pl.DataFrame:
    assert roles.prediction is not None  # _check refuses it
    y, f = (pl.col(name).cast(pl.Float64).fill_nan(None) for name in (roles.label, roles.prediction))
    known = rows.filter(y.is_not_null() & f.is_not_null())
    return known.group_by(KEYS).agg(
        n=pl.len(),
        n_score=pl.len(),
        sum_label=y.sum(),
        sum_label_sq=(y**2).sum(),
        sum_error=(f - y).sum(),
        sum_abs_error=(f - y).abs().sum(),
        sum_squared_error=((f - y) ** 2).sum(),
    )
