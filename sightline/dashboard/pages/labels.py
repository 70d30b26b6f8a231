"""How labels arrive: the share that is in, how long they take, which windows still change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import Chart, frame, shown, value_axis
from sightline.dashboard.charts.series import series_chart
from sightline.dashboard.pages.page import Page, Subject, common, facts_of, primary
from sightline.dashboard.pages.standing import maturity
from sightline.errors import SightlineError
from sightline.judging.label_freshness import length

MOST_WINDOWS = 60


def labels_page(subject: Subject) -> Page:
    """The page of a monitor's labels.

    Raises
    ------
    SightlineError
        The monitor expects no labels.
    """
    spec = subject.spec
    if spec.labels is None:
        raise SightlineError(f"{spec.id} expects no labels", fix="name `labels:` in its file")
    charts: list[Chart] = []
    rate = subject.judgements(metric="labelled_rate", asset="model_quality")
    title = "Share of predictions with a label"
    charts.append(series_chart("rate", title, rate, subject.window, marks=subject.marks()))
    curve = subject.library.snapshot(spec.id, "label_completion")
    if curve is not None and len(curve):
        charts.append(_completion(curve, subject.window))
    arrivals = subject.judgements(metric="label_arrivals", asset="model_quality")
    if arrivals["value"].drop_nulls().len():
        title = "Labels that came, as a multiple of those expected by the usual delay"
        charts.append(series_chart("arrivals", title, arrivals, subject.window, height=200))
    learnt = subject.library.snapshot(spec.id, "learnt_delays")
    data: dict[str, Any] = {
        **facts_of(subject),
        "maturity": maturity(subject.library, spec),
        "learnt": None if learnt is None or learnt.is_empty() else _learnt(learnt.row(0, named=True)),
        "named": {
            "expected_delay": None if spec.labels.expected_delay is None else length(spec.labels.expected_delay),
            "give_up_after": None if spec.labels.give_up_after is None else length(spec.labels.give_up_after),
        },
        "windows": _windows(subject),
        "metric": primary(spec),
    }
    return Page("labels.html", f"Labels · {spec.id}", data, charts, common(subject, "labels"))


def _learnt(row: dict[str, Any]) -> dict[str, Any]:
    names = ("expected_delay", "give_up_after", "silence")
    told = {name: length(row[name]) if isinstance(row.get(name), timedelta) else None for name in names}
    return {**told, "n_labels": row.get("n_labels")}


def _completion(curve: pl.DataFrame, window: timedelta) -> Chart:
    """The share of labels that are in by the age of a window, of the rows whose labels take longest."""
    ages = [length(window * age) for age in curve["age"]]
    values = [float(f"{100 * share:.4g}") for share in curve["slowest"]]
    option = frame(
        xAxis={"type": "category", "data": ages, "axisLabel": {"color": "$muted", "hideOverlap": True}},
        yAxis=value_axis(min=0, max=100, scale=False),
        series=[
            {
                "name": "labels that are in",
                "type": "line",
                "step": "end",
                "data": values,
                "areaStyle": {"color": "$accent", "opacity": 0.12},
                "lineStyle": {"color": "$accent"},
                "itemStyle": {"color": "$accent"},
            }
        ],
    )
    rows = [[age, f"{value:.3g} %"] for age, value in zip(ages, values, strict=True)]
    summary = f"Learnt from the past: after {ages[-1]} since a window began {values[-1]:.3g} % of its labels are in."
    heads = ["time since the window began", "labels that are in"]
    return Chart("completion", "How fast labels come, % of a window's labels", summary, option, heads, rows, 220)


def _windows(subject: Subject) -> list[dict[str, Any]]:
    """The newest windows: labels in, the value by the labels that came alone, the corrected one, its state."""
    metric = primary(subject.spec)
    if metric is None:
        return []
    quality = subject.judgements(metric=metric, asset="model_quality").sort("window_start", descending=True)
    rate = subject.judgements(metric="labelled_rate", asset="model_quality").select("window_start", labelled="value")
    rows = quality.join(rate, on="window_start", how="left").head(MOST_WINDOWS)
    return [
        {
            "window_start": row["window_start"],
            "labelled": row["labelled"],
            "shown_labelled": "–" if row["labelled"] is None else f"{100 * row['labelled']:.3g} %",
            "maturity": row["maturity"],
            "naive": row["naive_value"],
            "shown_naive": shown(row["naive_value"]),
            "value": row["value"],
            "shown": shown(row["value"]),
            "shown_interval": "" if row["ci_low"] is None else f"{shown(row['ci_low'])} to {shown(row['ci_high'])}",
            "status": row["status"],
            "reason": row["reason"],
        }
        for row in rows.iter_rows(named=True)
    ]
