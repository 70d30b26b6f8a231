"""Whether a series of windows moved at a known time, with as much scatter between windows as it had before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.scipy_functions import t_tail

FloatArray = NDArray[np.float64]

LEAST_BEFORE = 8
"""Windows before that are needed to know the scatter."""

MOST_FREEDOM = 12
"""Degrees of freedom of the t distribution at most: windows stray farther than normal numbers do."""


@dataclass(frozen=True)
class Move:
    """A series before and after a time.

    Attributes
    ----------
    before, after : float
        Mean of the windows before; after, the mean or the one window that strays most, whichever is less likely.
    z : float
        The difference in standard errors of it.
    p_value : float
        Two-sided, for the mean and each single window together.
    n_before, n_after : int
        Windows with a value.
    is_single : bool
        One window told more than all after together.
    """

    before: float
    after: float
    z: float
    p_value: float
    n_before: int
    n_after: int
    is_single: bool


def moved(before: ArrayLike, after: ArrayLike, *, least_sd: float = 0.0, singles: bool = True) -> Move | None:
    """Compare the windows from a time on with those before it.

    Parameters
    ----------
    before, after : array_like, shapes (m,) and (n,)
        Values by window; NaN where there is none.
    least_sd : float, default 0
        Scatter of single windows that is known to be there at least, such as that of sampling.
    singles : bool, default True
        Look at each window after, too, and not only at their mean.

    Returns
    -------
    Move or None
        None with fewer than 8 windows before, or none after.

    Notes
    -----
    The mean after and each window after are predicted by the windows before (Student's prediction interval); the
    smallest p-value counts ``n + 1`` times. Windows before that never varied at all are taken to vary by 1e-9 of their
    size.

    Examples
    --------
    >>> found = moved([0.1, 0.12, 0.09, 0.11, 0.1, 0.12, 0.08, 0.1], [0.3, 0.31])
    >>> round(found.before, 2), round(found.after, 2), found.p_value < 1e-4
    (0.1, 0.3, True)
    """
    a, b = (x[np.isfinite(x)] for x in (np.asarray(v, dtype=np.float64).ravel() for v in (before, after)))
    m, n = len(a), len(b)
    if m < LEAST_BEFORE or n < 1:
        return None
    level = float(a.mean())
    sd = max(float(a.std(ddof=1)), least_sd, 1e-9 * max(abs(level), 1e-9))
    freedom = min(m - 1, MOST_FREEDOM)
    z_mean = (float(b.mean()) - level) / (sd * np.sqrt(1 / m + 1 / n))
    each = (b - level) / (sd * np.sqrt(1 / m + 1))
    farthest = int(np.abs(each).argmax())
    looks = n + 1 if n > 1 and singles else 1
    is_single = looks > 1 and abs(each[farthest]) > abs(z_mean)
    z = float(each[farthest] if is_single else z_mean)
    p = min(1.0, looks * 2 * float(t_tail(abs(z), freedom)))
    return Move(level, float(b[farthest] if is_single else b.mean()), z, p, m, n, bool(is_single))
