"""What people see in Dagster: column schemas, pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

BLOCKS = "▁▂▃▄▅▆▇█"
TYPES = {
    "String": "text",
    "Float64": "double",
    "Boolean": "boolean",
    "Int64": "bigint",
    "UInt8": "utinyint",
    "Int32": "integer",
}


def column_schema(schema: Mapping[str, pl.DataType], descriptions: Mapping[str, str] | None = None) -> dg.TableSchema:
    """A Polars schema as Dagster's column schema."""
    told = descriptions or {}
    columns = [
        dg.TableColumn(name=name, type=_type(dtype), description=told.get(name)) for name, dtype in schema.items()
    ]
    return dg.TableSchema(columns=columns)


def _type(dtype: pl.DataType) -> str:
    base = str(dtype.base_type())
    return "timestamp (UTC)" if base == "Datetime" else "float[]" if base == "List" else TYPES.get(base, base.lower())


def sparkline(values: Sequence[float | None]) -> str:
    """Block characters, one per value; a dot where there is none.

    Examples
    --------
    >>> sparkline([1, 2, None, 3])
    '▁▅·█'
    """
    known = [value for value in values if value is not None]
    if not known:
        return "·" * len(values)
    low, high = min(known), max(known)
    step = (high - low) or 1.0
    return "".join("·" if v is None else BLOCKS[round((v - low) / step * (len(BLOCKS) - 1))] for v in values)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table; pipes in cells are escaped."""
    lines = [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]
    return dg.MetadataValue.md("\n".join(lines))


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
