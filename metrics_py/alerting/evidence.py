"""Shiryaev-Roberts e-detectors per stream and the e-d-BH decision over all streams of a monitor."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.columns import Columns

Floats = NDArray[np.float64]
LAMBDAS = np.array([0.5, 1.0, 1.5, 2.0, 3.0])
_CAP = 1e15


class Evidence(Columns):
    """U (upwards) and D (downwards) of shape (streams, lambdas): M = (mean U + mean D) / 2.

    Each e-value exp(lambda z - lambda^2 / 2), z the normal score of a p-value, has mean at most 1 while the stream
    follows its own past, so that E[M_t | past] <= M_{t-1} + dt.

    Parameters
    ----------
    size : int, default 0
        Streams.
    width : int, default 5
        Values of lambda.

    References
    ----------
    Shin, Ramdas & Rinaldo (2022), E-detectors, arXiv 2203.03532.
    """

    FIELDS: ClassVar = {"up": (np.float64, 0.0, True), "down": (np.float64, 0.0, True)}
    up: Floats
    down: Floats

    def __init__(self, size: int = 0, width: int = len(LAMBDAS)) -> None:
        super().__init__(size, width)

    def update(self, i: NDArray[np.int64], up: Floats, down: Floats, starts: Floats) -> None:
        """Take the e-values of one window.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        up, down : ndarray, shape (k, lambdas)
            E-values for a level that is higher, and for one that is lower.
        starts : ndarray, shape (k,)
            How many changes may begin here: the windows that passed since the one before; less where the window says
            little, since all else would let the evidence of a stream that never varies grow with time alone.
        """
        self.up[i] = np.minimum((self.up[i] + starts[:, None]) * up, _CAP)
        self.down[i] = np.minimum((self.down[i] + starts[:, None]) * down, _CAP)

    def reset(self, i: NDArray[np.int64]) -> None:
        """Start again from nothing.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        """
        self.up[i] = 0.0
        self.down[i] = 0.0

    def total(self, i: NDArray[np.int64] | slice = slice(None)) -> Floats:
        """M of the streams.

        Parameters
        ----------
        i : integer ndarray, shape (k,), or slice, optional
            Streams. Default: all.

        Returns
        -------
        ndarray, shape (k,)
            In windows.
        """
        return 0.5 * (self.up[i].mean(axis=1) + self.down[i].mean(axis=1))


def adjusted_evidence(weighted: Floats, family: NDArray[np.int64]) -> Floats:
    """Evidence at the level of the family: ``max over j >= rank of j * (j-th largest weighted M)``.

    Parameters
    ----------
    weighted : ndarray, shape (streams,)
        w_i M_i, with weights that sum to 1 over the family.
    family : integer ndarray, shape (streams,)
        Decision family (monitor) of each stream.

    Returns
    -------
    ndarray, shape (streams,)
        In windows.

    Notes
    -----
    The e-d-BH rule at threshold c rejects exactly the streams whose adjusted evidence is at least c, as BH rejects the
    adjusted p-values of at most alpha.

    References
    ----------
    Dandapanthula & Ramdas (2025), e-d-BH, arXiv 2501.04130. Wang & Ramdas (2022), JRSS B 84:822 (e-BH).

    Examples
    --------
    The second stream is rejected at thresholds up to 50 because the first one carries as much:

    >>> adjusted_evidence(np.array([60.0, 25.0, 1.0]), np.array([0, 0, 0])).tolist()
    [60.0, 50.0, 3.0]
    """
    if not len(weighted) or np.bincount(family).max() == 1:
        return weighted.copy()
    order = np.lexsort((-weighted, family))
    sorted_family = family[order]
    starts = np.flatnonzero(np.r_[True, sorted_family[1:] != sorted_family[:-1]])
    sizes = np.diff(np.r_[starts, len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, sizes) + 1
    scaled = rank * weighted[order]
    # Running maximum from the end of each family: shift families apart, so that one pass does not mix them.
    if len(starts) == 1:
        best = np.maximum.accumulate(scaled[::-1])[::-1]
    else:
        best = np.empty_like(scaled)
        for start, size in zip(starts, sizes, strict=True):
            best[start : start + size] = np.maximum.accumulate(scaled[start : start + size][::-1])[::-1]
    out = np.empty_like(best)
    out[order] = best
    return out
