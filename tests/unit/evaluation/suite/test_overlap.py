"""What evaluation and training set share: only what cannot be chance makes the verdict doubtful."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.evaluation import render
from sightline.evaluation.landed import candidate, candidates
from sightline.evaluation.run import Evaluation, evaluate
from sightline.spec.loader import find_monitor
from tests.support.lake import START, make_paths

MONITOR = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "entity_id": "user",
        "features": {"x": "numeric", "c": "categorical"},
    },
    "labels": {"column": "y"},
    "reference": {"kind": "file", "path": "r.parquet"},
    "start": "2026-01-05",
    "evaluation": {"margin": 0.05},
}


def people(seed: int, n: int = 3000, days: int = 0, digits: int | None = None) -> pl.DataFrame:
    """Scored rows; inputs rounded to few digits repeat each other by chance."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    x = rng.normal(truth * 1.0, 1, n)
    return pl.DataFrame(
        {
            "id": [f"{seed}-{i}" for i in range(n)],
            "ts": [(START + timedelta(days=days, seconds=i)).replace(tzinfo=None) for i in range(n)],
            "user": [f"{seed}-{u}" for u in rng.integers(0, 400, n)],
            "p": 1 / (1 + np.exp(-(1.5 * x - 1 + rng.normal(0, 0.5, n)))),
            "x": x if digits is None else x.round(digits),
            "c": rng.choice(["a", "b"], n),
            "y": truth.astype(int),
        }
    )


def run(tmp_path, new: pl.DataFrame, training: pl.DataFrame | None, monitor: dict = MONITOR) -> Evaluation:
    home, paths = make_paths(tmp_path)
    home.monitors.mkdir(exist_ok=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(monitor))
    for name, frame in (("new", new), ("old", new), ("training", training)):
        if frame is not None:
            frame.write_parquet(tmp_path / f"{name}.parquet")
    file = tmp_path / "training.parquet" if training is not None else None
    files = (tmp_path / "new.parquet", tmp_path / "old.parquet")
    return evaluate(find_monitor(home, "m"), paths, files[0], "2", now=START, against=files[1], training=file)


def section(found: Evaluation) -> dict:
    own = next(each for each in json.loads(render.to_json(found))["sections"] if each["section"] == "overlap")
    return {each["name"]: each for each in own["findings"]} | {"status": own["status"], "notes": own["notes"]}


def test_a_training_set_of_other_older_rows_is_ok(tmp_path):
    found = run(tmp_path, people(1, days=10), people(2).drop("p"))
    own = section(found)
    assert own["status"] == "ok"
    assert (own["shared_rows"]["value"], own["repeated_inputs"]["value"], own["known_entities"]["value"]) == (0, 0, 0)
    assert own["rows_before_training_ended"]["value"] == 0
    assert found.verdict.may_promote


def test_without_a_training_set_it_is_said_how_to_give_one(tmp_path):
    own = section(run(tmp_path, people(1), None))
    assert "--training" in own["notes"][0]
    assert list(own) == ["roc_auc_alone", "status", "notes"]


@pytest.mark.parametrize("with_ids", [True, False])
def test_rows_that_were_trained_on_make_the_verdict_doubtful(tmp_path, with_ids):
    new, trained = people(1, days=10), pl.concat([people(2), people(1, days=10).head(300)]).drop("p")
    found = run(tmp_path, new, trained if with_ids else trained.drop("id"))
    own = section(found)
    assert found.verdict.outcome == "cannot_tell"
    assert "were trained on" in found.verdict.reason
    assert own["repeated_inputs"]["status"] == "fail"
    assert own["repeated_inputs"]["value"] == pytest.approx(0.1)
    assert ("shared_rows" in own) == with_ids
    if with_ids:
        assert own["shared_rows"]["reason"].startswith("300 of 3,000 evaluation rows")
    assert own["rows_before_training_ended"]["status"] == "warn"


def test_a_handful_of_shared_rows_warns(tmp_path):
    found = run(tmp_path, people(1), pl.concat([people(2), people(1).head(5)]))
    assert section(found)["shared_rows"]["status"] == "warn"
    assert found.verdict.may_promote


def test_ids_that_name_other_rows_are_no_overlap(tmp_path):
    renamed = people(2).with_columns(id=people(1)["id"])
    own = section(run(tmp_path, people(1), renamed))
    assert (own["shared_rows"]["status"], own["shared_rows"]["value"]) == ("ok", 0)
    assert "name other rows" in own["shared_rows"]["reason"]


@pytest.mark.parametrize("digits", [0, 1, 2, 3])
def test_repeats_that_are_usual_are_no_overlap(tmp_path, digits):
    for seed in range(3):
        own = section(run(tmp_path, people(10 + seed, digits=digits), people(50 + seed, digits=digits)))
        assert own["repeated_inputs"]["status"] == "ok", own["repeated_inputs"]["reason"]


def test_a_training_set_freed_of_repeats_says_nothing_of_what_is_usual(tmp_path):
    trained = people(2, digits=1).unique(["x", "c"], maintain_order=True)
    own = section(run(tmp_path, people(1, digits=1), trained))
    assert own["repeated_inputs"]["status"] == "ok"
    assert "freed of repeats" in own["repeated_inputs"]["reason"]


def test_an_input_that_knows_the_label_warns(tmp_path):
    new = people(1).with_columns(c=pl.when(pl.col("y") == 1).then(pl.lit("churned")).otherwise(pl.lit("active")))
    found = run(tmp_path, new, None)
    own = section(found)
    assert own["roc_auc_alone"]["of"] == "c"
    assert own["roc_auc_alone"]["status"] == "warn"
    assert found.verdict.may_promote


def test_an_input_of_a_regression_that_knows_the_label_warns(tmp_path):
    columns = {**MONITOR["columns"], "prediction": "p"}
    columns.pop("score")
    monitor = {**MONITOR, "columns": columns, "model": {"id": "m", "task": "regression"}}
    new = people(1).with_columns(y=pl.col("x") * 3 + 1)
    found = section(run(tmp_path, new, None, {**monitor, "evaluation": {}}))
    assert (found["r2_alone"]["of"], found["r2_alone"]["status"]) == ("x", "warn")


def test_a_training_set_without_an_input_is_refused_by_its_place(tmp_path):
    with pytest.raises(SightlineError, match=r"the training set file has no column 'c'"):
        run(tmp_path, people(1), people(2).drop("c"))


def test_a_training_set_beside_the_candidate(tmp_path):
    _, paths = make_paths(tmp_path)
    folders = {name: paths.landing_candidates / name for name in ("1", "2", "3", "4", "5")}
    for name, files in {
        "1": ["scored.parquet", "training.parquet"],
        "2": ["evaluation/a.parquet", "evaluation/b.parquet", "training/a.parquet", "training/b.parquet"],
        "3": ["training.parquet"],
        "4": ["a.parquet", "b.parquet", "training.parquet"],
        "5": ["a.parquet", "b.parquet"],
    }.items():
        for file in files:
            (folders[name] / file).parent.mkdir(parents=True, exist_ok=True)
            (folders[name] / file).touch()
    found, refused = candidates(paths)
    assert [each.version for each in found] == ["1", "2", "5"]
    assert "folder `evaluation`" in refused["4"]
    own = candidate(paths, "1")
    assert (own.path, own.training) == (folders["1"] / "scored.parquet", folders["1"] / "training.parquet")
    own = candidate(paths, "2")
    assert (own.path, own.training) == (folders["2"] / "evaluation", folders["2"] / "training")
    own = candidate(paths, "5")
    assert (own.path, own.training) == (folders["5"], None)


def test_the_command_takes_a_training_set(tmp_path, monkeypatch):
    run(tmp_path, people(1), people(1))
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    new, old, trained = (str(tmp_path / f"{name}.parquet") for name in ("new", "old", "training"))
    done = CliRunner().invoke(cli, ["evaluate", "m", new, "--version", "2", "--against", old, "--training", trained])
    assert done.exit_code == 1, done.output
    assert "verdict: cannot tell" in done.output
    assert "Overlap and leakage: failed" in done.output
