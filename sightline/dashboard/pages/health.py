"""Data health: freshness, volume, rejections, and rows of the quarantine with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from sightline.alerts.listing import operations
from sightline.dashboard.charts.chart import Chart
from sightline.dashboard.masking import MASKED
from sightline.dashboard.pages.page import Page, Subject, common, facts_of
from sightline.lake.store.schema import QUARANTINE_SCHEMA
from sightline.results.append_only import scan_folders

SERVICE = {
    "rejected_rate": "Share of rows that were refused",
    "error_rate": "Share of calls that failed",
    "latency_p95_ms": "Latency, 95th percentile",
}
MOST_SAMPLES, MOST_REASONS, MOST_TEXT = 20, 40, 200


def health_page(subject: Subject) -> Page:
    """The page of a monitor's data."""
    charts: list[Chart] = []
    for metric, title in SERVICE.items():
        rows = subject.judgements(metric=metric, asset="data_quality", column="")
        if rows["value"].drop_nulls().len():
            name = metric.replace("_", "-")
            charts.append(subject.course(name, title, metric, asset="data_quality", height=190))
    counted, samples = _quarantine(subject)
    data: dict[str, Any] = {
        **facts_of(subject),
        "freshness": _freshness(subject),
        "operations": operations(subject.library.paths(subject.spec.id)),
        "reasons": counted,
        "samples": [_sample(subject, row) for row in samples],
        "not_judged": _not_judged(subject),
    }
    return Page("health.html", f"Data health · {subject.spec.id}", data, charts, common(subject, "health"))


def _freshness(subject: Subject) -> list[dict[str, Any]]:
    """What was last judged of each kind, and how old it may be."""
    now = datetime.now(UTC).replace(tzinfo=None)
    found: list[dict[str, Any]] = []
    for name, asset, metric in (
        ("predictions", "data_quality", "n_rows"),
        ("labels", "model_quality", "labelled_rate"),
    ):
        rows = subject.library.judgements(subject.spec.id, metric=metric, asset=asset)
        with_rows = rows.filter(pl.col("value") > 0)
        if rows.is_empty():
            continue
        newest, judged = with_rows["window_start"].max(), rows["computed_at"].max()
        age = now - newest if isinstance(newest, datetime) else None
        hours = None if age is None else age.total_seconds() / 3600
        allowed = subject.spec.deadlines["inferences" if name == "predictions" else "labels"].total_seconds() / 3600
        row = {"of": name, "newest_window": newest, "judged_at": judged, "age_hours": hours, "allowed_hours": allowed}
        found.append({**row, "is_late": hours is not None and hours > allowed})
    return found


def _quarantine(subject: Subject) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Counts by reason of the shown windows, and some rows, newest first."""
    start, end = subject.selection.start, subject.selection.end
    received_until = end if subject.asked.end is not None else None
    folder = subject.library.paths(subject.spec.id).quarantine
    if not folder.is_dir():
        return [], []
    at = pl.coalesce("window_start", "received_at")
    in_window = pl.col("window_start").is_between(pl.lit(start), pl.lit(end), closed="left")
    came = pl.col("received_at") >= start
    came = came if received_until is None else came & (pl.col("received_at") < received_until)

    def use(lazy: pl.LazyFrame) -> pl.LazyFrame:
        return lazy.filter(in_window.fill_null(value=False) | (pl.col("window_start").is_null() & came))

    rows = scan_folders([each for each in (folder, *folder.glob("*/")) if each.is_dir()], QUARANTINE_SCHEMA, use)
    by = (
        rows.group_by("kind", "severity", "reason", "column")
        .agg(n=pl.len(), latest=at.max())
        .sort("n", descending=True)
    )
    newest = rows.sort(at, descending=True, nulls_last=True).head(MOST_SAMPLES)
    return by.head(MOST_REASONS).to_dicts(), newest.to_dicts()


def _sample(subject: Subject, row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("kind", "source", "row_number", "prediction_id", "window_start", "column", "reason", "severity")
    value = row["value"]
    masking = subject.library.masking
    may_tell = row["column"] is None and bool(masking.hidden(subject.spec))  # what could not be read may hold any value
    is_masked = may_tell or masking.hides(subject.spec, row["column"])
    shown = MASKED if is_masked and value is not None else _short(value)
    return {**{name: row[name] for name in kept}, "value": shown}


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}… ({len(text):,} characters)"


def _not_judged(subject: Subject) -> list[dict[str, Any]]:
    """What has no verdict in the newest window, and why, by reason."""
    if subject.newest is None:
        return []
    rows = subject.library.judgements(subject.spec.id, start=subject.newest, end=subject.newest + subject.window)
    gone = rows.filter(status="insufficient_data")
    by = gone.group_by("reason_code", "reason").agg(n=pl.len(), columns=pl.col("column").unique().sort().head(8))
    return by.sort("n", descending=True).head(20).to_dicts()
