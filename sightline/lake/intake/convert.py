"""Native columns of any Parquet, CSV or JSON type to the types of the lake, vectorised.

Where a value will not go, there is a reason.

Typed sources (Parquet, NDJSON, segments, DuckDB) are strict: text where a number belongs is ``bad_type``, because a
serving bug must show. CSV has text only, so there (``parse=True``) text is parsed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from metrics_py.class_names import category_text
from metrics_py.profile.texts import booleans_in, numbers_in, present, times_in
from metrics_py.profile.values import category_texts, decimal_texts, float_texts
from sightline.lake.store.schema import TIMESTAMP
from sightline.narrowing import Json

NON_FINITE_WORDS = ("NaN", "Infinity", "-Infinity")
"""How the logging client and ProtoJSON write numbers that JSON does not have."""
EPOCH_UNITS_US = ((1e8, 1e11, 1e6), (1e11, 1e14, 1e3), (1e14, 1e17, 1.0), (1e17, 9.2e18, 1e-3))
"""(from, below, microseconds per unit): seconds, milliseconds, microseconds and nanoseconds since 1970 by magnitude."""

LARGEST = 1e150
"""The square of a larger number is none: such numbers are ``not_finite``."""


@dataclass(frozen=True)
class Converted:
    """Values of one lake type, and (reason, mask) for those that were dropped."""

    values: pl.Series
    issues: list[tuple[str, pl.Series]] = field(default_factory=list[tuple[str, pl.Series]])


def convert(raw: pl.Series, kind: str, *, parse: bool = False) -> Converted:
    """Convert a native column to the lake type of a feature kind.

    Parameters
    ----------
    raw : polars.Series
        Any dtype; ``Object`` for columns of mixed JSON types.
    kind : str
        ``numeric, categorical, boolean, datetime, text, embedding``.
    parse : bool
        Read numbers, booleans, times and vectors out of text (CSV).

    Returns
    -------
    Converted
        Same length; nulls where the value was missing, of a wrong type (``bad_type``) or not finite (``not_finite``).
    """
    if raw.dtype == pl.Null:
        target = {"numeric": pl.Float64, "boolean": pl.Boolean, "datetime": TIMESTAMP, "embedding": pl.List(pl.Float32)}
        nothing = pl.Series(raw.name, [None], dtype=target.get(kind, pl.String))
        return Converted(nothing.new_from_index(0, len(raw)))
    if isinstance(raw.dtype, pl.Categorical | pl.Enum):
        raw = raw.cast(pl.String)
    if raw.dtype == pl.Binary and kind in ("categorical", "text"):
        found = _decode(raw)
        return replace(found, values=category_texts(found.values)) if kind == "categorical" else found
    return CONVERTERS[kind](raw, parse)


def _decode(raw: pl.Series) -> Converted:
    """Bytes as UTF-8 text: some writers leave the text annotation of Parquet strings out."""
    try:
        return Converted(raw.cast(pl.String))
    except pl.exceptions.ComputeError:
        return _elementwise(raw, bytes.decode, pl.String)


def _all_bad(raw: pl.Series, dtype: Any) -> Converted:
    bad = raw.is_not_null()
    return Converted(
        pl.Series(raw.name, [None], dtype=dtype).new_from_index(0, len(raw)), [("bad_type", bad)] if bad.any() else []
    )


class NotFiniteError(ValueError):
    """A number that is NaN or infinite where text belongs."""


def _elementwise(raw: pl.Series, one: Callable[[Any], Any], dtype: Any) -> Converted:
    """The slow path for mixed columns; `one` raises ValueError or TypeError for a value it refuses."""
    values: list[Any] = []
    refused: dict[str, list[int]] = {"bad_type": [], "not_finite": []}
    for i, value in enumerate(raw.to_list()):
        found = None
        try:
            found = None if value is None else one(value)
        except NotFiniteError:
            refused["not_finite"].append(i)
        except (ValueError, TypeError, OverflowError):
            refused["bad_type"].append(i)
        values.append(found)
    position = pl.int_range(len(raw), eager=True)
    issues = [(reason, position.is_in(rows)) for reason, rows in refused.items() if rows]
    return Converted(pl.Series(raw.name, values, dtype=dtype, strict=False), issues)


def _finite(found: Converted) -> Converted:
    values = found.values
    if _is_tame(values):
        return found
    is_good = values.is_finite() & (values.cast(pl.Float64).abs() <= LARGEST)
    if is_good.all():
        return found
    bad = values.is_not_null() & is_good.not_()
    return Converted(values.set(bad, None), [*found.issues, ("not_finite", bad)])


def _is_tame(values: pl.Series) -> bool:
    """Whether all numbers are finite and none is too large; three sums over the column and no copy."""
    low, high, total = values.min(), values.max(), values.sum()
    if not isinstance(low, float) or not isinstance(high, float):
        return values.null_count() == len(values)
    return low >= -LARGEST and high <= LARGEST and math.isfinite(total)  # one NaN is enough for the sum to be none


def without_nan(found: Converted) -> Converted:
    """Logged categories without the word for NaN: pandas has NaN where a category is missing."""
    bad = found.values == NON_FINITE_WORDS[0]
    return Converted(found.values.set(bad, None), [*found.issues, ("not_finite", bad)]) if bad.any() else found


def _parsed(text: pl.Series, values: pl.Series) -> Converted:
    bad = text.is_not_null() & values.is_null()
    return Converted(values, [("bad_type", bad)] if bad.any() else [])


def _number(value: Any) -> float:
    if isinstance(value, bool | int | float | Decimal):
        return float(value)
    if isinstance(value, str) and value in NON_FINITE_WORDS:
        return float(value)
    raise TypeError(value)


def _numeric(raw: pl.Series, parse: bool) -> Converted:
    if raw.dtype == pl.Object:
        return _finite(_elementwise(raw, _number, pl.Float64))
    if raw.dtype.is_numeric() or raw.dtype == pl.Boolean:
        return _finite(Converted(raw.cast(pl.Float64)))
    if raw.dtype == pl.String and parse:
        text = present(raw)
        return _finite(_parsed(text, numbers_in(text)))
    if raw.dtype == pl.String and raw.is_in(NON_FINITE_WORDS).any():
        return _finite(_elementwise(raw, _number, pl.Float64))
    return _all_bad(raw, pl.Float64)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        raise NotFiniteError
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)


SPELLINGS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (str, lambda value: value),
    (bool, lambda value: "true" if value else "false"),
    (int, str),
    (float, _float_text),
    (Decimal, lambda value: format(value.normalize(), "f")),
    (
        datetime,
        lambda value: (value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)).isoformat(),
    ),
    (date, lambda value: value.isoformat()),
)


def canonical_text(value: Any) -> str:
    """One text per value, whatever the source's type: 1, 1.0 and Decimal("1.0") are "1"; True is "true"."""
    for kind, spell in SPELLINGS:
        if isinstance(value, kind):
            return spell(value)
    raise TypeError(f"no category: {type(value).__name__}")


def category_of(value: Any) -> str:
    """Category that one value spells: ``"1.0"`` is 1 and ``"True"`` is true, as in every other type.

    Examples
    --------
    >>> [category_of(value) for value in (1, 1.0, "1.0", True, "True", "01")]
    ['1', '1', '1', 'true', 'true', '01']
    """
    return category_text(value) if isinstance(value, str) else canonical_text(value)


def _category(raw: pl.Series, parse: bool) -> Converted:
    if raw.dtype == pl.Object:
        return _elementwise(raw, category_of, pl.String)
    return Converted(category_texts(raw)) if raw.dtype == pl.String else _string(raw, parse)


def _string(raw: pl.Series, parse: bool) -> Converted:
    dtype = raw.dtype
    if dtype == pl.Object:
        return _elementwise(raw, canonical_text, pl.String)
    if dtype.is_float():
        found = _finite(Converted(raw))
        return replace(found, values=float_texts(found.values))
    if dtype == pl.String or dtype.is_integer() or dtype == pl.Boolean:
        return Converted(raw.cast(pl.String))
    if dtype.is_decimal():
        return Converted(decimal_texts(raw))
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        distinct = raw.unique()
        spelled = pl.Series([None if v is None else canonical_text(v) for v in distinct.to_list()], dtype=pl.String)
        return Converted(raw.replace_strict(distinct, spelled, return_dtype=pl.String))
    return _all_bad(raw, pl.String)


def _truth(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    raise TypeError(value)


def _boolean(raw: pl.Series, parse: bool) -> Converted:
    dtype = raw.dtype
    if dtype == pl.Boolean:
        return Converted(raw)
    if dtype == pl.Object:
        return _elementwise(raw, _truth, pl.Boolean)
    if dtype.is_numeric():
        numbers = _finite(Converted(raw.cast(pl.Float64)))
        bad = numbers.values.is_not_null() & numbers.values.is_in([0.0, 1.0]).not_()
        values = numbers.values.set(bad, None).cast(pl.Boolean)
        return Converted(values, [*numbers.issues, *([("bad_type", bad)] if bad.any() else [])])
    if dtype == pl.String and parse:
        text = present(raw)
        return _parsed(text, booleans_in(text))
    return _all_bad(raw, pl.Boolean)


def _epoch(numbers: pl.Series) -> pl.Series:
    """Numbers since 1970 to timestamps; null where the magnitude fits no unit between 1973 and 2261."""
    column = pl.col(numbers.name)
    found = pl.lit(None, dtype=pl.Int64)
    for low, high, factor in EPOCH_UNITS_US:
        exact = numbers.dtype.is_integer() and factor >= 1
        scaled = column * int(factor) if exact else (column * factor).round()
        found = pl.when((column >= low) & (column < high)).then(scaled.cast(pl.Int64, strict=False)).otherwise(found)
    return numbers.to_frame().select(found.cast(TIMESTAMP)).to_series()


def _parse_times(text: pl.Series) -> pl.Series:
    """Times by ISO 8601, or numbers since 1970."""
    values = times_in(text)
    rest = text.is_not_null() & values.is_null()
    if rest.any():
        numbers = numbers_in(text.filter(rest).str.strip_chars())
        values = values.scatter(rest.arg_true(), _epoch(numbers.alias("epoch")))
    return values


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, bool):
        raise TypeError(value)
    if isinstance(value, int | float):
        found = _epoch(pl.Series("epoch", [float(value)])).item()
    else:
        found = _parse_times(pl.Series([value], dtype=pl.String)).item() if isinstance(value, str) else None
    if found is None:
        raise ValueError(value)
    return found


def _datetime(raw: pl.Series, parse: bool) -> Converted:
    dtype = raw.dtype
    if isinstance(dtype, pl.Datetime):
        values = raw if dtype.time_zone is None else raw.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return Converted(values.cast(TIMESTAMP))
    if dtype == pl.Object:
        return _elementwise(raw, _moment, TIMESTAMP)
    if dtype == pl.Date:
        return Converted(raw.cast(TIMESTAMP))
    if dtype.is_integer() or dtype.is_float() or dtype.is_decimal():
        numbers = raw if dtype.is_signed_integer() else raw.cast(pl.Float64)
        return _parsed(raw, _epoch(numbers.cast(pl.Int64) if numbers.dtype.is_integer() else numbers))
    if dtype == pl.String:
        text = present(raw) if parse else raw
        return _parsed(text, _parse_times(text))
    return _all_bad(raw, TIMESTAMP)


def _vector(value: Json | tuple[Any, ...]) -> list[float]:
    if isinstance(value, str):
        value = msgspec.json.decode(value)
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return [_number(item) for item in value]


def _embedding(raw: pl.Series, parse: bool) -> Converted:
    dtype = raw.dtype
    target = pl.List(pl.Float32)
    if isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_numeric():
        found = Converted(raw.cast(target))
    elif isinstance(dtype, pl.Object) or (dtype == pl.String and parse):
        found = _elementwise(raw, _vector, target)
    else:
        return _all_bad(raw, target)
    frame = found.values.to_frame("v")
    bad = frame.select(
        pl.col("v").list.eval(pl.element().is_null() | pl.element().is_finite().not_()).list.any().fill_null(False)
    ).to_series()
    if not bad.any():
        return found
    values = frame.select(pl.when(bad.not_()).then(pl.col("v"))).to_series().alias(raw.name)
    return Converted(values, [*found.issues, ("not_finite", bad)])


CONVERTERS: dict[str, Callable[[pl.Series, bool], Converted]] = {
    "numeric": _numeric,
    "categorical": _category,
    "text": _string,
    "boolean": _boolean,
    "datetime": _datetime,
    "embedding": _embedding,
}
