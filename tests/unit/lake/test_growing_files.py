"""Files that are read while somebody writes them: a number that was cut never stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sightline.lake.intake import load
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import Batch
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from tests.support.lake import make_paths, make_spec, rows

N = 20
KINDS = {"x": Feature(kind="numeric"), "c": Feature(kind="categorical")}
SPEC = make_spec(columns=Columns(prediction_id="id", timestamp="ts", score="p", features=KINDS))


TABLE = rows(2 * N, seed=921).select("id", "ts", "p", "c", "x")


def text(n: int = N) -> str:
    """Rows whose last field is the number ``x``."""
    return TABLE.head(n).write_csv()


def written(file: Path, content: str, age: float = 60.0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    moment = time.time() - age
    os.utime(file, (moment, moment))
    return file


def lake(paths: Any, kind: str = "inferences") -> pl.DataFrame:
    return scan_lake(SPEC, paths, kind).collect()


def test_a_line_without_an_end_is_waited_for_while_the_file_is_written(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    file = written(paths.landing_inferences / "a.csv", text()[:-9], age=0)
    report = intake(SPEC, paths, "inferences", home)
    assert (report.accepted, report.batches, report.unfinished) == (0, [], ["data/m/landing/inferences/a.csv"])
    written(file, text()[:-9])
    report = intake(SPEC, paths, "inferences", home)
    assert (report.accepted, report.unfinished) == (N, [])


@pytest.mark.parametrize(("name", "content"), [("whole.csv", text()), ("a.ndjson", TABLE.head(N).write_ndjson())])
def test_a_file_that_ends_with_a_line_is_taken_at_once(tmp_path: Path, name: str, content: str) -> None:
    home, paths = make_paths(tmp_path)
    written(paths.landing_inferences / name, content, age=0)
    assert intake(SPEC, paths, "inferences", home).accepted == N


@pytest.mark.parametrize("cut", [1, 2, 6, 9, 17, 19, 24, 60])
def test_a_number_that_was_cut_is_replaced_when_the_file_grows(tmp_path: Path, cut: int) -> None:
    home, paths = make_paths(tmp_path)
    whole, later = text(), text(2 * N)[len(text()) :]
    file = written(paths.landing_inferences / "a.csv", whole[:-cut])
    n_rows = len(whole[:-cut].splitlines()) - 1
    first = intake(SPEC, paths, "inferences", home)
    assert first.accepted in (n_rows, n_rows - 1)
    written(file, whole + later)
    second = intake(SPEC, paths, "inferences", home)
    assert second.quarantined_by_reason.get("conflicting_duplicate", 0) == 0
    found = lake(paths).sort("row_number")
    assert found["prediction_id"].to_list() == TABLE["id"].to_list()
    assert found["f_x"].to_list() == TABLE["x"].to_list()
    with open_ledger(paths.ledger) as ledger:
        counted = [
            b.n_rows - b.n_accepted - b.n_duplicate - b.n_rejected - b.n_unmatched for b in ledger.batches("inferences")
        ]
        assert counted == [0, 0]


@pytest.mark.parametrize("packed", ["\n", "\r\n"])
def test_a_line_that_only_lacked_its_end_is_left_as_it_was(tmp_path: Path, packed: str) -> None:
    home, paths = make_paths(tmp_path)
    whole = text().replace("\n", packed)
    file = written(paths.landing_inferences / "a.csv", whole.removesuffix(packed))
    intake(SPEC, paths, "inferences", home)
    first = lake(paths)
    written(file, whole)
    report = intake(SPEC, paths, "inferences", home)
    assert (report.accepted, report.duplicates) == (0, N)
    assert lake(paths).equals(first)


def test_a_label_that_went_to_a_prediction_of_a_shorter_id_is_taken_back(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    written(paths.landing_inferences / "a.csv", text())
    intake(SPEC, paths, "inferences", home)
    labels = "y,id\n1,id-0\n1,id-13\n"
    file = written(paths.landing_labels / "l.csv", labels[:-2])
    intake(SPEC, paths, "labels", home)
    assert lake(paths, "labels")["prediction_id"].to_list() == ["id-0", "id-1"]
    written(file, labels)
    intake(SPEC, paths, "labels", home)
    assert sorted(lake(paths, "labels")["prediction_id"].unique()) == ["id-0", "id-13"]


@pytest.mark.parametrize("rows_a_chunk", [5, 250_000])
def test_a_file_that_changes_while_it_is_read_waits_for_the_next_intake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_a_chunk: int
) -> None:
    home, paths = make_paths(tmp_path)
    file = written(paths.landing_inferences / "a.csv", text()[:-9])
    read = load.decoded

    def and_grow(spec: Any, batch: Batch, where: Any) -> Any:
        yield from read(spec, batch, where)
        written(file, text())

    monkeypatch.setattr("sightline.lake.intake.read.CHUNK_ROWS", rows_a_chunk)
    with monkeypatch.context() as patched:
        patched.setattr(load, "decoded", and_grow)
        report = intake(SPEC, paths, "inferences", home)
    assert (report.accepted, report.batches, report.unfinished) == (0, [], ["data/m/landing/inferences/a.csv"])
    assert intake(SPEC, paths, "inferences", home).accepted == N
    assert lake(paths).sort("row_number")["f_x"].to_list() == TABLE.head(N)["x"].to_list()
