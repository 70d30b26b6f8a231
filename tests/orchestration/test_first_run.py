"""The first run of a new monitor, whichever of its flows starts first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestration import partitions
from orchestration.backfill import dagster_instance
from sightline.spec import names
from sightline.warehouse import connect
from tests.support.workshop import DAYS, make_workshop

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def test_labels_that_land_before_any_prediction_is_loaded_fail_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.definitions import build

    made = make_workshop(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(made.home.dagster))
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(made.home.root))
    tags = partitions.run_tags(made.day(0), made.day(DAYS - 1))
    with dagster_instance(made.home) as instance:
        job = build(made.home).resolve_job_def(names.job_name(made.churn, "delayed"))
        done = job.execute_in_process(instance=instance, tags=tags, run_config=QUIET, raise_on_error=False)
    assert done.success, [e.message for e in done.all_events if e.is_failure]
    waiting = list(made.home.monitor("churn").lake.glob("unmatched/*.parquet"))
    assert waiting
    with connect(made.home.monitor("churn"), read_only=True) as con:
        assert con.sql("select count(*) from marts.label_counts").fetchall() == [(0,)]
