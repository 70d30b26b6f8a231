"""Which of several labels of a prediction counts: what came last, not what was read last."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.home import Home
from sightline.lake.intake.affected_windows import label_windows_waiting
from sightline.lake.intake.load import intake
from sightline.lake.intake.reload import reload
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.log.events import LabelEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.data_sections import Labels
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, rows

DAY = timedelta(days=1)
N = 10
SPEC = make_spec()
SEEN = make_spec(labels=Labels(column="y", observed_at="seen", give_up_after=3 * DAY))


def truth(*values: int, n: int = N, **extra: object) -> pl.DataFrame:
    """Rows of each value in turn for ids 0 to n."""
    frames = [pl.DataFrame({"id": [f"id-{i}" for i in range(n)], "y": [value] * n}) for value in values]
    return pl.concat(frames).with_columns(**{name: pl.lit(value) for name, value in extra.items()})


def current(root: Path, spec=SPEC) -> list[float]:
    """The label that counts of each prediction, by id."""
    labels = scan_lake(spec, make_paths(root)[1], "labels").collect()
    last = labels.sort("observed_at", "revision_order").unique("prediction_id", keep="last")
    return last.sort("prediction_id")["label_value"].to_list()


def load(root: Path, spec=SPEC) -> None:
    home, paths = make_paths(root)
    intake(spec, paths, "inferences", home)
    intake(spec, paths, "labels", home)
    ledger_adds_up(root)


@pytest.fixture
def corrected(tmp_path: Path) -> Path:
    """All labels 1 in one file; a later one corrects the first five to 0."""
    _, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(N))
    land(paths.landing_labels, "l1.csv", truth(1), START + 20 * DAY)
    land(paths.landing_labels, "l2.csv", truth(0, n=5), START + 21 * DAY)
    load(tmp_path)
    assert current(tmp_path) == [0.0] * 5 + [1.0] * 5
    return tmp_path


def test_a_file_that_is_touched_takes_no_correction_back(corrected: Path) -> None:
    os.utime(make_paths(corrected)[1].landing_labels / "l1.csv")
    load(corrected)
    assert current(corrected) == [0.0] * 5 + [1.0] * 5


def test_a_file_that_grows_takes_no_correction_back(corrected: Path) -> None:
    folder = make_paths(corrected)[1].landing_labels
    grown = pl.concat([truth(1), pl.DataFrame({"id": ["id-7"], "y": [0]})])
    land(folder, "l1.csv", grown, START + 22 * DAY)
    load(corrected)
    assert current(corrected) == [0.0] * 5 + [1.0, 1.0, 0.0, 1.0, 1.0], "the row that is new counts"


def test_a_file_that_is_corrected_where_it_lies_counts(corrected: Path) -> None:
    folder = make_paths(corrected)[1].landing_labels
    for k, value in enumerate((0, 1)):
        land(folder, "l2.csv", truth(value, n=5), START + (23 + k) * DAY)
        load(corrected)
        assert current(corrected) == [float(value)] * 5 + [1.0] * 5


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_is_loaded_again_keeps_its_place(corrected: Path, times: int) -> None:
    home, paths = make_paths(corrected)
    for _ in range(times):
        reload(SPEC, paths, home, [paths.landing_labels / "l1.csv"])
        assert current(corrected) == [0.0] * 5 + [1.0] * 5
    reload(SPEC, paths, home, [paths.landing_labels / "l2.csv"])
    assert current(corrected) == [0.0] * 5 + [1.0] * 5
    ledger_adds_up(corrected)


@pytest.mark.parametrize("spec", [SPEC, SEEN], ids=["arrival", "observed on one day"])
@pytest.mark.parametrize("how", ["files", "one file"])
def test_a_label_may_change_and_change_back(tmp_path: Path, spec, how: str) -> None:
    _, paths = make_paths(tmp_path)
    seen = {"seen": "2026-01-08"} if spec is SEEN else {}
    land(paths.landing_inferences, "a.parquet", rows(N))
    if how == "one file":
        land(paths.landing_labels, "l.csv", truth(1, 0, 1, **seen), START + 20 * DAY)
    else:
        for k, value in enumerate((1, 0, 1)):
            land(paths.landing_labels, f"l{k}.csv", truth(value, **seen), START + (20 + k) * DAY)
    load(tmp_path, spec)
    assert current(tmp_path, spec) == [1.0] * N
    assert len(scan_lake(spec, paths, "labels").collect()) == 3 * N


def test_a_label_may_change_and_change_back_in_the_log(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(N))
    with SegmentWriter(paths.log, "m", "labels") as writer:
        writer.append([LabelEvent(id="id-0", value=value) for value in (1, 0, 1)], received_at=START + 20 * DAY)
    load(tmp_path)
    assert current(tmp_path) == [1.0]


def test_a_copy_of_an_old_file_takes_no_correction_back(tmp_path: Path) -> None:
    """The same truth, observed at the same time, under another name; the correction was observed later."""
    _, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(N))
    land(paths.landing_labels, "l1.csv", truth(1, seen="2026-01-08"), START + 20 * DAY)
    land(paths.landing_labels, "l2.csv", truth(0, seen="2026-01-09"), START + 21 * DAY)
    land(paths.landing_labels, "copy.csv", truth(1, seen="2026-01-08"), START + 22 * DAY)
    load(tmp_path, SEEN)
    assert current(tmp_path, SEEN) == [0.0] * N


@pytest.mark.parametrize("received", [START + 4 * DAY, START + 100 * DAY])
def test_an_old_truth_belongs_to_the_prediction_before_it(tmp_path: Path, received) -> None:
    """Ids are predicted again every month; their labels land when they are known, or with the whole history."""
    _, paths = make_paths(tmp_path)
    for k in (0, 98):
        land(paths.landing_inferences, f"a{k}.parquet", rows(N, start=START + k * DAY), START + 100 * DAY)
    land(paths.landing_labels, "l.csv", truth(1, seen="2026-01-08"), received)
    load(tmp_path, SEEN)
    labels = scan_lake(SEEN, paths, "labels").collect()
    assert labels["window_start"].unique().to_list() == [START.replace(tzinfo=None)]
    assert len(labels) == N


def test_a_truth_before_all_predictions_finds_the_first(tmp_path: Path) -> None:
    """Clocks differ, or the time of the truth has no hours: the prediction that follows next is meant."""
    _, paths = make_paths(tmp_path)
    for k in (0, 98):
        land(paths.landing_inferences, f"a{k}.parquet", rows(N, start=START + k * DAY), START + 100 * DAY)
    land(paths.landing_labels, "l.csv", truth(1, seen="2026-01-01"), START + 100 * DAY)
    load(tmp_path, SEEN)
    labels = scan_lake(SEEN, paths, "labels").collect()
    assert labels["window_start"].unique().to_list() == [START.replace(tzinfo=None)]
    assert len(labels) == N


PREDICTED = {name: rows(N, start=START + day * DAY) for name, day in (("p", 0), ("q", 30), ("r", 60))}
TOLD = {"x": truth(1, seen="2026-01-20"), "y": truth(0, seen="2026-02-20"), "z": truth(1, seen="2026-01-01")}


def placed(root: Path, spec=SEEN) -> list[tuple[int, float]]:
    """Day of the prediction and value of each label of the first id."""
    labels = scan_lake(spec, make_paths(root)[1], "labels").collect().filter(pl.col("prediction_id") == "id-0")
    start = START.replace(tzinfo=None)
    return sorted(((window - start).days, value) for window, value in labels["window_start", "label_value"].rows())


@pytest.mark.parametrize("order", ["pqrxyz", "rqpxyz", "rxyzqp", "pxyzrq", "qyxpzr", "xrypzq", "zyxrqp"])
def test_a_label_moves_to_a_prediction_that_comes_after_it_and_fits_better(tmp_path: Path, order: str) -> None:
    """Ids are predicted again every month, and older months land later than the labels."""
    _, paths = make_paths(tmp_path)
    for k, name in enumerate(order):
        folder = paths.landing_inferences if name in PREDICTED else paths.landing_labels
        land(folder, f"{name}.csv", {**PREDICTED, **TOLD}[name], START + (100 + k) * DAY)
        load(tmp_path, SEEN)
    assert placed(tmp_path) == [(0, 1.0), (0, 1.0), (30, 0.0)]
    assert len(scan_lake(SEEN, paths, "labels").collect()) == 3 * N


def test_the_windows_that_a_label_leaves_and_enters_are_told(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "q.csv", PREDICTED["q"], START + 100 * DAY)
    land(paths.landing_labels, "x.csv", TOLD["x"], START + 101 * DAY)
    load(tmp_path, SEEN)
    land(paths.landing_inferences, "p.csv", PREDICTED["p"], START + 102 * DAY)
    intake(SEEN, paths, "inferences", Home(tmp_path))
    assert label_windows_waiting(SEEN, paths) == {"2026-01-05", "2026-02-04"}
    with open_ledger(paths.ledger) as ledger:
        _, before = ledger.windows_since("labels", 0)
    load(tmp_path, SEEN)
    assert label_windows_waiting(SEEN, paths) == set()
    with open_ledger(paths.ledger) as ledger:
        assert ledger.windows_since("labels", before)[0] == {"2026-01-05": N, "2026-02-04": -N}


@pytest.mark.parametrize("hint", ["2026-02-04", "2026-01-05"])
def test_a_label_that_names_its_prediction_stays_with_it(tmp_path: Path, hint: str) -> None:
    _, paths = make_paths(tmp_path)
    first, second = ("p", "q") if hint == "2026-01-05" else ("q", "p")
    told = truth(1, seen="2026-02-20", ts=f"{hint} 00:00:00")
    for k, (folder, name, frame) in enumerate(
        (
            (paths.landing_inferences, first, PREDICTED[first]),
            (paths.landing_labels, "told", told),
            (paths.landing_inferences, second, PREDICTED[second]),
        )
    ):
        land(folder, f"{name}.csv", frame, START + (100 + k) * DAY)
        load(tmp_path, SEEN)
    assert placed(tmp_path) == [(0 if first == "p" else 30, 1.0)]


def test_a_label_moves_to_the_prediction_it_names(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    told = truth(1, seen="2026-02-20", ts="2026-01-05 00:00:00")
    land(paths.landing_inferences, "q.csv", PREDICTED["q"], START + 100 * DAY)
    land(paths.landing_labels, "told.csv", told, START + 101 * DAY)
    load(tmp_path, SEEN)
    assert placed(tmp_path) == [(30, 1.0)]
    land(paths.landing_inferences, "p.csv", PREDICTED["p"], START + 102 * DAY)
    load(tmp_path, SEEN)
    assert placed(tmp_path) == [(0, 1.0)]


def test_a_label_whose_prediction_is_taken_away_goes_back_to_the_one_it_names(tmp_path: Path) -> None:
    """A corrected file that loses rows lets their labels wait; what they named is still known."""
    home, paths = make_paths(tmp_path)
    for name in ("p", "q", "r"):
        land(paths.landing_inferences, f"{name}.csv", PREDICTED[name], START + 100 * DAY)
    land(paths.landing_labels, "told.csv", truth(1, seen="2026-03-20", ts="2026-02-04 00:00:00"), START + 101 * DAY)
    load(tmp_path, SEEN)
    for frame in (PREDICTED["q"].tail(N - 1), PREDICTED["q"]):
        land(paths.landing_inferences, "q.csv", frame, START + 102 * DAY)
        reload(SEEN, paths, home, [paths.landing_inferences / "q.csv"])
    assert placed(tmp_path) == [(30, 1.0)]
    ledger_adds_up(tmp_path)


@pytest.mark.parametrize("order", ["abc", "acb", "bac", "bca", "cab", "cba"])
def test_the_order_of_delivery_does_not_matter(tmp_path: Path, order: str) -> None:
    """1 was known on day 8, 0 on day 9, and 1 again on day 10, whenever the files come."""
    _, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(N))
    files = {"a": truth(1, seen="2026-01-08"), "b": truth(0, seen="2026-01-09"), "c": truth(1, seen="2026-01-10")}
    for k, name in enumerate(order):
        land(paths.landing_labels, f"{name}.csv", files[name], START + (20 + k) * DAY)
        load(tmp_path, SEEN)
    found = scan_lake(SEEN, paths, "labels").collect()
    known = {day: found.filter(pl.col("observed_at") <= START.replace(tzinfo=None) + day * DAY) for day in (3, 4, 5)}
    values = {
        day: rows.sort("observed_at", "revision_order").unique("prediction_id", keep="last")["label_value"].to_list()
        for day, rows in known.items()
    }
    assert values == {3: [1.0] * N, 4: [0.0] * N, 5: [1.0] * N}
    assert current(tmp_path, SEEN) == [1.0] * N


def test_a_corrected_time_of_the_truth_is_a_revision(tmp_path: Path) -> None:
    _, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(N))
    for k, day in enumerate(("2026-01-09", "2026-01-08", "2026-01-08")):
        land(paths.landing_labels, "l.csv", truth(1, seen=day), START + (20 + k) * DAY)
        load(tmp_path, SEEN)
    found = scan_lake(SEEN, paths, "labels").collect()
    assert sorted(found["observed_at"].dt.day()) == [8] * N + [9] * N


def test_a_file_that_is_touched_and_loaded_again_keeps_its_place(corrected: Path) -> None:
    home, paths = make_paths(corrected)
    for k in range(2):
        os.utime(paths.landing_labels / "l1.csv", (START.timestamp() + (30 + k) * 86400,) * 2)
        reload(SPEC, paths, home, [paths.landing_labels / "l1.csv"])
        assert current(corrected) == [0.0] * 5 + [1.0] * 5
        os.utime(paths.landing_labels / "l1.csv", (START.timestamp() + (40 + k) * 86400,) * 2)
        load(corrected)
        assert current(corrected) == [0.0] * 5 + [1.0] * 5
    ledger_adds_up(corrected)
