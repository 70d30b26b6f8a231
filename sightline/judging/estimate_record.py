"""The record of the estimates: in how many of the latest windows the realised value lay where it was expected.

Where it misses more often than chance allows the estimates are not validated. The audits say so, and so does every
estimate of a later window, until the record is good again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from scipy.special import bdtrc

from sightline.home import MonitorPaths
from sightline.judging.frames import JUDGED
from sightline.judging.marts import ALL_VERSIONS
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import AUDITED_AS
from sightline.spec.windows import matures_at

LATEST = 30
"""Windows that tell whether the estimates hold."""

REACH = 3 * LATEST
"""They are looked for among so many."""

LEAST = 10
LEVEL = 0.01
PROMISED = 0.05
"""Share of the windows that may lie outside of their 95 % intervals."""

BEGINS = "not validated: "
AUDIT_WORDS = (
    "the estimates are not validated: {} of the last {} realised values lie outside of their 95 % intervals; {}"
)
AUDIT_BEGINS = r"^the estimates are not validated: [^;]*; "


def record(audits: pl.DataFrame, window: timedelta) -> pl.DataFrame:
    """How the estimates held up to each audited window, itself included.

    Parameters
    ----------
    audits : DataFrame
        ``window_start, ci_low, ci_high`` of realised minus estimated, at most one row per window.
    window : timedelta
        Length of one.

    Returns
    -------
    DataFrame
        ``window_start, misses, windows, is_bad``, sorted: of the latest `LATEST` audited windows within `REACH`, those
        whose interval leaves out 0; bad where chance has so many of at least `LEAST` in less than `LEVEL` of the cases.
    """
    missed = audits.sort("window_start").select(
        "window_start", missed=((pl.col("ci_low") > 0) | (pl.col("ci_high") < 0)).cast(pl.Int64)
    )
    found = missed.rolling("window_start", period=REACH * window).agg(
        misses=pl.col("missed").tail(LATEST).sum(), windows=pl.len().clip(upper_bound=LATEST).cast(pl.Int64)
    )
    chance = np.asarray(bdtrc(found["misses"].to_numpy() - 1, found["windows"].to_numpy(), PROMISED))
    return found.with_columns(
        is_bad=(pl.col("windows") >= LEAST) & (pl.Series(chance, dtype=pl.Float64) < LEVEL),
    )


def read_audits(
    spec: MonitorSpec, paths: MonitorPaths, metric: str, start: datetime | None = None, end: datetime | None = None
) -> pl.DataFrame:
    """Published audits of one metric, of whole windows and all versions together.

    Parameters
    ----------
    spec, paths
        The monitor.
    metric : str
        Without `AUDITED_AS`.
    start, end : datetime, optional
        Windows that start in ``[start, end)`` (naive UTC).
    """
    found = read_judgements(paths, AUDITED_AS + metric, asset="model_quality", segment="all", start=start, end=end)
    return found.filter(pl.col("status") != "insufficient_data", model_version=ALL_VERSIONS)


def with_record(
    spec: MonitorSpec, paths: MonitorPaths, metric: str, errors: pl.DataFrame, judged: pl.Series
) -> pl.DataFrame:
    """Say of each window how many of the latest ones lay outside, and warn where that is too many for chance.

    Parameters
    ----------
    spec, paths
        The monitor; audits of other windows are read from its published judgements.
    metric : str
        Without `AUDITED_AS`.
    errors : DataFrame
        Audits of the windows of a run.
    judged : Series
        Starts of the windows of the run; published audits of these no longer count.

    Returns
    -------
    DataFrame
        The audits, and with them the published ones of later windows of whose record these make something else: what is
        said does not depend on the order in which labels came.
    """
    if judged.is_empty():
        return errors
    first, last, reach = judged.min(), judged.max(), REACH * spec.window
    assert isinstance(first, datetime) and isinstance(last, datetime)
    published = read_audits(spec, paths, metric, first - reach, last + reach + spec.window)
    published = published.filter(~pl.col("window_start").is_in(judged.implode()))
    later = published.filter(pl.col("window_start") > first).select(
        *(name for name in errors.columns if name in JUDGED), said="reason"
    )
    bare = later.with_columns(
        status=pl.lit("ok"),
        reason=pl.col("said").str.replace(AUDIT_BEGINS, ""),
        reason_code=pl.col("reason_code").replace("unvalidated", "audited"),
    )
    told = pl.concat([errors, bare], how="diagonal")
    is_whole = (pl.col("segment") == "all") & (pl.col("model_version") == ALL_VERSIONS)
    numbers = ("window_start", "ci_low", "ci_high")
    known = record(pl.concat([published.select(numbers), errors.filter(is_whole).select(numbers)]), spec.window)
    is_bad = is_whole & pl.col("is_bad")
    told = told.join(known, on="window_start", how="left", maintain_order="left").with_columns(
        status=pl.when(is_bad).then(pl.lit("warn")).otherwise("status"),
        reason=pl.when(is_bad).then(pl.format(AUDIT_WORDS, "misses", "windows", "reason")).otherwise("reason"),
        reason_code=pl.when(is_bad).then(pl.lit("unvalidated")).otherwise("reason_code"),
    )
    return told.filter(pl.col("said").is_null() | (pl.col("said") != pl.col("reason"))).select(errors.columns)


def caveats(spec: MonitorSpec, paths: MonitorPaths, starts: Sequence[datetime]) -> pl.DataFrame:
    """What the audits of earlier windows make of the estimates of some windows.

    Parameters
    ----------
    spec, paths
        The monitor.
    starts : sequence of datetime
        Starts of the windows (naive UTC).

    Returns
    -------
    DataFrame
        ``window_start, caveat``, in words, of windows whose estimates are not validated: the latest audited window
        before them, however long ago that is, has a bad record.
    """
    nothing = pl.DataFrame(schema={"window_start": pl.Datetime("us"), "caveat": pl.String})
    metric = plan.audited_metric(spec)
    if metric is None or not starts:
        return nothing
    known = record(_audits_before(spec, paths, metric, min(starts), max(starts)), spec.window)
    asked = pl.DataFrame({"window_start": sorted(set(starts))}, schema={"window_start": pl.Datetime("us")})
    before = asked.with_columns(before=pl.col("window_start") - pl.duration(microseconds=1)).join_asof(
        known.rename({"window_start": "seen"}), left_on="before", right_on="seen"
    )
    held = pl.col("windows") - pl.col("misses")
    words = (
        f"{BEGINS}the estimated {metric.replace('_', ' ')} held in {{}} of the last {{}} windows that labels tell of"
    )
    return before.filter("is_bad").select("window_start", caveat=pl.format(words, held, "windows"))


def _audits_before(
    spec: MonitorSpec, paths: MonitorPaths, metric: str, first: datetime, last: datetime
) -> pl.DataFrame:
    """Audits of windows before `last`, from `REACH` windows before the latest one before `first` on."""
    late = matures_at(spec, spec.key(first)) - spec.floor(first)
    start = first - late - 2 * REACH * spec.window
    found = read_audits(spec, paths, metric, start, last)
    seen = found.filter(pl.col("window_start") < first)["window_start"].max()
    if isinstance(seen, datetime) and seen - REACH * spec.window >= start:
        return found
    return read_audits(spec, paths, metric, end=last)


def with_caveats(spec: MonitorSpec, paths: MonitorPaths, estimates: pl.DataFrame) -> pl.DataFrame:
    """Say of estimates that they are not validated, where they are not.

    Parameters
    ----------
    spec, paths
        The monitor.
    estimates : DataFrame
        Shape `JUDGED`, of the asset `estimated_quality`.
    """
    told = caveats(spec, paths, estimates["window_start"].unique().to_list())
    has = pl.col("caveat").is_not_null() & (pl.col("status") != "insufficient_data")
    return (
        estimates.join(told, on="window_start", how="left", maintain_order="left")
        .with_columns(
            status=pl.when(has).then(pl.lit("warn")).otherwise("status"),
            reason=pl.when(has).then(pl.format("{}; {}", "caveat", "reason")).otherwise("reason"),
            reason_code=pl.when(has).then(pl.lit("unvalidated")).otherwise("reason_code"),
        )
        .drop("caveat")
    )


def outdated(spec: MonitorSpec, paths: MonitorPaths, keys: Sequence[str]) -> list[str]:
    """Windows whose published estimates say something else than the audits make of them by now.

    Parameters
    ----------
    spec, paths
        The monitor.
    keys : sequence of str
        Windows that were audited just now: only later ones are looked at.
    """
    first = min(spec.window_start(key) for key in keys) + spec.window
    known = read_judgements(paths, asset="estimated_quality", segment="all", start=first)
    known = known.filter(pl.col("status") != "insufficient_data", model_version=ALL_VERSIONS)
    said = known.select(
        "window_start",
        said=pl.when(pl.col("reason").str.starts_with(BEGINS)).then(pl.col("reason").str.split("; ").list.first()),
    ).unique()
    told = caveats(spec, paths, said["window_start"].unique().to_list())
    stale = said.join(told, on="window_start", how="left").filter(pl.col("said").ne_missing(pl.col("caveat")))
    return [spec.key(start) for start in stale["window_start"].unique().sort()]
