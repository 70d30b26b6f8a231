"""Where rows come from: compressed and large files, globs, tables, sealed segments.

Also what sensors learn before intake.
"""

from __future__ import annotations

import gzip
import sys
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import list_batches, pending
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent, RejectedEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.data_sections import Source, Sources
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

DAY = timedelta(days=1)


def test_compressed_text_and_json_arrays(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    data = rows(30)
    (paths.landing_inferences / "a.csv.gz").write_bytes(gzip.compress(data.slice(0, 10).write_csv().encode()))
    (paths.landing_inferences / "b.ndjson.gz").write_bytes(gzip.compress(data.slice(10, 10).write_ndjson().encode()))
    (paths.landing_inferences / "c.json").write_text(data.slice(20, 10).write_json())
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.quarantined_by_reason) == (30, {})


def test_large_files_are_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.lake.intake.read.CHUNK_ROWS", 97)
    monkeypatch.setattr(sys.modules["sightline.lake.intake.load"], "COMMIT_ROWS", 200)
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
    monkeypatch.setattr("sightline.lake.intake.read.CHUNK_ROWS", 100)
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


def test_what_pandas_has_for_a_missing_category_is_none_when_it_is_logged(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    values = ["red", "NaN", float("nan"), None, "nan"]
    with SegmentWriter(paths.log, "m", "inferences") as log:
        events = [InferenceEvent(id=str(i), at=START, features={"c": v}) for i, v in enumerate(values)]
        log.append(events, received_at=START)
    land(paths.landing_inferences, "a.parquet", rows(1).with_columns(c=pl.lit("NaN")))
    report = intake(make_spec(), paths, "inferences", home)
    assert report.quarantined_by_reason["not_finite"] == 2
    lake = scan_lake(make_spec(), paths, "inferences").collect().sort("prediction_id")
    assert lake["f_c"].to_list() == ["red", None, None, None, "nan", "NaN"]  # a file's text is what it says


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
