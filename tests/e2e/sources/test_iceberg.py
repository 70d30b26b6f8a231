"""An Iceberg table as a source: the rows that each snapshot adds, and none that is only written anew."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.table.snapshots import Operation, Summary

from sightline.home import Home
from sightline.lake.fetch import reading
from sightline.lake.fetch.spool import open_spool
from sightline.lake.intake.fetching import columns_found, fetch_new, source_of
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from tests.support.lake import rows
from tests.support.object_store import ACCESS, SECRET, Store
from tests.support.sources import counts, fetch_all, files_holding, home_of, ids, lake, load, look, spec_of

pytestmark = pytest.mark.e2e

NAMES = itertools.count()


@dataclass
class World:
    """A monitor, its home, and the table it reads."""

    spec: MonitorSpec
    home: Home
    catalogue: Any
    table: Any

    def append(self, frame: pl.DataFrame) -> None:
        self.table.append(frame.to_arrow())


@pytest.fixture(params=["local", "s3"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """An empty table in an SQL catalogue, on disk or in a store."""
    home, _ = home_of(tmp_path / "home")
    home.root.mkdir()
    properties = {"type": "sql", "uri": "sqlite:///catalogue.db", "warehouse": "warehouse"}
    full = {"type": "sql", "uri": f"sqlite:///{home.root}/catalogue.db", "warehouse": f"file://{home.root}/warehouse"}
    hidden: dict[str, str] = {}
    if request.param == "s3":
        store: Store = request.getfixturevalue("store")
        bucket = f"iceberg-{next(NAMES)}"
        store.client().create_bucket(Bucket=bucket)
        place = {"warehouse": f"s3://{bucket}", "s3.endpoint": store.endpoint, "s3.region": "us-east-1"}
        properties |= place
        full |= {**place, "s3.access-key-id": ACCESS, "s3.secret-access-key": SECRET}
        hidden = {"s3.access-key-id": "STORE_KEY", "s3.secret-access-key": "STORE_SECRET"}
    catalogue = load_catalog("lake", **full)
    catalogue.create_namespace("ml")
    table = catalogue.create_table("ml.p", schema=rows(1).to_arrow().schema)
    given = {"catalog": "lake", "table": "ml.p", "properties": properties, "properties_env": hidden}
    return World(spec_of(iceberg=given), home, catalogue, table)


def distinct(n: int) -> pl.DataFrame:
    return rows(n).unique("id", keep="first", maintain_order=True)


def test_each_snapshot_comes_once(world: World) -> None:
    spec, home, data = world.spec, world.home, distinct(60)
    assert look(spec, home).n_files == 0
    world.append(data.head(20))
    world.append(data.slice(20, 10))
    assert load(spec, home).accepted == 30
    assert look(spec, home).n_files == 0
    world.append(data.slice(30, 10))
    world.append(data.slice(40))
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (len(data) - 30, 0)
    assert ids(spec, home) == sorted(data["id"].to_list())
    assert not files_holding(home.root / "data", SECRET)


def compact(table: Any) -> None:
    """Write all files anew as one, as engines do it: a snapshot of the kind ``replace``."""
    whole = table.scan().to_arrow()
    transaction = table.transaction()
    with transaction.update_snapshot().overwrite() as update:
        overwritten = update._summary
        update._summary = lambda given: Summary(Operation.REPLACE, **overwritten(given).additional_properties)
        for task in table.scan().plan_files():
            update.delete_data_file(task.file)
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        for file in _dataframe_to_data_files(table.metadata, whole, table.io):
            update.append_data_file(file)
    transaction.commit_transaction()
    table.refresh()


def test_compaction_brings_nothing_and_deletes_are_counted(world: World) -> None:
    spec, home, data = world.spec, world.home, distinct(30)
    world.append(data.head(10))
    load(spec, home)
    world.append(data.slice(10, 10))
    compact(world.table)
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (10, 0)
    assert counts(spec, home)["files_compacted"] == 1
    first = data["id"][0]
    world.table.delete(f"id = '{first}'")
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (0, 19)
    assert counts(spec, home)["rows_deleted_at_the_source"] == 1
    assert first in ids(spec, home)


def test_a_large_table_streams_and_goes_on_within_a_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, home, data = world.spec, world.home, distinct(900)
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    monkeypatch.setattr("sightline.lake.fetch.run.LOOK_ROWS", 150)
    for start in range(0, 500, 90):
        world.append(data.slice(start, min(90, 500 - start)))
    found = look(spec, home)
    assert not found.is_done
    assert intake(spec, home.monitor("m"), "inferences", home).accepted == 0
    world.append(data.slice(500))
    compact(world.table)
    fetch_all(spec, home)
    report = intake(spec, home.monitor("m"), "inferences", home)
    assert (report.accepted, report.duplicates) == (len(data), 0)


def test_later_labels_are_later(world: World) -> None:
    """Revisions of labels that lie in the table when it is first read: the one that was written last counts."""
    given = world.spec.sources.inferences
    assert given is not None
    assert given.iceberg is not None
    labels = pl.DataFrame({"id": ["id-0"], "y": [0]})
    table = world.catalogue.create_table("ml.l", schema=labels.to_arrow().schema)
    spec = spec_of("labels", iceberg={**given.iceberg.model_dump(), "table": "ml.l"})
    paths = world.home.monitor("m")
    paths.landing_inferences.mkdir(parents=True)
    rows(1).write_parquet(paths.landing_inferences / "a.parquet")
    intake(spec, paths, "inferences", world.home)
    for revision in range(12):
        value = pl.lit(revision % 2 if revision < 11 else 1, pl.Int64)
        table.append(labels.with_columns(y=value).to_arrow())
    table.append(labels.to_arrow())
    load(spec, world.home, "labels")
    assert lake(spec, world.home, "labels").sort("revision_order")["label_value"].to_list()[-1] == 0.0


LOST: dict[str, tuple[Callable[[World], None], str]] = {}


def lost(what: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    def keep(make: Callable[[World], None]) -> Callable[[World], None]:
        LOST[make.__name__] = (make, what)
        return make

    return keep


@lost("has expired")
def expired(world: World) -> None:
    read = world.table.metadata.current_snapshot_id
    world.append(distinct(20).slice(10))
    world.table.maintenance.expire_snapshots().by_id(read).commit()


@lost("was rolled back")
def rolled_back(world: World) -> None:
    first = world.table.metadata.snapshots[0].snapshot_id
    world.table.manage_snapshots().set_current_snapshot(snapshot_id=first).commit()


@lost("dropped and created anew")
def created_anew(world: World) -> None:
    world.catalogue.drop_table("ml.p")
    world.table = world.catalogue.create_table("ml.p", schema=rows(1).to_arrow().schema)
    world.append(distinct(20))


@pytest.mark.parametrize("case", LOST)
def test_what_was_lost_is_told_and_a_restart_mends_it(world: World, case: str) -> None:
    spec, home = world.spec, world.home
    make, what = LOST[case]
    world.append(distinct(10).head(5))
    world.append(distinct(10).slice(5))
    load(spec, home)
    make(world)
    found = fetch_new(spec, home.monitor("m"), "inferences", home)
    assert found is not None
    assert what in str(found.problem)
    assert "sightline sources m --restart inferences" in str(found.problem)
    source = source_of(spec, "inferences")
    assert source is not None
    with open_spool(home.monitor("m")) as spool:
        spool.restart(source.source)
    load(spec, home)
    assert set(distinct(10)["id"]) <= set(ids(spec, home))


def test_a_renamed_column_is_followed_by_its_number(world: World) -> None:
    spec, home, data = world.spec, world.home, distinct(20)
    world.append(data.head(10))
    load(spec, home)
    with world.table.update_schema() as update:
        update.rename_column("p", "q")
    world.append(data.slice(10).rename({"p": "q"}))
    found = fetch_new(spec, home.monitor("m"), "inferences", home)
    assert found is not None
    assert "there is no column 'p'" in str(found.problem)
    with world.table.update_schema() as update:
        update.rename_column("q", "p")
    assert load(spec, home).accepted == len(data) - 10
    assert lake(spec, home)["score"].null_count() == 0


ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no table": ({"table": "ml.nowhere"}, "no table ml.nowhere", "correct `table`"),
    "no catalogue": (
        {"properties": {"type": "sql", "uri": "sqlite:////nowhere/c.db", "warehouse": "w"}},
        "",
        "see whet",
    ),
    "no server": ({"properties": {"type": "rest", "uri": "http://127.0.0.1:1"}}, "Connection", "see whether"),
    "no key": ({"properties_env": {"s3.secret-access-key": "NO_SUCH"}}, "NO_SUCH is not set", "export NO_SUCH"),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("world", ["local"], indirect=True)
def test_errors_name_the_place_and_the_fix(world: World, case: str) -> None:
    changes, what, fix = ERRORS[case]
    given = world.spec.sources.inferences
    assert given is not None
    assert given.iceberg is not None
    spec = spec_of(iceberg={**given.iceberg.model_dump(), **changes})
    found = fetch_new(spec, world.home.monitor("m"), "inferences", world.home)
    assert found is not None
    assert found.problem is not None
    assert what in found.problem.what
    assert fix in (found.problem.fix or "")
    assert "sources.inferences.iceberg" in (found.problem.where or "")


def test_columns_are_shown(world: World) -> None:
    found = columns_found(world.spec, "inferences", world.home)
    assert found is not None
    assert list(found[1]) == rows(1).columns
