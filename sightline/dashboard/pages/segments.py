"""Segments: quality and drift by segment, the worst beyond chance first."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtr

from sightline.dashboard.charts.chart import shown
from sightline.dashboard.charts.spark import spark
from sightline.dashboard.meanings import direction
from sightline.dashboard.pages.page import Page, Subject, common, facts_of, primary
from sightline.errors import SightlineError, nearest

COUNTS = ("n_rows", "labelled_rate", "label_arrivals", "latency_n")
"""How much traffic or how many labels a segment has is no quality of it. Windows that overlap (`@7d`) have no test."""
FDR = 0.1
"""Share of false ones among the segments that are named as worse."""
FEWEST = 8
"""Fewer windows than these, counted by their weight: no test."""


def segments_page(subject: Subject, metric: str, by: str) -> Page:
    """Segments of one column (`by`), or of all, beside the whole.

    Raises
    ------
    SightlineError
        The metric is not judged by segment.
    """
    spec = subject.spec
    names = subject.library.names(spec.id)
    cut = names.filter(pl.col("segment") != "all", pl.col("column") == "")
    choices = [name for name in sorted(cut["metric"].unique()) if "@" not in name and name not in COUNTS]
    first = primary(spec)
    chosen = metric or (first if first is not None and first in choices else next(iter(choices), ""))
    if metric and metric not in choices:
        raise SightlineError(f"{metric!r} is not judged by segment", fix=nearest(metric, choices) if choices else None)
    columns = sorted({name.partition("=")[0] for name in cut["segment"].unique()})
    rows = subject.judgements(metric=chosen, column="", segment=None) if chosen else pl.DataFrame()
    found = compared(rows, by, direction(spec, chosen)) if len(rows) else []
    words = {row["segment"]: f"{chosen} of {row['segment']}, {row['windows']} windows" for row in found}
    pictures = {row["segment"]: spark(row.pop("course"), words[row["segment"]]) for row in found}
    data: dict[str, Any] = {
        **facts_of(subject),
        "metric": chosen,
        "metrics": choices,
        "by": by,
        "columns": columns,
        "segments": found,
        "drift": _drift(subject, by),
    }
    view = {"pictures": pictures, **common(subject, "segments", metric=chosen, by=by)}
    return Page("segments.html", f"Segments · {spec.id}", data, view=view)


def compared(rows: pl.DataFrame, by: str = "", direction: str = "none") -> list[dict[str, Any]]:
    """Each segment against all segments of its column in the same windows, the worst beyond chance first.

    Parameters
    ----------
    rows : DataFrame
        Judgements of one metric: the whole and its segments.
    by : str
        Only segments of this column.
    direction : {"higher_is_better", "lower_is_better", "none"}
        Of the metric; without one whatever differs most comes first.

    Returns
    -------
    list of dict
        ``segment, windows, n, value`` (mean over windows, each by its rows), ``difference`` from the mean of the
        column's segments in the same windows, ``p_value`` (`mean_gap`), ``is_different`` (Benjamini-Hochberg at 10 %
        over the segments shown), ``is_worse`` (None where the metric has no direction), ``course``.

    Notes
    -----
    The whole is no fair comparison: an area under the curve of all rows also counts how well segments are told apart,
    so every segment may lie below it.
    """
    known = rows.filter(pl.col("value").is_not_null(), pl.col("n") > 0, pl.col("segment") != "all").with_columns(
        of=pl.col("segment").str.split_exact("=", 1).struct.field("field_0")
    )
    if by:
        known = known.filter(pl.col("of") == by)
    group = ["window_start", "of"]
    usual = (pl.col("value") * pl.col("n")).sum().over(group) / pl.col("n").sum().over(group)
    parts = known.with_columns(gap=pl.col("value") - usual).filter(pl.len().over(group) > 1)
    found: list[dict[str, Any]] = []
    for (name,), part in parts.sort("window_start").group_by(["segment"], maintain_order=True):
        gap, p_value = mean_gap(part["gap"].to_numpy(), part["n"].to_numpy().astype(float))
        mean = float(np.average(part["value"].to_numpy(), weights=part["n"].to_numpy()))
        found.append(
            {
                "segment": name,
                "windows": len(part),
                "n": int(part["n"].sum()),
                "value": mean,
                "shown": shown(mean),
                "difference": gap,
                "shown_difference": shown(gap, 3),
                "p_value": p_value,
                "is_worse": None if direction == "none" else (gap < 0) == (direction == "higher_is_better"),
                "course": part["value"].to_list(),
            }
        )
    _mark_different(found)

    def order(row: dict[str, Any]) -> tuple[bool, bool, float]:
        return not row["is_different"], row["is_worse"] is False, 2.0 if row["p_value"] is None else row["p_value"]

    return sorted(found, key=order)


def mean_gap(gaps: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float | None]:
    """Weighted mean of differences, and whether it differs from 0 beyond their own spread.

    Parameters
    ----------
    gaps, weights : ndarray, shape (n,)
        One window each.

    Returns
    -------
    gap : float
        The mean.
    p_value : float or None
        Two sided, None where fewer than `FEWEST` windows carry the weight.

    Notes
    -----
    The variance is that of a weighted mean with the residuals blown up by one minus their leverage (HC3: MacKinnon &
    White 1985), Student's with Kish's effective number of windows less one degrees of freedom: a window that holds most
    of the rows tells nothing of the spread between windows.
    """
    share = weights / weights.sum()
    gap = float(share @ gaps)
    effective = 1.0 / float(share @ share)
    if effective < FEWEST:
        return gap, None
    error = float(np.sqrt((share**2) @ ((gaps - gap) / (1.0 - share)) ** 2))
    return gap, float(2 * stdtr(effective - 1.0, -abs(gap / error))) if error > 0 else None


def _mark_different(found: list[dict[str, Any]]) -> None:
    """Benjamini and Hochberg's step-up rule over the p-values there are."""
    tested = sorted((row for row in found if row["p_value"] is not None), key=lambda row: row["p_value"])
    last = max((k for k, row in enumerate(tested, 1) if row["p_value"] <= FDR * k / len(tested)), default=0)
    named = {row["segment"] for row in tested[:last]}
    for row in found:
        row["is_different"] = row["segment"] in named


def _drift(subject: Subject, by: str) -> list[dict[str, Any]]:
    """Columns that lie beyond their tolerance in a segment, most often first."""
    rows = subject.judgements(metric=subject.spec.drift.method, asset="drift", segment=None)
    parts = rows.filter(pl.col("segment") != "all", pl.col("value").is_not_null())
    if by:
        parts = parts.filter(pl.col("segment").str.starts_with(f"{by}="))
    if parts.is_empty():
        return []
    far = pl.col("status").is_in(["warn", "alert"]).sum()
    summed = (
        parts.sort("window_start")
        .group_by("segment", "column")
        .agg(windows=pl.len(), windows_far=far, value=pl.col("value").last())
        .filter(pl.col("windows_far") > 0)
        .sort(["windows_far", "value"], descending=True)
        .head(50)
    )
    return [{**row, "shown": shown(row["value"])} for row in summed.iter_rows(named=True)]
