"""Columns: the list of them, and one with its distribution now against the reference, its history, its segments."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from sightline.dashboard.charts.chart import Chart, shown
from sightline.dashboard.charts.distribution import distribution_chart
from sightline.dashboard.charts.embedding_map import map_chart
from sightline.dashboard.charts.spark import spark
from sightline.dashboard.library import NotFoundError
from sightline.dashboard.meanings import column_words
from sightline.dashboard.pages.drifting import newest, verdicts
from sightline.dashboard.pages.page import Page, Subject, common, facts_of, newest_judged
from sightline.dashboard.pages.texts import text_facts
from sightline.errors import nearest
from sightline.home import MonitorPaths
from sightline.results.distributions import read_distributions
from sightline.results.embedding_maps import read_map
from sightline.spec.multivariate import JOINT, embedding_columns
from sightline.warehouse.reference import ReferenceProfile, load_reference, reference_id

HISTORY = ("null_rate", "mean", "unseen_rate", "out_of_range_rate", "not_finite_rate")
"""Facts of a column that are drawn beside its distance, where they are not all 0."""
DISTANCES = ("rff_distance", "domain_auc", "centroid_distance", "norm")
"""Of an embedding."""
READINGS = {"text": "length in characters, ", "embedding": "norm, "}
"""What of a column that is no number is counted in bins."""
MOST_SEGMENTS, MOST_STATISTICS = 30, 6


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
    data["texts"] = sorted(spec.columns.described)
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
    is_text = column in spec.columns.described
    if not column or (own.is_empty() and not is_text):
        known = sorted({*names["column"].drop_nulls(), *spec.columns.described} - {""})
        raise NotFoundError(f"{spec.id} judges no column {column!r}", fix=nearest(column, known) if known else None)
    charts: list[Chart] = []
    drawn, note = distribution(subject, column)
    charts += [drawn] if drawn is not None else []
    charts += [] if column in embedding_columns(spec) else _distances(subject, column)
    for metric in HISTORY:
        values = subject.judgements(metric=metric, column=column, asset="data_quality")["value"].drop_nulls()
        if len(values) and (metric in ("mean", "null_rate") or values.max() != 0):
            name = f"of-{metric.replace('_', '-')}"
            charts.append(subject.course(name, metric, metric, column, asset="data_quality", height=190))
    charts += _vectors(subject, column)
    kind = spec.columns.features.get(column)
    data: dict[str, Any] = {
        **facts_of(subject),
        "column": column,
        "words": column_words(column),
        "kind": kind.kind if kind is not None else "",
        "distribution_note": note,
        "text": text_facts(subject, column) if kind is not None and kind.kind == "text" else None,
        "facts": _facts(subject, column),
        "by_segment": _by_segment(subject, column),
        "incidents": _incidents(subject, column),
    }
    return Page(
        "column.html", f"{column_words(column)} · {spec.id}", data, charts, common(subject, "column", column=column)
    )


def _vectors(subject: Subject, column: str) -> list[Chart]:
    """Of an embedding: the newest map of the shown windows, and the course of its distances."""
    spec, chosen = subject.spec, subject.selection
    if column not in embedding_columns(spec):
        return []
    assert chosen.start is not None and chosen.end is not None
    first, last = spec.key(chosen.start), spec.key(chosen.end - timedelta(microseconds=1))
    rows = read_map(subject.library.paths(spec.id), column, first, last)
    if subject.library.masking.hidden(spec):  # what is read of a row may be a value of any column
        rows = rows.with_columns(shown=pl.lit(None, pl.String))
    chart = None if rows.is_empty() else map_chart("map", column, rows, spec.key(rows["window_start"][0]))
    streams = (f"drift/{column}/",)
    return ([chart] if chart is not None else []) + [
        subject.course(f"of-{metric.replace('_', '-')}", metric, metric, column, asset="drift", streams=streams)
        for metric in DISTANCES
        if not subject.judgements(metric=metric, column=column, asset="drift")["value"].drop_nulls().is_empty()
    ]


def _distances(subject: Subject, column: str) -> list[Chart]:
    """The deciding distance over time; where several decide each of them."""
    rows, method = subject.judgements(column=column, asset="drift"), subject.spec.drift.method
    known = rows.filter(pl.col("value").is_not_null())["metric"].unique().sort().to_list()
    wanted = [method] if method in rows["metric"] else known[:MOST_STATISTICS]
    streams = (f"drift/{column}/",)
    return [
        subject.course(
            "distance" if k == 0 else f"distance-{k}",
            distance_title(metric),
            metric,
            column,
            asset="drift",
            streams=streams,
            height=280 if k == 0 else 190,
        )
        for k, metric in enumerate(wanted)
        if not rows.filter(pl.col("metric") == metric).is_empty()
    ]


def distance_title(metric: str) -> str:
    """Shares and numbers that are judged beside distances are no distance."""
    words = metric.replace("_", " ")
    return (
        words.capitalize()
        if metric.endswith(("_rate", "_share", "_words"))
        else f"Distance from the reference ({words})"
    )


@lru_cache(maxsize=16)
def _reference(paths: MonitorPaths, known: str) -> ReferenceProfile | None:
    return load_reference(paths) if known else None


def distribution(
    subject: Subject, column: str, name: str = "distribution", title: str | None = None
) -> tuple[Chart | None, str]:
    """The picture, and what should be known of it; None where nothing was counted."""
    paths, chosen = subject.library.paths(subject.spec.id), subject.selection
    assert chosen.start is not None and chosen.end is not None
    frozen = _reference(paths, reference_id(paths))
    profile = None if frozen is None else frozen.columns.get(column)
    if column == JOINT:
        return (
            None,
            "the numeric columns together: their correlations, and how far rows are from the reference's",
        )
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
    feature = subject.spec.columns.features.get(column)
    read = READINGS.get(feature.kind, "") if feature is not None else ""
    title = title or f"{column_words(column)}, {read}% of rows"
    is_hidden = subject.library.masking.hides(subject.spec, column)
    note += "; the values of this column are not shown" if is_hidden else ""
    return distribution_chart(name, title, profile, counts, is_hidden=is_hidden), note


def _facts(subject: Subject, column: str) -> list[dict[str, Any]]:
    """Every metric of the column by its newest window."""
    rows = subject.judgements(column=column)
    latest = newest_judged(rows)
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
    total = known["segment"].n_unique()
    return [{**row, "shown": shown(row["value"]), "of": total} for row in summed.iter_rows(named=True)]


def _incidents(subject: Subject, column: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in subject.incidents():
        own = [member["words"] for member in row["members"] if member["stream"].split("/")[1:2] == [column]]
        if own:
            since = row["change_point"] or row["opened_at"]
            found.append({"incident_id": row["incident_id"], "state": row["state"], "since": since, "words": own})
    return found
