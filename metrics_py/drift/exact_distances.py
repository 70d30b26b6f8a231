"""Exact distances between two samples of numbers. NaN marks an undefined value: a side without rows.

References
----------
Szekely & Rizzo (2013), Journal of Statistical Planning and Inference 143:1249 (energy distance).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.drift.samples import pair, tabulate
from metrics_py.registry import metric

FloatArray = NDArray[np.float64]
CLIP_LEVELS = (0.005, 0.995)
FURTHEST = 10.0


def ks_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the largest gap between the ECDFs.

    Examples
    --------
    >>> ks_distance([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    a, b = pair("ks_distance", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    _, m, n = tabulate(a, b)
    return float(np.abs(np.cumsum(m) / len(a) - np.cumsum(n) / len(b)).max())


@metric(
    name="wasserstein",
    task="drift",
    needs="values",
    direction="lower_is_better",
    range=(0, np.inf),
    unit="units of the column",
    references=("Villani (2009), Optimal Transport",),
    invariances=("symmetric", "shift"),
)
def wasserstein(reference: ArrayLike, current: ArrayLike) -> float:
    """Wasserstein-1 distance in the units of the values. One huge value decides it: for a robust number use `wasserstein_scaled`."""
    a, b = pair("wasserstein", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(a, b))


@metric(
    name="wasserstein_scaled",
    task="drift",
    needs="values",
    direction="lower_is_better",
    range=(0, np.inf),
    unit="sd",
    references=("Villani (2009), Optimal Transport",),
    invariances=("scale", "shift"),
)
def wasserstein_scaled(reference: ArrayLike, current: ArrayLike) -> float:
    """Wasserstein-1 distance in standard deviations of the reference, outliers of either side held back.

    The standard deviation is that of the reference clipped to its 0.5 % and 99.5 % quantiles; values further than 10 of them
    beyond these quantiles count as that far. A shift by 0.3 sd gives about 0.3; an outlier among n rows moves it by at most
    about 12 / n. NaN if the reference is constant between these quantiles: it has no scale.
    """
    a, b = pair("wasserstein_scaled", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    low, high = np.quantile(a, CLIP_LEVELS, method="inverted_cdf")
    unit = float(max(abs(low), abs(high)))  # keeps squares of huge and tiny values in range
    if low == high or unit == 0:
        return float("nan")
    low, high = low / unit, high / unit
    scale = float(np.clip(a / unit, low, high).std())
    if scale == 0:
        return float("nan")
    a, b = (np.clip(x / unit, low - FURTHEST * scale, high + FURTHEST * scale) for x in (a, b))
    return wasserstein(a, b) / scale


@metric(
    name="energy_distance",
    task="drift",
    needs="values",
    direction="lower_is_better",
    range=(0, np.inf),
    unit="root of the units of the column",
    references=("Szekely & Rizzo (2013), JSPI 143:1249",),
    invariances=("symmetric", "shift"),
)
def energy_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Energy distance ``sqrt(2 integral (F - G)^2)``, in the square root of the units of the values."""
    a, b = pair("energy_distance", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    from scipy.stats import energy_distance as scipy_energy_distance

    return float(scipy_energy_distance(a, b))


@metric(
    name="energy_coefficient",
    task="drift",
    needs="values",
    direction="lower_is_better",
    range=(0, 1),
    references=("Szekely & Rizzo (2013), JSPI 143:1249",),
    invariances=("symmetric", "scale", "shift"),
)
def energy_coefficient(reference: ArrayLike, current: ArrayLike) -> float:
    """Energy coefficient of inhomogeneity ``D^2 / (2 E|X - Y|)`` in [0, 1]: the energy distance without units.

    Examples
    --------
    >>> metres, kilometres = energy_coefficient([1, 2, 3], [2, 3, 5]), energy_coefficient([0.001, 0.002, 0.003], [0.002, 0.003, 0.005])
    >>> round(metres, 6) == round(kilometres, 6)
    True
    """
    a, b = pair("energy_coefficient", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    expected = _mean_absolute_difference(a, b)
    return min(float(energy_distance(a, b) ** 2 / (2 * expected)), 1.0) if expected > 0 else 0.0


def _mean_absolute_difference(a: FloatArray, b: FloatArray) -> float:
    """``E|X - Y|`` from ECDFs: the integral of F (1 - G) + G (1 - F)."""
    places, m, n = tabulate(a, b)
    f, g = (np.cumsum(m) / len(a))[:-1], (np.cumsum(n) / len(b))[:-1]
    return float(((f * (1 - g) + g * (1 - f)) * np.diff(places)).sum())


__all__ = [
    "energy_coefficient", "energy_distance", "ks_distance", "wasserstein", "wasserstein_scaled"
]  # fmt: skip
