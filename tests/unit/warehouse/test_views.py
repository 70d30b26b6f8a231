"""The raw views, the lake's life with a changing spec, and compaction."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.intake.load import intake
from sightline.lake.store.compaction import compact
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from sightline.spec.model import MonitorSpec
from sightline.warehouse import connect, prepare
from sightline.warehouse.views import CURRENT_LABELS
from tests.support.lake import START, land, load_all, make_paths, make_spec, mixed_traffic, rows, tables

DAY = timedelta(days=1)


def query(spec: MonitorSpec, paths: MonitorPaths, sql: str) -> list[tuple]:
    with connect(paths) as con:
        prepare(con, spec, paths)
        return con.sql(sql).fetchall()


def test_views_on_an_empty_lake(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    spec = make_spec()
    for view in ("inferences", "labels", "unmatched", "quarantine"):
        assert query(spec, paths, f"SELECT count(*) FROM raw.{view}") == [(0,)]
    with connect(paths) as con:
        names = [row[0] for row in con.sql("DESCRIBE raw.inferences").fetchall()]
    assert names[:3] == ["prediction_id", "predicted_at", "window_start"]
    assert names[-4:] == ["f_x", "f_c", "g_c", "window_key"]
    assert not paths.ledger.exists()


def test_the_current_label_is_the_one_observed_last_then_received_last() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA raw")
        con.execute(
            """CREATE TABLE raw.labels AS SELECT * REPLACE (nullif(label_class, 'back') AS label_class),
                received_at AS observed_at, label_class = 'back' AS is_retracted FROM (VALUES
            ('2026-01-05', TIMESTAMP '2026-01-05', 'revised', 'no', 1.0, TIMESTAMP '2026-01-05 10:00:00', 1),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'revised', 'yes', 2.0, TIMESTAMP '2026-02-20 00:00:00', 7),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'repeated', 'no', 1.0, TIMESTAMP '2026-01-05 11:00:00', 2),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'repeated', 'no', 1.0, TIMESTAMP '2026-01-05 12:00:00', 3),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'older came last', 'yes', 2.0, TIMESTAMP '2026-01-08', 4),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'older came last', 'no', 1.0, TIMESTAMP '2026-01-07', 8),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'at one time', 'yes', 2.0, TIMESTAMP '2026-01-07', 6),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'at one time', 'no', 1.0, TIMESTAMP '2026-01-07', 5),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'taken back', 'yes', 2.0, TIMESTAMP '2026-01-07', 10),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'taken back', 'back', NULL, TIMESTAMP '2026-01-08', 11),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'set anew', 'back', NULL, TIMESTAMP '2026-01-06', 12),
            ('2026-01-05', TIMESTAMP '2026-01-05', 'set anew', 'yes', 2.0, TIMESTAMP '2026-01-07', 13),
            ('2026-01-06', TIMESTAMP '2026-01-06', 'revised', 'no', 1.0, TIMESTAMP '2026-01-06 10:00:00', 9)
            ) AS given(window_key, window_start, prediction_id, label_class, label_value, received_at,
                     revision_order)"""
        )
        found = con.sql(f"SELECT * FROM ({CURRENT_LABELS}) WHERE window_key = '2026-01-05' ORDER BY prediction_id")
        assert [row[2:] for row in found.fetchall()] == [
            ("at one time", "yes", 2.0, datetime(2026, 1, 7), 2),
            ("older came last", "yes", 2.0, datetime(2026, 1, 7), 2),
            ("repeated", "no", 1.0, datetime(2026, 1, 5, 11), 1),
            ("revised", "yes", 2.0, datetime(2026, 1, 5, 10), 2),
            ("set anew", "yes", 2.0, datetime(2026, 1, 7), 1),
        ]


def test_views_show_the_lake(tmp_path: Path) -> None:
    mixed_traffic(tmp_path)
    load_all(tmp_path)
    _, paths = make_paths(tmp_path)
    spec = make_spec()
    found = tables(spec, paths)
    for view in ("inferences", "labels", "unmatched", "quarantine"):
        assert query(spec, paths, f"SELECT count(*) FROM raw.{view}") == [(len(found[view]),)]
    days = query(
        spec,
        paths,
        "SELECT window_key, count(*) FROM raw.inferences WHERE strftime(window_start, '%Y-%m-%d') = window_key GROUP "
        "BY 1 ORDER BY 1",
    )
    assert len(days) == 7
    assert sum(n for _, n in days) == len(found["inferences"])


@pytest.mark.parametrize(
    "condition",
    [
        "window_key = '2026-01-06'",
        "window_key BETWEEN '2026-01-06' AND '2026-01-06'",
        "window_key IN ('2026-01-06')",
        "window_key IN (SELECT '2026-01-06')",
    ],
)
def test_only_the_files_of_the_window_are_opened(tmp_path: Path, condition: str) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(2000))
    intake(make_spec(), paths, "inferences", home)
    plan = query(make_spec(), paths, f"EXPLAIN ANALYZE SELECT count(f_x) FROM raw.inferences WHERE {condition}")[0][1]
    assert re.findall(r"Total Files Read: (\d+)", plan) == ["1"]


def test_a_column_the_spec_gained_is_null_in_old_parts_until_the_next_intake_reads_it(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    old = make_spec()
    land(paths.landing_inferences, "a.parquet", rows(10).with_columns(z=pl.lit(7)))
    intake(old, paths, "inferences", home)
    query(old, paths, "SELECT 1")
    features = {**old.columns.features, "z": Feature(kind="numeric")}
    new = make_spec(columns=old.columns.model_copy(update={"features": features}))
    assert query(new, paths, "SELECT count(*), count(f_z) FROM raw.inferences") == [(10, 0)]
    land(paths.landing_inferences, "b.parquet", rows(5, first=100).with_columns(z=pl.lit(7)))
    intake(new, paths, "inferences", home)
    assert query(new, paths, "SELECT count(*), count(f_z) FROM raw.inferences WHERE window_key = '2026-01-05'") == [
        (15, 15)
    ]
    assert scan_lake(new, paths, "inferences").collect()["f_z"].null_count() == 0
    assert query(old, paths, "SELECT count(*), count(f_x) FROM raw.inferences") == [(15, 15)]
    compact(new, paths, everything=True)
    assert query(new, paths, "SELECT count(*), count(f_z) FROM raw.inferences") == [(15, 15)]


def test_a_column_that_changed_its_kind_is_cast(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    old = make_spec(columns=Columns(prediction_id="id", timestamp="ts", features={"x": Feature(kind="categorical")}))
    land(paths.landing_inferences, "a.ndjson", rows(3).with_columns(x=pl.Series(["1", "2.5", "wide"])))
    intake(old, paths, "inferences", home)
    new = make_spec(columns=Columns(prediction_id="id", timestamp="ts", features={"x": Feature(kind="numeric")}))
    assert query(new, paths, "SELECT f_x FROM raw.inferences ORDER BY row_number") == [(1.0,), (2.5,), (None,)]
    assert scan_lake(new, paths, "inferences").collect().sort("row_number")["f_x"].to_list() == [1.0, 2.5, None]
    land(paths.landing_inferences, "b.parquet", rows(3, first=10))
    with pytest.raises(SightlineError, match=r"features\.x was categorical, is numeric\n.*sightline migrate"):
        intake(new, paths, "inferences", home)
    assert query(new, paths, "SELECT count(f_x) FROM raw.inferences") == [(2,)]


def test_a_dropped_column_survives_compaction(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    old = make_spec()
    land(paths.landing_inferences, "a.parquet", rows(5))
    intake(old, paths, "inferences", home)
    fewer = make_spec(
        columns=old.columns.model_copy(update={"features": {"x": Feature(kind="numeric")}, "segments": ()})
    )
    land(paths.landing_inferences, "b.parquet", rows(5, first=10))
    intake(fewer, paths, "inferences", home)
    assert compact(fewer, paths, everything=True) == 1
    assert query(fewer, paths, "SELECT count(*), count(f_x) FROM raw.inferences") == [(10, 10)]
    assert query(old, paths, "SELECT count(*), count(f_c) FROM raw.inferences") == [(10, 5)]


def test_many_small_loads_leave_few_parts_and_the_same_rows(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    data = rows(200, every=timedelta(seconds=5))
    for i in range(40):
        land(paths.landing_inferences, f"{i:03d}.parquet", data.slice(5 * i, 5), START + DAY + timedelta(minutes=i))
        intake(spec, paths, "inferences", home)
    with open_ledger(paths.ledger) as ledger:
        parts = ledger.parts("inferences")
    assert len(parts) <= 14
    assert sorted(p.name for p in paths.lake.rglob("*.parquet")) == sorted(Path(part.path).name for part in parts)
    before = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
    assert before["prediction_id"].to_list() == sorted(data["id"].to_list())
    assert compact(spec, paths, everything=True) == len(parts) - 1
    assert_frame_equal(scan_lake(spec, paths, "inferences").collect().sort("prediction_id"), before)
    assert compact(spec, paths, everything=True) == 0
    land(paths.landing_inferences, "again.parquet", data)
    assert intake(spec, paths, "inferences", home).duplicates == 200


def test_compaction_of_everything_keeps_every_table(tmp_path: Path) -> None:
    mixed_traffic(tmp_path)
    load_all(tmp_path)
    _, paths = make_paths(tmp_path)
    before = tables(make_spec(), paths)
    assert compact(make_spec(), paths, everything=True) > 0
    after = tables(make_spec(), paths)
    for name, frame in before.items():
        assert_frame_equal(after[name], frame)


def test_a_locked_warehouse_is_waited_for(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    with connect(paths) as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS a")
    code = (
        f"import duckdb, sys; con = duckdb.connect({str(paths.warehouse)!r}); print('held', flush=True); "
        "sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(SightlineError, match=r"(?s)cannot be opened.*notebook"), connect(paths, patience_s=0.2):
        pass
    threading.Timer(0.3, holder.stdin.close).start()
    with connect(paths, read_only=True) as con:
        assert con.sql("SELECT a FROM t").fetchall() == [(1,)]
    holder.wait(timeout=30)


def test_reading_without_a_warehouse_says_so(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    with pytest.raises(SightlineError, match="no warehouse yet"), connect(paths, read_only=True):
        pass
    paths.warehouse.write_bytes(b"no database" * 1000)
    with pytest.raises(SightlineError, match="made again from the lake"), connect(paths):
        pass


def test_the_connection_is_closed_and_in_utc(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    with connect(paths) as con:
        assert con.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    with pytest.raises(duckdb.ConnectionException):
        con.sql("SELECT 1").fetchall()
