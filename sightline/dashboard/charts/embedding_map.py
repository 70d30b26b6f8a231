"""A map of an embedding: rows of a window among rows of the reference."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.dashboard.charts.chart import Chart, Option, frame, rounded, shown, value_axis

MOST_LISTED = 15
METHODS = {
    "pca": "The first two principal components of the reference",
    "umap": "UMAP of the reference: neighbours are kept, distances are not",
}


def map_chart(name: str, column: str, rows: pl.DataFrame, window: str) -> Chart | None:
    """The map, and the rows that lie farthest from the reference.

    Parameters
    ----------
    name : str
        Of the chart.
    column : str
        Of the embedding.
    rows : DataFrame
        `sightline.results.embedding_maps.MAP_SCHEMA`, of one window.
    window : str
        What the window is called.

    Returns
    -------
    Chart or None
        None where there are no rows.
    """
    if rows.is_empty():
        return None
    method = str(rows["method"][0])
    sides = {side: rows.filter(pl.col("side") == side) for side in ("reference", "current")}
    far = sides["current"].sort("distance", descending=True, nulls_last=True).head(MOST_LISTED)
    others = sides["current"].join(far.select("prediction_id"), on="prediction_id", how="anti")
    option: Option = frame(
        xAxis=value_axis(),
        yAxis=value_axis(),
        series=[
            _points("reference", sides["reference"], "$muted", 5),
            _points(window, others, "$accent", 6),
            _points(f"{window}, farthest {len(far)}", far, "$bad", 9),
        ],
    )
    option["tooltip"] = {**option["tooltip"], "trigger": "item"}
    of = dict(zip(sides["reference"]["prediction_id"], sides["reference"]["shown"], strict=True))
    table = [
        [row["prediction_id"], shown(row["distance"]), row["shown"] or "–", *_nearest(row["nearest"], of)]
        for row in far.iter_rows(named=True)
    ]
    title = (
        f"Map of {column}: {len(sides['current'])} rows of {window} among {len(sides['reference'])} of the reference"
    )
    middle = sides["current"]["distance"].median()
    told = shown(middle) if isinstance(middle, float) else "–"
    summary = f"{METHODS.get(method, method)}. Half of the rows lie within {told} of a row of the reference."
    heads = ["row", "distance to the nearest", "what it is", "nearest row of the reference", "what that is"]
    notes = (f"The table has the {len(table)} rows that lie farthest from any of the reference's.",)
    return Chart(name, title, summary, option, heads, table, 420, notes)


def _nearest(ids: list[str] | None, shown_of: dict[Any, Any]) -> tuple[str, str]:
    first = ids[0] if ids else None
    return (first or "–", shown_of.get(first) or "–")


def _points(name: str, rows: pl.DataFrame, colour: str, size: int) -> Option:
    return {
        "name": name,
        "type": "scatter",
        "symbolSize": size,
        "data": [
            {"name": row["prediction_id"], "value": [rounded(row["x"]), rounded(row["y"])]}
            for row in rows.iter_rows(named=True)
        ],
        "itemStyle": {"color": colour, "opacity": 0.65},
        "tooltip": {"formatter": "{b}"},
    }
