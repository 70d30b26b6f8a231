"""A metric over time: values by state, their interval, the reference, the bound, incidents and deployments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import (
    Chart,
    Option,
    frame,
    moment,
    rounded,
    shown,
    time_axis,
    value_axis,
    with_lone_points,
)

STATES = {
    "ok": ("judged", "$accent", "circle"),
    "warn": ("judged, beyond its tolerance", "$warn", "triangle"),
    "alert": ("judged, breaks a rule", "$bad", "triangle"),
    "insufficient_data": ("too few rows for a verdict", "$muted", "emptyCircle"),
    "provisional": ("provisional: labels are still coming", "$provisional", "emptyDiamond"),
    "merged": ("of several windows, not judged as one", "$accent", "rect"),
}
"""Status -> its words, colour and mark: never told by colour alone."""
MISSING = "no value"


@dataclass(frozen=True)
class Mark:
    """Something at a moment: a deployment, an incident's begin.

    Parameters
    ----------
    at : datetime
    text : str
    kind : {'mark', 'incident', 'version'}
    """

    at: datetime
    text: str
    kind: str


@dataclass(frozen=True)
class Span:
    """Windows in which an incident was open."""

    start: datetime
    end: datetime
    text: str


def series_chart(
    name: str,
    title: str,
    rows: pl.DataFrame,
    window: timedelta,
    *,
    unit: str = "",
    marks: Sequence[Mark] = (),
    spans: Sequence[Span] = (),
    estimated: pl.DataFrame | None = None,
    moments: Sequence[datetime] | None = None,
    notes: Sequence[str] = (),
    height: int = 280,
) -> Chart:
    """A metric over time.

    Parameters
    ----------
    name, title : str
        Of the chart.
    rows : DataFrame
        Judgements of one metric, column, segment and version, sorted by window.
    window : timedelta
        Length of a window.
    unit : str
        Of the value.
    marks, spans : sequence
        What happened.
    estimated : DataFrame, optional
        Judgements of the estimate of the same metric.
    moments : sequence of datetime, optional
        What is drawn along the axis; default every window from the first to the last.
    notes : sequence of str
        Below the chart.
    height : int
        In pixels.

    Returns
    -------
    Chart
    """
    moments = _moments(rows, estimated, window) if moments is None else moments
    labels = [moment(at, window) for at in moments]
    by = {row["window_start"]: row for row in rows.iter_rows(named=True)}
    guess = {} if estimated is None else {row["window_start"]: row for row in estimated.iter_rows(named=True)}
    series = [*_band("interval", by, moments, "$accent"), *_line(by, moments)]
    if guess:
        series += [*_band("interval of the estimate", guess, moments, "$estimate"), _estimate(guess, moments)]
    series += _levels(by, moments)
    series += [_missing(by, moments)] if any(_is_missing(by.get(at)) for at in moments) else []
    _annotate(series, moments, labels, marks, spans)
    option = frame(xAxis=time_axis(labels), yAxis=value_axis(unit), series=series)
    option["legend"]["data"] = [each["name"] for each in series if not each["name"].startswith("@")]
    table = _table(by, guess, moments, labels)
    return Chart(name, title, _summary(title, by, moments, labels), option, *table, height, notes)


def _moments(rows: pl.DataFrame, estimated: pl.DataFrame | None, window: timedelta) -> list[datetime]:
    """All windows from the first to the last, those between them too: a gap is seen as one."""
    known: set[datetime] = {*rows["window_start"], *([] if estimated is None else estimated["window_start"])}
    if not known:
        return []
    first, last = min(known), max(known)
    return [first + k * window for k in range(round((last - first) / window) + 1)]


def _value(row: dict[str, Any] | None, name: str = "value") -> float | None:
    return None if row is None else rounded(row[name])


def _is_missing(row: dict[str, Any] | None) -> bool:
    return row is not None and row["value"] is None


def _line(by: dict[datetime, Any], moments: Sequence[datetime]) -> list[Option]:
    """One line through all values, and the marks of each state."""
    line: list[Option] = [
        {
            "name": "@line",
            "type": "line",
            "data": [_value(by.get(at)) for at in moments],
            "showSymbol": False,
            "silent": True,
            "lineStyle": {"color": "$accent", "width": 1.5},
            "itemStyle": {"color": "$accent"},
            "tooltip": {"show": False},
        }
    ]
    for status, (words, colour, symbol) in STATES.items():
        data = [_value(row) if (row := by.get(at)) is not None and row["status"] == status else None for at in moments]
        if any(value is not None for value in data):
            size = {"ok": 4, "merged": 5}.get(status, 9)
            item = {"color": colour, "borderColor": colour}
            line.append(
                {
                    "name": words,
                    "type": "scatter",
                    "data": data,
                    "symbol": symbol,
                    "symbolSize": size,
                    "itemStyle": item,
                }
            )
    return line


def _estimate(guess: dict[datetime, Any], moments: Sequence[datetime]) -> Option:
    return {
        "name": "estimated, before labels",
        "type": "line",
        **with_lone_points([_value(guess.get(at)) for at in moments]),
        "lineStyle": {"color": "$estimate", "type": "dashed", "width": 1.5},
        "itemStyle": {"color": "$estimate"},
    }


def _band(name: str, by: dict[datetime, Any], moments: Sequence[datetime], colour: str) -> list[Option]:
    """The interval as two stacked lines: the lower bound unseen, and what lies between as an area."""
    low = [_value(by.get(at), "ci_low") for at in moments]
    high = [_value(by.get(at), "ci_high") for at in moments]
    if not any(a is not None and b is not None for a, b in zip(low, high, strict=True)):
        return []
    between = [None if a is None or b is None else rounded(b - a) for a, b in zip(low, high, strict=True)]
    common: Option = {
        "type": "line",
        "stack": name,
        "stackStrategy": "all",
        "showSymbol": False,
        "silent": True,
        "lineStyle": {"opacity": 0},
        "itemStyle": {"color": colour},
        "tooltip": {"show": False},
    }
    lower = [None if b is None else a for a, b in zip(low, high, strict=True)]
    area = {"color": colour, "opacity": 0.16}
    return [
        {**common, "name": f"@{name} from", "data": lower},
        {**common, "name": name, "data": between, "areaStyle": area},
    ]


def _levels(by: dict[datetime, Any], moments: Sequence[datetime]) -> list[Option]:
    """The reference and the bounds, where there are any."""
    found: list[Option] = []
    for column, words, kind in (
        ("reference_value", "reference", "dotted"),
        ("bound_low", "bound", "solid"),
        ("bound_high", "bound", "solid"),
    ):
        data = [_value(by.get(at), column) for at in moments]
        if any(value is not None for value in data):
            colour = "$muted" if kind == "dotted" else "$bad"
            style = {"color": colour, "type": kind, "width": 1.2}
            found.append(
                {
                    "name": words,
                    "type": "line",
                    "step": "middle",
                    "data": data,
                    "showSymbol": False,
                    "lineStyle": style,
                    "itemStyle": {"color": colour},
                }
            )
    return found


def _missing(by: dict[datetime, Any], moments: Sequence[datetime]) -> Option:
    """Windows without a value, as marks on the lower edge of the chart."""
    values = [row[name] for row in by.values() for name in ("value", "ci_low") if row[name] is not None]
    base = rounded(min(values)) if values else 0.0
    return {
        "name": MISSING,
        "type": "scatter",
        "symbol": "path://M0,0L10,10M10,0L0,10",
        "symbolSize": 7,
        "itemStyle": {"color": "$muted", "borderColor": "$muted", "borderWidth": 1.5},
        "data": [base if _is_missing(by.get(at)) else None for at in moments],
        "tooltip": {"show": False},
    }


def _annotate(
    series: list[Option],
    moments: Sequence[datetime],
    labels: Sequence[str],
    marks: Sequence[Mark],
    spans: Sequence[Span],
) -> None:
    """Vertical lines of what happened, and the time of incidents as areas, on the first series."""
    if not moments or not series:
        return
    at_label = [
        {
            "xAxis": _nearest(mark.at, moments, labels),
            "name": mark.text,
            "label": {"formatter": _short(mark.text), "position": "insideEndTop", "color": "$muted", "fontSize": 10},
            "lineStyle": {"color": "$bad" if mark.kind == "incident" else "$mark", "type": "dashed"},
        }
        for mark in marks
        if moments[0] <= mark.at <= moments[-1] + (moments[-1] - moments[0])
    ]
    if at_label:
        series[0]["markLine"] = {"symbol": "none", "silent": True, "data": at_label}
    areas = [
        [
            {"xAxis": _nearest(max(span.start, moments[0]), moments, labels), "name": span.text},
            {"xAxis": _nearest(min(span.end, moments[-1]), moments, labels)},
        ]
        for span in spans
        if span.start <= moments[-1] and span.end >= moments[0]
    ]
    if areas:
        style = {"color": "$bad", "opacity": 0.07}
        series[0]["markArea"] = {"silent": True, "itemStyle": style, "label": {"show": False}, "data": areas}


def _nearest(at: datetime, moments: Sequence[datetime], labels: Sequence[str]) -> str:
    before = [k for k, each in enumerate(moments) if each <= at]
    return labels[before[-1]] if before else labels[0]


def _short(text: str, most: int = 24) -> str:
    """A label beside a line; braces would be read as a template."""
    plain = text.replace("{", "(").replace("}", ")")
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _summary(title: str, by: dict[datetime, Any], moments: Sequence[datetime], labels: Sequence[str]) -> str:
    values = [(at, row["value"]) for at in moments if (row := by.get(at)) is not None and row["value"] is not None]
    if not values:
        return f"{title}: no value in these windows."
    lowest, highest = (pick(values, key=lambda pair: pair[1]) for pick in (min, max))
    name = dict(zip(moments, labels, strict=True))
    last = values[-1]
    return (
        f"{title}: {len(values)} of {len(moments)} windows have a value; "
        f"lowest {shown(lowest[1])} on {name[lowest[0]]}, "
        f"highest {shown(highest[1])} on {name[highest[0]]}, latest {shown(last[1])} on {name[last[0]]}."
    )


def _table(
    by: dict[datetime, Any], guess: dict[datetime, Any], moments: Sequence[datetime], labels: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    heads = ["window", "value", "95 % interval", "n", "reference", "state", "why"]
    if guess:
        heads.insert(3, "estimated")
    rows: list[list[str]] = []
    for at, label in zip(moments, labels, strict=True):
        row = by.get(at)
        cells = [label, "–", "–", "–", "–", "no judgement", ""]
        if row is not None:
            n = "–" if row["n"] is None else f"{row['n']:,}"
            state = row["status"].replace("_", " ")
            interval = "–" if row["ci_low"] is None else f"{shown(row['ci_low'])} to {shown(row['ci_high'])}"
            cells = [label, shown(row["value"]), interval, n, shown(row["reference_value"]), state, row["reason"] or ""]
        if guess:
            known = guess.get(at)
            cells.insert(3, "–" if known is None else shown(known["value"]))
        rows.append(cells)
    rows.reverse()
    return heads, rows
