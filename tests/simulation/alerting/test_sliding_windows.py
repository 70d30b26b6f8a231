"""A monitor of 50 labels a day, judged on its last 7 and 28 days as well: the budget, and how soon a drop is found.

The alert engine is given one value per block of days: blocks do not overlap. Quality is made from counts by the code
that the product runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from metrics_py.alerting import replay
from metrics_py.quality.table import quality_table
from sightline.alerts import decisions
from sightline.judging.sliding import as_sums, parts_of
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import sliding_windows, strides
from tests.simulation.alerting.test_null import SECTION, holds
from tests.simulation.alerting.worlds import YEAR, messy
from tests.support import acceptance
from tests.support.alerting import START, day, log
from tests.support.measured import record

LABELS, USUAL = 50, 40
"""Labels of a day; streams that are judged every day beside the quality."""
QUIET = 13 * 28
"""Twelve blocks of 28 days, and one that the history may begin in."""
BY = ["window_start", "segment"]
BINS = 256


def spec_of(windows: list[str], min_labels: int = 30) -> MonitorSpec:
    """30 labels needed are fewer than those of a day: the longer windows then compete with days of their own."""
    return MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "binary_classification"},
            "columns": {"score": "p"},
            "labels": {"column": "label"},
            "reference": {"path": "r.parquet"},
            "quality": {"windows": windows, "min_labels": min_labels},
            "start": START.isoformat(),
        }
    )


def counts(rng: np.random.Generator, days: int, wobble: float, at: int, worse: float) -> dict[str, pl.DataFrame]:
    """Marts of the days: scores of a calibrated model; from day `at` on a share of rows whose score tells nothing.

    Days share a change of the effect of the score, of `wobble` standard deviations.
    """
    when = np.repeat(np.arange(days), LABELS)
    signal = rng.normal(size=len(when)) * 1.4
    level = 1 + wobble * rng.standard_normal(days)[when]
    truth = rng.random(len(when)) < expit(level * signal)
    blind = (when >= at) & (rng.random(len(when)) < worse)
    score = expit(np.where(blind, 1.4 * rng.normal(size=len(when)), signal))
    rows = pl.DataFrame(
        {
            "window_start": pl.Series([day(k) for k in range(days)], dtype=pl.Datetime("us")).gather(when),
            "segment": "all",
            "bucket": rng.integers(0, 64, len(when)),
            "score": score,
            "score_bin": np.minimum((score * BINS).astype(np.int64), BINS - 1),
            "is_positive": truth,
            "class_name": "",
            "predicted_class": np.where(score >= 0.5, "1", "0"),
            "actual_class": np.where(truth, "1", "0"),
        }
    )
    keys = [*BY, "bucket"]
    return {
        "confusion": rows.group_by(*keys, "predicted_class", "actual_class").agg(n=pl.len()),
        "score_bins": rows.group_by(*keys, "class_name", "score_bin", "is_positive").agg(n=pl.len()),
    }


def evidence(spec: MonitorSpec, marts: dict[str, pl.DataFrame], days: int) -> pl.DataFrame:
    """Streams of every day and of every block."""
    found: list[pl.DataFrame] = []

    def add(tables: dict[str, pl.DataFrame], ending: str) -> None:
        task: dict[str, Any] = {"task": spec.model.task, "min_labels": spec.quality.min_labels, "by": BY}
        told = quality_table(**tables, **task).filter(pl.col("metric").is_in(plan.sliding_metrics(spec)))
        stream = pl.concat_str(pl.lit("model_quality/"), "metric", pl.lit(ending))
        found.append(told.select("window_start", "variance", stream=stream, value="stabilised_value"))

    add(marts, "")
    for over in sliding_windows(spec):
        every = pl.DataFrame({"window_start": [day(k) for k in range(over.n - 1, days)]})
        ends = every.cast(pl.Datetime("us")).filter(over.ends_block(spec, pl.col("window_start")))["window_start"]
        parts = parts_of(spec, [spec.key(end) for end in ends], over)
        add({name: as_sums(mart, parts) for name, mart in marts.items()}, over.ending)
    return pl.concat(found).with_columns(group=pl.lit("model_quality"))


def monitor(rng: np.random.Generator, days: int, specs: list[MonitorSpec], wobble: float, at: int, worse: float):
    """One monitor through its settings and the engine, once per spec."""
    marts = counts(rng, days, wobble, at, worse)
    usual = log(messy(rng, days, USUAL, monitor=USUAL).values, [f"drift/y{k}/location" for k in range(USUAL)])
    usual = usual.with_columns(variance=0.0, group=pl.col("stream"))
    for spec in specs:
        yield replay(pl.concat([usual, evidence(spec, marts, days)], how="diagonal"), decisions.config(spec))


@pytest.mark.parametrize("monitors", [3, pytest.param(40, marks=pytest.mark.full)])
@pytest.mark.parametrize("wobble", [0.0, 0.3])
def test_overlapping_lengths_hold_the_budget(monitors, wobble):
    """Days, 7 days and 28 days of the same labels beside 40 usual streams under `1 per 90d`, a year after warm-up."""
    days = QUIET + YEAR
    n = with_long = warned = 0
    seen: set[str] = set()
    for k in range(monitors):
        rng = np.random.default_rng([71, int(10 * wobble), k])
        (found,) = monitor(rng, days, [spec_of(["1d", "7d", "28d"])], wobble, days, 0.0)
        late = found.incidents.filter(pl.col("opened_at") >= day(QUIET))
        n += len(late)
        with_long += sum(any("@" in name for name in names) for names in late["streams"].to_list())
        told = decisions.with_warnings(found.streams.sort("stream", "window_start"), strides(spec_of(["7d", "28d"])))
        told = told.filter(pl.col("window_start") >= day(QUIET))
        warned += told.filter("warns")["decided_at"].n_unique()
        seen |= set(told.filter(pl.col("status") != "insufficient_data")["stream"])
    assert {"model_quality/accuracy@7d", "model_quality/roc_auc@28d"} <= seen
    measured = {
        f"days share {wobble:g} sd: incidents per 90 days": round(n / monitors * 90 / YEAR, 3),
        f"days share {wobble:g} sd: of these with a stream over 7 or 28 days": round(
            with_long / monitors * 90 / YEAR, 3
        ),
        f"days share {wobble:g} sd: days with a warning per 90 days (at most 10)": round(
            warned / monitors * 90 / YEAR, 3
        ),
    }
    promise = "at most 1 incident per 90 days: quality of 1, 7 and 28 days (50 labels a day), beside 40 usual streams"
    record(f"alert-sliding-null-{10 * wobble:.0f}", promise, measured, monitors, SECTION)
    assert holds(n, monitors * YEAR / 90, monitors >= 40), measured
    assert holds(warned, monitors * YEAR / 9, monitors >= 40), measured


CHOICES = {
    "100 labels needed, days": spec_of(["1d"], 100),
    "100 labels needed, 7 days": spec_of(["1d", "7d"], 100),
    "100 labels needed, 7 and 28 days": spec_of(["1d", "7d", "28d"], 100),
    "30 labels needed, days": spec_of(["1d"]),
    "30 labels needed, days, 7 and 28 days": spec_of(["1d", "7d", "28d"]),
}
"""100 is the default of `quality.min_labels`: a day of 50 is not judged."""


@pytest.mark.parametrize("monitors", [3, pytest.param(40, marks=pytest.mark.full)])
@pytest.mark.parametrize("worse", [0.1, 0.2])
def test_a_drop_too_small_for_a_day_is_found_by_the_longer_windows(monitors, worse):
    """A share of rows whose scores tell nothing, for good: days until some stream of quality is in an incident."""
    waited: dict[str, list[float]] = {name: [] for name in CHOICES}
    span = 18 * 7
    for k in range(monitors):
        at = QUIET + 28 + k % 28
        rng = np.random.default_rng([72, int(100 * worse), k])
        runs = monitor(rng, at + span, list(CHOICES.values()), 0.1, at, worse)
        for name, found in zip(CHOICES, runs, strict=True):
            own = found.members.filter(
                pl.col("stream").str.starts_with("model_quality/") & (pl.col("joined_at") >= day(at))
            )
            first = own["joined_at"].min()
            waited[name].append((first - day(at)) / timedelta(days=1) if first is not None else np.inf)
    measured = {
        f"{100 * worse:.0f} % of rows, {name}: {what}": value
        for name, days in waited.items()
        for what, value in (
            ("median days", round(float(np.median(days)), 1)),
            ("within 8 weeks", round(float(np.mean(np.array(days) <= 56)), 3)),
            ("within 18 weeks", round(float(np.mean(np.array(days) <= span)), 3)),
        )
        if np.isfinite(value)
    }
    promise = "scores of some rows tell nothing from some day on, 50 labels a day: days until it is told (no promise)"
    record(f"alert-sliding-drop-{100 * worse:.0f}", promise, measured, monitors, SECTION)
    missed = {name: int(np.sum(np.array(days) > span)) for name, days in waited.items()}
    assert missed["100 labels needed, days"] == monitors, "a day has too few labels"
    acceptance.check(missed["100 labels needed, 7 days"], monitors, 0.4 if worse < 0.2 else 0.1, measured)
