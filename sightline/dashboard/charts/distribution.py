"""Two distributions over the same frozen bins: the reference and the shown windows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metrics_py.profile.column_profile import ColumnProfile
from sightline.dashboard.charts.chart import Chart, Option, frame, shown, value_axis

MOST_BARS = 40
"""Bins that are drawn: of categories, those with the most rows on either side."""
NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
INTERVAL = re.compile(rf"([\[(]){NUMBER}, {NUMBER}([\])])")
HOLDS_VALUES = {"category": "category", "atom": "value", "interval": "range", "below": "range", "above": "range"}
"""Kinds of bins whose names tell values of rows."""


def distribution_chart(
    name: str, title: str, profile: ColumnProfile, counts: NDArray[np.int64], *, is_hidden: bool = False
) -> Chart:
    """Shares per bin, reference beside the shown windows.

    Parameters
    ----------
    name, title : str
        Of the chart.
    profile : ColumnProfile
        The frozen reference of the column.
    counts : integer ndarray, shape (K,)
        Rows of the shown windows per bin.
    is_hidden : bool
        Bins are numbered, their values are not told; those for missing and other rows keep their names.

    Returns
    -------
    Chart
    """
    before, now = shares(profile.n_reference), shares(counts)
    ids = _shown_bins(profile, before, now)
    labels = [_hidden_words(profile, i, k) if is_hidden else bin_words(profile, i) for k, i in enumerate(ids, start=1)]
    totals = [profile.n_rows, int(counts.sum())]
    return bars_chart(name, title, labels, (before[ids], now[ids]), ("reference", "shown windows"), totals)


def bars_chart(
    name: str,
    title: str,
    labels: Sequence[str],
    both: tuple[NDArray[np.float64], NDArray[np.float64]],
    sides: tuple[str, str],
    totals: Sequence[int],
) -> Chart:
    """Two shares per bin beside each other.

    Parameters
    ----------
    name, title : str
        Of the chart.
    labels : sequence of str
        Of the bins.
    both : pair of ndarray, shape (K,)
        Shares of all rows, the reference first.
    sides : pair of str
        What the two are called.
    totals : sequence of int
        Rows of the two.

    Returns
    -------
    Chart
    """
    before, now = both
    option: Option = frame(
        xAxis={
            "type": "category",
            "data": [axis_words(label) for label in labels],
            "axisLabel": {"color": "$muted", "hideOverlap": True, "width": 110, "overflow": "truncate"},
            "axisLine": {"lineStyle": {"color": "$line"}},
        },
        yAxis=value_axis(scale=False),
        series=[_bars(sides[0], 100 * before, "$muted"), _bars(sides[1], 100 * now, "$accent")],
    )
    named = list(enumerate(labels))
    rows = [[words, _percent(before[k]), _percent(now[k]), _points(now[k] - before[k])] for k, words in named]
    summary = f"{title}: {totals[1]:,} rows in {sides[1]}, {totals[0]:,} in {sides[0]}."
    if labels and totals[1]:
        far = int(np.argmax(np.abs(now - before)))
        change = f"{_percent(before[far])} then, {_percent(now[far])} now"
        summary += f" The largest change is at {labels[far]}: {change}."
    return Chart(name, title, summary, option, ["value", *sides, "change"], rows, 280)


def axis_words(label: str) -> str:
    """A bin's name where there is little room: the ends of an interval with four significant digits.

    Examples
    --------
    >>> axis_words("(0.815789, 0.833333]"), axis_words("JFK"), axis_words("> 1234567.8")
    ('(0.8158, 0.8333]', 'JFK', '> 1234567.8')
    """
    found = INTERVAL.fullmatch(label)
    if found is None:
        return label
    opening, low, high, closing = found.groups()
    return f"{opening}{shown(float(low))}, {shown(float(high))}{closing}"


def shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of all rows; zeros where there are none."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))


def _bars(name: str, values: NDArray[np.float64], colour: str) -> Option:
    return {
        "name": name,
        "type": "bar",
        "barGap": "0%",
        "barCategoryGap": "20%",
        "data": [float(f"{value:.4g}") for value in values],
        "itemStyle": {"color": colour},
    }


def _shown_bins(profile: ColumnProfile, before: NDArray[np.float64], now: NDArray[np.float64]) -> list[int]:
    """Bins that hold rows on either side, in their order; of many, the largest."""
    most = np.maximum(before, now)
    ids = [i for i in range(len(profile)) if most[i] > 0]
    if len(ids) > MOST_BARS:
        ids = sorted(sorted(ids, key=lambda i: -most[i])[:MOST_BARS])
    if profile.kind == "categorical":
        return sorted(ids, key=lambda i: (profile.bin_kind[i] != "category", -before[i], -now[i]))
    order = {"below": 0, "atom": 1, "interval": 1, "above": 2}
    return sorted(ids, key=lambda i: (order.get(profile.bin_kind[i], 3), _middle(profile, i)))


def _middle(profile: ColumnProfile, i: int) -> float:
    value = float(profile.center[i])
    return value if np.isfinite(value) else 0.0


def _hidden_words(profile: ColumnProfile, i: int, k: int) -> str:
    """A bin without its values."""
    kind = profile.bin_kind[i]
    return f"{HOLDS_VALUES[kind]} {k}" if kind in HOLDS_VALUES else bin_words(profile, i)


def bin_words(profile: ColumnProfile, i: int) -> str:
    """What a bin holds, for people."""
    return profile.label[i] or profile.bin_kind[i].replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _points(change: float) -> str:
    return f"{100 * change:+.2f} points" if abs(change) > 5e-5 else "0"
