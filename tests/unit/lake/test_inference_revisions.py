"""Predictions that are corrected or withdrawn: what counts, what is kept, what is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.lake.intake.affected_windows import peek_windows
from sightline.lake.intake.load import intake
from sightline.lake.intake.reload import reload
from sightline.lake.intake.sources import pending
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns, Feature
from tests.support.labels import current_labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

SPEC = make_spec()
DAY = timedelta(days=1)


def load(root: Path, kind: str = "inferences", spec=SPEC):
    home, paths = make_paths(root)
    return intake(spec, paths, kind, home)


def live(root: Path, kind: str = "inferences", spec=SPEC) -> list[tuple[str, str, float]]:
    """Id, window and score of the rows of a kind."""
    found = scan_lake(spec, make_paths(root)[1], kind).sort("prediction_id", "window_start", "score").collect()
    return [(i, f"{w:%m-%d}", s) for i, w, s in found.select("prediction_id", "window_start", "score").rows()]


def told(number: int, day: float, score: float | None, **more: object) -> pl.DataFrame:
    """One row of a prediction at a day, flagged by `more`."""
    at = (START + day * DAY).replace(tzinfo=None)
    row = {"id": [f"id-{number}"], "ts": [at], "p": [score], "version": ["v1"], "x": [0.5], "c": ["red"]}
    return pl.DataFrame({**row, **{name: [value] for name, value in more.items()}})


def inferences(root: Path, name: str, frame: pl.DataFrame, received: datetime = START + 30 * DAY) -> Path:
    return land(make_paths(root)[1].landing_inferences, name, frame, received)


def test_a_correction_replaces_the_row_and_keeps_it(tmp_path: Path) -> None:
    inferences(tmp_path, "a.parquet", told(0, 0, 0.1))
    load(tmp_path)
    inferences(tmp_path, "b.csv", told(0, 0, 0.9, supersedes=True), START + 31 * DAY)
    report = load(tmp_path)
    assert (report.accepted, report.duplicates, report.windows) == (1, 0, {"2026-01-05": 1})
    assert live(tmp_path) == [("id-0", "01-05", 0.9)]
    assert live(tmp_path, "replaced") == [("id-0", "01-05", 0.1)]
    (note,) = quarantine(tmp_path).to_dicts()
    assert (note["reason"], note["severity"], note["value"], note["source"]) == (
        "superseded_prediction", "note", "corrected", "data/m/landing/inferences/a.parquet",
    )  # fmt: skip
    ledger_adds_up(tmp_path)


def test_without_the_flag_other_content_stays_a_conflict(tmp_path: Path) -> None:
    inferences(tmp_path, "a.parquet", told(0, 0, 0.1))
    inferences(tmp_path, "b.csv", told(0, 0, 0.9, supersedes=False), START + 31 * DAY)
    assert load(tmp_path).quarantined_by_reason == {"conflicting_duplicate": 1}
    assert live(tmp_path) == [("id-0", "01-05", 0.1)]


def test_a_correction_of_the_time_changes_both_windows_and_takes_the_label_along(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    inferences(tmp_path, "a.parquet", rows(5, every=timedelta(hours=3)))
    land(paths.landing_labels, "a.csv", pl.DataFrame({"id": ["id-0", "id-1"], "y": [1, 0]}))
    load(tmp_path)
    load(tmp_path, "labels")
    inferences(tmp_path, "b.csv", told(0, 2, 0.9, supersedes=True), START + 31 * DAY)
    report = load(tmp_path)
    assert report.windows == {"2026-01-05": 0, "2026-01-07": 1}
    assert ("id-0", "01-07", 0.9) in live(tmp_path) and len(live(tmp_path)) == 5
    assert current_labels(SPEC, paths) == {"id-0": 1.0, "id-1": 0.0}
    labels = scan_lake(SPEC, paths, "labels").collect()
    at = dict(labels.select("prediction_id", "window_start").rows())["id-0"]
    assert at == datetime(2026, 1, 7)
    with open_ledger(paths.ledger) as ledger:
        assert ledger.windows_since("inferences", 0)[0] == {"2026-01-05": 4, "2026-01-07": 1}
        assert ledger.windows_since("labels", 0)[0] == {"2026-01-05": 1, "2026-01-07": 1}
    ledger_adds_up(tmp_path)


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_a_withdrawal_needs_the_id_alone_and_lets_the_label_wait(tmp_path: Path, form: str) -> None:
    _, paths = make_paths(tmp_path)
    inferences(tmp_path, "a.parquet", rows(3))
    land(paths.landing_labels, "a.csv", pl.DataFrame({"id": ["id-0", "id-1"], "y": [1, 0]}))
    load(tmp_path)
    load(tmp_path, "labels")
    inferences(tmp_path, f"gone.{form}", pl.DataFrame({"id": ["id-0"], "withdrawn": [True]}), START + 31 * DAY)
    report = load(tmp_path)
    assert (report.accepted, report.unmatched, report.rejected, report.windows) == (1, 0, 0, {"2026-01-05": 0})
    assert [row[0] for row in live(tmp_path)] == ["id-1", "id-2"]
    assert [row[0] for row in live(tmp_path, "replaced")] == ["id-0"]
    assert current_labels(SPEC, paths) == {"id-1": 0.0}
    assert scan_lake(SPEC, paths, "unmatched").collect()["prediction_id"].to_list() == ["id-0"]
    ledger_adds_up(tmp_path)
    inferences(tmp_path, "back.csv", told(0, 1, 0.7, supersedes=True), START + 32 * DAY)
    load(tmp_path)
    load(tmp_path, "labels")
    assert ("id-0", "01-06", 0.7) in live(tmp_path)
    assert current_labels(SPEC, paths) == {"id-0": 1.0, "id-1": 0.0}
    ledger_adds_up(tmp_path)


def test_a_withdrawal_of_an_unknown_prediction_waits_and_a_correction_is_the_row(tmp_path: Path) -> None:
    gone = told(0, 0, None, supersedes=False, withdrawn=True)
    frame = pl.concat([gone, told(1, 0, 0.8, supersedes=True, withdrawn=False)], how="vertical_relaxed")
    inferences(tmp_path, "first.ndjson", frame, START + 31 * DAY)
    report = load(tmp_path)
    assert (report.accepted, report.unmatched) == (1, 1)
    assert live(tmp_path) == [("id-1", "01-05", 0.8)]
    inferences(tmp_path, "later.parquet", pl.concat([told(0, 0, 0.1), told(1, 1, 0.2)]), START + 30 * DAY)
    assert load(tmp_path).quarantined_by_reason == {"superseded_prediction": 2}
    assert live(tmp_path) == [("id-1", "01-05", 0.8)]
    assert live(tmp_path, "replaced") == [("id-0", "01-05", 0.1), ("id-1", "01-06", 0.2)]
    with open_ledger(make_paths(tmp_path)[1].ledger) as ledger:
        assert [(b.n_accepted, b.n_unmatched) for b in ledger.batches("inferences")] == [(2, 0), (2, 0)]


def test_a_withdrawal_with_a_version_leaves_the_others_and_an_id_used_again_is_its_own(tmp_path: Path) -> None:
    other = told(0, 0, 0.2).with_columns(version=pl.lit("v2"))
    inferences(tmp_path, "a.parquet", pl.concat([told(0, 0, 0.1), other, told(0, 20, 0.3)]))
    gone = pl.DataFrame({"id": ["id-0"], "version": ["v1"], "withdrawn": ["yes"], "known": ["2026-01-10"]})
    inferences(tmp_path, "gone.csv", gone, START + 31 * DAY)
    spec = make_spec(columns=SPEC.columns.model_copy(update={"observed_at": "known"}))
    load(tmp_path, spec=spec)
    assert live(tmp_path) == [("id-0", "01-05", 0.2), ("id-0", "01-25", 0.3)]


def test_flags_that_say_nothing_clear_are_refused_and_so_is_what_a_file_of_withdrawals_lacks(tmp_path: Path) -> None:
    lines = ["id,withdrawn,supersedes", "id-0,perhaps,", "id-1,,", "id-2,true,maybe", ",true,", "id-3,yes,"]
    (make_paths(tmp_path)[1].landing_inferences / "odd.csv").write_text("\n".join([*lines, ""]))
    report = load(tmp_path)
    rejections = {"bad_withdrawal": 1, "bad_correction": 1, "missing_id": 1, "missing_timestamp": 1}
    assert report.quarantined_by_reason == rejections
    assert (report.rejected, report.unmatched) == (4, 1)
    ledger_adds_up(tmp_path)


def test_a_repeated_revision_is_a_duplicate_and_a_file_that_grew_is_read_quietly(tmp_path: Path) -> None:
    inferences(tmp_path, "a.parquet", told(0, 0, 0.1))
    fix = told(0, 0, 0.9, supersedes=True)
    inferences(tmp_path, "b.ndjson", fix, START + 31 * DAY)
    load(tmp_path)
    inferences(tmp_path, "b.ndjson", pl.concat([fix, told(1, 0, 0.5, supersedes=True)]), START + 32 * DAY)
    report = load(tmp_path)
    assert (report.accepted, report.duplicates, report.quarantined_by_reason) == (1, 1, {})
    inferences(tmp_path, "copy.ndjson", fix, START + 31 * DAY)
    report = load(tmp_path)
    assert (report.accepted, report.duplicates, report.quarantined_by_reason) == (0, 1, {"duplicate": 1})
    assert live(tmp_path) == [("id-0", "01-05", 0.9), ("id-1", "01-05", 0.5)]
    ledger_adds_up(tmp_path)


def test_a_feature_of_the_flags_name_is_no_flag(tmp_path: Path) -> None:
    columns = Columns(prediction_id="id", timestamp="ts", score="p", features={"withdrawn": Feature(kind="boolean")})
    spec = make_spec(columns=columns)
    inferences(tmp_path, "a.parquet", told(0, 0, 0.1, withdrawn=True))
    load(tmp_path, spec=spec)
    assert scan_lake(spec, make_paths(tmp_path)[1], "inferences").collect()["f_withdrawn"].to_list() == [True]


def test_revisions_come_through_the_log(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    with SegmentWriter(paths.log, "m", "inferences") as log:
        log.append(
            [
                InferenceEvent(id="id-0", at=START, version="v1", score=0.1),
                InferenceEvent(id="id-1", at=START, version="v1", score=0.2),
                InferenceEvent(id="id-0", at=START + DAY, version="v1", score=0.3, supersedes=True),
                InferenceEvent(id="id-1", withdrawn=True, observed_at=START + 3 * DAY),
            ],
            received_at=START + 2 * DAY,
        )
    load(tmp_path)
    assert live(tmp_path) == [("id-0", "01-06", 0.3)]
    assert live(tmp_path, "replaced") == [("id-0", "01-05", 0.1), ("id-1", "01-05", 0.2)]
    revisions = scan_lake(SPEC, paths, "revisions").sort("prediction_id").collect()
    assert revisions["observed_at"].to_list() == [datetime(2026, 1, 7), datetime(2026, 1, 8)]
    ledger_adds_up(tmp_path)


def test_a_correction_that_is_taken_out_again_gives_the_first_row_back(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    inferences(tmp_path, "a.parquet", told(0, 0, 0.1))
    load(tmp_path)
    file = inferences(tmp_path, "b.ndjson", told(0, 2, 0.9, supersedes=True), START + 31 * DAY)
    load(tmp_path)
    land(paths.landing_labels, "a.csv", pl.DataFrame({"id": ["id-0"], "y": [1]}))
    load(tmp_path, "labels")
    inferences(tmp_path, "b.ndjson", told(5, 0, 0.9, supersedes=True), START + 31 * DAY)
    reload(SPEC, paths, home, [file])
    assert live(tmp_path) == [("id-0", "01-05", 0.1), ("id-5", "01-05", 0.9)]
    assert live(tmp_path, "replaced") == []
    assert scan_lake(SPEC, paths, "labels").collect()["window_start"].to_list() == [datetime(2026, 1, 5)]


def test_a_feature_that_is_named_later_is_read_again_for_replaced_rows_too(tmp_path: Path) -> None:
    inferences(tmp_path, "a.parquet", told(0, 0, 0.1, z=3.5))
    inferences(tmp_path, "b.parquet", told(0, 0, 0.9, z=4.5, supersedes=True), START + 31 * DAY)
    load(tmp_path)
    more = SPEC.columns.model_copy(update={"features": {**SPEC.columns.features, "z": Feature(kind="numeric")}})
    spec = make_spec(columns=more)
    load(tmp_path, spec=spec)
    for kind, value in (("inferences", 4.5), ("replaced", 3.5)):
        assert scan_lake(spec, make_paths(tmp_path)[1], kind).collect()["f_z"].to_list() == [value]


def test_a_look_ahead_tells_the_windows_of_corrections_and_none_of_withdrawals(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    inferences(tmp_path, "gone.csv", pl.DataFrame({"id": ["id-0"], "withdrawn": [True]}))
    inferences(tmp_path, "fixed.csv", told(0, 2, 0.9, supersedes=True))
    with SegmentWriter(paths.log, "m", "inferences") as log:
        log.append([InferenceEvent(id="id-1", withdrawn=True)], received_at=START + 2 * DAY)
    found = [peek_windows(SPEC, paths, batch, home) for batch in pending(SPEC, paths, "inferences", home)]
    assert sorted(map(sorted, found)) == [[], [], ["2026-01-07"]]
