"""Reading a column as numbers, categories, booleans or hours of the week: typed refusals, nulls kept."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metrics_py.class_names import TRUTHS, ClassNames, category_text

Kind = Literal["numeric", "categorical", "boolean", "datetime"]
MERGED_SHOWN = 5
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
        return _no_pattern(values)
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


def column_of(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column by its name, as it may be worked with whatever it is called.

    Polars looks a Series up by its name when it computes with it, and takes ``^...$`` for a pattern that does not fit
    itself: such a name begins with a blank in what is returned.

    Parameters
    ----------
    frame : polars.DataFrame
        The table.
    name : str
        Any name that it has.

    Returns
    -------
    polars.Series
        Its values.

    Examples
    --------
    >>> column_of(pl.DataFrame({"^a.*$": [1.5, None]}), "^a.*$").drop_nulls().to_list()
    [1.5]
    """
    return _no_pattern(frame[name])


def _no_pattern(values: pl.Series) -> pl.Series:
    is_pattern = values.name.startswith("^") and values.name.endswith("$")
    return values.alias(f" {values.name}") if is_pattern else values


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
        How to read them; numbers without a fraction lose their ``.0``, also where they are text, and ``True`` is
        ``true``.
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
        return float_texts(series)
    if series.dtype.is_nested():
        raise TypeError(f"column {column!r}: values of type {series.dtype} are not categories; pass one text per row")
    return _text_of(series)


def _text_of(series: pl.Series) -> pl.Series:
    """Any scalar as text; durations in microseconds, bytes as hexadecimal digits (polars casts neither)."""
    if series.dtype == pl.Duration:
        return series.dt.total_microseconds().cast(pl.String)
    if series.dtype.is_decimal():
        return decimal_texts(series)
    if series.dtype == pl.Binary:
        return series.bin.encode("hex")
    texts = series.cast(pl.String)
    return texts if series.dtype.is_integer() else category_texts(texts)


def category_texts(texts: pl.Series) -> pl.Series:
    """Texts as the same value of another type is spelled: ``2.0`` is ``2`` and ``True`` is ``true``.

    Parameters
    ----------
    texts : polars.Series of String
        Categories.

    Returns
    -------
    polars.Series of String
        Nulls stay null.

    Examples
    --------
    >>> category_texts(pl.Series(["2.0", "True", "02134", None])).to_list()
    ['2', 'true', '02134', None]
    """
    texts = _no_pattern(texts)
    text = pl.col("text")
    candidates = texts.alias("text").to_frame().select(text.filter(_may_be_respelled(text)).unique()).to_series()
    distinct = candidates.filter(candidates.str.contains(r"^(?:-?(?:0|[1-9][0-9]*)\.0+|True|False)$"))
    if distinct.is_empty():
        return texts
    spelled = pl.Series([category_text(text) for text in distinct.to_list()], dtype=pl.String)
    return texts.replace(distinct, spelled)


def _may_be_respelled(texts: pl.Expr) -> pl.Expr:
    is_whole = texts.str.ends_with(".0") | texts.str.ends_with("00")
    return is_whole | (texts == "True") | (texts == "False")


def plainly_spelled(texts: pl.DataFrame) -> set[str]:
    """Columns of which `category_texts` changes nothing, as far as one pass over all of them tells.

    Parameters
    ----------
    texts : polars.DataFrame
        Columns of String.

    Returns
    -------
    set of str
        The others may or may not change.

    Examples
    --------
    >>> sorted(plainly_spelled(pl.DataFrame({"a": ["x", None], "b": ["x", "2.0"], "c": ["10", "true"]})))
    ['a', 'c']
    """
    if not texts.width:
        return set()
    numbered = pl.DataFrame(
        [values.alias(f"{i}") for i, values in enumerate(texts.get_columns())]
    )  # no name is a pattern
    found = numbered.select(_may_be_respelled(pl.all()).any()).row(0)
    return {name for name, is_candidate in zip(texts.columns, found, strict=True) if not is_candidate}


def merged_spellings(texts: pl.Series, categories: pl.Series) -> list[str]:
    """Texts of a column that became one category with another text of it; the first `MERGED_SHOWN`.

    Parameters
    ----------
    texts : polars.Series of String
        As they were read.
    categories : polars.Series of String
        What they became.

    Returns
    -------
    list of str
        Each in words.

    Examples
    --------
    >>> texts = pl.Series(["1.00", "1", "7.0", "a"])
    >>> merged_spellings(texts, category_texts(texts))
    ["'1.00' as '1'"]
    """
    if categories is texts:
        return []
    spellings = pl.DataFrame({"raw": texts, "category": categories}).unique().drop_nulls()
    merged = spellings.filter(pl.col("category").is_duplicated() & (pl.col("raw") != pl.col("category"))).sort("raw")
    return [f"{text!r} as {category!r}" for text, category in merged.head(MERGED_SHOWN).rows()]


def float_texts(values: pl.Series) -> pl.Series:
    """Floats as text in the digits of their own type: whole numbers without ``.0``, NaN as null.

    Parameters
    ----------
    values : polars.Series of Float32 or Float64
        Numbers.

    Returns
    -------
    polars.Series of String
        0.1 is ``0.1`` in either type.
    """
    x = pl.col("x")
    whole = (x == x.round()) & (x.abs() < 2.0**53)
    text = pl.when(whole).then(x.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(x.cast(pl.String))
    return pl.DataFrame({"x": _no_pattern(values).fill_nan(None)}).select(text).to_series().alias(values.name)


def decimal_texts(values: pl.Series) -> pl.Series:
    """Decimals as text without zeros at the end.

    Parameters
    ----------
    values : polars.Series of Decimal
        Numbers.

    Returns
    -------
    polars.Series of String
        1.50 is ``1.5``, 2.00 is ``2``.
    """
    texts = _no_pattern(values).cast(pl.String)
    return texts.str.replace(r"(\.[0-9]*?)0+$", "${1}").str.strip_suffix(".")


def read_classes(texts: pl.Series, names: ClassNames) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Classes that texts spell.

    Parameters
    ----------
    texts : polars.Series of String
        Labels or predicted classes.
    names : ClassNames
        How the classes of the task may be spelled.

    Returns
    -------
    classes : polars.Series of String
        Null where there is none.
    missing, unknown : polars.Series of Boolean
        Where there is no value; where there is one that is no class.

    Examples
    --------
    >>> from metrics_py.class_names import binary_classes
    >>> classes, missing, unknown = read_classes(pl.Series(["True", "0.0", "", "unknown"]), binary_classes(1))
    >>> classes.to_list(), missing.to_list(), unknown.to_list()
    (['1', '0', None, None], [False, False, True, False], [False, False, False, True])
    """
    distinct = texts.unique().drop_nulls()
    found = [names.read(text) for text in distinct.to_list()]
    if found == distinct.to_list():  # each is spelled as its class is named
        return texts, texts.is_null(), pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(texts))
    gaps = distinct.filter(pl.Series([names.is_missing(text) for text in distinct.to_list()], dtype=pl.Boolean))
    mapped = pl.Series(found, dtype=pl.String)
    classes = texts.replace_strict(distinct, mapped, return_dtype=pl.String) if len(distinct) else texts
    missing = texts.is_null() | texts.is_in(gaps.implode())
    return classes, missing, classes.is_null() & ~missing


def _booleans_of_texts(texts: pl.Series) -> pl.Series | None:
    """``true`` and ``false`` for texts that spell truth values; None if any spells none."""
    words = {word: truth for pair in TRUTHS for word, truth in zip(pair, ("true", "false"), strict=True)}
    keys = texts.str.strip_chars().str.to_lowercase()
    keys = category_texts(keys)
    found = keys.replace_strict(words, default=None, return_dtype=pl.String)
    return None if found.null_count() > texts.null_count() else found


def _booleans(series: pl.Series, column: str) -> pl.Series:
    if series.dtype.is_numeric():
        flags = series.cast(pl.Float64).fill_nan(None)
        if not flags.drop_nulls().is_in([0.0, 1.0]).all():
            raise TypeError(
                f"column {column!r}: numbers other than 0 and 1 are not booleans; declare the column numeric"
            )
        return (flags == 1.0).cast(pl.String)
    if series.dtype == pl.Boolean:
        return series.cast(pl.String)
    found = _booleans_of_texts(series.cast(pl.String))
    if found is None:
        raise TypeError(f"column {column!r}: texts other than true and false are not booleans; declare it categorical")
    return found


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
