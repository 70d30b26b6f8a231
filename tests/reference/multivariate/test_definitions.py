"""Distances of several columns at once against direct computations of their definitions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metrics_py.multivariate import draw_features, fit_embeddings, fit_joint, hotelling, joint_distances, read_vectors
from metrics_py.multivariate.correlations import correlation_change, moment_sums
from metrics_py.multivariate.domain_classifier import domain_classifier
from metrics_py.multivariate.embeddings import EmbeddingModel, cosine_distance, embedding_distances
from metrics_py.multivariate.hotelling import scaled_distance, shrunk_covariance
from metrics_py.multivariate.random_features import median_heuristic, mmd2, null_law
from metrics_py.multivariate.vectors import Vectors


def kernel_mmd2(x, y, bandwidth):
    """The V-statistic of Gretton et al. (2012), equation 5, by all pairs of rows."""

    def mean_kernel(a, b):
        square = ((a[:, None] - b[None]) ** 2).sum(axis=2)
        return np.exp(-square / (2 * bandwidth**2)).mean()

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def vectors(rows) -> Vectors:
    return read_vectors(pl.Series(np.asarray(rows, dtype=np.float32).tolist(), dtype=pl.List(pl.Float32)))


@pytest.mark.parametrize(("d", "shift"), [(3, 0.5), (20, 0.2), (64, 0.3)])
def test_random_features_give_the_kernel_distance(d, shift):
    rng = np.random.default_rng(d)
    x, y = rng.standard_normal((400, d)), rng.standard_normal((300, d)) + shift
    bandwidth = median_heuristic(np.concatenate([x, y]))
    direct = kernel_mmd2(x, y, bandwidth)
    found = []
    for seed in range(20):
        features = draw_features(d, bandwidth, 512, seed)
        found.append(float(mmd2(features.total(x), len(x), features.total(y), len(y))))
    assert np.mean(found) == pytest.approx(direct, rel=0.05)
    assert np.std(found) < 0.15 * direct
    many = draw_features(d, bandwidth, 20_000)
    assert float(mmd2(many.total(x), len(x), many.total(y), len(y))) == pytest.approx(direct, rel=0.05)


def test_the_bandwidth_is_the_median_distance():
    x = np.random.default_rng(1).standard_normal((300, 5))
    pairs = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))[np.triu_indices(300, 1)]
    assert median_heuristic(x) == pytest.approx(np.median(pairs), rel=1e-9)
    assert median_heuristic(np.ones((50, 3))) == 1.0


def test_the_null_law_has_the_moments_of_the_distance():
    rng = np.random.default_rng(2)
    features = draw_features(10, 4.0)
    law = null_law(features.transform(rng.standard_normal((20_000, 10))))
    n, m = 200, 300
    drawn = [
        float(mmd2(features.total(rng.standard_normal((n, 10))), n, features.total(rng.standard_normal((m, 10))), m))
        for _ in range(400)
    ]
    unit = 1 / n + 1 / m
    assert np.mean(drawn) == pytest.approx(float(law.mean(unit)), rel=0.03)
    assert np.var(drawn) == pytest.approx(float(law.variance(unit)), rel=0.25)


def test_hotelling_is_the_textbook_statistic():
    """Two-sample T squared of n1 = 1 and n2 = D rows, covariance pooled (Anderson, Introduction to Multivariate
    Statistical Analysis, section 5.3), computed by an explicit inverse."""
    rng = np.random.default_rng(3)
    days, x = rng.standard_normal((25, 4)) @ rng.standard_normal((4, 4)), rng.standard_normal(4) + 2
    difference = x - days.mean(axis=0)
    expected = 25 * 1 / 26 * difference @ np.linalg.inv(np.cov(days.T)) @ difference
    found = hotelling(x, days)
    assert found.t_squared == pytest.approx(expected, rel=1e-10)
    assert found.p_value == pytest.approx(stats.f.sf(expected * 21 / (4 * 24), 4, 21), rel=1e-9)
    one = hotelling(x[:1], days[:, :1])  # with one dimension it is the square of Student's t of a new value
    t = difference[0] / (days[:, 0].std(ddof=1) * np.sqrt(1 + 1 / 25))
    assert one.p_value == pytest.approx(2 * stats.t.sf(abs(t), 24), rel=1e-9)


def test_hotelling_needs_more_windows_than_dimensions():
    with pytest.raises(ValueError, match="5 windows for 5 dimensions"):
        hotelling(np.zeros(5), np.random.default_rng(4).standard_normal((5, 5)))


def test_the_p_value_of_hotelling_is_uniform():
    rng = np.random.default_rng(5)
    p = [hotelling(rng.standard_normal(3), rng.standard_normal((12, 3))).p_value for _ in range(2000)]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_shrinkage_is_that_of_schaefer_and_strimmer():
    """Their estimator written out with loops (appendix A, target D)."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((12, 4)) @ np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    n, k = x.shape
    z = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    above = below = 0.0
    for i in range(k):
        for j in range(k):
            if i != j:
                w = z[:, i] * z[:, j]
                above += n / (n - 1) ** 3 * ((w - w.mean()) ** 2).sum()
                below += (n / (n - 1) * w.mean()) ** 2
    expected = min(1.0, above / below)
    covariance, intensity = shrunk_covariance(x)
    assert intensity == pytest.approx(expected, rel=1e-9)
    off = ~np.eye(k, dtype=bool)
    assert np.diag(covariance) == pytest.approx(np.var(x, axis=0, ddof=1))
    assert covariance[off] == pytest.approx((1 - expected) * np.cov(x.T)[off])


def test_scaled_distance_of_ordinary_days_is_about_one_with_fewer_days_than_dimensions():
    rng = np.random.default_rng(7)
    found = [scaled_distance(rng.standard_normal(50), rng.standard_normal((28, 50))) for _ in range(200)]
    assert 0.9 < np.median(found) < 1.25


def test_correlations_are_pearsons_over_the_rows_with_both_values():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((500, 3)) @ np.array([[1, 0.5, 0.2], [0, 1, 0.3], [0, 0, 1]])
    x[rng.random(x.shape) < 0.2] = np.nan
    halves = moment_sums(x[:200]) + moment_sums(x[200:])
    found = halves.correlations()
    for i in range(3):
        for j in range(3):
            both = np.isfinite(x[:, i]) & np.isfinite(x[:, j])
            assert found[i, j] == pytest.approx(np.corrcoef(x[both, i], x[both, j])[0, 1], abs=1e-12)


def test_the_noise_of_correlations_is_what_sampling_gives():
    rng = np.random.default_rng(9)
    root = np.linalg.cholesky(np.array([[1, 0.7, 0], [0.7, 1, 0], [0, 0, 1.0]]))
    reference = moment_sums(rng.standard_normal((200_000, 3)) @ root.T)
    windows = [moment_sums(rng.standard_normal((400, 3)) @ root.T) for _ in range(800)]
    stack = type(reference)(*(np.stack([getattr(w, f) for w in windows]) for f in ("n", "first", "square", "product")))
    change = correlation_change(reference, stack)
    assert change.squared.mean() == pytest.approx(change.noise.mean(), rel=0.1)


def test_embedding_distances_are_evidentlys_by_definition():
    """Evidently documents Euclidean and cosine distance of the mean vectors, MMD, and a domain classifier."""
    rng = np.random.default_rng(10)
    old, new = rng.standard_normal((4000, 16)) + 1, rng.standard_normal((3000, 16)) * 1.1 + 1.2
    model: EmbeddingModel = fit_embeddings(old.astype(np.float32), [], [vectors(old)])
    found = embedding_distances(model, ["now"], [model.window(vectors(new))])
    streams = {stream.statistic: stream for stream in found.streams}
    a, b = (np.asarray(x, dtype=np.float32).astype(float).mean(axis=0) for x in (old, new))
    # the part that sampling alone gives is taken off: trace of the covariance times 1/n + 1/m
    noise = np.cov(old.T).trace() * (1 / 4000 + 1 / 3000)
    assert streams["centroid_distance"].display[0] ** 2 + noise == pytest.approx(((a - b) ** 2).sum(), rel=1e-3)
    assert found.cosine[0] == pytest.approx(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-9)
    assert streams["norm"].display[0] == pytest.approx(np.linalg.norm(new, axis=1).mean(), rel=1e-6)
    direct = kernel_mmd2(old[:700], new[:700], median_heuristic(old))
    assert streams["rff_distance"].display[0] ** 2 == pytest.approx(direct, rel=0.3)
    assert np.isnan(cosine_distance(np.zeros(3), np.ones(3)))


def test_a_part_can_be_taken_out_of_the_reference():
    """A window of the reference is compared with the others: the same as a reference made without it."""
    rng = np.random.default_rng(11)
    days = [rng.standard_normal((300, 8)) for _ in range(10)]
    keys = [str(k) for k in range(10)]
    parts = [vectors(day) for day in days]
    sample = np.concatenate(days).astype(np.float32)
    model = fit_embeddings(sample, keys, parts)
    own = [model.window(part) for part in parts]
    first = embedding_distances(model, ["0"], own[:1]).streams[2]
    rest = model.features.total(np.concatenate(days[1:]).astype(np.float32))
    squared = float(mmd2(own[0]["features"], 300, rest, 2700))
    noise = float(model.law.mean(1 / 300 + 1 / 2700))
    assert first.display[0] == pytest.approx(np.sqrt(max(squared - noise, 0)), rel=1e-6)


def test_pca_error_is_the_residual_of_the_components():
    rng = np.random.default_rng(12)
    root = rng.standard_normal((5, 5))
    table = {f"c{k}": column for k, column in enumerate((rng.standard_normal((3000, 5)) @ root).T)}
    model = fit_joint(table, [], [table])
    scores = model.scores(table)
    place = scores @ model.basis
    direct = ((scores - place @ model.basis.T) ** 2).sum(axis=1).mean()
    sums = model.window(table)
    assert float(sums["error"]) / float(sums["rows"]) == pytest.approx(direct, rel=1e-9)
    found = joint_distances(model, ["now"], [sums])
    assert found.streams[2].display[0] == pytest.approx(1.0)


def test_the_default_classifier_sees_what_boosted_trees_see():
    """The loss of one correlation among 20 columns: the design's figure for boosted trees is .718."""
    sklearn = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(13)
    old, new = rng.standard_normal((2, 5000, 20))
    old[:, 1] = 0.74 * old[:, 0] + np.sqrt(1 - 0.74**2) * old[:, 1]

    def trees(rows, is_current):
        model = sklearn.HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(rows, is_current)
        return lambda values: model.predict_proba(values)[:, 1]

    boosted = domain_classifier(old, new, fit=trees)
    found = domain_classifier(old, new, [f"c{k}" for k in range(20)])
    assert found.auc > boosted.auc - 0.01
    assert set(list(found.importance)[:2]) == {"c0", "c1"}
    assert found.p_value < 1e-20
