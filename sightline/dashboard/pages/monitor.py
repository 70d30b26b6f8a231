"""One monitor: quality with its bands, drift of all columns over time, volume, incidents."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.alerts.listing import each_once
from sightline.dashboard.charts.chart import Chart, shown
from sightline.dashboard.charts.heat import heat
from sightline.dashboard.pages.drifting import verdicts
from sightline.dashboard.pages.page import Page, Subject, common, facts_of, newest_judged, primary
from sightline.dashboard.pages.standing import maturity, standing
from sightline.spec import plan

SERVICE = ("error_rate", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
MOST_INCIDENTS = 12


def monitor_page(subject: Subject) -> Page:
    """The page of a monitor."""
    spec = subject.spec
    now = standing(subject.library, spec)
    metric = primary(spec)
    charts: list[Chart] = []
    if metric is not None:
        charts.append(quality_chart(subject, metric))
    name = "Predictions" if subject.selection.version == "all" else f"Predictions of {subject.selection.version}"
    stream = "data_quality/n_rows"
    charts.append(subject.course("volume", name, "n_rows", asset="data_quality", streams=(stream,), height=180))
    distances = verdicts(subject.judgements(asset="drift"), spec)
    grid = heat(distances, subject.window, spec.drift.method, spec.drift.tolerance)
    data: dict[str, Any] = {
        **facts_of(subject),
        "task": spec.model.task,
        "owner": spec.model.owner,
        "description": spec.model.description,
        "level": now.level,
        "word": now.word,
        "reasons": list(now.reasons),
        "labels": maturity(subject.library, spec),
        "drift_method": spec.drift.method,
        "drift": [
            {"column": column, "cells": [cell.words for cell in cells]}
            for column, cells in zip(grid.columns, grid.cells, strict=True)
        ],
        "metrics": _metrics(subject),
        "incidents": [_incident(row) for row in subject.incidents()[:MOST_INCIDENTS]],
        "n_incidents": len(subject.incidents()),
    }
    return Page("monitor.html", spec.id, data, charts, {"heat": grid, **common(subject, "")})


def quality_chart(subject: Subject, metric: str, name: str = "quality") -> Chart:
    """A metric of realised quality with its estimate, where there is one."""
    estimated = subject.judgements(metric=f"{plan.ESTIMATED_AS}{metric}", asset="estimated_quality")
    return subject.course(
        name,
        metric,
        metric,
        asset="model_quality",
        streams=(f"model_quality/{metric}",),
        estimated=None if estimated.is_empty() else estimated,
    )


def _metrics(subject: Subject) -> list[dict[str, Any]]:
    """Every metric of the whole model, by its newest window whose labels are not awaited."""
    rows = subject.judgements(column="")
    if rows.is_empty():
        return []
    latest = newest_judged(rows)
    first = primary(subject.spec)
    found = [
        {
            "metric": row["metric"],
            "value": row["value"],
            "shown": shown(row["value"]),
            "interval": None if row["ci_low"] is None else [row["ci_low"], row["ci_high"]],
            "shown_interval": "" if row["ci_low"] is None else f"{shown(row['ci_low'])} to {shown(row['ci_high'])}",
            "n": row["n"],
            "reference": row["reference_value"],
            "shown_reference": shown(row["reference_value"]),
            "status": row["status"],
            "reason": row["reason"],
            "window": row["window_start"],
            "group": _group(row["metric"]),
        }
        for row in latest.iter_rows(named=True)
    ]
    order = {"quality": 0, "estimate": 1, "service": 2, "labels": 3}
    return sorted(found, key=lambda row: (order.get(row["group"], 9), row["metric"] != first, row["metric"]))


def _group(metric: str) -> str:
    if metric.startswith((plan.ESTIMATED_AS, plan.AUDITED_AS)):
        return "estimate"
    if metric in SERVICE or metric in ("n_rows", "latency_n"):
        return "service"
    return "labels" if metric in ("labelled_rate", "label_delay", "n_labels") else "quality"


def _incident(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("incident_id", "state", "severity", "is_open", "change_point", "opened_at", "ended_at", "ended_by", "owner")
    members = each_once(row["members"])
    words = [member["words"] for member in members[:3]]
    return {**{name: row[name] for name in kept}, "words": words, "n_streams": len(members)}


def with_values(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a number."""
    return rows.filter(pl.col("value").is_not_null())
