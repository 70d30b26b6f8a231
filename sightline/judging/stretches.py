"""Columns with too few rows in a window are judged over several windows together, at a second cadence.

Counts per bin are mergeable, so a stretch (`sightline.spec.stretches`) is the sum of its windows. Whether a column is
judged by window or by stretch is decided from what is usual for it, never from one window: a stream does not come and
go. Two parts are decided apart: what looks at the values, and the share of missing ones, which all rows tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import duckdb
import polars as pl

from metrics_py.profile.column_profile import ColumnProfile
from sightline.home import MonitorPaths
from sightline.judging.frames import window_frame
from sightline.lake.store.progress import open_progress
from sightline.spec.flows import IMMEDIATE
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.spec.stretches import Stretch, stretch_of
from sightline.warehouse.pooling import Pooling, frozen_poolings, pooling_of

LEAST = 0.25
"""Share of `drift.min_rows` below which one stretch tells nothing."""
BINS = {"window_start": pl.Datetime("us"), "column_name": pl.String, "bin_id": pl.Int32, "n": pl.Int64}


@dataclass(frozen=True)
class Stretches:
    """Second cadence of a run.

    Parameters
    ----------
    spec : MonitorSpec
        The monitor's; `drift.min_rows` is what one stretch needs.
    stretch : Stretch or None
        None: there is no second cadence.
    columns : mapping of column to Pooling
        Columns of which something is judged over stretches.
    bins : DataFrame
        ``window_start, column_name, bin_id, n`` of the stretches that end with a window of the run: all rows together,
        under the start of the last window.
    """

    spec: MonitorSpec
    stretch: Stretch | None = None
    columns: Mapping[str, Pooling] = field(default_factory=dict[str, Pooling])
    bins: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=BINS))

    def of_values(self, column: str) -> Pooling | None:
        """How the values of a column are pooled; None where they are judged by window."""
        pooling = self.columns.get(column)
        return pooling if pooling is not None and pooling.values else None

    def by_stretch(self, column: str) -> Pooling:
        """How a column is pooled."""
        return self.columns.get(column, Pooling(values=False, missing=False, rows=0.0))

    def long_profile(self, profile: ColumnProfile) -> ColumnProfile:
        """The reference of a column, with the usual rows of a stretch."""
        assert self.stretch is not None
        return replace(profile, rows_per_window=self.stretch.n * self.columns[profile.column].rows)

    def begins(self, last: pl.Expr) -> pl.Expr:
        """Start of the first window of the stretches whose last ones start so."""
        assert self.stretch is not None
        return last - (self.stretch.n - 1) * self.spec.window

    def keys(self, keys: Sequence[str]) -> list[str]:
        """The windows of a run, and all others of the stretches that end in it."""
        if self.stretch is None or self.bins.is_empty():
            return list(keys)
        ends = self.bins["window_start"].unique().to_list()
        parts = (self.spec.key(end - k * self.spec.window) for end in ends for k in range(self.stretch.n))
        return sorted({*keys, *parts})

    def pooled(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows per window, segment, column and bin as those of whole stretches, of all rows together.

        Parameters
        ----------
        rows : DataFrame
            ``window_start, segment, column_name, bin_id, n``.

        Returns
        -------
        DataFrame
            The same columns; stretches that the windows do not cover are left out.
        """
        whole = rows.filter(pl.col("segment") == "all")
        if self.stretch is None or whole.is_empty():
            return whole
        last = self.stretch.last(self.spec, pl.col("window_start"))
        covered = last.is_between(pl.col("window_start").min(), pl.col("window_start").max())
        covered &= self.begins(last) >= pl.col("window_start").min()
        by = ["window_start", "segment", "column_name", "bin_id"]
        return whole.filter(covered).with_columns(window_start=last).group_by(by).agg(pl.col("n").sum())


def read_stretches(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    mart: str,
    keys: Sequence[str],
    profiles: Mapping[str, ColumnProfile],
) -> Stretches:
    """Which columns are judged over stretches, and the stretches that end with a window of a run.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    mart : str
        Bin counts.
    keys : sequence of str
        Windows of the run.
    profiles : mapping of column to ColumnProfile
        The frozen reference.
    """
    over = spec.model_copy(update={"drift": spec.drift.model_copy(update={"min_rows": least_rows(spec)})})
    columns = read_poolings(spec, con, mart, profiles)
    found = Stretches(over, stretch_of(spec), columns)
    return replace(found, bins=_bins(found, con, mart, keys)) if columns else found


def least_rows(spec: MonitorSpec) -> int:
    """Effective rows that one stretch needs."""
    return max(1, round(LEAST * spec.drift.min_rows))


def read_poolings(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, mart: str, profiles: Mapping[str, ColumnProfile]
) -> dict[str, Pooling]:
    """The columns of which something is judged over stretches; parameters as of `read_stretches`."""
    stretch = stretch_of(spec)
    if stretch is None:
        return {}
    found = frozen_poolings(spec, profiles)
    unknown = [name for name in profiles if name not in found]
    for name, (rows, since) in _first_counts(spec, con, mart, stretch, unknown).items():
        found[name] = pooling_of(spec, stretch, profiles[name], rows, since)
    return {name: found[name] for name in profiles if name in found and (found[name].values or found[name].missing)}


def ends_again(spec: MonitorSpec, paths: MonitorPaths, asset: str, keys: Sequence[str]) -> list[str]:
    """Windows in which stretches were judged before that hold a window of a run: they are to be judged again.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.ledger`: what was judged.
    asset : str
        Whose judgements.
    keys : sequence of str
        Windows of the run, aggregated by now.

    Returns
    -------
    list of str
        Keys in time order, without those of the run. One that was judged under another reference than these windows are
        aggregated by is left out: it is worked up anew itself.
    """
    stretch = stretch_of(spec)
    if stretch is None:
        return []
    ends = window_frame(spec, keys).select(stretch.last(spec, pl.col("window_start")))["window_start"].unique()
    wanted = {spec.key(end) for end in ends} - set(keys)
    if not wanted:
        return []
    with open_progress(paths.ledger) as progress:
        judged, references = progress.judged(asset), set(progress.reference_of(IMMEDIATE.name, keys).values())
    return sorted(key for key in wanted if judged.get(key) in references)


def _first_counts(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, mart: str, stretch: Stretch, columns: Sequence[str]
) -> dict[str, tuple[float, datetime]]:
    """Rows per window that holds some, in the first whole stretch of the history, and when that ends.

    For references that have no windows. What is told of a window does not depend on later ones.
    """
    if not columns:
        return {}
    started: datetime | None = con.sql(
        f"select min(window_start) from marts.{mart} where segment = 'all' and {production_sql(spec)}"  # noqa: S608 (our own name)
    ).fetchall()[0][0]
    if started is None:
        return {}
    begin, length = _first_whole(spec, stretch, started), stretch.n * spec.window
    query = f"""
        select column_name, sum(n) / count(distinct window_start) from marts.{mart}
        where segment = 'all' and window_start >= ? and window_start < ? and {production_sql(spec)}
        and column_name in (select unnest(?::varchar[])) group by column_name
    """  # noqa: S608 (our own names)
    rows = con.sql(query, params=[begin, begin + length, list(columns)]).fetchall()
    return {name: (float(n), begin + length - spec.window) for name, n in rows}


def _first_whole(spec: MonitorSpec, stretch: Stretch, start: datetime) -> datetime:
    """Start of the first stretch that begins with this window or after it."""
    last = pl.select(stretch.last(spec, pl.lit(start, dtype=pl.Datetime("us")))).item()
    begin: datetime = last - (stretch.n - 1) * spec.window
    return begin if begin == start else begin + stretch.n * spec.window


def _bins(found: Stretches, con: duckdb.DuckDBPyConnection, mart: str, keys: Sequence[str]) -> pl.DataFrame:
    """Counts of the stretches that end with a window of the run; none that began before the history does."""
    spec, stretch = found.spec, found.stretch
    assert stretch is not None
    windows = window_frame(spec, keys).filter(pl.col("window_start") == stretch.last(spec, pl.col("window_start")))
    begins = found.begins(pl.col("window_start"))
    ends = windows.filter(begins >= spec.first_window.replace(tzinfo=None))["window_start"]
    first, last = ends.min(), ends.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return pl.DataFrame(schema=BINS)
    query = f"""
        select window_start, column_name, bin_id, sum(n)::bigint as n from marts.{mart}
        where segment = 'all' and window_start >= ? and window_start <= ? and {production_sql(spec)}
        and column_name in (select unnest(?::varchar[])) group by all
    """  # noqa: S608 (our own names)
    begin = first - (stretch.n - 1) * spec.window
    rows = con.sql(query, params=[begin, last, list(found.columns)]).pl()
    since = pl.DataFrame(
        {"column_name": list(found.columns), "since": [pooling.since for pooling in found.columns.values()]},
        schema={"column_name": pl.String, "since": pl.Datetime("us")},
    )
    pooled = (
        rows.with_columns(window_start=stretch.last(spec, pl.col("window_start")))
        .filter(pl.col("window_start").is_in(ends.implode()))
        .join(since, on="column_name")
        .filter(pl.col("window_start") >= pl.col("since"))
    )
    return pooled.group_by("window_start", "column_name", "bin_id").agg(pl.col("n").sum()).cast(pl.Schema(BINS))
