"""Freshness of labels, window by window: how long ago the latest one came, beside the silence that is usual.

The same deadline colours the asset `labels` in Dagster (`orchestration.freshness`), which looks at the clock; here the
window's end stands in its place, so that a history says of each window what was to be seen then. Nothing is said while
nobody knows how often labels come: the monitor's file names no `freshness.labels`, and none is learnt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from sightline.clock import utc_now
from sightline.home import MonitorPaths
from sightline.judging.maturity import n_learnt_from
from sightline.judging.verdicts import Verdict
from sightline.lake.store.parts import scan_lake
from sightline.results.learnt_delays import read_delays, with_learnt_delays
from sightline.spec.field_types import WARN_SHARE
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import closes_at, keys_between, matures_at, next_key

CHECK = "label_freshness"
WHAT_TO_DO = (
    "See whether the source of the labels still sends, and where its files land (`sources.labels`). "
    "Labels that always come so far apart: say so under `freshness.labels`."
)


@dataclass(frozen=True)
class LabelFeed:
    """When labels came.

    Attributes
    ----------
    came : sequence of datetime
        Moments at which labels were observed, at most one an hour (the latest), sorted, UTC.
    limit : timedelta
        Age of the latest label from which on they are overdue.
    usual : str
        What is usual, or allowed, in words.
    due : MonitorSpec
        The monitor's file with what it leaves open as it is learnt: when a window's labels are due.
    """

    came: Sequence[datetime]
    limit: timedelta
    usual: str
    due: MonitorSpec

    def latest(self, moment: datetime) -> datetime | None:
        """The latest label by a moment; None where none had come."""
        before = bisect_right(self.came, moment)
        return self.came[before - 1] if before else None

    def verdict(self, moment: datetime) -> Verdict | None:
        """What is to be said of labels at a moment; None where none had ever come."""
        latest = self.latest(moment)
        if latest is None:
            return None
        age = moment - latest
        facts: dict[str, object] = {"latest label": f"{latest:%Y-%m-%d %H:%M}", "overdue after": length(self.limit)}
        if age < WARN_SHARE * self.limit:
            return Verdict("ok", f"Labels came until {day_of(self.due, latest)}; {self.usual}.", facts)
        facts["what to do"] = WHAT_TO_DO
        text = f"No labels since {day_of(self.due, latest)}, for {length(age)}; {self.usual}."
        if age < self.limit:
            return Verdict("warn", text, facts, cause="rule")
        return Verdict("error", text, facts, cause="rule")

    def silent_since(self, moment: datetime) -> datetime | None:
        """When the latest label came if labels are overdue at a moment, else None."""
        latest = self.latest(moment)
        return latest if latest is not None and moment - latest >= self.limit else None

    def waits(self, key: str, moment: datetime) -> str:
        """Why a window is not judged if labels are overdue at a moment and its own were not due before; else empty."""
        since = self.silent_since(moment)
        return (
            f"no labels since {day_of(self.due, since)}"
            if since is not None and matures_at(self.due, key) > since
            else ""
        )


def label_feed(spec: MonitorSpec, paths: MonitorPaths, keys: Sequence[str]) -> LabelFeed | None:
    """When labels came, as far as some windows are concerned.

    Parameters
    ----------
    spec : MonitorSpec
        As its file says.
    paths : MonitorPaths
        Of the same monitor.
    keys : sequence of str
        Windows, at least one.

    Returns
    -------
    LabelFeed or None
        None without labels, and while nobody knows how often they come.

    Notes
    -----
    A label that says it was known before its window began (a slip) counts as known when that began; one that says it
    is to be known later than now does not count.
    """
    learnt = read_delays(paths)
    given = spec.freshness.labels
    if spec.labels is None or (given is None and learnt is None):
        return None
    due = with_learnt_delays(spec, paths)
    limit = due.deadlines["labels"]
    usual = f"the monitor's file allows {length(limit)} (`freshness.labels`)"
    if given is None and learnt is not None:
        usual = f"one usually comes within {length(max(learnt.silence, timedelta(hours=1)))} of the last"
    now, first, last = utc_now(), min(keys), max(keys)
    known = keys_between(spec, next_key(spec, first, -n_learnt_from(due)), last)
    at = pl.max_horizontal("observed_at", "window_start")
    labels = scan_lake(spec, paths, "labels", known).select(at=at).filter(pl.col("at") <= now.replace(tzinfo=None))
    hours = labels.group_by(pl.col("at").dt.truncate("1h").alias("hour")).agg(pl.col("at").max())
    came = [moment.replace(tzinfo=UTC) for moment in hours.collect()["at"].sort()]
    return LabelFeed(came, limit, usual, due)


def freshness_verdicts(spec: MonitorSpec, feed: LabelFeed | None, keys: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
    """Verdicts of the check `label_freshness`: what was to be seen when each window closed, of an open one now.

    Parameters
    ----------
    spec : MonitorSpec
    feed : LabelFeed or None
        Result of `label_feed`.
    keys : sequence of str
        Windows.

    Yields
    ------
    (window key, Verdict)
        Nothing of windows before the first label.
    """
    if feed is None:
        return
    for key in keys:
        verdict = feed.verdict(seen_at(spec, key))
        if verdict is not None:
            yield key, verdict


def seen_at(spec: MonitorSpec, key: str) -> datetime:
    """When a window was complete; now, where it is not yet."""
    return min(closes_at(spec, key), utc_now())


def day_of(spec: MonitorSpec, moment: datetime) -> str:
    """The day of a moment in words; in windows that are shorter the moment itself."""
    return f"{moment:%Y-%m-%d}" if spec.window >= timedelta(days=1) else f"{moment:%Y-%m-%d %H:%M}"


def length(span: timedelta) -> str:
    """A duration in words: hours up to two days."""
    hours = span / timedelta(hours=1)
    if hours < 1:
        return f"{round(60 * hours)} minutes"
    unit, n = ("hour", round(hours)) if hours <= 48 else ("day", round(hours / 24, 1))
    return f"{n:g} {unit}{'' if n == 1 else 's'}"
