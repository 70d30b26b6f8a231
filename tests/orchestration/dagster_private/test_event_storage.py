"""Batched event storage leaves what single events leave, in a fraction of the time.

Holds private API of the pinned Dagster.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy

from orchestration.dagster_private import event_storage
from tests.support import postgres
from tests.support.instances import STORAGES, instance_on, need_postgres, new_database

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_date="2025-01-01")
TABLES = {
    "event_logs": ("dagster_event_type", "asset_key", "partition", "step_key"),
    "asset_check_executions": ("asset_key", "check_name", "partition", "execution_status"),
    "asset_keys": (
        "asset_key",
        "CASE WHEN last_run_id IS NULL THEN 0 ELSE 1 END",
        "CASE WHEN last_materialization IS NULL THEN 0 ELSE 1 END",
    ),
}


def definitions(n_checks: int, *, batched: bool) -> dg.Definitions:
    """One partitioned asset with checks whose result depends on the partition."""

    @dg.asset(key=["m", "a"], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def asset(context: dg.AssetExecutionContext) -> None:
        for key in context.partition_keys:
            context.add_asset_metadata({"day": key}, partition_key=key)

    specs = [dg.AssetCheckSpec(name=f"c{i}", asset=["m", "a"], partitions_def=DAYS) for i in range(n_checks)]

    @dg.multi_asset_check(name="checks", specs=specs, can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator:
        keys = list(context.partition_keys)
        mats = context.instance.get_latest_storage_id_by_partition(
            dg.AssetKey(["m", "a"]), dg.DagsterEventType.ASSET_MATERIALIZATION, set(keys)
        )
        found = [
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["m", "a"]),
                check_name=spec.name,
                passed=not key.endswith("-03"),
                partition=key,
                blocking=False,
                metadata={"value": 1.5, "what": "text"},
                target_materialization_data=event_storage.target(mats[key], context.run.run_id),
            )
            for spec in specs
            for key in keys
        ]
        if batched:
            event_storage.store_evaluations(context, found)
        else:
            yield from found
        for spec in specs:
            yield dg.Output(None, output_name=spec.get_python_identifier())

    return dg.Definitions(
        assets=[asset], asset_checks=[checks], jobs=[dg.define_asset_job("j", "*", partitions_def=DAYS)]
    )


def run(instance: dg.DagsterInstance, defs: dg.Definitions, first: str, last: str) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return defs.resolve_job_def("j").execute_in_process(instance=instance, tags=tags, run_config=quiet)


def rows(instance: dg.DagsterInstance, table: str, columns: tuple[str, ...]) -> list[tuple]:
    with instance.event_log_storage.index_connection() as connection:
        found = connection.execute(sqlalchemy.text(f"SELECT {', '.join(columns)} FROM {table}")).fetchall()
    return sorted(tuple("" if value is None else str(value) for value in row) for row in found)


@pytest.fixture(scope="session")
def database_server() -> Iterator[postgres.Server]:
    need_postgres()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postgres.server(Path(folder)) as server:
            yield server


@pytest.fixture(params=STORAGES)
def instance(request, tmp_path) -> Iterator[dg.DagsterInstance]:
    """An instance on each of the storages."""
    url = ""
    if request.param.endswith("postgres"):
        url = new_database(request.getfixturevalue("database_server"), request.param)
    with instance_on(request.param, tmp_path, url) as instance:
        yield instance


@pytest.fixture(scope="session")
def single_events(tmp_path_factory) -> dict[str, list[tuple]]:
    """What Dagster's own SQLite storage leaves of check results that are yielded."""
    with instance_on("plain_sqlite", tmp_path_factory.mktemp("plain")) as instance:
        assert run(instance, definitions(2, batched=False), "2024-01-01", "2024-01-05").success
        return {table: rows(instance, table, columns) for table, columns in TABLES.items()}


def test_every_storage_holds_the_same_records_as_single_events(instance, single_events):
    assert run(instance, definitions(2, batched=True), "2024-01-01", "2024-01-05").success
    for table, columns in TABLES.items():
        found = rows(instance, table, columns)
        if table == "event_logs":  # SQLite mirrors in its index what the other keeps in one table
            mirrored = {kind for kind, *_ in single_events[table]}
            found = [row for row in found if row[0] in mirrored]
        assert found == single_events[table], table


def test_results_are_found_by_partition_and_a_second_run_replaces_them(instance):
    defs = definitions(1, batched=True)
    for _ in range(2):
        run_id = run(instance, defs, "2024-01-01", "2024-01-05").run_id
    key = dg.AssetCheckKey(dg.AssetKey(["m", "a"]), "c0")
    [info] = [
        i for i in instance.event_log_storage.get_asset_check_partition_info([key]) if i.partition_key == "2024-01-03"
    ]
    assert info.latest_execution_status.value == "FAILED"
    assert info.latest_planned_run_id == run_id
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert latest.run_id == run_id
    evaluation = latest.event.dagster_event.asset_check_evaluation_data
    assert evaluation.metadata["value"].value == 1.5
    materialized = instance.get_materialized_partitions(dg.AssetKey(["m", "a"]))
    assert materialized == {f"2024-01-0{day}" for day in range(1, 6)}
    logs = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    assert len(logs) == 5, "the run's own page lists them too"


@pytest.mark.long
@pytest.mark.parametrize("instance", ["batched_sqlite", "batched_postgres"], indirect=True)
def test_a_year_with_45_checks_is_written_in_less_than_half_a_minute(instance):
    started = time.process_time()
    assert run(instance, definitions(45, batched=True), "2024-01-01", "2024-12-30").success
    assert time.process_time() - started < 30
    assert len(rows(instance, "asset_check_executions", ("id",))) == 45 * 365


class TestLongRange:
    @pytest.fixture
    def ran(self, instance):
        """Ten days; every third of a month fails."""
        result = run(instance, definitions(1, batched=True), "2024-01-01", "2024-01-10")
        assert result.success
        return instance, result.run_id

    def test_every_window_has_its_result_with_all_facts(self, ran):
        instance, _ = ran
        key = dg.AssetCheckKey(dg.AssetKey(["m", "a"]), "c0")
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
        found = {record.partition: record.event.dagster_event.asset_check_evaluation_data for record in records}
        assert sorted(found) == [f"2024-01-{day:02}" for day in range(1, 11)]
        assert {name for name, evaluation in found.items() if not evaluation.passed} == {"2024-01-03"}
        assert all(set(evaluation.metadata) == {"value", "what"} for evaluation in found.values())
        assert all(evaluation.metadata["value"].value == 1.5 for evaluation in found.values())

    def test_every_window_is_materialized_with_its_own_metadata(self, ran):
        instance, _ = ran
        asset = dg.AssetKey(["m", "a"])
        records = instance.fetch_materializations(asset, limit=100).records
        days = {record.partition_key: record.asset_materialization.metadata["day"].value for record in records}
        assert days == {f"2024-01-{day:02}": f"2024-01-{day:02}" for day in range(1, 11)}
        assert all(record.asset_materialization.tags["dagster/data_version"] for record in records)

    def test_the_run_s_own_log_lists_them_all(self, ran):
        instance, run_id = ran
        for kind in (dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.ASSET_MATERIALIZATION):
            assert len(instance.all_logs(run_id, of_type=kind)) == 10


def test_the_bundled_settings_plan_a_long_range_in_batches(tmp_path, monkeypatch):
    """The daemon opens the storage by name, and never imports the code location."""
    settings = Path(event_storage.__file__).parents[2] / "dagster.yaml"
    (tmp_path / "dagster.yaml").write_text(settings.read_text())
    code = (
        "import dagster as dg, os\n"
        "with dg.DagsterInstance.get() as instance:\n"
        "    storage = instance.event_log_storage\n"
        "    print(type(storage).__name__, os.path.relpath(storage._base_dir, os.environ['DAGSTER_HOME']))\n"
        "    print(os.environ['DAGSTER_EVENT_BATCH_SIZE'])\n"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["BatchedSqliteEventLogStorage history/runs", "2000"]
