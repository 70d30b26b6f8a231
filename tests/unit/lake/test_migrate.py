"""A monitor's file that changed after data were stored: told, never silently; migrated on demand, or taken over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.lake.intake.load import intake
from sightline.lake.intake.migrate import migrate
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake
from sightline.lake.store.progress import open_progress
from sightline.lake.store.stored_spec import require_current
from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from sightline.spec.columns import Columns, Feature
from sightline.spec.data_sections import Labels, Model
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, land, ledger_adds_up, make_paths, make_spec, quarantine, rows

SPEC = make_spec()
EVERY = timedelta(hours=5)


def load(root: Path, spec: MonitorSpec = SPEC) -> None:
    home, paths = make_paths(root)
    intake(spec, paths, "inferences", home)
    intake(spec, paths, "labels", home)


def stored(root: Path, n: int = 100) -> pl.DataFrame:
    """Five hours apart over three weeks, every second one labelled; what a fresh start under the file of now holds."""
    _, paths = make_paths(root)
    land(paths.landing_inferences, "a.parquet", rows(n, every=EVERY))
    truth = pl.DataFrame({"id": [f"id-{i}" for i in range(0, n, 2)], "y": [i % 3 == 0 for i in range(0, n, 2)]})
    land(paths.landing_labels, "y.parquet", truth)
    return rows(n, every=EVERY)


def tables(root: Path, spec: MonitorSpec) -> dict[str, Any]:
    paths = make_paths(root)[1]
    found: dict[str, Any] = {}
    for kind, keys in (("inferences", ["prediction_id", "model_version"]), ("labels", ["prediction_id"])):
        frame = scan_lake(spec, paths, kind).collect().sort(keys)
        found[kind] = frame.drop("batch_id", "revision_order", "received_at", "observed_at", strict=False).to_dicts()
        with open_progress(paths.ledger) as progress:
            counted = progress.rows(kind, progress.changes([kind]))
        there = frame.group_by("window_start").len()
        assert {key: n for key, n in counted.items() if n} == {spec.key(at): n for at, n in there.iter_rows()}
    return found


@pytest.mark.parametrize("schedule", ["weekly", "hourly"])
def test_another_schedule_is_refused_and_migrated_to_what_a_fresh_start_holds(tmp_path: Path, schedule: str) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    stored(old)
    load(old)
    now = make_spec(schedule=schedule)
    home, paths = make_paths(old)
    told = f"schedule was daily, is {schedule}"
    with pytest.raises(SightlineError, match=f"{told}(.|\n)*sightline migrate m"):
        intake(now, paths, "inferences", home)
    with pytest.raises(SightlineError, match=told):
        require_current(now, paths)
    report = migrate(now, paths, home)
    assert [str(change) for change in report.changes] == [told]
    require_current(now, paths)
    stored(fresh)
    load(fresh, now)
    assert tables(old, now) == tables(fresh, now)
    assert scan_lake(now, paths, "inferences").collect().height == 100
    ledger_adds_up(old)
    assert not migrate(now, paths, home).changes


def test_ids_that_meet_in_a_longer_window_are_told(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    for day in range(9):
        land(paths.landing_inferences, f"{day}.parquet", rows(10, start=START + timedelta(days=day), seed=day))
    load(tmp_path)
    weekly = make_spec(schedule="weekly")
    report = migrate(weekly, paths, home)
    assert report.repeated == 70
    assert scan_lake(weekly, paths, "inferences").collect().group_by("window_start").len()["len"].to_list() == [10, 10]
    assert quarantine(tmp_path)["reason"].value_counts().rows() == [("conflicting_duplicate", 70)]
    ledger_adds_up(tmp_path)


def with_features(**kinds: str) -> MonitorSpec:
    features = {name: Feature(kind=kind) for name, kind in kinds.items()}  # type: ignore[arg-type]
    return make_spec(columns=SPEC.columns.model_copy(update={"features": features}))


def test_an_added_feature_is_read_from_what_was_logged(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    first = with_features(x="numeric")
    told = rows(30)
    land(paths.landing_inferences, "a.csv", told)
    gone = land(paths.landing_inferences, "b.parquet", rows(5, first=100))
    clock = START + timedelta(days=1)
    with SegmentWriter(paths.log, "m", "inferences") as log:
        events = [InferenceEvent(id=f"s{i}", at=START, features={"x": 1.0, "c": "blue"}, score=0.5) for i in range(3)]
        log.append(events, received_at=clock)
    intake(first, paths, "inferences", home)
    gone.unlink()
    now = with_features(x="numeric", c="categorical")
    assert [change.is_harmless for change in require_current(now, paths)] == [True]
    intake(now, paths, "inferences", home)
    assert require_current(now, paths) == []
    found = scan_lake(now, paths, "inferences").collect()
    values = dict(found.select("prediction_id", "f_c").iter_rows())
    assert [values[f"id-{i}"] for i in range(30)] == told["c"].to_list()
    assert {values[f"s{i}"] for i in range(3)} == {"blue"}
    assert {values[f"id-{i}"] for i in range(100, 105)} == {None}
    with open_progress(paths.ledger) as progress:
        assert progress.rows("inferences", ["2026-01-05"]) == {"2026-01-05": 38}


def test_another_kind_is_migrated_from_the_files_and_from_the_lake_where_they_are_gone(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    first = with_features(x="numeric", zip="numeric")
    data = rows(30).with_columns(zip=pl.Series([f"{i:05d}" for i in range(30)]))
    land(paths.landing_inferences, "a.csv", data.head(20))
    gone = land(paths.landing_inferences, "b.csv", data.tail(10))
    intake(first, paths, "inferences", home)
    gone.unlink()
    now = with_features(x="numeric", zip="categorical")
    with pytest.raises(SightlineError, match=r"features\.zip was numeric, is categorical"):
        intake(now, paths, "inferences", home)
    assert migrate(now, paths, home).gone == 10
    found = scan_lake(now, paths, "inferences").collect().sort("predicted_at")["f_zip"].to_list()
    assert found == [f"{i:05d}" for i in range(20)] + [str(i) for i in range(20, 30)]
    assert not migrate(now, paths, home).changes


def test_another_positive_class_turns_the_labels(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    stored(tmp_path)
    load(tmp_path)
    before = scan_lake(SPEC, paths, "labels").collect().sort("prediction_id")["label_value"]
    now = make_spec(labels=Labels(column="y", give_up_after=timedelta(days=3), positive=0))
    with pytest.raises(SightlineError, match="positive was 1, is 0"):
        intake(now, paths, "labels", home)
    migrate(now, paths, home)
    after = scan_lake(now, paths, "labels").collect().sort("prediction_id")["label_value"]
    assert after.to_list() == (1 - before).to_list()


WORDS = ["late"] * 20 + ["on time"] * 50 + ["early"] * 30


def labelled(**changes: Any) -> MonitorSpec:
    return make_spec(labels=Labels(**{"column": "y", "give_up_after": timedelta(days=3), **changes}))


@pytest.mark.parametrize("is_gone", [False, True], ids=["the file is there", "the file is gone"])
@pytest.mark.parametrize(
    ("before", "now", "told", "n_lost"),
    [
        ({"positive": "late"}, {"positive": "late", "negative": "on time"}, r'negative was \[\], is \["on time"\]', 0),
        (
            {"positive": "late", "negative": "on time"},
            {"positive": "late", "negative": ("on time", "early")},
            r'negative was \["on time"\], is',
            30,
        ),
        ({}, {"positive": "late"}, "positive was 1, is late", 100),
    ],
    ids=["narrowed", "widened", "all were refused"],
)
def test_other_classes_read_the_labels_again(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any], told: str, n_lost: int, *, is_gone: bool
) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(100))
    file = land(paths.landing_labels, "y.csv", pl.DataFrame({"id": [f"id-{i}" for i in range(100)], "y": WORDS}))
    load(tmp_path, labelled(**before))
    spec = labelled(**now)
    with pytest.raises(SightlineError, match=told):
        intake(spec, paths, "labels", home)
    if is_gone:
        file.unlink()
    migrate(spec, paths, home)
    intake(spec, paths, "labels", home)
    known = [word for word in WORDS if word in (spec.class_names.known or WORDS) or not spec.class_names.is_closed]
    expected = known[: len(known) - n_lost] if is_gone else known
    found = scan_lake(spec, paths, "labels").collect()
    assert sorted(found["label_class"]) == sorted(expected)
    assert found["label_value"].sum() == expected.count("late")
    ledger_adds_up(tmp_path)


def test_other_negatives_read_predicted_classes_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    columns = SPEC.columns.model_copy(update={"prediction": "said"})
    old, now = (
        make_spec(columns=columns, labels=Labels(column="y", positive="late", negative=words))
        for words in ("on time", ("on time", "early"))
    )
    land(paths.landing_inferences, "a.csv", rows(100).with_columns(said=pl.Series(WORDS)))
    load(tmp_path, old)
    assert scan_lake(old, paths, "inferences").collect()["predicted_class"].null_count() == 30
    migrate(now, paths, home)
    assert sorted(scan_lake(now, paths, "inferences").collect()["predicted_class"]) == sorted(WORDS)


def test_classes_of_several_that_are_named_later_read_the_labels_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    columns = SPEC.columns.model_copy(update={"score": None, "prediction": "said"})
    several = Model(id="m", task="multiclass_classification")
    old, narrow, wide = (
        make_spec(model=several, columns=columns, labels=Labels(column="y", classes=classes))
        for classes in (None, ("late", "on time"), ("late", "on time", "early"))
    )
    land(paths.landing_inferences, "a.csv", rows(100).with_columns(said=pl.Series(WORDS)))
    land(paths.landing_labels, "y.csv", pl.DataFrame({"id": [f"id-{i}" for i in range(100)], "y": WORDS}))
    load(tmp_path, old)
    for newer, told in (
        (narrow, r'classes was \[\], is \["late", "on time"\]'),
        (wide, 'classes was .*, is .*"early"'),
    ):
        with pytest.raises(SightlineError, match=told):
            intake(newer, paths, "labels", home)
        migrate(newer, paths, home)
        expected = sorted(word for word in WORDS if word in newer.class_names.known)
        assert sorted(scan_lake(newer, paths, "labels").collect()["label_class"]) == expected
        found = scan_lake(newer, paths, "inferences").collect()["predicted_class"].drop_nulls()
        assert sorted(found) == expected
        assert scan_lake(newer, paths, "labels").collect()["label_value"].null_count() == len(expected)
        ledger_adds_up(tmp_path)


def test_another_time_of_the_truth_is_read_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    seen = (START + timedelta(days=2)).replace(tzinfo=None)
    land(paths.landing_inferences, "a.parquet", rows(10))
    land(paths.landing_labels, "y.parquet", pl.DataFrame({"id": [f"id-{i}" for i in range(10)], "y": 1, "seen": seen}))
    load(tmp_path, labelled())
    now = labelled(observed_at="seen")
    with pytest.raises(SightlineError, match=r"observed_at was \(arrival\), is seen"):
        intake(now, paths, "labels", home)
    migrate(now, paths, home)
    found = scan_lake(now, paths, "labels").collect()
    assert found["observed_at"].unique().to_list() == [seen]
    assert found.height == 10


def test_labels_that_were_left_out_for_a_while_are_compared_with_what_was_stored(tmp_path: Path) -> None:
    paths = make_paths(tmp_path)[1]
    stored(tmp_path, 10)
    load(tmp_path)
    load(tmp_path, make_spec(labels=None))
    with pytest.raises(SightlineError, match="positive was 1, is 0"):
        load(tmp_path, labelled(positive=0))
    load(tmp_path, labelled(negative=0))
    assert scan_lake(SPEC, paths, "labels").collect().height == 5


def test_silence_that_becomes_an_answer_is_told_and_migrated(tmp_path: Path) -> None:
    """Every window is to be worked up again; the stored labels stay as they are. Earlier releases kept no such fact."""
    home, paths = make_paths(tmp_path)
    stored(tmp_path, 10)
    load(tmp_path, labelled())
    with open_ledger(paths.ledger) as ledger, ledger.transaction() as con:
        con.execute("DELETE FROM facts WHERE name = 'silence'")
    now = labelled(silence="negative", give_up_after=timedelta(days=5))
    with pytest.raises(SightlineError, match="silence was unknown, is negative"):
        intake(now, paths, "labels", home)
    before = tables(tmp_path, now)
    with open_progress(paths.ledger) as progress:
        progress.write_aggregated("delayed", ["2026-01-05"], 1, "")
        progress.write_judged("delayed", "model_quality", ["2026-01-05"], START, "run")
        progress.write_alerted("run")
        assert progress.done("delayed")
    report = migrate(now, paths, home)
    assert [str(change) for change in report.changes] == ["silence was unknown, is negative"]
    require_current(now, paths)
    assert tables(tmp_path, now) == before and not report.reloaded
    with open_progress(paths.ledger) as progress:
        assert not progress.done("delayed")


def test_another_id_loads_the_files_again(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    data = rows(30).with_columns(key=pl.format("k-{}", "id"))
    land(paths.landing_inferences, "a.parquet", data)
    land(paths.landing_labels, "y.parquet", data.select("id", "key", y=pl.lit(1)))
    load(tmp_path)
    columns = SPEC.columns.model_copy(update={"prediction_id": "key"})
    now = make_spec(columns=columns)
    with pytest.raises(SightlineError, match=r"columns\.prediction_id was id, is key"):
        intake(now, paths, "inferences", home)
    report = migrate(now, paths, home)
    assert (report.n_reloaded, len(report.reloaded), report.kept) == ({"inferences": 1, "labels": 1}, 2, [])
    for kind in ("inferences", "labels"):
        found = scan_lake(now, paths, kind).collect()
        assert sorted(found["prediction_id"]) == sorted(f"k-id-{i}" for i in range(30)), kind
    ledger_adds_up(tmp_path)


@pytest.mark.parametrize(
    "now",
    [
        make_spec(columns=SPEC.columns.model_copy(update={"score": "probability"})),
        with_features(x="numeric"),
        make_spec(start=START + timedelta(days=1)),
        make_spec(labels=None),
        make_spec(columns=Columns(**{**SPEC.columns.model_dump(), "features": {"x": {"kind": "numeric", "max": 3}}})),
    ],
    ids=["a column called otherwise", "a feature left out", "a later start", "no labels", "a contract"],
)
def test_what_touches_no_stored_row_is_taken_over(tmp_path: Path, now: MonitorSpec) -> None:
    home, paths = make_paths(tmp_path)
    stored(tmp_path, 10)
    load(tmp_path)
    intake(now, paths, "inferences", home)
    assert require_current(now, paths) == []
    assert scan_lake(now, paths, "inferences").collect().height == 10


def test_an_earlier_start_loads_what_was_out_of_range(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    late = make_spec(start=START + timedelta(days=2))
    stored(tmp_path)
    load(tmp_path, late)
    assert scan_lake(late, paths, "inferences").collect().height == 90
    with pytest.raises(SightlineError, match="start was 2026-01-07"):
        intake(SPEC, paths, "inferences", home)
    migrate(SPEC, paths, home)
    assert scan_lake(SPEC, paths, "inferences").collect().height == 100
    assert scan_lake(SPEC, paths, "labels").collect().height == 50


def test_the_command_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, _ = make_paths(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    home.monitors.mkdir()
    text = (
        "model: {id: m, task: binary_classification}\n"
        "columns: {prediction_id: id, timestamp: ts, score: p, model_version: version,"
        " features: {x: numeric, c: categorical}, segments: [c]}\n"
        "labels: {column: y, give_up_after: 3d}\n"
        "reference: {kind: window, start: 2026-01-05, end: 2026-01-07}\n"
    )
    stored(tmp_path)
    load(tmp_path)
    (home.monitors / "m.yaml").write_text(text + "schedule: weekly\n")
    done = CliRunner().invoke(cli, ["migrate", "m"], catch_exceptions=False)
    assert done.exit_code == 0 and "schedule was daily, is weekly" in done.output
    again = CliRunner().invoke(cli, ["migrate", "m"], catch_exceptions=False)
    assert "nothing to migrate" in again.output


def test_the_command_counts_files_of_predictions_and_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = make_paths(tmp_path)
    data = rows(30).with_columns(key=pl.format("k-{}", "id"))
    land(paths.landing_inferences, "a.parquet", data)
    for name, part in (("y", data.head(10)), ("z", data.tail(20))):
        land(paths.landing_labels, f"{name}.parquet", part.select("id", "key", y=pl.lit(1)))
    load(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "m.yaml").write_text(
        "model: {id: m, task: binary_classification}\n"
        "columns: {prediction_id: key, timestamp: ts, score: p, model_version: version,"
        " features: {x: numeric, c: categorical}, segments: [c]}\n"
        "labels: {column: y, give_up_after: 3d}\n"
        "reference: {kind: window, start: 2026-01-05, end: 2026-01-07}\n"
    )
    done = CliRunner().invoke(cli, ["migrate", "m"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "1 files of predictions loaded again\n2 files of labels loaded again\n" in done.output
    assert "sightline backfill m" in done.output
