"""Maps of embeddings in two dimensions, one file per window: rows of the reference beside the window's."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from sightline.home import MonitorPaths
from sightline.lake.store.schema import TIMESTAMP

MAP_SCHEMA = pl.Schema(
    {
        "column": pl.String(),
        "window_start": TIMESTAMP,
        "side": pl.String(),
        "prediction_id": pl.String(),
        "x": pl.Float64(),
        "y": pl.Float64(),
        "distance": pl.Float64(),
        "nearest": pl.List(pl.String()),
        "shown": pl.String(),
        "method": pl.String(),
        "model": pl.String(),
    }
)
"""`side` is ``reference`` or ``current``; `distance` to the nearest row of the reference, and the ids of the `nearest`,
are those of current rows; `shown` is what to read of a row; `model` the frozen reference."""


def write_map(paths: MonitorPaths, key: str, frame: pl.DataFrame) -> None:
    """Replace the maps of one window.

    Parameters
    ----------
    paths : MonitorPaths
    key : str
        Key of the window.
    frame : DataFrame
        `MAP_SCHEMA`, all columns of the window together.
    """
    file = _folder(paths) / f"window={key}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    frame.select(pl.col(name).cast(dtype) for name, dtype in MAP_SCHEMA.items()).write_parquet(beside)
    beside.replace(file)  # not synced: after a power failure it is made again with the window


def read_map(paths: MonitorPaths, column: str, first: str = "", last: str = "~") -> pl.DataFrame:
    """The newest map of a column in some windows.

    Parameters
    ----------
    paths : MonitorPaths
    column : str
        Name of the embedding.
    first, last : str
        Keys of the first and the last window; default: all.

    Returns
    -------
    DataFrame
        `MAP_SCHEMA`; empty where there is none.
    """
    for file in sorted(_folder(paths).glob("window=*.parquet"), reverse=True):
        if first <= file.stem.removeprefix("window=") <= last:
            found = pl.read_parquet(file, glob=False, hive_partitioning=False).filter(pl.col("column") == column)
            if not found.is_empty():
                return found
    return pl.DataFrame(schema=MAP_SCHEMA)


def _folder(paths: MonitorPaths) -> Path:
    return paths.results / "embedding_maps"
