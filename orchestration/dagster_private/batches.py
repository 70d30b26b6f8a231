"""Event logs that write many of Dagster's events in one transaction per database; the instance's settings name them.

Dagster's storages make a connection or three and commit as often for every single event: a year of daily partitions
(365 days x 60 assets and checks) would take minutes. Dagster hands the planned partitions of a run and the
materializations of a ranged one to ``EventLogStorage.store_event_batch`` when ``DAGSTER_EVENT_BATCH_SIZE`` is set, but
its storages loop over single events there. `WritesBatches` is a real batch for both of its SQL storages.

Whichever process opens an instance whose ``dagster.yaml`` names one of them writes batches: daemon and web server,
which plan the partitions of a run and never import the code location, too. Nothing of Dagster is patched.

Private API of dagster 1.13.27, pinned in pyproject.toml. Can go when its storages write batches themselves. Held by
tests/orchestration/dagster_private/test_event_storage.py and test_postgres.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from orchestration.dagster_private.open_databases import OpenDatabases
from sightline.errors import SightlineError

BATCH_SIZE = 2000
_MATERIALIZATION = (DagsterEventType.ASSET_MATERIALIZATION_PLANNED, DagsterEventType.ASSET_MATERIALIZATION)
_EVALUATION = (DagsterEventType.ASSET_CHECK_EVALUATION,)
_PLANNED_CHECK = (DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,)
_BATCHED = _MATERIALIZATION + _EVALUATION + _PLANNED_CHECK

Stored = tuple[EventLogEntry, int, dict[str, Any]]
"""An event, its id in the event log and its row there."""


def let_dagster_batch() -> None:
    """Tell Dagster in this process, and those it starts, to hand over events in batches, unless somebody has said."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))


class WritesBatches(SqlEventLogStorage):
    """The batch of a SQL event log of Dagster, whichever; leaves what single events leave."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store materializations and check results in one transaction per database; everything else singly."""
        batch = [event for event in events if event.dagster_event_type in _BATCHED]
        for event in events:
            if event.dagster_event_type not in _BATCHED:
                self.store_event(event)
        if not batch:
            return
        rows = [self._event_to_row(event) for event in batch]
        self._store_in_run_logs(batch, rows)
        with self.index_transaction() as connection:
            insert = SqlEventLogStorageTable.insert().returning(
                SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
            )
            stored = list(zip(batch, connection.execute(insert, rows).scalars(), rows, strict=True))
            _store_materializations(self, connection, _of(stored, _MATERIALIZATION))
            _store_planned(connection, _of(stored, _PLANNED_CHECK))
            _store_evaluations(connection, _of(stored, _EVALUATION))

    def _store_in_run_logs(self, events: Sequence[EventLogEntry], rows: Sequence[dict[str, Any]]) -> None:
        """Store the rows in the logs of their runs, where those are databases of their own."""


class BatchedSqliteEventLogStorage(WritesBatches, SqliteEventLogStorage):
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
        let_dagster_batch()
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

    def _store_in_run_logs(self, events: Sequence[EventLogEntry], rows: Sequence[dict[str, Any]]) -> None:
        by_run: dict[str, list[dict[str, Any]]] = {}
        for event, row in zip(events, rows, strict=True):
            by_run.setdefault(event.run_id, []).append(row)
        for run_id, run_rows in by_run.items():
            with self.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), run_rows)

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


def _of(stored: Sequence[Stored], kinds: Sequence[DagsterEventType]) -> list[Stored]:
    return [item for item in stored if item[0].dagster_event_type in kinds]


def _store_materializations(storage: SqlEventLogStorage, connection: Connection, stored: Sequence[Stored]) -> None:
    """Index the tags, and keep the last event of each asset: in the order of keys, so that runs never deadlock."""
    tagged = [(event, event_id) for event, event_id, _ in stored if storage._tags_for_asset_event(event)]
    if tagged:
        storage._store_asset_event_tags(
            connection, [event for event, _ in tagged], [event_id for _, event_id in tagged]
        )
    last = {(row["asset_key"], event.dagster_event_type): (event, event_id) for event, event_id, row in stored}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for (asset_key, _), (event, event_id) in sorted(last.items(), key=lambda item: (item[0][0], item[1][1])):
        values = storage._get_asset_entry_values(event, event_id, has_asset_key_index_cols=True)
        insert = dialect.insert(AssetKeyTable).values(asset_key=asset_key, **values)
        connection.execute(insert.on_conflict_do_update(index_elements=[AssetKeyTable.c.asset_key], set_=values))


def _store_planned(connection: Connection, stored: Sequence[Stored]) -> None:
    """One row per planned check and partition."""
    rows: list[dict[str, Any]] = []
    for event, event_id, row in stored:
        planned = event.get_dagster_event().asset_check_planned_data
        subset = planned.partitions_subset
        rows += [
            {
                "asset_key": planned.asset_key.to_string(),
                "check_name": planned.check_name,
                "partition": partition,
                "run_id": event.run_id,
                "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": _naive(event.timestamp),
                "evaluation_event_storage_id": event_id,
            }
            for partition in (subset.get_partition_keys() if subset else [None])
        ]
    if rows:
        connection.execute(AssetCheckExecutionsTable.insert(), rows)


def _store_evaluations(connection: Connection, stored: Sequence[Stored]) -> None:
    """Put results in the place of what their runs planned, or beside it."""
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
            "evaluation_event_timestamp": _naive(event.timestamp),
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


def _naive(timestamp: float) -> datetime:
    """The moment in UTC as Dagster's tables hold it: without its zone."""
    return datetime.fromtimestamp(timestamp, UTC).replace(tzinfo=None)
