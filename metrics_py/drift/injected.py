"""Counts per bin as they would be if a column changed in a stated way: what an alarm is rehearsed on.

The rows of each bin are dealt out anew, each by itself, so that the noise of the counts stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.profile.column_profile import ColumnProfile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
POINTS = 32
"""An interval's rows are taken to lie at so many places."""


def moved(
    profile: ColumnProfile,
    counts: ArrayLike,
    rng: np.random.Generator,
    *,
    shift: float = 0.0,
    spread: float = 1.0,
) -> IntArray:
    """Counts after every value of a numeric column has moved: ``mean + spread * (value - mean) + shift * sd``.

    Parameters
    ----------
    profile : ColumnProfile
        Of kind numeric, with a mean and a scale.
    counts : array_like of int, shape (T, K)
        Rows per window and bin.
    rng : Generator
        Deals the rows of a bin that comes to lie over several.
    shift : float, default 0
        In standard deviations of the reference (`ColumnProfile.scale`).
    spread : float, default 1
        Factor around the reference's mean.

    Returns
    -------
    integer ndarray, shape (T, K)
        Each window has as many rows as before.

    Raises
    ------
    ValueError
        The column is not numeric, or its reference does not vary.

    Notes
    -----
    Within an interval rows are taken to lie around the reference's mean in it (a power of a uniform), beyond the
    reference's range at its end. Where the reference holds single values (whole numbers) a row that comes to lie
    between two of them goes to either, so that the mean is kept.

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile, count
    >>> profile = build_profile([float(x) for x in range(10)] * 50, "numeric")
    >>> same = count(profile, [4.0] * 6)[None]
    >>> up = moved(profile, same, np.random.default_rng(1), shift=2 / profile.scale)
    >>> bool((up == count(profile, [6.0] * 6)).all())
    True
    """
    if profile.kind != "numeric":
        raise ValueError(f"moved: column {profile.column!r} is {profile.kind}: only numbers can be moved")
    if profile.mean is None or not profile.scale:
        raise ValueError(f"moved: column {profile.column!r} has one value in the reference: nothing to measure it by")
    mean, sd = profile.mean, profile.scale
    return _dealt(counts, _transfer(profile, lambda x: mean + spread * (x - mean) + shift * sd), rng)


def lost(profile: ColumnProfile, counts: ArrayLike, rng: np.random.Generator, share: float) -> IntArray:
    """Counts after a share of the rows has lost its value.

    Parameters
    ----------
    profile : ColumnProfile
        Of any kind.
    counts : array_like of int, shape (T, K)
        Rows per window and bin.
    rng : Generator
        Chooses the rows.
    share : float
        Between 0 and 1, of the rows that have a value.

    Returns
    -------
    integer ndarray, shape (T, K)
        Each window has as many rows as before.
    """
    return _sent(profile, counts, rng, share, profile.bin_kind.index("null"))


def replaced(profile: ColumnProfile, counts: ArrayLike, rng: np.random.Generator, share: float) -> IntArray:
    """Counts after a share of the rows has got a value that the reference does not have.

    Parameters
    ----------
    profile : ColumnProfile
        Numeric (the values then lie above the reference's range) or categorical.
    counts : array_like of int, shape (T, K)
        Rows per window and bin.
    rng : Generator
        Chooses the rows.
    share : float
        Between 0 and 1, of the rows that have a value.

    Returns
    -------
    integer ndarray, shape (T, K)
        Each window has as many rows as before.

    Raises
    ------
    ValueError
        No value of the column is outside of the reference: boolean, datetime.
    """
    kind = {"numeric": "above", "categorical": "unseen"}.get(profile.kind)
    if kind is None:
        raise ValueError(f"replaced: column {profile.column!r} is {profile.kind}: all of its values are known")
    return _sent(profile, counts, rng, share, profile.bin_kind.index(kind))


def swapped(
    profile: ColumnProfile, counts: ArrayLike, rng: np.random.Generator, share: float, source: str, target: str
) -> IntArray:
    """Counts after a share of the rows of one category has become another one.

    Parameters
    ----------
    profile : ColumnProfile
        Categorical or boolean.
    counts : array_like of int, shape (T, K)
        Rows per window and bin.
    rng : Generator
        Chooses the rows.
    share : float
        Between 0 and 1, of the rows of `source`.
    source, target : str
        Labels of two bins.

    Returns
    -------
    integer ndarray, shape (T, K)
        Each window has as many rows as before.
    """
    transfer = np.eye(len(profile))
    i, j = profile.label.index(source), profile.label.index(target)
    transfer[i, i], transfer[i, j] = 1 - share, share
    return _dealt(counts, transfer, rng)


def _sent(profile: ColumnProfile, counts: ArrayLike, rng: np.random.Generator, share: float, target: int) -> IntArray:
    """A share of the rows of all bins with a value go to one bin."""
    if not 0 <= share <= 1:
        raise ValueError(f"column {profile.column!r}: the share {share} is not between 0 and 1")
    transfer = np.eye(len(profile))
    for i in range(len(profile)):
        if i != target and profile.bin_kind[i] != "null":
            transfer[i, i], transfer[i, target] = 1 - share, share
    return _dealt(counts, transfer, rng)


def _dealt(counts: ArrayLike, transfer: FloatArray, rng: np.random.Generator) -> IntArray:
    array = np.asarray(counts, dtype=np.int64)
    if array.ndim != 2 or array.shape[1] != len(transfer):
        raise ValueError(f"counts have shape {array.shape}; pass (windows, {len(transfer)} bins)")
    return rng.multinomial(array, transfer).sum(axis=1).astype(np.int64)


def _transfer(profile: ColumnProfile, move: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Share of each bin's rows that a move takes to each bin, shape (K, K)."""
    cuts, bin_of_cut = profile.cuts()
    between = _between_values(profile)
    support = _support(profile)
    found = np.eye(len(profile))
    for i in profile.where("below", "interval", "atom", "above").tolist():
        places = move(_places(profile, i))
        found[i] = 0.0
        for place in places:
            target = int(bin_of_cut[np.searchsorted(cuts, place)])
            if target in between and len(support) > 1:
                _split(found[i], support, float(place), 1 / len(places))
            else:
                found[i, target] += 1 / len(places)
    return found / found.sum(axis=1, keepdims=True)


def _between_values(profile: ColumnProfile) -> set[int]:
    """Intervals in which single values of the reference lie, or nothing: a place in them need not be a value."""
    atoms = profile.lower[profile.where("atom")]
    found: set[int] = set()
    for i in profile.where("interval").tolist():
        inside = (atoms > profile.lower[i]) & (atoms < profile.upper[i])
        if profile.n_reference[i] == 0 or inside.any():
            found.add(i)
    return found


def _support(profile: ColumnProfile) -> FloatArray:
    """Values at which rows of the reference lie, and their bins, shape (S, 2): single values, centers of intervals."""
    bins = [i for i in profile.where("atom", "interval").tolist() if profile.n_reference[i] > 0]
    values = [float(profile.lower[i] if profile.bin_kind[i] == "atom" else profile.center[i]) for i in bins]
    return np.array(sorted(zip(values, bins, strict=True)), dtype=float).reshape(-1, 2)


def _split(row: FloatArray, support: FloatArray, place: float, mass: float) -> None:
    """Mass at a place that is no value goes to the values on both sides of it."""
    after = int(np.clip(np.searchsorted(support[:, 0], place), 1, len(support) - 1))
    low, high = support[after - 1], support[after]
    part = float(np.clip((place - low[0]) / (high[0] - low[0]), 0, 1)) if high[0] > low[0] else 0.0
    row[int(low[1])] += (1 - part) * mass
    row[int(high[1])] += part * mass


def _places(profile: ColumnProfile, i: int) -> FloatArray:
    """Where the rows of a numeric bin are taken to lie: within an interval with the mean that the reference has."""
    low, high = float(profile.minimum or 0.0), float(profile.maximum or 0.0)
    kind = profile.bin_kind[i]
    if kind == "atom":
        return np.array([profile.lower[i]])
    if kind in ("below", "above"):
        cuts = profile.cuts()[0]
        return np.array([cuts[0] if kind == "below" else np.nextafter(cuts[-2], np.inf)])
    start = max(float(np.nan_to_num(profile.lower[i], nan=low)), low)
    end = min(float(np.nan_to_num(profile.upper[i], nan=high)), high)
    center = float(profile.center[i])
    if not np.isfinite(center) or end <= start:
        center = (start + end) / 2
    atoms = profile.where("atom")
    if 2 * int(profile.n_reference[atoms].sum()) > int(profile.n_reference[profile.where("atom", "interval")].sum()):
        return np.array([center])  # whole numbers and the like: what is no single value is a few of them
    mean = float(np.clip((center - start) / (end - start), 0.02, 0.98)) if end > start else 0.5
    return start + ((np.arange(POINTS) + 0.5) / POINTS) ** (1 / mean - 1) * (end - start)
