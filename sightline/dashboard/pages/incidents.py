"""Incidents: the list, and one with its evidence, timeline, causes, and what may be said to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from metrics_py.wording import day
from sightline.alerts.listing import each_once, one, whole
from sightline.alerts.stream_words import parts
from sightline.dashboard.charts.chart import Chart
from sightline.dashboard.charts.series import Mark, Span, series_chart
from sightline.dashboard.pages.page import Page, Subject, common, facts_of

SHOWN_STREAMS = 4
"""Members whose course is drawn."""
AROUND = 28
"""Windows before the change point that are drawn."""
MOST_SIMILAR = 6


def incidents_page(subject: Subject) -> Page:
    """Incidents that were open in the shown windows, newest first."""
    kept = ("incident_id", "state", "severity", "is_open", "opened_at", "change_point", "ended_at", "ended_by", "owner")
    found = [
        {
            **{name: row[name] for name in kept},
            "words": [member["words"] for member in each_once(row["members"])[:3]],
            "n_streams": len(each_once(row["members"])),
            "evidence_days": row["evidence_days"],
        }
        for row in subject.incidents()
    ]
    data = {**facts_of(subject), "budget": str(subject.spec.alerts.budget), "incidents": found}
    return Page("incidents.html", f"Incidents · {subject.spec.id}", data, view=common(subject, "incidents"))


def incident_page(subject: Subject, incident: str) -> Page:
    """The page of one incident.

    Raises
    ------
    SightlineError
        There is none of this id.
    """
    spec, paths = subject.spec, subject.library.paths(subject.spec.id)
    one(spec, paths, incident)
    found = whole(spec, paths, incident)
    shown = each_once(found["members"])[:SHOWN_STREAMS]
    drawn = [_course(subject, found, member, k) for k, member in enumerate(shown)]
    charts = [chart for chart in drawn if chart is not None]
    others = [row["incident_id"] for row in subject.library.incidents(spec.id) if row["is_open"]]
    data = {
        **facts_of(subject),
        "incident": {name: value for name, value in found.items() if name not in ("links", "actions")},
        "since": day(found["change_point"] or found["opened_at"]),
        "similar": _similar(subject, found),
        "actions": found["actions"],
        "links": found["links"],
        "others": [name for name in others if name != incident],
    }
    return Page(
        "incident.html", f"{incident} · {spec.id}", data, charts, common(subject, "incident", incident=incident)
    )


def _course(subject: Subject, incident: Mapping[str, Any], member: Mapping[str, Any], k: int) -> Chart | None:
    """The stream's values as the engine saw them, from before the change to the newest window."""
    spec = subject.spec
    known = subject.library.evidence(spec.id).filter(stream=member["stream"])
    since = (incident["change_point"] or incident["opened_at"]) - AROUND * spec.window
    rows = known.filter(pl.col("window_start") >= since).sort("window_start")
    if rows["display_value"].drop_nulls().is_empty():
        return None
    judged = rows.select(
        "window_start",
        value="display_value",
        ci_low=pl.lit(None, pl.Float64),
        ci_high=pl.lit(None, pl.Float64),
        n=pl.col("n").cast(pl.Int64, strict=False),
        reference_value=pl.lit(member.get("display_before"), pl.Float64),
        bound_low=pl.lit(None, pl.Float64),
        bound_high=pl.lit(None, pl.Float64),
        status=pl.when(pl.col("display_value").is_null()).then(pl.lit("insufficient_data")).otherwise(pl.lit("ok")),
        reason="reason",
    )
    _, column, statistic = parts(member["stream"])
    title = f"{column}: {statistic}" if column else statistic
    begin = incident["change_point"] or incident["opened_at"]
    last = rows["window_start"][-1]
    until = incident["ended_at"] or incident["closed_at"] or last
    return series_chart(
        f"stream-{k}",
        title,
        judged,
        spec.window,
        marks=[Mark(begin, "began", "incident"), Mark(incident["opened_at"], "told", "mark")],
        spans=[Span(begin, until, incident["incident_id"])],
        height=220,
    )


def _similar(subject: Subject, incident: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Other incidents with streams in common, those with most first."""
    own = {member["stream"] for member in incident["members"]}
    found: list[dict[str, Any]] = []
    for row in subject.library.incidents(subject.spec.id):
        shared = own & {member["stream"] for member in row["members"]}
        if row["incident_id"] != incident["incident_id"] and shared:
            kept = {name: row[name] for name in ("incident_id", "state", "opened_at", "ended_by")}
            found.append({**kept, "shared": sorted(shared)})
    found.sort(key=lambda row: (-len(row["shared"]), -row["opened_at"].timestamp()))
    return found[:MOST_SIMILAR]
