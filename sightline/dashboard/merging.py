"""Windows put together into days, weeks or months, where their published numbers add up; nothing else is averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from metrics_py.intervals import wilson

How = Literal["sum", "rate", "mean", "root_mean_square", "minimum", "maximum"]
HOW: dict[str, How] = {
    "n_rows": "sum",
    **dict.fromkeys(("error_rate", "rejected_rate", "null_rate", "not_finite_rate", "contract_rate"), "rate"),
    **dict.fromkeys(("true_rate", "out_of_range_rate", "unseen_rate"), "rate"),
    **dict.fromkeys(("mean", "accuracy", "brier", "log_loss", "positive_rate", "mae", "mean_error"), "mean"),
    "mean_label": "mean",
    "rmse": "root_mean_square",
    "minimum": "minimum",
    "maximum": "maximum",
}
"""Metrics whose value and `n` of each window give those of several, and how; others need all rows or bins."""
WINDOW = "window"
LENGTHS: dict[str, timedelta] = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=31)}
EVERY = {"day": "1d", "week": "1w", "month": "1mo"}
GRANULARITIES = (WINDOW, *EVERY)
MERGED = "merged"
"""State of a number that was put together and not judged."""


@dataclass(frozen=True)
class Course:
    """Judgements as they are drawn.

    Parameters
    ----------
    rows : DataFrame
        As judgements, one row per stretch of time.
    moments : sequence of datetime or None
        Starts of all stretches from the first to the last; None: those of the windows.
    note : str
        What should be known of them.
    """

    rows: pl.DataFrame
    moments: Sequence[datetime] | None = None
    note: str = ""


def offered(window: timedelta) -> list[str]:
    """Stretches that hold several windows, and the window itself.

    Examples
    --------
    >>> offered(timedelta(hours=1)), offered(timedelta(days=1)), offered(timedelta(days=7))
    (['window', 'day', 'week', 'month'], ['window', 'week', 'month'], ['window'])
    """
    more = [name for name, length in LENGTHS.items() if length > window]
    return [WINDOW, *(more if window < timedelta(days=7) else [])]  # weeks do not end with months


def course(rows: pl.DataFrame, metric: str, granularity: str, window: timedelta) -> Course:
    """Judgements of one metric by stretches of time.

    Parameters
    ----------
    rows : DataFrame
        Judgements of one metric, column, segment and version, sorted by window.
    metric : str
        Its name.
    granularity : str
        Of `GRANULARITIES`; one that does not hold several windows leaves them as they are.
    window : timedelta
        Length of a window.

    Returns
    -------
    Course
        Sums, rates and means by the numbers behind them, rates with their Wilson interval. A stretch with labels that
        are missing has no value: what is published of its windows is corrected for them, and does not add up. A metric
        that does not add up is left by window, which the note says.
    """
    if granularity == WINDOW or granularity not in offered(window) or rows.is_empty():
        return Course(rows)
    how = HOW.get(metric)
    if how is None:
        return Course(rows, note=f"By window: {metric} of a {granularity} does not follow from that of its windows.")
    placed = rows.with_columns(stretch=pl.col("window_start").dt.truncate(EVERY[granularity]))
    found = placed.group_by("stretch", maintain_order=True).agg(
        *_numbers(how),
        n=pl.col("n").filter(pl.col("value").is_not_null()).sum(),
        reference_value=_if_one("reference_value") if how != "sum" else pl.lit(None, pl.Float64),
        windows=pl.len(),
        without=pl.col("value").is_null().sum(),
        corrected=(pl.col("naive_value").is_not_null() | (pl.col("status") == "provisional")).sum(),
    )
    first, last = found["stretch"].min(), found["stretch"].max()
    moments = pl.select(pl.datetime_range(pl.lit(first), pl.lit(last), EVERY[granularity])).to_series().to_list()
    note = f"By {granularity}: {WORDS[how]}. Only single windows are judged."
    return Course(_as_judgements(found, rows, how), moments, note)


WORDS: dict[How, str] = {
    "sum": "the sum of its windows",
    "rate": "the share of all its rows, with Wilson's interval",
    "mean": "the mean of all its rows, without an interval",
    "root_mean_square": "from all its rows, without an interval",
    "minimum": "the smallest of its rows",
    "maximum": "the largest of its rows",
}


def _numbers(how: How) -> list[pl.Expr]:
    value, n = pl.col("value"), pl.col("n").cast(pl.Float64)
    known = value.is_not_null() & (n > 0)
    weighted = (value * n).filter(known).sum()
    total = n.filter(known).sum()
    square = (value**2 * n).filter(known).sum()
    found = {
        "sum": value.sum(),
        "rate": weighted / total,
        "mean": weighted / total,
        "root_mean_square": (square / total).sqrt(),
        "minimum": value.min(),
        "maximum": value.max(),
    }[how]
    return [pl.when(value.is_not_null().any()).then(found).fill_nan(None).alias("value")]


def _if_one(name: str) -> pl.Expr:
    """The value that all windows share, else none."""
    return pl.when(pl.col(name).drop_nulls().n_unique() == 1).then(pl.col(name).drop_nulls().first())


def _as_judgements(found: pl.DataFrame, rows: pl.DataFrame, how: How) -> pl.DataFrame:
    known = found.with_columns(value=pl.when(pl.col("corrected") == 0).then("value"))
    low = high = pl.Series([None] * len(known), dtype=pl.Float64)
    if how == "rate":
        n, share = known["n"].to_numpy().astype(float), known["value"].fill_null(0.0).to_numpy()
        has = (known["value"].is_not_null() & (known["n"] > 0)).to_numpy()
        ends = wilson((share * n)[has], n[has])
        low, high = (pl.Series(has).cast(pl.Float64).scatter(has.nonzero()[0], end) for end in ends)
        low, high = (pl.select(pl.when(pl.Series(has)).then(each)).to_series() for each in (low, high))
    late = pl.format("labels are missing in {} of {} windows, which are corrected for it", "corrected", "windows")
    gaps = pl.format("{} windows, {} of them without a value, which are left out", "windows", "without")
    reason = (
        pl.when(pl.col("corrected") > 0)
        .then(late)
        .when(pl.col("without") > 0)
        .then(gaps)
        .otherwise(pl.format("{} windows", "windows"))
    )
    told = known.select(
        window_start="stretch",
        value="value",
        n="n",
        reference_value="reference_value",
        status=pl.when(pl.col("value").is_null()).then(pl.lit("insufficient_data")).otherwise(pl.lit(MERGED)),
        reason=reason,
    ).with_columns(ci_low=low, ci_high=high)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in rows.schema.items() if name not in told.columns]
    return told.with_columns(absent).select(rows.columns)
