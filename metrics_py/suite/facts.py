"""Facts about a table and its columns that a test suite can bound.

Rows, duplicates, missing and unseen values, moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from scipy.special import ndtri

from metrics_py.comparison.reading import Reading, infer_reading, read_as
from metrics_py.intervals import wilson
from metrics_py.profile.resolution import reach, resolution_of
from metrics_py.profile.values import categories_of
from metrics_py.registry import Direction
from metrics_py.results import Estimate
from metrics_py.suite import texts, together


@dataclass(frozen=True)
class Column:
    """A column of the table in question, and the same column of the reference.

    Attributes
    ----------
    values : polars.Series
        Of the table.
    reference : polars.Series
        Of the reference.
    reading : Reading
        How both are read, told from the reference.
    """

    values: pl.Series
    reference: pl.Series
    reading: Reading


@dataclass(frozen=True)
class Fact:
    """A fact about a table or a column, which way is better, and the kinds of columns that have it.

    Attributes
    ----------
    name : str
        As in a check.
    summary : str
        First line of the function's docstring.
    function : callable
        ``(table, reference, columns) -> Estimate``, of a column ``Column -> Estimate``.
    kinds : tuple of str
        Kinds of columns; none: it is of the table. ``other`` is every type that cannot be judged otherwise.
    direction : {"higher_is_better", "lower_is_better", "none"}
        Which way is better.
    """

    name: str
    summary: str
    function: Callable[..., Estimate]
    kinds: tuple[str, ...] = ()
    direction: Direction = "none"


ALL = ("numeric", "categorical", "boolean", "datetime", "text", "embedding", "other")
MEASURED = ("numeric", "text", "embedding")


def _number(value: Any, n: int) -> Estimate:
    if value is None or not np.isfinite(float(value)):
        return Estimate(None, None, None, n, "insufficient_data", "no values")
    return Estimate(float(value), None, None, n)


def _rate(events: int, n: int) -> Estimate:
    if n == 0:
        return Estimate(None, None, None, 0, "insufficient_data", "no values")
    low, high = wilson(events, n)
    return Estimate(events / n, float(low), float(high), n)


def _numbers(column: Column) -> pl.Series:
    return _finite(read_as(column.values, column.reading))


def _finite(values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64)
    return numbers.filter(numbers.is_finite().fill_null(False))


def row_count(table: pl.DataFrame, reference: pl.DataFrame, columns: Sequence[str]) -> Estimate:
    """Rows of the table.

    Parameters
    ----------
    table, reference : polars.DataFrame
        The table in question and the reference.
    columns : sequence of str
        Not used.

    Returns
    -------
    Estimate
        Without an interval.
    """
    return Estimate(float(table.height), None, None, table.height)


def duplicate_rate(table: pl.DataFrame, reference: pl.DataFrame, columns: Sequence[str]) -> Estimate:
    """Share of rows that repeat an earlier one (in `columns`, or altogether).

    Parameters
    ----------
    table, reference : polars.DataFrame
        The table in question and the reference.
    columns : sequence of str
        The key; none: all columns but nested ones.

    Returns
    -------
    Estimate
        With Wilson's interval.
    """
    if not table.height:
        return _rate(0, 0)
    key = table[list(columns) or [c for c in table.columns if not table[c].dtype.is_nested()]]
    return _rate(table.height - key.n_unique(), table.height)


def missing_columns(table: pl.DataFrame, reference: pl.DataFrame, columns: Sequence[str]) -> Estimate:
    """Columns of the reference that the table lacks.

    Parameters
    ----------
    table, reference : polars.DataFrame
        The table in question and the reference.
    columns : sequence of str
        Not used.

    Returns
    -------
    Estimate
        Without an interval.
    """
    return _number(len(set(reference.columns) - set(table.columns)), table.height)


def new_columns(table: pl.DataFrame, reference: pl.DataFrame, columns: Sequence[str]) -> Estimate:
    """Columns of the table that the reference lacks.

    Parameters
    ----------
    table, reference : polars.DataFrame
        The table in question and the reference.
    columns : sequence of str
        Not used.

    Returns
    -------
    Estimate
        Without an interval.
    """
    return _number(len(set(table.columns) - set(reference.columns)), table.height)


def null_rate(column: Column) -> Estimate:
    """Share of rows without a value.

    Parameters
    ----------
    column : Column
        Of any kind.

    Returns
    -------
    Estimate
        With Wilson's interval.
    """
    return _rate(column.values.null_count(), column.values.len())


def not_finite_rate(column: Column) -> Estimate:
    """Share of rows with NaN or infinity.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        With Wilson's interval.
    """
    values = read_as(column.values, column.reading)
    bad = int((~values.is_finite()).fill_null(False).sum()) if values.dtype.is_float() else 0
    return _rate(bad, values.len())


def out_of_range_rate(column: Column) -> Estimate:
    """Share of the values that lie outside the range of the reference.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        Of the finite values, with Wilson's interval.
    """
    known = _finite(read_as(column.reference, column.reading))
    numbers = _numbers(column)
    if not known.len():
        return Estimate(None, None, None, numbers.len(), "insufficient_data", "the reference has no values")
    counts = known.alias("x").value_counts().sort("x")
    values, mass = counts["x"].to_numpy(), counts["count"].to_numpy().astype(float)
    resolution = resolution_of(column.values.dtype, column.reference.dtype)
    down, up = reach(values, mass, float(values.std()), resolution)
    low, high = float(values[0] - down[0]), float(values[-1] + up[-1])
    return _rate(int(((numbers < low) | (numbers > high)).sum()), numbers.len())


def unseen_rate(column: Column) -> Estimate:
    """Share of the values that are of a category the reference does not hold.

    Parameters
    ----------
    column : Column
        Categorical.

    Returns
    -------
    Estimate
        With Wilson's interval.
    """
    texts = [categories_of(v, "categorical", v.name).drop_nulls() for v in (column.values, column.reference)]
    return _rate(int((~texts[0].is_in(texts[1].unique().implode())).sum()), texts[0].len())


def n_distinct(column: Column) -> Estimate:
    """Distinct values.

    Parameters
    ----------
    column : Column
        Of any kind but embeddings.

    Returns
    -------
    Estimate
        Without an interval; nulls are no value.
    """
    return _number(column.values.drop_nulls().n_unique(), column.values.len())


def minimum(column: Column) -> Estimate:
    """Smallest value.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        Of the finite values, without an interval.
    """
    return _number(_numbers(column).min(), _numbers(column).len())


def maximum(column: Column) -> Estimate:
    """Largest value.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        Of the finite values, without an interval.
    """
    return _number(_numbers(column).max(), _numbers(column).len())


def mean(column: Column) -> Estimate:
    """Mean of the finite values, with the normal interval for independent rows.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        Without an interval below two values, or where all are equal.
    """
    numbers = _numbers(column)
    if numbers.len() < 2:
        return _number(numbers.mean(), numbers.len())
    centre, deviation = cast("tuple[float, float]", (numbers.mean(), numbers.std()))
    if deviation == 0:  # equal values do not say how far others would be
        return _number(centre, numbers.len())
    half = float(ndtri(0.975) * deviation / np.sqrt(numbers.len()))
    return Estimate(centre, centre - half, centre + half, numbers.len())


def standard_deviation(column: Column) -> Estimate:
    """Standard deviation of the finite values.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        Without an interval; undefined below two values.
    """
    numbers = _numbers(column)
    if numbers.len() > 1 and numbers.min() == numbers.max():  # not the rounding of their mean
        return _number(0.0, numbers.len())
    return _number(numbers.std(), numbers.len())


def median(column: Column) -> Estimate:
    """Median of the finite values.

    Parameters
    ----------
    column : Column
        Numeric, a text (its length) or an embedding (its norm).

    Returns
    -------
    Estimate
        Without an interval.
    """
    return _number(_numbers(column).median(), _numbers(column).len())


def true_rate(column: Column) -> Estimate:
    """Share of true among the values.

    Parameters
    ----------
    column : Column
        Boolean.

    Returns
    -------
    Estimate
        With Wilson's interval.
    """
    texts = categories_of(column.values, "boolean", column.values.name).drop_nulls()
    return _rate(int((texts == "true").sum()), texts.len())


def minority_rate(column: Column) -> Estimate:
    """Share of the values that are not the most frequent one of the reference.

    Parameters
    ----------
    column : Column
        Numeric, categorical or boolean; of a flag it is the rate of its rarer value.

    Returns
    -------
    Estimate
        With Wilson's interval.
    """
    kind = "boolean" if column.reading.kind == "boolean" else "categorical"
    now, before = (categories_of(v, kind, v.name).drop_nulls() for v in (column.values, column.reference))
    if not before.len():
        return Estimate(None, None, None, now.len(), "insufficient_data", "the reference has no values")
    usual = before.alias("value").value_counts(name="n").sort(["n", "value"], descending=[True, False])["value"][0]
    return _rate(int((now != usual).sum()), now.len())


def domain_auc(column: Column) -> Estimate:
    """Area under the curve of a classifier that tells vectors from those of the reference: .5 where it cannot.

    Parameters
    ----------
    column : Column
        An embedding.

    Returns
    -------
    Estimate
        With the interval of Hanley and McNeil.
    """
    return together.domain_auc(column.values, column.reference)


def centroid_cosine(column: Column) -> Estimate:
    """Cosine distance of the mean vector from the reference's.

    Parameters
    ----------
    column : Column
        An embedding.

    Returns
    -------
    Estimate
        Without an interval.
    """
    return together.centroid_cosine(column.values, column.reference)


def wrong_dimension_rate(column: Column) -> Estimate:
    """Share of vectors of another length than most of the reference's.

    Parameters
    ----------
    column : Column
        An embedding.

    Returns
    -------
    Estimate
        Without an interval.
    """
    return together.wrong_dimension_rate(column.values, column.reference)


def _summary(function: Callable[..., Estimate]) -> str:
    return (function.__doc__ or "").splitlines()[0]


def _facts(*entries: tuple[str, Callable[..., Estimate], tuple[str, ...], Direction]) -> dict[str, Fact]:
    return {name: Fact(name, _summary(function), function, kinds, way) for name, function, kinds, way in entries}


TABLE_FACTS = _facts(
    ("row_count", row_count, (), "none"),
    ("duplicate_rate", duplicate_rate, (), "lower_is_better"),
    ("missing_columns", missing_columns, (), "lower_is_better"),
    ("new_columns", new_columns, (), "lower_is_better"),
    ("correlation_change", together.correlation_change, (), "lower_is_better"),
)
COLUMN_FACTS = _facts(
    ("null_rate", null_rate, ALL, "lower_is_better"),
    ("not_finite_rate", not_finite_rate, MEASURED, "lower_is_better"),
    ("out_of_range_rate", out_of_range_rate, MEASURED, "lower_is_better"),
    ("unseen_rate", unseen_rate, ("categorical",), "lower_is_better"),
    ("n_distinct", n_distinct, ("numeric", "categorical", "boolean", "datetime", "text"), "none"),
    ("min", minimum, MEASURED, "none"),
    ("max", maximum, MEASURED, "none"),
    ("mean", mean, MEASURED, "none"),
    ("sd", standard_deviation, MEASURED, "none"),
    ("median", median, MEASURED, "none"),
    ("true_rate", true_rate, ("boolean",), "none"),
    ("minority_rate", minority_rate, ("numeric", "categorical", "boolean"), "none"),
    ("domain_auc", domain_auc, ("embedding",), "lower_is_better"),
    ("centroid_cosine", centroid_cosine, ("embedding",), "lower_is_better"),
    ("wrong_dimension_rate", wrong_dimension_rate, ("embedding",), "lower_is_better"),
    ("unknown_word_share", texts.unknown_word_share, ("text",), "lower_is_better"),
    ("duplicate_text_rate", texts.duplicate_text_rate, ("text",), "lower_is_better"),
    ("near_duplicate_text_rate", texts.near_duplicate_text_rate, ("text",), "lower_is_better"),
    ("reference_copy_rate", texts.reference_copy_rate, ("text",), "lower_is_better"),
)


def column_reading(reference: pl.Series) -> Reading:
    """How a column is read, told from the reference.

    Parameters
    ----------
    reference : polars.Series
        The reference's values.

    Returns
    -------
    Reading
        As `metrics_py.comparison.reading.infer_reading`.
    """
    return infer_reading(reference)
