"""The completion curve of a monitor's labels, as its latest run learnt it: when a window is mature."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from metrics_py.quality.completed import MATURE_SHARE
from metrics_py.quality.delay_law import DelayLaw
from sightline.home import MonitorPaths
from sightline.results.snapshots import read_snapshot, write_snapshot

SNAPSHOT = "label_completion"


def publish_law(paths: MonitorPaths, law: DelayLaw | None) -> None:
    """Keep ``slowest``, the share of labels of every kind of row that is in, by ``age`` (windows since one began)."""
    if law is not None:
        slowest = [law.slowest(age) for age in law.starts.tolist()]
        write_snapshot(paths, SNAPSHOT, pl.DataFrame({"age": law.starts, "slowest": slowest}))


def mature_after(paths: MonitorPaths, window: timedelta) -> timedelta | None:
    """How long after the start of a window it is mature; None before the first run that knows.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    window : timedelta
        Length of one window.
    """
    curve = read_snapshot(paths, SNAPSHOT)
    reached = None if curve is None else curve.filter(pl.col("slowest") >= MATURE_SHARE)["age"].min()
    return reached * window if isinstance(reached, float) else None
