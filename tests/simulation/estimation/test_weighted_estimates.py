"""Inputs that move to where the score is wrong: the bias of estimates by the score alone, by weighted rows (PAPE)."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from metrics_py.estimation.calibration import Calibration, fit
from metrics_py.estimation.cbpe import estimate
from metrics_py.estimation.density_ratio import DensityRatio, density_ratio
from metrics_py.estimation.pape import fit_weighted, not_told
from tests.support.acceptance import check
from tests.support.measured import record
from tests.support.moved_inputs import draw_inputs
from tests.support.scores import score_bins

SECTION = "Quality before labels"
SHIFTS = (0.0, 0.5, 1.0, 1.5)
N_REFERENCE, N = 20_000, 5_000
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "brier", "log_loss")
LEFT = 1 / 3
"""Part of the bias of CBPE that may be left."""


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


def calibrations(rng: np.random.Generator, inputs: pl.DataFrame) -> tuple[Calibration, Calibration, DensityRatio]:
    """Of a new reference: as it is, and weighted to these inputs, with the ratio."""
    reference, scores, outcomes = draw_inputs(rng, N_REFERENCE)
    bins = np.clip(np.floor(scores * 256), 0, 255).astype(np.int64)
    n, positive = (np.bincount(bins, weights, 256).astype(float) for weights in (np.ones(len(bins)), outcomes))
    plain, ratio = fit(n, positive), density_ratio(reference, inputs)
    weighted = fit_weighted(n, positive, bins, outcomes, ratio.weight) if ratio.is_moved else plain
    return plain, weighted, ratio


def simulate(runs: int, seed: int, shift: float) -> pl.DataFrame:
    rows = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run, int(10 * shift)])
        inputs, scores, outcomes = draw_inputs(rng, N, shift)
        plain, weighted, ratio = calibrations(rng, inputs)
        final = realised(outcomes, scores)
        for method, calibration in (("CBPE", plain), ("PAPE", weighted)):
            found = estimate(score_bins(scores, window=1), calibration, positive="1", min_rows=100, by=["window"])
            rows += [
                {**row, "method": method, "run": run, "final": final[row["metric"]], "moved": ratio.is_moved}
                | {"told": not_told(ratio) is None}
                for row in found.filter(pl.col("metric").is_in(METRICS)).to_dicts()
            ]
    return pl.DataFrame(rows)


def judge(runs: int, seed: int) -> None:
    bias, inside = {}, {}
    for shift in SHIFTS:
        found = simulate(runs, seed, shift).filter(pl.col("told") | (pl.col("method") == "CBPE"))
        assert set(found["status"]) == {"ok"}
        told = found.filter(method="PAPE")
        assert told["run"].n_unique() > 0.7 * runs, "it is mostly told"
        assert told["moved"].all() or shift == 0
        name = f"first input moved by {shift:g} sd"
        if shift == 0:
            bias[f"{name}: a movement is found"] = round(float(told["moved"].mean()), 3)  # pyright: ignore
            check(int(told.group_by("run").agg(pl.col("moved").first())["moved"].sum()), runs, 0.05, "no movement")
        for metric in METRICS:
            own = found.filter(metric=metric)
            off = {
                method: float((part["value"] - part["final"]).mean()) for (method,), part in own.group_by(["method"])
            }
            for method in ("CBPE", "PAPE"):
                bias[f"{name}, {metric}: {method}"] = round(off[method], 4)
            part = own.filter(method="PAPE")
            held = part["final"].is_between(part["ci_low"], part["ci_high"])
            inside[f"{name}, {metric}"] = round(float(held.mean()), 3)
            check(int((~held).sum()), len(part), 0.1, (shift, metric))
            if shift > 0:
                noise = 3 * float((part["value"] - part["final"]).std()) / np.sqrt(len(part))
                assert abs(off["PAPE"]) < LEFT * abs(off["CBPE"]) + noise, (shift, metric)
    less = "of the bias of CBPE, at most a third is left to PAPE where inputs have moved"
    record("estimates_weighted_bias", less, bias, runs, SECTION)
    record(
        "estimates_weighted",
        "the realised value lies within the interval of PAPE in 0.90 or more",
        inside,
        runs,
        SECTION,
    )


def test_weighted_reference_rows_take_the_bias_of_moved_inputs_away():
    judge(6, seed=201)


@pytest.mark.full
def test_weighted_reference_rows_take_the_bias_of_moved_inputs_away_in_full():
    judge(80, seed=90210)


def test_of_many_inputs_that_stay_where_they_were_weights_stay_near_one():
    """Forty inputs and few rows, of which a model fitted to all rows would make something."""
    effective, moved = [], 0
    for run in range(20):
        rng = np.random.default_rng([203, run])
        was, now = (
            pl.DataFrame({f"x{i}": rng.normal(size=n) for i in range(40)}).with_columns(
                plan=pl.Series(rng.choice(list("abcdefgh"), n))
            )
            for n in (2_000, 600)
        )
        ratio = density_ratio(was, now)
        effective.append(ratio.effective_n / 2_000)
        moved += ratio.is_moved
    check(moved, 20, 0.05, "found to have moved")
    measured = {"a movement is found": moved / 20, "least effective share": round(min(effective), 3)}
    record("estimates_weighted_still", "a movement is found in 0.05 or less", measured, 20, SECTION)
    assert min(effective) > 0.8
