"""Words of texts by window: in how many texts each stands, and which of them moved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sightline.home import MonitorPaths

WORDS_SCHEMA = pl.Schema(
    {
        "window_key": pl.String(),
        "column": pl.String(),
        "word": pl.String(),
        "n": pl.Int64(),
        "n_texts": pl.Int64(),
        "n_reference": pl.Int64(),
        "n_texts_reference": pl.Int64(),
        "difference": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "z": pl.Float64(),
        "p_value": pl.Float64(),
        "q_value": pl.Float64(),
        "is_moved": pl.Boolean(),
        "example_id": pl.String(),
        "example": pl.String(),
        "model": pl.String(),
    }
)
"""One row per window, column and word. `n` of `n_texts` texts with words hold it: over windows both add up. `model` is
the frozen reference. Words that were not tested have no numbers from `n_reference` on."""


def write_words(paths: MonitorPaths, key: str, words: pl.DataFrame) -> None:
    """Replace the words of one window.

    Parameters
    ----------
    paths : MonitorPaths
    key : str
        Key of the window.
    words : DataFrame
        Shape `WORDS_SCHEMA`.
    """
    file = _file(paths, key)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    words.select(WORDS_SCHEMA.names()).write_parquet(beside)
    beside.replace(file)  # not synced: after a power failure the window is counted again by materializing it


def read_words(paths: MonitorPaths, keys: Sequence[str]) -> pl.DataFrame:
    """Words of some windows, shape `WORDS_SCHEMA`; windows without a file are left out."""
    files = [file for key in keys if (file := _file(paths, key)).exists()]
    empty = pl.DataFrame(schema=WORDS_SCHEMA)
    frames = [pl.read_parquet(file, glob=False, hive_partitioning=False) for file in files]
    return pl.concat([empty, *frames], how="diagonal_relaxed").select(WORDS_SCHEMA.names())


def _file(paths: MonitorPaths, key: str) -> Path:
    return paths.results / "words" / f"window={key}.parquet"
