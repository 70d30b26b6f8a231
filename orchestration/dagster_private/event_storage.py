"""Writes many Dagster events in one transaction per database.

Dagster's SQLite storage opens two or three connections and commits as often for every single event: a year of daily
partitions (365 days x 60 assets and checks) would take minutes. Dagster already hands the materializations of a ranged
run to ``EventLogStorage.store_event_batch`` when ``DAGSTER_EVENT_BATCH_SIZE`` is set, but its SQLite storage inherits
the loop over single events. `install` gives that storage a real batch. Other storages (PostgreSQL) are left alone.

The code location calls `install` itself. Dagster's daemon and web server never import it, and they plan the partitions
of a run: 400 windows x 34 assets singly is more than the three minutes after which Dagster takes a run for dead. For
them ``dagster.yaml`` names `BatchedSqliteEventLogStorage`.

Private API of dagster 1.13.27, pinned in pyproject.toml. Can go when its SQLite storage writes batches itself. Held by
tests/orchestration/dagster_private/test_event_storage.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
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
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, bindparam, select

from orchestration.dagster_private.open_databases import OpenDatabases
from sightline.errors import SightlineError

BATCH_SIZE = 2000
_MATERIALIZATION = (DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_MATERIALIZATION)
PLANNED = AssetCheckExecutionRecordStatus.PLANNED.value
_EVALUATION = (DagsterEventType.ASSET_CHECK_EVALUATION,)


def install() -> None:
    """Let Dagster's SQLite storage write batches, in this process; does nothing where Dagster brings its own batch."""
    if SqliteEventLogStorage.store_event_batch is EventLogStorage.store_event_batch:
        SqliteEventLogStorage.store_event_batch = _store_event_batch  # type: ignore[method-assign]
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's SQLite event log in its usual place, with batches in whichever process opens it (``dagster.yaml``).

    Its databases stay open from one event to the next.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open = OpenDatabases()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """``base_dir``, by default where Dagster keeps it: ``history/runs`` below ``DAGSTER_HOME``."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteEventLogStorage:
        """Open it, and let this process write batches.

        Raises
        ------
        SightlineError
            Neither ``base_dir`` nor ``DAGSTER_HOME`` says where.
        """
        install()
        home = os.environ.get("DAGSTER_HOME")
        if "base_dir" not in config_value and not home:
            raise SightlineError(
                "where Dagster keeps its events is not known", where="dagster.yaml", fix="set DAGSTER_HOME"
            )
        base = config_value.get("base_dir") or os.fspath(Path(home or "") / "history" / "runs")
        return cls(base_dir=base, inst_data=inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard not in self._initialized_dbs:
            with super()._connect(shard):
                pass
        with self._db_lock, self._open.engine(self.path_for_shard(shard)).connect() as connection, connection.begin():
            yield connection

    def wipe(self) -> None:
        """Delete all events, and close what was open."""
        with self._db_lock:
            self._open.close()
        super().wipe()

    def dispose(self) -> None:
        """Close what is open."""
        super().dispose()
        with self._db_lock:
            self._open.close()


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
    assert isinstance(storage, SqlEventLogStorage)
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
    for start in range(0, len(entries), BATCH_SIZE):
        step.instance.event_log_storage.store_event_batch(entries[start : start + BATCH_SIZE])


def target(storage_id: int, run_id: str) -> AssetCheckEvaluationTargetMaterializationData:
    """Which materialization a check result speaks of; without it the UI shows the result as missing."""
    return AssetCheckEvaluationTargetMaterializationData(storage_id=storage_id, run_id=run_id, timestamp=time.time())


def _message(evaluation: dg.AssetCheckEvaluation) -> str:
    verdict = "passed" if evaluation.passed else f"failed ({evaluation.severity.value})"
    return f"{evaluation.check_name} of {evaluation.asset_key.to_user_string()} [{evaluation.partition}] {verdict}."


def _store_event_batch(self: SqliteEventLogStorage, events: Sequence[EventLogEntry]) -> None:
    """Store materializations and check results in one transaction per database; everything else singly."""
    batch = [event for event in events if event.dagster_event_type in _MATERIALIZATION + _EVALUATION]
    for event in events:
        if event.dagster_event_type not in _MATERIALIZATION + _EVALUATION:
            self.store_event(event)
    if not batch:
        return
    rows = [self._event_to_row(event) for event in batch]
    by_run: dict[str, list[dict[str, Any]]] = {}
    for event, row in zip(batch, rows, strict=True):
        by_run.setdefault(event.run_id, []).append(row)
    for run_id, run_rows in by_run.items():
        with self.run_connection(run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), run_rows)
    with self.index_transaction() as connection:
        insert = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
        stored = list(zip(batch, connection.execute(insert, rows).scalars(), rows, strict=True))
        _store_materializations(self, connection, [s for s in stored if s[0].dagster_event_type in _MATERIALIZATION])
        _store_evaluations(connection, [s for s in stored if s[0].dagster_event_type in _EVALUATION])


Stored = tuple[EventLogEntry, int, dict[str, Any]]


def _store_materializations(storage: SqliteEventLogStorage, connection: Connection, stored: Sequence[Stored]) -> None:
    if not stored:
        return
    tagged = [(event, event_id) for event, event_id, _ in stored if storage._tags_for_asset_event(event)]
    if tagged:
        storage._store_asset_event_tags(
            connection, [event for event, _ in tagged], [event_id for _, event_id in tagged]
        )
    last = {(row["asset_key"], event.dagster_event_type): (event, event_id) for event, event_id, row in stored}
    known = set(connection.execute(select(AssetKeyTable.c.asset_key)).scalars())
    for (asset_key, _), (event, event_id) in sorted(last.items(), key=lambda item: item[1][1]):
        values = storage._get_asset_entry_values(event, event_id, has_asset_key_index_cols=True)
        if asset_key in known:
            connection.execute(AssetKeyTable.update().values(**values).where(AssetKeyTable.c.asset_key == asset_key))
        else:
            connection.execute(AssetKeyTable.insert().values(asset_key=asset_key, **values))
            known.add(asset_key)


def _store_evaluations(connection: Connection, stored: Sequence[Stored]) -> None:
    if not stored:
        return
    table = AssetCheckExecutionsTable
    runs = {event.run_id for event, _, _ in stored}
    key = (table.c.run_id, table.c.asset_key, table.c.check_name, table.c.partition)
    planned = {
        tuple(row[1:]): row[0] for row in connection.execute(select(table.c.id, *key).where(table.c.run_id.in_(runs)))
    }
    updates, inserts = [], []
    for event, event_id, row in stored:
        evaluation = event.get_dagster_event().event_specific_data
        assert isinstance(evaluation, dg.AssetCheckEvaluation)
        status = (
            AssetCheckExecutionRecordStatus.SUCCEEDED if evaluation.passed else AssetCheckExecutionRecordStatus.FAILED
        )
        about = evaluation.target_materialization_data
        values = {
            "execution_status": status.value,
            "evaluation_event": row["event"],
            "evaluation_event_timestamp": datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None),
            "evaluation_event_storage_id": event_id,
            "materialization_event_storage_id": about.storage_id if about else None,
        }
        identity = (event.run_id, evaluation.asset_key.to_string(), evaluation.check_name, evaluation.partition)
        if identity in planned:
            updates.append({**values, "row_id": planned[identity]})
        else:
            inserts.append(
                {**values, **dict(zip(("run_id", "asset_key", "check_name", "partition"), identity, strict=True))}
            )
    if updates:
        names = [name for name in updates[0] if name != "row_id"]
        statement = (
            table.update().where(table.c.id == bindparam("row_id")).values({name: bindparam(name) for name in names})
        )
        connection.execute(statement, updates)
    if inserts:
        connection.execute(table.insert(), inserts)
