"""Two tables side by side as one file: the columns that moved first, each with both distributions."""

from __future__ import annotations

from typing import Any

import polars as pl

from metrics_py.comparison.result import Comparison
from sightline.dashboard.charts.chart import Chart
from sightline.dashboard.charts.distribution import MOST_BARS, bars_chart
from sightline.reports.standalone import standalone

ORDER = {"drift": 0, "unclear": 1, "insufficient_data": 2, "stable": 3, None: 4}
LEVELS = {"drift": "bad", "unclear": "warn", "insufficient_data": "none", "stable": "ok", None: "none"}
HEADS = {
    "drift": "{n} of {of} columns drifted",
    "unclear": "No column drifted for sure; {n} of {of} are unclear",
    "stable": "No column drifted",
}
NOTHING = "Nothing could be compared: no column has enough data"
MOST_WORDS = 100


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
    names = result.frame["column"].unique(maintain_order=True)
    columns = [_column(result, str(name), k) for k, name in enumerate(names)]
    columns.sort(key=lambda row: (ORDER[row["state"]], row["rank"], row["column"]))
    charts = [chart for row in columns if (chart := row.pop("drawn")) is not None]
    is_judged = any(row["state"] in ("drift", "stable", "unclear") for row in columns)
    count = sum(row["state"] == result.state for row in columns)
    data: dict[str, Any] = {
        "state": HEADS[result.state].format(n=count, of=len(columns)) if is_judged else NOTHING,
        "summary": _summary(columns),
        "reference": reference,
        "current": current,
        "entity": entity,
        "n_reference": result.n_reference,
        "n_current": result.n_current,
        "by": result.frame["segment"].n_unique() > 1,
        "loud": [row for row in columns if row["state"] != "stable"],
        "quiet": [row for row in columns if row["state"] == "stable"],
        "words": result.words.head(MOST_WORDS).to_dicts(),
    }
    return standalone("comparison.html", f"{current} against {reference}", data, charts)


def _column(result: Comparison, name: str, k: int) -> dict[str, Any]:
    rows = result.frame.filter(pl.col("column") == name)
    worst = min(rows["state"].to_list(), key=lambda state: ORDER[state])
    telling = rows.filter(pl.col("state").eq_missing(pl.lit(worst))).sort("effect", descending=True, nulls_last=True)
    first = telling.row(0, named=True)
    chart = _chart(result.bins.filter(pl.col("column") == name), name, k)
    metrics = [row for row in rows.to_dicts() if row["value"] is not None or row["reason"]]
    return {
        "column": name,
        "anchor": f"column-{k}",
        "kind": first["kind"],
        "state": worst,
        "level": LEVELS[worst],
        "rank": -(first["effect"] or 0.0),
        "direction": first["direction"] if first["segment"] == "all" else f"{first['segment']}: {first['direction']}",
        "reason": first["reason"] if len(metrics) < 2 else "",
        "metrics": metrics,
        "chart": f"column-{k}-bins",
        "drawn": chart,
    }


def _chart(bins: pl.DataFrame, name: str, k: int) -> Chart | None:
    both = bins.filter((pl.col("n_reference") > 0) | (pl.col("n_current") > 0))
    if both.is_empty():
        return None
    title = f"{name}, % of rows"
    if len(both) > MOST_BARS:
        shares = [pl.col(side) / pl.col(side).sum() for side in ("n_reference", "n_current")]
        kept = both.with_row_index().sort(pl.max_horizontal(shares), descending=True).head(MOST_BARS).sort("index")
        title += f" (the {MOST_BARS} largest of {len(both)})"
        both = kept.drop("index")
    totals = [int(bins[side].sum()) for side in ("n_reference", "n_current")]
    labels = [label or kind for label, kind in zip(both["label"], both["bin_kind"], strict=True)]
    counts = both["n_reference"].to_numpy() / max(totals[0], 1), both["n_current"].to_numpy() / max(totals[1], 1)
    return bars_chart(f"column-{k}-bins", title, labels, counts, ("reference", "current"), totals)


def _summary(columns: list[dict[str, Any]]) -> str:
    told = [f"{row['column']}: {row['direction']}" for row in columns if row["state"] == "drift" and row["direction"]]
    if not told:
        return ""
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return "; ".join(told[:3]) + more + "."
