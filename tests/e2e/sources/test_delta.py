"""A Delta table as a source: the rows that each version adds, and none that is only written anew."""

from __future__ import annotations

import itertools
import json
import shutil
import struct
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from sightline.home import Home
from sightline.lake.fetch import reading
from sightline.lake.fetch.delta import typed
from sightline.lake.intake.fetching import columns_found, fetch_new
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from tests.support.lake import rows
from tests.support.object_store import SECRET, Store
from tests.support.sources import counts, fetch_all, files_holding, home_of, ids, lake, load, look, spec_of

pytestmark = pytest.mark.e2e

NAMES = itertools.count()


@pytest.fixture(params=["local", "s3"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MonitorSpec, Home, str, dict[str, str]]:
    """Monitor, home, URI and options of a table that does not exist yet."""
    home, _ = home_of(tmp_path / "home")
    if request.param == "local":
        return spec_of(delta={"uri": "tables/p"}), home, str(home.root / "tables" / "p"), {}
    store: Store = request.getfixturevalue("store")
    bucket = f"delta-{next(NAMES)}"
    store.client().create_bucket(Bucket=bucket)
    uri = f"s3://{bucket}/p"
    return spec_of(delta={"uri": uri, "store": store.section}), home, uri, store.options


def append(uri: str, frame: pl.DataFrame, options: dict[str, str], **more: Any) -> None:
    write_deltalake(uri, frame, mode="append", storage_options=options or None, **more)


def opened(uri: str, options: dict[str, str]) -> DeltaTable:
    return DeltaTable(uri, storage_options=options or None)


def distinct(n: int) -> pl.DataFrame:
    return rows(n).unique("id", keep="first", maintain_order=True)


def test_each_version_comes_once(table: tuple[MonitorSpec, Home, str, dict[str, str]]) -> None:
    spec, home, uri, options = table
    data = distinct(60)
    append(uri, data.head(20), options, partition_by=["c"])
    append(uri, data.slice(20, 10), options)
    assert load(spec, home).accepted == 30
    assert look(spec, home).n_files == 0
    append(uri, data.slice(30, 10), options)
    append(uri, data.slice(40), options)
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (len(data) - 30, 0)
    assert ids(spec, home) == sorted(data["id"].to_list())
    known = lake(spec, home).sort("prediction_id")["g_c"].to_list()
    assert known == data.sort("id")["c"].to_list()


def test_compaction_brings_nothing_and_deletes_and_updates_are_counted(
    table: tuple[MonitorSpec, Home, str, dict[str, str]],
) -> None:
    spec, home, uri, options = table
    data = distinct(30)
    append(uri, data.head(10), options)
    load(spec, home)
    append(uri, data.slice(10, 10), options)
    opened(uri, options).optimize.compact()
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (10, 0)
    assert counts(spec, home)["files_compacted"] == 1
    first, second = data["id"][0], data["id"][1]
    opened(uri, options).delete(f"id = '{first}'")
    opened(uri, options).update(predicate=f"id = '{second}'", updates={"p": "0.123"})
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (0, 38)
    assert report.quarantined_by_reason["conflicting_duplicate"] == 1
    assert counts(spec, home)["rows_deleted_at_the_source"] == 1
    assert first in ids(spec, home)


def test_a_large_table_streams_and_goes_on_within_a_file(
    table: tuple[MonitorSpec, Home, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, home, uri, options = table
    monkeypatch.setattr("sightline.lake.fetch.delta.READ_ROWS", 37)
    monkeypatch.setattr(reading, "BATCH_ROWS", 100)
    monkeypatch.setattr("sightline.lake.fetch.run.LOOK_ROWS", 150)
    data = distinct(900)
    append(uri, data.head(500), options)
    append(uri, data.slice(500, 100), options)
    found = look(spec, home)
    assert not found.is_done
    assert intake(spec, home.monitor("m"), "inferences", home).accepted == 0, "a backlog is loaded as a whole"
    append(uri, data.slice(600), options)
    opened(uri, options).optimize.compact()
    fetch_all(spec, home)
    report = intake(spec, home.monitor("m"), "inferences", home)
    assert (report.accepted, report.duplicates) == (len(data), 0)
    sizes = [len(pl.read_parquet(file)) for file in home.monitor("m").fetched.rglob("*.parquet")]
    assert max(sizes) <= 100


def test_what_was_lost_is_told_and_a_restart_mends_it(
    table: tuple[MonitorSpec, Home, str, dict[str, str]],
) -> None:
    spec, home, uri, options = table
    data = distinct(40)
    append(uri, data.head(10), options)
    load(spec, home)
    append(uri, data.slice(10, 10), options)
    opened(uri, options).optimize.compact()
    opened(uri, options).vacuum(0, dry_run=False, enforce_retention_duration=False)
    found = fetch_new(spec, home.monitor("m"), "inferences", home)
    assert found is not None
    assert "vacuumed before it was read" in str(found.problem)
    assert "sightline sources m --restart inferences" in str(found.problem)
    restart(spec, home)
    report = load(spec, home)
    assert (report.accepted, report.duplicates) == (10, 10)


def restart(spec: MonitorSpec, home: Home) -> None:
    from click.testing import CliRunner

    from sightline.lake.fetch.spool import open_spool
    from sightline.lake.intake.fetching import source_of

    assert CliRunner  # the command itself is tried in tests/unit/commands
    found = source_of(spec, "inferences")
    assert found is not None
    with open_spool(home.monitor("m")) as spool:
        spool.restart(found.source)


def test_a_replaced_table_is_told(tmp_path: Path) -> None:
    home, paths = home_of(tmp_path)
    spec = spec_of(delta={"uri": "p"})
    append(str(tmp_path / "p"), distinct(10), {})
    append(str(tmp_path / "p"), distinct(20).slice(10), {})
    load(spec, home)
    shutil.rmtree(tmp_path / "p")
    append(str(tmp_path / "p"), distinct(30), {})
    found = fetch_new(spec, paths, "inferences", home)
    assert found is not None
    assert "the table was replaced" in str(found.problem)


def test_new_columns_are_null_in_older_files(tmp_path: Path) -> None:
    home, _ = home_of(tmp_path)
    spec = spec_of(delta={"uri": "p"})
    data = distinct(20)
    append(str(tmp_path / "p"), data.head(10).drop("x"), {})
    append(str(tmp_path / "p"), data.slice(10), {}, schema_mode="merge")
    assert load(spec, home).accepted == len(data)
    assert lake(spec, home)["f_x"].null_count() >= 10


def test_later_labels_are_later(table: tuple[MonitorSpec, Home, str, dict[str, str]]) -> None:
    """Revisions of labels that lie in the table when it is first read: the one that was written last counts."""
    spec, home, uri, options = table
    assert spec.sources.inferences is not None
    both = spec_of("labels", **spec.sources.inferences.model_dump(exclude_none=True))
    paths = home.monitor("m")
    paths.landing_inferences.mkdir(parents=True)
    rows(1).write_parquet(paths.landing_inferences / "a.parquet")
    intake(both, paths, "inferences", home)
    for revision in range(12):
        append(uri, pl.DataFrame({"id": ["id-0"], "y": [revision % 2 if revision < 11 else 1]}), options)
    append(uri, pl.DataFrame({"id": ["id-0"], "y": [0]}), options)
    load(both, home, "labels")
    assert lake(both, home, "labels").sort("revision_order")["label_value"].to_list()[-1] == 0.0


def mark_deleted(folder: Path, row: int) -> None:
    """Commit that a row of the only file is deleted, as Spark does with deletion vectors: the file stays as it is."""
    log = sorted((folder / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for file in log for line in file.read_text().splitlines()]
    [add] = [action["add"] for action in actions if "add" in action]
    bitmap = struct.pack("<IIHHIH", 12346, 1, 0, 0, 16, row)
    held = struct.pack("<IQI", 1681511377, 1, 0) + bitmap
    vector = {"storageType": "i", "pathOrInlineDv": z85(held), "sizeInBytes": len(held), "cardinality": 1}
    gone = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True, "partitionValues": {}, "size": add["size"]}
    told = {"operation": "DELETE", "operationMetrics": {"numDeletedRows": "1"}}
    lines = [{"commitInfo": told}, {"remove": gone}, {"add": {**add, "deletionVector": vector}}]
    (folder / "_delta_log" / f"{len(log):020d}.json").write_text("\n".join(map(json.dumps, lines)))


def z85(data: bytes) -> str:
    signs = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    text = ""
    data += bytes(-len(data) % 4)
    for start in range(0, len(data), 4):
        number = int.from_bytes(data[start : start + 4], "big")
        text += "".join(signs[number // 85**power % 85] for power in range(4, -1, -1))
    return text


@pytest.mark.parametrize("first", ["delete", "read"])
def test_rows_marked_as_deleted(tmp_path: Path, first: str) -> None:
    """What was deleted before the first look is not loaded; what is deleted later stays, and is counted."""
    (tmp_path / "link").symlink_to(tmp_path / "real")
    home, _ = home_of(tmp_path)
    spec, data = spec_of(delta={"uri": "link/p"}), distinct(10)
    write_deltalake(tmp_path / "real" / "p", data, configuration={"delta.enableDeletionVectors": "true"})
    if first == "read":
        assert load(spec, home).accepted == 10
    mark_deleted(tmp_path / "real" / "p", 3)
    report = load(spec, home)
    if first == "delete":
        assert ids(spec, home) == sorted(set(data["id"]) - {data["id"][3]})
        return
    assert (report.accepted, report.duplicates) == (0, 0)
    assert counts(spec, home)["files_with_deleted_rows"] == 1
    assert counts(spec, home)["rows_deleted_at_the_source"] == 1


ERRORS = {
    "no table": ({"uri": "nowhere"}, "there is no Delta table", "_delta_log"),
    "no bucket": ({"uri": "s3://no-such-bucket/p"}, "", "see whether the store is up"),
    "nobody listens": ({"uri": "s3://any/p", "store": {"endpoint": "http://127.0.0.1:1"}}, "", "see whether the store"),
    "no key": ({"uri": "s3://any/p", "store": {"access_key_env": "NO_SUCH"}}, "NO_SUCH is not set", "export NO_SUCH"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_place_and_the_fix_and_no_secret(store: Store, tmp_path: Path, case: str) -> None:
    changes, what, fix = ERRORS[case]
    home, paths = home_of(tmp_path)
    given: dict[str, Any] = {**changes}
    if given["uri"].startswith("s3://"):
        given["store"] = {**store.section, **given.get("store", {})}
    found = fetch_new(spec_of(delta=given), paths, "inferences", home)
    assert found is not None
    assert found.problem is not None
    assert what in found.problem.what
    assert fix in (found.problem.fix or "") or "no Delta table" in found.problem.what
    assert SECRET not in str(found.problem)
    assert not files_holding(tmp_path, SECRET)


def test_columns_are_shown(table: tuple[MonitorSpec, Home, str, dict[str, str]]) -> None:
    spec, home, uri, options = table
    append(uri, distinct(5), options)
    found = columns_found(spec, "inferences", home)
    assert found is not None
    assert list(found[1]) == rows(5).columns


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("x", pl.String, "x"),
        ("", pl.Int64, None),
        (None, pl.String, None),
        ("7", pl.Int32, 7),
        ("true", pl.Boolean, True),
        ("2026-01-05", pl.Date, date(2026, 1, 5)),
        ("2026-01-05 10:00:00.5", pl.Datetime("us"), datetime(2026, 1, 5, 10, 0, 0, 500_000)),
        ("2026-01-05T10:00:00Z", pl.Datetime("us"), datetime(2026, 1, 5, 10)),
    ],
)
def test_values_of_partitions_have_their_columns_type(text: str | None, dtype: Any, value: object) -> None:
    assert typed(text, dtype).item() == value
