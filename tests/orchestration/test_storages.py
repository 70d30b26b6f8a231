"""The same backfill on every storage of Dagster: the same records, seen alike by the sensors."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy

from orchestration.backfill import dagster_instance, materialize_range
from orchestration.sensors import alert_sensor, operations
from sightline.home import Home
from tests.support import postgres
from tests.support.instances import PG_URL, SETTINGS, STORAGES, need_postgres, new_database, url_of
from tests.support.workshop import Workshop, make_workshop

pytestmark = pytest.mark.full

DAYS = 8
TIMES = {"Execution Duration", "invocation_id", "dagster_dbt/completed_at_timestamp"}
"""What differs from run to run."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def database_server() -> Iterator[postgres.Server]:
    need_postgres()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.server(Path(folder)) as server:
            yield server


def home_on(storage: str, made: Workshop, root: Path) -> Home:
    """A copy of a workshop whose Dagster keeps its records in a storage."""
    shutil.copytree(made.home.root, root, symlinks=True)
    settings = (ROOT / "dagster.yaml").read_text()
    before, rest = settings.split("event_log_storage:")
    rest = rest[rest.index("run_monitoring:") :]
    (root / "dagster.yaml").write_text(f"{before}{SETTINGS[storage]}{rest}")
    return Home(root)


def records(instance: dg.DagsterInstance) -> dict[str, list[Any]]:
    """Everything Dagster knows of assets and checks, without times and ids."""
    found: dict[str, list[Any]] = {}
    with instance.event_log_storage.index_connection() as connection:
        states = "SELECT asset_key, check_name, partition, execution_status FROM asset_check_executions"
        found["check states"] = [tuple(row) for row in connection.execute(sqlalchemy.text(states))]
        kinds = "SELECT dagster_event_type, asset_key, partition, step_key FROM event_logs WHERE dagster_event_type "
        kinds += "LIKE 'ASSET_%'"
        found["events"] = [tuple(map(str, row)) for row in connection.execute(sqlalchemy.text(kinds))]
    keys = instance.all_asset_keys()
    found["partitions"] = [(str(key), sorted(instance.get_materialized_partitions(key))) for key in keys]
    found["materializations"], found["results"] = [], []
    for key in keys:
        page = instance.fetch_materializations(key, limit=10_000).records
        for record in page:
            told = record.asset_materialization.metadata
            metadata = {name: str(value) for name, value in told.items() if name not in TIMES}
            found["materializations"].append((str(key), record.partition_key, metadata))
    checks = {(state[0], state[1]) for state in found["check states"]}
    for asset, name in sorted(checks):
        check = dg.AssetCheckKey(dg.AssetKey.from_db_string(asset), name)
        history = instance.event_log_storage.get_asset_check_execution_history(check, limit=10_000)
        for record in history:
            said = record.evaluation
            facts = {n: str(value) for n, value in said.metadata.items() if n not in TIMES} if said else None
            told = (said.passed, said.severity.value, said.description, facts) if said else None
            found["results"].append((asset, name, record.partition, record.status.value, told))
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
        found["results"].append((asset, name, "shown", {r.partition for r in latest.values()}, None))
    return {name: sorted(rows, key=str) for name, rows in found.items()}


@pytest.fixture(scope="module")
def worked_up(database_server, tmp_path_factory) -> Iterator[dict[str, tuple[Home, Workshop]]]:
    """One monitor's days, worked up in two runs on each storage: the second one over windows before the newest."""
    base = tmp_path_factory.mktemp("storages")
    made = make_workshop(base / "made", days=DAYS)
    homes: dict[str, tuple[Home, Workshop]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for storage in STORAGES:
            patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "")
            patch.delenv("DAGSTER_EVENT_BATCH_SIZE")
            patch.setenv(PG_URL, new_database(database_server, storage) if "postgres" in storage else "")
            home = home_on(storage, made, base / storage)
            materialize_range(home, made.churn, made.day(0), made.day(DAYS - 1))
            materialize_range(home, made.churn, made.day(3), made.day(3))
            homes[storage] = home, made
        yield homes


@pytest.fixture
def known(worked_up, database_server, monkeypatch) -> dict[str, tuple[dict[str, list[Any]], Any]]:
    found = {}
    for storage, (home, made) in worked_up.items():
        monkeypatch.setenv(PG_URL, url_of(database_server, storage))
        now = datetime.now(UTC)
        with dagster_instance(home) as instance:
            cursor = operations.Cursor.load(None, now)
            listing = operations.look(instance, cursor, {"churn": made.churn})
            causes = [sorted((s.cause, s.is_failing, s.words) for s in operations.seen_in(r)) for r in listing.runs]
            after, added = alert_sensor.tick(instance, home, {"churn": made.churn}, cursor, now)
            again = alert_sensor.tick(instance, home, {"churn": made.churn}, after, now)[1]
            found[storage] = records(instance), (causes, added, again)
    return found


def test_every_storage_holds_the_same_and_is_seen_alike(known):
    plain, seen = known["plain_sqlite"]
    assert {name: len(rows) > 0 for name, rows in plain.items()} == dict.fromkeys(plain, True)
    assert len(seen[0]) == 2
    assert seen[2] == 0
    for storage, (found, told) in known.items():
        for name, rows in plain.items():
            different = [pair for pair in zip(found[name], rows, strict=False) if pair[0] != pair[1]]
            assert (len(found[name]), different[:3]) == (len(rows), []), (storage, name)
        assert told == seen, storage
