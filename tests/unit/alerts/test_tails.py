"""Distances of many columns stray far, and what they do says nothing of how far a metric may stray."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_series_equal

from metrics_py.alerting import replay
from sightline.alerts import decisions

START = datetime(2025, 1, 6)
N_DAYS, N_COLUMNS = 110, 20


@pytest.fixture
def spec(make_spec):
    return make_spec(alerts={"budget": "1 per 90d"})


def column(name: str, statistic: str, value: np.ndarray) -> pl.DataFrame:
    starts = [START + timedelta(days=day) for day in range(N_DAYS)]
    frame = pl.DataFrame({"window_start": starts, "value": value, "decided_at": starts})
    asset, of = name.split("/")
    return frame.with_columns(
        stream=pl.lit(f"{name}/{statistic}"),
        asset=pl.lit(asset),
        column=pl.lit(of),
        statistic=pl.lit(statistic),
        variance=pl.lit(0.01),
    )


def calm(rng: np.random.Generator) -> list[pl.DataFrame]:
    return [column(f"drift/x{k}", "location", rng.normal(size=N_DAYS)) for k in range(N_COLUMNS)]


def evidence(spec, frames: list[pl.DataFrame]) -> pl.Series:
    """Of the calm columns, by day."""
    found = replay(decisions.log_of(spec, pl.concat(frames)), decisions.config(spec)).streams
    of = found.filter(pl.col("stream").str.starts_with("drift/x")).sort("stream", "window_start")
    return of["evidence"]


@pytest.mark.parametrize("statistic", decisions.DISTANCES)
def test_a_distance_that_strays_leaves_the_evidence_of_others_as_it_is(spec, statistic):
    rng = np.random.default_rng([2025, decisions.DISTANCES.index(statistic)])
    others, wild = calm(rng), rng.standard_t(1.5, size=N_DAYS)
    alone = evidence(spec, others)
    assert_series_equal(evidence(spec, [*others, column("drift/@features", statistic, wild)]), alone)
    shared = evidence(spec, [*others, column("drift/y", "location", wild)])
    assert (shared - alone).abs().max() > 1e-3, "a column that strays so far does move the common tail"
