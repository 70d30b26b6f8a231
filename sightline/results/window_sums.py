"""Sums of windows of several columns at once, of embeddings and of texts: they merge, so any can be compared later."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.home import MonitorPaths

FloatArray = NDArray[np.float64]
SCHEMA = pl.Schema(
    {
        "column": pl.String(),
        "name": pl.String(),
        "shape": pl.List(pl.Int64()),
        "value": pl.List(pl.Float64()),
        "model": pl.String(),
    }
)
"""One row per array; `model` is the frozen reference by whose maps it was made: only sums of one model add up."""

Folder = Literal["multivariate", "texts"]
"""Where the sums of vectors and of columns together stand, and those of texts."""


def write_window_sums(
    paths: MonitorPaths,
    key: str,
    model: str,
    found: Mapping[str, Mapping[str, FloatArray]],
    folder: Folder = "multivariate",
) -> None:
    """Replace the sums of one window.

    Parameters
    ----------
    paths : MonitorPaths
    key : str
        Key of the window.
    model : str
        Id of the frozen reference.
    found : mapping of column to mapping of name to ndarray
        ``@features``: the numeric features together.
    folder : {'multivariate', 'texts'}
    """
    rows = [
        (column, name, list(array.shape), np.ravel(array).tolist(), model)
        for column, sums in found.items()
        for name, array in sums.items()
    ]
    file = _file(paths, key, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(beside)
    beside.replace(file)  # not synced: after a power failure the window is summed again by materializing it


def read_window_sums(
    paths: MonitorPaths, keys: Sequence[str], model: str | None = None, folder: Folder = "multivariate"
) -> dict[str, dict[str, dict[str, FloatArray]]]:
    """Sums of some windows: column -> key -> name -> array.

    Parameters
    ----------
    paths : MonitorPaths
    keys : sequence of str
        Keys of windows; those without a file are left out.
    model : str, optional
        Only sums by this frozen reference.
    folder : {'multivariate', 'texts'}
    """
    found: dict[str, dict[str, dict[str, FloatArray]]] = {}
    for key in keys:
        file = _file(paths, key, folder)
        if not file.exists():
            continue
        rows = pl.read_parquet(file, glob=False, hive_partitioning=False)
        for row in rows.iter_rows(named=True):
            if model in (None, row["model"]):
                array = np.array(row["value"], dtype=np.float64).reshape(row["shape"])
                found.setdefault(row["column"], {}).setdefault(key, {})[row["name"]] = array
    return found


def _file(paths: MonitorPaths, key: str, folder: Folder) -> Path:
    return paths.results / folder / f"window={key}.parquet"
