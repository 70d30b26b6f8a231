"""Periods in which texts, vectors and rows are judged together: windows, or stretches where one holds too few.

Copies and classifiers are no sums of windows, so the rows of a stretch are read again, all together; there are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import polars as pl

from sightline.judging.frames import EVIDENCE, Work, window_frame
from sightline.judging.stretches import least_rows, read_poolings
from sightline.judging.usual_distance import NOUNS
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import Stretch, stretch_of
from sightline.warehouse.pooling import pooled_since


@dataclass(frozen=True)
class Periods:
    """Periods of one column.

    Parameters
    ----------
    spec : MonitorSpec
    keys : sequence of str
        The windows or, where `stretch` is given, the last windows of whole stretches: judgements stand under them.
    stretch : Stretch or None
        None: by window.
    """

    spec: MonitorSpec
    keys: Sequence[str]
    stretch: Stretch | None = None

    def windows(self, key: str) -> list[str]:
        """Keys of the windows of the period that ends with one."""
        n, end = self.stretch.n if self.stretch else 1, self.spec.window_start(key)
        return [self.spec.key(end - k * self.spec.window) for k in reversed(range(n))]

    @property
    def least(self) -> int:
        """Effective rows that a period needs."""
        return least_rows(self.spec) if self.stretch else self.spec.drift.min_rows

    @property
    def name(self) -> str:
        """Where rows lie, for the reasons: `the window`, `7 days`."""
        return self.stretch.words if self.stretch else "the window"

    @property
    def noun(self) -> str:
        """What one of them is: `a day`, `7 days`."""
        return self.stretch.words if self.stretch else NOUNS[self.spec.schedule]

    def told(self, row: Mapping[str, object], unit: str) -> dict[str, object]:
        """A judgement, over a stretch with how long that is and what it holds.

        Parameters
        ----------
        row : mapping
            With ``window_start, n``, perhaps ``reason, reason_code``.
        unit : str
            What `n` counts.
        """
        end = row["window_start"]
        if self.stretch is None or not isinstance(end, datetime):
            return dict(row)
        begin = end - (self.stretch.n - 1) * self.spec.window
        over = f"{self.stretch.over} ({row['n']:,} {unit} since {begin:{self.stretch.moment}})"
        reason = f"{over}: {row['reason']}" if row.get("reason") else over
        return {**row, "reason": reason, "reason_code": row.get("reason_code") or "pooled"}

    def evidence(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Evidence under the names of streams over a stretch."""
        ending = self.stretch.ending if self.stretch else ""
        return frame.with_columns(statistic=pl.col("statistic") + ending).select(EVIDENCE.names())


@dataclass(frozen=True)
class Cadences:
    """How what is made of whole rows is judged in a run.

    Parameters
    ----------
    work : Work
    """

    work: Work

    @cached_property
    def since(self) -> dict[str, datetime]:
        """What is judged over stretches, and since when (`sightline.warehouse.pooling.pooled_since`)."""
        work = self.work
        profiles = {name: profile for name, profile in work.profiles.items() if name != "@label"}
        return pooled_since(work.spec, profiles, read_poolings(work.spec, work.con, "column_bins", profiles))

    @cached_property
    def held(self) -> dict[str, int]:
        """Rows of each window of the run, and of the stretches that hold one; windows without rows are left out."""
        spec, stretch = self.work.spec, stretch_of(self.work.spec)
        keys = set(self.work.keys)
        if self.since and stretch is not None:
            ends = self._ends["last"].unique().to_list()
            keys |= {spec.key(end - k * spec.window) for end in ends for k in range(stretch.n)}
        query = (
            "select window_key, count(*) from raw.production where window_key in (select unnest(?::varchar[])) "
            "group by 1"
        )
        return dict(self.work.con.sql(query, params=[sorted(keys)]).fetchall())

    @property
    def keys(self) -> list[str]:
        """Windows of the run that hold rows."""
        return [key for key in self.work.keys if self.held.get(key)]

    def periods(self, column: str) -> tuple[Periods, Periods]:
        """What of one column is judged by window, and over stretches."""
        spec, stretch = self.work.spec, stretch_of(self.work.spec)
        if column not in self.since or stretch is None:
            return Periods(spec, self.keys), Periods(spec, [], stretch)
        since = self.since[column]
        starts = self._ends.filter("is_end", pl.col("window_start") >= since)["window_start"]
        ends = [spec.key(start) for start in starts]
        by_window = [key for key in self.keys if spec.window_start(key).replace(tzinfo=None) < since]
        return Periods(spec, by_window), Periods(spec, [key for key in ends if self.n(ends_with(spec, key))], stretch)

    def n(self, keys: Sequence[str]) -> int:
        """Rows of some windows together."""
        return sum(self.held.get(key, 0) for key in keys)

    def between(self, column: str, unit: str) -> list[dict[str, object]]:
        """Judgements of the other windows of a column over stretches: with which one it is judged, and what came."""
        spec, stretch = self.work.spec, stretch_of(self.work.spec)
        if column not in self.since or stretch is None:
            return []
        _, long = self.periods(column)
        waiting = self._ends.filter(
            pl.col("window_start") >= self.since[column], ~pl.col("window_key").is_in(list(long.keys))
        )
        found: list[dict[str, object]] = []
        for key, start, last, later in waiting.select("window_key", "window_start", "last", "later").iter_rows():
            if not self.held.get(key):
                continue
            begin = max(last - (stretch.n - 1) * spec.window, spec.first_window.replace(tzinfo=None))
            n = self.n([spec.key(start - k * spec.window) for k in range((start - begin) // spec.window + 1)])
            reason = f"{later}: {n:,} {unit} since {begin:{stretch.moment}}"
            told = {"status": "insufficient_data", "reason": reason, "reason_code": "judged_later"}
            found.append({"window_start": start, "n": n, **told})
        return found

    @cached_property
    def _ends(self) -> pl.DataFrame:
        """Windows of the run, the last one of each one's stretch, and whether it is that and began in the history."""
        spec, stretch = self.work.spec, stretch_of(self.work.spec)
        assert stretch is not None
        start = pl.col("window_start")
        windows = window_frame(spec, self.work.keys).sort("window_start")
        windows = windows.with_columns(last=stretch.last(spec, start), later=stretch.later(spec, start))
        begins = start - (stretch.n - 1) * spec.window
        is_whole = begins >= pl.lit(spec.first_window.replace(tzinfo=None), dtype=pl.Datetime("us"))
        return windows.with_columns(is_end=(start == pl.col("last")) & is_whole)


def ends_with(spec: MonitorSpec, key: str) -> list[str]:
    """Keys of the windows of the stretch that ends with one."""
    return Periods(spec, [key], stretch_of(spec)).windows(key)
