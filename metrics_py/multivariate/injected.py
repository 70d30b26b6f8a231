"""Sums of windows as they would be had other rows come in the place of some: what a rehearsal puts into them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics_py.multivariate.embeddings import EmbeddingModel, embedding_sums
from metrics_py.multivariate.joint import JointModel, joint_sums
from metrics_py.multivariate.vectors import Vectors
from metrics_py.multivariate.window_sums import Sums

FloatArray = NDArray[np.float64]
NOT_SUMS = ("auc", "auc_variance", "importance", "n_duplicate")
"""What does not add up over rows stays as it is."""


def with_others(sums: Sums, n: str, k: int, other: Sums) -> dict[str, FloatArray]:
    """Sums of a window in which k of its rows, whichever they are, are replaced by others.

    Parameters
    ----------
    sums : mapping of str to ndarray
        Of the window.
    n : str
        Name of the sum that counts its rows.
    k : int
        Rows that are replaced, at most all.
    other : mapping of str to ndarray
        Sums of one row of the others, on average.

    Returns
    -------
    dict of str to ndarray
        What k rows of the usual kind add is taken away, what k others add comes in; `NOT_SUMS` stay.

    Examples
    --------
    >>> found = with_others({"n": np.array(4.0), "norm": np.array(8.0)}, "n", 1, {"norm": np.array(5.0)})
    >>> float(found["norm"]), float(found["n"])
    (11.0, 4.0)
    """
    rows = max(float(sums[n]), 1.0)
    return {
        name: total if name in NOT_SUMS or name not in other else total * (1 - k / rows) + k * other[name]
        for name, total in sums.items()
    }


def vector_of_new_kind(model: EmbeddingModel, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Sums of one vector that is as far from the reference's mean as its vectors are, in a direction of its own.

    Parameters
    ----------
    model : EmbeddingModel
        The frozen reference.
    rng : Generator
        Draws the direction among the principal components, by their spread.

    Returns
    -------
    dict of str to ndarray
        Those of `EmbeddingModel.window` that add up, without counts.
    """
    variance: FloatArray = 1 / np.maximum((model.basis**2).sum(axis=0), 1e-300)
    drawn: FloatArray = rng.standard_normal(int(model.basis.shape[1]))
    away: FloatArray = np.asarray(model.basis @ (variance * drawn), dtype=np.float64)
    length = float(np.linalg.norm(away))
    vector: FloatArray = model.center + away * (np.sqrt(model.spread) / length if length > 0 else 0.0)
    row = vector[None].astype(np.float32)
    found = embedding_sums(Vectors(row, 1, 0, 0, {model.dimension: 1}), model.features)
    return {name: found[name] for name in ("norm", "norm_square", "total", "features")}


def unrelated_row(model: JointModel, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Sums of one row whose values are each of another row of the reference, on average.

    Every column stays as it is; nothing is left of what they have to do with each other.

    Parameters
    ----------
    model : JointModel
        The frozen reference, with its sample of rows.
    rng : Generator
        Shuffles each column of the sample.

    Returns
    -------
    dict of str to ndarray
        Those of `JointModel.window` that add up, without ``rows``.
    """
    scores = rng.permuted(model.sample.rows.astype(np.float64), axis=0)
    found = joint_sums(scores, model.features, model.basis)
    n = max(float(found.pop("rows")), 1.0)
    return {name: total / n for name, total in found.items()}
