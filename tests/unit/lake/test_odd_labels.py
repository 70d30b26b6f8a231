"""Labels whose times or values cannot be right: a counted note or rejection each, never nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from sightline.lake.intake.load import intake
from sightline.spec.data_sections import Labels
from tests.support.labels import current_labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

DAY = timedelta(days=1)
SPEC = make_spec(labels=Labels(column="y", observed_at="seen"))


def load(root: Path, truth: pl.DataFrame) -> dict[str, int]:
    home, paths = make_paths(root)
    land(paths.landing_inferences, "a.parquet", rows(4, start=START + timedelta(hours=10)))
    land(paths.landing_labels, "l.parquet", truth, START + 20 * DAY)
    intake(SPEC, paths, "inferences", home)
    found = intake(SPEC, paths, "labels", home).quarantined_by_reason
    ledger_adds_up(root)
    return found


def truth(*told: tuple[str, int, timedelta]) -> pl.DataFrame:
    start = START.replace(tzinfo=None)
    return pl.DataFrame(
        {"id": [i for i, _, _ in told], "y": [y for _, y, _ in told], "seen": [start + after for *_, after in told]}
    )


def test_a_truth_known_before_its_prediction_is_told_and_counts(tmp_path: Path) -> None:
    found = load(tmp_path, truth(("id-0", 1, -3 * DAY), ("id-1", 1, timedelta(0)), ("id-2", 0, 2 * DAY)))
    assert found == {"observed_before_prediction": 1}, "the beginning of the prediction's own day has no hours"
    (note,) = quarantine(tmp_path).to_dicts()
    assert (note["prediction_id"], note["severity"], note["column"]) == ("id-0", "note", "seen")
    assert note["source"].endswith("l.parquet") and note["value"].startswith("2026-01-02")
    assert current_labels(SPEC, make_paths(tmp_path)[1]) == {"id-0": 1.0, "id-1": 1.0, "id-2": 0.0}


def test_a_truth_of_the_future_is_told_and_counts_from_its_arrival(tmp_path: Path) -> None:
    assert load(tmp_path, truth(("id-0", 1, 400 * DAY))) == {"timestamp_out_of_range": 1}
    assert current_labels(SPEC, make_paths(tmp_path)[1]) == {"id-0": 1.0}


def test_revisions_of_one_file_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    assert load(tmp_path, truth(("id-0", 1, 2 * DAY), ("id-0", 0, 2 * DAY))) == {"conflicting_label": 1}
    assert current_labels(SPEC, make_paths(tmp_path)[1]) == {"id-0": 0.0}, "the one further down"
