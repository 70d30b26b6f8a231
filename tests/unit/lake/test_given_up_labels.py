"""Labels whose prediction does not come: they wait, are given up and told, and are taken back when it comes at last."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.lake.intake.affected_windows import label_windows_waiting
from sightline.lake.intake.load import intake
from sightline.lake.intake.reload import reload
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.spec.data_sections import Labels
from tests.support.labels import current_labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

SPEC = make_spec()  # gives up after three days
DAY = timedelta(days=1)
NOW = START + 40 * DAY


def load(root: Path, kind: str, days: float, spec=SPEC, **more):
    home, paths = make_paths(root)
    return intake(spec, paths, kind, home, now=NOW + days * DAY, **more)


def labels(root: Path, name: str, ids: list[str], value: int = 1) -> Path:
    frame = pl.DataFrame({"id": ids, "y": [value] * len(ids)})
    return land(make_paths(root)[1].landing_labels, name, frame)


def kinds(root: Path) -> dict[str, list[str]]:
    paths = make_paths(root)[1]
    found = {kind: scan_lake(SPEC, paths, kind).collect() for kind in ("labels", "unmatched", "given_up")}
    return {kind: sorted(frame["prediction_id"]) for kind, frame in found.items()}


def counts(root: Path) -> list[tuple[int, int, int]]:
    with open_ledger(make_paths(root)[1].ledger) as ledger:
        return [(b.n_accepted, b.n_rejected, b.n_unmatched) for b in ledger.batches("labels")]


def test_a_label_is_given_up_after_its_time_and_counted_as_refused(tmp_path: Path) -> None:
    land(make_paths(tmp_path)[1].landing_inferences, "a.parquet", rows(2))
    load(tmp_path, "inferences", 0)
    labels(tmp_path, "a.csv", ["id-0", "id-8", "id-9"])
    report = load(tmp_path, "labels", 0)
    assert (report.accepted, report.unmatched, report.waiting, report.rejected) == (1, 2, 2, 0)
    assert load(tmp_path, "labels", 3).waiting == 2
    paths = make_paths(tmp_path)[1]
    assert label_windows_waiting(SPEC, paths, NOW + 3 * DAY) == set()
    assert label_windows_waiting(SPEC, paths, NOW + 3.1 * DAY) == {"2026-02-04"}
    report = load(tmp_path, "labels", 3.1)
    assert (report.rejected, report.waiting, report.quarantined_by_reason) == (2, 0, {"unmatched_label": 2})
    assert kinds(tmp_path) == {"labels": ["id-0"], "unmatched": [], "given_up": ["id-8", "id-9"]}
    assert counts(tmp_path) == [(1, 2, 0)]
    note = quarantine(tmp_path).row(0, named=True)
    wanted = {"kind": "labels", "severity": "row", "value": "1", "column": "y", "prediction_id": "id-8"}
    assert wanted.items() <= note.items() and note["window_start"] == datetime(2026, 2, 4)
    assert report.windows == {"2026-02-04": 0}
    assert load(tmp_path, "labels", 9).rejected == 0
    assert label_windows_waiting(SPEC, paths, NOW + 9 * DAY) == set()
    ledger_adds_up(tmp_path)


def test_without_a_limit_labels_wait_and_a_learnt_one_is_handed_in(tmp_path: Path) -> None:
    spec = make_spec(labels=Labels(column="y"))
    labels(tmp_path, "a.csv", ["id-8"])
    load(tmp_path, "labels", 0, spec)
    assert load(tmp_path, "labels", 4000, spec).waiting == 1
    report = load(tmp_path, "labels", 4000, spec, give_up_after=30 * DAY)
    assert (report.waiting, report.rejected) == (0, 1)


@pytest.mark.parametrize("given_up", [True, False])
def test_a_prediction_that_comes_at_last_gets_its_label_back_and_the_count_goes(tmp_path: Path, given_up: bool) -> None:
    labels(tmp_path, "a.csv", ["id-0", "id-9"])
    load(tmp_path, "labels", 0)
    if given_up:
        load(tmp_path, "labels", 4)
    land(make_paths(tmp_path)[1].landing_inferences, "a.parquet", rows(2))
    load(tmp_path, "inferences", 5)
    report = load(tmp_path, "labels", 6)
    assert report.accepted == 1
    assert kinds(tmp_path) == {"labels": ["id-0"], "unmatched": [], "given_up": ["id-9"]}
    assert quarantine(tmp_path)["prediction_id"].to_list() == ["id-9"]
    assert counts(tmp_path) == [(1, 1, 0)]
    assert current_labels(SPEC, make_paths(tmp_path)[1]) == {"id-0": 1.0}
    ledger_adds_up(tmp_path)
    with open_ledger(make_paths(tmp_path)[1].ledger) as ledger:
        assert ledger.windows_since("labels", 0)[0] == {"2026-01-05": 1, "2026-02-04": 0}


def test_a_file_of_labels_that_were_given_up_can_be_loaded_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(2))
    load(tmp_path, "inferences", 0)
    file = labels(tmp_path, "a.csv", ["id-8", "id-9"])
    load(tmp_path, "labels", 0)
    load(tmp_path, "labels", 4)
    labels(tmp_path, "a.csv", ["id-0", "id-9"])
    reload(SPEC, paths, home, [file], now=NOW + 5 * DAY)
    assert kinds(tmp_path) == {"labels": ["id-0"], "unmatched": ["id-9"], "given_up": []}
    assert not list(paths.quarantine.glob("*.parquet"))
    ledger_adds_up(tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_order_the_end_is_the_same(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    _, paths = make_paths(tmp_path)
    steps = [*(("labels", n) for n in range(4)), *(("inferences", n) for n in range(4))]
    for day, (kind, n) in enumerate(rng.sample(steps, len(steps))):
        if kind == "labels":
            labels(tmp_path, f"{n}.csv", [f"id-{i}" for i in range(n, 24, 4)], n % 2)
        else:
            land(paths.landing_inferences, f"{n}.parquet", rows(4, first=4 * n, every=9 * timedelta(hours=1)))
        load(tmp_path, kind, 2 * day)
        load(tmp_path, "labels", 2 * day + 1)
    load(tmp_path, "labels", 60)
    known, lost = ([f"id-{i}" for i in span] for span in (range(16), range(16, 24)))
    assert kinds(tmp_path) == {"labels": sorted(known), "unmatched": [], "given_up": sorted(lost)}
    assert current_labels(SPEC, paths) == {f"id-{i}": float(i % 4 % 2) for i in range(16)}
    found = quarantine(tmp_path).filter(reason="unmatched_label")
    assert sorted(found["prediction_id"]) == sorted(lost)
    assert sorted(counts(tmp_path)) == [(4, 2, 0)] * 4
    ledger_adds_up(tmp_path)
