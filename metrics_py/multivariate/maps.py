"""A map of embeddings in two dimensions, to look at what is new and what it is nearest to."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
MOST_ROWS = 5000
MIN_UMAP = 20
SEED = 20_260_105


INSTALL = "pip install 'sightline[umap]'"
Method = Literal["pca", "umap"]


def embedding_map(reference: ArrayLike, current: ArrayLike, nearest: int = 3, method: Method = "pca") -> pl.DataFrame:
    """Rows of two sets of vectors in two dimensions that are made from the reference alone.

    Parameters
    ----------
    reference, current : array_like, shape (m, d) and (n, d)
        Finite vectors; more than 5,000 of either are thinned, always the same way.
    nearest : int, default 3
        Rows of the reference that are named for each row of `current`.
    method : {"pca", "umap"}, default "pca"
        The first two principal components, or UMAP with a fixed seed (package ``umap-learn``).

    Returns
    -------
    polars.DataFrame
        ``side`` (``reference`` or ``current``), ``row`` (its number in the array), ``x``, ``y``, and for current rows
        ``distance`` to the nearest row of the reference and the numbers of the ``nearest`` ones: sort by the distance
        to see what is new. Write it with ``write_parquet`` or ``write_json``.

    Raises
    ------
    ValueError
        If the sets have different dimensions, or the reference has fewer than 3 rows (UMAP: 20).
    ModuleNotFoundError
        UMAP is asked for and not installed.

    Notes
    -----
    Distances are Euclidean and of all d numbers; a map of principal components shows two of their directions only, and
    one of UMAP keeps neighbours and no distances.

    References
    ----------
    Jolliffe (2002), Principal Component Analysis, chapter 5. McInnes, Healy & Melville (2018), UMAP, arXiv 1802.03426.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> old, new = rng.standard_normal((200, 8)), rng.standard_normal((50, 8))
    >>> new[7] += 10
    >>> found = embedding_map(old, new).filter(pl.col("side") == "current").sort("distance", descending=True)
    >>> found["row"][0]
    7
    """
    old, new = (np.asarray(rows, dtype=np.float64) for rows in (reference, current))
    if old.ndim != 2 or new.ndim != 2 or old.shape[1] != new.shape[1] or len(old) < 3:
        raise ValueError(
            f"embedding_map: shapes {old.shape} and {new.shape}: "
            "pass vectors of one dimension, 3 or more to compare with"
        )
    chosen = [_chosen(len(rows)) for rows in (old, new)]
    old, new = old[chosen[0]], new[chosen[1]]
    places = _umap(old, new) if method == "umap" else _components(old, new)
    square = (old**2).sum(axis=1)[None] + (new**2).sum(axis=1)[:, None] - 2 * new @ old.T
    k = min(nearest, len(old))
    order = np.argsort(square, axis=1)[:, :k]
    closest = np.sqrt(np.maximum(np.take_along_axis(square, order[:, :1], axis=1)[:, 0], 0.0))
    frames = [
        pl.DataFrame({"side": [side] * len(rows), "row": chosen[s], "x": places[s][:, 0], "y": places[s][:, 1]})
        for s, (side, rows) in enumerate((("reference", old), ("current", new)))
    ]
    frames[1] = frames[1].with_columns(
        distance=pl.Series(closest),
        nearest=pl.Series([chosen[0][row].tolist() for row in order], dtype=pl.List(pl.Int64)),
    )
    return pl.concat(frames, how="diagonal")


def _components(old: FloatArray, new: FloatArray) -> list[FloatArray]:
    center = old.mean(axis=0)
    _, _, direction = np.linalg.svd(old - center, full_matrices=False)
    plane = np.zeros((old.shape[1], 2))
    plane[:, : min(2, len(direction))] = direction[:2].T
    plane *= np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)  # the same side up in each window
    return [(rows - center) @ plane for rows in (old, new)]


def _umap(old: FloatArray, new: FloatArray) -> list[FloatArray]:
    if len(old) < MIN_UMAP:
        raise ValueError(f"embedding_map: {len(old)} rows to compare with: pass {MIN_UMAP} or more, or use pca")
    try:
        made = cast("Any", import_module("umap")).UMAP(n_components=2, random_state=SEED % 2**31, n_jobs=1)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"a map by UMAP needs a package: {INSTALL}") from error
    before = np.asarray(made.fit_transform(old), dtype=np.float64)
    after = np.asarray(made.transform(new), dtype=np.float64) if len(new) else np.empty((0, 2))
    return [before, after]


def _chosen(n: int) -> NDArray[np.int64]:
    """Numbers of the rows that are shown."""
    random = np.random.Generator(np.random.PCG64(SEED))
    return np.sort(random.permutation(n)[:MOST_ROWS]).astype(np.int64)
