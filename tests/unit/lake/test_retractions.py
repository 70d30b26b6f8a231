"""Labels that are taken back: an event of its own, in every format that can say so."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.log.events import LabelEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.data_sections import Labels, Model
from sightline.spec.model import MonitorSpec
from tests.support.labels import current_labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

DAY = timedelta(days=1)
SPEC = make_spec(labels=Labels(column="y", observed_at="seen"))
SEEN = "2026-01-08 00:00:00"


def prepared(root: Path, spec: MonitorSpec = SPEC) -> None:
    """Four predictions with the labels 1, 0, 1, 0."""
    home, paths = make_paths(root)
    land(paths.landing_inferences, "a.parquet", rows(4))
    truth = pl.DataFrame({"id": [f"id-{i}" for i in range(4)], "y": [1, 0, 1, 0], "seen": [SEEN] * 4})
    land(paths.landing_labels, "first.csv", truth, START + 5 * DAY)
    intake(spec, paths, "inferences", home)
    intake(spec, paths, "labels", home)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".ndjson"])
@pytest.mark.parametrize("lacks_label", [False, True])
def test_a_file_takes_labels_back(tmp_path: Path, suffix: str, lacks_label: bool) -> None:
    home, paths = make_paths(tmp_path)
    prepared(tmp_path)
    frame = pl.DataFrame({"id": ["id-0"], "y": [None], "retracted": [True], "seen": ["2026-01-20 00:00:00"]})
    frame = frame.drop("y") if lacks_label else frame.cast({"y": pl.Int64})
    land(paths.landing_labels, f"back{suffix}", frame, START + 20 * DAY)
    report = intake(SPEC, paths, "labels", home)
    assert (report.accepted, report.windows, report.quarantined_by_reason) == (
        1,
        {"2026-01-05": 1},
        {"retracted_label": 1},
    )
    assert current_labels(SPEC, paths) == {"id-1": 0.0, "id-2": 1.0, "id-3": 0.0}
    (note,) = quarantine(tmp_path).filter(pl.col("reason") == "retracted_label").to_dicts()
    assert (note["value"], note["severity"], note["prediction_id"]) == ("1 -> retracted", "note", "id-0")
    again = pl.DataFrame({"id": ["id-0"], "y": [0], "seen": ["2026-01-21 00:00:00"]})
    land(paths.landing_labels, f"again{suffix}", again, START + 21 * DAY)
    intake(SPEC, paths, "labels", home)
    assert current_labels(SPEC, paths)["id-0"] == 0.0
    assert len(scan_lake(SPEC, paths, "labels").collect()) == 6, "every revision is kept"
    ledger_adds_up(tmp_path)


def test_the_same_retraction_is_a_duplicate_and_an_older_label_does_not_come_back(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    prepared(tmp_path)
    frame = pl.DataFrame({"id": ["id-0"], "retracted": ["yes"], "seen": ["2026-01-20 00:00:00"]})
    for k in range(2):
        land(paths.landing_labels, f"back{k}.csv", frame, START + (20 + k) * DAY)
    old = pl.DataFrame({"id": ["id-0"], "y": [0], "seen": ["2026-01-15 00:00:00"]})
    land(paths.landing_labels, "old.csv", old, START + 25 * DAY)
    report = intake(SPEC, paths, "labels", home)
    assert (report.accepted, report.duplicates) == (2, 1)
    assert "id-0" not in current_labels(SPEC, paths)


def test_a_retraction_of_an_unknown_label_waits_like_a_label(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    lines = [{"id": "id-0", "retracted": True, "seen": "2026-01-20T00:00:00"}, {"id": "id-1", "y": 1, "seen": SEEN}]
    (paths.landing_labels / "early.ndjson").write_text("\n".join(map(json.dumps, lines)))
    assert intake(SPEC, paths, "labels", home).unmatched == 2
    land(paths.landing_inferences, "a.parquet", rows(4))
    intake(SPEC, paths, "inferences", home)
    assert intake(SPEC, paths, "labels", home).accepted == 2
    truth = pl.DataFrame({"id": ["id-0", "id-2"], "y": [1, 0], "seen": [SEEN] * 2})
    land(paths.landing_labels, "late.csv", truth)
    intake(SPEC, paths, "labels", home)
    assert current_labels(SPEC, paths) == {"id-1": 1.0, "id-2": 0.0}
    ledger_adds_up(tmp_path)


def test_the_log_takes_labels_back(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    prepared(tmp_path)
    with SegmentWriter(paths.log, "m", "labels") as log:
        events = [LabelEvent(id="id-0", retracted=True), LabelEvent(id="id-1", value=1)]
        log.append(events, received_at=START + 20 * DAY)
    intake(SPEC, paths, "labels", home)
    assert current_labels(SPEC, paths) == {"id-1": 1.0, "id-2": 1.0, "id-3": 0.0}


def test_what_does_not_say_clearly_that_a_label_is_taken_back_is_refused(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    prepared(tmp_path)
    lines = ["id,y,retracted,seen", "id-0,,perhaps,", "id-1,,,", "id-2,,false,", "id-3,,TRUE,"]
    (paths.landing_labels / "odd.csv").write_text("\n".join(lines) + "\n")
    report = intake(SPEC, paths, "labels", home)
    assert report.quarantined_by_reason == {"bad_retraction": 1, "missing_label": 2, "retracted_label": 1}
    assert current_labels(SPEC, paths) == {"id-0": 1.0, "id-1": 0.0, "id-2": 1.0}


def test_the_column_has_the_name_that_the_file_says(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    model = Model(id="m", task="regression")
    spec = make_spec(model=model, labels=Labels(column="retracted", retracted="void"))
    land(paths.landing_inferences, "a.parquet", rows(3))
    frame = pl.DataFrame({"id": ["id-0", "id-1", "id-2"], "retracted": [1.0, 2.5, None], "void": [False, True, True]})
    land(paths.landing_labels, "l.parquet", frame)
    intake(spec, paths, "inferences", home)
    assert intake(spec, paths, "labels", home).accepted == 3
    assert current_labels(spec, paths) == {"id-0": 1.0}
    default = make_spec(model=model, labels=Labels(column="retracted"))
    land(paths.landing_labels, "more.parquet", frame.drop("void").head(2).with_columns(retracted=pl.lit(0.0)))
    assert intake(default, paths, "labels", home).rejected == 0, "a label called so is a label"


def test_a_file_without_label_and_retraction_is_refused(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_labels, "l.csv", pl.DataFrame({"id": ["id-0"], "z": [1]}))
    (refused,) = intake(SPEC, paths, "labels", home).refused
    assert refused[1] == "missing_column" and "'y'" in refused[2]
