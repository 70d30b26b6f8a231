"""All monitors of a home: how each is, and how it has been."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import shown
from sightline.dashboard.charts.spark import spark
from sightline.dashboard.library import Library
from sightline.dashboard.pages.drifting import FAR, verdicts
from sightline.dashboard.pages.drifting import newest as newest_of
from sightline.dashboard.pages.page import Page, primary
from sightline.dashboard.pages.standing import LEVELS, Standing, maturity, standing
from sightline.spec.model import MonitorSpec

WINDOWS = 60
"""Newest windows in the small pictures."""


def overview(library: Library) -> Page:
    """The first page."""
    monitors = library.monitors()
    rows = [_row(library, spec) for spec in monitors.specs.values()]
    rows.sort(key=lambda row: (LEVELS.index(row["level"]), row["monitor"]))
    broken = [{"file": each.path.name, "error": str(each.error)} for each in monitors.broken]
    counts = {level: sum(row["level"] == level for row in rows) for level in LEVELS}
    pictures = {row["monitor"]: row.pop("pictures") for row in rows}
    own = library.dashboards()
    data = {
        "monitors": rows,
        "broken": broken,
        "counts": counts,
        "pages": [{"page": name, "title": page.title} for name, page in own.pages.items()],
        "broken_pages": [{"file": each.path.name, "error": str(each.error)} for each in own.broken],
    }
    return Page("overview.html", "Sightline", data, view={"pictures": pictures, "tab": "overview"})


def _row(library: Library, spec: MonitorSpec) -> dict[str, Any]:
    """What is told of a monitor, kept until its files change or the hour is over: how old data are depends on it."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    key = ("overview", spec.id, hour, library.masking.hidden(spec))
    return dict(library.kept(key, library.state(spec.id), lambda: _made(library, spec)))


def _made(library: Library, spec: MonitorSpec) -> dict[str, Any]:
    newest = library.newest_window(spec.id)
    now: Standing = standing(library, spec)
    base: dict[str, Any] = {
        "monitor": spec.id,
        "description": spec.model.description or "",
        "owner": spec.model.owner or "",
        "task": spec.model.task.replace("_", " "),
        "schedule": spec.schedule,
        "level": now.level,
        "word": now.word,
        "reasons": list(now.reasons),
        "newest_window": newest,
        "open_incidents": sum(row["is_open"] for row in library.incidents(spec.id)),
        **maturity(library, spec),
    }
    if newest is None:
        return {**base, "pictures": {}}
    start = newest - (WINDOWS - 1) * spec.window
    metric = primary(spec)
    volume = library.judgements(spec.id, metric="n_rows", asset="data_quality").filter(pl.col("window_start") >= start)
    values: dict[str, tuple[list[float | None], str]] = {"volume": (volume["value"].to_list(), "predictions")}
    judged = verdicts(library.judgements(spec.id, asset="drift", start=start), spec)
    far = pl.col("status").is_in(FAR)
    drift = judged.group_by("window_start").agg(far=far.sum()).sort("window_start")
    values["drift"] = (drift["far"].cast(pl.Float64).to_list(), "columns that drifted")
    if metric is not None:
        quality = library.judgements(spec.id, metric=metric, asset="model_quality")
        quality = quality.filter(pl.col("window_start") >= start)
        values["quality"] = (quality["value"].to_list(), metric)
        base |= {"quality_metric": metric, **_latest(quality)}
    pictures = {
        name: spark(known, f"{words}: {len(known)} windows, latest {shown(known[-1]) if known else 'none'}")
        for name, (known, words) in values.items()
    }
    base |= {"rows": values["volume"][0][-1] if values["volume"][0] else None}
    base |= {"drifting": len(newest_of(judged).filter(far)) if len(judged) else None}
    return {**base, "pictures": pictures}


def _latest(quality: pl.DataFrame) -> dict[str, Any]:
    known = quality.filter(pl.col("value").is_not_null())
    if known.is_empty():
        return {"quality": None, "quality_status": "insufficient_data", "quality_window": None}
    row = known.row(-1, named=True)
    names = {"quality": "value", "quality_status": "status", "quality_window": "window_start"}
    return {name: row[column] for name, column in names.items()}
