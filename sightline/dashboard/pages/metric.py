"""One metric: its values with interval, bound and reference, how they were revised, what was decided."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import Chart, shown
from sightline.dashboard.library import NotFoundError
from sightline.dashboard.meanings import meaning
from sightline.dashboard.pages.page import Page, Subject, common, facts_of
from sightline.errors import nearest
from sightline.spec import plan

MOST_REVISED, MOST_SEGMENTS = 50, 30


def metric_page(subject: Subject, metric: str, column: str) -> Page:
    """The page of a metric.

    Raises
    ------
    SightlineError
        Nothing of this name is judged.
    """
    names = subject.library.names(subject.spec.id)
    own = names.filter(metric=metric, column=column)
    if own.is_empty():
        fix = nearest(metric, sorted(names["metric"].unique()))
        of = f" of {column!r}" if column else ""
        raise NotFoundError(f"{subject.spec.id} has no metric {metric!r}{of}", fix=fix)
    rows = subject.judgements(metric=metric, column=column)
    title = f"{column}: {metric}" if column else metric
    charts = [metric_chart(subject, metric, column, "series", title, 320)]
    data: dict[str, Any] = {
        **facts_of(subject),
        "metric": metric,
        "column": column,
        "meaning": meaning(subject.spec, metric, column),
        "latest": _latest(rows),
        "by_segment": _by_segment(subject, metric, column),
        "revisions": _revisions(subject, metric, column),
        "streams": _streams(subject, metric, column),
    }
    return Page(
        "metric.html",
        f"{title} · {subject.spec.id}",
        data,
        charts,
        common(subject, "metric", metric=metric, column=column),
    )


def metric_chart(subject: Subject, metric: str, column: str, name: str, title: str, height: int) -> Chart:
    """A metric with its estimate where there is one, and the incidents it was part of."""
    path = f"{column}/" if column else metric
    streams = tuple(f"{asset}/{path}" for asset in ("data_quality", "drift", "model_quality", "estimated_quality"))
    estimated = subject.judgements(metric=f"{plan.ESTIMATED_AS}{metric}", column=column)
    return subject.course(
        name,
        title,
        metric,
        column,
        streams=streams,
        estimated=None if estimated.is_empty() else estimated,
        height=height,
    )


def _latest(rows: pl.DataFrame) -> dict[str, Any] | None:
    if rows.is_empty():
        return None
    row = rows.row(-1, named=True)
    kept = ("value", "ci_low", "ci_high", "n", "reference_value", "bound_low", "bound_high", "status", "reason")
    told = {name: row[name] for name in (*kept, "naive_value", "maturity", "window_start", "computed_at", "run_id")}
    numbers = ("value", "ci_low", "ci_high", "reference_value", "naive_value")
    return {**told, **{f"shown_{name}": shown(row[name]) for name in numbers}}


def _by_segment(subject: Subject, metric: str, column: str) -> list[dict[str, Any]]:
    """The newest window by segment, of the shown version."""
    rows = subject.judgements(metric=metric, column=column, segment=None)
    known = rows.filter(pl.col("value").is_not_null())
    if known["segment"].n_unique() < 2:
        return []
    latest = known.sort("window_start").group_by("segment").last().sort("segment").head(MOST_SEGMENTS)
    return [_line(row) for row in latest.iter_rows(named=True)]


def _line(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("segment", "value", "ci_low", "ci_high", "n", "status", "window_start")
    interval = "" if row["ci_low"] is None else f"{shown(row['ci_low'])} to {shown(row['ci_high'])}"
    return {**{name: row[name] for name in kept}, "shown": shown(row["value"]), "shown_interval": interval}


def _revisions(subject: Subject, metric: str, column: str) -> list[dict[str, Any]]:
    """Windows whose number was revised: what was said at first, and what is said now; newest first."""
    every = subject.judgements(metric=metric, column=column, latest=False).sort("window_start", "revision")
    found: list[dict[str, Any]] = []
    for (start,), part in every.group_by(["window_start"], maintain_order=True):
        if len(part) < 2:
            continue
        steps = [
            {
                "computed_at": row["computed_at"],
                "shown": shown(row["value"]),
                "value": row["value"],
                "status": row["status"],
                "maturity": row["maturity"],
                "n": row["n"],
            }
            for row in part.iter_rows(named=True)
        ]
        found.append({"window_start": start, "steps": steps})
    return found[::-1][:MOST_REVISED]


def _streams(subject: Subject, metric: str, column: str) -> list[dict[str, Any]]:
    """What the alert engine made of the newest window of each stream about this metric or column."""
    known = subject.library.snapshot(subject.spec.id, "alert_streams")
    if known is None:
        return []
    about = (
        pl.col("stream").str.contains(f"/{column}/", literal=True)
        if column
        else pl.col("stream").str.ends_with(f"/{metric}")
    )
    rows = known.filter(about).sort("window_start").group_by("stream").last().sort("stream")
    kept = ["stream", "window_start", "status", "in_incident", "incident_id", "distance", "adjusted_evidence_days"]
    return rows.select(name for name in kept if name in rows.columns).to_dicts()
