"""PAPE beside a plain calculation of its own: true density ratios, isotonic regression and sums over single rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.estimation.calibration import fit
from metrics_py.estimation.cbpe import estimate
from metrics_py.estimation.density_ratio import MOST_WEIGHT, density_ratio
from metrics_py.estimation.pape import assumed, fit_weighted, not_told
from tests.support.moved_inputs import draw_inputs
from tests.support.scores import score_bins


def counted(scores: np.ndarray, outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bins = np.clip(np.floor(scores * 256), 0, 255).astype(np.int64)
    return bins, np.bincount(bins, minlength=256).astype(float), np.bincount(bins, outcomes, 256).astype(float)


def pool_adjacent_violators(y: np.ndarray, w: np.ndarray) -> np.ndarray:
    blocks: list[list[float]] = []
    for value, weight in zip(y, w, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (v2, w2, n2), (v1, w1, n1) = blocks.pop(), blocks.pop()
            blocks.append([(v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2])
    return np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks])


def test_the_estimates_are_those_of_a_plain_calculation_with_the_true_ratio():
    rng = np.random.default_rng(301)
    shift = 1.0
    reference, scores, outcomes = draw_inputs(rng, 60_000)
    inputs, new, final = draw_inputs(rng, 30_000, shift)
    true = np.exp(shift * reference["x0"].to_numpy() - shift**2 / 2)
    order = np.argsort(scores)
    curve = pool_adjacent_violators(outcomes[order].astype(float), true[order])
    p = np.interp(new, scores[order], curve)
    decided = new >= 0.5
    positive, negative = p[np.argsort(-new)], 1 - p[np.argsort(-new)]
    area = (np.cumsum(positive) * negative).sum() / (positive.sum() * negative.sum())
    plain = {
        "accuracy": np.where(decided, p, 1 - p).mean(),
        "precision": p[decided].mean(),
        "recall": p[decided].sum() / p.sum(),
        "brier": (p * (1 - new) ** 2 + (1 - p) * new**2).mean(),
        "roc_auc": area,
    }
    bins, n, hits = counted(scores, outcomes)
    ratio = density_ratio(reference, inputs)
    calibration = fit_weighted(n, hits, bins, outcomes, ratio.weight)
    found = estimate(score_bins(new, window=1), calibration, positive="1", min_rows=100, by=["window"])
    ours = dict(found.select("metric", "value").rows())
    for name, value in plain.items():
        assert ours[name] == pytest.approx(value, abs=0.006), name
    assert ours["precision"] == pytest.approx(final[decided].mean(), abs=0.015)


def test_ratios_are_those_of_the_normal_distributions_that_the_rows_come_from():
    rng = np.random.default_rng(302)
    was, now = rng.normal(0, 1, (20_000, 2)), rng.normal([0.8, 0], [1, 0.7], (20_000, 2))
    found = density_ratio(*(pl.DataFrame(rows, schema=["a", "b"]) for rows in (was, now)))
    log_true = 0.8 * was[:, 0] - 0.32 - np.log(0.7) - was[:, 1] ** 2 * (1 / 0.49 - 1) / 2
    inner = (np.abs(was) < 2).all(axis=1)
    assert np.abs(np.log(found.weight) - log_true)[inner].mean() < 0.1
    assert found.is_moved and found.weight.mean() == pytest.approx(1)


def test_without_weights_it_is_the_calibration_of_all_rows():
    _, scores, outcomes = draw_inputs(np.random.default_rng(303), 8_000)
    bins, n, hits = counted(scores, outcomes)
    plain = fit(n, hits)
    for part in (slice(None), slice(0, 3_000)):
        found = fit_weighted(n, hits, bins[part], outcomes[part], np.ones(len(bins[part])))
        p, q = (c.probability @ c.weights for c in (found, plain))
        assert (np.abs(p - q) * n).sum() / n.sum() < 0.01
        assert found.n.sum() == pytest.approx(8_000, rel=0.02), "as many rows as there are, sampled or not"


def test_weights_leave_fewer_effective_rows():
    _, scores, outcomes = draw_inputs(np.random.default_rng(304), 8_000)
    bins, n, hits = counted(scores, outcomes)
    weight = np.where(np.arange(8_000) % 4 == 0, 3.7, 0.1)
    found = fit_weighted(n, hits, bins, outcomes, weight)
    assert found.n.sum() == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=0.1)
    assert found.rows.sum() == pytest.approx(found.n.sum())


def frames(rng: np.random.Generator, n: int = 4_000) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of both, with an input that is the same in all rows, and one that nobody fills."""
    made = [
        pl.DataFrame({"x": rng.normal(size=n), "flag": rng.random(n) < 0.3, "plan": rng.choice(list("abc"), n)})
        for _ in range(2)
    ]
    constant = (pl.lit(7.0).alias("constant"), pl.lit(None, dtype=pl.Float64).alias("empty"))
    return made[0].with_columns(constant), made[1].with_columns(constant)


def test_inputs_that_are_constant_or_always_missing_weigh_nothing():
    was, now = frames(np.random.default_rng(305))
    ratio = density_ratio(was, now)
    assert not ratio.is_moved and ratio.effective_n == 4_000 and not_told(ratio) is None
    assert "no movement of the window's inputs is found" in assumed(ratio)
    only = density_ratio(was.select("constant", "empty"), now.select("constant", "empty"))
    assert not only.is_moved and (only.weight == 1).all()


def test_values_that_the_reference_does_not_have_leave_nothing_to_weigh():
    was, now = frames(np.random.default_rng(306))
    cases = {
        "plan": pl.when(pl.col("x") > 1.2).then(pl.lit("new")).otherwise("plan").alias("plan"),
        "x": (pl.col("x") + 6).alias("x"),
        "constant": pl.lit(8.0).alias("constant"),
        "empty": pl.lit(1.0).alias("empty"),
        "flag": pl.lit(None, dtype=pl.Boolean).alias("flag"),
    }
    for name, changed in cases.items():
        told = not_told(density_ratio(was, now.with_columns(changed)))
        assert told is not None and told[1] == "not_identifiable", name
        assert f"values of {name} that the reference does not have" in told[0]
    few = now.with_columns(pl.when(pl.col("x") > 2.3).then(pl.lit("new")).otherwise("plan").alias("plan"))
    assert not_told(density_ratio(was, few)) is None, "one row in a hundred"


def test_rare_levels_of_a_column_with_many_are_expected():
    rng = np.random.default_rng(307)
    was, now = (pl.DataFrame({"zip": rng.integers(0, 5_000, 4_000).astype(str)}) for _ in range(2))
    assert not_told(density_ratio(was, now)) is None


def test_far_values_and_those_that_are_not_finite_have_no_leverage():
    rng = np.random.default_rng(308)
    was = pl.DataFrame({"x": rng.standard_cauchy(6_000)})
    now = pl.DataFrame({"x": np.concatenate([rng.standard_cauchy(5_990), [np.inf, -np.inf, np.nan] * 3, [1e308]])})
    ratio = density_ratio(was, now)
    assert not ratio.is_moved and np.isfinite(ratio.weight).all()


def test_too_few_effective_rows_and_too_rare_inputs_are_told():
    rng = np.random.default_rng(309)
    was, now = (pl.DataFrame({"x": rng.normal(mean, 1, n)}) for mean, n in ((0, 900), (1.2, 2_000)))
    told = not_told(density_ratio(was, now))
    assert told is not None and "effective n = " in told[0] and told[1] == "too_few_rows"
    was, now = (pl.DataFrame({f"x{i}": rng.normal(mean, 1, 20_000) for i in range(4)}) for mean in (0, 1.3))
    told = not_told(density_ratio(was, now))
    assert told is not None and f"{MOST_WEIGHT:g} times as rare in the reference" in told[0]


def test_rows_of_one_entity_are_in_one_fold():
    """Entities of a constant vector of inputs: by rows they would be told apart by heart."""
    rng = np.random.default_rng(310)
    entity = [np.repeat(np.arange(60), 40), np.repeat(np.arange(60, 120), 40)]
    of_entity = rng.normal(size=(120, 5))
    was, now = (pl.DataFrame(of_entity[e], schema=list("abcde")) for e in entity)
    by_rows = density_ratio(was, now)
    by_entity = density_ratio(was, now, reference_fold=entity[0], window_fold=entity[1])
    assert by_rows.is_moved and by_rows.effective_n < by_entity.effective_n


def test_fewer_rows_than_folds_are_refused():
    with pytest.raises(ValueError, match="2 and 5 rows"):
        density_ratio(pl.DataFrame({"x": [1.0, 2.0]}), pl.DataFrame({"x": np.arange(5.0)}))
