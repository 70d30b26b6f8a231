"""Streams that could raise no alarm lately, and why: no incident says nothing about them."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.alerts.stream_words import parts
from sightline.home import MonitorPaths
from sightline.results.snapshots import read_snapshot
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import split

WARMUP = "warm-up"
"""How the engine's reason begins while a baseline is not known yet."""


def not_judged(paths: MonitorPaths, spec: MonitorSpec) -> tuple[int, list[dict[str, Any]]]:
    """Number of streams, and those that could raise no alarm lately.

    Lately means in any of as many of their last windows (or stretches of windows) as their warm-up has.

    No incident says nothing about them: they have too few rows, no value, or are still in their warm-up. A stream that
    is judged over stretches by now is no longer one by window.
    """
    from sightline.alerts import decisions  # costs scipy

    streams = read_snapshot(paths, "alert_streams")
    if streams is None or streams.is_empty():
        return 0, []
    names = streams["stream"].unique().to_list()
    former = {split(name)[0] for name in names if split(name)[1] and parts(name)[1]}  # columns over stretches
    settings = decisions.config(spec)
    needed = {name: settings.pace(name).taught for name in names if name not in former}
    patience = pl.DataFrame({"stream": list(needed), "needed": list(needed.values())})
    newest = pl.col("window_start").rank("ordinal", descending=True).over("stream")
    latest = streams.join(patience, on="stream").filter(newest <= pl.col("needed")).sort("window_start")
    facts = latest.group_by("stream").agg(
        silent=(pl.col("status") == "insufficient_data").all(),
        warm=(pl.col("reason_code") == "warm_up").any(),
        reason=pl.col("reason").drop_nulls().last(),
    )
    rows = facts.filter("silent").sort("stream").iter_rows(named=True)
    return len(facts), [
        {
            "stream": row["stream"],
            "reason": _warm_up(row["stream"], needed[row["stream"]]) if row["warm"] else row["reason"],
        }
        for row in rows
    ]


def _warm_up(stream: str, needed: int) -> str:
    long = split(stream)[1]
    return f"{WARMUP}, {needed} {f'stretches of {long}' if long else 'windows'} with a value are needed"
