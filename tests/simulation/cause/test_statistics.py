"""How often intervals hold the truth, and how often a cause is seen where there is none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from metrics_py.cause import decompose, shift_kind, weak_slices
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Causes"
W0, W1 = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.3, 0.3, 0.2, 0.2])
R0, R1 = np.array([0.15, 0.25, 0.1, 0.3]), np.array([0.15, 0.3, 0.1, 0.35])


def test_intervals_of_mix_and_rate_hold_the_truth():
    intervals(200, seed=911)


@pytest.mark.full
def test_intervals_of_mix_and_rate_hold_the_truth_in_full():
    intervals(2000, seed=912)


def intervals(runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = decompose(1e6 * W0, R0, R0 * (1 - R0), 1e6 * W1, R1, R1 * (1 - R1))
    parts = ("mix", "rate", "total_mix", "total_rate")
    missed = {part: np.zeros(np.shape(getattr(exact, part))) for part in parts}
    for _ in range(runs):
        n0, n1 = rng.multinomial(4000, W0), rng.multinomial(2500, W1)
        p0, p1 = rng.binomial(n0, R0) / n0, rng.binomial(n1, R1) / n1
        found = decompose(n0, p0, p0 * (1 - p0), n1, p1, p1 * (1 - p1))
        for part in parts:
            low, high = found.interval(part)
            missed[part] = missed[part] + ((getattr(exact, part) < low) | (getattr(exact, part) > high))
    for part in parts:
        for failures in np.atleast_1d(missed[part]):
            check(int(failures), runs, 0.09, part)
    measured = {part: round(float(1 - missed[part].max() / runs), 3) for part in parts}
    record("mix_and_rate", "the true part lies within its 95 % interval in 0.91 or more", measured, runs, SECTION)


def rows(rng: np.random.Generator, n: int, weak: bool) -> tuple[np.ndarray, np.ndarray]:
    codes = rng.integers(0, 6, (n, 8))
    p = np.where((codes[:, 2] == 1) & weak, 0.30, 0.15)
    return codes, (rng.random(n) < p).astype(float)


def test_a_weak_slice_is_found_and_none_where_there_is_none():
    slices(20, seed=913)


@pytest.mark.full
def test_a_weak_slice_is_found_and_none_where_there_is_none_in_full():
    slices(200, seed=914)


def slices(runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    anything, wrong, missed = 0, 0, 0
    for _ in range(runs):
        first = rng.random(8000) < 0.5
        anything += bool(weak_slices(*rows(rng, 8000, weak=False), first))
        found = weak_slices(*rows(rng, 8000, weak=True), first)
        missed += not found or (found[0].columns, found[0].values) != ((2,), (1,))
        wrong += sum(2 not in item.columns for item in found) > 0
    check(anything, runs, 0.12, "a slice where there is none")
    check(missed, runs, 0.05, "the weak slice is not the first")
    measured = {"null: any slice": anything / runs, "weak: not first": missed / runs, "weak: a wrong one": wrong / runs}
    record("weak_slices", "null data report any slice in 0.12 or less", measured, runs, SECTION)


TRUE = {"none": (0.0, 0.0), "covariate": (0.8, 0.0), "concept": (0.0, 0.6)}


def sample(rng: np.random.Generator, n: int, moved: float, law: float) -> tuple[pl.DataFrame, np.ndarray]:
    """Inputs and the squared error of a forecast that was right before; `law` raises the log odds of the truth."""
    x = rng.normal(0, 1, (n, 4))
    x[:, 0] += moved
    score = expit(-1.5 + x[:, 0] + 0.5 * x[:, 1])
    truth = rng.random(n) < expit(-1.5 + x[:, 0] + 0.5 * x[:, 1] + law)
    frame = pl.DataFrame(x, schema=["a", "b", "c", "d"]).with_columns(score=score)
    return frame, (score - truth) ** 2


def test_covariate_and_concept_shift_are_told_apart():
    kinds(20, seed=915)


@pytest.mark.full
def test_covariate_and_concept_shift_are_told_apart_in_full():
    kinds(200, seed=916)


def kinds(runs: int, seed: int) -> None:
    measured: dict[str, float] = {}
    for case, (moved, law) in TRUE.items():
        rng = np.random.default_rng([seed, len(case)])
        old, mid, new = (
            float(sample(rng, 1_000_000, *by)[1].mean()) for by in ((0.0, 0.0), (moved, 0.0), (moved, law))
        )
        outside, wrong = {"covariate": 0, "concept": 0}, 0
        for _ in range(runs):
            found = shift_kind(*sample(rng, 4000, 0, 0), *sample(rng, 4000, moved, law))
            assert not found.reason
            for part, truth in (("covariate", mid - old), ("concept", new - mid)):
                value, se = getattr(found, part), getattr(found, f"{part}_se")
                outside[part] += abs(value - truth) > 1.96 * se
            parts = {"covariate": abs(found.covariate or 0), "concept": abs(found.concept or 0)}
            wrong += case != "none" and parts[case] < 0.8 * sum(parts.values())
        for part, failures in outside.items():
            measured[f"{case}: {part} inside"] = 1 - failures / runs
            check(failures, runs, 0.09, (case, part))
        if case != "none":
            measured[f"{case}: 80 % on the right factor"] = 1 - wrong / runs
            check(wrong, runs, 0.2, case)
    record("shift_kinds", "the true part lies within its 95 % interval in 0.91 or more", measured, runs, SECTION)
