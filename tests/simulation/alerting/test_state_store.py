"""Acceptance 2 through evidence on disk, checkpoints and published decisions; rows that come twice, or late."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.alerting import replay
from sightline.alerts import decisions
from sightline.home import Home
from sightline.results.evidence import append_evidence, read_evidence
from sightline.results.snapshots import read_snapshot
from sightline.spec.model import MonitorSpec
from tests.simulation.alerting.test_null import holds
from tests.simulation.alerting.worlds import WARMUP, messy
from tests.support.alerting import day
from tests.support.measured import record

SECTION = "Alert budget"
YEAR, STREAMS = 365, 100
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {"score": "p", "features": {f"x{k}": "numeric" for k in range(STREAMS)}},
        "reference": {"path": "r.parquet"},
        "alerts": {"warmup": WARMUP},
    }
)


def evidence(values: np.ndarray) -> pl.DataFrame:
    """Rows as the judging assets publish them."""
    days, streams = values.shape
    names = [f"x{k}" for k in range(streams)]
    return pl.DataFrame(
        {
            "column": names * days,
            "window_start": [day(k) for k in range(days) for _ in range(streams)],
            "value": values.ravel(),
        }
    ).with_columns(
        stream=pl.format("drift/{}/location", "column"),
        asset=pl.lit("drift"),
        statistic=pl.lit("location"),
        window_key=pl.col("window_start").dt.strftime("%Y-%m-%d"),
        display_value="value",
        n=pl.lit(1000.0),
        variance=pl.lit(0.0),
        decided_at="window_start",
    )


def told(paths) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a monitor has published: decisions and incidents."""
    streams, incidents = read_snapshot(paths, decisions.STREAMS), read_snapshot(paths, decisions.INCIDENTS)
    assert streams is not None
    assert incidents is not None
    return streams.sort("stream", "window_start"), incidents


def day_by_day(paths, rows: pl.DataFrame, rng: np.random.Generator) -> None:
    """Evidence in pieces of a random length, each decided by itself; some of each piece's rows come once more later."""
    begin, end = rows["window_start"].min(), rows["window_start"].max()
    again = rows.clear()
    while begin <= end:
        until = begin + timedelta(days=int(rng.integers(60, 160)))
        piece = rows.filter(pl.col("window_start") >= begin, pl.col("window_start") < until)
        append_evidence(paths, pl.concat([again, piece.sample(fraction=1.0, shuffle=True, seed=3)]), f"{begin:%Y%m%d}")
        decisions.run(SPEC, paths)
        again = piece.sample(fraction=0.1, seed=4).with_columns(value=pl.col("value") + 50)  # never revised
        begin = until


RESTARTED = 12
"""Monitors that are also decided day by day, by a process that begins anew each time: equality needs no more."""


@pytest.mark.parametrize("monitors", [2, pytest.param(60, marks=pytest.mark.full)])
def test_restarts_change_no_decision_and_the_budget_holds(monitors, tmp_path):
    rng = np.random.default_rng(90_210)
    incidents = 0
    for k in range(monitors):
        rows = evidence(messy(rng, WARMUP + YEAR, STREAMS, STREAMS).values)
        home = Home(tmp_path / f"{k}")
        once, often = home.monitor("once"), home.monitor("often")
        append_evidence(once, rows, "all")
        decisions.run(SPEC, once)
        if k < RESTARTED:
            day_by_day(often, rows, rng)
            for left, right in zip(told(once), told(often), strict=True):
                assert_frame_equal(left, right)
        incidents += len(told(once)[1])
    promise = "at most 1 incident per 90 days, through evidence on disk and checkpoints; restarts change nothing"
    rate = incidents / monitors * 90 / YEAR
    record("alert-state-store", promise, {"incidents per 90 days": round(rate, 3)}, monitors, SECTION)
    assert holds(incidents, monitors * YEAR / 90, monitors >= 60), f"{rate:.3f} incidents per 90 days"


@pytest.mark.parametrize("monitors", [1, pytest.param(50, marks=pytest.mark.full)])
def test_backfilled_days_count_once_and_keep_the_budget(monitors, tmp_path):
    """A tenth of the days comes weeks later, out of order: each is decided once, with the window in which it came."""
    rng = np.random.default_rng(31_415)
    incidents = 0
    for k in range(monitors):
        rows = evidence(messy(rng, WARMUP + YEAR, STREAMS, STREAMS).values)
        late = pl.Series(rng.choice(rows["window_start"].unique().to_numpy(), 42, replace=False)).sort()
        paths = Home(tmp_path / f"{k}").monitor("m")
        is_late = pl.col("window_start").is_in(late.implode())
        for begin in range(0, WARMUP + YEAR, 140):
            until = begin + 140
            known = rows.filter(~is_late, pl.col("window_start") >= day(begin), pl.col("window_start") < day(until))
            append_evidence(paths, known, f"{k}-{begin}")
            decisions.run(SPEC, paths)
            decided = decisions.published_through(paths)
            found = rows.filter(is_late, pl.col("window_start") < day(until), pl.col("window_start") >= day(begin))
            append_evidence(paths, found.with_columns(decided_at=pl.lit(decided)), f"{k}-{begin}-late")
            decisions.run(SPEC, paths)
        streams, said = told(paths)
        assert not streams.select("stream", "window_start").is_duplicated().any()
        whole = replay(decisions.log_of(SPEC, read_evidence(paths)), decisions.config(SPEC))
        assert whole.incidents["incident_id"].to_list() == said["incident_id"].to_list()
        incidents += len(said)
    rate = incidents / monitors * 90 / YEAR
    promise = "at most 1 incident per 90 days where a tenth of the days comes weeks late and out of order"
    record("alert-late-days", promise, {"incidents per 90 days": round(rate, 3)}, monitors, SECTION)
    assert holds(incidents, monitors * YEAR / 90, monitors >= 50), f"{rate:.3f} incidents per 90 days"
