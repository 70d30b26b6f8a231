"""Parquet with any zone and ids of any type are the same rows; a file that makes Polars panic stops no other."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow
import pyarrow.parquet
import pytest

from metrics_py import compare
from metrics_py.comparison.parquet_files import parquet_frame, parquet_frames
from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from tests.support.lake import land, make_paths, make_spec, rows

pa, pq = cast("Any", pyarrow), cast("Any", pyarrow.parquet)  # it has no types
N = 40


def spec() -> Any:
    kinds = {"x": Feature(kind="numeric"), "c": Feature(kind="categorical")}
    return make_spec(columns=Columns(prediction_id="id", timestamp="ts", score="p", features=kinds, entity_id="e"))


def table() -> pl.DataFrame:
    return rows(N, seed=821, every=timedelta(hours=1)).drop("version").with_columns(e=pl.int_range(N) % 3)


def write_with_zone(frame: pl.DataFrame, file: Path, zone: str) -> Path:
    arrow = cast("Any", frame).to_arrow()
    position = arrow.schema.get_field_index("ts")
    zoned = arrow.column("ts").cast(pa.timestamp("us", zone))
    pq.write_table(arrow.set_column(position, "ts", zoned), file)
    return file


@pytest.mark.parametrize("zone", ["+05:30", "-03:30", "+02:00", "Asia/Kolkata", "UTC"])
def test_times_of_every_zone_are_the_same_moments(tmp_path: Path, zone: str) -> None:
    home, paths = make_paths(tmp_path)
    write_with_zone(table(), paths.landing_inferences / "a.parquet", zone)
    (batch,) = pending(spec(), paths, "inferences", home)
    assert peek_windows(spec(), paths, batch, home) == {"2026-01-05", "2026-01-06"}
    report = intake(spec(), paths, "inferences", home)
    assert (report.accepted, report.quarantined_by_reason) == (N, {})
    found = scan_lake(spec(), paths, "inferences").collect().sort("row_number")
    assert found["predicted_at"].to_list() == table()["ts"].to_list()


def test_compare_takes_a_zone_that_polars_does_not_know(tmp_path: Path) -> None:
    plain = tmp_path / "plain.parquet"
    table().write_parquet(plain)
    zoned = write_with_zone(table(), tmp_path / "zoned.parquet", "+05:45")
    found, wanted = (compare(plain, other, columns=["ts", "x"], metrics=["psi"]) for other in (zoned, plain))
    assert found.to_dicts() == wanted.to_dicts()
    assert [row["value"] for row in found.to_dicts() if row["column"] == "x"] == [0.0]


@pytest.mark.parametrize("n", [0, 1, 25])
def test_pieces_of_a_file_with_an_unknown_zone_are_the_whole(tmp_path: Path, n: int) -> None:
    frame = rows(n, seed=822)
    file = write_with_zone(frame, tmp_path / "a.parquet", "+05:30")
    pieces = list(parquet_frames(file, rows=10))
    assert [len(piece) for piece in pieces] == ([10, 10, 5] if n == 25 else [n])
    assert pl.concat(pieces).equals(parquet_frame(file))
    assert parquet_frame(file)["ts"].dt.replace_time_zone(None).to_list() == frame["ts"].to_list()
    assert len(parquet_frame(file, rows=1)) == min(n, 1)


def test_a_type_that_makes_polars_panic_stops_no_other_file(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    arrow = cast("Any", table()).to_arrow()
    wide = pa.array([i * 10**40 for i in range(N)], pa.decimal256(50, 2))
    pq.write_table(
        arrow.set_column(arrow.schema.get_field_index("x"), "x", wide), paths.landing_inferences / "a.parquet"
    )
    land(paths.landing_inferences, "b.parquet", table())
    report = intake(spec(), paths, "inferences", home)
    assert (report.accepted, report.quarantined_by_reason) == (N, {"unreadable_file": 1})


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("dtype", [pl.Int8, pl.Float64, pl.String])
def test_entities_are_the_same_in_every_type(tmp_path: Path, form: str, dtype: Any) -> None:
    home, paths = make_paths(tmp_path)
    frame = table().with_columns(pl.col("e").cast(dtype))
    land(paths.landing_inferences, f"a.{form}", frame)
    intake(spec(), paths, "inferences", home)
    found = scan_lake(spec(), paths, "inferences").collect().sort("row_number")
    assert found["entity_id"].to_list() == [str(i % 3) for i in range(N)]


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
def test_an_empty_text_names_no_entity(tmp_path: Path, form: str) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, f"a.{form}", table().with_columns(e=pl.Series(["", "u"] * (N // 2))))
    intake(spec(), paths, "inferences", home)
    found = scan_lake(spec(), paths, "inferences").collect().sort("row_number")
    assert found["entity_id"].to_list() == [None, "u"] * (N // 2)
