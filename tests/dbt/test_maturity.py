"""Quality of windows whose labels are still coming, through lake, marts and judge: corrected, or said to be unknown."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from sightline.home import Home
from sightline.judging import maturity, model_quality
from sightline.judging.frames import Work
from sightline.results.label_completion import mature_after, publish_law
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY = 90, 300
NOW = START + timedelta(days=DAYS)
LABELS = {"column": "label", "observed_at": "known", "expected_delay": "10d", "give_up_after": "60d"}


def times(rng: np.random.Generator) -> list[datetime]:
    first = START.replace(tzinfo=None)
    seconds = np.sort(rng.random(DAYS * PER_DAY)) * 86_400
    return [first + timedelta(days=i // PER_DAY, seconds=float(s)) for i, s in enumerate(seconds)]


def bench_of(root: Path, task: str, inferences: pl.DataFrame, truth: np.ndarray, delay: np.ndarray) -> Bench:
    known = [at + timedelta(days=float(d)) for at, d in zip(inferences["timestamp"], delay, strict=True)]
    labels = pl.DataFrame({"prediction_id": inferences["prediction_id"], "label": truth, "known": known})
    column = "prediction" if task == "regression" else "score"
    spec = spec_of(
        model={"id": "late", "task": task},
        columns={column: column, "features": {"x": "numeric"}},
        labels=LABELS,
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=5)).isoformat()},
    )
    return Bench(spec, Home(root), inferences, labels)


def bookings(root: Path) -> Bench:
    """Cancellations are known early, the likelier the sooner; that a guest came is known late."""
    rng = np.random.default_rng(81)
    n = DAYS * PER_DAY
    x = rng.normal(size=n)
    score = expit(-1 + 1.2 * x)
    truth = (rng.random(n) < score).astype(int)
    delay = rng.gamma(2, np.where(truth == 1, 2 + 8 * (1 - score), 12) / 2)
    made = pl.DataFrame({"prediction_id": [f"b{i}" for i in range(n)], "timestamp": times(rng), "score": score, "x": x})
    return bench_of(root, "binary_classification", made, truth, delay)


def claims(root: Path) -> Bench:
    """Large errors are known late: the early labels praise the model."""
    rng = np.random.default_rng(82)
    n = DAYS * PER_DAY
    x = rng.normal(size=n)
    error = rng.normal(size=n) * np.exp(0.5 * rng.normal(size=n))
    delay = rng.exponential(2 + 4 * np.minimum(np.abs(error), 3))
    made = pl.DataFrame(
        {"prediction_id": [f"c{i}" for i in range(n)], "timestamp": times(rng), "prediction": 3 * x, "x": x}
    )
    return bench_of(root, "regression", made, 3 * x - error, delay)


def judged(bench: Bench, labels: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Quality by what labels were there."""
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", labels)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    with connect(bench.paths, read_only=True) as con:
        publish_law(bench.paths, maturity.delay_law(bench.spec, con, now))
        found = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, now)).judgements
    return found.filter(segment="all", model_version="all", column="")


def both(tmp_path: Path, make) -> tuple[Bench, pl.DataFrame]:
    """What is known now beside what all labels say."""
    early, late = make(tmp_path / "now"), make(tmp_path / "later")
    known = early.labels.filter(pl.col("known") <= NOW.replace(tzinfo=None))
    now = judged(early, known, NOW)
    later = judged(late, late.labels, NOW + timedelta(days=400))
    final = later.select("window_start", "metric", final="value")
    return early, now.join(final, on=["window_start", "metric"], how="left")


@pytest.mark.parametrize(
    ("make", "metrics"),
    [
        (bookings, ["accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "log_loss", "brier"]),
        (claims, ["mae", "rmse", "mean_error"]),
    ],
)
def test_provisional_windows_are_corrected_and_hold_what_all_labels_say(tmp_path, make, metrics):
    bench, found = both(tmp_path, make)
    rows = found.filter(pl.col("metric").is_in(metrics), status="provisional")
    assert set(rows["metric"]) <= set(metrics) and len(set(rows["metric"])) >= len(metrics) - 1
    held = rows.filter(pl.col("ci_low").is_not_null())
    inside = (held["ci_low"] <= held["final"]) & (held["final"] <= held["ci_high"])
    assert inside.mean() >= 0.93
    assert rows["maturity"].is_between(0, 1).all() and rows["naive_value"].is_not_null().all()
    told = rows["reason"].unique().to_list()
    assert all("of the labels that are expected are in; corrected for which come first" in reason for reason in told)
    bias = rows.group_by("metric").agg(
        ours=(pl.col("value") - pl.col("final")).mean().abs(),
        naive=(pl.col("naive_value") - pl.col("final")).mean().abs(),
    )
    worst = bias.sort("naive").tail(1).row(0, named=True)
    assert worst["ours"] < worst["naive"] / 2, "where the naive value is off most, the corrected one is not"
    ripe = mature_after(bench.paths, bench.spec.window)
    assert ripe is not None and timedelta(days=10) < ripe < timedelta(days=60)


def test_a_mature_window_is_ok_and_hardly_moves(tmp_path):
    _, found = both(tmp_path, bookings)
    mature = found.filter(pl.col("metric") == "roc_auc", status="ok")
    assert len(mature) > 30
    moved = (mature["value"] - mature["final"]).abs()
    assert (moved > 0.01).mean() <= 0.05


def test_the_newest_windows_give_no_number_and_say_why(tmp_path):
    _, found = both(tmp_path, bookings)
    newest = found.filter(pl.col("metric") == "roc_auc").sort("window_start").tail(1).row(0, named=True)
    assert newest["status"] == "insufficient_data" and newest["value"] is None
    assert newest["reason_code"] in ("labels_not_due", "not_identifiable")


def test_the_label_rate_and_label_drift_of_young_windows_are_told_and_no_evidence(tmp_path):
    bench = bookings(tmp_path)
    known = bench.labels.filter(pl.col("known") <= NOW.replace(tzinfo=None))
    rates = judged(bench, known, NOW).filter(metric="labelled_rate").sort("window_start")
    assert rates["status"].to_list()[-20:] == ["provisional"] * 20 and rates["status"][0] == "ok"
    with connect(bench.paths, read_only=True) as con:
        evidence = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW)).evidence
    newest = evidence.filter(statistic="labelled_rate")["window_start"].max()
    assert newest < NOW.replace(tzinfo=None) - timedelta(days=20)


def test_a_history_loaded_without_times_leaves_old_windows_alone(tmp_path):
    """Its labels came at one moment: nothing is learnt from it, and what was due long ago is no less ok."""
    bench = bookings(tmp_path)
    spec = bench.spec.model_copy(update={"labels": bench.spec.labels.model_copy(update={"observed_at": None})})
    plain = Bench(spec, bench.home, bench.inferences, bench.labels.drop("known"))
    found = judged(plain, plain.labels, NOW)
    quality = found.filter(metric="roc_auc").sort("window_start")
    assert quality["status"].to_list()[:75] == ["ok"] * 75
    assert quality["naive_value"].null_count() == len(quality)
