"""From files, segments and tables to the lake: what is loaded, what is refused, and that nothing is lost or counted twice."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

sys.path.append(str(Path(__file__).parents[1]))
from lake_support import START, land, make_paths, make_spec, rows, tables

from sightline.errors import SightlineError
from sightline.lake import intake, label_windows_waiting, list_batches, peek_windows, pending, scan_lake
from sightline.lake.ledger import open_ledger
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.model import Columns, Feature, Labels, Model, Source, Sources

DAY = timedelta(days=1)


def quarantine(root: Path) -> pl.DataFrame:
    return pl.concat(map(pl.read_parquet, sorted(make_paths(root)[1].quarantine.glob("*.parquet"))))


def ledger_adds_up(root: Path) -> None:
    with open_ledger(make_paths(root)[1].ledger) as ledger:
        bad = ledger.con.execute(
            "SELECT path FROM batches WHERE n_rows <> n_accepted + n_duplicate + n_rejected + n_unmatched"
        ).fetchall()
    assert bad == []


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.ndjson"])
def test_a_file_of_any_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    home, paths = make_paths(tmp_path)
    data = rows(500)
    land(paths.landing_inferences, name, data)
    report = intake(make_spec(), paths, "inferences", home)
    assert report.accepted == 500
    assert report.quarantined_by_reason == {}
    assert report.windows == {"2026-01-05": 206, "2026-01-06": 206, "2026-01-07": 88}
    lake = scan_lake(make_spec(), paths, "inferences").collect().sort("row_number")
    assert lake["prediction_id"].to_list() == data["id"].to_list()
    assert lake["f_x"].to_list() == pytest.approx(data["x"].to_list(), abs=0)
    assert lake["f_c"].to_list() == lake["g_c"].to_list() == data["c"].to_list()
    assert lake["predicted_at"].to_list() == data["ts"].to_list()
    assert lake["is_error"].any() is False
    assert lake["weight"].unique().to_list() == [1.0]
    assert lake["row_number"].to_list() == list(range(500))


@pytest.mark.parametrize("n", [10, 5000])
@pytest.mark.parametrize("entity", [None, "who"])
def test_bucket_is_the_first_byte_of_md5(tmp_path: Path, n: int, entity: str | None) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(columns=make_spec().columns.model_copy(update={"entity_id": entity}))
    land(
        paths.landing_inferences,
        "a.parquet",
        rows(n, every=timedelta(seconds=1)).with_columns(who=pl.format("é{}", pl.int_range(n) % 97)),
    )
    assert intake(spec, paths, "inferences", home).accepted == n
    lake = scan_lake(spec, paths, "inferences").collect()
    units = lake["entity_id" if entity else "prediction_id"]
    assert lake["bucket"].to_list() == [hashlib.md5(unit.encode()).digest()[0] % 64 for unit in units]


def test_loading_again_changes_nothing(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    file = land(paths.landing_inferences, "a.parquet", rows(300))
    intake(spec, paths, "inferences", home)
    before = tables(spec, paths)
    assert pending(spec, paths, "inferences", home) == []
    assert intake(spec, paths, "inferences", home).batches == []
    assert tables(spec, paths)["inferences"].equals(before["inferences"])
    os.utime(file)  # touched: another batch, the same rows
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates, report.windows, report.quarantined_by_reason) == (0, 300, {}, {})
    assert tables(spec, paths)["inferences"].equals(before["inferences"])
    ledger_adds_up(tmp_path)


def test_a_growing_file_adds_its_new_rows_only(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    land(paths.landing_inferences, "a.csv", rows(300).head(100), START + 20 * DAY)
    intake(spec, paths, "inferences", home)
    land(paths.landing_inferences, "a.csv", rows(300), START + 21 * DAY)
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates, report.quarantined_by_reason) == (200, 100, {})


def test_repeats_and_conflicts_are_quarantined(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    data = rows(10)
    land(paths.landing_inferences, "a.parquet", pl.concat([data, data.head(2)]), START + 20 * DAY)
    land(
        paths.landing_inferences,
        "b.parquet",
        data.head(3).with_columns(x=pl.col("x") + pl.Series([0.0, 0.0, 1.0])),
        START + 21 * DAY,
    )
    other_version = data.head(4).with_columns(version=pl.lit("v2"))
    land(paths.landing_inferences, "c.parquet", other_version, START + 22 * DAY)
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates) == (14, 5)
    assert report.quarantined_by_reason == {"duplicate": 4, "conflicting_duplicate": 1}
    conflict = quarantine(tmp_path).filter(pl.col("reason") == "conflicting_duplicate").row(0, named=True)
    assert conflict["prediction_id"] == "id-2"
    assert json.loads(conflict["payload"])["f_x"] == pytest.approx(data["x"][2] + 1.0)
    lake = scan_lake(spec, paths, "inferences").filter(pl.col("prediction_id") == "id-2").collect()
    assert lake["f_x"].to_list() == [data["x"][2]] * 2  # the first one wins, in both versions
    ledger_adds_up(tmp_path)


def test_bad_rows_and_values(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    received = START + 5 * DAY
    bad = [
        {"id": None, "ts": "2026-01-06T00:00:00Z"},
        {"id": "", "ts": "2026-01-06T00:00:00Z"},
        {"id": "no-time", "ts": None},
        {"id": "bad-time", "ts": "yesterday"},
        {"id": "too-early", "ts": "2025-12-31T00:00:00Z"},
        {"id": "too-late", "ts": "2026-01-12T00:00:01Z"},
    ]
    good = [
        {"id": "ok", "ts": "2026-01-06T00:00:00Z", "p": 0.5, "x": 1, "c": "red"},
        {"id": "values", "ts": "2026-01-06T00:00:00Z", "p": 1.5, "x": "wide", "c": 7, "extra": 1},
        {"id": "skewed", "ts": "2026-01-11T00:00:00Z", "p": None, "x": None, "c": None},
    ]
    file = paths.landing_inferences / "a.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*bad, *good]) + '{"id": "cut off", "ts"')
    os.utime(file, (received.timestamp(), received.timestamp()))
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.rejected, report.value_issues) == (3, 7, 2)
    found = quarantine(tmp_path)
    by_reason = found.filter(pl.col("severity") == "row").group_by("reason").len().rows()
    assert dict(by_reason) == {
        "missing_id": 2,
        "missing_timestamp": 1,
        "bad_timestamp": 1,
        "timestamp_out_of_range": 2,
        "corrupt_record": 1,
    }
    values = (
        found.filter(pl.col("severity") == "value")
        .select("prediction_id", "column", "reason", "value")
        .sort("column")
        .rows()
    )
    assert values == [("values", "p", "score_out_of_range", "1.5"), ("values", "x", "bad_type", "wide")]
    notes = found.filter(pl.col("severity") == "note").select("column", "reason").sort("column").rows()
    assert notes == [("extra", "unknown_column"), ("version", "missing_column")]
    payloads = {
        json.loads(p)["id"]
        for p in found.filter(pl.col("reason").is_in(["bad_timestamp", "missing_timestamp"]))["payload"]
    }
    assert payloads == {"no-time", "bad-time"}
    lake = scan_lake(make_spec(), paths, "inferences").collect().sort("prediction_id")
    assert lake.select("prediction_id", "score", "f_x", "f_c", "model_version").rows() == [
        ("ok", 0.5, 1.0, "red", "unversioned"),
        ("skewed", None, None, None, "unversioned"),
        ("values", None, None, "7", "unversioned"),
    ]
    ledger_adds_up(tmp_path)


def test_broken_files_stop_nobody_and_are_tried_again_when_they_change(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    whole = land(paths.landing_inferences, "whole.parquet", rows(10)).read_bytes()
    (paths.landing_inferences / "half.parquet").write_bytes(whole[: len(whole) // 2])
    (paths.landing_inferences / "empty.csv").write_bytes(b"")
    (paths.landing_inferences / "notes.txt").write_text("hello")
    (paths.landing_inferences / "other.csv").write_text("a,b\n1,2\n")
    (paths.landing_inferences / "bad.ndjson.gz").write_bytes(b"no gzip")
    for name in ("written.parquet.tmp", "fetched.csv.part", ".hidden.parquet", "_SUCCESS"):
        (paths.landing_inferences / name).write_bytes(b"unfinished")
    report = intake(spec, paths, "inferences", home)
    assert report.accepted == 10
    assert report.quarantined_by_reason == {"unreadable_file": 3, "unsupported_format": 1, "missing_column": 1}
    messages = quarantine(tmp_path).filter(pl.col("source").str.ends_with("other.csv"))
    assert "'id'" in messages["payload"][0]
    assert "'a', 'b'" in messages["payload"][0]
    assert pending(spec, paths, "inferences", home) == []
    land(paths.landing_inferences, "half.parquet", rows(20))
    assert intake(spec, paths, "inferences", home).accepted == 10
    mended = make_spec(columns=make_spec().columns.model_copy(update={"prediction_id": "a", "timestamp": "b"}))
    assert "other.csv" in {Path(batch.path).name for batch in pending(mended, paths, "inferences", home)}


def test_compressed_text_and_json_arrays(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    data = rows(30)
    (paths.landing_inferences / "a.csv.gz").write_bytes(gzip.compress(data.slice(0, 10).write_csv().encode()))
    (paths.landing_inferences / "b.ndjson.gz").write_bytes(gzip.compress(data.slice(10, 10).write_ndjson().encode()))
    (paths.landing_inferences / "c.json").write_text(data.slice(20, 10).write_json())
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.quarantined_by_reason) == (30, {})


def test_large_files_are_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.lake.read.read_chunks.__defaults__", (97,))
    monkeypatch.setattr(sys.modules["sightline.lake.intake"], "COMMIT_ROWS", 200)
    home, paths = make_paths(tmp_path)
    data = pl.concat([rows(1000), rows(50)])
    for name in ("a.parquet", "b.csv", "c.ndjson"):
        land(paths.landing_inferences, name, data)
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.duplicates) == (1000, 3 * 1050 - 1000)
    lake = scan_lake(make_spec(), paths, "inferences").collect()
    assert lake.select("window_start", "prediction_id", "model_version").is_duplicated().any() is False
    ids = [f"id-{i}" for i in range(1100)] * 2
    land(paths.landing_labels, "a.parquet", pl.DataFrame({"id": ids, "y": [1] * 1100 + [0] * 1100}))
    report = intake(make_spec(), paths, "labels", home)
    assert (report.accepted, report.unmatched, report.quarantined_by_reason) == (2000, 200, {"conflicting_label": 1000})
    current = scan_lake(make_spec(), paths, "labels").sort("revision_order").group_by("prediction_id").last().collect()
    assert current["label_value"].to_list() == [0.0] * 1000
    ledger_adds_up(tmp_path)


def test_a_large_file_that_breaks_in_the_middle_is_refused_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.lake.read.read_chunks.__defaults__", (100,))
    home, paths = make_paths(tmp_path)
    file = paths.landing_inferences / "a.parquet"
    rows(1000).write_parquet(file, row_group_size=100, compression="uncompressed", statistics=False)
    raw = bytearray(file.read_bytes())
    middle = len(raw) // 2
    raw[middle : middle + 2000] = b"\xff" * 2000
    file.write_bytes(raw)
    land(paths.landing_inferences, "b.parquet", rows(10, first=5000))
    report = intake(make_spec(), paths, "inferences", home)
    assert report.accepted == 10
    assert report.quarantined_by_reason == {"unreadable_file": 1}
    assert list(paths.lake.rglob(".*.tmp")) == []


def test_parquet_glob_and_duckdb_table_as_sources(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    (tmp_path / "warm" / "deep").mkdir(parents=True)
    data = rows(30)
    land(tmp_path / "warm" / "deep", "a.parquet", data.head(10))
    with duckdb.connect(str(tmp_path / "app.duckdb")) as con:
        con.register("data", data.slice(10, 10).to_arrow())
        con.execute('CREATE TABLE "Odd name" AS SELECT * FROM data')
    sources = Sources(inferences=Source(parquet="warm/**/*.parquet", duckdb="app.duckdb", table='"Odd name"'))
    spec = make_spec(sources=sources)
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates) == (20, 0)
    with duckdb.connect(str(tmp_path / "app.duckdb")) as con:
        con.register("data", data.slice(20, 10).to_arrow())
        con.execute('INSERT INTO "Odd name" SELECT * FROM data')
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.duplicates, report.quarantined_by_reason) == (10, 10, {})


def test_absent_sources_say_what_to_do(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    with pytest.raises(SightlineError, match=r"(?s)no DuckDB file gone\.duckdb.*fix"):
        list_batches(make_spec(sources=Sources(labels=Source(duckdb="gone.duckdb", table="t"))), paths, "labels", home)
    with duckdb.connect(str(tmp_path / "app.duckdb")):
        pass
    report = intake(
        make_spec(sources=Sources(inferences=Source(duckdb="app.duckdb", table="t"))), paths, "inferences", home
    )
    assert report.quarantined_by_reason == {"unreadable_table": 1}


def test_segments_of_all_kinds(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    received = START + DAY
    events = [
        InferenceEvent(id="a", features={"x": 1, "c": "red"}, score=0.25, status=503, latency_ms=12.5, entity="me"),
        InferenceEvent(id="b", at=START, version="v2", features={"x": float("nan"), "c": 5, "new": 1}, prediction=True),
        InferenceEvent(id="c", at=START, features={"x": "text"}, status="OK", latency_ms=-1.0, weight=0.0),
        InferenceEvent(id="d", at=START - DAY, features={}),
    ]
    with SegmentWriter(paths.log, "m", "inferences") as log:
        log.append(events, received_at=received)
    with SegmentWriter(paths.log, "m", "rejected") as log:
        log.append(
            [RejectedEvent(kind="labels", reason="missing_label", id="z", at=START, payload="{}")], received_at=received
        )
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.rejected, report.value_issues) == (3, 2, 4)
    lake = scan_lake(make_spec(), paths, "inferences").collect().sort("prediction_id")
    picked = [
        "prediction_id",
        "predicted_at",
        "model_version",
        "entity_id",
        "score",
        "predicted_class",
        "is_error",
        "status",
        "latency_ms",
        "f_x",
        "f_c",
    ]
    midnight = START.replace(tzinfo=None)
    assert lake.select(picked).rows() == [
        ("a", midnight + DAY, "unversioned", "me", 0.25, None, True, "503", 12.5, 1.0, "red"),
        ("b", midnight, "v2", None, None, "1", False, None, None, None, "5"),
        ("c", midnight, "unversioned", None, None, None, False, "OK", None, None, None),
    ]
    found = quarantine(tmp_path)
    assert set(found.select("kind", "reason").rows()) == {
        ("inferences", "timestamp_out_of_range"),
        ("inferences", "not_finite"),
        ("inferences", "bad_type"),
        ("inferences", "negative"),
        ("inferences", "bad_weight"),
        ("inferences", "unknown_column"),
        ("labels", "missing_label"),
    }
    assert report.windows["2026-01-05"] == 2


def test_a_damaged_segment_gives_its_sound_frames(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    with SegmentWriter(paths.log, "m", "inferences") as log:
        for i in range(10):
            log.append([InferenceEvent(id=f"{i}", at=START, features={"x": 1.0, "c": "red"})], received_at=START)
    (segment,) = (paths.log / "sealed").glob("*.seg")
    raw = bytearray(segment.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    segment.write_bytes(raw)
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.rejected) == (9, 1)
    assert report.quarantined_by_reason["corrupt_record"] == 1


def test_labels_before_after_and_without_inferences(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    truth = pl.DataFrame({"id": ["id-0", "id-300", "never"], "y": [True, False, True]})
    land(paths.landing_labels, "early.parquet", truth, START + 3 * DAY)
    (batch,) = pending(spec, paths, "labels", home)
    assert peek_windows(spec, paths, batch, home) == set()
    assert intake(spec, paths, "labels", home).unmatched == 3
    assert label_windows_waiting(spec, paths) == set()
    land(paths.landing_inferences, "a.parquet", rows(400), START + 3 * DAY)
    intake(spec, paths, "inferences", home)
    assert label_windows_waiting(spec, paths) == {"2026-01-05", "2026-01-06"}
    report = intake(spec, paths, "labels", home)
    assert (report.windows, report.accepted) == ({"2026-01-05": 1, "2026-01-06": 1}, 2)
    assert label_windows_waiting(spec, paths) == set()
    labels = scan_lake(spec, paths, "labels").collect().sort("prediction_id")
    assert labels.select("prediction_id", "label_class", "label_value").rows() == [
        ("id-0", "1", 1.0),
        ("id-300", "0", 0.0),
    ]
    assert labels["predicted_at"].to_list() == rows(400)["ts"].gather([0, 300]).to_list()
    assert scan_lake(spec, paths, "unmatched").collect()["prediction_id"].to_list() == ["never"]
    ledger_adds_up(tmp_path)


def test_every_revision_is_kept_and_repeats_are_not(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(labels=Labels(column="y", observed_at="seen"))
    land(paths.landing_inferences, "a.parquet", rows(5))
    intake(spec, paths, "inferences", home)
    seen = (START + 2 * DAY).replace(tzinfo=None)
    for number, value in enumerate([0, 0, 1, 0]):
        frame = pl.DataFrame({"id": ["id-0"], "y": [value], "seen": [seen + number * DAY]})
        land(paths.landing_labels, f"{number}.parquet", frame, START + (5 + number) * DAY)
    report = intake(spec, paths, "labels", home)
    assert (report.accepted, report.duplicates) == (3, 1)
    assert report.quarantined_by_reason == {"duplicate": 1, "conflicting_label": 2}
    labels = scan_lake(spec, paths, "labels").collect().sort("revision_order")
    assert labels["label_value"].to_list() == [0.0, 1.0, 0.0]
    assert labels["revision_order"].is_unique().all()
    os.utime(paths.landing_labels / "2.parquet")  # an old file delivered again does not bring its value back
    assert intake(spec, paths, "labels", home).duplicates == 1
    assert scan_lake(spec, paths, "labels").collect().sort("revision_order")["label_value"].to_list() == [0.0, 1.0, 0.0]
    conflicts = quarantine(tmp_path).filter(pl.col("reason") == "conflicting_label")
    assert conflicts["value"].to_list() == ["0 -> 1", "1 -> 0"]


def test_a_hint_decides_between_windows_else_the_latest_before_the_truth(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(labels=Labels(column="y", give_up_after=timedelta(days=2)))
    for day in range(5):
        land(paths.landing_inferences, f"{day}.parquet", rows(1, start=START + day * DAY), START + day * DAY)
    intake(spec, paths, "inferences", home)
    with SegmentWriter(paths.log, "m", "labels") as log:
        log.append(
            [LabelEvent(id="id-0", value=1, at=START + 9 * DAY, predicted_at=START + 1 * DAY)],
            received_at=START + 9 * DAY,
        )
        log.append([LabelEvent(id="id-0", value=0, at=START + 2.5 * DAY)], received_at=START + 3 * DAY)
        log.append([LabelEvent(id="id-0", value=1)], received_at=START + 30 * DAY)
        log.append([LabelEvent(id="id-0", value=1, predicted_at=START + 200 * DAY)], received_at=START + 31 * DAY)
    report = intake(spec, paths, "labels", home)
    assert report.windows == {"2026-01-06": 1, "2026-01-07": 1, "2026-01-09": 1}
    assert report.duplicates == 1


def test_bad_labels(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(model=Model(id="m", task="regression"), labels=Labels(column="y"))
    land(paths.landing_inferences, "a.parquet", rows(5))
    intake(spec, paths, "inferences", home)
    lines = [
        {"id": "id-0", "y": 1.5},
        {"id": "id-1", "y": "x"},
        {"id": "id-2", "y": None},
        {"id": None, "y": 1},
        {"id": "id-3", "y": 3},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"id": "id-4", "y": NaN}\n'
    (paths.landing_labels / "a.ndjson").write_text(text)
    report = intake(spec, paths, "labels", home)
    assert (report.accepted, report.rejected) == (2, 4)
    assert report.quarantined_by_reason == {"bad_label": 1, "missing_label": 1, "missing_id": 1, "label_not_finite": 1}
    assert sorted(scan_lake(spec, paths, "labels").collect()["label_value"].to_list()) == [1.5, 3.0]
    ledger_adds_up(tmp_path)


@pytest.mark.parametrize(
    ("positive", "values", "expected"),
    [
        (1, [1, 0], ["1", "0"]),
        (1, [True, False], ["1", "0"]),
        (1, [1.0, 0.0], ["1", "0"]),
        (True, [1, 0], ["true", "false"]),
        ("bad", ["bad", "good"], ["bad", "good"]),
        ("0", [0, 1], ["0", "1"]),
    ],
)
def test_the_positive_class_is_found_in_any_spelling(
    tmp_path: Path, positive: Any, values: list[Any], expected: list[str]
) -> None:
    home, paths = make_paths(tmp_path)
    columns = make_spec().columns.model_copy(update={"prediction": "said"})
    spec = make_spec(labels=Labels(column="y", positive=positive), columns=columns)
    land(paths.landing_inferences, "a.parquet", rows(2).with_columns(said=pl.Series(values)))
    intake(spec, paths, "inferences", home)
    land(paths.landing_labels, "a.parquet", pl.DataFrame({"id": ["id-0", "id-1"], "y": values}))
    intake(spec, paths, "labels", home)
    labels = scan_lake(spec, paths, "labels").collect().sort("prediction_id")
    assert labels.select("label_class", "label_value").rows() == list(zip(expected, [1.0, 0.0], strict=True))
    assert scan_lake(spec, paths, "inferences").collect().sort("prediction_id")["predicted_class"].to_list() == expected


def test_multiclass_takes_the_most_probable_class(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(
        model=Model(id="m", task="multiclass_classification"),
        columns=Columns(prediction_id="id", timestamp="ts", prediction="said", class_scores={"a": "pa", "b": "pb"}),
    )
    data = (
        rows(4)
        .select("id", "ts")
        .with_columns(
            pa=pl.Series([0.7, 0.5, 1.5, 0.1]),
            pb=pl.Series([0.3, 0.5, 0.5, 0.9]),
            said=pl.Series([None, None, None, "a"]),
        )
    )
    land(paths.landing_inferences, "a.parquet", data)
    intake(spec, paths, "inferences", home)
    lake = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
    assert lake["predicted_class"].to_list() == ["a", "a", None, "a"]
    assert lake["p_a"].to_list() == [0.7, 0.5, None, 0.1]


def test_awkward_names_hourly_and_weekly_windows(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    names = {
        'say "hi"': Feature(kind="numeric"),
        "select": Feature(kind="boolean"),
        "größe, m": Feature(kind="numeric"),
        "it's": Feature(kind="datetime"),
    }
    data = rows(3, every=timedelta(hours=30)).with_columns(
        pl.lit(1).alias('say "hi"'),
        pl.lit(True).alias("select"),
        pl.lit(2.5).alias("größe, m"),
        pl.lit("2026-01-01").alias("it's"),
    )
    for schedule, keys in (("hourly", {"2026-01-05-00", "2026-01-06-06", "2026-01-07-12"}), ("weekly", {"2026-01-05"})):
        paths = home.monitor(schedule)
        paths.landing_inferences.mkdir(parents=True)
        spec = make_spec(
            schedule=schedule, columns=Columns(prediction_id="id", timestamp="ts", features=names, segments=("select",))
        )
        land(paths.landing_inferences, "a.csv", data)
        (batch,) = list_batches(spec, paths, "inferences", home)
        assert peek_windows(spec, paths, batch, home) == keys
        assert set(intake(spec, paths, "inferences", home).windows) == keys
        lake = scan_lake(spec, paths, "inferences").collect()
        assert lake.select('f_say "hi"', "f_select", "f_größe, m", "f_it's", "g_select").row(0) == (
            1.0,
            True,
            2.5,
            datetime(2026, 1, 1),
            "true",
        )


def test_peek_names_the_windows_that_intake_touches(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    data = rows(600)
    land(paths.landing_inferences, "a.parquet", data.slice(0, 200))
    land(paths.landing_inferences, "b.csv", data.slice(200, 200))
    land(
        paths.landing_inferences,
        "c.ndjson",
        data.slice(400, 200).with_columns(ts=pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
    )
    with SegmentWriter(paths.log, "m", "inferences") as log:
        log.append(
            [InferenceEvent(id="e", at=START + 9 * DAY), InferenceEvent(id="f", at=START - 9 * DAY)],
            received_at=START + 9 * DAY,
        )
    for batch in pending(spec, paths, "inferences", home):
        peeked = peek_windows(spec, paths, batch, home)
        assert peeked == set(intake(spec, paths, "inferences", home, [batch]).windows)


def test_two_loaders_do_not_run_at_once_and_a_lost_ledger_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(5))
    intake(make_spec(), paths, "inferences", home)
    monkeypatch.setattr("sightline.lake.store.lake_lock.__wrapped__.__defaults__", (0.1,))
    with (paths.root / ".lake.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(SightlineError, match="another process is loading"):
            intake(make_spec(), paths, "inferences", home)
    paths.ledger.unlink()
    with pytest.raises(SightlineError, match=r"(?s)the ledger that lists it is empty.*restore the ledger"):
        intake(make_spec(), paths, "inferences", home)
    paths.ledger.write_bytes(b"this is no database, not at all" * 100)
    with pytest.raises(SightlineError, match="the ledger cannot be read"):
        intake(make_spec(), paths, "inferences", home)


def test_naive_and_aware_times_agree(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    data = rows(3, every=timedelta(hours=1), start=datetime(2026, 1, 5, 22, tzinfo=UTC))
    aware = data.with_columns(pl.col("ts").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"))
    land(paths.landing_inferences, "a.parquet", aware)
    assert intake(make_spec(), paths, "inferences", home).windows == {"2026-01-05": 2, "2026-01-06": 1}
