"""Checks of raw samples, shared by distances and tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def sample(name: str, side: str, values: ArrayLike) -> FloatArray:
    """Values as a one-dimensional float array.

    Parameters
    ----------
    name : str
        Function that asks, for its errors.
    side : str
        ``reference`` or ``current``, for its errors.
    values : array_like, shape (n,)
        Numbers or booleans.

    Returns
    -------
    ndarray of float, shape (n,)
        A copy.

    Raises
    ------
    ValueError
        Not one-dimensional, or NaN or infinite values (drop them first and report their share as a change of its own).
    TypeError
        Not numbers.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" and array.size:
        raise TypeError(
            f"{name}: {side} values of type {array.dtype} are not numbers; cast them, or compare categories"
        )
    if array.ndim != 1:
        raise ValueError(f"{name}: {side} values have shape {array.shape}; pass one dimension, (n,)")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {side} values hold NaN or infinity; drop them and report their share by itself")
    return array


def pair(name: str, reference: ArrayLike, current: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both samples, checked.

    Parameters
    ----------
    name : str
        Function that asks, for its errors.
    reference, current : array_like, shapes (m,) and (n,)
        Numbers or booleans.

    Returns
    -------
    reference, current : ndarray of float, shapes (m,) and (n,)
        Copies.

    Raises
    ------
    ValueError, TypeError
        As `sample`.
    """
    return sample(name, "reference", reference), sample(name, "current", current)


def tabulate(reference: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct values of both samples in order, and how often each side holds them.

    Parameters
    ----------
    reference, current : ndarray of float, shapes (m,) and (n,)
        Finite values.

    Returns
    -------
    distinct : ndarray, shape (G,)
        Ascending.
    reference, current : ndarray of float, shape (G,)
        Rows of each side.

    Examples
    --------
    >>> [x.tolist() for x in tabulate(np.array([1.0, 2.0, 2.0]), np.array([2.0, 5.0]))]
    [[1.0, 2.0, 5.0], [1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]
    """
    distinct, inverse = np.unique(np.concatenate([reference, current]), return_inverse=True)
    m = len(reference)
    counts = [np.bincount(part, minlength=len(distinct)).astype(float) for part in (inverse[:m], inverse[m:])]
    return distinct, counts[0], counts[1]
