"""Decompositions, slices and moves beside direct formulas, exact sums and scipy."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metrics_py.cause import decompose, moved, shift_kind, weak_slices


def draw_segments(rng: np.random.Generator, segments: int = 5):
    n0, n1 = rng.integers(200, 2000, (2, segments))
    r0, r1 = rng.uniform(0.05, 0.6, (2, segments))
    return n0, r0, n1, r1


def test_the_parts_are_the_mean_over_both_orders_of_changing_shares_and_rates():
    rng = np.random.default_rng(901)
    for _ in range(50):
        n0, r0, n1, r1 = draw_segments(rng)
        found = decompose(n0, r0, r0 * (1 - r0), n1, r1, r1 * (1 - r1))
        w = {"before": n0 / n0.sum(), "after": n1 / n1.sum()}
        r = {"before": r0, "after": r1}
        mix, rate = [], []
        for order in permutations(["mix", "rate"]):
            state = {"mix": "before", "rate": "before"}
            for part in order:
                old = w[state["mix"]] @ r[state["rate"]]
                state[part] = "after"
                (mix if part == "mix" else rate).append(w[state["mix"]] @ r[state["rate"]] - old)
        assert found.total_mix == pytest.approx(np.mean(mix), abs=1e-14)
        assert found.total_rate == pytest.approx(np.mean(rate), abs=1e-14)
        assert found.mix.sum() + found.rate.sum() == pytest.approx(found.change, abs=1e-14)


def test_standard_errors_are_the_spread_of_many_draws():
    rng = np.random.default_rng(902)
    w0, w1 = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.2, 0.4])
    r0, r1 = np.array([0.2, 0.4, 0.1]), np.array([0.25, 0.4, 0.3])
    draws = []
    for _ in range(4000):
        n0, n1 = rng.multinomial(3000, w0), rng.multinomial(2000, w1)
        p0, p1 = rng.binomial(n0, r0) / n0, rng.binomial(n1, r1) / n1
        one = decompose(n0, p0, p0 * (1 - p0), n1, p1, p1 * (1 - p1))
        draws.append([*one.mix, *one.rate, one.total_mix, one.total_rate])
    exact = decompose(3000 * w0, r0, r0 * (1 - r0), 2000 * w1, r1, r1 * (1 - r1))
    told = [*exact.mix_se, *exact.rate_se, exact.total_mix_se, exact.total_rate_se]
    np.testing.assert_allclose(np.std(draws, axis=0), told, rtol=0.05)


def test_a_segment_that_begins_is_all_mix():
    found = decompose([1000, 0], [0.1, np.nan], [0.09, np.nan], [500, 500], [0.1, 0.5], [0.09, 0.25])
    assert found.rate.tolist() == [0.0, 0.0]
    assert found.mix.sum() == pytest.approx(found.change) == pytest.approx(0.2)


def test_a_side_without_rows_or_with_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="both sides need rows"):
        decompose([0, 0], [0, 0], [0, 0], [1, 1], [0, 0], [0, 0])
    with pytest.raises(ValueError, match="finite"):
        decompose([5, 5], [0, np.nan], [0, 0], [5, 5], [0, np.nan], [0, 0])
    with pytest.raises(ValueError, match="one entry per segment"):
        decompose([5, 5], [0, 1], [0, 0], [5, 5], [0, 1, 1], [0, 0])


def brute_force(codes: np.ndarray, loss: np.ndarray, first: np.ndarray) -> dict:
    """Fisher's exact p-values on the second half of the slices that it finds on the first, one by one."""
    candidates = {}
    sets = [(j,) for j in range(codes.shape[1])] + list(combinations(range(codes.shape[1]), 2))
    for columns in sets:
        for values in {tuple(row) for row in codes[:, columns].tolist()}:
            rows = inside(codes, columns, values)
            if not 80 <= rows.sum() <= len(rows) - 80:
                continue
            p = [fisher(loss[half], rows[half]) for half in (first, ~first)]
            if p[0] < 0.01:
                candidates[columns, values] = p
    chosen = []
    for name in sorted(candidates, key=lambda name: candidates[name][0]):
        mine = inside(codes, *name) & first
        others = [inside(codes, *other) & first for other in chosen]
        if all((mine & other).sum() <= 0.5 * min(mine.sum(), other.sum()) for other in others):
            chosen.append(name)
    second = [candidates[name][1] for name in chosen]
    q = stats.false_discovery_control(second) if second else []
    return {name: (p, adjusted) for name, p, adjusted in zip(chosen, second, q, strict=True)}


def inside(codes: np.ndarray, columns: tuple, values: tuple) -> np.ndarray:
    return (codes[:, columns] == values).all(axis=1)


def fisher(loss: np.ndarray, rows: np.ndarray) -> float:
    table = [[int((loss[rows] == x).sum()), int((loss[~rows] == x).sum())] for x in (1, 0)]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


def test_slices_are_those_of_fishers_exact_test_one_by_one():
    rng = np.random.default_rng(903)
    codes = rng.integers(0, 4, (4000, 4))
    loss = (rng.random(4000) < np.where((codes[:, 0] == 1) & (codes[:, 2] == 3), 0.45, 0.15)).astype(float)
    first = rng.random(4000) < 0.5
    found, expected = weak_slices(codes, loss, first), brute_force(codes, loss, first)
    assert found[0].columns == (0, 2)
    assert found[0].values == (1, 3)
    assert found[0].difference == pytest.approx(0.3, abs=0.1)
    for item in found:
        assert (item.p_value, item.q_value) == pytest.approx(expected[item.columns, item.values])


def test_losses_that_are_numbers_are_compared_as_welch_does():
    rng = np.random.default_rng(904)
    codes = rng.integers(0, 3, (3000, 2))
    loss = rng.gamma(2, 1, 3000) + (codes[:, 1] == 2)
    first = np.arange(3000) % 2 == 0
    found = weak_slices(codes, loss, first, pairs=False)
    assert [(item.columns, item.values) for item in found] == [((1,), (2,))]
    rows = codes[~first, 1] == 2
    welch = stats.ttest_ind(loss[~first][rows], loss[~first][~rows], equal_var=False)
    difference = found[0].loss - found[0].rest
    assert difference / found[0].standard_error == pytest.approx(welch.statistic, rel=1e-9)
    assert found[0].difference == pytest.approx(difference * (1 - 1 / welch.statistic**2), rel=1e-9)


def test_few_rows_have_no_slices_and_bad_ones_are_refused():
    assert weak_slices(np.zeros((100, 1), int), np.zeros(100), np.arange(100) % 2 == 0) == []
    with pytest.raises(ValueError, match="finite"):
        weak_slices(np.zeros((400, 1), int), np.full(400, np.nan), np.arange(400) % 2 == 0)
    with pytest.raises(ValueError, match="negative"):
        weak_slices(np.full((400, 1), -1), np.zeros(400), np.arange(400) % 2 == 0)


def test_a_move_of_one_window_is_students_prediction():
    rng = np.random.default_rng(905)
    before, after = rng.normal(5, 2, 10), [12.0]
    found = moved(before, after)
    assert found is not None
    t = (after[0] - before.mean()) / (before.std(ddof=1) * np.sqrt(1 + 1 / 10))
    assert found.z == pytest.approx(t)
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, 9))


def test_a_move_needs_windows_and_counts_its_looks():
    assert moved([1.0] * 7, [2.0]) is None
    assert moved([1.0, np.nan] * 20, [np.nan]) is None
    before = np.random.default_rng(906).normal(0, 1, 30)
    one, four = moved(before, [9.0]), moved(before, [9.0, 0.0, 0.0, 0.0])
    assert one is not None
    assert four is not None
    assert four.is_single
    assert four.p_value == pytest.approx(5 * one.p_value)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (pl.DataFrame({"x": [0.5] * 50}), "50 rows with a label, 200 are needed"),
        (pl.DataFrame({"x": np.linspace(50, 60, 500)}), "values of x that did not occur before"),
    ],
)
def test_what_cannot_be_told_says_why(rows: pl.DataFrame, reason: str):
    rng = np.random.default_rng(907)
    before = pl.DataFrame({"x": rng.random(1000)})
    found = shift_kind(before, rng.random(1000), rows, np.zeros(len(rows)))
    assert reason in found.reason
    assert found.covariate is None
    assert found.concept is None
