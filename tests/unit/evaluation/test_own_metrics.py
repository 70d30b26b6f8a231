"""The user's SQL and Python metrics of champion and challenger: values, intervals, segments, and why one is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import yaml
from scipy import stats

from sightline.evaluation.run import Evaluation, evaluate
from sightline.spec.loader import find_monitor
from tests.support.lake import START, make_paths

MODULE = """
import polars as pl
from metrics_py.registry import metric

@metric(name="top_gain", task="custom", needs="rows", direction="higher_is_better")
def top_gain(rows):
    return float(rows.filter(pl.col("score") > 0.5)["f_amount"].sum() / len(rows))

@metric(name="broken", task="custom", needs="rows")
def broken(rows):
    raise KeyError("no such thing")
"""
MONITOR = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "entity_id": "user",
        "latency_ms": "ms",
        "features": {"amount": "numeric"},
        "segments": ["region"],
    },
    "labels": {"column": "y"},
    "reference": {"kind": "file", "path": "r.parquet"},
    "start": "2026-01-05",
    "evaluation": {"margin": 0.05},
}
LOSS = {
    "name": "loss",
    "sql": "case when is_positive then 0 when score > 0.5 then f_amount end -- false alarms cost the amount",
    "direction": "lower_is_better",
    "needs_label": True,
}


def people(seed: int, noise: float, n: int = 2400) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    user, amount, region = rng.integers(0, 300, n), rng.gamma(2, 50, n), rng.choice(["n", "s"], n)
    z = np.where(truth, 1.2, -1.2) + np.random.default_rng(seed + 1000 + int(10 * noise)).normal(0, noise, n)
    return pl.DataFrame(
        {
            "id": [f"{i}" for i in range(n)],
            "ts": [START.replace(tzinfo=None)] * n,
            "user": [f"{u}" for u in user],
            "p": 1 / (1 + np.exp(-z)),
            "ms": rng.gamma(2, 5, n),
            "amount": amount,
            "region": region,
            "y": truth.astype(int),
        }
    )


def run(tmp_path, *metrics: dict, paired: bool = True, **more: object) -> Evaluation:
    home, paths = make_paths(tmp_path)
    home.monitors.mkdir(exist_ok=True)
    (tmp_path / "own_of_candidates.py").write_text(MODULE)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump({**MONITOR, "metrics": list(metrics), **more}))
    new, old = people(1, 1.0), people(1 if paired else 2, 2.0)
    new.write_parquet(tmp_path / "new.parquet")
    (old if paired else old.drop("id")).write_parquet(tmp_path / "old.parquet")
    files = (tmp_path / "new.parquet", tmp_path / "old.parquet")
    return evaluate(find_monitor(home, "m"), paths, files[0], "2", now=START, against=files[1])


def row(found: Evaluation, metric: str, segment: str = "all") -> dict:
    return found.table.filter(metric=metric, segment=segment).row(0, named=True)


def loss_of(frame: pl.DataFrame) -> pl.Series:
    cost = pl.when(pl.col("y") == 1).then(0.0).when(pl.col("p") > 0.5).then("amount")
    return frame.select(cost.alias("cost"))["cost"]


def test_a_sql_metric_is_compared_as_a_whole_and_by_segment(tmp_path):
    found = run(tmp_path, LOSS)
    new, old = people(1, 1.0), people(1, 2.0)
    own = row(found, "loss")
    assert own["direction"] == "lower_is_better"
    assert own["champion"] == pytest.approx(loss_of(old).mean())
    assert own["challenger"] == pytest.approx(loss_of(new).mean())
    assert own["ci_low"] < own["difference"] < own["ci_high"] < 0
    south = row(found, "loss", "region=s")
    assert south["challenger"] == pytest.approx(loss_of(new.filter(region="s")).mean())
    assert not [note for note in found.notes if "loss" in note]


def test_a_sql_metric_may_be_a_guardrail(tmp_path):
    found = run(tmp_path, LOSS, evaluation={"margin": 0.05, "guardrails": {"loss": 1.0}})
    [criterion] = [c for c in found.verdict.criteria if c.name == "loss"]
    assert criterion.outcome == "superior"
    assert found.verdict.outcome == "superior"


def test_a_python_metric_gets_the_rows_of_both(tmp_path):
    own = {"name": "top_gain", "python": "own_of_candidates:top_gain", "needs_label": True}
    found = run(tmp_path, own)
    frames = [people(1, 2.0), people(1, 1.0)]
    gain = row(found, "top_gain")
    values = [frame.filter(pl.col("p") > 0.5)["amount"].sum() / len(frame) for frame in frames]
    assert (gain["champion"], gain["challenger"]) == pytest.approx(tuple(values))
    assert gain["direction"] == "higher_is_better"
    # by hand: without each bucket of users
    bucket = found.compared.challenger["bucket"]
    without = []
    for b in bucket.unique():
        kept = [frame.filter(bucket != b) for frame in frames]
        old, new = (frame.filter(pl.col("p") > 0.5)["amount"].sum() / len(frame) for frame in kept)
        without.append(new - old)
    k = len(without)
    error = np.sqrt((k - 1) / k * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert gain["ci_high"] - gain["difference"] == pytest.approx(stats.t.ppf(0.975, k - 1) * error)


def test_metrics_on_other_rows_have_wider_intervals(tmp_path):
    own = {"name": "top_gain", "python": "own_of_candidates:top_gain", "needs_label": True}
    widths = []
    for paired in (True, False):
        found = run(tmp_path, LOSS, own, paired=paired)
        assert found.compared.how == ("paired" if paired else "unpaired")
        widths.append([row(found, name)["ci_high"] - row(found, name)["ci_low"] for name in ("loss", "top_gain")])
    assert all(one < other for one, other in zip(*widths, strict=True))


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ({"name": "slow", "sql": "latency_ms", "needs_label": True}, "latency_ms, which is not known of both models"),
        ({"name": "typo", "sql": "f_amuont", "needs_label": True}, "f_amuont"),
        ({"name": "bad", "python": "own_of_candidates:broken", "needs_label": True}, "KeyError in line "),
        ({"name": "none", "python": "own_of_candidates:none", "needs_label": True}, "none"),
        (
            {"name": "t", "python": "own_of_candidates:top_gain", "columns": ["score", "status"], "needs_label": True},
            "status, which is not known of both models",
        ),
        ({"name": "inputs", "sql": "f_amount"}, "need no label"),
    ],
)
def test_why_a_metric_is_not_compared_is_told_and_stops_nothing(tmp_path, metric, reason):
    found = run(tmp_path, metric)
    assert found.verdict.may_promote
    [note] = [note for note in found.notes if metric["name"] in note]
    assert "not compared" in note
    assert reason in note
    assert metric["name"] not in found.table["metric"].to_list()
