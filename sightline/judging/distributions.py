"""Bin counts of all rows of a window, dense, as they are published for those who draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import polars as pl

from metrics_py.profile.column_profile import ColumnProfile
from sightline.results.distributions import DISTRIBUTION_SCHEMA
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql


def distributions(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    profiles: Mapping[str, ColumnProfile],
    reference: str,
) -> pl.DataFrame:
    """Counts per window and column, all versions together.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    profiles : mapping of column to ColumnProfile
        The frozen reference.
    reference : str
        Its id.

    Returns
    -------
    DataFrame
        `sightline.results.distributions.DISTRIBUTION_SCHEMA`.
    """
    query = (
        "select window_start, column_name, bin_id, sum(n)::bigint as n "  # noqa: S608 (quoted)
        "from marts.column_bins where segment = 'all'"
        " and window_key between ? and ? and window_key in (select unnest(?::varchar[]))"
        f" and {production_sql(spec)} group by all"
    )
    rows = con.sql(query, params=[min(keys), max(keys), list(keys)]).pl()
    frames: list[pl.DataFrame] = []
    for (name,), part in rows.group_by(["column_name"]):
        profile = profiles.get(str(name))
        if profile is None:
            continue
        starts = part["window_start"].unique().sort()
        counts = np.zeros((len(starts), len(profile)), dtype=np.int64)
        at = starts.search_sorted(part["window_start"]).to_numpy()
        np.add.at(counts, (at, part["bin_id"].to_numpy()), part["n"].to_numpy())
        column = {"column": pl.lit(str(name)), "reference": pl.lit(reference)}
        frames.append(pl.DataFrame({"window_start": starts, "counts": counts.tolist()}).with_columns(**column))
    empty = pl.DataFrame(schema=DISTRIBUTION_SCHEMA)
    return pl.concat([empty, *(frame.select(list(DISTRIBUTION_SCHEMA)) for frame in frames)], how="vertical_relaxed")
