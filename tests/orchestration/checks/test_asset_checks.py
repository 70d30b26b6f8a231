"""Checks as Dagster stores them, for each window of a run."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import polars as pl
import pytest
import sqlalchemy
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from metrics_py.reasons import MEANINGS
from orchestration.backfill import dagster_instance, materialize_range
from orchestration.checks import asset_checks
from sightline.collector.guard_log import GuardDesk
from sightline.errors import SightlineError
from sightline.judging import board
from sightline.log.events import InferenceEvent
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec import plan
from tests.support.workshop import DAYS, Workshop


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


def shown(instance: dg.DagsterInstance, workshop: Workshop) -> dict[str, AssetCheckExecutionRecord]:
    """What the UI shows of each check of `churn` that has a result."""
    spec = workshop.churn
    keys = [dg.AssetCheckKey(dg.AssetKey([spec.id, check.asset]), check.name) for check in plan.checks(spec)]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return {f"{key.asset_key.path[-1]}/{key.name}": record for key, record in found.items()}


def statuses(instance: dg.DagsterInstance) -> set[tuple[str, str]]:
    """All statuses of checks in the event log, with their run."""
    with instance.event_log_storage.index_connection() as connection:
        query = sqlalchemy.text("SELECT DISTINCT execution_status, run_id FROM asset_check_executions")
        return {(status, run) for status, run in connection.execute(query)}


def test_the_ui_shows_the_newest_window_judged_whatever_is_worked_up_later(workshop):
    """Of every check, after a backfill of old windows: the verdict that was shown before, of the same window."""
    spec = workshop.churn
    with dagster_instance(workshop.home) as instance:
        before = {name: (r.partition, r.status) for name, r in shown(instance, workshop).items()}
    assert before["drift/drift__age"] == (workshop.day(DAYS - 1), AssetCheckExecutionRecordStatus.FAILED)
    assert before["model_quality/quality__roc_auc"][0] == workshop.day(DAYS - 3), "later labels have not come"
    materialize_range(workshop.home, spec, workshop.day(20), workshop.day(21))
    with dagster_instance(workshop.home) as instance:
        records = shown(instance, workshop)
        [run] = instance.get_runs(limit=1)
        history = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey([spec.id, "drift"]), "drift__age"), limit=3
        )
    assert {name: (r.partition, r.status) for name, r in records.items()} == before
    assert [(r.partition, r.run_id) for r in history] == [(workshop.day(n), run.run_id) for n in (DAYS - 1, 21, 20)], (
        "the windows of the run are kept, too"
    )
    assert all(r.evaluation.metadata["window"].value == r.partition for r in records.values())
    assert records["drift/drift__age"].evaluation.target_materialization_data is not None


def test_no_check_is_planned_and_never_evaluated(history):
    """Neither where there is too little for a verdict, nor dbt's tests of windows of a range."""
    with dagster_instance(history.home) as instance:
        assert {status for status, _ in statuses(instance)} == {"SUCCEEDED", "FAILED"}


def test_what_a_failed_run_planned_stays_visible(workshop, monkeypatch):
    """A step that fails before its checks are evaluated shows as "Execution failed"."""

    def broken(*_args: object) -> None:
        raise RuntimeError("no verdicts today")

    monkeypatch.setattr(board, "evaluate", broken)
    with pytest.raises(SightlineError, match="no verdicts today"):
        materialize_range(workshop.home, workshop.churn, workshop.day(DAYS - 1), workshop.day(DAYS - 1))
    with dagster_instance(workshop.home) as instance:
        [run] = instance.get_runs(limit=1)
        assert ("PLANNED", run.run_id) in statuses(instance)


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


def test_a_window_that_was_judged_and_is_shown_is_stored_once_and_last():
    key = dg.AssetKey(["churn", "drift"])

    def said(check: str, partition: str, passed: bool) -> dg.AssetCheckEvaluation:
        return dg.AssetCheckEvaluation(asset_key=key, check_name=check, passed=passed, partition=partition)

    rows = [said("a", "1", True), said("a", "2", True), said("b", "1", True), said("a", "1", False)]
    kept = asset_checks._once(rows)
    assert [(row.check_name, row.partition, row.passed) for row in kept] == [
        ("a", "2", True),
        ("b", "1", True),
        ("a", "1", False),
    ]
