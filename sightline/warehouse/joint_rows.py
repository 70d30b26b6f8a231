"""Rows of windows for what is judged of several columns at once: samples that are the same whenever they are drawn.

A row is in the sample by a hash of its id.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from sightline.lake.store.schema import literal, quote
from sightline.warehouse.row_samples import ORDER, SPARE

FloatArray = NDArray[np.float64]
MOST_ROWS = 5_000
"""Rows of a window whose columns are looked at together: more would only add to the noise within a day, which is small
beside what days differ by."""
MOST_VECTORS = 50_000


def window_columns(
    con: duckdb.DuckDBPyConnection, keys: Sequence[str], columns: Sequence[str], n: int, most: int = MOST_ROWS
) -> dict[str, FloatArray]:
    """Numeric and boolean features of a sample of the rows of a window, or of several together.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.
    keys : sequence of str
        Keys of the windows: only their files are read.
    columns : sequence of str
        Names of the features.
    n : int
        Rows of the windows.
    most : int, default 5000
        Rows of the sample.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        NaN: missing.
    """
    return as_columns(_drawn(con, keys, numbers(columns), n, most), columns)


def window_vectors(
    con: duckdb.DuckDBPyConnection, keys: Sequence[str], column: str, n: int, most: int = MOST_VECTORS
) -> pl.Series:
    """Vectors (or texts) of a sample of the rows of some windows; null where there is none.

    Parameters
    ----------
    con, keys
        As of `window_columns`.
    column : str
        Name of the feature.
    n : int
        Rows of the windows.
    most : int, default 50000
        Rows of the sample.
    """
    return _drawn(con, keys, f"{quote(f'f_{column}')} AS value", n, most)["value"]


def window_texts(con: duckdb.DuckDBPyConnection, keys: Sequence[str], column: str, n: int, most: int) -> pl.DataFrame:
    """``prediction_id`` and ``value`` (null where there is none) of a text column, as of `window_vectors`."""
    return _drawn(con, keys, f"prediction_id, {quote(f'f_{column}')} AS value", n, most)


def numbers(columns: Sequence[str]) -> str:
    """Select list of features as numbers."""
    return ", ".join(f"{quote(f'f_{name}')}::DOUBLE AS {quote(name)}" for name in columns)


def as_columns(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, FloatArray]:
    """Columns of a frame as arrays, null as NaN."""
    return {name: rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in columns}


def rows_by_window(con: duckdb.DuckDBPyConnection, first: str, end: str) -> dict[str, int]:
    """Windows with rows from one key up to, and without, another: key -> rows."""
    query = (
        "SELECT window_key, count(*) FROM raw.production WHERE window_key >= ? AND window_key < ? GROUP BY 1 ORDER BY 1"
    )
    return dict(con.sql(query, params=[first, end]).fetchall())


def _drawn(con: duckdb.DuckDBPyConnection, keys: Sequence[str], items: str, n: int, most: int) -> pl.DataFrame:
    here = f"window_key IN ({', '.join(literal(key) for key in keys)})"
    share = SPARE * most / max(n, 1)
    condition = "true" if share >= 1 else f"{ORDER} < {int(share * 2**64)}"
    return con.sql(
        f"SELECT {items} FROM raw.production WHERE {here} AND {condition} "  # noqa: S608 (all quoted)
        f"ORDER BY {ORDER}, model_version LIMIT {most}"
    ).pl()
