"""What windows that were decided are by now: of rows that came late, or were corrected, after the alert engine decided.

A decision stands, and with it the incident. Whether the window is still away from its old level is told, and coloured,
by what it holds today.
"""

from __future__ import annotations

import polars as pl

from sightline.results.withdrawn import is_withdrawn

LATE_FROM, LATE_OF = 3, 14
"""Where so many of so many windows before an incident changed by a standard deviation after they were decided, the
level is one of windows that were not complete: what they hold later says nothing against it."""
FAR = 1e6
"""Standard deviations that stand for more than can be told: of a stream that never varied."""
SAME = 1e-9
KEY = ["stream", "window_start"]


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
        standard deviations from the level of the window's own season. All are null where nothing was revised; the last
        one, too, where the window was not judged (a warm-up, a holiday), or windows before it changed as a rule.
        ``is_gone`` where the value was withdrawn: nothing is left of it.

    Notes
    -----
    The variance is that of the level, and what this window's is known less well than is usual. That of the window in
    which a stream joined an incident is the one without the windows since the change.
    """
    gone = revised.filter(is_withdrawn()).select(*KEY, is_gone=True)
    streams = streams.join(gone, on=KEY, how="left", maintain_order="left").with_columns(
        pl.col("is_gone").fill_null(value=False)
    )
    then = evidence.select(*KEY, display_then="display_value", value_then="value")
    now = revised.select(*KEY, value_now="value", display_now="display_value", variance_now="variance")
    moved = pl.col("value_now") - pl.col("value_then")
    changed = then.join(now, on=KEY).filter((moved.abs() > SAME * pl.col("value_then").abs()).fill_null(value=True))
    if changed.is_empty() or "level" not in streams.columns:  # published by a release that kept no level
        nothing = pl.lit(None, dtype=pl.Float64)
        return streams.with_columns(display_then=nothing, display_now=nothing, distance_now=nothing)
    found = _with_scale(streams.join(changed, on=KEY), members)
    found = found.join(_changed_as_a_rule(streams, changed, found), on=KEY, how="left")
    apart = pl.col("value_now") - pl.col("level")
    excess = (pl.col("variance_now").fill_null(0.0) - pl.col("usual_variance")).clip(0.0)
    sigma = (pl.col("own_variance") + excess).sqrt()
    far = pl.when(apart.abs() <= SAME * pl.col("level").abs()).then(0.0).otherwise(apart.sign() * FAR)
    is_told = (pl.col("distance").is_not_null() | pl.col("in_incident")) & ~pl.col("as_a_rule").fill_null(value=False)
    distance = pl.when(sigma > 0).then(apart / sigma).otherwise(far)
    told = found.select(*KEY, "display_then", "display_now", distance_now=pl.when(is_told).then(distance))
    return streams.join(told, on=KEY, how="left", maintain_order="left")


def _with_scale(found: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """With ``own_variance``: around the level, of windows before the change alone."""
    clean = (pl.col("shift") / pl.col("effect")) ** 2
    known = members.select("incident_id", "stream", clean=clean).unique(["incident_id", "stream"], keep="last")
    joined = pl.col("in_incident") & (pl.col("status") == "alert")
    own = pl.when(joined).then(pl.coalesce("clean", "level_variance")).otherwise("level_variance")
    return found.join(known, on=["incident_id", "stream"], how="left").with_columns(own_variance=own)


def _changed_as_a_rule(streams: pl.DataFrame, changed: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """``stream, window_start, as_a_rule``: whether the windows before these changed after they were decided."""
    calm = streams.filter(~pl.col("in_incident")).join(
        changed.select(*KEY, "value_then", "value_now"), on=KEY, how="left"
    )
    by = (pl.col("value_now") - pl.col("value_then")).abs() >= pl.col("level_variance").sqrt()
    n = by.fill_null(value=False).cast(pl.Int64).rolling_sum(LATE_OF, min_samples=1).over("stream")
    calm = calm.sort("stream", "window_start").with_columns(as_a_rule=n >= LATE_FROM)
    wanted = found.select(KEY).sort("window_start")
    return wanted.join_asof(
        calm.select(*KEY, "as_a_rule").sort("window_start"),
        on="window_start",
        by="stream",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
