"""Rows of a query as lines or bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightline.dashboard.charts.chart import (
    Chart,
    Option,
    frame,
    rounded,
    shown,
    time_axis,
    value_axis,
    with_lone_points,
)
from sightline.errors import SightlineError, nearest

COLOURS = ("$accent", "$warn", "$good", "$provisional", "$bad", "$muted")
FEW = 60
"""So many points of a line are all marked; of more those that have no neighbour."""
LINES = ("solid", "dashed", "dotted")


def rows_chart(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    show: str,
    x: str,
    y: Sequence[str],
    unit: str = "",
) -> Chart:
    """Columns of a table as lines or bars over one of them.

    Parameters
    ----------
    name, title : str
        Of the chart.
    columns : sequence of str
    rows : sequence of sequence
        Plain values, in the order in which they are drawn.
    show : {'line', 'bar'}
    x : str
        Column along the axis.
    y : sequence of str
        Columns that are drawn; null is a gap.
    unit : str
        Of the values.

    Returns
    -------
    Chart

    Raises
    ------
    SightlineError
        There is no such column, or it holds no numbers.
    """
    at = {column: k for k, column in enumerate(columns)}
    for column in (x, *y):
        if column not in at:
            raise SightlineError(f"the query has no column {column!r}", fix=nearest(column, columns))
    labels = ["–" if row[at[x]] is None else str(row[at[x]]) for row in rows]
    series = [
        _series(column, [_number(column, row[at[column]]) for row in rows], k, show) for k, column in enumerate(y)
    ]
    axis = {**time_axis(labels), "boundaryGap": show == "bar"}
    option = frame(xAxis=axis, yAxis=value_axis(unit, scale=show != "bar"), series=series)
    table = [[label, *(_told(row[at[column]]) for column in y)] for label, row in zip(labels, rows, strict=True)]
    latest = "; ".join(_latest(column, [row[at[column]] for row in rows], labels) for column in y)
    summary = f"{title}: {len(rows)} rows; latest: {latest}." if rows else f"{title}: no rows."
    return Chart(name, title, summary, option, [x, *y], table)


def _latest(column: str, values: Sequence[Any], labels: Sequence[str]) -> str:
    """The last value that is known, and of when it is."""
    known = [k for k, value in enumerate(values) if value is not None]
    return f"{column} {_told(values[known[-1]])} ({labels[known[-1]]})" if known else f"{column}: no value"


def _number(column: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SightlineError(f"the column {column!r} holds {value!r}, no number", fix="draw columns of numbers")
    return rounded(float(value))


def _told(value: Any) -> str:
    return shown(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else "–"


def _series(column: str, data: list[float | None], k: int, show: str) -> Option:
    """Lines are told apart by colour and by how they are drawn."""
    colour = COLOURS[k % len(COLOURS)]
    base: Option = {"name": column, "type": show, "data": data, "itemStyle": {"color": colour}}
    if show == "line":
        style = {"color": colour, "width": 1.5, "type": LINES[k // 2 % len(LINES)]}
        few = {"symbolSize": 4, "showSymbol": True}
        base |= {"lineStyle": style, **(few if len(data) <= FEW else with_lone_points(data))}
    return base
