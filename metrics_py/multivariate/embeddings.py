"""Embeddings of a window against the reference's: mean, norm, random Fourier features, projection; from sums.

All that is kept of a window are sums of a few hundred numbers, which merge. Rows of one day share that day, so none of
the distances is judged by its rows: each is a stream, compared with its own past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.drift.daily_statistics import MIN_ROWS, Stream
from metrics_py.multivariate.gauge import THE_WINDOW, Gauge, usual_rows
from metrics_py.multivariate.hotelling import scaled_distance
from metrics_py.multivariate.random_features import (
    N_FEATURES,
    NullLaw,
    RandomFeatures,
    draw_features,
    median_heuristic,
    mmd2,
    null_law,
)
from metrics_py.multivariate.told_apart import DOMAIN_ROWS, DomainSample, domain_sample, domain_stream
from metrics_py.multivariate.vectors import Matrix, Vectors, n_duplicates
from metrics_py.multivariate.window_sums import ReferenceSums, Sums, reference_sums, stacked

FloatArray = NDArray[np.float64]
MOST_DIMENSIONS = 50
"""Principal components in which the day's mean is judged."""
MIN_REFERENCE = 50
MIN_DAYS = 8
"""Windows of the reference from which on they say how days scatter."""
MIN_DAY_ROWS = 30
"""Windows of the reference with fewer vectors say nothing of how days scatter."""
FIT_ROWS = 20_000
BLOCK = 4096
RATES = ("wrong_dimension_rate", "zero_vector_rate", "duplicate_rate")


@dataclass(frozen=True, eq=False)
class EmbeddingModel:
    """What is frozen of the reference's embeddings.

    Attributes
    ----------
    dimension : int
        Numbers d in a vector.
    features : RandomFeatures
        Of the reference.
        Of the kernel whose bandwidth is the median distance of the reference's rows.
    law : NullLaw
        What their distance is without any change.
    center : ndarray, shape (d,)
        Mean of the rows the projection was fitted on.
    basis : ndarray, shape (d, k)
        Principal components, k <= 50, each divided by its standard deviation.
    spread : float
        Trace of the covariance of the rows.
    norm_sd : float
        Standard deviation of their norms.
    sample : DomainSample
        Rows in the principal components that a classifier has to tell a window's from.
    sums : ReferenceSums
        As of `EmbeddingModel.window`.
    """

    dimension: int
    features: RandomFeatures
    law: NullLaw
    center: FloatArray
    basis: FloatArray
    spread: float
    norm_sd: float
    sample: DomainSample
    sums: ReferenceSums

    def window(self, vectors: Vectors) -> dict[str, FloatArray]:
        """Sums of one window.

        Parameters
        ----------
        vectors : Vectors
            Read with `dimension`.

        Returns
        -------
        dict of str to ndarray
            ``n`` (vectors judged), ``n_given``, ``n_wrong``, ``n_none``, ``n_zero``, ``n_duplicate``, ``norm``,
            ``norm_square``, ``total`` (sum of the vectors), ``features``; and, which do not add up, those of
            `DomainSample.area`.
        """
        rows = _projected(vectors.rows[:DOMAIN_ROWS], self.center, self.basis)
        return {**embedding_sums(vectors, self.features), **self.sample.area(rows)}

    def project(self, total: ArrayLike, n: ArrayLike) -> FloatArray:
        """Mean of windows in the principal components, in standard deviations of rows.

        Parameters
        ----------
        total : array_like, shape (T, d)
            Sums of vectors.
        n : array_like, shape (T,)
            Vectors.

        Returns
        -------
        ndarray, shape (T, k)
            Zero is the mean of the reference.
        """
        mean = np.asarray(total, dtype=float) / np.asarray(n, dtype=float)[:, None]
        return (mean - self.center) @ self.basis


def embedding_sums(vectors: Vectors, features: RandomFeatures) -> dict[str, FloatArray]:
    """Sums of one window's vectors.

    Parameters
    ----------
    vectors : Vectors
        Finite rows.
    features : RandomFeatures
        Of the reference.

    Returns
    -------
    dict of str to ndarray
        As of `EmbeddingModel.window`, but for the areas.
    """
    rows = vectors.rows
    total = np.zeros(rows.shape[1])
    norm = norm_square = n_zero = 0.0
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK].astype(np.float64)
        square = np.einsum("ij,ij->i", block, block)
        total += block.sum(axis=0)
        norm += float(np.sqrt(square).sum())
        norm_square += float(square.sum())
        n_zero += float((square == 0).sum())
    counts = {"n": len(rows), "n_given": vectors.n_given, "n_wrong": vectors.n_wrong, "n_none": vectors.n_not_finite}
    scalars = {
        **counts,
        "n_zero": n_zero,
        "n_duplicate": n_duplicates(rows) - max(n_zero - 1, 0),
        "norm": norm,
        "norm_square": norm_square,
    }
    found = {name: np.array(float(value)) for name, value in scalars.items()}
    return {**found, "total": total, "features": features.total(rows)}


def fit_embeddings(
    sample: Matrix,
    keys: Sequence[str],
    parts: Sequence[Vectors],
    n_features: int = N_FEATURES,
    domain_rows: int = DOMAIN_ROWS,
) -> EmbeddingModel:
    """Freeze the reference's embeddings.

    Parameters
    ----------
    sample : ndarray of float32, shape (n, d)
        Rows of all of the reference, in an order that has nothing to do with their content; 20,000 are enough.
    keys : sequence of str
        Names of its windows; none where it has no windows.
    parts : sequence of Vectors
        The vectors of its windows, else one part.
    n_features : int, default 512
        Random Fourier features.
    domain_rows : int, default 4000
        Rows that a classifier has to tell a window's from; 0: none is asked.

    Returns
    -------
    EmbeddingModel
        Frozen.

    Raises
    ------
    ValueError
        If there are fewer than 50 rows.
    """
    if len(sample) < MIN_REFERENCE or not sample.shape[1]:
        raise ValueError(f"fit_embeddings: {len(sample)} vectors of the reference: pass at least {MIN_REFERENCE}")
    rows = sample[:FIT_ROWS].astype(np.float64)
    features = draw_features(rows.shape[1], median_heuristic(rows), n_features)
    center = rows.mean(axis=0)
    centred = rows - center
    covariance = centred.T @ centred / (len(rows) - 1)
    value, vector = np.linalg.eigh(covariance)
    kept = np.argsort(-value)[: min(MOST_DIMENSIONS, len(rows) // 5)]
    kept = kept[value[kept] > 1e-9 * max(float(value.max()), 1e-300)]
    basis = vector[:, kept] / np.sqrt(value[kept])
    basis *= np.where(basis[np.abs(basis).argmax(axis=0), np.arange(len(kept))] < 0, -1.0, 1.0)
    law = null_law(features.transform(rows[: FIT_ROWS // 2]))
    places = [_projected(part.rows[:DOMAIN_ROWS], center, basis) for part in parts]
    apart = domain_sample(places, keys, domain_rows)
    sums = [
        {**embedding_sums(part, features), **apart.area(places[k], k if keys else -1)} for k, part in enumerate(parts)
    ]
    norms, spread = np.sqrt((rows**2).sum(axis=1)), float(np.trace(covariance))
    whole = reference_sums(keys, sums)
    return EmbeddingModel(rows.shape[1], features, law, center, basis, spread, float(norms.std()), apart, whole)


def _projected(rows: Matrix, center: FloatArray, basis: FloatArray) -> FloatArray:
    return (rows.astype(np.float64) - center) @ basis


def cosine_distance(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """One minus the cosine of the angle between vectors.

    Parameters
    ----------
    first, second : array_like, shape (..., d)
        Vectors.

    Returns
    -------
    ndarray, shape (...)
        From 0 to 2; NaN where one of them is zero.

    Examples
    --------
    >>> cosine_distance([[1.0, 0.0]], [[0.0, 2.0]]).tolist()
    [1.0]
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    length = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, 1 - (a * b).sum(axis=-1) / length, np.nan)


@dataclass(frozen=True, eq=False)
class EmbeddingDistances:
    """T windows against the reference, each without itself where it is of the reference.

    Attributes
    ----------
    n : ndarray, shape (T,)
        Vectors judged.
    streams : list of Stream
        ``norm``, ``centroid_distance``, ``rff_distance``, ``hotelling``, ``domain_auc``, and the shares of `RATES`.
    cosine : ndarray, shape (T,)
        Cosine distance of the mean vectors.
    """

    n: FloatArray
    streams: list[Stream]
    cosine: FloatArray


def embedding_distances(
    model: EmbeddingModel,
    keys: Sequence[str],
    windows: Sequence[Sums],
    *,
    min_rows: int = MIN_ROWS,
    design_effect: float = 1.0,
    period: str = THE_WINDOW,
) -> EmbeddingDistances:
    """Distances of windows from the reference, on scales on which days scatter evenly.

    Parameters
    ----------
    model : EmbeddingModel
        The frozen reference.
    keys : sequence of str
        Names of T windows.
    windows : sequence of mapping
        Their sums (`EmbeddingModel.window`).
    min_rows : int, default 200
        Fewer effective vectors: not enough data.
    design_effect : float, default 1
        Of rows that depend on each other.
    period : str, default 'the window'
        What the rows lie in, for the reasons.

    Returns
    -------
    EmbeddingDistances
        Streams and cosine distances.

    Notes
    -----
    ``norm``: mean norm, in standard deviations of the reference's norms. ``centroid_distance``: Euclidean distance of
    the mean vectors. ``rff_distance``: maximum mean discrepancy by random Fourier features; it sees clusters that leave
    the mean where it was. Both are watched as `metrics_py.multivariate.steady.steady` of their square and shown without
    the part that sampling alone gives to them. ``hotelling``: T squared per dimension of the mean in at most 50
    principal components, by how the reference's windows scatter (from 8 of them on; else by how its rows do), watched
    as its logarithm. ``domain_auc``: area under the curve of a classifier that tells the window's rows in those
    components from the reference's; watched as its probit.

    References
    ----------
    Gretton et al. (2012), JMLR 13:723. Hotelling (1931), Annals of Mathematical Statistics 2:360.
    """
    now, old = stacked(windows), model.sums.others(keys)
    n, m = now["n"], np.maximum(old["n"], 1)
    size = np.maximum(n, 1)
    unit = design_effect * (1 / size + 1 / m)
    usual = design_effect * (1 / usual_rows(model.sums, "n") + 1 / max(float(model.sums.whole["n"]), 1.0))
    gauge = Gauge(n, min_rows, design_effect, "vectors", period)
    mean, before = now["total"] / size[:, None], old["total"] / m[:, None]
    streams = [
        gauge.stream(
            "norm",
            (now["norm"] / size - old["norm"] / m) / (model.norm_sd or 1.0),
            design_effect / size,
            now["norm"] / size,
        ),
        gauge.distance(
            "centroid_distance", ((mean - before) ** 2).sum(axis=1), NullLaw(model.spread, _square(model)), unit, usual
        ),
        gauge.distance("rff_distance", mmd2(now["features"], size, old["features"], m), model.law, unit, usual),
        _hotelling(model, keys, now["total"], size, unit, gauge),
    ]
    streams += [domain_stream(now, gauge)] if len(model.sample.rows) else []
    events = (now["n_wrong"], now["n_zero"], now["n_duplicate"])
    for name, found, of in zip(RATES, events, (now["n_given"], n, n), strict=True):
        streams.append(gauge.rate(name, found, of))
    return EmbeddingDistances(n, streams, cosine_distance(mean, before))


def _square(model: EmbeddingModel) -> float:
    """Trace of the squared covariance, by the components that are kept: the others are small."""
    sd = 1 / np.maximum(np.sqrt((model.basis**2).sum(axis=0)), 1e-300)
    return float((sd**4).sum())


def _hotelling(
    model: EmbeddingModel, keys: Sequence[str], total: FloatArray, size: FloatArray, unit: FloatArray, gauge: Gauge
) -> Stream:
    k = model.basis.shape[1]
    places = model.project(total, size)
    variance = np.full(len(size), np.nan)
    held = np.flatnonzero(model.sums.windows["n"] >= MIN_DAY_ROWS).tolist() if model.sums.keys else []
    if len(held) >= MIN_DAYS:
        days = model.project(model.sums.windows["total"][held], model.sums.windows["n"][held])
        names = [model.sums.keys[k] for k in held]
        found = np.array(
            [
                scaled_distance(places[t], days[[k for k, name in enumerate(names) if name != key]])
                for t, key in enumerate(keys)
            ]
        )
    else:
        middle = model.project(model.sums.whole["total"][None], model.sums.whole["n"][None])
        found = ((places - middle) ** 2).sum(axis=1) / (max(k, 1) * unit)
        variance[:] = 2 / max(k, 1)
    return gauge.stream("hotelling", np.log(np.maximum(found, 1e-6)), variance, found)
