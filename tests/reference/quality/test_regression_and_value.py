"""Regression metrics against scikit-learn; business value against a sum over rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics as sk

from metrics_py.quality import business_value, regression

CASES = {
    "plain": (0.0, 1.0, 500),
    "far from zero": (1e4, 2.0, 500),
    "tiny scale": (0.0, 1e-7, 200),
    "two rows": (3.0, 1.0, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_regression_matches_sklearn(name):
    centre, scale, n = CASES[name]
    rng = np.random.default_rng(3)
    label = centre + scale * rng.standard_t(3, n)
    prediction = label + scale * rng.normal(0.1, 0.5, n)
    error = prediction - label
    assert_allclose(regression.mae(np.abs(error).sum(), n), sk.mean_absolute_error(label, prediction), rtol=1e-9)
    assert_allclose(regression.rmse((error**2).sum(), n), sk.root_mean_squared_error(label, prediction), rtol=1e-9)
    assert_allclose(regression.mean_error(error.sum(), n), (prediction - label).mean(), rtol=1e-9)
    r2 = regression.r2((error**2).sum(), label.sum(), (label**2).sum(), n)
    assert_allclose(r2, sk.r2_score(label, prediction), atol=1e-7 if centre > 100 else 1e-9)
    for q in (0.1, 0.5, 0.9):
        loss = np.maximum(q * (label - prediction), (q - 1) * (label - prediction)).sum()
        assert_allclose(regression.pinball(loss, n), sk.mean_pinball_loss(label, prediction, alpha=q), rtol=1e-9)


def test_r2_is_undefined_without_variation():
    assert np.isnan(regression.r2(1.0, 5 * 7.0, 5 * 49.0, 5))
    assert np.isnan(regression.r2(0.0, 1e9 * 3, 1e18 * 3 + 1e-3, 3))
    assert np.isnan(regression.mae(0.0, 0))


def test_value_is_the_sum_over_decisions():
    rng = np.random.default_rng(2)
    classes = ["approve", "reject", "review"]
    given = {p: {a: float(rng.normal(0, 10)) for a in classes} for p in classes}
    predicted, actual = rng.choice(classes, 400), rng.choice(classes, 400)
    confusion = np.array([[((predicted == p) & (actual == a)).sum() for a in classes] for p in classes])
    matrix = business_value.value_matrix(given, classes)
    by_row = np.array([given[p][a] for p, a in zip(predicted, actual, strict=True)])
    assert_allclose(business_value.total_value(confusion, matrix), by_row.sum(), rtol=1e-12)
    assert_allclose(business_value.value_per_prediction(confusion, matrix), by_row.mean(), rtol=1e-12)


def test_a_forgotten_cell_is_refused_not_zero():
    with pytest.raises(ValueError, match="lacks predicted 'b', actual 'a'"):
        business_value.value_matrix({"a": {"a": 1, "b": 0}, "b": {"b": 2}}, ["a", "b"])
    with pytest.raises(ValueError, match="names the class 'c'"):
        business_value.value_matrix({"a": {"a": 1, "c": 0}}, ["a", "b"])
    with pytest.raises(ValueError, match="finite"):
        business_value.value_matrix({"a": {"a": float("nan")}}, ["a"])
