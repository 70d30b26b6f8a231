"""Squared distances on a scale on which days scatter evenly, whatever the volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def steady(squared: ArrayLike, noise: ArrayLike, usual_noise: float) -> tuple[FloatArray, FloatArray]:
    """A squared distance as the alert engine watches it.

    What sampling alone gives to a distance falls with the rows, so its plain logarithm would move with the volume. That
    part is replaced by the one at the usual volume: ``asinh((squared - noise + usual) / usual)``, which is a logarithm
    where the distance stands out from noise and linear where it does not.

    Parameters
    ----------
    squared : array_like, shape (T,)
        Squared distances.
    noise : array_like, shape (T,)
        What sampling alone gives to each.
    usual_noise : float
        That of a window of the usual size.

    Returns
    -------
    value, slope : ndarray, shape (T,)
        The value, and its derivative by the squared distance (at least at the usual noise), for its variance.

    Examples
    --------
    >>> value, _ = steady([0.02, 0.02 + 0.08], [0.02, 0.1], 0.02)
    >>> value.round(3).tolist()  # the second has a fifth of the rows and is as far
    [0.881, 0.881]
    """
    usual = usual_noise if usual_noise > 0 else 1e-12
    place = (np.asarray(squared, dtype=float) - np.asarray(noise, dtype=float) + usual) / usual
    return np.arcsinh(place), 1 / (usual * np.sqrt(1 + np.maximum(place, 1.0) ** 2))


def shown(squared: ArrayLike, noise: ArrayLike) -> FloatArray:
    """A distance without the part that sampling alone gives to it.

    Parameters
    ----------
    squared, noise : array_like, shape (T,)
        As of `steady`.

    Returns
    -------
    ndarray, shape (T,)
        Its root; 0 where sampling explains all of it.
    """
    return np.sqrt(np.maximum(np.asarray(squared, dtype=float) - np.asarray(noise, dtype=float), 0.0))
