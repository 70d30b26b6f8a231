"""Embedding drift beside what two other libraries document, from their definitions, on the same arrays.

Alibi-Detect: ``MMDDrift`` is the unbiased squared maximum mean discrepancy with a Gaussian kernel
``exp(-d^2 / (2 s^2))`` whose s^2 is half of the median squared distance. Evidently: ``distance`` (Euclidean or cosine,
of mean vectors), ``model`` (area under the curve of a linear classifier on the half it did not learn from), ``ratio``
(share of components whose Wasserstein distance is at least .1 standard deviations of the reference) and ``mmd`` (the
same statistic, with ``exp(-d^2 / median(d)^2)``).
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import cosine, euclidean
from scipy.stats import wasserstein_distance
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import train_test_split

from metrics_py import compare
from metrics_py.multivariate import draw_features, mmd2
from metrics_py.multivariate.random_features import null_law

D, M, N = 24, 1200, 900
CHANGES = ("none", "mean", "spread", "cluster")


def arrays(change: str):
    rng = np.random.default_rng([81, CHANGES.index(change)])
    mix = rng.standard_normal((6, D)) / np.sqrt(6)
    old, new = (rng.standard_normal((k, 6)) @ mix + 0.5 * rng.standard_normal((k, D)) for k in (M, N))
    old, new = old + 1, new + 1
    if change == "mean":
        new[:, ::3] += 0.3
    elif change == "spread":
        new = (new - 1) * 1.25 + 1
    elif change == "cluster":
        new[: N // 10] = 3 + 0.2 * rng.standard_normal((N // 10, D))
    return old.astype(np.float32), new.astype(np.float32)


def unbiased_mmd2(x, y, gamma):
    kernels = [np.exp(-gamma * euclidean_distances(a, b, squared=True)) for a, b in ((x, x), (y, y), (x, y))]
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    return sum(within) - 2 * kernels[2].mean()


def alibi_gamma(x, y):
    both = np.concatenate([x, y])
    squares = np.sort(euclidean_distances(both, squared=True).ravel())
    n = len(both)
    sigma_square = squares[n + (n * n - n) // 2 - 1] / 2
    return 1 / (2 * sigma_square)


def evidently_gamma(x, y):
    return 1 / np.median(euclidean_distances(x[:1000], y[:1000])) ** 2


def evidently_model(x, y):
    rows, label = np.concatenate([x, y]), np.repeat([1, 0], [len(x), len(y)])
    learn, judge, is_learn, is_judge = train_test_split(rows, label, test_size=0.5, random_state=42, shuffle=True)
    found = SGDClassifier(loss="log_loss", random_state=42).fit(learn, is_learn)
    return roc_auc_score(is_judge, found.predict_proba(judge)[:, 1])


def evidently_ratio(x, y):
    far = [
        wasserstein_distance(x[:, k], y[:, k]) / max(float(np.std(x[:, k])), 0.001) >= 0.1 for k in range(x.shape[1])
    ]
    return np.mean(far)


def ours(x, y):
    tables = [pl.DataFrame({"v": pl.Series(rows.tolist(), dtype=pl.List(pl.Float32))}) for rows in (x, y)]
    rows = compare(*tables).frame.filter(pl.col("column") == "v")
    return {row["metric"]: row for row in rows.to_dicts()}


@pytest.mark.parametrize("change", CHANGES)
def test_the_four_methods_of_evidently(change):
    x, y = arrays(change)
    found = ours(x, y)
    mean_x, mean_y = x.mean(axis=0, dtype=float), y.mean(axis=0, dtype=float)
    assert found["centroid_distance"]["value"] == pytest.approx(euclidean(mean_x, mean_y), rel=1e-5)
    assert found["centroid_cosine"]["value"] == pytest.approx(cosine(mean_x, mean_y), rel=1e-4, abs=1e-9)
    assert found["component_drift_share"]["value"] == pytest.approx(evidently_ratio(x, y))
    linear, area = evidently_model(x, y), found["domain_auc"]["value"]
    if change == "none":
        assert abs(area - 0.5) < 0.04
        assert abs(linear - 0.5) < 0.06
    elif change == "spread":
        assert linear < 0.55  # no line separates two clouds of one centre
        assert area > 0.65
    else:
        assert area > linear - 0.12  # squares and products are 300 more terms to learn from 1,050 rows
        assert area > 0.55
    assert (found["domain_auc"]["state"] == "drift") == (
        change in ("mean", "spread")
    )  # a tenth of the rows is tolerated


@pytest.mark.parametrize("gamma_of", [alibi_gamma, evidently_gamma])
@pytest.mark.parametrize("change", CHANGES)
def test_the_kernel_distance_of_both(change, gamma_of):
    """Random features at their bandwidth, less what sampling gives, are their unbiased statistic."""
    x, y = arrays(change)
    gamma = gamma_of(x, y)
    direct = unbiased_mmd2(x.astype(float), y.astype(float), gamma)
    features = draw_features(D, float(1 / np.sqrt(2 * gamma)), 8192)
    distance = float(mmd2(features.total(x), M, features.total(y), N))
    law = null_law(features.transform(x))
    found = distance - float(law.mean(1 / M + 1 / N))
    noise = float(np.sqrt(law.variance(1 / M + 1 / N)))
    assert found == pytest.approx(direct, rel=0.12, abs=2 * noise)
    assert (law.p_value(distance, 1 / M + 1 / N) < 1e-4) == (change != "none")
