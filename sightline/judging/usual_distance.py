"""How far the reference's own windows lie from the rest of it: what is usual for a day is no drift.

A day shares one day's weather and one day's customers: against a reference of two months it is always "far away".
So a window is compared with the reference, and its distance with the distances of windows that are known to be
ordinary: of each of the reference's windows from all the others together (rolling: from the windows before it). The
largest of k such distances is a distribution-free prediction limit: one more ordinary window lies beyond it once in
k + 1 (Wilks, Ann. Math. Statist. 12, 1941), whatever makes the windows differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.methods import DriftMethod
from metrics_py.drift.pair import ColumnPair, Findings
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.wording import number
from sightline.judging.reference_bounds import MIN_REFERENCE_WINDOWS, reference_span
from sightline.judging.weekdays import same_weekdays
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
NOUNS = {"hourly": "an hour", "daily": "a day", "weekly": "a week"}
MOST_WINDOWS = 90
"""The newest so many windows of a longer reference are enough to tell what is usual."""


@dataclass(frozen=True, eq=False)
class Usual:
    """Distances of ordinary windows, for T groups; NaN where too few windows are known.

    Attributes
    ----------
    low, high : ndarray, shape (T,)
        Smallest and largest distance from no change.
    noun : str
        What they are distances of.
    """

    low: FloatArray
    high: FloatArray
    noun: str

    def limit(self, tolerance: float) -> FloatArray:
        """The larger of the tolerance and what is usual; shape (T,)."""
        return np.fmax(tolerance, self.high)

    def words(self, group: int, tolerance: float) -> str:
        """The limit of one group, as people read it."""
        if not self.high[group] > tolerance:
            return f"the tolerance of {tolerance:g}"
        low, high = (number(float(end[group])) for end in (self.low, self.high))
        return f"what is usual for {self.noun}, {low} to {high}"


def read_windows(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, mart: str, judged: pl.DataFrame) -> pl.DataFrame:
    """Rows per window, segment, column and bin of the windows that tell what is usual, all versions together.

    Those of the reference; of a reference file, which has none, the first ones of the history; rolling, twice the
    length before the run. `judged` are the rows of the run's windows (column window_start).
    """
    nothing = spec.first_window.replace(tzinfo=None)
    start, end = reference_span(spec, judged) or (nothing, nothing)
    if spec.reference.kind == "rolling":
        start -= spec.reference.length
    query = f"""
        with own as (
            select * from marts.{mart} where window_start >= ? and window_start < ? and {production_sql(spec)}
        ),
        newest as (select distinct window_start from own order by window_start desc limit ?)
        select window_start, segment, column_name, bin_id, sum(n)::bigint as n
        from own {"" if spec.reference.kind == "rolling" else "semi join newest using (window_start)"}
        group by all
    """  # noqa: S608 (our own names)
    return con.sql(query, params=[start, end, MOST_WINDOWS]).pl()


def usual(
    spec: MonitorSpec,
    windows: pl.DataFrame,
    method: DriftMethod,
    profile: ColumnProfile,
    groups: pl.DataFrame,
    noun: str = "",
) -> Usual:
    """What is usual for each judged group: among the reference's windows of its segment, without itself.

    Parameters
    ----------
    spec : MonitorSpec
    windows : DataFrame
        Result of `read_windows`, of one column.
    method : DriftMethod
        The one that decides.
    profile : ColumnProfile
        Of the column.
    groups : DataFrame
        Columns window_start and segment; T rows.
    noun : str, optional
        What is judged, where that is no window of the schedule.
    """
    low, high = (np.full(len(groups), np.nan) for _ in range(2))
    segments, starts = groups["segment"].to_numpy(), groups["window_start"].to_numpy()
    for (segment,), part in windows.group_by(["segment"]):
        own = np.flatnonzero(segments == segment)
        if not len(own):
            continue
        days, distances = _distances(spec, part, method, profile)
        for i in own:
            ordinary = distances[_is_told_by(spec, days, starts[i]) & np.isfinite(distances)]
            if len(ordinary) >= MIN_REFERENCE_WINDOWS:
                low[i], high[i] = ordinary.min(), ordinary.max()
    return Usual(low, high, noun or NOUNS[spec.schedule])


def _is_told_by(spec: MonitorSpec, days: NDArray[np.datetime64], start: np.datetime64) -> NDArray[np.bool_]:
    """Which windows tell what is usual for the one that begins at `start`."""
    if spec.reference.kind == "rolling":
        return (days < start) & (days >= start - np.timedelta64(spec.reference.length))
    return days != start


def _distances(
    spec: MonitorSpec, part: pl.DataFrame, method: DriftMethod, profile: ColumnProfile
) -> tuple[NDArray[np.datetime64], FloatArray]:
    """Distance of each window of one segment from the others; NaN where either side has too few rows."""
    days = part["window_start"].unique().sort()
    counts = np.zeros((len(days), len(profile)), dtype=np.int64)
    rows = days.search_sorted(part["window_start"]).to_numpy()
    np.add.at(counts, (rows, part["bin_id"].to_numpy()), part["n"].to_numpy())
    others = _others(spec, profile, days, counts)
    enough = np.minimum(counts.sum(axis=1), others.sum(axis=1)) / profile.design_effect >= spec.drift.min_rows
    distances = np.full(len(days), np.nan)
    if enough.any():
        pair = ColumnPair(
            profile, others[enough], counts[enough], design_effect=profile.design_effect, has_own_reference=False
        )
        assert method.from_counts is not None  # the loader refuses others
        distances[enough] = np.abs(estimate(method.from_counts(pair)) - method.no_change)
    return days.to_numpy(), distances


def _others(spec: MonitorSpec, profile: ColumnProfile, days: pl.Series, counts: IntArray) -> IntArray:
    """What each window is compared with: the sum of the others, rolling of those in the `length` before it."""
    others = counts.sum(axis=0) - counts
    if spec.reference.kind == "rolling":
        running = np.concatenate([np.zeros((1, counts.shape[1]), dtype=np.int64), counts.cumsum(axis=0)])
        since = days.search_sorted(days - spec.reference.length).to_numpy()
        others = running[np.arange(len(days))] - running[since]
    return same_weekdays(profile, others, counts) if profile.kind == "datetime" else others


def estimate(found: Findings) -> FloatArray:
    """The estimate that belongs to the interval: without the part that sampling noise alone gives to a distance.

    Returns
    -------
    ndarray, shape (T,)
    """
    value = np.where(np.isfinite(found.effect), found.effect, found.value)
    known = np.isfinite(found.ci_low) & np.isfinite(found.ci_high)
    return np.where(known, np.clip(value, found.ci_low, found.ci_high), value)
