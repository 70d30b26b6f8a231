"""The report of a window as one HTML file: health, what to do, quality, drift with pictures, data, labels."""

from __future__ import annotations

import json
from typing import Any

from sightline.dashboard.charts.chart import Chart
from sightline.dashboard.charts.heat import heat
from sightline.dashboard.pages.column import distribution
from sightline.dashboard.pages.drifting import verdicts
from sightline.dashboard.pages.monitor import quality_chart
from sightline.dashboard.pages.page import primary
from sightline.reports.standalone import standalone
from sightline.reports.window.collect import WindowReport, headline

FAR = ("alert", "warn")
MOST_PICTURES = 8
LEAST_PICTURES = 3
"""Columns that are drawn where none is far."""
MOST_CHECKS, MOST_ROWS = 20, 60


def to_html(report: WindowReport) -> str:
    """One page with everything in it.

    Parameters
    ----------
    report : WindowReport

    Returns
    -------
    str
        HTML; a ``script`` element of type ``application/json`` and id ``report`` holds the same facts.
    """
    facts, spec, subject = report.facts, report.subject.spec, report.subject
    charts: list[Chart] = []
    metric = primary(spec)
    if metric is not None:
        charts.append(quality_chart(subject, metric))
    pictures, notes = _pictures(report)
    charts += pictures.values()
    charts.append(subject.course("volume", "Predictions", "n_rows", streams=("data_quality/n_rows",), height=180))
    grid = heat(
        verdicts(subject.judgements(asset="drift"), spec), subject.window, spec.drift.method, spec.drift.tolerance
    )
    loud = [row for row in facts["checks"] if row["level"] != "ok"]
    data: dict[str, Any] = {
        **facts,
        "head": headline(facts),
        "loud": loud[:MOST_CHECKS],
        "n_loud": len(loud),
        "drift_shown": facts["drift"][:MOST_ROWS],
        "n_far": sum(row["status"] in FAR for row in facts["drift"]),
        "has_quality_chart": metric is not None,
        "pictures": {column: chart.name for column, chart in pictures.items()},
        "notes": notes,
        "method": spec.drift.method,
        "heat": grid,
        "json": _inside_script(facts),
    }
    return standalone("window.html", headline(facts), data, charts)


def _pictures(report: WindowReport) -> tuple[dict[str, Chart], dict[str, str]]:
    """Distributions of the columns that matter most, and what should be known of each."""
    far = [row["column"] for row in report.facts["drift"] if row["status"] in FAR][:MOST_PICTURES]
    others = [row["column"] for row in report.facts["drift"] if row["value"] is not None and row["column"] not in far]
    wanted = far + others[: max(LEAST_PICTURES - len(far), 0)]
    charts: dict[str, Chart] = {}
    notes: dict[str, str] = {}
    for k, column in enumerate(wanted):
        chart, notes[column] = distribution(report.in_window, column, f"column-{k}")
        if chart is not None:
            charts[column] = chart
    return charts, notes


def _inside_script(facts: dict[str, Any]) -> str:
    """JSON that may stand inside a ``script`` element."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
