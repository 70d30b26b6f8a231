"""Missing inputs: the rows as they are, and the user's function with each input blanked."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import yaml

from sightline.errors import SightlineError
from sightline.evaluation import render
from sightline.evaluation.run import Evaluation, evaluate
from sightline.spec.loader import find_monitor
from tests.support.lake import START, make_paths

MODULE = """
import numpy as np

def score(rows):
    x = rows["x"].fill_null(0.0).to_numpy()
    z = rows["z"].to_numpy()
    if np.isnan(z).all():
        raise ValueError("z must be there")
    return 1 / (1 + np.exp(-(2 * x + 0 * np.nan_to_num(z))))

def wrong_way(rows):
    x = rows["x"].fill_null(6.0).to_numpy()
    return 1 / (1 + np.exp(-2 * x))

def short(rows):
    return np.zeros(3)

def percent(rows):
    return np.full(len(rows), 55.0)

def other(rows):
    return np.full(len(rows), 0.5)
"""
MONITOR = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "features": {"x": "numeric", "z": "numeric"},
    },
    "labels": {"column": "y"},
    "reference": {"kind": "file", "path": "r.parquet"},
    "start": "2026-01-05",
}


def people(missing: float = 0.0, n: int = 3000) -> pl.DataFrame:
    rng = np.random.default_rng(61)
    x = rng.normal(size=n)
    p = 1 / (1 + np.exp(-2 * x))
    return pl.DataFrame(
        {
            "id": [f"{i}" for i in range(n)],
            "ts": [START.replace(tzinfo=None)] * n,
            "p": p,
            "x": x,
            "z": pl.Series(rng.normal(size=n)).set(pl.Series(rng.random(n) < missing), None),
            "y": (rng.random(n) < p).astype(int),
        }
    )


def run(tmp_path, rows: pl.DataFrame, predict: str | None = None) -> Evaluation:
    home, paths = make_paths(tmp_path)
    home.monitors.mkdir(exist_ok=True)
    (tmp_path / "model_to_ask.py").write_text(MODULE)
    rules = {"margin": 0.05} | ({"predict": predict} if predict else {})
    (home.monitors / "m.yaml").write_text(yaml.safe_dump({**MONITOR, "evaluation": rules}))
    for name in ("new", "old"):
        rows.write_parquet(tmp_path / f"{name}.parquet")
    files = (tmp_path / "new.parquet", tmp_path / "old.parquet")
    return evaluate(find_monitor(home, "m"), paths, files[0], "2", now=START, against=files[1])


def findings(found: Evaluation) -> dict[str, dict]:
    sections = json.loads(render.to_json(found))["sections"]
    own = [each for each in sections if each["section"] == "robustness"]
    return {f"{each['name']} {each['of']}": each for section in own for each in section["findings"]}


def test_without_missing_values_or_a_function_there_is_no_section(tmp_path):
    assert findings(run(tmp_path, people())) == {}


def test_rows_where_an_input_is_missing_are_told(tmp_path):
    rows = people(missing=0.2)
    [own] = findings(run(tmp_path, rows)).values()
    gone = rows.filter(pl.col("z").is_null())
    assert own["of"] == "z missing"
    assert own["n"] == len(gone)
    assert own["value"] == pytest.approx(((gone["p"] - gone["y"]) ** 2).mean())
    assert own["ci_low"] < own["value"] < own["ci_high"]


def test_each_input_is_blanked(tmp_path):
    rows = people()
    own = findings(run(tmp_path, rows, "model_to_ask:score"))
    lost = own["brier_added x blanked"]
    before, after = (((p - rows["y"]) ** 2).mean() for p in (rows["p"], 0.5))
    assert lost["value"] == pytest.approx(after - before)
    assert lost["ci_low"] > 0
    assert lost["status"] == "ok"
    assert own["brier_added z blanked"]["status"] == "warn"
    assert "fails without z: ValueError in line 8 of model_to_ask.py" in own["brier_added z blanked"]["reason"]
    assert own["predict_ms_per_row model_to_ask:score"]["value"] > 0


def test_an_answer_that_is_worse_than_none_warns(tmp_path):
    own = findings(run(tmp_path, people(), "model_to_ask:wrong_way"))
    assert own["brier_added x blanked"]["status"] == "warn"
    assert "worse than an answer that knows no input" in own["brier_added x blanked"]["reason"]


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        ("model_to_ask:short", "the shape (3,) for 3000 rows"),
        ("model_to_ask:percent", "no probabilities"),
        ("model_to_ask:nothing", "has no function 'nothing'"),
        ("no_such_module:f", "cannot be imported"),
        ("model_to_ask:other", "other numbers than the file"),
    ],
)
def test_what_is_wrong_with_the_function_is_told_and_stops_nothing(tmp_path, predict, reason):
    found = run(tmp_path, people(), predict)
    own = findings(found)[f"predict {predict}"]
    assert own["status"] == "warn"
    assert reason in own["reason"]
    assert found.verdict.may_promote


def test_a_path_that_names_no_function_is_refused(tmp_path):
    with pytest.raises(SightlineError, match=r"m\.yaml:\d+"):
        run(tmp_path, people(), "score")
