"""Where the bins of a numeric column lie: atoms for values that carry mass, quantile intervals for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MIN_ROWS_PER_BIN = 5


@dataclass(frozen=True)
class Edges:
    """Bins of the finite values, in the order of the values.

    Attributes
    ----------
    kinds : tuple of str
        ``interval`` (lower, upper] without the atoms inside, or ``atom`` (value = lower = upper).
    lower, upper : ndarray, shape (K,)
    """

    kinds: tuple[str, ...]
    lower: FloatArray
    upper: FloatArray


def just_below(value: float) -> float:
    """Largest float below; -infinity below the smallest one.

    Parameters
    ----------
    value : float
        A number.

    Returns
    -------
    float
        Its lower neighbour.
    """
    return math.nextafter(value, -math.inf)


def numeric_edges(values: FloatArray, weights: FloatArray, bins: int) -> Edges:
    """Frozen bins of a reference sample.

    A value that carries more than ``1 / bins`` of the mass becomes an atom. Between two atoms lie intervals of about
    equal mass whose inner edges are quantiles (inverse of the ECDF), so that no outlier moves them; a stretch with less
    than half a bin of mass joins its neighbour. A small sample gets fewer bins: at least five rows each.

    Parameters
    ----------
    values : ndarray, shape (D,)
        Distinct finite values, ascending, at least one.
    weights : ndarray, shape (D,)
        Rows (or summed weights) per value, positive.
    bins : int
        Most bins that carry mass.

    Returns
    -------
    Edges
        Atoms and intervals together cover all values.

    Examples
    --------
    >>> edges = numeric_edges(np.arange(1.0, 21.0), np.ones(20), 4)
    >>> edges.upper.tolist()
    [5.0, 10.0, 15.0, 20.0]
    """
    total = float(weights.sum())
    k = int(np.clip(total // MIN_ROWS_PER_BIN, 1, bins))
    heavy = weights > total / k
    atoms = values[heavy]
    rest, mass = values[~heavy], weights[~heavy]
    uppers = _interval_uppers(rest, mass, atoms, k, total, float(values[-1]))
    lowest = just_below(float(values[0]))
    lowers = [lowest, *uppers[:-1]] if uppers else []
    anchors = _anchors(rest, mass, lowers, uppers)
    found = [("interval", low, high, at) for low, high, at in zip(lowers, uppers, anchors, strict=True)]
    found += [("atom", float(a), float(a), float(a)) for a in atoms]
    found.sort(key=lambda b: (b[3], b[0] == "interval"))
    return Edges(
        tuple(b[0] for b in found), np.array([b[1] for b in found]), np.array([b[2] for b in found], dtype=float)
    )


def _interval_uppers(
    rest: FloatArray, mass: FloatArray, atoms: FloatArray, k: int, total: float, maximum: float
) -> list[float]:
    if not len(rest):
        return [maximum] if len(atoms) > 1 else []
    stretch = np.searchsorted(atoms, rest)
    groups: list[tuple[int, int, int, int]] = []  # first row, end row, bins, last stretch
    for s in range(len(atoms) + 1):
        first, end = np.searchsorted(stretch, [s, s + 1])
        if first == end:
            continue
        wanted = round(k * float(mass[first:end].sum()) / total)
        if groups and (wanted == 0 or groups[-1][2] == 0):
            start, _, before, _ = groups.pop()
            groups.append((start, int(end), before + wanted, int(s)))
        else:
            groups.append((int(first), int(end), wanted, int(s)))
    uppers: list[float] = []
    for first, end, wanted, last in groups:
        cumulative = np.cumsum(mass[first:end])
        targets = np.arange(1, max(wanted, 1)) / max(wanted, 1) * cumulative[-1]
        inner = rest[first:end][np.searchsorted(cumulative, targets * (1 - 1e-12))]
        is_final = end == len(rest)
        uppers += [float(x) for x in np.unique(inner) if x < rest[end - 1]]
        uppers.append(maximum if is_final else float(atoms[last]))
    return uppers


def _anchors(rest: FloatArray, mass: FloatArray, lowers: list[float], uppers: list[float]) -> list[float]:
    """Place of each interval in the order of the bins: the median of its own reference rows."""
    anchors: list[float] = []
    for low, high in zip(lowers, uppers, strict=True):
        first, end = (int(np.searchsorted(rest, x, side="right")) for x in (low, high))
        if end > first:
            cumulative = np.cumsum(mass[first:end])
            middle = int(np.searchsorted(cumulative, float(cumulative[-1]) / 2))
            anchors.append(float(rest[first + middle]))
        else:
            anchors.append((low + high) / 2)
    return anchors
