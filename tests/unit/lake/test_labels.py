"""Labels on their way to the lake: matched to their prediction's window, revised, refused, read in any spelling."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sightline.lake.intake.affected_windows import label_windows_waiting, peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.sources import pending
from sightline.lake.store.parts import scan_lake
from sightline.log.events import LabelEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns
from sightline.spec.data_sections import Labels, Model
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

DAY = timedelta(days=1)


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
    assert (report.accepted, report.duplicates) == (4, 0), "an older truth may still come between the first two"
    assert report.quarantined_by_reason == {"conflicting_label": 2}
    labels = scan_lake(spec, paths, "labels").collect().sort("revision_order")
    assert labels["label_value"].to_list() == [0.0, 0.0, 1.0, 0.0]
    assert labels["revision_order"].is_unique().all()
    os.utime(paths.landing_labels / "2.parquet")  # an old file delivered again does not bring its value back
    assert intake(spec, paths, "labels", home).duplicates == 1
    assert scan_lake(spec, paths, "labels").collect().sort("revision_order")["label_value"].to_list() == [
        0.0,
        0.0,
        1.0,
        0.0,
    ]
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
        (1, ["True", "False"], ["1", "0"]),
        (1, ["1.0", "0.0"], ["1", "0"]),
        (1, [" 1", "0 "], ["1", "0"]),
        (1, ["1.000000000000000000e+00", "0.000000000000000000e+00"], ["1", "0"]),
        ("1.0", [1, 0], ["1", "0"]),
        ("bad", [" Bad", "good"], ["bad", "good"]),
        ("yes", ["YES", "n"], ["yes", "no"]),
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


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize(
    ("labels", "values", "refused"),
    [
        (Labels(column="y"), ["1", "yes", "unknown", "2", "0.5", "nan", "0"], {"bad_label": 4, "missing_label": 1}),
        (Labels(column="y", negative=-1), ["1.0", "-1.0", "-1", "0"], {"bad_label": 1}),
        (
            Labels(column="y", positive="late", negative="on time"),
            ["late", "on time", "On Time ", "x"],
            {"bad_label": 1},
        ),
        (
            Labels(column="y", positive="late"),
            ["late", "on time", "unknown", "NaN"],
            {"bad_label": 1, "missing_label": 1},
        ),
    ],
)
def test_what_is_neither_class_is_refused_and_counted(
    tmp_path: Path, labels: Labels, values: list[str], refused: dict[str, int], form: str
) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(labels=labels)
    land(paths.landing_inferences, "a.parquet", rows(len(values)))
    intake(spec, paths, "inferences", home)
    land(paths.landing_labels, f"a.{form}", pl.DataFrame({"id": [f"id-{i}" for i in range(len(values))], "y": values}))
    report = intake(spec, paths, "labels", home)
    assert report.quarantined_by_reason == refused
    found = scan_lake(spec, paths, "labels").collect().sort("prediction_id")["label_value"].to_list()
    assert found == [1.0, *[0.0] * (len(values) - sum(refused.values()) - 1)]
    ledger_adds_up(tmp_path)


def test_a_prediction_that_is_no_class_is_nulled_and_counted(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(columns=make_spec().columns.model_copy(update={"prediction": "said"}))
    said = pl.Series("said", ["True", "0.0", "boom", None])
    land(paths.landing_inferences, "a.parquet", rows(4).with_columns(said))
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.quarantined_by_reason) == (4, {"bad_class": 1})
    lake = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
    assert lake["predicted_class"].to_list() == ["1", "0", None, None]


@pytest.mark.parametrize("classes", [["0", "1", "2"], ["0.0", "1.0", "2.0"]])
def test_classes_of_several_are_read_as_the_numbers_they_spell(tmp_path: Path, classes: list[str]) -> None:
    home, paths = make_paths(tmp_path)
    columns = Columns(
        prediction_id="id", timestamp="ts", prediction="said", class_scores={c: f"p{i}" for i, c in enumerate(classes)}
    )
    spec = make_spec(model=Model(id="m", task="multiclass_classification"), columns=columns)
    scores = {f"p{i}": [float(i == k) for k in range(3)] for i in range(3)}
    data = (
        rows(3)
        .select("id", "ts")
        .with_columns(said=pl.Series([0, 1, 2]), **{n: pl.Series(v) for n, v in scores.items()})
    )
    land(paths.landing_inferences, "a.parquet", data)
    intake(spec, paths, "inferences", home)
    land(paths.landing_labels, "a.parquet", pl.DataFrame({"id": data["id"], "y": ["0.0", " 1", "2"]}))
    intake(spec, paths, "labels", home)
    assert scan_lake(spec, paths, "labels").collect().sort("prediction_id")["label_class"].to_list() == classes
    assert scan_lake(spec, paths, "inferences").collect().sort("prediction_id")["predicted_class"].to_list() == classes


def test_multiclass_takes_the_most_probable_class(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    spec = make_spec(
        model=Model(id="m", task="multiclass_classification"),
        columns=Columns(prediction_id="id", timestamp="ts", prediction="said", class_scores={"a": "pa", "b": "pb"}),
    )
    data = (
        rows(5)
        .select("id", "ts")
        .with_columns(
            pa=pl.Series([0.7, 0.5, 1.5, 0.1, 0.9]),
            pb=pl.Series([0.3, 0.5, 0.5, 0.9, 0.1]),
            said=pl.Series([None, None, None, "a", "None"]),
        )
    )
    land(paths.landing_inferences, "a.parquet", data)
    intake(spec, paths, "inferences", home)
    lake = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
    assert lake["predicted_class"].to_list() == ["a", "a", None, "a", None], (
        "a word for no value may be a class: it is not filled in"
    )
    assert lake["p_a"].to_list() == [0.7, 0.5, None, 0.1, 0.9]


WORDS = ["unknown", "N/A", "null", "?", "", "  ", "None", "Missing", "-"]


@pytest.mark.parametrize(
    ("columns", "more"),
    [
        (Columns(prediction_id="id", timestamp="ts", class_scores={"a": "pa", "b": "pb"}), {}),
        (Columns(prediction_id="id", timestamp="ts", prediction="said"), {"classes": ("a", "b")}),
        (Columns(prediction_id="id", timestamp="ts", prediction="said"), {}),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_word_for_no_answer_is_no_class_of_several(
    tmp_path: Path, columns: Columns, more: dict[str, Any], suffix: str
) -> None:
    home, paths = make_paths(tmp_path)
    labels = Labels(column="y", **more)
    spec = make_spec(model=Model(id="m", task="multiclass_classification"), columns=columns, labels=labels)
    said = pl.Series(["a", "b", "error", *WORDS])
    outputs = {"said": said} if columns.prediction else {"pa": pl.lit(0.9), "pb": pl.lit(0.1)}
    data = rows(len(said)).select("id", "ts").with_columns(**outputs)
    land(paths.landing_inferences, "a.parquet", data)
    predicted = intake(spec, paths, "inferences", home).quarantined_by_reason
    truth = pl.DataFrame({"id": data["id"], "y": ["a", " B", "typo", *WORDS]})
    land(paths.landing_labels, f"a.{suffix}", truth)
    report = intake(spec, paths, "labels", home)
    is_closed = bool(columns.class_scores or more)
    found = scan_lake(spec, paths, "labels").collect().sort("prediction_id")["label_class"].to_list()
    if is_closed:
        assert found == ["a", "b"]
        assert report.quarantined_by_reason == {"bad_label": 6, "missing_label": 4}
    else:
        assert found == ["a", "B", "typo"], "every name is a class where none are named"
        assert report.quarantined_by_reason == {"bad_label": 5, "missing_label": 4}
    if columns.prediction:
        classes = scan_lake(spec, paths, "inferences").collect().sort("prediction_id")
        told = classes["predicted_class"].drop_nulls().to_list()
        assert told == (["a", "b"] if is_closed else ["a", "b", "error"])
        assert predicted == {"bad_class": 6 if is_closed else 5}


@pytest.mark.parametrize("predictions", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("labels", ["parquet", "csv", "ndjson"])
def test_an_id_is_one_in_every_format(tmp_path: Path, predictions: str, labels: str) -> None:
    """Whole numbers, the same as floats (as pandas writes a column with a gap), as text, and with a blank before."""
    home, paths = make_paths(tmp_path)
    spec = make_spec()
    ids = pl.Series("id", ["7", "8", "9", "007"])
    land(paths.landing_inferences, f"a.{predictions}", rows(4).with_columns(ids))
    intake(spec, paths, "inferences", home)
    spelled: dict[str, pl.Series] = {
        "whole": pl.Series([7]), "float": pl.Series([8.0, None]), "text": pl.Series([" 9", "9.0 "]),
        "zeros": pl.Series(["007"]),
    }  # fmt: skip
    for name, values in spelled.items():
        land(paths.landing_labels, f"{name}.{labels}", pl.DataFrame({"id": values, "y": [1] * len(values)}))
    report = intake(spec, paths, "labels", home)
    assert (report.accepted, report.unmatched) == (4, 0)
    found = scan_lake(spec, paths, "labels").collect()
    assert sorted(found["prediction_id"]) == ["007", "7", "8", "9"]


def test_labels_that_doubles_do_not_hold_are_noted(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    columns = Columns(prediction_id="id", timestamp="ts", prediction="x")
    spec = make_spec(model=Model(id="m", task="regression"), columns=columns, labels=Labels(column="y"))
    land(paths.landing_inferences, "a.parquet", rows(4))
    intake(spec, paths, "inferences", home)
    truth = pl.DataFrame({"id": [f"id-{k}" for k in range(4)], "y": [2**53 + k for k in range(4)]})
    land(paths.landing_labels, "a.parquet", truth)
    report = intake(spec, paths, "labels", home)
    assert report.accepted == 4
    notes = quarantine(tmp_path).filter(kind="labels")
    assert notes.select("column", "reason", "value").rows() == [("y", "imprecise_number", "4 rows")]
