"""Columns of 15 rows a day, judged over seven days beside usual streams: the budget, and how soon a shift is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import replay
from metrics_py.drift.daily_statistics import column_streams
from metrics_py.profile.build import build_profile, count
from metrics_py.profile.column_profile import ColumnProfile
from sightline.alerts import decisions
from sightline.judging.stretches import LEAST
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import STRETCHES
from tests.simulation.alerting.test_null import SECTION, holds
from tests.simulation.alerting.worlds import YEAR, autoregress, messy
from tests.support import acceptance
from tests.support.alerting import START, day, log
from tests.support.measured import record

ROWS, LOW, USUAL = 15, 10, 40
"""Rows of a day, columns that have so few, streams that are judged every day."""
WEEK = STRETCHES["daily"]
QUIET = 12 * WEEK.n
"""Warm-up of a stream over seven days."""
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {"score": "p", "features": {f"x{k}": "numeric" for k in range(LOW)}},
        "reference": {"path": "r.parquet"},
    }
)


@cache
def profile() -> ColumnProfile:
    values = np.random.default_rng(61).normal(size=4000)
    return replace(build_profile(values, "numeric", column="x", bins=32), rows_per_window=float(ROWS * WEEK.n))


def days_of(rng: np.random.Generator, days: int, wobble: float) -> np.ndarray:
    """Rows of one column, shape (days, rows): days share a level, which is like that of the day before."""
    level = autoregress(rng.standard_normal((days, 1)), np.array([0.5])) * wobble
    return level + rng.standard_normal((days, ROWS))


def stretched(values: np.ndarray, name: str) -> list[pl.DataFrame]:
    """Evidence of one column over the stretches of its days, as the product makes it from their counts."""
    weeks = values.reshape(-1, WEEK.n * ROWS)
    counts = np.array([count(profile(), each) for each in weeks])
    ends = [START + timedelta(days=WEEK.n * k + WEEK.n - 1) for k in range(len(weeks))]
    return [
        pl.DataFrame(
            {
                "stream": f"drift/{name}/{stream.statistic}{WEEK.ending}",
                "window_start": ends,
                "value": stream.value,
                "variance": stream.variance,
                "group": f"drift/{name}",
            }
        )
        for stream in column_streams(profile(), counts, min_rows=round(LEAST * SPEC.drift.min_rows))
    ]


def monitor(rng: np.random.Generator, days: int, wobble: float, shift: float = 0.0, at: int = 0):
    """A year of one monitor through its settings and the engine; the first low column moves on day `at`."""
    columns = [days_of(rng, days, wobble) for _ in range(LOW)]
    columns[0][at:] += shift
    usual = log(messy(rng, days, USUAL, monitor=USUAL).values, [f"drift/y{k}/location" for k in range(USUAL)])
    usual = usual.with_columns(variance=0.0, group=pl.col("stream"))
    low = [frame for k, values in enumerate(columns) for frame in stretched(values, f"x{k}")]
    return replay(pl.concat([usual, *low], how="diagonal"), decisions.config(SPEC))


@pytest.mark.parametrize("monitors", [4, pytest.param(40, marks=pytest.mark.full)])
@pytest.mark.parametrize("wobble", [0.0, 0.3])
def test_low_volume_columns_hold_the_budget(monitors, wobble):
    """Ten such columns and 40 usual streams under `1 per 90d`, a year after the warm-up of the former."""
    days = QUIET + (YEAR // WEEK.n) * WEEK.n
    n = with_long = 0
    for k in range(monitors):
        found = monitor(np.random.default_rng([62, int(10 * wobble), k]), days, wobble)
        late = found.incidents.filter(pl.col("opened_at") >= day(QUIET))
        n += len(late)
        with_long += sum(any(name.endswith(WEEK.ending) for name in names) for names in late["streams"].to_list())
        judged = found.streams.filter(pl.col("stream").str.ends_with(WEEK.ending), pl.col("status") == "ok")
        assert judged["stream"].n_unique() >= 7 * LOW
    span = days - QUIET
    measured = {
        f"days share {wobble:g} sd: incidents per 90 days": round(n / monitors * 90 / span, 3),
        f"days share {wobble:g} sd: of these with a stream over 7 days": round(with_long / monitors * 90 / span, 3),
    }
    promise = "at most 1 incident per 90 days: 10 columns of 15 rows a day over 7 days, beside 40 usual streams"
    record(f"alert-stretch-null-{10 * wobble:.0f}", promise, measured, monitors, SECTION)
    assert holds(n, monitors * span / 90, monitors >= 40), measured


@pytest.mark.parametrize("monitors", [6, pytest.param(60, marks=pytest.mark.full)])
@pytest.mark.parametrize(("wobble", "weeks"), [(0.1, 2), (0.1, 14), (0.3, 14)])
def test_a_shift_of_one_sd_is_found_within_weeks(monitors, wobble, weeks):
    """From some day of a week on, so many weeks after the warm-up: days until the column is in an incident."""
    waited: list[float] = []
    for k in range(monitors):
        rng = np.random.default_rng([63, int(10 * wobble), weeks, k])
        at = QUIET + weeks * WEEK.n + k % WEEK.n
        found = monitor(rng, QUIET + (weeks + 7) * WEEK.n, wobble, shift=1.0, at=at)
        is_own = pl.col("stream").str.starts_with("drift/x0/") & (pl.col("joined_at") >= day(at))
        joined = found.members.filter(is_own)["joined_at"].sort().to_list()
        waited.append((joined[0] - day(at)).days if joined else np.inf)
    soon, later = (int(np.sum(np.array(waited) <= limit)) for limit in (21, 42))
    case = f"days share {wobble:g} sd"
    measured = {
        f"{case}: median days": round(float(np.median(waited)), 1),
        f"{case}: within 3 weeks": round(soon / monitors, 3),
        f"{case}: within 6 weeks": round(later / monitors, 3),
    }
    promise = f"shifts of 1 sd in a column of 15 rows a day, {weeks} weeks after its warm-up, found within 6 weeks: .85"
    record(f"alert-stretch-shift-{10 * wobble:.0f}-{weeks}", promise, measured, monitors, SECTION)
    acceptance.check(monitors - later, monitors, 0.15)
