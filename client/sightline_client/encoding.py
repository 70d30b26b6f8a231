"""Any Python value to JSON that the log can read.

Runs on the client's thread, never in the request path, and never raises.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Callable

MAX_DEPTH = 4
MISSING = ("NAType", "NaTType")
"""Types of pandas' missing values (`NaT` is also a datetime)."""

MAX_FALLBACK_CHARACTERS = 1000


def _number(value: float) -> Any:
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _simple(value: Any, depth: int = 0) -> Any:
    """Turn a value into plain JSON types; what is no data becomes its text, numbers JSON cannot write become words."""
    if value is None or isinstance(value, (str, bool)) or type(value).__name__ in MISSING:
        return value if isinstance(value, (str, bool)) else None
    for types, convert in _SCALARS:
        if isinstance(value, types):
            return convert(value)
    if depth >= MAX_DEPTH:
        return _text(value)
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _text(key): _simple(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_simple(item, depth + 1) for item in value]
    return _foreign(value, depth)


def _foreign(value: Any, depth: int) -> Any:
    """Values of other libraries: NumPy scalars and arrays, pandas and Polars objects."""
    for name in ("tolist", "item", "to_list", "to_dict"):
        convert: Callable[[], Any] | None = getattr(value, name, None)
        if callable(convert):
            try:
                plain = convert()
            except Exception:  # noqa: S112 (any library may fail in its own way: then the text below is the best)
                continue
            if plain is not value and type(plain) is not type(value):
                return _simple(plain, depth + 1)
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)[:MAX_FALLBACK_CHARACTERS]
    except Exception:  # an object whose own __str__ fails must not stop the log
        return "<" + type(value).__name__ + ">"


def moment_text(moment: Any) -> Any:
    """A time as RFC 3339 text in UTC.

    Numbers are seconds since 1970; datetimes without a zone are UTC; text stays as it is.
    """
    if isinstance(moment, (int, float)) and not isinstance(moment, bool):
        try:
            moment = datetime.fromtimestamp(moment, timezone.utc)
        except (ValueError, OverflowError, OSError):
            return str(moment)
    if isinstance(moment, datetime):
        try:
            aware = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
        except OverflowError:
            return str(moment)
        return aware.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(moment, date):
        return moment.isoformat() + "T00:00:00Z"
    return _text(moment)


_SCALARS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: _simple(value.value)),
    (int, int),
    (float, _number),
    (Decimal, lambda value: "NaN" if value.is_nan() else _number(float(value))),
    (datetime, moment_text),
    ((date, time), lambda value: value.isoformat()),
    ((bytes, bytearray), lambda value: base64.b64encode(value).decode("ascii")),
)

_fast = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_simple).encode


def to_json(row: Any) -> bytes:
    """One row as JSON bytes. Unpaired surrogates become question marks."""
    try:
        text = _fast(row)
    except (ValueError, TypeError, RecursionError):  # not finite, odd keys, circular: the slow way
        text = _fast(_simple(row))
    return text.encode("utf-8", "replace")
