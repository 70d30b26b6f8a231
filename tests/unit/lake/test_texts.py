"""Descriptors of text columns on their way into the lake: the same from every source, and computed anew when asked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.lake.intake.load import intake
from sightline.lake.intake.migrate import migrate
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns
from sightline.spec.data_sections import Reference
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_data import file_data
from tests.support.lake import START, land, make_paths, make_spec, quarantine

TEXTS = ["Refund now, please! Write to jo@example.org.", "Привет, как дела?", "", None, "naïve café " * 3]
DESCRIPTORS = ["words", "script", "has_email", {"name": "refund", "words": ["refund"]}]
EXPECTED = {
    "f_review.words": [8.0, 3.0, 0.0, None, 6.0],
    "f_review.script": ["Latin", "Cyrillic", "none", None, "Latin"],
    "f_review.has_email": [True, False, False, None, False],
    "f_review.refund": [True, False, False, None, False],
}


def text_spec(descriptors: object = DESCRIPTORS, **changes: object) -> MonitorSpec:
    columns = {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "features": {"review": {"kind": "text", "descriptors": descriptors}},
        "segments": ["review.script"],
    }
    return make_spec(columns=Columns.model_validate(columns), **changes)


def frame(texts: list[str | None] = TEXTS, first: int = 0) -> pl.DataFrame:
    n = len(texts)
    return pl.DataFrame(
        {
            "id": [f"id-{first + i}" for i in range(n)],
            "ts": [(START + timedelta(minutes=i)).replace(tzinfo=None) for i in range(n)],
            "p": [0.5] * n,
            "review": pl.Series(texts, dtype=pl.String),
        }
    )


def stored(spec: MonitorSpec, paths, names=tuple(EXPECTED)) -> dict[str, list[object]]:
    found = scan_lake(spec, paths, "inferences").collect().sort("predicted_at", "row_number")
    return {name: found[name].to_list() for name in names}


@pytest.mark.parametrize("name", ["a.parquet", "a.ndjson"])
def test_files_are_described(tmp_path: Path, name: str):
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, name, frame())
    report = intake(text_spec(), paths, "inferences", home)
    assert report.accepted == 5 and report.quarantined_by_reason == {}
    assert stored(text_spec(), paths) == EXPECTED
    assert stored(text_spec(), paths, ["g_review.script"])["g_review.script"] == EXPECTED["f_review.script"]


def test_csv_is_described_the_same(tmp_path: Path):
    """An empty field of CSV is no text."""
    home, paths = make_paths(tmp_path)
    rows = frame().filter(pl.col("review") != "")
    land(paths.landing_inferences, "a.csv", rows)
    intake(text_spec(), paths, "inferences", home)
    assert stored(text_spec(), paths) == {name: [values[i] for i in (0, 1, 4)] for name, values in EXPECTED.items()}


def test_logged_events_are_described_the_same(tmp_path: Path):
    home, paths = make_paths(tmp_path)
    events = [
        InferenceEvent(
            id=f"e-{i}", at=START + timedelta(minutes=i), features={} if text is None else {"review": text}, score=0.5
        )
        for i, text in enumerate(TEXTS)
    ]
    with SegmentWriter(paths.log, "m", "inferences") as log:
        log.append(events, received_at=START + timedelta(hours=1))
    intake(text_spec(), paths, "inferences", home)
    assert stored(text_spec(), paths) == EXPECTED


def test_a_reference_file_is_described_the_same(tmp_path: Path):
    home, _ = make_paths(tmp_path)
    frame().write_parquet(tmp_path / "reference.parquet")
    spec = text_spec(reference=Reference(kind="file", path="reference.parquet"), start=START)
    rows = file_data(spec, home).frame
    assert rows is not None
    assert {name: rows[name].to_list() for name in EXPECTED} == EXPECTED


def test_a_column_of_the_data_with_the_name_of_a_descriptor_is_not_believed(tmp_path: Path):
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", frame().with_columns(pl.lit(99.0).alias("review.words")))
    report = intake(text_spec(), paths, "inferences", home)
    assert report.quarantined_by_reason == {"unknown_column": 1}
    assert stored(text_spec(), paths) == EXPECTED


def test_long_texts_are_counted(tmp_path: Path):
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", frame(["word " * 10_000, "short", "x" * 50_000]))
    intake(text_spec(), paths, "inferences", home)
    notes = quarantine(tmp_path).select("column", "reason", "value", "severity").rows()
    assert notes == [("review", "text_cut", "2 rows", "note")]
    assert stored(text_spec(), paths)["f_review.words"] == [4_000.0, 1.0, 1.0]


def test_a_descriptor_that_is_added_is_computed_from_what_is_stored(tmp_path: Path):
    """From the file while it is there, and from the stored text once it is gone."""
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", frame(TEXTS[:2]))
    gone = land(
        paths.landing_inferences, "b.parquet", frame(TEXTS[2:], first=2).with_columns(pl.col("ts") + timedelta(hours=1))
    )
    first = text_spec([])
    columns = first.columns.model_copy(update={"segments": ()})
    intake(first.model_copy(update={"columns": columns}), paths, "inferences", home)
    gone.unlink()
    intake(text_spec(), paths, "inferences", home)
    assert stored(text_spec(), paths) == EXPECTED


def test_another_definition_is_refused_until_it_is_migrated(tmp_path: Path):
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", frame())
    intake(text_spec(), paths, "inferences", home)
    now = text_spec([*DESCRIPTORS[:3], {"name": "refund", "regex": "caf.$|caf. "}])
    with pytest.raises(SightlineError, match=r"features\.review\.refund was boolean by"):
        intake(now, paths, "inferences", home)
    migrate(now, paths, home)
    assert stored(now, paths)["f_review.refund"] == [False, False, False, None, True]
    assert not migrate(now, paths, home).changes


def test_functions_of_the_home_folder(tmp_path: Path):
    home, paths = make_paths(tmp_path)
    (tmp_path / "tone_of_texts.py").write_text(
        "def vowels(texts):\n    return [sum(c in 'aeiou' for c in t) for t in texts]\n"
    )
    land(paths.landing_inferences, "a.parquet", frame())
    own = {"name": "vowels", "python": "tone_of_texts:vowels", "kind": "numeric"}
    spec = text_spec([*DESCRIPTORS, own]).placed_in(tmp_path)
    intake(spec, paths, "inferences", home)
    assert stored(spec, paths, ["f_review.vowels"])["f_review.vowels"] == [14.0, 0.0, 0.0, None, 9.0]


def test_a_function_that_is_not_there_stops_no_window_and_is_told(tmp_path: Path):
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", frame())
    own = {"name": "vowels", "python": "no_such_module_here:vowels", "kind": "numeric"}
    spec = text_spec([*DESCRIPTORS, own]).placed_in(tmp_path)
    intake(spec, paths, "inferences", home)
    assert stored(spec, paths) == EXPECTED
    assert stored(spec, paths, ["f_review.vowels"])["f_review.vowels"] == [None] * 5
    [(column, reason, value)] = quarantine(tmp_path).select("column", "reason", "value").rows()
    assert (column, reason) == ("review.vowels", "descriptor_failed") and "no_such_module_here" in value
