"""A map of an embedding as one file."""

from __future__ import annotations

import polars as pl

from sightline.dashboard.charts.embedding_map import map_chart
from sightline.reports.standalone import standalone


def map_html(monitor: str, column: str, window: str, rows: pl.DataFrame) -> str:
    """A map as one HTML file.

    Parameters
    ----------
    monitor, column, window : str
        What is shown.
    rows : DataFrame
        `sightline.results.embedding_maps.MAP_SCHEMA`; not empty.

    Returns
    -------
    str
        HTML with everything in it.
    """
    chart = map_chart("map", column, rows, window)
    data = {"monitor": monitor, "column": column, "window": window, "chart": chart}
    return standalone("embedding_map.html", f"{column} of {monitor}, {window}", data, [chart] if chart else [])
