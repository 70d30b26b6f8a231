"""Quality estimated before labels: how often the realised value lies inside, and that a changed concept is not seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from metrics_py.estimation.calibration import calibrate
from metrics_py.estimation.cbpe import Z95, estimate
from metrics_py.estimation.dispersion import between_windows
from metrics_py.quality.business_value import business_value
from tests.support.acceptance import check
from tests.support.measured import record
from tests.support.scores import clustered, draw, label_bins, score_bins

SECTION = "Quality before labels"
CHUNKS = 3
CASES = [(n_reference, n, shift) for n_reference in (3_000, 20_000) for n in (1_000, 5_000) for shift in (0.0, 1.0)]
METRICS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "average_precision",
    "brier",
    "log_loss",
    "business_value",
)
VALUES = np.array([[1.0, -40.0], [-10.0, 30.0]])
"""Of a row, predicted by actual class."""


def realised(y: np.ndarray, scores: np.ndarray, cut: float = 0.5) -> dict[str, float]:
    decided = scores >= cut
    found = (
        sk.accuracy_score(y, decided),
        sk.precision_score(y, decided),
        sk.recall_score(y, decided),
        sk.f1_score(y, decided),
        sk.roc_auc_score(y, scores),
        sk.average_precision_score(y, scores),
        sk.brier_score_loss(y, scores),
        sk.log_loss(y, scores),
        VALUES[decided.astype(int), y.astype(int)].mean(),
    )
    return dict(zip(METRICS, found, strict=True))


def simulate(runs: int, seed: int, case: tuple[int, int, float], slope: float = 1.0) -> pl.DataFrame:
    """Estimates of `CHUNKS` windows per reference, beside what their labels said."""
    n_reference, n, shift = case
    rows = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run, n_reference, n, int(shift)])
        calibration = calibrate(label_bins(*draw(rng, n_reference)))
        assert calibration is not None
        chunks = [draw(rng, n, shift=shift, slope=slope) for _ in range(CHUNKS)]
        bins = pl.concat([score_bins(scores, window=k) for k, (scores, _) in enumerate(chunks)])
        found = estimate(bins, calibration, positive="1", min_rows=100, by=["window"], more=[business_value(VALUES)])
        truth = [realised(y, scores) for scores, y in chunks]
        rows += [
            {**row, "run": run, "final": truth[row["window"]][row["metric"]]}
            for row in found.filter(pl.col("metric").is_in(METRICS)).to_dicts()
        ]
    return pl.DataFrame(rows)


def judge(runs: int, seed: int) -> None:
    measured: dict[str, float] = {}
    for case in CASES:
        found = simulate(runs, seed, case)
        assert set(found["status"]) == {"ok"}
        name = f"reference {case[0]:,}, window {case[1]:,}, input moved by {case[2]:g} sd"
        inside = found.with_columns(inside=pl.col("final").is_between("ci_low", "ci_high"))
        for (metric,), own in inside.group_by(["metric"], maintain_order=True):
            measured[f"{name}, {metric}"] = round(float(own["inside"].mean()), 3)
            check(int((~own["inside"]).sum()), len(own), 0.1, (case, metric))
    record("estimates", "the realised value lies within the interval in 0.90 or more", measured, runs, SECTION)


def test_the_realised_value_lies_within_the_interval_of_its_estimate():
    judge(8, seed=101)


@pytest.mark.full
def test_the_realised_value_lies_within_the_interval_of_its_estimate_in_full():
    judge(80, seed=102)


def rare(rng: np.random.Generator, n: int, mean: float) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores of a class of 1 %, or of 0.6 %, whose scores lie below 0.05."""
    scores = expit(rng.normal(mean, 2.0 if mean < -6 else 0.9, n))
    return scores, rng.random(n) < scores


@pytest.mark.parametrize(("mean", "cut", "n"), [(-6.5, 0.2, 3_000), (-6.5, 0.5, 20_000), (-5.5, 0.01, 20_000)])
def test_the_interval_holds_the_realised_value_of_a_rare_class(mean, cut, n):
    """Where it is told: of 0.5 the reference has too few such scores to tell precision and recall."""
    missed, told = dict.fromkeys(METRICS, 0), dict.fromkeys(METRICS, 0)
    for run in range(30):
        rng = np.random.default_rng([104, run, n])
        calibration = calibrate(label_bins(*rare(rng, 20_000, mean)))
        assert calibration is not None
        scores, y = rare(rng, n, mean)
        asked = {"positive": "1", "min_rows": 100, "by": ["window"], "more": [business_value(VALUES)]}
        found = estimate(score_bins(scores, cut=cut, window=1), calibration, **asked)
        for row in found.filter(pl.col("metric").is_in(METRICS), status="ok").to_dicts():
            told[row["metric"]] += 1
            missed[row["metric"]] += not row["ci_low"] <= realised(y, scores, cut)[row["metric"]] <= row["ci_high"]
    assert (told["precision"] == told["recall"] == 0) == (cut == 0.5)
    measured = {name: round(1 - missed[name] / told[name], 3) for name in METRICS if told[name]}
    for name in measured:
        check(missed[name], told[name], 0.1, (mean, cut, name))
    promise = "the realised value lies within the interval in 0.90 or more"
    record(f"estimates_rare_{-10 * mean:g}_{1000 * cut:g}", promise, measured, 30, SECTION)


def test_a_change_of_the_concept_is_not_seen_before_the_labels():
    """What the audit is for: the inputs tell less than they did, and the estimate stays where it was."""
    found = simulate(20, 103, (20_000, 5_000, 0.0), slope=0.4).filter(metric="roc_auc")
    inside = float(found["final"].is_between(found["ci_low"], found["ci_high"]).mean())
    record("estimates_concept", "none: no estimate can see it", {"inside, P(y | x) changed": inside}, 20, SECTION)
    assert inside < 0.05
    assert float((found["value"] - found["final"]).mean()) > 0.1


def days(rng: np.random.Generator, n_reference: int, effect: float) -> float:
    """Share of 20 days whose accuracy lies outside of the interval, that knows of the days of the reference."""
    reference = [clustered(rng, 900, effect) for _ in range(n_reference)]
    labels = pl.concat([label_bins(s, y).with_columns(window_start=pl.lit(k)) for k, (s, y) in enumerate(reference)])
    scores = pl.concat([score_bins(s, window_start=k) for k, (s, _) in enumerate(reference)])
    calibration = calibrate(labels)
    assert calibration is not None
    between = between_windows(scores, labels, calibration, positive="1", min_rows=100)
    assert between is not None
    new = [clustered(rng, 900, effect) for _ in range(20)]
    bins = pl.concat([score_bins(s, window=k) for k, (s, _) in enumerate(new)])
    found = estimate(bins, calibration, positive="1", min_rows=100, by=["window"]).filter(metric="accuracy")
    half = Z95 * np.sqrt(found.sort("window")["variance"].to_numpy() + between["accuracy"])
    final = np.array([((s >= 0.5) == y).mean() for s, y in new])
    return float((np.abs(final - found.sort("window")["value"].to_numpy()) > half).mean())


def test_days_that_differ_as_a_whole_lie_within_the_interval():
    runs, measured = 10, {}
    for n_reference, effect in ((28, 0.0), (28, 0.5), (60, 0.5)):
        lost = float(
            np.mean([days(np.random.default_rng([104, k, n_reference]), n_reference, effect) for k in range(runs)])
        )
        measured[f"{n_reference} reference days, effect of a day {effect:g} on the logit scale"] = round(1 - lost, 3)
        check(round(lost * runs * 20), runs * 20, 0.1, (n_reference, effect))
    record(
        "estimates_of_days", "the realised accuracy lies within the interval in 0.90 or more", measured, 200, SECTION
    )
