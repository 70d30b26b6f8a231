"""Check results and materializations of a step, as events: in batches where the instance's storage writes batches.

``dagster.yaml`` decides: it may name a storage of `orchestration.dagster_private.batches` (SQLite) or of
`orchestration.dagster_private.batched_postgres`. With any other storage the same events are stored one by one, which
takes longer and leaves the same records. Importing this changes nothing in the process.

Private API of dagster 1.13.27, pinned in pyproject.toml. Can go when Dagster lets a step report many check results at
once. Held by tests/orchestration/dagster_private/test_event_storage.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from orchestration.dagster_private.batches import BATCH_SIZE, BatchedSqliteEventLogStorage, WritesBatches

__all__ = [
    "BATCH_SIZE",
    "BatchedSqliteEventLogStorage",  # named here by the dagster.yaml of older home folders
    "forget_planned",
    "shown_evaluations",
    "store_evaluations",
    "store_materializations",
    "target",
]

PLANNED = AssetCheckExecutionRecordStatus.PLANNED.value


def store_evaluations(context: dg.AssetCheckExecutionContext, evaluations: Iterable[dg.AssetCheckEvaluation]) -> None:
    """Store check results of this step, as if they had been yielded, in batches.

    Parameters
    ----------
    context : dagster.AssetCheckExecutionContext
        Context of the step that plans these checks.
    evaluations : iterable of dagster.AssetCheckEvaluation
        One per check and partition. Of each check the last one becomes the one that the UI shows.
    """
    step = context.get_step_execution_context()
    _store(step, [(DagsterEventType.ASSET_CHECK_EVALUATION, e, _message(e)) for e in evaluations])


def store_materializations(
    context: dg.AssetExecutionContext, materializations: Iterable[dg.AssetMaterialization]
) -> None:
    """Store materializations of this step at once, in batches: before the step ends, whose own ones come later."""
    told = [
        (
            DagsterEventType.ASSET_MATERIALIZATION,
            StepMaterializationData(materialization),
            f"Materialized {materialization.asset_key.to_user_string()} [{materialization.partition}]",
        )
        for materialization in materializations
    ]
    _store(context.get_step_execution_context(), told)


def forget_planned(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, keys: Iterable[dg.AssetCheckKey]
) -> None:
    """Take back that this run planned some checks: what it does not evaluate must not hide what was said before.

    Dagster plans every check of a run for every partition. One that has nothing to say of a partition would stay
    planned for good, and be shown as skipped. A step that fails before it comes here leaves the plan, and the UI shows
    "Execution failed".
    """
    storage = context.instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return  # one that keeps its plans elsewhere: they are shown as skipped
    table = AssetCheckExecutionsTable
    planned = (table.c.run_id == context.run.run_id, table.c.execution_status == PLANNED)
    with storage.index_connection() as connection:
        for key in keys:
            these = (table.c.asset_key == key.asset_key.to_string(), table.c.check_name == key.name)
            connection.execute(table.delete().where(*planned, *these))


def shown_evaluations(
    instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]:
    """The latest result of each check, whatever its partition: the one that the UI shows."""
    storage, found = instance.event_log_storage, {}
    for key in keys:
        for record in storage.get_asset_check_execution_history(
            key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        ):
            if record.evaluation is not None:
                found[key] = record.evaluation
    return found


def _store(step: StepExecutionContext, told: Sequence[tuple[DagsterEventType, Any, str]]) -> None:
    """Store events of a step: their type, data and message."""
    run, now = step.dagster_run, time.time()
    entries = [
        EventLogEntry(
            error_info=None,
            level=10,
            user_message="",
            run_id=run.run_id,
            timestamp=now,
            step_key=step.step.key,
            job_name=run.job_name,
            dagster_event=DagsterEvent(
                event_type_value=kind.value,
                job_name=run.job_name,
                step_handle=step.step.handle,
                node_handle=step.step.node_handle,
                step_kind_value=step.step.kind.value,
                logging_tags=step.event_tags,
                event_specific_data=data,
                message=message,
                pid=os.getpid(),
            ),
        )
        for kind, data, message in told
    ]
    storage = step.instance.event_log_storage
    if not isinstance(storage, WritesBatches):
        for entry in entries:
            storage.store_event(entry)
        return
    for start in range(0, len(entries), BATCH_SIZE):
        storage.store_event_batch(entries[start : start + BATCH_SIZE])


def target(storage_id: int, run_id: str) -> AssetCheckEvaluationTargetMaterializationData:
    """Which materialization a check result speaks of; without it the UI shows the result as missing."""
    return AssetCheckEvaluationTargetMaterializationData(storage_id=storage_id, run_id=run_id, timestamp=time.time())


def _message(evaluation: dg.AssetCheckEvaluation) -> str:
    verdict = "passed" if evaluation.passed else f"failed ({evaluation.severity.value})"
    return f"{evaluation.check_name} of {evaluation.asset_key.to_user_string()} [{evaluation.partition}] {verdict}."
