"""`label_arrivals`: how many labels came, by how many were expected from how they came before.

The row of a window counts what came in a later one, in which its own labels were due: judged, and dated, with the
quality of that window, so that a slow feed and what it does to the numbers stand side by side.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.delay_law import delay_start, watched
from metrics_py.quality.label_pace import FEWEST_WINDOWS, LEARNT_FROM, arrivals
from metrics_py.quality.metrics import LABEL_ARRIVALS
from metrics_py.scipy_functions import poisson_interval
from metrics_py.wording import day
from sightline.judging.frames import EVIDENCE, Judged, Work, conform, quality_evidence
from sightline.judging.marts import ALL_VERSIONS, has_mart
from sightline.judging.maturity import Delays
from sightline.spec.field_types import UNLEARNT
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.spec.windows import closes_at, matures_at

FEWEST_EXPECTED = 20
NOT_KNOWN = "fewer than {} windows with labels that were watched as they came lie before"
TOO_FEW = f"fewer than {FEWEST_EXPECTED} labels were expected"
IN_BATCHES = "labels come in batches, {} windows apart: by window nobody can tell how fast"
SEASONS = {"hourly": 168, "daily": 7, "weekly": 1}
"""Windows after which the alert engine expects the like again: batches farther apart would alarm each time."""

COMMON = 0.1
"""Share of all labels that a class has whose batches are looked at."""

MOST_TOLD = 1.0
"""A window tells the alert engine at most of a factor of e: one day without labels, made up the day after, is no change
that stays."""

TOLD = "{} labels came, of whatever windows, in that of {}, in which those of this one were due; {} were expected"
SILENT = "no label has come since, for longer than is usual: the check `label_freshness` tells"


def judge(work: Work, known: Delays) -> Judged:
    """Labels that came in the window before each one was due, beside those that were expected.

    Parameters
    ----------
    work : Work
    known : Delays
        What is known of the monitor's labels.

    Returns
    -------
    Judged
        One row and one value of evidence for each window whose labels are due.
    """
    spec, con = work.spec, work.con
    due = [key for key in work.keys if work.now >= matures_at(spec, key)]
    nothing = Judged(conform(pl.DataFrame(schema={"window_start": pl.Datetime("us")})), pl.DataFrame(schema=EVIDENCE))
    if spec.labels is None or known.law is None or not due or not has_mart(con, "label_arrivals"):
        return nothing
    lag = int((spec.labels.expected_delay or UNLEARNT) / spec.window)
    starts = [spec.window_start(key) for key in due]
    first = (starts[0] + (lag - LEARNT_FROM) * spec.window).replace(tzinfo=None)
    last = (starts[-1] + lag * spec.window).replace(tzinfo=None)
    triangle, predictions, watched_from, apart = _triangle(spec, con, first, last, known.until.replace(tzinfo=None))
    in_batches = IN_BATCHES.format(apart) if apart > SEASONS[spec.schedule] else None
    rows = [
        _row(
            start.replace(tzinfo=None),
            (start + lag * spec.window).replace(tzinfo=None),
            arrivals(triangle[watched_from:], predictions[watched_from:], at - watched_from)
            if (at := LEARNT_FROM + (start - starts[0]) // spec.window) >= watched_from
            else (0.0, np.nan),
            why=SILENT
            if known.until < work.now and known.until < closes_at(spec, spec.key(start + lag * spec.window))
            else in_batches,
        )
        for start in starts
    ]
    table = pl.DataFrame(rows, infer_schema_length=None).cast({"window_start": pl.Datetime("us")})
    return Judged(conform(table), quality_evidence(table, "model_quality"))


def _triangle(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, first: datetime, last: datetime, until: datetime
) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int]:
    """Labels by window and windows of delay, predictions by window, the first window watched as its labels came.

    And how many windows lie between two with labels of one class, usually.
    """
    window, own = spec.window, production_sql(spec)
    n_windows = (last - first) // window + 1
    found = con.sql(
        "select window_start, label_class, delay_bin, sum(n)::bigint as n from marts.label_arrivals "  # noqa: S608 (quoted)
        f"where segment = 'all' and window_start between ? and ? and {own} group by all",
        params=[first, last],
    ).pl()
    counts = con.sql(
        "select window_start, sum(n_predictions)::bigint as n from marts.label_counts "  # noqa: S608 (quoted)
        f"where segment = 'all' and window_start between ? and ? and {own} group by all",
        params=[first, last],
    ).pl()
    unit = window / timedelta(microseconds=1)
    age = (pl.lit(until, dtype=pl.Datetime("us")) - pl.col("window_start")).dt.total_microseconds() / unit
    has_come = pl.Series(delay_start(found["delay_bin"].to_numpy().astype(np.int64)), dtype=pl.Float64) <= pl.col("age")
    found = found.with_columns(age=age).filter(has_come)  # a later one says a wrong time
    live = watched(found)
    since = live["window_start"].min() if len(live) < len(found) else first
    if since is None:  # a history that was loaded at once: no window was watched as its labels came
        since = last + window
    predictions = np.zeros(n_windows)
    np.add.at(predictions, _index(counts, first, window), counts["n"].to_numpy())
    delays = delay_start(live["delay_bin"].to_numpy().astype(np.int64)).astype(np.int64)
    triangle = np.zeros((n_windows, int(delays.max(initial=0)) + 1))
    np.add.at(triangle, (_index(live, first, window), delays), live["n"].to_numpy())
    assert isinstance(since, datetime)
    came = live.select("label_class", "n").with_columns(at=pl.Series(_index(live, first, window) + delays))
    return triangle, predictions, max((since - first) // window, 0), _apart(came)


def _apart(came: pl.DataFrame) -> int:
    """Windows between two with labels of a class, the median of the class that comes in the rarest batches."""
    common = came.filter(pl.col("n").sum().over("label_class") >= COMMON * pl.col("n").sum())
    gaps = common.select("label_class", "at").unique().sort("label_class", "at")
    gaps = gaps.group_by("label_class").agg(gap=pl.col("at").diff().drop_nulls().median())
    return int(gaps["gap"].fill_null(0).max() or 0)  # pyright: ignore[reportArgumentType] (a number)


def _index(rows: pl.DataFrame, first: datetime, window: timedelta) -> NDArray[np.int64]:
    unit = window // timedelta(microseconds=1)
    return ((rows["window_start"] - first).dt.total_microseconds() // unit).to_numpy().astype(np.int64)


def _row(start: datetime, at: datetime, counts: tuple[float, float], *, why: str | None) -> dict[str, object]:
    """One judgement and its evidence: the ratio with Garwood's interval of a Poisson count."""
    observed, expected = counts
    why = why or (NOT_KNOWN.format(FEWEST_WINDOWS) if np.isnan(expected) else None)
    why = why or (TOO_FEW if expected < FEWEST_EXPECTED else None)
    base = {"window_start": start, "model_version": ALL_VERSIONS, "segment": "all", "column": ""}
    base["metric"] = LABEL_ARRIVALS.name
    numbers = ("value", "ci_low", "ci_high", "stabilised_value", "variance")
    if why is not None:
        gone = dict.fromkeys(numbers)
        return {
            **base,
            **gone,
            "n": int(observed),
            "status": "insufficient_data",
            "reason": why,
            "reason_code": "too_few_rows",
        }
    low, high = poisson_interval(observed)
    told = TOLD.format(f"{observed:,.0f}", day(at), f"{expected:,.0f}")
    found = (
        observed / expected,
        low / expected,
        high / expected,
        float(np.clip(np.log((observed + 0.5) / (expected + 0.5)), -MOST_TOLD, MOST_TOLD)),
        1 / (expected + 0.5),
    )
    return {
        **base,
        **dict(zip(numbers, found, strict=True)),
        "n": int(observed),
        "status": "ok",
        "reason": told,
        "reason_code": "arrivals",
    }
