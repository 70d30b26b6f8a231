"""Two distributions over the same frozen bins: the reference and the shown windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metrics_py.profile.column_profile import ColumnProfile
from sightline.dashboard.charts.chart import Chart, Option, frame, value_axis

MOST_BARS = 40
"""Bins that are drawn: of categories, those with the most rows on either side."""


def distribution_chart(name: str, title: str, profile: ColumnProfile, counts: NDArray[np.int64]) -> Chart:
    """Shares per bin, reference beside the shown windows.

    Parameters
    ----------
    name, title : str
        Of the chart.
    profile : ColumnProfile
        The frozen reference of the column.
    counts : integer ndarray, shape (K,)
        Rows of the shown windows per bin.

    Returns
    -------
    Chart
    """
    before, now = shares(profile.n_reference), shares(counts)
    ids = _shown_bins(profile, before, now)
    labels = [bin_words(profile, i) for i in ids]
    option: Option = frame(
        xAxis={
            "type": "category",
            "data": labels,
            "axisLabel": {"color": "$muted", "hideOverlap": True, "width": 90, "overflow": "truncate"},
            "axisLine": {"lineStyle": {"color": "$line"}},
        },
        yAxis=value_axis(scale=False),
        series=[
            _bars("reference", [100 * before[i] for i in ids], "$muted"),
            _bars("shown windows", [100 * now[i] for i in ids], "$accent"),
        ],
    )
    named = list(zip(ids, labels, strict=True))
    rows = [[words, _percent(before[i]), _percent(now[i]), _points(now[i] - before[i])] for i, words in named]
    n = int(counts.sum())
    far = max(ids, key=lambda i: abs(now[i] - before[i])) if ids and n else None
    summary = f"{title}: {n:,} rows in the shown windows, {profile.n_rows:,} in the reference."
    if far is not None:
        change = f"{_percent(before[far])} then, {_percent(now[far])} now"
        summary += f" The largest change is at {bin_words(profile, far)}: {change}."
    return Chart(name, title, summary, option, ["value", "reference", "shown windows", "change"], rows, 280)


def shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of all rows; zeros where there are none."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))


def _bars(name: str, values: Sequence[float], colour: str) -> Option:
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


def bin_words(profile: ColumnProfile, i: int) -> str:
    """What a bin holds, for people."""
    return profile.label[i] or profile.bin_kind[i].replace("_", " ")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _points(change: float) -> str:
    return f"{100 * change:+.2g} points" if abs(change) > 5e-5 else "0"
