"""The backtest through a real lake: what it finds, what it never sees, and what is said of estimators that fail."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.lake.intake.load import intake
from sightline.retraining.advise import advise
from sightline.retraining.backtest import backtest, plan_of
from sightline.retraining.history import known_by, read_history
from sightline.retraining.render import to_json, to_markdown, to_table
from sightline.retraining.words import sections, verdict
from tests.support.ageing import DAYS, day_start, make, monitor, world
from tests.support.lake import START, land

NOW = START + timedelta(days=DAYS + 30)
RULES = {"cost": 300, "value_per_point": 100, "unit": "EUR", "estimator": "models_of_m:estimator", "max_fits": 36}


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """A world that turns by a degree a day."""
    return make(tmp_path_factory.mktemp("turning"), world(0.018), monitor(retraining=RULES))


@pytest.fixture(scope="module")
def advice(turning):
    _, paths, spec = turning
    return advise(spec, paths, now=NOW, with_backtest=True)


def test_a_model_that_ages_is_found_out_and_its_cadence_named(advice):
    d = advice.decay
    assert d.change == "worse"
    assert d.n_versions == 6
    assert 0.003 < d.slope < 0.05
    assert advice.cadence is not None
    assert advice.cadence.ci_low < advice.cadence.interval < advice.cadence.ci_high
    assert advice.served.name == "v1"
    assert not advice.served.is_declared
    assert "trained on" in advice.gap.source
    assert advice.gap.ci_low > 0.05, "the model of day 0 knows nothing of day 80"
    assert advice.state == "pays"
    text = to_table(advice)
    assert "roc_auc falls by" in text
    assert "EUR a week, the least possible" in text
    assert verdict(advice) == "retrain now: it pays"


def test_old_data_are_dropped_where_they_mislead(advice):
    words = dict(sections(advice))["What to learn from"]
    [of_all] = [text for text in words if text.startswith("All history")]
    assert "loses" in of_all
    assert "drop data that are older" in of_all
    assert [each.kind for each in advice.comparisons] == ["rows", "rows", "length", "length", "length"]


def test_all_forms_tell_the_same(advice):
    told = json.loads(to_json(advice))
    assert told["state"] == "pays"
    assert told["decay"]["change"] == "worse"
    assert len(told["cells"]) == len(advice.cells)
    assert to_markdown(advice).startswith("# m: retrain now: it pays")


def test_a_world_that_stands_still_needs_no_schedule(tmp_path):
    _, paths, spec = make(tmp_path, world(0.0, seed=2), monitor(retraining={**RULES, "horizon": "8w"}))
    found = advise(spec, paths, now=NOW, with_backtest=True)
    assert found.decay.change == "not_measurable"
    assert found.cadence is None
    assert found.state == "does_not_pay"
    text = to_table(found)
    assert "No measurable decay" in text
    assert "Do not retrain on schedule" in text


def test_a_training_sees_no_label_that_came_later(turning):
    _, paths, spec = turning
    history = read_history(spec, paths, max_rows=10**6, now=NOW)
    moment = day_start(30)
    known = known_by(spec, history, moment, day_start(0))
    assert known["predicted_at"].max() <= moment - timedelta(hours=36)
    assert len(known) == len(history.rows.filter(pl.col("predicted_at") <= moment - timedelta(hours=36)))


def test_a_label_that_was_corrected_later_counts_as_it_was(tmp_path):
    home, paths, spec = make(tmp_path, world(0.0, seed=3, days=30), monitor(retraining=RULES))
    first = pl.DataFrame({"id": ["id-0"], "y": [0], "seen": [day_start(20)]})
    other = pl.DataFrame({"id": ["id-0"], "y": [1], "seen": [day_start(25)]})
    for name, rows in (("a.parquet", first), ("b.parquet", other)):
        land(paths.landing_labels, name, rows, START + timedelta(days=40))
    intake(spec, paths, "labels", home)
    history = read_history(spec, paths, max_rows=10**6, now=NOW)

    def label(day: int) -> float:
        known = known_by(spec, history, day_start(day), day_start(0))
        return known.filter(prediction_id="id-0")["label_value"][0]

    assert [label(day) for day in (21, 24, 26)] == [0.0, 0.0, 1.0]
    assert history.rows.filter(prediction_id="id-0")["label_value"][0] == 1.0


def test_silence_becomes_an_answer_only_once_it_has_lasted(tmp_path):
    rows = world(0.0, seed=4, days=30)
    labels = {"column": "y", "observed_at": "seen", "expected_delay": "2d", "give_up_after": "4d"}
    content = monitor(labels={**labels, "silence": "negative"}, retraining=RULES)
    _, paths, spec = make(tmp_path, rows.filter(pl.col("y") == 1), content)
    history = read_history(spec, paths, max_rows=10**6, now=NOW)
    assert known_by(spec, history, day_start(20), day_start(0))["label_value"].min() == 1.0, "positives only, so far"
    land(paths.landing_inferences, "more.parquet", rows.filter(pl.col("y") == 0).drop("y", "seen"), NOW)
    from sightline.home import Home

    intake(spec, paths, "inferences", Home(tmp_path))
    history = read_history(spec, paths, max_rows=10**6, now=NOW)
    known = known_by(spec, history, day_start(20), day_start(0))
    negative = known.filter(label_value=0.0)
    assert negative["predicted_at"].max() < day_start(20 - 5)
    assert negative["label_class"].unique().to_list() == ["0"]


def test_the_sample_is_the_same_in_whatever_order_rows_came(tmp_path):
    rows = world(0.0, seed=5, days=30)
    content = monitor(retraining=RULES)
    found = []
    for name, frame in (("one", rows), ("other", rows.sample(fraction=1.0, shuffle=True, seed=1))):
        _, paths, spec = make(tmp_path / name, frame, content)
        found.append(read_history(spec, paths, max_rows=100, now=NOW))
    assert found[0].is_sampled
    assert 1500 < len(found[0].rows) < 2600
    assert found[0].rows["prediction_id"].equals(found[1].rows["prediction_id"])


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        ("models_of_m:broken", ["`fit` on", "RuntimeError: the matrix is singular", "training of 2026-"]),
        ("models_of_m:on_text", ["`fit` on", "could not convert string to float"]),
        ("models_of_m:scoreless", ["no `predict_proba`"]),
        ("models_of_m:missing", ["models_of_m has no missing"]),
        ("models_of_m:no_function", ["is no function"]),
        ("models_of_n:estimator", ["cannot be imported", "models_of_n.py into the home folder"]),
    ],
)
def test_an_estimator_that_fails_is_named_with_its_place(turning, estimator, words):
    _, paths, spec = turning
    rules = spec.retraining.model_copy(update={"estimator": estimator})
    with pytest.raises(SightlineError) as caught:
        advise(spec.model_copy(update={"retraining": rules}), paths, now=NOW, with_backtest=True)
    assert f"retraining.estimator {estimator}" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_history_loaded_at_once_is_refused_with_the_reason(tmp_path):
    labels = {"column": "y", "expected_delay": "2d", "give_up_after": "4d"}
    _, paths, spec = make(tmp_path, world(0.0, seed=6, days=40), monitor(labels=labels, retraining=RULES))
    with pytest.raises(SightlineError, match=r"no training was possible.* labels were known then") as caught:
        backtest(spec, paths, now=NOW)
    assert "where history was loaded at once" in str(caught.value)


def test_a_short_history_without_labels_is_not_called_of_one_class(turning):
    """Labels come after 36 hours: in half of three days none had come, and in three days those of a day and a half."""
    _, paths, spec = turning
    rules = spec.retraining.model_copy(update={"training_window": timedelta(days=3)})
    found = advise(spec.model_copy(update={"retraining": rules}), paths, now=NOW, with_backtest=True)
    text = to_table(found)
    assert "labels were known then, 30 are needed" in text and "Of the 2 days before 2026-" in text
    assert "one class" not in text and found.n_fits > 6


def test_a_history_too_short_is_refused(turning):
    _, _, spec = turning
    with pytest.raises(SightlineError, match="too short for 3 trainings"):
        plan_of(spec, day_start(0), day_start(2))
    months = plan_of(spec, day_start(0), day_start(80))
    assert len(months.moments) == 6
    assert months.unit == timedelta(days=7)
    assert months.moments[0] - months.length >= months.start
    assert months.moments[-1] + months.step == months.end


def test_the_command_tells_and_a_failure_has_exit_code_2(turning, monkeypatch):
    home, _, _ = turning
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    done = CliRunner().invoke(cli, ["retraining", "m", "--backtest", "--format", "markdown"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "# m: retrain now: it pays" in done.output
    plain = CliRunner().invoke(cli, ["retraining", "m"], catch_exceptions=False)
    assert plain.exit_code == 0
    assert "no window was judged by two versions" in plain.output
    assert "sightline retraining m --backtest" in plain.output


def test_validate_names_an_estimator_that_is_not_found(tmp_path, monkeypatch):
    content = monitor(retraining={**RULES, "estimator": "models_of_m:absent"})
    home, _, _ = make(tmp_path, world(0.0, days=1), content)
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    done = CliRunner().invoke(cli, ["validate", "m"])
    assert done.exit_code == 2
    assert "models_of_m has no absent" in done.output
    assert "m.yaml:" in done.output


@pytest.mark.parametrize("schedule", ["hourly", "weekly"])
def test_a_regression_without_versions_is_judged_on_any_schedule(tmp_path, schedule):
    """Of a world that turns, in minutes of error: a point is one minute."""
    rows = world(0.018, seed=7).with_columns(
        y=3 * pl.col("z") + pl.col("x").fill_null(0.0) * (pl.int_range(pl.len()) / pl.len()), p=pl.col("z")
    )
    columns = {
        "prediction_id": "id",
        "timestamp": "ts",
        "prediction": "p",
        "features": {"x": "numeric", "z": "numeric"},
    }
    rules = {**RULES, "estimator": "models_of_m:numbers", "max_fits": 18, "horizon": "10w"}
    content = monitor(columns=columns, schedule=schedule, quality={"min_labels": 5}, retraining=rules)
    content["model"] = {"id": "m", "task": "regression"}
    _, paths, spec = make(tmp_path, rows.drop("version"), content)
    found = advise(spec, paths, now=NOW, with_backtest=True)
    assert (found.metric, found.sign, found.point) == ("mae", 1.0, 1.0)
    assert found.served.name == "unversioned"
    assert found.decay.n_versions == 3
    assert found.gap is not None
    assert found.gap.value > 0.5, "the model in service leaves out most of the slope"
    assert found.state == "pays"
    assert "mae" in to_table(found)
