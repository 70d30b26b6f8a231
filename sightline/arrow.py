"""Polars frames to and from Arrow, in one place because pyarrow has no types."""

from __future__ import annotations

import polars as pl


def to_arrow(frame: pl.DataFrame) -> object:
    """An Arrow table, as DuckDB takes it."""
    return frame.to_arrow()  # pyright: ignore[reportUnknownVariableType] (pyarrow has no types)


def from_arrow(table: object) -> pl.DataFrame:
    """The frame of an Arrow table or record batch."""
    frame = pl.from_arrow(table)  # pyright: ignore[reportUnknownMemberType] (pyarrow has no types)
    assert isinstance(frame, pl.DataFrame)
    return frame
