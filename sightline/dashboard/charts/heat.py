"""Columns x time as a grid of cells: how far each column was from the reference, and what was said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from sightline.dashboard.charts.chart import moment, shown

MOST_CELLS = 70
"""Cells in a row; longer ranges show the worst window of each group."""
MOST_ROWS = 30
"""Columns that are drawn: those that were far most often."""
STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Multiples of what is no drift yet at which the shade changes."""
RANKS = {"insufficient_data": -1, "ok": 0, "provisional": 0, "warn": 1, "alert": 2}
WORDS = {
    "insufficient_data": "not enough data",
    "ok": "ok",
    "provisional": "provisional",
    "warn": "drift",
    "alert": "alert",
}


@dataclass(frozen=True)
class Cell:
    """One column in one or several windows.

    Parameters
    ----------
    shade : int
        0 (near the reference) to `len(STEPS)` (four times what is no drift yet, and more); -1: not judged, -2: no
        judgement.
    words : str
        Window, value, state.
    is_far : bool
        Beyond what is no drift yet, by its state.
    window : str
        The worst window's start.
    """

    shade: int
    words: str
    window: str
    is_far: bool = False


@dataclass(frozen=True)
class Heat:
    """The grid.

    Parameters
    ----------
    columns : sequence of str
        Rows of the grid, the farthest first.
    cells : sequence of sequence of Cell
        For each, oldest first.
    labels : sequence of str
        Of each group of windows: its first.
    together : int
        Windows in a cell.
    n_more : int
        Columns that are not drawn.
    """

    columns: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    labels: Sequence[str]
    together: int
    n_more: int = 0


def heat(rows: pl.DataFrame, window: timedelta, method: str, tolerance: float) -> Heat:
    """Drift of all columns over time.

    Parameters
    ----------
    rows : DataFrame
        Judgements of the deciding distance, whole and of all versions.
    window : timedelta
        Length of a window.
    method : str
        Name of the distance that `tolerance` is of.
    tolerance : float
        Distance that is no drift yet, where a judgement names no bound of its own. Another statistic without one (of
        vectors, texts and all columns together, where the reference has too few windows) has no shade.

    Returns
    -------
    Heat
    """
    if rows.is_empty():
        return Heat((), (), (), 1)
    first, last = rows["window_start"].min(), rows["window_start"].max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    n = round((last - first) / window) + 1
    together = -(-n // MOST_CELLS)
    groups = -(-n // together)
    placed = rows.with_columns(
        group=((pl.col("window_start") - first) / window).round().cast(pl.Int64) // together,
        rank=pl.col("status").replace_strict(RANKS, default=0),
    )
    worst = placed.sort("rank", "value", nulls_last=False).group_by("column", "group", maintain_order=True).last()
    order = (
        rows.group_by("column")
        .agg(far=(pl.col("status").is_in(["warn", "alert"])).sum(), top=pl.col("value").quantile(0.95))
        .sort(["far", "top", "column"], descending=[True, True, False], nulls_last=True)["column"]
        .to_list()
    )
    by = {(row["column"], row["group"]): row for row in worst.iter_rows(named=True)}
    n_more, order = max(len(order) - MOST_ROWS, 0), order[:MOST_ROWS]
    cells = [[_cell(by.get((column, group)), window, method, tolerance) for group in range(groups)] for column in order]
    labels = [moment(first + group * together * window, window) for group in range(groups)]
    return Heat(order, cells, labels, together, n_more)


def no_drift_up_to(row: Mapping[str, object], method: str, tolerance: float) -> float | None:
    """What a judgement of `drift` is measured by: its bound, else the tolerance of the deciding distance.

    Parameters
    ----------
    row : mapping
        A judgement.
    method, tolerance
        As of `heat`.

    Returns
    -------
    float or None
        None for another statistic without a bound: nothing is known of what is usual. 0 where none is usual, as of
        copies or unknown words: any is far then.
    """
    bound = row["bound_high"]
    if isinstance(bound, float) and bound >= 0 and (bound > 0 or row["metric"] != method):
        return bound
    return tolerance if row["metric"] == method else None


def _cell(row: dict[str, object] | None, window: timedelta, method: str, tolerance: float) -> Cell:
    if row is None:
        return Cell(-2, "no judgement", "")
    at, value, status = row["window_start"], row["value"], str(row["status"])
    assert isinstance(at, datetime)
    name = moment(at, window)
    if not isinstance(value, float):
        return Cell(-1, f"{name}: {WORDS.get(status, status)}, {row['reason'] or 'no value'}", name)
    limit = no_drift_up_to(row, method, tolerance)
    if limit is None:
        return Cell(-1, f"{name}: {row['metric']} {shown(value)}, nothing is known of what is usual", name)
    shade = sum(value > step * limit for step in STEPS)
    words = f"{name}: {shown(value)} (no drift up to {shown(limit)}), {WORDS.get(status, status)}"
    return Cell(shade, words, name, status in ("warn", "alert"))
