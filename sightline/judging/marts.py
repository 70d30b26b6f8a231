"""Reading marts: the windows of a run, and the rows of all model versions together."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from sightline.spec.model import MonitorSpec

ALL_VERSIONS = "all"
"""`model_version` of the rows over all versions together."""


def read_mart(con: duckdb.DuckDBPyConnection, name: str, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of a mart for some windows.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
    name : str
        Name of the mart.
    keys : sequence of str
        Window keys.
    """
    query = (
        f"select * from marts.{name} "  # noqa: S608 (our own name)
        "where window_key between ? and ? and window_key in (select unnest(?::varchar[]))"
    )
    return con.sql(query, params=[min(keys), max(keys), list(keys)]).pl()


def with_all_versions(spec: MonitorSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the rows again under the version 'all'; without a version column these are the only ones."""
    together = frame.with_columns(model_version=pl.lit(ALL_VERSIONS))
    return together if spec.columns.model_version is None else pl.concat([frame, together])
