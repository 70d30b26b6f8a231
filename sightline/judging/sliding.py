"""Which sliding windows a run judges, and the windows of the schedule that they are sums of.

A sliding window ends with every window of the schedule that is judged, also with one without predictions. It is judged
again when any of its parts is: with the last one for the first time, later with every part that labels came for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl

from sightline.home import MonitorPaths
from sightline.results.judgements import read_judgements
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import SlidingWindow

SUMMED_AT_ONCE = 400
"""Parts of sliding windows that are added up at once: bounds the memory of a backfill."""

ASSET = "model_quality"


def ends_of(spec: MonitorSpec, paths: MonitorPaths, keys: Sequence[str], over: SlidingWindow) -> list[str]:
    """Windows with which the sliding windows end that a run judges.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.results`: what was published.
    keys : sequence of str
        Windows of the run.
    over : SlidingWindow
        One length.

    Returns
    -------
    list of str
        Keys in time order: those of the run, and later ones that were judged before and hold one of them. A sliding
        window that would begin before the history does is none.
    """
    own = {spec.window_start(key) for key in keys}
    reach = {start + k * spec.window for start in own for k in range(over.n)} - own
    later: set[datetime] = set()
    if reach:
        published = read_judgements(
            paths, asset=ASSET, start=min(reach), end=max(reach) + spec.window, segment="all"
        ).filter(pl.col("metric").str.ends_with(over.ending))
        judged = {start.replace(tzinfo=min(reach).tzinfo) for start in published["window_start"].unique()}
        later = reach & judged
    first = spec.first_window
    return sorted(spec.key(end) for end in own | later if over.begins(spec, end) >= first)


def sums_at_once(ends: Sequence[str], over: SlidingWindow) -> Iterator[Sequence[str]]:
    """The ends in parcels."""
    size = max(1, SUMMED_AT_ONCE // over.n)
    for first in range(0, len(ends), size):
        yield ends[first : first + size]


def parts_of(spec: MonitorSpec, ends: Sequence[str], over: SlidingWindow) -> pl.DataFrame:
    """``window_start, part``: the last window (naive UTC) of each sliding window, and each window that it holds."""
    last = [spec.window_start(end).replace(tzinfo=None) for end in ends]
    pairs = [(end, end - k * spec.window) for end in last for k in range(over.n)]
    return pl.DataFrame(pairs, schema={"window_start": pl.Datetime("us"), "part": pl.Datetime("us")}, orient="row")


def as_sums(mart: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Rows of windows as rows of the sliding windows that hold them.

    Parameters
    ----------
    mart : DataFrame
        Rows by ``window_start``, of any mart.
    parts : DataFrame
        From `parts_of`.

    Returns
    -------
    DataFrame
        The same columns without ``window_key``, not added up yet; ``window_start`` is that of the last window.
    """
    placed = mart.drop("window_key", strict=False).rename({"window_start": "part"})
    return placed.join(parts, on="part").drop("part")
