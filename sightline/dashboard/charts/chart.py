"""A chart: options of ECharts as plain data, one sentence, and the table that says the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Option = dict[str, Any]
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Chart:
    """What is drawn, and the same as a table.

    Parameters
    ----------
    name : str
        Its id on the page: letters, digits and hyphens.
    title : str
        Shown above it.
    summary : str
        What it shows, for those who cannot see it.
    option : dict
        Options of ECharts without functions. Colours that begin with ``$`` are named in the style sheet.
    columns : sequence of str
        Heads of the table.
    rows : sequence of sequence
        The table.
    height : int
        In pixels.
    """

    name: str
    title: str
    summary: str
    option: Option
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    height: int = 260
    notes: Sequence[str] = field(default=())


def shown(value: float | None, digits: int = 4) -> str:
    """A number for people: so many significant digits; an en dash where there is none.

    Examples
    --------
    >>> shown(0.71234567), shown(1234567.0), shown(None), shown(3.0)
    ('0.7123', '1,234,567', '–', '3')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.{digits - 1}e}"


def rounded(value: float | None) -> float | None:
    """As it is drawn: six significant digits; None stays a gap."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def with_lone_points(data: Sequence[float | None], size: int = 6) -> Option:
    """Of a line: its data, and marks where a value has no neighbour, which a line alone would not show.

    Examples
    --------
    >>> with_lone_points([1.0, None, 2.0, 3.0])["data"]
    [{'value': 1.0, 'symbol': 'circle'}, None, 2.0, 3.0]
    """
    padded = [None, *data, None]
    lone = [value is not None and padded[k] is None and padded[k + 2] is None for k, value in enumerate(data)]
    marked = [
        {"value": value, "symbol": "circle"} if is_lone else value for value, is_lone in zip(data, lone, strict=True)
    ]
    return {"data": marked, "symbol": "none", "symbolSize": size, "showSymbol": any(lone), "showAllSymbol": any(lone)}


def moment(at: datetime, window: timedelta) -> str:
    """A window's name on an axis: its day, or its hour."""
    return f"{at:%Y-%m-%d}" if window >= DAY else f"{at:%Y-%m-%d %H:%M}"


def time_axis(labels: Sequence[str]) -> Option:
    """A category axis of windows."""
    return {
        "type": "category",
        "data": list(labels),
        "boundaryGap": False,
        "axisLine": {"lineStyle": {"color": "$line"}},
        "axisLabel": {"color": "$muted", "hideOverlap": True},
        "axisTick": {"show": False},
    }


def value_axis(name: str = "", **more: Any) -> Option:
    """A linear axis that need not begin at zero."""
    return {
        "type": "value",
        "scale": True,
        "name": name,
        "nameTextStyle": {"color": "$muted", "align": "left"},
        "axisLabel": {"color": "$muted"},
        "splitLine": {"lineStyle": {"color": "$grid"}},
        **more,
    }


def frame(**more: Any) -> Option:
    """What all charts share."""
    return {
        "animation": False,
        "grid": {"left": 8, "right": 34, "top": 34, "bottom": 8, "containLabel": True},
        "textStyle": {"fontFamily": "inherit", "color": "$text"},
        "tooltip": {
            "trigger": "axis",
            "renderMode": "richText",
            "confine": True,
            "backgroundColor": "$panel",
            "borderColor": "$line",
            "textStyle": {"color": "$text", "fontSize": 12},
        },
        "legend": {
            "type": "scroll",
            "top": 0,
            "left": 0,
            "textStyle": {"color": "$muted"},
            "itemWidth": 18,
            "itemHeight": 8,
        },
        **more,
    }
