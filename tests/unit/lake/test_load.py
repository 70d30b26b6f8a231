"""From files, segments and tables to the lake.

What is loaded, what is refused, and that nothing is lost or counted twice.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import list_batches, pending
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns, Feature
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows, tables

DAY = timedelta(days=1)


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


def test_two_loaders_do_not_run_at_once_and_a_lost_ledger_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(5))
    intake(make_spec(), paths, "inferences", home)
    monkeypatch.setattr("sightline.lake.store.parts.LAKE_LOCK_SECONDS", 0.1)
    with (paths.root / ".lake.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(SightlineError, match="another process has held this lock"):
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


def test_columns_of_a_csv_of_a_spreadsheet_and_of_folders(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(
        columns=make_spec().columns.model_copy(
            update={"features": {"x": Feature(kind="numeric"), "c": Feature(kind="categorical")}}
        )
    )
    data = rows(6).with_columns(c=pl.lit("0123"))
    text = data.head(3).write_csv(separator=";", datetime_format="%Y-%m-%dT%H:%M:%S")
    (paths.landing_inferences / "a.csv").write_text("sep=;\n" + text)
    folder = paths.landing_inferences / "c=0456"
    folder.mkdir()
    data.tail(3).drop("c").write_parquet(folder / "b.parquet")
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.quarantined_by_reason) == (6, {})
    lake = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
    assert lake["f_c"].to_list() == ["0123"] * 3 + ["0456"] * 3
    assert lake["f_x"].to_list() == data["x"].to_list()


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
def test_numbers_that_a_double_cannot_tell_apart_are_noted_in_each_window(tmp_path: Path, suffix: str) -> None:
    home, paths = make_paths(tmp_path)
    apart = {"close": 1, "wide": 10**15, "small": 2.0**-60}
    for i, (name, step) in enumerate(apart.items()):
        base = 2**60 + 1 if step >= 1 else 0.5
        x = pl.Series([base + k * step for k in range(8)])
        data = rows(8, first=8 * i, every=timedelta(hours=6)).with_columns(x=x)
        land(paths.landing_inferences, f"{name}.{suffix}", data)
    report = intake(make_spec(), paths, "inferences", home)
    assert (report.accepted, report.rejected) == (24, 0)
    noted = quarantine(tmp_path).filter(severity="note").sort("source", "window_start")
    windows = [(START + k * DAY).replace(tzinfo=None) for k in range(2)]
    assert noted.select("column", "reason", "value", "window_start").rows() == [
        ("x", reason, "4 rows", start) for reason in ("imprecise_number", "rounded_number") for start in windows
    ]


def test_logged_numbers_that_a_double_cannot_tell_apart_are_noted(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    with SegmentWriter(paths.log, "m", "inferences") as log:
        values = [1.5, *(2**60 + k for k in range(7))]
        events = [InferenceEvent(id=f"p{k}", at=START, features={"x": x, "c": "red"}) for k, x in enumerate(values)]
        log.append(events, received_at=START)
    intake(make_spec(), paths, "inferences", home)
    noted = quarantine(tmp_path).filter(reason="imprecise_number")
    assert noted.select("column", "severity", "value").rows() == [("x", "note", "7 rows")]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
def test_texts_that_become_one_category_are_noted(tmp_path: Path, suffix: str) -> None:
    home, paths = make_paths(tmp_path)
    told = rows(6).with_columns(c=pl.Series(["1", "1.00", "1.0", "1e0", "01", "True"]))
    land(paths.landing_inferences, f"a.{suffix}", told)
    land(paths.landing_inferences, f"b.{suffix}", rows(2, first=6).with_columns(c=pl.Series(["2.0", "3.0"])))
    intake(make_spec(), paths, "inferences", home)
    lake = scan_lake(make_spec(), paths, "inferences").collect().sort("prediction_id")
    assert lake["f_c"].to_list() == ["1", "1", "1", "1e0", "01", "true", "2", "3"]
    noted = quarantine(tmp_path).filter(severity="note").sort("value")
    assert noted.select("column", "reason", "value").rows() == [
        ("c", "merged_categories", "'1.0' as '1'"),
        ("c", "merged_categories", "'1.00' as '1'"),
    ]
