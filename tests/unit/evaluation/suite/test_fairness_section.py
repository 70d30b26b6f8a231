"""Fairness of a candidate through `sightline evaluate`'s own reading of two files."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
import yaml

from sightline.errors import SightlineError
from sightline.evaluation import render
from sightline.evaluation.run import Evaluation, evaluate
from sightline.spec.loader import find_monitor
from tests.support.lake import START, make_paths

MONITOR = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "features": {"x": "numeric", "plan": "categorical"},
        "segments": ["sex"],
    },
    "labels": {"column": "y"},
    "reference": {"kind": "file", "path": "r.parquet"},
    "start": "2026-01-05",
    "evaluation": {"margin": 0.05},
}


def people(seed: int, n: int = 4000, against: float = 0.0) -> pl.DataFrame:
    """Scored rows; those of women are lowered by `against`."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["female", "male"], n)
    truth = rng.random(n) < 0.4
    z = np.where(truth, 1.2, -1.2) + rng.normal(0, 1, n) - against * (sex == "female")
    return pl.DataFrame(
        {
            "id": [f"{i}" for i in range(n)],
            "ts": [START.replace(tzinfo=None)] * n,
            "p": 1 / (1 + np.exp(-z)),
            "x": rng.normal(size=n),
            "plan": rng.choice(["free", "paid", "rare"], n, p=[0.5, 0.495, 0.005]),
            "sex": sex,
            "y": truth.astype(int),
        }
    )


def run(tmp_path, new: pl.DataFrame, old: pl.DataFrame, **fairness: object) -> Evaluation:
    home, paths = make_paths(tmp_path)
    home.monitors.mkdir(exist_ok=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump({**MONITOR, "fairness": fairness} if fairness else MONITOR))
    for name, frame in (("new", new), ("old", old)):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    files = (tmp_path / "new.parquet", tmp_path / "old.parquet")
    return evaluate(find_monitor(home, "m"), paths, files[0], "2", now=START, against=files[1])


def section(found: Evaluation) -> dict:
    return next(each for each in json.loads(render.to_json(found))["sections"] if each["section"] == "fairness")


def test_a_fair_candidate_is_ok_and_nothing_shouts(tmp_path):
    found = run(tmp_path, people(1), people(2).with_columns(people(1).drop("p")), columns=["sex", "plan"])
    own = section(found)
    assert own["status"] == "ok"
    assert found.verdict.may_promote
    gap = next(
        each for each in own["findings"] if each["name"] == "demographic_parity_difference" and each["of"] == "plan"
    )
    assert {part["group"]: part["status"] for part in gap["parts"]}["rare"] == "insufficient_data"
    assert "not enough data of rare" in gap["reason"]
    assert "warn" not in {each["status"] for each in own["findings"]}


def test_a_gap_beyond_the_margin_keeps_the_candidate_out(tmp_path):
    unfair = people(1, against=0.8)
    found = run(tmp_path, unfair, people(1), columns=["sex"], metrics=["demographic_parity"], margin=0.05)
    assert found.verdict.outcome == "inferior"
    [criterion] = [c for c in found.verdict.criteria if "demographic_parity_difference" in c.name]
    assert criterion.outcome == "inferior"
    assert criterion.found.ci_low > 0.05
    failed = ElementTree.fromstring(render.to_junit(found)).findall("testcase/failure/..")
    assert "fairness: demographic_parity_difference of sex" in {case.get("name") for case in failed}


def test_without_a_margin_a_wider_gap_warns_and_does_not_decide(tmp_path):
    found = run(tmp_path, people(1, against=0.3), people(1), columns=["sex"], metrics=["demographic_parity"])
    assert section(found)["status"] == "warn"
    assert "wider than the champion's between male and female" in section(found)["findings"][0]["reason"]
    assert [c.name for c in found.verdict.criteria] == ["roc_auc"]
    assert "Fairness: warning" in render.to_table(found)
    assert "## Fairness: warning" in render.to_markdown(found)


def test_what_cannot_be_told_from_the_margin_is_open_with_rows(tmp_path):
    found = run(tmp_path, people(3, 600), people(3, 600), columns=["sex"], metrics=["equal_opportunity"], margin=0.04)
    [criterion] = [c for c in found.verdict.criteria if "equal_opportunity" in c.name]
    assert criterion.outcome == "cannot_tell"
    assert criterion.more_rows > 0


def test_a_ratio_may_have_a_lower_limit(tmp_path):
    margin = {"demographic_parity_ratio": 0.8}
    found = run(
        tmp_path, people(1, against=1.0), people(1), columns=["sex"], metrics=["demographic_parity"], margin=margin
    )
    [criterion] = [c for c in found.verdict.criteria if "ratio" in c.name]
    assert (criterion.outcome, criterion.direction) == ("inferior", "higher_is_better")
    assert criterion.found.ci_high < 0.8


def test_a_column_without_groups_says_why(tmp_path):
    many = people(1).with_columns(sex=pl.col("id"))
    [finding] = section(run(tmp_path, many, people(1), columns=["sex"]))["findings"]
    assert finding["status"] == "insufficient_data"
    assert "4,000 values" in finding["reason"]
    one = people(1).with_columns(sex=pl.lit("female"))
    [finding] = section(run(tmp_path, one, people(1), columns=["sex"]))["findings"]
    assert "all rows are of one group: female" in finding["reason"]


def test_missing_values_are_a_group(tmp_path):
    rows = people(1).with_columns(sex=pl.when(pl.col("sex") == "male").then(pl.col("sex")))
    gap = section(run(tmp_path, rows, people(1), columns=["sex"], metrics=["accuracy"]))["findings"][0]
    assert {part["group"] for part in gap["parts"]} == {"male", "(missing)"}


@pytest.mark.parametrize(
    ("fairness", "named"),
    [
        ({"columns": ["sx"]}, "is no segment"),
        ({"columns": ["x"]}, "is numeric"),
        ({"columns": []}, "names no columns"),
        ({"columns": ["sex", "sex"]}, "named twice"),
        ({"columns": ["sex"], "metrics": ["demographic_partiy"]}, "demographic_parity"),
        ({"columns": ["sex"], "margin": {"accuracy": 0.1}}, "none of fairness.metrics"),
        ({"columns": ["sex"], "margin": {"demographic_parity_ratio": 1.5}}, "below 1"),
        ({"columns": ["sex"], "margin": -1}, "greater than 0"),
    ],
)
def test_a_mistake_in_the_section_is_told_with_its_line(tmp_path, fairness, named):
    with pytest.raises(SightlineError, match=r"m\.yaml:\d+") as error:
        run(tmp_path, people(1, 100), people(1, 100), **fairness)
    assert named in str(error.value)
