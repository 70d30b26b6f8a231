"""Reading a column as numbers, categories, booleans or hours of the week: typed refusals, nulls kept."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Kind = Literal["numeric", "categorical", "boolean", "datetime"]
WEEK_HOURS = tuple(
    f"{day} {hour:02d}" for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun") for hour in range(24)
)


def series_of(values: object, column: str) -> pl.Series:
    """One-dimensional values as a Polars series; None is null.

    Parameters
    ----------
    values : array_like or polars.Series, shape (n,)
        Integers and floats may be mixed, other types may not.
    column : str
        Name of the column, for its errors.

    Returns
    -------
    polars.Series
        Of any type.

    Raises
    ------
    ValueError
        If an array is not one-dimensional.
    TypeError
        If the values are of mixed types.
    """
    if isinstance(values, pl.Series):
        return values
    if isinstance(values, np.ndarray):
        array = cast("NDArray[Any]", values)
        if array.ndim != 1:
            raise ValueError(f"column {column!r}: values have shape {array.shape}; pass one dimension, (n,)")
        if array.dtype != object:
            return pl.Series(array)
        values = array.tolist()
    given = cast("list[Any]", values)  # or anything that Polars takes
    try:
        return pl.Series(given)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        pass  # integers and floats together are one type after all
    try:
        return pl.Series(given, dtype=pl.Float64)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        raise TypeError(
            f"column {column!r}: a {type(given).__name__} of mixed types is no column; cast the values to one type"
        ) from None


def numbers_of(values: object, column: str) -> pl.Series:
    """Values as Float64; booleans are 0 and 1, NaN and infinities stay.

    Parameters
    ----------
    values : array_like or polars.Series, shape (n,)
        Numbers, booleans or nulls.
    column : str
        Name of the column, for its errors.

    Returns
    -------
    polars.Series of Float64
        Nulls stay null.

    Raises
    ------
    ValueError
        If an array is not one-dimensional.
    TypeError
        If the values are not numbers.
    """
    series = series_of(values, column)
    if series.dtype == pl.Null or series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.cast(pl.Float64)
    raise TypeError(
        f"column {column!r}: values of type {series.dtype} are not numbers; "
        "cast them to a number, or declare the column categorical or datetime"
    )


def categories_of(values: object, kind: Kind, column: str) -> pl.Series:
    """Values as text: categories as they are, booleans ``true`` / ``false``, times as hour of the week.

    Parameters
    ----------
    values : array_like or polars.Series, shape (n,)
        Values of any scalar type.
    kind : {"categorical", "boolean", "datetime"}
        How to read them; numbers without a fraction lose their ``.0``.
    column : str
        Name of the column, for its errors.

    Returns
    -------
    polars.Series of String
        Nulls stay null, NaN becomes null.

    Raises
    ------
    ValueError
        If an array is not one-dimensional.
    TypeError
        If the values cannot be read as `kind`.

    Examples
    --------
    >>> categories_of([1.0, 2.5, None], "categorical", "size").to_list()
    ['1', '2.5', None]
    >>> categories_of([0, 1], "boolean", "flag").to_list()
    ['false', 'true']
    """
    series = series_of(values, column)
    if series.dtype == pl.Null:
        return series.cast(pl.String)
    if kind == "boolean":
        return _booleans(series, column)
    if kind == "datetime":
        return _week_hours(series, column)
    if series.dtype.is_float():
        return _whole_numbers_without_fraction(series)
    if series.dtype.is_nested():
        raise TypeError(f"column {column!r}: values of type {series.dtype} are not categories; pass one text per row")
    return _text_of(series)


def _text_of(series: pl.Series) -> pl.Series:
    """Any scalar as text; durations in microseconds, bytes as hexadecimal digits (polars casts neither)."""
    if series.dtype == pl.Duration:
        return series.dt.total_microseconds().cast(pl.String)
    return series.bin.encode("hex") if series.dtype == pl.Binary else series.cast(pl.String)


def _whole_numbers_without_fraction(series: pl.Series) -> pl.Series:
    return (
        pl.DataFrame({"x": series.cast(pl.Float64).fill_nan(None)})
        .select(
            pl.when((pl.col("x") == pl.col("x").round()) & (pl.col("x").abs() < 2.0**53))
            .then(pl.col("x").cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(pl.col("x").cast(pl.String))
        )
        .to_series()
    )


def _booleans(series: pl.Series, column: str) -> pl.Series:
    if series.dtype.is_numeric():
        flags = series.cast(pl.Float64).fill_nan(None)
        if not flags.drop_nulls().is_in([0.0, 1.0]).all():
            raise TypeError(
                f"column {column!r}: numbers other than 0 and 1 are not booleans; declare the column numeric"
            )
        return (flags == 1.0).cast(pl.String)
    texts = series.cast(pl.String)
    if series.dtype != pl.Boolean:
        texts = texts.str.to_lowercase()
        if not texts.drop_nulls().is_in(["false", "true"]).all():
            raise TypeError(
                f"column {column!r}: texts other than true and false are not booleans; declare it categorical"
            )
    return texts


def _week_hours(series: pl.Series, column: str) -> pl.Series:
    if not isinstance(series.dtype, pl.Datetime | pl.Date):
        raise TypeError(
            f"column {column!r}: values of type {series.dtype} are not times; parse them to datetimes first"
        )
    times = series.cast(pl.Datetime("us")) if series.dtype == pl.Date else series
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone("UTC")
    hour = (times.dt.weekday().cast(pl.Int64) - 1) * 24 + times.dt.hour().cast(pl.Int64)
    return hour.replace_strict(range(len(WEEK_HOURS)), list(WEEK_HOURS), return_dtype=pl.String, default=None)


def check_weights(weights: ArrayLike, n: int, column: str) -> NDArray[np.float64]:
    """Weights as floats: one per row, finite, not negative.

    Parameters
    ----------
    weights : array_like, shape (n,)
        A row of weight w counts as w rows.
    n : int
        Rows.
    column : str
        Name of the column, for its errors.

    Returns
    -------
    ndarray of float, shape (n,)
        The weights.

    Raises
    ------
    ValueError
        If they are not.
    """
    array = np.asarray(weights, dtype=float)
    if array.shape != (n,):
        raise ValueError(f"column {column!r}: weights have shape {array.shape}; pass one per value, shape ({n},)")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"column {column!r}: a weight is negative, NaN or infinite; leave out rows without weight")
    return array
