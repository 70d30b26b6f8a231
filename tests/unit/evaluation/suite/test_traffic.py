"""Drift between evaluation set, training set and production, and latency, through a real lake."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from sightline.cli import cli
from sightline.evaluation import render
from sightline.evaluation.run import Evaluation, evaluate
from sightline.lake.intake.load import intake
from sightline.spec.loader import find_monitor
from tests.support.lake import START, land, make_paths

MONITOR = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "latency_ms": "ms",
        "features": {"x": "numeric", "c": "categorical"},
    },
    "labels": {"column": "y", "expected_delay": "1d", "give_up_after": "2d"},
    "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-08"},
    "evaluation": {"margin": 0.05},
}


def people(seed: int, n: int = 3000, shift: float = 0.0, ms: float = 20.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    z = np.where(truth, 1.2, -1.2) + rng.normal(0, 1, n)
    return pl.DataFrame(
        {
            "id": [f"{seed}-{i}" for i in range(n)],
            "ts": [(START + timedelta(minutes=3 * i)).replace(tzinfo=None) for i in range(n)],
            "p": 1 / (1 + np.exp(-z)),
            "ms": rng.gamma(4, ms / 4, n),
            "x": rng.normal(shift, 1, n),
            "c": rng.choice(["a", "b"], n),
            "y": truth.astype(int),
        }
    )


@pytest.fixture
def production(tmp_path, monkeypatch):
    home, paths = make_paths(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    home.monitors.mkdir(exist_ok=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(MONITOR))
    rows = people(1)
    land(paths.landing_inferences, "all.parquet", rows.drop("y"), START + timedelta(days=9))
    land(paths.landing_labels, "truth.parquet", rows.select("id", "y"), START + timedelta(days=9))
    for kind in ("inferences", "labels"):
        intake(find_monitor(home, "m"), paths, kind, home)
    return home, paths


def run(production, tmp_path, new: pl.DataFrame, training: pl.DataFrame | None = None) -> Evaluation:
    home, paths = production
    new.write_parquet(tmp_path / "new.parquet")
    if training is not None:
        training.write_parquet(tmp_path / "training.parquet")
    return evaluate(
        find_monitor(home, "m"),
        paths,
        tmp_path / "new.parquet",
        "2",
        now=START + timedelta(days=60),
        training=tmp_path / "training.parquet" if training is not None else None,
    )


def section(found: Evaluation, key: str) -> dict:
    return next(each for each in json.loads(render.to_json(found))["sections"] if each["section"] == key)


def test_sets_that_are_alike_are_ok(production, tmp_path):
    found = run(production, tmp_path, people(2), people(3).drop("p", "ms"))
    own = section(found, "drift")
    assert own["status"] == "ok"
    assert [each["of"] for each in own["findings"]] == [
        "the evaluation set against recent production",
        "the evaluation set against the training set",
        "recent production against the training set",
        "the evaluation set against the reference",
    ]
    assert section(found, "latency")["status"] == "ok"


def test_an_evaluation_set_unlike_production_warns_by_column(production, tmp_path):
    found = run(production, tmp_path, people(2, shift=0.8))
    own = section(found, "drift")
    assert own["status"] == "warn"
    first = own["findings"][0]
    assert first["of"] == "x, the evaluation set against recent production"
    assert first["ci_low"] > 0.1
    assert "higher" in first["reason"]
    assert all("c, " not in each["of"] for each in own["findings"])


def test_production_that_has_left_the_training_set_is_told(production, tmp_path):
    own = section(run(production, tmp_path, people(2), people(3, shift=1.0)), "drift")
    told = {each["of"]: each["status"] for each in own["findings"]}
    assert told["x, the evaluation set against the training set"] == "warn"
    assert told["x, recent production against the training set"] == "ok"


def test_few_rows_are_not_enough_data(production, tmp_path):
    own = section(run(production, tmp_path, people(2, n=60)), "drift")
    assert {each["status"] for each in own["findings"]} == {"insufficient_data"}
    assert own["status"] == "insufficient_data"


def test_a_slow_candidate_warns(production, tmp_path):
    own = section(run(production, tmp_path, people(2, ms=40.0)), "latency")
    assert [each["status"] for each in own["findings"]] == ["warn", "warn"]
    x = np.sort(people(2, ms=40.0)["ms"].to_numpy())
    half = own["findings"][0]
    assert half["value"] == pytest.approx(float(np.quantile(x, 0.5, method="inverted_cdf")))
    # order statistics whose ranks are two standard errors from the middle
    ends = [x[round(1500 + side * 1.96 * np.sqrt(750))] for side in (-1, 1)]
    assert (half["ci_low"], half["ci_high"]) == pytest.approx(ends, rel=0.02)
    assert own["findings"][0]["champion"] == pytest.approx(float(people(1)["ms"].median()), rel=0.01)


def test_every_format_tells_the_sections(production, tmp_path):
    run(production, tmp_path, people(2))
    for form, title in (
        ("table", "Drift between the sets: ok"),
        ("markdown", "## Drift between the sets: ok"),
        ("html", "Drift between the sets: ok"),
    ):
        done = CliRunner().invoke(
            cli, ["evaluate", "m", str(tmp_path / "new.parquet"), "--version", "2", "--format", form]
        )
        assert title in done.output, done.output
