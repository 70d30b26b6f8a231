"""Reading marts: the windows of a run, and the rows of all model versions together."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production

ALL_VERSIONS = "all"
"""`model_version` of the rows over all versions together."""
AREAS = {
    **{"window_key": pl.String, "window_start": pl.Datetime("us"), "model_version": pl.String, "segment": pl.String},
    **{"class_name": pl.String, "n_positive": pl.Int64, "n_negative": pl.Int64},
    **{"roc_auc": pl.Float64, "average_precision": pl.Float64},
}


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


def has_mart(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Is there such a mart yet? One that came with this release is made by the first run."""
    query = "select 1 from duckdb_tables() where schema_name = 'marts' and table_name = ?"
    return bool(con.sql(query, params=[name]).fetchall())


def with_all_versions(spec: MonitorSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Add production's rows again under the version 'all'; without a version column these are the only ones."""
    together = frame.filter(is_production(spec)).with_columns(model_version=pl.lit(ALL_VERSIONS))
    return together if spec.columns.model_version is None else pl.concat([frame, together])


def read_areas(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of the mart `score_areas`, which has those of all versions together.

    Parameters
    ----------
    spec : MonitorSpec
        Without a version column the rows of all versions are the only ones.
    con, keys
        As of `read_mart`. A warehouse that no run of this release has worked on has no such mart, and no rows.
    """
    if not has_mart(con, "score_areas"):
        return pl.DataFrame(schema=AREAS)
    areas = read_mart(con, "score_areas", keys)
    return areas.filter(model_version=ALL_VERSIONS) if spec.columns.model_version is None else areas
