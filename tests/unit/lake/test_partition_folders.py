"""Rows in folders that name values (``country=DE``) are the rows of one file that holds the columns itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py import compare
from metrics_py.comparison.folders import HIVE_NULL
from metrics_py.comparison.tables import read_table
from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import list_batches
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from sightline.spec.data_sections import Source, Sources
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, ledger_adds_up, make_paths, make_spec, quarantine

N = 240
WRITERS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "parquet": pl.DataFrame.write_parquet,
    "csv": pl.DataFrame.write_csv,
    "ndjson": pl.DataFrame.write_ndjson,
}
LAYOUTS: dict[str, tuple[str, ...]] = {
    "category": ("c",),
    "number": ("k",),
    "truth": ("flag",),
    "nested": ("k", "c", "flag"),
    "name that begins like a hidden one": ("_zone",),
    "time": ("ts",),
    "id and version": ("version", "c"),
}


def spec_of(**changes: Any) -> MonitorSpec:
    """A monitor with a column of every kind; the number is a segment besides."""
    features = {"x": "numeric", "k": "numeric", "c": "categorical", "flag": "boolean", "_zone": "categorical"}
    columns = Columns(
        prediction_id="id",
        timestamp="ts",
        score="p",
        model_version="version",
        features={name: Feature.model_validate({"kind": kind}) for name, kind in features.items()},
        segments=("c", "k"),
    )
    return make_spec(columns=columns, **changes)


def table(seed: int = 0) -> pl.DataFrame:
    """Rows of three days with nulls where partitions can have them."""
    rng = np.random.default_rng(seed)
    start = START.replace(tzinfo=None)
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(N)],
            "ts": [start + timedelta(days=int(i % 3)) for i in range(N)],
            "p": np.round(rng.random(N), 3),
            "version": rng.choice(["v1", "v2"], N).tolist(),
            "x": np.round(rng.normal(size=N), 3),
            "k": [None if i % 11 == 0 else int(i % 5) for i in range(N)],
            "c": [None if i % 7 == 0 else ["São Paulo/a=b", "red", "10"][i % 3] for i in range(N)],
            "flag": [bool(i % 2) for i in range(N)],
            "_zone": [["north", "south"][i % 2] for i in range(N)],
        }
    )


def folder_name(column: str, value: object) -> str:
    """As Spark and Hive write it."""
    if value is None:
        return f"{column}={HIVE_NULL}"
    text = value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
    return f"{column}={quote(text.lower() if isinstance(value, bool) else text, safe=' ')}"


def write_partitioned(
    rows: pl.DataFrame, by: tuple[str, ...], folder: Path, form: str, *, keep: Callable[[int], bool] = lambda _: False
) -> None:
    """One file per combination of values; `keep` says of which files the columns stay inside."""
    for i, (values, part) in enumerate(rows.partition_by(*by, as_dict=True, maintain_order=True).items()):
        target = folder.joinpath(*(folder_name(name, value) for name, value in zip(by, values, strict=True)))
        target.mkdir(parents=True, exist_ok=True)
        WRITERS[form](part if keep(i) else part.drop(by), target / f"part-{i}.{form}")


def stored(spec: MonitorSpec, root: Path) -> pl.DataFrame:
    """What the lake holds, but where it came from."""
    home, paths = make_paths(root)
    report = intake(spec, paths, "inferences", home)
    assert report.accepted == N, report
    ledger_adds_up(root)
    lake = scan_lake(spec, paths, "inferences").sort("prediction_id").collect()
    return lake.drop("received_at", "batch_id", "row_number")


def flat(spec: MonitorSpec, root: Path) -> pl.DataFrame:
    """The lake of one file."""
    _, paths = make_paths(root)
    table().write_parquet(paths.landing_inferences / "flat.parquet")
    return stored(spec, root)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("by", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_landed_folders_give_the_lake_of_one_file(tmp_path: Path, by: tuple[str, ...], form: str) -> None:
    spec = spec_of()
    home, paths = make_paths(tmp_path / "parted")
    write_partitioned(table(), by, paths.landing_inferences, form)
    seen = set[str]().union(
        *(peek_windows(spec, paths, b, home) for b in list_batches(spec, paths, "inferences", home))
    )
    assert seen == {spec.key(START + timedelta(days=day)) for day in range(3)}
    assert_frame_equal(stored(spec, tmp_path / "parted"), flat(spec, tmp_path / "flat"))
    assert not list(paths.quarantine.rglob("*.parquet"))


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("keep", [lambda _: True, lambda i: i % 2 == 0], ids=["all", "some"])
def test_columns_that_files_hold_besides(tmp_path: Path, form: str, keep: Callable[[int], bool]) -> None:
    spec = spec_of()
    _, paths = make_paths(tmp_path / "parted")
    write_partitioned(table(), ("k", "c"), paths.landing_inferences, form, keep=keep)
    assert_frame_equal(stored(spec, tmp_path / "parted"), flat(spec, tmp_path / "flat"))


def test_a_glob_reads_the_folders_it_names_and_no_unfinished_ones(tmp_path: Path) -> None:
    spec = spec_of(sources=Sources(inferences=Source(parquet="warm/**/*.parquet")))
    write_partitioned(table(), ("k", "_zone"), tmp_path / "parted" / "warm", "parquet")
    for hidden in ("_temporary/0", "_delta_log", ".spark-staging/k=1"):
        (tmp_path / "parted" / "warm" / hidden).mkdir(parents=True)
        table(1).with_columns(id="0" + pl.col("id")).write_parquet(tmp_path / "parted" / "warm" / hidden / "a.parquet")
    assert_frame_equal(stored(spec, tmp_path / "parted"), flat(spec, tmp_path / "flat"))


def test_a_folder_that_names_no_value_of_its_kind_is_told(tmp_path: Path) -> None:
    spec = spec_of()
    _, paths = make_paths(tmp_path)
    rows = table().drop("k")
    for name, part in {"k=many": rows.head(100), "k=07": rows.tail(140)}.items():
        (paths.landing_inferences / name).mkdir(parents=True)
        part.write_parquet(paths.landing_inferences / name / "a.parquet")
    lake = stored(spec, tmp_path)
    assert lake["f_k"].value_counts().sort("f_k").rows() == [(None, 100), (7.0, 140)]
    assert lake["g_k"].value_counts().sort("g_k").rows() == [("07", 140), ("many", 100)]
    told = quarantine(tmp_path)
    assert told.select("reason", "column", "value").unique().rows() == [("bad_type", "k", "many")]
    assert len(told) == 100


@pytest.mark.parametrize("form", WRITERS)
def test_labels_by_folder(tmp_path: Path, form: str) -> None:
    spec = spec_of()
    home, paths = make_paths(tmp_path)
    table().write_parquet(paths.landing_inferences / "a.parquet")
    labels = table().select("id", y=(pl.col("p") > 0.4).cast(int))
    write_partitioned(labels, ("y",), paths.landing_labels, form)
    intake(spec, paths, "inferences", home)
    report = intake(spec, paths, "labels", home)
    assert (report.accepted, report.quarantined_by_reason) == (N, {})
    found = scan_lake(spec, paths, "labels").sort("prediction_id").collect()
    assert found["label_value"].to_list() == labels.sort("id")["y"].cast(float).to_list()


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("by", [("c",), ("k",), ("flag",), ("k", "c", "flag"), ("_zone",)], ids="-".join)
@pytest.mark.parametrize("keep", [lambda _: False, lambda _: True, lambda i: i % 2 == 0], ids=["none", "all", "some"])
def test_compare_reads_folders_as_one_file(
    tmp_path: Path, form: str, by: tuple[str, ...], keep: Callable[[int], bool]
) -> None:
    kinds: Mapping[str, str] = {"k": "numeric", "c": "categorical", "flag": "boolean", "_zone": "categorical"}
    folder = tmp_path / "parted"
    write_partitioned(table(), by, folder, form, keep=keep)
    (folder / "_delta_log").mkdir()
    (folder / "_delta_log" / "0.json").write_text("{}\n")
    (folder / "_SUCCESS").write_text("")
    WRITERS[form](table(), tmp_path / f"flat.{form}")
    found = read_table(str(folder), kinds=kinds)
    assert not found.unreadable
    expected = read_table(str(tmp_path / f"flat.{form}"), kinds=kinds).frame
    frame = found.frame.select(expected.columns).sort("id")
    assert_frame_equal(frame, expected.sort("id"), check_dtypes=False)
    reference = table(1)
    told = [compare(reference, source, kinds=dict(kinds)).frame for source in (frame, expected)]
    assert_frame_equal(told[0], told[1])


def test_a_folder_of_time_zones_is_one_of_moments(tmp_path: Path) -> None:
    """The hour that clocks show twice in autumn, and the one they leave out in spring, written with their offsets."""
    spec = spec_of(schedule="hourly")
    home, paths = make_paths(tmp_path)
    moments = {
        "2026-10-25T02:30:00+02:00": datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        "2026-10-25T02:30:00+01:00": datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        "2026-03-29T01:59:59+01:00": datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),
        "2026-03-29T03:00:00+02:00": datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
    }
    for text in moments:
        folder = paths.landing_inferences / f"ts={quote(text, safe='')}"
        folder.mkdir(parents=True)
        table().head(1).drop("ts").with_columns(id=pl.lit(text)).write_parquet(folder / "a.parquet")
    intake(spec, paths, "inferences", home, now=datetime(2026, 11, 30, tzinfo=UTC))
    lake = scan_lake(spec, paths, "inferences").collect()
    found = dict(lake.select("prediction_id", "predicted_at").rows())
    assert found == {text: moment.replace(tzinfo=None) for text, moment in moments.items()}
    assert lake["window_start"].n_unique() == 4
