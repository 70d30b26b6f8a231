"""Versions of the log and candidates on the same windows: what is compared, what is left out, what is said."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.retraining.advise import advise
from sightline.retraining.render import publish, to_table
from sightline.retraining.versions import versions
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.ageing import DAYS, ROWS, day_start, make, monitor, publish_versions, world
from tests.support.lake import START

NOW = START + timedelta(days=DAYS + 30)
COSTS = {"cost": 200, "value_per_point": 50, "unit": "EUR"}


@pytest.fixture
def home(tmp_path):
    return make(tmp_path, world(0.0, days=3), monitor())


def ageing(trained: dict[str, int], slope: float, seed: int = 1) -> dict[str, dict[int, float]]:
    """ROC AUC of versions by day, falling by `slope` a week from their training on; days differ in difficulty."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.03, DAYS)
    return {
        name: {day: 0.8 - hard[day] - slope * (day - start) / 7 + rng.normal(0, 0.002) for day in range(start, DAYS)}
        for name, start in trained.items()
    }


def spec_with(spec: MonitorSpec, **rules) -> MonitorSpec:
    return MonitorSpec.model_validate({**spec.model_dump(mode="json"), "retraining": {**COSTS, **rules}})


def test_the_decay_of_versions_that_ran_beside_each_other_is_measured(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20, "v3": 40, "v4": 60}, 0.01))
    found = advise(spec_with(spec), paths, now=NOW)
    assert found.decay.change == "worse"
    assert found.decay.slope == pytest.approx(0.01, rel=0.1)
    assert found.cadence is not None
    assert found.cadence.interval == pytest.approx(np.sqrt(2 * 200 / (5000 * 0.01)), rel=0.1)
    assert found.served.name == "v3", "the last of those with as many rows"
    assert any("v1, v2, v3 have about as many rows" in note for note in found.notes)
    assert found.gap.source.startswith("version v4 beside it")
    alone = advise(spec_with(spec, in_service="v4"), paths, now=NOW)
    assert alone.gap.source.startswith("its age of"), "nothing is fresher than v4"
    assert alone.gap.value == pytest.approx(alone.decay.slope * alone.age)
    assert "seen" in to_table(found)


def test_a_trained_time_that_is_named_counts(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20, "v3": 40}, 0.01))
    named = {"v1": "2026-01-01", "v2": "2026-01-21", "v3": "2026-02-20"}
    known = versions(spec_with(spec, trained_at=named), paths, now=NOW)
    assert known.known["v3"].is_declared
    of_v3 = known.cells.filter(version="v3")
    assert of_v3["window"].min() == "2026-02-20", "windows before its training do not count"
    assert of_v3["age"].min() == pytest.approx(0.5 / 7)


def test_a_fresher_version_beside_the_served_one_gives_the_gap(home):
    _, paths, spec = home
    days = ageing({"v1": 0, "v0": 30}, 0.02)
    publish_versions(paths, days)
    rules = {"horizon": "10w", "trained_at": {"v0": "2026-02-03"}, "in_service": "v1"}
    found = advise(spec_with(spec, **rules), paths, now=NOW)
    assert found.served.name == "v1"
    assert found.decay.change is None, "two versions are too few for a cadence"
    assert "2 versions" in str(found.decay.reason)
    assert found.gap.source.startswith("version v0 beside it in")
    assert found.gap.value == pytest.approx(0.02 * 30 / 7, rel=0.1)
    assert found.state == "pays"
    assert "Cannot say how fast roc_auc decays" in to_table(found)


def test_a_version_in_service_that_was_never_seen_is_refused(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20}, 0.01))
    with pytest.raises(SightlineError, match=r"retraining\.in_service: production has no row of the version 'v9'"):
        advise(spec_with(spec, in_service="v9"), paths, now=NOW)


def test_one_version_says_nothing(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0}, 0.01))
    found = advise(spec_with(spec), paths, now=NOW)
    assert found.state == "cannot_say"
    assert "no window was judged by two versions" in found.reason


def test_without_costs_the_decay_is_shown_and_nothing_is_advised(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20, "v3": 40, "v4": 60}, 0.01))
    found = advise(spec, paths, now=NOW)
    assert found.decay.change == "worse"
    assert (found.cadence, found.saving, found.state) == (None, None, "cannot_say")
    text = to_table(found)
    assert "roc_auc falls by" in text
    assert "No cost is stated" in text


def test_versions_that_get_better_with_age_ask_for_a_look(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20, "v3": 40, "v4": 60}, -0.01))
    found = advise(spec_with(spec), paths, now=NOW)
    assert found.decay.change == "better"
    assert found.cadence is None
    assert "newer trainings were worse than older ones" in to_table(found)
    assert "Do not retrain on schedule" in to_table(found)


def test_open_windows_and_versions_of_another_metric_are_left_out_and_said(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20, "v3": 40}, 0.01))
    publish_versions(paths, {"decides": dict.fromkeys(range(50, DAYS), 0.9)}, metric="accuracy")
    early = START + timedelta(days=DAYS)
    known = versions(spec_with(spec), paths, now=early)
    assert known.cells["window"].max() < spec.key(day_start(DAYS - 2))
    assert any("not all due" in note for note in known.notes)
    assert any("of another metric: decides" in note for note in known.notes)


def test_a_candidate_counts_where_its_training_time_is_named(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20}, 0.01))
    rows = world(0.0, seed=9).with_columns(version=pl.lit("c"))
    for name in ("c1", "c2"):
        folder = paths.landing_candidates / name
        folder.mkdir(parents=True)
        rows.drop("seen").write_parquet(folder / "scored.parquet")
    found = versions(spec_with(spec, trained_at={"c1": "2026-02-01"}), paths, now=NOW)
    own = found.cells.filter(version="c1")
    assert len(own) > 40
    assert own["n"].max() == ROWS
    assert own["loss"].max() < -0.7
    assert any(note.startswith("candidate c2 is left out") for note in found.notes)


def test_what_was_advised_is_kept(home):
    _, paths, spec = home
    publish_versions(paths, ageing({"v1": 0, "v2": 20, "v3": 40}, 0.01))
    file = publish(paths, advise(spec_with(spec), paths, now=NOW), NOW)
    assert file.parent == paths.results / "retraining"
    assert '"state"' in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"cost": 10}, "`cost` without `value_per_point`"),
        ({"value_per_point": 10}, "`value_per_point` without `cost`"),
        ({"cost": -1, "value_per_point": 1}, "greater than 0"),
        ({"metric": "roc_auk"}, "Did you mean 'roc_auc'?"),
        ({"metric": "labelled_rate"}, "no quality metric"),
        ({"horizon": "3h"}, "shorter than one window"),
        ({"estimator": "no function"}, "names no function"),
        ({"estimatr": "a:b"}, "Did you mean 'estimator'?"),
        ({"max_fits": 3}, "greater than or equal to 18"),
    ],
)
def test_mistakes_in_the_file_are_named(home, rules, words):
    place, _, _ = home
    import yaml

    file = place.monitors / "m.yaml"
    file.write_text(yaml.safe_dump(monitor(retraining=rules)), encoding="utf-8")
    with pytest.raises(SightlineError) as caught:
        load_monitor(file, home=place)
    assert words in str(caught.value)
    assert "m.yaml:" in str(caught.value)
