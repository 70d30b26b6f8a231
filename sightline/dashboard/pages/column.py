"""Columns: the list of them, and one with its distribution now against the reference, its history, its segments."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from sightline.dashboard.charts.chart import Chart, shown
from sightline.dashboard.charts.distribution import distribution_chart
from sightline.dashboard.charts.series import series_chart
from sightline.dashboard.charts.spark import spark
from sightline.dashboard.library import NotFoundError
from sightline.dashboard.meanings import column_words
from sightline.dashboard.pages.drifting import newest, verdicts
from sightline.dashboard.pages.page import Page, Subject, common, facts_of
from sightline.errors import nearest
from sightline.home import MonitorPaths
from sightline.results.distributions import read_distributions
from sightline.warehouse.reference import ReferenceProfile, load_reference, reference_id

HISTORY = ("null_rate", "mean", "unseen_rate", "out_of_range_rate", "not_finite_rate")
"""Facts of a column that are drawn beside its distance, where they are not all 0."""
MOST_SEGMENTS = 30


def columns_page(subject: Subject) -> Page:
    """All columns: how far each was from the reference in the shown windows, the farthest first."""
    spec = subject.spec
    rows = verdicts(subject.judgements(asset="drift"), spec)
    latest = {row["column"]: row for row in newest(rows).iter_rows(named=True)}
    nulls = subject.judgements(metric="null_rate", asset="data_quality")
    found: list[dict[str, Any]] = []
    pictures: dict[str, Any] = {}
    empty = {str(name): part for (name,), part in nulls.group_by(["column"])}
    for (name,), part in rows.sort("window_start").group_by(["column"], maintain_order=True):
        last = latest[name]
        far = part.filter(pl.col("status").is_in(["warn", "alert"]))
        known = part["value"].to_list()
        own = empty.get(str(name))
        kind = spec.columns.features.get(str(name))
        found.append(
            {
                "column": name,
                "words": column_words(str(name)),
                "kind": kind.kind if kind is not None else "",
                "distance": last["value"],
                "shown": shown(last["value"]),
                "status": last["status"],
                "reason": last["reason"],
                "windows_far": len(far),
                "windows": part["value"].count() or len(part),
                "window_start": last["window_start"],
                "metric": last["metric"],
                "null_rate": None if own is None else own["value"][-1],
                "shown_nulls": "–" if own is None else shown(own["value"][-1], 3),
            }
        )
        pictures[str(name)] = spark(known, f"distance of {name}: {len(known)} windows")
    found.sort(key=lambda row: (-row["windows_far"], -(row["distance"] or 0.0), row["column"]))
    data = {**facts_of(subject), "method": spec.drift.method, "tolerance": spec.drift.tolerance, "columns": found}
    return Page("columns.html", f"Columns · {spec.id}", data, view={"pictures": pictures, **common(subject, "columns")})


def column_page(subject: Subject, column: str) -> Page:
    """The page of a column.

    Raises
    ------
    SightlineError
        Nothing of this name is judged.
    """
    spec = subject.spec
    names = subject.library.names(spec.id)
    own = names.filter(column=column)
    if not column or own.is_empty():
        known = sorted(set(names["column"].drop_nulls()) - {""})
        raise NotFoundError(f"{spec.id} judges no column {column!r}", fix=nearest(column, known) if known else None)
    charts: list[Chart] = []
    drawn, note = _distribution(subject, column)
    charts += [drawn] if drawn is not None else []
    distances = subject.judgements(metric=spec.drift.method, column=column, asset="drift")
    if not distances.is_empty():
        stream = f"drift/{column}/"
        spans = subject.spans(stream)
        title = f"Distance from the reference ({spec.drift.method})"
        charts.append(
            series_chart("distance", title, distances, subject.window, marks=subject.marks(stream), spans=spans)
        )
    for metric in HISTORY:
        rows = subject.judgements(metric=metric, column=column, asset="data_quality")
        values = rows["value"].drop_nulls()
        if len(values) and (metric in ("mean", "null_rate") or values.max() != 0):
            charts.append(series_chart(f"of-{metric.replace('_', '-')}", metric, rows, subject.window, height=190))
    kind = spec.columns.features.get(column)
    data: dict[str, Any] = {
        **facts_of(subject),
        "column": column,
        "words": column_words(column),
        "kind": kind.kind if kind is not None else "",
        "distribution_note": note,
        "facts": _facts(subject, column),
        "by_segment": _by_segment(subject, column),
        "incidents": _incidents(subject, column),
    }
    return Page("column.html", f"{column_words(column)} · {spec.id}", data, charts, common(subject, "column"))


@lru_cache(maxsize=16)
def _reference(paths: MonitorPaths, known: str) -> ReferenceProfile | None:
    return load_reference(paths) if known else None


def _distribution(subject: Subject, column: str) -> tuple[Chart | None, str]:
    """The picture, and what should be known of it; None where nothing was counted."""
    paths, chosen = subject.library.paths(subject.spec.id), subject.selection
    assert chosen.start is not None and chosen.end is not None
    frozen = _reference(paths, reference_id(paths))
    profile = None if frozen is None else frozen.columns.get(column)
    if frozen is None or profile is None:
        return None, "the frozen reference does not know this column"
    rows = read_distributions(paths, column, chosen.start, chosen.end)
    same = pl.col("reference") == reference_id(paths, with_label=False)
    fits = rows.filter(same, pl.col("counts").list.len() == len(profile))
    if fits.is_empty():
        return None, "rows per bin are published from the next run of `drift` on"
    counts = np.asarray(fits["counts"].to_list(), dtype=np.int64).sum(axis=0)
    note = f"all versions and segments together, {len(fits)} windows"
    if len(fits) < len(rows):
        note += f"; {len(rows) - len(fits)} windows were counted by the bins of another reference and are left out"
    return distribution_chart("distribution", f"{column_words(column)}, % of rows", profile, counts), note


def _facts(subject: Subject, column: str) -> list[dict[str, Any]]:
    """Every metric of the column by its newest window."""
    rows = subject.judgements(column=column)
    latest = rows.sort("window_start").group_by("metric").last().sort("metric")
    kept = ("metric", "value", "n", "reference_value", "status", "reason", "window_start")
    told = {"shown": "value", "shown_reference": "reference_value"}
    return [
        {**{name: row[name] for name in kept}, **{name: shown(row[of]) for name, of in told.items()}}
        for row in latest.iter_rows(named=True)
    ]


def _by_segment(subject: Subject, column: str) -> list[dict[str, Any]]:
    """Its distance by segment: windows beyond the tolerance, and the newest value."""
    rows = subject.judgements(metric=subject.spec.drift.method, column=column, asset="drift", segment=None)
    known = rows.filter(pl.col("value").is_not_null(), pl.col("segment") != "all")
    if known.is_empty():
        return []
    far = pl.col("status").is_in(["warn", "alert"]).sum()
    summed = (
        known.sort("window_start")
        .group_by("segment")
        .agg(windows=pl.len(), windows_far=far, value=pl.col("value").last(), n=pl.col("n").last())
        .sort(["windows_far", "value"], descending=True)
        .head(MOST_SEGMENTS)
    )
    return [{**row, "shown": shown(row["value"])} for row in summed.iter_rows(named=True)]


def _incidents(subject: Subject, column: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in subject.incidents():
        own = [member["words"] for member in row["members"] if member["stream"].split("/")[1:2] == [column]]
        if own:
            since = row["change_point"] or row["opened_at"]
            found.append({"incident_id": row["incident_id"], "state": row["state"], "since": since, "words": own})
    return found
