"""Two tables side by side as one file: the columns that moved first, each with both distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from metrics_py.comparison.result import Comparison, beyond_tolerance
from sightline.dashboard.charts.chart import Chart, shown
from sightline.dashboard.charts.distribution import MOST_BARS, bars_chart
from sightline.reports.standalone import standalone

ORDER = {"drift": 0, "unclear": 1, "insufficient_data": 2, None: 3, "stable": 4}
LEVELS = {"drift": "bad", "unclear": "warn", "insufficient_data": "none", "stable": "ok", None: "none"}
BADGES = {
    "drift": "drift",
    "unclear": "unclear",
    "insufficient_data": "not enough data",
    "stable": "stable",
    None: "not judged",
}
HEADS = {
    "drift": "{n} of {of} columns drifted",
    "unclear": "No column drifted for sure; {n} of {of} are unclear",
    "stable": "No column drifted",
}
NOTHING = "Nothing could be compared: no column has enough data"
MOST_WORDS = 100
MOST_ROWS = 60
"""Rows of numbers that are shown of a column; with segments there are more."""
MOST_TOLD = 5
"""Columns that are told in words at the head."""
MOST_SEGMENTS = 3
"""Segments of a column that are drawn beside all rows together."""


def comparison_html(
    result: Comparison, reference: str = "reference", current: str = "current", entity: str | None = None
) -> str:
    """A comparison as one HTML file.

    Parameters
    ----------
    result : Comparison
        As from `metrics_py.compare`.
    reference, current : str
        What the tables are called.
    entity : str, optional
        Column by which rows depend on each other.

    Returns
    -------
    str
        HTML with everything in it.
    """
    found = columns_of(result)
    charts: list[Chart] = []
    for k, row in enumerate(found):
        drawn, row["drawn"] = _pictures(result.bins, row, k)
        row["anchor"], row["charts"] = f"column-{k}", [chart.name for chart in drawn]
        charts += drawn
    told = [row for row in found if row["state"] == "drift"]
    data: dict[str, Any] = {
        "state": headline(result, found),
        "told": told[:MOST_TOLD],
        "n_more": max(len(told) - MOST_TOLD, 0),
        "reference": reference,
        "current": current,
        "entity": entity,
        "n_reference": result.n_reference,
        "n_current": result.n_current,
        "by": is_by_segment(result),
        "columns": found,
        "loud": [row for row in found if row["state"] != "stable"],
        "quiet": [row for row in found if row["state"] == "stable"],
        "words": result.words.head(MOST_WORDS).to_dicts(),
        "n_words": len(result.words),
    }
    return standalone("comparison.html", f"{current} against {reference}", data, charts)


def columns_of(result: Comparison) -> list[dict[str, Any]]:
    """Columns with their gravest state and what moved in words, those that matter most first.

    Parameters
    ----------
    result : Comparison

    Returns
    -------
    list of dict
        ``column, kind, state, level, badge, times`` (tolerances that its farthest effect lies away), ``what`` (in
        words), ``rows`` (of `Comparison.frame`), ``n_rows`` (of which at most `MOST_ROWS` are in ``rows``), ``n_far``
        (segments that drifted or are unclear). Drift comes
        first, then what is unclear, what has not enough data, what is not judged, and what is stable; of each the
        farthest beyond its tolerance.
    """
    parts = result.frame.group_by(["column"], maintain_order=True)
    found = [_column(str(name), part.to_dicts()) for (name,), part in parts]
    return sorted(found, key=lambda row: (ORDER[row["state"]], -row["times"]))


def _column(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    rows.sort(key=lambda row: (ORDER[row["state"]], -beyond_tolerance(row)))
    first = rows[0]
    what = first["direction"] or ""
    if first["state"] in ("insufficient_data", None) or first["effect"] is None:
        what = first["reason"] or what
    elif first["state"] == "unclear":
        what = _unclear(first)
    if first["segment"] != "all" and first["state"] != "stable":
        what = f"{first['segment']}: {what}{_others(rows, first)}"
    far = {row["segment"] for row in rows if row["state"] in ("drift", "unclear")}
    telling = [row for row in rows if row["value"] is not None or row["reason"]]
    return {
        "column": name,
        "kind": first["kind"] or "",
        "state": first["state"],
        "level": LEVELS[first["state"]],
        "badge": BADGES[first["state"]],
        "times": beyond_tolerance(first),
        "what": what,
        "rows": telling[:MOST_ROWS] if len(telling) > 1 or first["value"] is not None else [],
        "n_rows": len(telling),
        "n_far": len(far),
    }


def _unclear(row: dict[str, Any]) -> str:
    """Why there is no verdict, and what is seen so far."""
    seen = "" if row["direction"] in (None, "", "no visible change") else f"; seen so far: {row['direction']}"
    low, high, limit = (shown(row[name], 3) for name in ("ci_low", "ci_high", "tolerance"))
    return f"too few rows to tell: {row['metric']} lies between {low} and {high}, no drift is up to {limit}{seen}"


def _others(rows: list[dict[str, Any]], first: dict[str, Any]) -> str:
    """How the other segments of a column stand, each by its gravest state."""
    worst: dict[str, str | None] = {}
    for row in rows:
        worst.setdefault(row["segment"], row["state"])
    del worst[first["segment"]]
    told = [(sum(state == each for state in worst.values()), BADGES[each]) for each in BADGES]
    words = ", ".join(f"{n} {badge}" for n, badge in told if n)
    return f" (other segments: {words})" if words else ""


def headline(result: Comparison, found: list[dict[str, Any]]) -> str:
    """The verdict in one sentence."""
    if not is_judged(found):
        return NOTHING
    count = sum(row["state"] == result.state for row in found)
    if result.state == "drift" and is_by_segment(result):
        return f"{count} of {len(found)} columns drifted in at least one segment"
    return HEADS[result.state].format(n=count, of=len(found))


def is_judged(found: list[dict[str, Any]]) -> bool:
    """Whether any column has a verdict."""
    return any(row["state"] in ("drift", "stable", "unclear") for row in found)


def is_by_segment(result: Comparison) -> bool:
    """Whether segments were judged by themselves."""
    return bool((result.frame["segment"] != "all").any())


def _pictures(bins: pl.DataFrame, row: dict[str, Any], k: int) -> tuple[list[Chart], str]:
    """All rows together, then the farthest segments; and a note on which segments are drawn."""
    own = bins.filter(pl.col("column") == row["column"])
    segments = [name for name in own["segment"].unique(maintain_order=True) if name != "all"]
    shown = ["all", *segments[:MOST_SEGMENTS]]
    drawn = [bins_chart(own.filter(segment=name), f"column-{k}-bins-{j}", name) for j, name in enumerate(shown)]
    note = ""
    if segments:
        n_far = row["n_far"]
        note = f"Drawn: all segments together, then the farthest {len(shown) - 1} of {n_far} that are not stable."
    return [chart for chart in drawn if chart is not None], note


def bins_chart(bins: pl.DataFrame, name: str, segment: str = "all") -> Chart | None:
    """Both distributions of a column over its frozen bins.

    Parameters
    ----------
    bins : DataFrame
        Rows of `Comparison.bins` of one column and segment.
    name : str
        Of the chart.
    segment : str
        Whose rows they are.

    Returns
    -------
    Chart or None
        None where there are no rows.
    """
    both = bins.filter((pl.col("n_reference") > 0) | (pl.col("n_current") > 0))
    if both.is_empty():
        return None
    title = f"{both['column'][0]}, % of rows" + (f", {segment}" if segment != "all" else "")
    totals = [int(bins[side].sum()) for side in ("n_reference", "n_current")]
    if len(both) > MOST_BARS:
        shares = [pl.col(side) / pl.col(side).sum() for side in ("n_reference", "n_current")]
        kept = both.with_row_index().sort(pl.max_horizontal(shares), descending=True).head(MOST_BARS).sort("index")
        title += f" (the {MOST_BARS} largest of {len(both)} bins)"
        both = kept.drop("index")
    labels = [bin_label(label, kind) for label, kind in zip(both["label"], both["bin_kind"], strict=True)]
    counts = both["n_reference"].to_numpy() / max(totals[0], 1), both["n_current"].to_numpy() / max(totals[1], 1)
    return bars_chart(name, title, labels, (np.asarray(counts[0]), np.asarray(counts[1])), SIDES, totals)


SIDES = ("reference", "current")


def bin_label(label: str | None, kind: str) -> str:
    """What a bin holds, for people; an empty text is shown as one."""
    if kind in ("category", "atom") and label == "":
        return "(empty)"
    return "missing" if kind == "null" else label or kind.replace("_", " ")
