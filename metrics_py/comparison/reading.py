"""What a column is taken for when two tables are compared: told once, from the reference.

Every Polars type, and so every Parquet type, has a defined treatment:

====================================================  =============================================================
integers of any sign and width, floats, decimals      numeric
durations, times of day                               numeric, in seconds (of the day)
boolean                                               boolean
string, dictionary, enum                              datetime if every value is an ISO 8601 time; text if long and
                                                      mostly distinct; else categorical
date, timestamp with or without zone                  datetime: hour of the week, UTC (whole weeks, or 14 days and more)
text                                                  numeric, by its length in characters
identifiers by name, integers or texts all different  not compared: shares have no distribution to come back to
list or array of numbers                              embedding: numeric, by its Euclidean norm
null (no value at all)                                categorical
struct, map, binary, list of anything else, object    none: reported with the reason
====================================================  =============================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import polars as pl

from metrics_py.profile.texts import ISO_START, present, times_in
from metrics_py.profile.values import Kind

ColumnKind = Literal["numeric", "categorical", "boolean", "datetime", "text", "embedding"]
KINDS: tuple[ColumnKind, ...] = ("numeric", "categorical", "boolean", "datetime", "text", "embedding")
SAMPLE_ROWS = 100_000
WEEK_HOURS = 168
WEEK_TOLERANCE_HOURS = 8
TEXT_MIN_MEAN_LENGTH = 40
TEXT_MIN_DISTINCT_SHARE = 0.5
KEY_NAME = re.compile(
    r"(?i:(^|[\W_])(id|uuid|guid|key|idx|index|row|rownum|seq|serial)$|^unnamed: \d+$)"
    r"|[a-z](Id|ID|Uuid|UUID|Guid|Key|Index)$"
)
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_TIMES = (pl.Date, pl.Datetime)
_SPANS = (pl.Duration, pl.Time)


class NotComparable(Exception):
    """The values cannot be read as the kind of the reference column; the message says why."""


@dataclass(frozen=True)
class Reading:
    """How a column is read: its kind, and the kind of profile it is binned by (None: it cannot be judged, see reason).

    Attributes
    ----------
    kind : {"numeric", "categorical", "boolean", "datetime", "text", "embedding"} or None
        What the column is taken for.
    profile_kind : {"numeric", "categorical", "boolean", "datetime"} or None
        A text is numeric by its length, an embedding by its norm.
    reason : str
        Why it cannot be judged.
    """

    kind: ColumnKind | None
    profile_kind: Kind | None
    reason: str = ""


def infer_reading(column: pl.Series) -> Reading:
    """Kind of a reference column, from its type and the first 100,000 values.

    Parameters
    ----------
    column : polars.Series
        The reference's values.

    Returns
    -------
    Reading
        As the table at the head of the module says.

    Examples
    --------
    >>> infer_reading(pl.Series(["2026-03-01", "2026-03-02"])).kind, infer_reading(pl.Series([[0.1, 0.2]])).kind
    ('datetime', 'embedding')
    """
    dtype = column.dtype
    if isinstance(dtype, _TEXTS):
        return _infer_text(column)
    if dtype == pl.Null:
        return reading_of("categorical")
    if dtype.is_numeric() or isinstance(dtype, _SPANS):
        return reading_of("numeric")
    for kind, found in (
        ("boolean", dtype == pl.Boolean),
        ("datetime", isinstance(dtype, _TIMES)),
        ("embedding", _is_embedding(dtype)),
    ):
        if found:
            return reading_of(kind)
    return Reading(None, None, f"a column of type {dtype} cannot be judged; cast it to numbers, texts or times")


def reading_of(kind: str) -> Reading:
    """Reading of a kind by its name.

    Parameters
    ----------
    kind : str
        One of `KINDS`.

    Returns
    -------
    Reading
        Without a reason.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    for known in KINDS:
        if kind == known:
            return Reading(known, "numeric" if known in ("text", "embedding") else known)
    raise ValueError(f"kind {kind!r} is unknown; allowed: {', '.join(sorted(KINDS))}")


def looks_like_key(column: pl.Series) -> bool:
    """Whether it is called an identifier (``id``, ``order_id``, ``rowIndex``), and every row has a value of its own.

    Parameters
    ----------
    column : polars.Series
        Values with their name.

    Returns
    -------
    bool
        False of anything but integers and texts.

    Examples
    --------
    >>> looks_like_key(pl.Series("order_id", [7, 8, 9])), looks_like_key(pl.Series("amount", [7, 8, 9]))
    (True, False)
    """
    if not column.dtype.is_integer() and not isinstance(column.dtype, _TEXTS):
        return False
    named = KEY_NAME.search(column.name) is not None
    return named and not column.null_count() and column.n_unique() == column.len()


def weeks_are_whole(times: pl.Series) -> bool:
    """Whether the times cover the week evenly: one whole week (within 8 hours), or 14 days and more.

    A window of a day or of ten days holds some weekdays more often than others, whatever its rows are like; beyond 14
    days that is a PSI of at most 0.04.

    Parameters
    ----------
    times : polars.Series of Date or Datetime
        In any order.

    Returns
    -------
    bool
        True also where there are no times.
    """
    held = times.drop_nulls()
    if not held.len():
        return True
    hours = held.cast(pl.Datetime("us")).dt.truncate("1h")
    first, last = cast("tuple[datetime, datetime]", (hours.min(), hours.max()))
    by_day = times.dtype == pl.Date or bool((hours.dt.hour() == first.hour).all())
    span = (last - first).total_seconds() / 3600 + (24 if by_day else 1)
    return span >= 2 * WEEK_HOURS or abs(span - WEEK_HOURS) <= WEEK_TOLERANCE_HOURS


def _is_embedding(dtype: pl.DataType) -> bool:
    """A list or array of numbers (or of nothing but nulls)."""
    if not isinstance(dtype, pl.List | pl.Array):
        return False
    inner = pl.Series(dtype=dtype.inner).dtype
    return inner.is_numeric() or inner == pl.Null


def _infer_text(column: pl.Series) -> Reading:
    values = column.head(SAMPLE_ROWS).drop_nulls().cast(pl.String)
    if not values.len():
        return reading_of("categorical")
    if _looks_like_time(values) and _parse_times(column) is not None:
        return reading_of("datetime")
    if _mean_length(values) >= TEXT_MIN_MEAN_LENGTH and values.n_unique() >= TEXT_MIN_DISTINCT_SHARE * values.len():
        return reading_of("text")
    return reading_of("categorical")


def _mean_length(values: pl.Series) -> float:
    return float(values.to_frame("x").select(pl.col("x").str.len_chars().mean()).item() or 0.0)


def _looks_like_time(values: pl.Series) -> bool:
    return bool(values.head(1000).str.contains(ISO_START).all())


def _parse_times(column: pl.Series) -> pl.Series | None:
    """UTC times of an ISO 8601 text column; None if any value is none."""
    texts = present(column.cast(pl.String))
    times = times_in(texts)
    return times if times.null_count() == texts.null_count() else None


def read_as(column: pl.Series, reading: Reading) -> pl.Series:
    """Values as the profile of this reading takes them: numbers, categories, booleans or times.

    Parameters
    ----------
    column : polars.Series
        Values of either table.
    reading : Reading
        Of the reference's column.

    Returns
    -------
    polars.Series
        Lengths of texts, norms of embeddings, seconds of durations, times of ISO 8601 texts; else as they are.

    Raises
    ------
    NotComparable
        If the type of the values does not allow it.

    Examples
    --------
    >>> read_as(pl.Series([[3.0, 4.0]]), reading_of("embedding")).to_list()
    [5.0]
    """
    dtype = column.dtype
    if dtype == pl.Null:
        return column
    if reading.kind == "text":
        _require(isinstance(dtype, _TEXTS), "text", dtype)
        return column.cast(pl.String).str.len_chars()
    if reading.kind == "embedding":
        _require(_is_embedding(dtype), "an embedding", dtype)
        return _norms(column)
    if reading.kind == "numeric":
        if isinstance(dtype, _TEXTS):
            raise NotComparable(_no_numbers(column.cast(pl.String)))
        _require(dtype.is_numeric() or isinstance(dtype, (pl.Boolean, *_SPANS)), "numeric", dtype)
        return _seconds(column) if isinstance(dtype, _SPANS) else column
    if reading.kind == "datetime":
        is_text = isinstance(dtype, _TEXTS)
        times = column if isinstance(dtype, _TIMES) else _parse_times(column) if is_text else None
        if times is None:
            raise NotComparable(f"the reference holds times, these values are of type {dtype}")
        return times
    _require(not dtype.is_nested() and not isinstance(dtype, pl.Binary | pl.Object), str(reading.kind), dtype)
    return column


def _no_numbers(texts: pl.Series) -> str:
    """What keeps texts from being numbers."""
    bad = texts.filter(texts.cast(pl.Float64, strict=False).is_null() & texts.is_not_null())
    shown = f", {bad.len()} of them no number, such as {bad[0][:40]!r}" if bad.len() else "; cast them to numbers"
    return f"the reference is numeric, these values are of type String{shown}"


def _require(allowed: bool, kind: str, dtype: pl.DataType) -> None:
    if not allowed:
        raise NotComparable(f"the reference is {kind}, these values are of type {dtype}")


def _seconds(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Time:
        return column.cast(pl.Int64) / 1e9
    return column.to_frame("x").select(pl.col("x").dt.total_microseconds() / 1e6).to_series()


def _norms(column: pl.Series) -> pl.Series:
    values = column.cast(pl.List(pl.Float64)) if isinstance(column.dtype, pl.List) else column.arr.to_list()
    squares = pl.col("x").cast(pl.List(pl.Float64)).list.eval(pl.element() ** 2).list.sum().sqrt()
    return values.to_frame("x").select(pl.when(pl.col("x").is_not_null()).then(squares)).to_series()
