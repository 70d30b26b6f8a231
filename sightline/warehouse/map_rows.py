"""Rows of an embedding with their ids and what to read of them, for a map: some of a window, some of the reference."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.lake.store.schema import literal, quote
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import text_embeddings
from sightline.warehouse.joint_rows import rows_by_window
from sightline.warehouse.reference import load_reference
from sightline.warehouse.reference_data import file_data
from sightline.warehouse.row_samples import ORDER, SPARE

MOST_WINDOWS = 8
"""Windows of the reference, evenly spread, that rows are taken from."""
MOST_CHARACTERS = 200
MOST_SHOWN = 4
"""Features beside a logged vector that are shown."""


def window_rows(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, column: str, keys: Sequence[str], most: int
) -> pl.DataFrame:
    """Rows of some windows, as many of each: ``prediction_id, value, shown``.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        With the views of schema ``raw``.
    spec : MonitorSpec
    column : str
        Name of the embedding.
    keys : sequence of str
        Keys of windows.
    most : int
        Rows in all.
    """
    found: list[pl.DataFrame] = []
    for key in keys:
        here = f"window_key = {literal(key)}"
        [(n,)] = con.sql(f"SELECT count(*) FROM raw.production WHERE {here}").fetchall()  # noqa: S608 (quoted)
        share = SPARE * max(most // len(keys), 30) / max(n, 1)
        drawn = "true" if share >= 1 else f"{ORDER} < {int(share * 2**64)}"
        found.append(
            con.sql(
                f"SELECT {_items(spec, column)} FROM raw.production WHERE {here} AND {drawn} "  # noqa: S608 (quoted)
                f"ORDER BY {ORDER}, model_version LIMIT {-(-most // len(keys))}"
            ).pl()
        )
    return pl.concat(found)


def reference_rows(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, paths: MonitorPaths, column: str, most: int
) -> pl.DataFrame | None:
    """As `window_rows`, of the frozen reference; None before it is frozen, or where the lake has no rows of it.

    Parameters
    ----------
    con, spec, column, most
        As of `window_rows`.
    paths : MonitorPaths
    """
    profile = load_reference(paths)
    if profile is None:
        return None
    if profile.kind == "file" or profile.start is None or profile.end is None:
        rows = file_data(spec, Home(paths.home)).select(f"{_items(spec, column)}, {ORDER} AS drawn", False)
        return rows.sort("drawn").head(most).drop("drawn")
    keys = list(rows_by_window(con, spec.key(profile.start), spec.key(profile.end)))
    if not keys:
        return None
    n = min(MOST_WINDOWS, len(keys))
    chosen = sorted({round(k * (len(keys) - 1) / max(n - 1, 1)) for k in range(n)})
    return window_rows(con, spec, column, [keys[k] for k in chosen], most)


def _items(spec: MonitorSpec, column: str) -> str:
    made = text_embeddings(spec)
    source = made[column][0] if column in made else column
    value = quote(f"f_{source}")
    hidden = spec.columns.personal
    if column in made and source in hidden:
        shown = "NULL::VARCHAR"
    elif column in made:
        shown = f"left({value}, {MOST_CHARACTERS})"
    else:
        kinds = ("numeric", "categorical", "boolean", "text")
        features = spec.columns.features.items()
        names = [name for name, feature in features if feature.kind in kinds and name not in hidden][:MOST_SHOWN]
        parts = [
            f"{literal(f'{name}: ')} || left(CAST({quote(f'f_{name}')} AS VARCHAR), {MOST_CHARACTERS // MOST_SHOWN})"
            for name in names
        ]
        shown = f"concat_ws('; ', {', '.join(parts)})" if parts else "NULL::VARCHAR"
    return f"prediction_id, {value} AS value, {shown} AS shown"
