"""Binary and multiclass metrics against scikit-learn, on the awkward inputs too."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics as sk

from metrics_py.quality import classification, multiclass, score_histograms

EXACT = {"rtol": 0, "atol": 1e-12}


def confusion(actual, predicted, k):
    """Predicted by actual: the transpose of scikit-learn's."""
    return sk.confusion_matrix(actual, predicted, labels=range(k)).T


def histograms(actual, scores, bins=256):
    cell = np.clip((scores * bins).astype(int), 0, bins - 1)
    return (np.bincount(cell[actual == flag], minlength=bins) for flag in (1, 0))


def binary_cases():
    rng = np.random.default_rng(31)
    for name, n, rate in (("balanced", 4000, 0.5), ("rare", 5000, 0.02), ("tiny", 12, 0.4)):
        actual = (rng.random(n) < rate).astype(int)
        actual[:2] = (0, 1)
        scores = np.clip(rng.beta(2, 4, n) + 0.25 * actual * rng.random(n), 0, 1)
        yield name, actual, scores
    yield "separated", np.repeat([0, 1], 50), np.concatenate([np.linspace(0, 0.4, 50), np.linspace(0.6, 1, 50)])
    yield "reversed", np.repeat([1, 0], 50), np.concatenate([np.linspace(0, 0.4, 50), np.linspace(0.6, 1, 50)])
    yield "constant score", np.tile([0, 1, 0], 40), np.full(120, 0.3)
    yield "all in one bin", np.tile([0, 1, 0], 40), np.linspace(0.001, 0.0035, 120)
    yield "ties at the ends", np.array([0, 1, 1, 0, 1, 0]), np.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.5])


BINARY = list(binary_cases())
IDS = [name for name, _, _ in BINARY]


@pytest.mark.parametrize(("_name", "actual", "scores"), BINARY, ids=IDS)
def test_decisions_match_sklearn(_name, actual, scores):
    predicted = (scores >= 0.5).astype(int)
    matrix = confusion(actual, predicted, 2)
    assert_allclose(classification.accuracy(matrix), sk.accuracy_score(actual, predicted), **EXACT)
    assert_allclose(classification.recall(matrix), sk.recall_score(actual, predicted), **EXACT)
    assert_allclose(classification.specificity(matrix), sk.recall_score(actual, predicted, pos_label=0), **EXACT)
    assert_allclose(classification.balanced_accuracy(matrix), sk.balanced_accuracy_score(actual, predicted), **EXACT)
    assert_allclose(classification.f1(matrix), sk.f1_score(actual, predicted), **EXACT)
    if predicted.any():
        assert_allclose(classification.precision(matrix), sk.precision_score(actual, predicted), **EXACT)
    else:
        assert np.isnan(classification.precision(matrix))


@pytest.mark.parametrize(("_name", "actual", "scores"), BINARY, ids=IDS)
def test_score_metrics_are_exact_on_binned_scores_and_bounded_on_raw_ones(_name, actual, scores):
    positives, negatives = histograms(actual, scores)
    binned = np.clip(np.floor(scores * 256), 0, 255) / 256
    area = score_histograms.roc_auc(positives, negatives)
    assert_allclose(area, sk.roc_auc_score(actual, binned), **EXACT)
    assert abs(area - sk.roc_auc_score(actual, scores)) <= score_histograms.roc_auc_bound(positives, negatives) + 1e-12
    assert_allclose(
        score_histograms.average_precision(positives, negatives), sk.average_precision_score(actual, binned), **EXACT
    )
    low, high = score_histograms.average_precision_bounds(positives, negatives)
    assert low - 1e-12 <= sk.average_precision_score(actual, scores) <= high + 1e-12
    assert low - 1e-12 <= score_histograms.average_precision(positives, negatives) <= high + 1e-12


def test_bounds_hold_for_every_arrangement_within_bins():
    rng = np.random.default_rng(8)
    for _ in range(300):
        n = int(rng.integers(5, 60))
        actual = (rng.random(n) < 0.4).astype(int)
        actual[:2] = (0, 1)
        scores = rng.choice(np.round(rng.random(8), 3), n) if rng.random() < 0.5 else rng.random(n)
        positives, negatives = histograms(actual, scores, bins=4)
        low, high = score_histograms.average_precision_bounds(positives, negatives)
        assert low - 1e-12 <= sk.average_precision_score(actual, scores) <= high + 1e-12
        error = abs(score_histograms.roc_auc(positives, negatives) - sk.roc_auc_score(actual, scores))
        assert error <= score_histograms.roc_auc_bound(positives, negatives) + 1e-12


@pytest.mark.parametrize(("_name", "actual", "scores"), BINARY, ids=IDS)
def test_probability_losses_match_sklearn(_name, actual, scores):
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    summed = -np.log(np.where(actual == 1, clipped, 1 - clipped)).sum()
    assert_allclose(classification.log_loss(summed, len(actual)), sk.log_loss(actual, clipped), rtol=1e-9)
    squared = ((scores - actual) ** 2).sum()
    assert_allclose(classification.brier(squared, len(actual)), sk.brier_score_loss(actual, scores), **EXACT)
    base = sk.brier_score_loss(actual, np.full(len(actual), actual.mean()))
    counts = np.bincount(actual, minlength=2)
    skill = 1 - sk.brier_score_loss(actual, scores) / base
    assert_allclose(classification.brier_skill(squared, counts), skill, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("_name", "actual", "scores"), BINARY, ids=IDS)
def test_calibration_error_matches_its_definition(_name, actual, scores):
    cell = np.clip((scores * 16).astype(int), 0, 15)
    exact = sum(
        abs(actual[cell == b].mean() - scores[cell == b].mean()) * (cell == b).mean()
        for b in range(16)
        if (cell == b).any()
    )
    binned = score_histograms.calibration_error(*histograms(actual, scores))
    assert abs(binned - exact) <= 0.5 / 256 + 1e-12
    bias = classification.calibration_bias(scores.sum(), actual.sum(), len(actual))
    assert_allclose(bias, scores.mean() - actual.mean(), **EXACT)


def delong_reference(actual, scores):
    """Structural components by the definition, in O(P N)."""
    wins = (scores[actual == 1][:, None] > scores[actual == 0]) + 0.5 * (
        scores[actual == 1][:, None] == scores[actual == 0]
    )
    return wins.mean(axis=1).var(ddof=1) / wins.shape[0] + wins.mean(axis=0).var(ddof=1) / wins.shape[1]


@pytest.mark.parametrize(("_name", "actual", "scores"), BINARY, ids=IDS)
def test_delong_variance_matches_the_definition(_name, actual, scores):
    binned = np.floor(scores * 256).clip(0, 255)
    variance = score_histograms.delong_variance(*histograms(actual, scores))
    assert_allclose(variance, delong_reference(actual, binned), rtol=1e-9, atol=1e-15)


def test_undefined_is_nan_and_never_a_number():
    one_class = np.array([[10, 0], [3, 0]])
    assert np.isnan(classification.recall(one_class))
    assert np.isnan(classification.balanced_accuracy(one_class))
    assert np.isnan(classification.precision([[10, 5], [0, 0]]))
    assert np.isnan(classification.f1([[10, 0], [0, 0]]))
    assert np.isnan(score_histograms.roc_auc([0, 0], [3, 4]))
    assert np.isnan(score_histograms.average_precision([0, 0], [3, 4]))
    assert np.isnan(score_histograms.delong_variance([0, 1], [3, 4]))
    assert np.isnan(classification.brier_skill(1.0, [0, 10]))
    assert np.isnan(classification.log_loss(0.0, 0))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        classification.accuracy(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="last axis"):
        score_histograms.roc_auc([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="divisor of 10"):
        score_histograms.calibration_error(np.ones(10), np.ones(10))
    with pytest.raises(ValueError, match="average='binary'"):
        multiclass.f1(np.eye(3), average="binary")


MULTICLASS_SHAPES = {
    "three": (3, 2000),
    "one never predicted": (4, 1500),
    "one never seen": (5, 900),
    "few rows": (3, 9),
}


@pytest.mark.parametrize("name", MULTICLASS_SHAPES)
@pytest.mark.parametrize("average", multiclass.AVERAGES)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_multiclass_decisions_match_sklearn(name, average):
    k, n = MULTICLASS_SHAPES[name]
    rng = np.random.default_rng(17)
    actual = rng.choice(k, n, p=rng.dirichlet(np.ones(k) * 3))
    predicted = np.where(rng.random(n) < 0.6, actual, rng.integers(0, k, n))
    if name == "one never predicted":
        predicted[predicted == 3] = 0
    if name == "one never seen":
        actual[actual == 2], predicted[predicted == 2] = 0, 1
    matrix = confusion(actual, predicted, k)
    assert_allclose(
        multiclass.precision(matrix, average=average), sk.precision_score(actual, predicted, average=average), **EXACT
    )
    assert_allclose(
        multiclass.recall(matrix, average=average), sk.recall_score(actual, predicted, average=average), **EXACT
    )
    assert_allclose(multiclass.f1(matrix, average=average), sk.f1_score(actual, predicted, average=average), **EXACT)
    assert_allclose(multiclass.accuracy(matrix), sk.accuracy_score(actual, predicted), **EXACT)
    present = np.unique(np.concatenate([actual, predicted]))
    per_class = [sk.recall_score(actual != c, predicted != c) for c in present]
    if average == "macro":
        assert_allclose(multiclass.specificity(matrix, average=average), np.mean(per_class), **EXACT)
    assert_allclose(multiclass.balanced_accuracy(matrix), sk.balanced_accuracy_score(actual, predicted), **EXACT)


def multiclass_scores(k=4, n=3000):
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(n, k))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    actual = np.array([rng.choice(k, p=row) for row in scores])
    positives, negatives = np.zeros((k, 256)), np.zeros((k, 256))
    for c in range(k):
        positives[c], negatives[c] = histograms((actual == c).astype(int), scores[:, c])
    return actual, scores, positives, negatives


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_multiclass_scores_match_sklearn(average):
    actual, scores, positives, negatives = multiclass_scores()
    one_hot, binned = np.eye(4)[actual], np.floor(scores * 256) / 256
    area = multiclass.roc_auc(positives, negatives, average=average)
    assert_allclose(area, sk.roc_auc_score(one_hot, binned, average=average), **EXACT)
    exact = sk.roc_auc_score(actual, scores, multi_class="ovr", average=average)
    assert abs(area - exact) <= multiclass.roc_auc_bound(positives, negatives, average=average)
    precision = multiclass.average_precision(positives, negatives, average=average)
    assert_allclose(precision, sk.average_precision_score(one_hot, binned, average=average), **EXACT)
    low, high = multiclass.average_precision_bounds(positives, negatives, average=average)
    assert low <= sk.average_precision_score(one_hot, scores, average=average) <= high


def test_multiclass_losses_match_sklearn():
    actual, scores, _, _ = multiclass_scores()
    one_hot = np.eye(4)[actual]
    loss = -np.log(scores[np.arange(len(actual)), actual]).sum()
    assert_allclose(classification.log_loss(loss, len(actual)), sk.log_loss(actual, scores), rtol=1e-9)
    squared = ((scores - one_hot) ** 2).sum()
    expected = 1 - squared / ((one_hot.mean(axis=0) - one_hot) ** 2).sum()
    assert_allclose(classification.brier_skill(squared, np.bincount(actual)), expected, **EXACT)


def test_average_precision_of_weighted_rows_does_not_depend_on_the_scale_of_the_weights():
    positives, negatives = np.array([0, 0.3, 0.6]), np.array([0.6, 0.3, 0])
    by_hand = (0.6 * 1 + 0.3 * 0.9 / 1.2) / 0.9
    for scale in (1e-3, 1, 100):
        assert score_histograms.average_precision(scale * positives, scale * negatives) == pytest.approx(by_hand)
    y, scores, weights = [0, 1, 0, 1], [0.1, 0.3, 0.3, 0.7], [0.6, 0.3, 0.3, 0.6]
    assert by_hand == pytest.approx(sk.average_precision_score(y, scores, sample_weight=weights))
