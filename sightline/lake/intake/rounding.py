"""Numbers that a DOUBLE does not hold: which values of a column it rounds, and whether different ones become equal.

The lake keeps every number as a DOUBLE. The originals are only at hand here, so what is lost is noted here, and told
where the numbers are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from metrics_py.profile.resolution import EXACT_UP_TO, loses
from metrics_py.profile.texts import present

IMPRECISE = "imprecise_number"
"""Different values of the batch are one DOUBLE."""
ROUNDED = "rounded_number"
"""Values are rounded; those of the batch stay apart. Whether those of a window do depends on how close they lie."""
ROUNDINGS = (IMPRECISE, ROUNDED)
WHOLE_TEXT = r"^[+-]?[0-9]{16,}(\.0*)?$"


@dataclass(frozen=True)
class Rounded:
    """Rows of a column whose value is rounded, and the quarantine's word for what that does."""

    reason: str
    rows: pl.Series


def rounded(raw: pl.Series, doubles: pl.Series, *, parse: bool = False) -> Rounded | None:
    """What a column loses on its way to DOUBLE.

    Parameters
    ----------
    raw : polars.Series
        As it was read, of any type.
    doubles : polars.Series
        Of Float64: what it became.
    parse : bool
        Text is read as numbers (CSV).

    Returns
    -------
    Rounded or None
        None where nothing is lost: of floats always, of decimals if 1 % at most of their different values become equal.

    Examples
    --------
    >>> ids = pl.Series([2**53 + k for k in range(4)])
    >>> rounded(ids, ids.cast(pl.Float64)).reason
    'imprecise_number'
    >>> moments = pl.Series([1_700_000_000_000_000_001, 1_800_000_000_000_000_001])
    >>> rounded(moments, moments.cast(pl.Float64)).reason
    'rounded_number'
    """
    exact = _exact(raw, doubles, parse)
    if exact is None:
        return None
    if loses(exact, doubles):
        return Rounded(IMPRECISE, exact.is_not_null())
    if exact.dtype.is_decimal():
        return None
    whole = exact.cast(pl.Int128)
    rows = (whole.cast(pl.Float64).cast(pl.Int128, strict=False) != whole).fill_null(False)
    return Rounded(ROUNDED, rows) if rows.any() else None


def _exact(raw: pl.Series, doubles: pl.Series, parse: bool) -> pl.Series | None:
    """Whole numbers from 2^53 on and decimals, exactly; null in all other rows, None if there are none."""
    if raw.dtype.is_decimal():
        return raw
    low, high = doubles.min(), doubles.max()
    if not isinstance(low, float) or not isinstance(high, float) or -EXACT_UP_TO < low <= high < EXACT_UP_TO:
        return None
    large = (doubles.abs() >= EXACT_UP_TO).fill_null(False)
    if raw.dtype.is_integer():
        whole = raw.cast(pl.Int128)
    elif raw.dtype == pl.String and parse:
        text = present(raw)
        whole = text.set(~text.str.contains(WHOLE_TEXT).fill_null(False), None)
        whole = whole.str.replace(r"\.0*$", "").str.strip_prefix("+").cast(pl.Int128, strict=False)
    elif raw.dtype == pl.Object:
        values = [value if is_whole(value) else None for value in raw.to_list()]
        whole = pl.Series(raw.name, values, dtype=pl.Int128, strict=False)
    else:
        return None
    whole = whole.set(~large, None)
    return whole if whole.is_not_null().any() else None


def is_whole(value: Any) -> bool:
    """Whether a value is an integer of Python that a DOUBLE may round and 128 bits hold."""
    return type(value) is int and EXACT_UP_TO <= abs(value) < 2**127
