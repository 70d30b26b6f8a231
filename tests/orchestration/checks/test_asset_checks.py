"""Checks as Dagster stores them, for each window of a run."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import polars as pl

from metrics_py.reasons import MEANINGS
from orchestration.backfill import dagster_instance, materialize_range
from sightline.collector.guard_log import GuardDesk
from sightline.log.events import InferenceEvent
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from tests.support.workshop import DAYS


def event(at, **features: object) -> InferenceEvent:
    return InferenceEvent(id=f"{at}", at=at, score=0.5, features=features)


def test_ranged_and_single_runs_store_it_for_each_window(workshop):
    """Only the window in which the guards saw a broken rule fails, and the runs succeed."""
    spec, paths = workshop.churn, workshop.home.monitor("churn")
    days = [workshop.day(DAYS - i) for i in (3, 2, 1)]
    now = spec.window_start(days[1]) + timedelta(hours=2)
    GuardDesk(spec, paths).observe([event(now, age=-5, plan="max", active=True)], now)
    materialize_range(workshop.home, spec, days[0], days[1])
    materialize_range(workshop.home, spec, days[2], days[2])
    key = dg.AssetCheckKey(dg.AssetKey([spec.id, "inferences"]), "row_guards")
    with dagster_instance(workshop.home) as instance:
        infos = instance.event_log_storage.get_asset_check_partition_info([key])
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=500)
    states = {info.partition_key: info.latest_execution_status.value for info in infos}
    assert [states[day] for day in days] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    stored = [r.event.dagster_event.event_specific_data for r in records if r.event]
    [found] = [e for e in stored if isinstance(e, dg.AssetCheckEvaluation) and e.partition == days[1] and not e.passed]
    assert found.severity is dg.AssetCheckSeverity.ERROR and not found.blocking
    assert found.metadata["value"].value == 1 and found.metadata["window"].value == days[1]
    assert "out_of_contract" in found.metadata["violations"].value and "what to do" in found.metadata


def test_every_reason_has_a_code_that_is_explained(history):
    spec, paths = history.churn, history.home.monitor("churn")
    frames = [read_judgements(paths), read_evidence(paths), read_snapshot(paths, "alert_streams")]
    for frame in frames:
        told = frame.select("reason", "reason_code").unique()
        assert told.filter(pl.col("reason").is_null() != pl.col("reason_code").is_null()).is_empty(), spec.id
        assert set(told["reason_code"].drop_nulls()) <= set(MEANINGS)
    assert {"too_few_rows", "beyond_reference", "warm_up"} <= set().union(
        *(f["reason_code"].drop_nulls() for f in frames)
    )
