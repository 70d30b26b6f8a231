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
    """Keep the curve of the slowest kind of row: ``age`` in windows, ``slowest`` share of its labels that is in."""
    if law is not None:
        write_snapshot(paths, SNAPSHOT, pl.DataFrame({"age": law.starts, "slowest": law.curve.min(axis=0)}))


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
