"""Quality estimated before labels: how often the realised value lies inside, and that a changed concept is not seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from metrics_py.estimation.calibration import calibrate
from metrics_py.estimation.cbpe import estimate
from tests.support.acceptance import check
from tests.support.measured import record
from tests.support.scores import draw, label_bins, score_bins

SECTION = "Quality before labels"
CHUNKS = 3
CASES = [(n_reference, n, shift) for n_reference in (3_000, 20_000) for n in (1_000, 5_000) for shift in (0.0, 1.0)]
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "brier", "log_loss")


def realised(y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    decided = scores >= 0.5
    found = (
        sk.accuracy_score(y, decided),
        sk.precision_score(y, decided),
        sk.recall_score(y, decided),
        sk.f1_score(y, decided),
        sk.roc_auc_score(y, scores),
        sk.average_precision_score(y, scores),
        sk.brier_score_loss(y, scores),
        sk.log_loss(y, scores),
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
        found = estimate(bins, calibration, positive="1", min_rows=100, by=["window"])
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


def test_a_change_of_the_concept_is_not_seen_before_the_labels():
    """What the audit is for: the inputs tell less than they did, and the estimate stays where it was."""
    found = simulate(20, 103, (20_000, 5_000, 0.0), slope=0.4).filter(metric="roc_auc")
    inside = float(found["final"].is_between(found["ci_low"], found["ci_high"]).mean())
    record("estimates_concept", "none: no estimate can see it", {"inside, P(y | x) changed": inside}, 20, SECTION)
    assert inside < 0.05
    assert float((found["value"] - found["final"]).mean()) > 0.1
