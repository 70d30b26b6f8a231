"""What windows that were decided are by now: of rows that came late, or were corrected, after the alert engine decided.

A decision stands, and with it the incident. Whether the window is still away from its old level is told, and coloured,
by what it holds today.
"""

from __future__ import annotations

import polars as pl

RECENT = 28
"""So many values of a stream outside incidents tell how large one standard deviation is."""
FAR = 1e6
"""Standard deviations that stand for more than can be told: of a stream that never varied."""


def with_revised(
    streams: pl.DataFrame, members: pl.DataFrame, evidence: pl.DataFrame, revised: pl.DataFrame
) -> pl.DataFrame:
    """Decisions with what the windows are by now.

    Parameters
    ----------
    streams, members : DataFrame
        Of `STREAMS_SCHEMA` and `MEMBERS_SCHEMA`.
    evidence, revised : DataFrame
        As from `read_evidence` and `read_revised`.

    Returns
    -------
    DataFrame
        The same rows, with ``display_then`` and ``display_now``, the value as people read it, and ``distance_now``, in
        standard deviations from the level that the decision went by; all null where nothing was revised.

    Notes
    -----
    What was expected of the window in which a stream joined an incident follows the windows before it, which were away
    already: the level before the change counts instead. One standard deviation is the median of (value - expected) /
    distance over the stream's last `RECENT` windows before this one that were judged outside an incident: that of the
    window itself may rest on the few rows that it had.
    """
    key = ["stream", "window_start"]
    then = evidence.select(*key, display_then="display_value")
    now = revised.select(*key, value_now="value", display_now="display_value")
    changed = streams.join(now, on=key).join(then, on=key)
    if changed.is_empty():
        nothing = pl.lit(None, dtype=pl.Float64)
        return streams.with_columns(display_then=nothing, display_now=nothing, distance_now=nothing)
    level = members.select("incident_id", "stream", "level_before").unique(["incident_id", "stream"], keep="last")
    changed = changed.join(level, on=["incident_id", "stream"], how="left")
    joined = pl.col("in_incident") & (pl.col("status") == "alert")
    expected = pl.when(joined).then(pl.coalesce("level_before", "expected")).otherwise("expected")
    apart = pl.col("value_now") - expected
    far = pl.when(apart == 0).then(0.0).otherwise(apart.sign() * FAR)
    changed = changed.join(_scales(streams, changed.select(key)), on=key, how="left").with_columns(
        distance_now=pl.when(pl.col("scale") > 0).then(apart / pl.col("scale")).otherwise(far)
    )
    told = changed.select(*key, "display_then", "display_now", "distance_now")
    return streams.join(told, on=key, how="left", maintain_order="left")


def _scales(streams: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """``stream, window_start, scale`` of some windows; null where no earlier one tells."""
    own = (pl.col("value") - pl.col("expected")) / pl.col("distance")
    known = streams.filter(~pl.col("in_incident")).select("stream", seen="window_start", scale=own.abs())
    known = known.filter(pl.col("scale").is_finite() & (pl.col("scale") > 0))
    earlier = wanted.join(known, on="stream").filter(pl.col("seen") < pl.col("window_start")).sort("seen")
    return earlier.group_by("stream", "window_start").agg(pl.col("scale").tail(RECENT).median())
