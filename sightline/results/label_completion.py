"""When the labels of a window are all in, as the latest run learnt it, and which windows still wait for some."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from metrics_py.quality.completed import MATURE_SHARE
from metrics_py.quality.delay_law import DelayLaw
from sightline.home import MonitorPaths
from sightline.results.snapshots import read_snapshot, write_snapshot

SNAPSHOT = "label_completion"
PROVISIONAL = "provisional_windows"


def publish_law(paths: MonitorPaths, law: DelayLaw | None) -> None:
    """Keep ``slowest``, the share of labels of every kind of row that is in, by ``age`` (windows since one began).

    And ``settled``: whether they hardly change any more.
    """
    if law is not None:
        last = [law.settled_after] if math.isfinite(law.settled_after) else []
        ages: list[float] = np.unique([*law.starts, *last]).tolist()
        slowest = [law.slowest(age) for age in ages]
        settled = [age >= law.settled_after for age in ages]
        write_snapshot(paths, SNAPSHOT, pl.DataFrame({"age": ages, "slowest": slowest, "settled": settled}))


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
    if curve is not None and "settled" in curve.columns:  # an earlier release did not know of revisions
        curve = curve.filter("settled")
    reached = None if curve is None else curve.filter(pl.col("slowest") >= MATURE_SHARE)["age"].min()
    return reached * window if isinstance(reached, float) else None


def publish_provisional(paths: MonitorPaths, judged: pl.DataFrame, windows: Sequence[datetime]) -> None:
    """Keep which windows are provisional, or have no value of a metric that waits for all labels.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    judged : DataFrame
        ``window_start, status, reason_code, maturity`` of the judgements of some windows.
    windows : sequence of datetime
        These windows (naive UTC); of all others is kept what was known.
    """
    before = read_snapshot(paths, PROVISIONAL)
    schema = {"window_start": pl.Datetime("us")}
    kept = (
        [] if before is None else before.filter(~pl.col("window_start").is_in(list(windows)))["window_start"].to_list()
    )
    is_left_out = (pl.col("reason_code") == "not_identifiable") & pl.col("maturity").is_not_null()
    waits = (pl.col("status") == "provisional") | is_left_out.fill_null(value=False)
    found = judged.filter(waits)["window_start"].unique().to_list()
    if before is None or sorted([*kept, *found]) != before["window_start"].to_list():
        write_snapshot(paths, PROVISIONAL, pl.DataFrame({"window_start": sorted([*kept, *found])}, schema=schema))


def provisional_windows(paths: MonitorPaths) -> Collection[datetime]:
    """Windows (naive UTC) whose latest judgement is provisional."""
    known = read_snapshot(paths, PROVISIONAL)
    return set() if known is None else set(known["window_start"].to_list())
