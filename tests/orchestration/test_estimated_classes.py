"""Several classes through the assets: estimated for every day, audited once the labels are in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from metrics_py.estimation.multiclass import ASSUMED, ESTIMATED
from orchestration.backfill import materialize_range
from sightline.home import Home
from sightline.judging import board
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.loader import load_monitor
from tests.support.class_scores import NAMES, draw_classes
from tests.support.workshop import land, write

DAYS, PER_DAY = 26, 500
MONITOR = """\
version: 1
model: {{id: animal, task: multiclass_classification, owner: ml@example.com}}
columns:
  prediction_id: id
  timestamp: at
  class_scores: {{bird: p_bird, cat: p_cat, dog: p_dog}}
  features: {{age: numeric}}
  segments: [place]
labels: {{column: animal, expected_delay: 6h, give_up_after: 10d}}
reference: {{kind: window, start: {first:%Y-%m-%d}, end: {end:%Y-%m-%d}}}
alerts: {{budget: 1 per 30d, warmup: 14}}
"""


@pytest.fixture
def animal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The monitor, its scores and classes by day; the newest two days have no labels."""
    home = Home(tmp_path / "home")
    home.monitors.mkdir(parents=True)
    for name in ("SIGHTLINE_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(home.root if name == "SIGHTLINE_HOME" else home.dagster))
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(days=DAYS + 1)
    file = write(home, "animal", MONITOR.format(first=first, end=first + timedelta(days=16)))
    rng = np.random.default_rng(90)
    days = [draw_classes(rng, PER_DAY) for _ in range(DAYS)]
    frames = []
    for k, (scores, classes) in enumerate(days):
        at = first.replace(tzinfo=None) + timedelta(days=k)
        gone = np.where(np.arange(PER_DAY) < 5, np.nan, scores[:, 1])  # five rows a day have no score of one class
        frames.append(
            pl.DataFrame(
                {
                    "id": [f"{k}-{i}" for i in range(PER_DAY)],
                    "at": [at + timedelta(seconds=100 * i) for i in range(PER_DAY)],
                    "p_bird": scores[:, 0],
                    "p_cat": gone,
                    "p_dog": scores[:, 2],
                    "age": rng.normal(size=PER_DAY),
                    "place": rng.choice(["a", "b"], PER_DAY),
                    "animal": np.array(NAMES)[classes],
                    "day": k,
                }
            )
        )
    rows = pl.concat(frames)
    land(home, "animal", "inferences", "history", rows.drop("animal", "day"))
    land(home, "animal", "labels", "history", rows.filter(pl.col("day") < DAYS - 2).select("id", "animal"))
    return home, load_monitor(file, home=home), days


def test_several_classes_are_estimated_every_day_and_audited(animal):
    home, spec, days = animal
    paths, keys = home.monitor("animal"), [spec.key(spec.first_window + k * spec.window) for k in range(DAYS)]
    materialize_range(home, spec, keys[0], keys[-1])
    estimated = read_judgements(paths, asset="estimated_quality", segment="all").sort("window_start")
    assert set(estimated["metric"]) == {f"estimated_{name}" for name in ESTIMATED}
    assert set(estimated["status"]) <= {"ok", "warn"} and set(estimated["n"]) == {PER_DAY - 5}
    assert estimated["reason"].str.contains(ASSUMED, literal=True).all()
    accuracy = estimated.filter(metric="estimated_accuracy")
    assert len(accuracy) == DAYS
    final = [sk.accuracy_score(y[5:], s[5:].argmax(axis=1)) for s, y in days]
    assert pl.Series(final).is_between(accuracy["ci_low"], accuracy["ci_high"]).mean() > 0.85
    segments = read_judgements(paths, metric="estimated_accuracy", asset="estimated_quality")["segment"].unique()
    assert sorted(segments) == ["all", "place=a", "place=b"]

    audited = read_judgements(paths, metric="estimation_error_roc_auc_macro", segment="all").sort("window_start")
    realised = read_judgements(paths, metric="roc_auc_macro", asset="model_quality", segment="all")
    both = realised.filter(pl.col("value").is_not_null()).sort("window_start")
    before = estimated.filter(metric="estimated_roc_auc_macro")["value"][: DAYS - 2]
    assert audited["value"].to_list() == pytest.approx((both["value"] - before).to_list(), abs=1e-12)
    assert len(audited) == DAYS - 2
    streams = read_evidence(paths).filter(pl.col("stream") == "model_quality/estimation_error_roc_auc_macro")
    assert len(streams) == DAYS - 2
    checks = [check for check in plan.checks(spec) if check.name == "estimate__f1_macro"]
    told = {key: verdict for _, key, verdict in board.evaluate(spec, paths, "estimated_quality", checks, keys[-1:])}
    assert told[keys[-1]].level == "ok" and told[keys[-1]].text.startswith(f"E{ASSUMED[1:]}. ")
