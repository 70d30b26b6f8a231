"""Errors of a regression estimated before labels: how often the realised value lies inside, and what is not seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from metrics_py.estimation.cbpe import Z95
from metrics_py.estimation.dle import between_windows, estimate, learn_errors
from tests.support.acceptance import check
from tests.support.errors import draw_errors, error_bins, prediction_bins, profile_of
from tests.support.measured import record

SECTION = "Quality before labels"
PROMISE = "the realised value lies within the interval in 0.90 or more"
CHUNKS = 3
CASES = [(n_reference, n, shift) for n_reference in (3_000, 20_000) for n in (1_000, 5_000) for shift in (0.0, 1.0)]
REALISED = {"mae": sk.mean_absolute_error, "rmse": sk.root_mean_squared_error}


def simulate(runs: int, seed: int, case: tuple[int, int, float], tail: float = 0.0, scale: float = 1.0) -> pl.DataFrame:
    """Estimates of `CHUNKS` windows per reference, beside what their labels said; null where nothing was told."""
    n_reference, n, shift = case
    rows = []
    for run in range(runs):
        rng = np.random.default_rng([seed, run, n_reference, n, int(shift), int(10 * tail)])
        predictions, labels = draw_errors(rng, n_reference, tail=tail)
        profile = profile_of(predictions)
        sizes = learn_errors(error_bins(profile, predictions, labels))
        chunks = [draw_errors(rng, n, shift=shift, tail=tail, scale=scale) for _ in range(CHUNKS)]
        counts = pl.concat([prediction_bins(profile, p, window=k) for k, (p, _) in enumerate(chunks)])
        found = estimate(counts, sizes, min_rows=100, by=["window"])
        truth = [{name: of(y, p) for name, of in REALISED.items()} for p, y in chunks]
        rows += [{**row, "final": truth[row["window"]][row["metric"]]} for row in found.to_dicts()]
    return pl.DataFrame(rows, infer_schema_length=None)


def judge(runs: int, seed: int) -> None:
    measured: dict[str, float] = {}
    for tail in (0.0, 5.0):
        for case in CASES:
            found = simulate(runs, seed, case, tail)
            errors = f"t errors with {tail:g} degrees of freedom" if tail else "normal errors"
            name = f"{errors}, reference {case[0]:,}, window {case[1]:,}, predictions moved by {case[2]:g} sd"
            inside = found.with_columns(inside=pl.col("final").is_between("ci_low", "ci_high"))
            for (metric,), own in inside.filter(status="ok").group_by(["metric"], maintain_order=True):
                measured[f"{name}, {metric}"] = round(float(own["inside"].mean()), 3)
                check(int((~own["inside"]).sum()), len(own), 0.1, (tail, case, metric))
            told = inside.filter(metric="mae")["status"]
            assert (told == "ok").mean() > 0.95, (tail, case)
    record("estimated_errors", PROMISE, measured, runs, SECTION)


def test_the_realised_error_lies_within_the_interval_of_its_estimate():
    judge(8, seed=111)


@pytest.mark.full
def test_the_realised_error_lies_within_the_interval_of_its_estimate_in_full():
    judge(80, seed=112)


def test_errors_that_grow_where_the_predictions_stay_are_not_seen_before_the_labels():
    """What the audit is for."""
    found = simulate(20, 113, (20_000, 5_000, 0.0), scale=1.5).filter(metric="mae")
    inside = float(found["final"].is_between(found["ci_low"], found["ci_high"]).mean())
    record(
        "estimated_errors_concept", "none: no estimate can see it", {"inside, errors 1.5 times": inside}, 20, SECTION
    )
    assert inside < 0.05 and float((found["final"] - found["value"]).mean()) > 0.3


def days(rng: np.random.Generator, n_reference: int, effect: float) -> float:
    """Share of 20 days whose MAE lies outside of the interval, that knows of the days of the reference."""
    reference = [draw_errors(rng, 900, effect=effect) for _ in range(n_reference)]
    profile = profile_of(np.concatenate([predictions for predictions, _ in reference]))
    outcomes = pl.concat([error_bins(profile, *day, window_start=k) for k, day in enumerate(reference)])
    sizes = learn_errors(outcomes)
    between = between_windows(outcomes, sizes, min_rows=100)
    assert sizes is not None and between is not None
    new = [draw_errors(rng, 900, effect=effect) for _ in range(20)]
    counts = pl.concat([prediction_bins(profile, p, window=k) for k, (p, _) in enumerate(new)])
    found = estimate(counts, sizes, min_rows=100, by=["window"]).filter(metric="mae").sort("window")
    half = Z95 * np.sqrt(found["variance"].to_numpy() + between["mae"])
    final = np.array([sk.mean_absolute_error(y, p) for p, y in new])
    return float((np.abs(final - found["value"].to_numpy()) > half).mean())


def test_days_whose_errors_differ_as_a_whole_lie_within_the_interval():
    runs, measured = 10, {}
    for n_reference, effect in ((28, 0.0), (28, 0.2), (60, 0.2)):
        lost = float(
            np.mean([days(np.random.default_rng([114, k, n_reference]), n_reference, effect) for k in range(runs)])
        )
        measured[f"{n_reference} reference days, errors of a day larger by {effect:g} on the log scale"] = 1 - lost
        check(round(lost * runs * 20), runs * 20, 0.1, (n_reference, effect))
    measured = {name: round(value, 3) for name, value in measured.items()}
    record("estimated_errors_of_days", PROMISE, measured, 200, SECTION)
