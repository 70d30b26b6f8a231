"""Types of PostgreSQL and what they become: those that Arrow has as they are, numbers as decimals, the rest as text."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

NATIVE = frozenset(
    {
        *("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "name", "bytea"),
        *("_bool", "_int2", "_int4", "_int8", "_float4", "_float8", "_text", "_varchar"),
    }
)
"""What Arrow has as it is."""
TIMES = frozenset({"date", "timestamp", "timestamptz"})
CASTS = {"_numeric": "float8[]", "vector": "real[]", "halfvec": "real[]", "money": "numeric::text"}
DIGITS = 38
"""Digits of a decimal number in Arrow."""
NON_FINITE = ("NaN", "Infinity", "-Infinity")


@dataclass(frozen=True)
class Column:
    """A column: its name, its type (of domains that below it), the type's modifier, and the type as people write it."""

    name: str
    type: str
    modifier: int
    described: str


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def column_sql(column: Column) -> str:
    """How a column is asked for."""
    name = quoted(column.name)
    if column.type in TIMES:  # Arrow has no infinite times
        return f"CASE WHEN isfinite({name}) THEN {name} END"
    if column.type in NATIVE:
        return name
    return f"{name}::{CASTS.get(column.type, 'text')}"


def native(values: pl.Series, column: Column) -> pl.Series:
    """Values as they would lie in a file: numbers as decimals, or as floats where one is not finite."""
    if column.type not in ("numeric", "money"):
        return values
    if values.is_in(NON_FINITE).any():
        return _floats(values)
    if column.modifier >= 4 and column.type == "numeric":
        precision, scale = (column.modifier - 4) >> 16, (column.modifier - 4) & 0x7FF
        if precision <= DIGITS and 0 <= scale <= precision:
            return values.cast(pl.Decimal(precision, scale))
    lengths = pl.DataFrame({"v": values}).select(
        scale=pl.col("v").str.extract(r"\.(\d*)$").str.len_bytes().fill_null(0),
        whole=pl.col("v").str.extract(r"^-?(\d*)").str.len_bytes(),
    )
    scale, whole = lengths["scale"].max(), lengths["whole"].max()
    if not isinstance(scale, int) or not isinstance(whole, int):
        return values.cast(pl.Decimal(DIGITS, 0))
    return values.cast(pl.Decimal(DIGITS, scale)) if scale + whole <= DIGITS else _floats(values)


def _floats(values: pl.Series) -> pl.Series:
    """Python's reading of numbers, which is exact to the last digit."""
    return pl.Series(values.name, [None if v is None else float(v) for v in values], dtype=pl.Float64)
