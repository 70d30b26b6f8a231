"""What the collector's row guards saw, window by window: counts per minute of arrival, and the alerts they raised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from sightline.collector.guard_log import COUNTS_SCHEMA, read_alerts, read_counts
from sightline.collector.guards import HARD, SOFT
from sightline.home import MonitorPaths
from sightline.judging.verdicts import REMEDIES, FactTable, Verdict
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck

CHECK = "row_guards"
SHOWN_ROWS = 30
SHOWN_IN_TEXT = 3
KINDS = {**dict.fromkeys(HARD, "hard"), **dict.fromkeys(SOFT, "rate")}
"""Rules without a kind (an unknown column) are counted only."""


def guard_verdicts(
    spec: MonitorSpec, paths: MonitorPaths, checks: Sequence[PlannedCheck], keys: Sequence[str]
) -> Iterator[tuple[PlannedCheck, str, Verdict]]:
    """Verdicts of the check ``row_guards`` on `inferences`.

    A minute belongs to the window in which its events arrived, whatever time they carry.
    """
    if not keys:
        return
    first, last = spec.window_start(min(keys)), spec.window_start(max(keys)) + spec.window
    counts, alerts = read_counts(paths, first, last), read_alerts(paths, first, last)
    is_hidden = pl.col("column").is_in(sorted(spec.columns.personal))
    alerts = alerts.with_columns(example=pl.when(~is_hidden).then("example"))
    for key in keys:
        start = spec.window_start(key)
        end = start + spec.window
        verdict = judge(_between(counts, "minute", start, end), _between(alerts, "at", start, end))
        for check in checks:
            yield check, key, verdict


def _between(frame: pl.DataFrame, column: str, start: datetime, end: datetime) -> pl.DataFrame:
    first, last = (moment.astimezone(UTC).replace(tzinfo=None) for moment in (start, end))
    return frame.filter(pl.col(column).is_between(first, last, closed="left"))


def judge(counts: pl.DataFrame, alerts: pl.DataFrame) -> Verdict:
    """The verdict on one window.

    Parameters
    ----------
    counts : DataFrame
        Rows of `read_counts` of the window.
    alerts : DataFrame
        Rows of `read_alerts` of the window. A hard alert is written at once, the count of its minute when the minute is
        over: until then the alert stands for it, as a lower bound.

    Returns
    -------
    Verdict
        'error' if a hard rule was broken, 'warn' if a rate's alert was opened, else 'ok'.
    """
    opened = alerts.filter(pl.col("state") == "open")
    hard_alerts = opened.filter(pl.col("rule").is_in(HARD))
    rate_alerts = opened.filter(pl.col("rule").is_in(SOFT))
    seen = pl.concat([counts, _uncounted(counts, hard_alerts)])
    if seen.is_empty() and rate_alerts.is_empty():
        reason = "no events through the collector"
        text = (
            "No events through the collector in the finished minutes of this window: nothing for the row guards to "
            "check."
        )
        return Verdict("ok", text, {"metric": "hard_violations", "value": 0, "n": 0, "reason": reason})
    found = _violations(seen, opened)
    hard = found.filter(pl.col("kind") == "hard")
    n_events, n_hard = _events(seen), int(hard["n"].sum())
    facts: dict[str, Any] = {"metric": "hard_violations", "value": n_hard, "n": n_events}
    if not found.is_empty():
        facts["violations"] = _table(found)
    if not hard.is_empty():
        worst = "; ".join(
            f"{row['rule']} in {row['column']}: {row['n']}" for row in hard.head(SHOWN_IN_TEXT).to_dicts()
        )
        rest = f" and {len(hard) - SHOWN_IN_TEXT} more" if len(hard) > SHOWN_IN_TEXT else ""
        text = f"Hard rules were broken, {n_events} events through the collector ({worst}{rest})."
        return Verdict("error", text, facts | {"what to do": REMEDIES[CHECK]}, cause="rule")
    if not rate_alerts.is_empty():
        text = f"A rate left its usual level: {rate_alerts['message'][0]}."
        return Verdict("warn", text, facts | {"alerts": len(rate_alerts), "what to do": REMEDIES[CHECK]})
    return Verdict("ok", f"No hard rule was broken, {n_events} events through the collector.", facts)


def _uncounted(counts: pl.DataFrame, hard_alerts: pl.DataFrame) -> pl.DataFrame:
    """Hard alerts of minutes whose counts are not written: the minute still runs, or the collector was killed in it."""
    return (
        hard_alerts.with_columns(minute=pl.col("at").dt.truncate("1m"))
        .filter(~pl.col("minute").is_in(counts["minute"].unique().to_list()))
        .select(list(COUNTS_SCHEMA))
    )


def _events(seen: pl.DataFrame) -> int:
    """Events of the window: every row of a minute carries the minute's number."""
    return int(seen.group_by("minute").agg(pl.col("n_events").max())["n_events"].sum())


def _violations(seen: pl.DataFrame, opened: pl.DataFrame) -> pl.DataFrame:
    """One row per column and rule: hard ones first, then by number."""
    examples = opened.filter(pl.col("example").is_not_null()).group_by("column", "rule").agg(pl.col("example").last())
    kind = pl.col("rule").replace_strict(KINDS, default="counted", return_dtype=pl.String)
    return (
        seen.filter(pl.col("n") > 0)
        .group_by("column", "rule")
        .agg(
            pl.col("n").sum(),
            pl.col("minute").n_unique().alias("minutes"),
            pl.col("minute").min().alias("first"),
            pl.col("minute").max().alias("last"),
        )
        .join(examples, on=["column", "rule"], how="left")
        .with_columns(kind.alias("kind"))
        .sort(pl.col("kind") != "hard", -pl.col("n"), "column", "rule")
    )


def _table(found: pl.DataFrame) -> FactTable:
    rows = [
        (r["column"], r["rule"], r["kind"], r["n"], r["minutes"], f"{r['first']:%d %H:%M}", f"{r['last']:%d %H:%M}",
         r["example"] or "")
        for r in found.head(SHOWN_ROWS).to_dicts()
    ]  # fmt: skip
    if len(found) > SHOWN_ROWS:
        rows.append((f"{len(found) - SHOWN_ROWS} more", "", "", int(found[SHOWN_ROWS:]["n"].sum()), "", "", "", ""))
    return FactTable(("column", "rule", "kind", "n", "minutes", "first (day, UTC)", "last", "example"), tuple(rows))
