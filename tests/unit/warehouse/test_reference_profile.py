"""Freezing the reference: when, from what, under which id, and what a rebuild changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.profile.build import count
from metrics_py.profile.resolution import RESOLUTION
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.judging.outgrown_reference import outgrown, with_reference
from sightline.judging.verdicts import Verdict
from sightline.lake.intake.load import intake
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference import build_reference, ensure_reference, load_reference, reference_id
from sightline.warehouse.reference_data import column_roles

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 60 * DAY


def make_spec(**changes) -> MonitorSpec:
    """Binary, daily, with an entity, two features and a segment; reference: the first two days."""
    base = {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "score": "score",
            "entity_id": "user",
            "features": {"x": "numeric", "c": "categorical", "is_new": "boolean", "seen": "datetime"},
            "segments": ["place"],
        },
        "labels": {"column": "label"},
        "reference": {"kind": "window", "start": START.isoformat(), "end": (START + 2 * DAY).isoformat()},
    }
    return MonitorSpec.model_validate(base | changes)


def make_rows(days: int, per_day: int = 300, seed: int = 1, first: int = 0) -> pl.DataFrame:
    """Rows of users with ten rows each that share x."""
    rng = np.random.default_rng(seed)
    n = days * per_day
    user = np.arange(n) // 10
    return pl.DataFrame(
        {
            "prediction_id": [f"p{first}-{i}" for i in range(n)],
            "timestamp": [START.replace(tzinfo=None) + (first + i / per_day) * DAY for i in range(n)],
            "score": rng.random(n),
            "user": [f"u{u}" for u in user],
            "x": rng.normal(size=n // 10 + 1)[user],
            "c": rng.choice(["a", "b", None], n).tolist(),
            "is_new": rng.random(n) < 0.3,
            "seen": [START.replace(tzinfo=None) - DAY * float(d) for d in rng.random(n)],
            "place": rng.choice([f"s{i:02d}" for i in range(30)], n, p=np.arange(1, 31) / 465),
        }
    )


def land(home: Home, kind: str, name: str, frame: pl.DataFrame, spec: MonitorSpec) -> MonitorPaths:
    paths = home.monitor("m")
    folder = paths.landing_inferences if kind == "inferences" else paths.landing_labels
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / f"{name}.parquet")
    intake(spec, paths, kind, home)
    return paths


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def test_profile_of_a_window(home):
    spec, rows = make_spec(), make_rows(3)
    paths = land(home, "inferences", "a", rows, spec)
    profile = build_reference(spec, paths, home, now=NOW)
    inside = rows.head(600)
    assert (profile.n_rows, profile.n_windows, profile.kind) == (600, 2, "window")
    assert profile.start == START and profile.end == START + 2 * DAY
    assert list(profile.columns) == ["x", "c", "is_new", "seen", "@score"]  # no label has arrived
    for name, column in profile.columns.items():
        values = inside[name.removeprefix("@")]
        assert column.n_reference.tolist() == count(column, values).tolist()
        assert column.rows_per_window == 300
    assert profile.columns["x"].design_effect > 3 > profile.columns["@score"].design_effect >= 1
    top = inside["place"].value_counts(sort=True).sort(["count", "place"], descending=[True, False])["place"].head(20)
    assert profile.segments.rows() == [("place", value) for value in top]
    assert profile.good_turing == {"c": 0.0}
    assert profile.quality == {}


def test_stored_profile_is_what_was_built(home):
    spec = make_spec()
    paths = land(home, "inferences", "a", make_rows(3), spec)
    built = build_reference(spec, paths, home, now=NOW)
    loaded = load_reference(paths)
    assert built.is_new and not loaded.is_new
    assert loaded.id == built.id == reference_id(paths)
    for name in ("bins", "cuts", "categories", "segments"):
        assert_frame_equal(getattr(loaded, name), getattr(built, name))
    assert loaded.created_at == NOW and loaded.source == built.source
    told = json.loads((paths.reference / "profile.json").read_text())
    assert told["design_effect"]["x"] == built.columns["x"].design_effect
    assert told["good_turing"] == {"c": 0.0}
    assert pl.read_parquet(paths.reference / "profile.parquet")["n_reference"].sum() == 600 * 5


def test_it_is_frozen_and_the_same_rows_give_the_same_id(home):
    spec = make_spec()
    paths = land(home, "inferences", "a", make_rows(3), spec)
    first = build_reference(spec, paths, home, now=NOW)
    again = build_reference(spec, paths, home, now=NOW + DAY, force=True)
    assert again.is_new and again.id == first.id
    land(
        home, "inferences", "b", make_rows(1, seed=5).with_columns(prediction_id="late" + pl.col("prediction_id")), spec
    )
    assert build_reference(spec, paths, home).id == first.id
    assert ensure_reference(spec, paths, home).id == first.id
    changed = build_reference(spec, paths, home, force=True)
    assert changed.id != first.id and changed.n_rows == 900 and load_reference(paths).id == changed.id


def test_it_waits_for_complete_rows(home):
    spec = make_spec()
    assert ensure_reference(spec, home.monitor("m"), home, now=NOW) is None
    paths = land(home, "inferences", "one", make_rows(1), spec)
    assert ensure_reference(spec, paths, home, now=NOW) is None  # the second day is missing
    land(home, "inferences", "two", make_rows(1, first=1), spec)
    assert ensure_reference(spec, paths, home, now=START + 1.9 * DAY) is None  # and still running
    profile = ensure_reference(spec, paths, home, now=START + 2 * DAY)
    assert profile is not None and profile.n_rows == 600


def test_rows_after_the_end_complete_it_whatever_the_clock_says(home):
    spec = make_spec()
    paths = land(home, "inferences", "a", make_rows(3), spec)
    assert ensure_reference(spec, paths, home, now=START) is not None


def test_rolling_takes_the_first_length_of_data(home):
    spec = make_spec(reference={"kind": "rolling", "length": "2d"}, start=START.isoformat())
    paths = land(home, "inferences", "one", make_rows(1, first=3), spec)
    assert ensure_reference(spec, paths, home, now=NOW) is None
    land(home, "inferences", "more", make_rows(4, first=4), spec)
    profile = ensure_reference(spec, paths, home, now=NOW)
    assert (profile.start, profile.end) == (START + 3 * DAY, START + 5 * DAY)
    assert profile.n_rows == 600 and profile.kind == "rolling"


def test_label_bins_are_added_when_half_the_labels_are_there(home):
    spec, rows = make_spec(), make_rows(3)
    paths = land(home, "inferences", "a", rows, spec)
    first = ensure_reference(spec, paths, home, now=NOW)
    labels = rows.select("prediction_id", label=pl.lit(1))
    land(home, "labels", "few", labels.head(200), spec)
    assert not ensure_reference(spec, paths, home, now=NOW).is_new
    land(home, "labels", "more", labels.slice(200, 200), spec)
    second = ensure_reference(spec, paths, home, now=NOW)
    assert second.is_new and second.id != first.id
    assert second.columns["@label"].n_reference.sum() == 400
    assert_frame_equal(second.bins.filter(pl.col("column_name") != "@label"), first.bins)
    assert not ensure_reference(spec, paths, home, now=NOW).is_new


def test_columns_named_later_are_added_and_leave_the_others_as_they_are(home):
    spec = make_spec()
    first = make_spec(columns=spec.columns.model_dump() | {"features": {"x": "numeric"}})
    added = {"x": "numeric", "c": "categorical", "unknown": "numeric"}
    later = make_spec(columns=spec.columns.model_dump() | {"features": added})
    paths = land(home, "inferences", "a", make_rows(3), first)
    before = ensure_reference(first, paths, home, now=NOW)
    intake(later, paths, "inferences", home, now=NOW)
    after = ensure_reference(later, paths, home, now=NOW)
    assert after.columns.keys() == before.columns.keys() | {"c"} and after.id != before.id
    assert {name: profile.facts() for name, profile in before.columns.items()} == {
        name: after.columns[name].facts() for name in before.columns
    }
    assert ensure_reference(later, paths, home, now=NOW).id == after.id
    fresh = build_reference(
        later, land(Home(home.root / "fresh"), "inferences", "a", make_rows(3), later), home, now=NOW
    )
    assert_frame_equal(fresh.columns["c"].to_frame(), after.columns["c"].to_frame())


def test_a_rebuild_killed_between_its_files_counts_as_none(home):
    spec = make_spec()
    paths = land(home, "inferences", "a", make_rows(3), spec)
    before = build_reference(spec, paths, home, now=NOW)
    bins = pl.read_parquet(paths.reference / "profile.parquet")
    bins.with_columns(n_reference=pl.col("n_reference") + 1).write_parquet(paths.reference / "profile.parquet")
    assert load_reference(paths) is None
    assert ensure_reference(spec, paths, home, now=NOW).id == before.id


def test_a_profile_in_another_format_is_told_and_can_be_rebuilt(home):
    spec = make_spec()
    paths = land(home, "inferences", "a", make_rows(3), spec)
    build_reference(spec, paths, home, now=NOW)
    file = paths.reference / "profile.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(SightlineError, match="format 99, this version of Sightline reads format"):
        ensure_reference(spec, paths, home, now=NOW)
    build_reference(spec, paths, home, force=True, now=NOW)
    assert load_reference(paths) is not None


def test_no_rows_is_an_error_with_a_fix(home):
    with pytest.raises(SightlineError, match="no rows to build the reference from") as error:
        build_reference(make_spec(), home.monitor("m"), home)
    assert "load inferences of that time" in str(error.value)


def test_all_null_and_constant_columns_have_bins(home):
    spec = make_spec()
    rows = make_rows(3).with_columns(x=pl.lit(None, pl.Float64), c=pl.lit("same"), score=pl.lit(0.25))
    paths = land(home, "inferences", "a", rows, spec)
    profile = build_reference(spec, paths, home, now=NOW)
    assert profile.columns["x"].n_reference.sum() == 600
    score = profile.cuts.filter(pl.col("column_name") == "@score")
    assert score["cut"].to_list() == pytest.approx([0.25, 0.25, np.inf], rel=RESOLUTION)
    assert score["cut"][0] < 0.25 <= score["cut"][1]


def test_column_roles_follow_the_task():
    spec = make_spec(
        model={"id": "m", "task": "multiclass_classification"},
        columns={"class_scores": {"a": "pa", "b": "pb"}, "prediction": "class", "features": {"x": "numeric"}},
    )
    found = [(role.column_name, role.lake_column, role.kind) for role in column_roles(spec)]
    assert found == [
        ("x", "f_x", "numeric"),
        ("@prediction", "predicted_class", "categorical"),
        ("@class_score:a", "p_a", "numeric"),
        ("@class_score:b", "p_b", "numeric"),
        ("@label", "label_class", "categorical"),
    ]
    regression = make_spec(model={"id": "m", "task": "regression"}, columns={"prediction": "y"})
    assert [role.lake_column for role in column_roles(regression)] == ["prediction", "label_value"]


@pytest.mark.parametrize("name", ["profile.json", "profile.parquet"])
def test_a_broken_profile_is_told_with_its_place_and_can_be_rebuilt(home, name):
    spec = make_spec()
    paths = land(home, "inferences", "a", make_rows(3), spec)
    before = build_reference(spec, paths, home, now=NOW)
    file = paths.reference / name
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(SightlineError, match=r"reference: the reference profile cannot be read.*\n.*rebuild: true"):
        load_reference(paths)
    assert build_reference(spec, paths, home, force=True, now=NOW).id == before.id
    assert load_reference(paths) is not None


def test_a_reference_that_was_frozen_before_most_of_its_rows_had_come_is_told(home):
    spec, rows = make_spec(), make_rows(12)
    paths = home.monitor(spec.id)
    assert outgrown(spec, paths) == ""
    first = rows.filter(pl.int_range(pl.len()) % 3 == 0)
    land(home, "inferences", "newest.parquet", first, spec)
    ensure_reference(spec, paths, home)
    assert outgrown(spec, paths) == ""
    land(home, "inferences", "oldest.parquet", rows, spec)
    said = outgrown(spec, paths)
    assert said.startswith("The reference was frozen from ") and "`rebuild: true`" in said
    found = dict(with_reference([("w", Verdict("ok", "Nothing has ceased to be judged."))], said))
    assert (found["w"].level, found["w"].cause) == ("warn", "evidence") and found["w"].text.startswith(said)
    build_reference(spec, paths, home, force=True)
    assert outgrown(spec, paths) == ""
    assert dict(with_reference([("w", Verdict("ok", "Well."))], "")) == {"w": Verdict("ok", "Well.")}
