"""Pooled two-sided tail of the standardised residuals: which t distribution, on which scale, on each side."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri, stdtr

from metrics_py.alerting.columns import Columns

Floats = NDArray[np.float64]
GRID = np.array([2.1, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0])
"""Degrees of freedom tried; never lighter than 8, which is also what a small pool uses."""
MAX_Z = 8.0
_RATIO, _LOW, _HIGH = 1.03, 1e-3, 10.0
_BINS = int(np.ceil(np.log(_HIGH / _LOW) / np.log(_RATIO)))
_CENTERS = _LOW * _RATIO ** (np.arange(_BINS) + 0.5)
_MIN_FIT = 100
_PRIOR = 20.0


class Tails(Columns):
    """One tail model per pool (all streams of a monitor); axis 1 holds the bins of u < 0, then those of u > 0.

    The pool keeps counts of |u| in bins 3 % wide (clipped at 10) and sums of squares. The scale of a side is its root
    mean square, shrunk towards 1 with 20 pseudo-residuals and never below 1; its degrees of freedom are the maximum
    likelihood on `GRID`, or 8 with fewer than 100 residuals.

    Parameters
    ----------
    size : int, default 0
        Pools.
    width : int, optional
        Bins of both sides together.
    """

    FIELDS: ClassVar = {
        "counts": (np.int64, 0, True),
        "square_low": (np.float64, 0.0, False),
        "square_high": (np.float64, 0.0, False),
        "fitted_on": (np.int64, -1, False),
        "scale_low": (np.float64, 1.0, False),
        "scale_high": (np.float64, 1.0, False),
        "df_low": (np.float64, 8.0, False),
        "df_high": (np.float64, 8.0, False),
    }
    counts: NDArray[np.int64]
    square_low: Floats
    square_high: Floats
    fitted_on: NDArray[np.int64]
    scale_low: Floats
    scale_high: Floats
    df_low: Floats
    df_high: Floats

    def __init__(self, size: int = 0, width: int = 2 * _BINS) -> None:
        super().__init__(size, width)

    def learn(self, pool: NDArray[np.int64], u: Floats, sign: int = 1) -> None:
        """Add residuals to their pools.

        Parameters
        ----------
        pool : integer ndarray, shape (n,)
            Pool of each residual.
        u : ndarray, shape (n,)
            Standardised residuals.
        sign : int, default 1
            -1 takes them back.
        """
        size = np.minimum(np.abs(u), _HIGH)
        bins = np.clip((np.log(np.maximum(size, _LOW) / _LOW) / np.log(_RATIO)).astype(np.int64), 0, _BINS - 1)
        np.add.at(self.counts, (pool, bins + _BINS * (u > 0)), sign)
        np.add.at(self.square_low, pool, sign * np.where(u > 0, 0.0, size**2))
        np.add.at(self.square_high, pool, sign * np.where(u > 0, size**2, 0.0))

    def sizes(self) -> NDArray[np.int64]:
        """Residuals per pool.

        Returns
        -------
        integer ndarray, shape (pools,)
            Of both sides together.
        """
        return self.counts.sum(axis=1)

    def refit(self) -> None:
        """Fit pools that have grown (or shrunk) by 5 % since their last fit."""
        sizes = self.sizes()
        stale = np.flatnonzero(np.abs(sizes - self.fitted_on) > 0.05 * np.maximum(self.fitted_on, 0))
        for pool in stale:
            for side, part in (("low", slice(0, _BINS)), ("high", slice(_BINS, None))):
                counts = self.counts[pool, part]
                n = int(counts.sum())
                square = max(float(getattr(self, f"square_{side}")[pool]), 0.0)
                scale = float(np.sqrt(max((square + _PRIOR) / (n + _PRIOR), 1.0)))
                getattr(self, f"scale_{side}")[pool] = scale
                getattr(self, f"df_{side}")[pool] = _fit_df(counts, scale) if n >= _MIN_FIT else GRID[-1]
            self.fitted_on[pool] = sizes[pool]

    def p_upper(self, pool: NDArray[np.int64], u: Floats) -> Floats:
        """Probability of a residual at least as far out on the same side.

        Parameters
        ----------
        pool : integer ndarray, shape (n,)
            Pool of each residual.
        u : ndarray, shape (n,)
            Standardised residuals.

        Returns
        -------
        ndarray, shape (n,)
            P(at least as high) for u > 0, P(at least as low) for u <= 0.
        """
        high = u > 0
        df = np.where(high, self.df_high[pool], self.df_low[pool])
        scale = np.where(high, self.scale_high[pool], self.scale_low[pool])
        return stdtr(df, -np.abs(u) / scale * np.sqrt(df / (df - 2.0)))

    def normal_score(self, pool: NDArray[np.int64], u: Floats) -> Floats:
        """Normal score with the sign of the residual and the tail probability of `p_upper`.

        Parameters
        ----------
        pool : integer ndarray, shape (n,)
            Pool of each residual.
        u : ndarray, shape (n,)
            Standardised residuals.

        Returns
        -------
        ndarray, shape (n,)
            Between -8 and 8.
        """
        with np.errstate(divide="ignore"):
            z = -ndtri(self.p_upper(pool, u))
        return np.sign(u) * np.clip(z, 0.0, MAX_Z)


def _fit_df(counts: NDArray[np.int64], scale: float) -> float:
    """Maximum likelihood degrees of freedom of unit-variance t on `GRID`, from binned |u| / scale."""
    a = np.sqrt(GRID / (GRID - 2.0))[:, None]
    nu = GRID[:, None]
    x = _CENTERS / scale * a
    log_density = (
        gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu) + np.log(a) - (nu + 1) / 2 * np.log1p(x**2 / nu)
    )
    return float(GRID[int(np.argmax(log_density @ counts))])
