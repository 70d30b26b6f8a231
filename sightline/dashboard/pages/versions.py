"""Model versions side by side over the shown windows, and candidates beside the champion."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import shown
from sightline.dashboard.charts.spark import spark
from sightline.dashboard.pages.candidates import CARD, WORDS, evaluated, roles
from sightline.dashboard.pages.page import Page, Subject, common, facts_of, primary

MOST_VERSIONS = 30


def versions_page(subject: Subject) -> Page:
    """Rows and quality of every version that was seen in the shown windows, and what was found of candidates."""
    spec, metric = subject.spec, primary(subject.spec)
    rows = subject.judgements(metric="n_rows", asset="data_quality", version=None)
    rows = rows.filter(pl.col("model_version") != "all")
    seen = (
        rows.filter(pl.col("value") > 0)
        .group_by("model_version")
        .agg(first=pl.col("window_start").min(), last=pl.col("window_start").max(), rows=pl.col("value").sum())
        .sort("first", descending=True)
        .head(MOST_VERSIONS)
    )
    quality = subject.judgements(metric=metric or "", asset="model_quality", version=None)
    role = roles(subject)
    found: list[dict[str, Any]] = []
    pictures: dict[str, Any] = {}
    for row in seen.iter_rows(named=True):
        own = quality.filter(pl.col("model_version") == row["model_version"], pl.col("value").is_not_null())
        last = own.row(-1, named=True) if len(own) else None
        found.append(
            {
                **row,
                "role": role.get(row["model_version"]),
                "quality": None if last is None else last["value"],
                "shown": shown(None if last is None else last["value"]),
                "shown_interval": ""
                if last is None or last["ci_low"] is None
                else f"{shown(last['ci_low'])} to {shown(last['ci_high'])}",
                "quality_status": None if last is None else last["status"],
                "quality_window": None if last is None else last["window_start"],
                "windows": len(own),
            }
        )
        words = f"{metric} of {row['model_version']}: {len(own)} windows"
        pictures[row["model_version"]] = spark(own["value"].to_list(), words)
    data = {**facts_of(subject), "metric": metric, "versions": found, "candidates": evaluated(subject, role)}
    view = {"pictures": pictures, "outcomes": WORDS, "card": CARD, **common(subject, "versions")}
    return Page("versions.html", f"Versions · {spec.id}", data, view=view)
