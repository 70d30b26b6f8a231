"""A history with gaps that lands at once: the sensors decide it in the order of time, and its end is no outage."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from orchestration.backfill import dagster_instance
from sightline.results.snapshots import read_snapshot
from sightline.warehouse import connect
from tests.support.workshop import SHIFT_DAY, Workshop, churn_rows, land, make_workshop

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
LENGTH, ENDED_AGO = 60, 45


@pytest.fixture
def gappy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Predictions and labels of every second day only; the last of them is weeks ago."""
    made = make_workshop(tmp_path / "home", days=LENGTH, ended_days_ago=ENDED_AGO)
    predictions, labels = churn_rows(made.churn.first_window, LENGTH)
    is_there = labels["day"] % 2 == 0
    land(made.home, "churn", "inferences", "history", predictions.filter(is_there))
    land(made.home, "churn", "labels", "history", labels.filter(is_there).drop("day"))
    (made.home.monitors / "price.yaml").unlink()
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(made.home.dagster))
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(made.home.root))
    return made


def run_until_quiet(built: dg.Definitions, instance: dg.DagsterInstance) -> list[str]:
    """Let both sensors look in turn, labels first, and run what they ask for; names of the jobs."""
    repository = built.get_repository_def()
    cursors: dict[str, str | None] = {"churn__labels": None, "churn__inferences": None}
    ran: list[str] = []
    for _ in range(12):
        asked = 0
        for name, cursor in list(cursors.items()):
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=repository, sensor_name=name
            )
            found = repository.get_sensor_def(name)(context)
            cursors[name] = found.cursor
            for request in found.run_requests or []:
                job = built.resolve_job_def(request.job_name)
                done = job.execute_in_process(
                    instance=instance, tags=request.tags, run_config=QUIET, asset_selection=request.asset_selection
                )
                assert done.success
                ran.append(request.job_name)
                asked += 1
        if not asked:
            return ran
    raise AssertionError(f"the sensors never come to rest: {ran}")


@pytest.mark.long
def test_it_is_decided_in_the_order_of_time(gappy: Workshop):
    from orchestration.definitions import build

    spec, paths = gappy.churn, gappy.home.monitor("churn")
    with dagster_instance(gappy.home) as instance:
        ran = run_until_quiet(build(gappy.home), instance)
    assert ran[-1] != "churn__labels" and "churn__backfill" in ran
    incidents = read_snapshot(paths, "incidents")
    assert incidents is not None
    shift = spec.window_start(gappy.day(SHIFT_DAY)).replace(tzinfo=None)
    [opened] = incidents.filter(pl.col("change_point") == shift)["opened_at"]
    assert shift <= opened <= shift + timedelta(days=6)
    last = spec.window_start(gappy.day(LENGTH - 2)).replace(tzinfo=None)
    assert incidents["opened_at"].max() <= last + timedelta(days=1)
    streams = read_snapshot(paths, "alert_streams")
    assert streams is not None
    volume = streams.filter(pl.col("stream") == "data_quality/n_rows")
    assert volume["window_start"].max() <= last, "weeks without data after a history's end are no outage"
    with connect(paths, read_only=True) as con:
        counted = con.sql("select count(distinct window_key) from marts.quality_sums").fetchall()
    assert counted == [(LENGTH // 2,)]
