"""How differently a model treats groups of rows: the largest gap between any two of them, with an interval that holds.

The largest gap of several groups is larger than 0 by chance alone, the more so the more and the smaller they are. Its
lower end therefore holds for all pairs of groups at once, and what equal groups would show is told beside it.

References
----------
Hardt, Price & Srebro (2016), NeurIPS (equalized odds, equal opportunity). Calders, Kamiran & Pechenizkiy (2009), ICDM
Workshops (demographic parity). Newcombe (1998), Statistics in Medicine 17:873; Zou & Donner (2008), Statistics in
Medicine 27:1693 (MOVER). Donner & Zou (2012), Statistical Methods in Medical Research 21:347 (ratios). Berger (1982),
Technometrics 24:295.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from metrics_py.confidence import check_confidence
from metrics_py.intervals import jackknife, proportion_interval, t_quantile
from metrics_py.quality.champion import PairedDifference, paired_difference
from metrics_py.wording import count

FloatArray = NDArray[np.float64]
MIN_ROWS = 50
"""Rows behind the rate of a group from which on it counts."""
FEWEST_BUCKETS = 8
"""Buckets of entities with rows that a group needs."""
GRID = 2001


@dataclass(frozen=True)
class Rate:
    """What is compared between groups: a share of rows, or a mean over them.

    Attributes
    ----------
    total : ndarray, shape (G, B)
        Rows that count (of a share), or the sum of the values, by group and bucket of entities.
    n : ndarray, shape (G, B)
        Rows behind it.
    is_share : bool
        Each row adds 0 or 1 to the total.
    """

    total: FloatArray
    n: FloatArray
    is_share: bool = True


@dataclass(frozen=True)
class GroupValue:
    """The rate of one group.

    Attributes
    ----------
    group, rate : str
        Names.
    value, ci_low, ci_high : float or None
        With its own 95 % interval.
    n : int
        Rows behind it.
    status : {"ok", "insufficient_data"}
    reason : str or None
    """

    group: str
    rate: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    status: Literal["ok", "insufficient_data"] = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class Disparity:
    """The largest gap between two groups (or the smallest ratio), over one or several rates.

    Attributes
    ----------
    value, ci_low, ci_high : float or None
        Largest value minus smallest value (or smallest over largest) of the groups that count.
    rate, highest, lowest : str or None
        Where it is.
    by_chance : float or None
        The largest gap to be expected of equal groups of these sizes; None of a ratio.
    n : int
        Rows of the groups that count.
    groups : tuple of GroupValue
        All of them, in their order.
    status : {"ok", "insufficient_data"}
    reason : str or None
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    rate: str | None
    highest: str | None
    lowest: str | None
    by_chance: float | None
    n: int
    groups: tuple[GroupValue, ...]
    status: Literal["ok", "insufficient_data"] = "ok"
    reason: str | None = None


def largest_gap(
    rates: Mapping[str, Rate],
    groups: Sequence[str],
    *,
    min_rows: int = MIN_ROWS,
    as_ratio: bool = False,
    confidence: float = 0.95,
) -> Disparity:
    """Largest difference of a rate between two groups.

    Parameters
    ----------
    rates : mapping of str to Rate
        One (demographic parity) or several (equalized odds: the larger of both gaps).
    groups : sequence of str
        Names, in the order of the arrays.
    min_rows : int, default 50
        A group with fewer rows behind a rate does not count for it.
    as_ratio : bool, default False
        Smallest value over the largest instead; of shares only.
    confidence : float, default 0.95
        Two-sided.

    Returns
    -------
    Disparity
        ``insufficient_data`` where no rate has two groups that count.

    Raises
    ------
    ValueError
        Shapes do not fit the groups, there is no rate, a ratio of means is asked for, or `confidence` does not lie
        between 0 and 1.

    Notes
    -----
    Each group has a Wilson interval on its effective rows (a share) or a jackknife t interval (a mean). Of two groups
    they make the interval of the difference (MOVER, with the groups' correlation over the buckets where it is
    negative). With D the true largest gap and alpha half of what is left by `confidence`:

    - the lower end is the largest of the lower ends of all pairs, each at alpha divided by the number of ordered pairs
      of all rates (Bonferroni): D lies below it with probability alpha at most, however many groups there are;
    - the upper end is the largest of the upper ends of all pairs, each at alpha: the pair of the largest gap is one of
      them, so D lies above it with probability alpha at most (intersection-union).

    The value itself is biased upward, since it is the largest of several: `by_chance` is its mean where all groups are
    equal and normal with these standard errors.

    References
    ----------
    Zou & Donner (2008), Statistics in Medicine 27:1693. Donner & Zou (2012), Statistical Methods in Medical Research
    21:347. Berger (1982), Technometrics 24:295.

    Examples
    --------
    Three groups of 640 rows in 64 buckets; every second, third and third row is selected:

    >>> rng = np.random.default_rng(3)
    >>> chosen = rng.binomial(10, np.array([[0.5], [1 / 3], [1 / 3]]), (3, 64)).astype(float)
    >>> found = largest_gap({"selection_rate": Rate(chosen, np.full((3, 64), 10.0))}, ["a", "b", "c"])
    >>> found.highest, round(found.value, 3), round(found.ci_low, 3), round(found.ci_high, 3), round(found.by_chance, 3)
    ('a', 0.177, 0.096, 0.233, 0.033)
    """
    check_confidence(confidence)
    if not rates:
        raise ValueError("largest_gap: no rate given")
    for name, rate in rates.items():
        if rate.total.shape != rate.n.shape or rate.n.ndim != 2 or len(rate.n) != len(groups):
            raise ValueError(f"largest_gap: {name}: total and n must have the shape ({len(groups)} groups, buckets)")
        if as_ratio and not rate.is_share:
            raise ValueError(f"largest_gap: {name}: a ratio is of shares only")
    known = {name: _Groups(rate, min_rows) for name, rate in rates.items()}
    told = tuple(v for name, each in known.items() for v in each.values(name, groups, confidence, min_rows))
    n_pairs = sum(len(each.kept) * (len(each.kept) - 1) for each in known.values())
    n = max(int(each.n[each.kept].sum()) for each in known.values())
    if not n_pairs:
        reason = f"fewer than two groups have {min_rows} rows behind {' or '.join(known)}"
        return Disparity(None, None, None, None, None, None, None, n, told, "insufficient_data", reason)
    alpha = (1 - confidence) / 2
    levels = (1 - 2 * alpha / n_pairs, confidence)
    best: list[tuple[float, float, float, str, int, int]] = []
    for name, each in known.items():
        if len(each.kept) > 1:
            best.append((*each.extreme(*levels, as_ratio=as_ratio), name, *each.ends()))
    best = [item for item in best if np.isfinite(item[0])]
    if not best:
        reason = "no row of any group is selected: there is no ratio"
        return Disparity(None, None, None, None, None, None, None, n, told, "insufficient_data", reason)
    pick = min if as_ratio else max
    value, _, _, where, high, low = pick(best, key=lambda item: item[0])
    ends = pick(item[1] for item in best), pick(item[2] for item in best)
    by_chance = None if as_ratio else known[where].by_chance()
    return Disparity(value, min(ends), max(ends), where, groups[high], groups[low], by_chance, n, told)


def gap_change(
    champion: Mapping[str, Rate], challenger: Mapping[str, Rate], groups: Sequence[str], *, min_rows: int = MIN_ROWS
) -> tuple[PairedDifference, str, str, str] | None:
    """Whether the challenger treats the same two groups more differently than the champion does.

    Parameters
    ----------
    champion, challenger : mapping of str to Rate
        Of the same rows in the same buckets, as for `largest_gap`.
    groups : sequence of str
        Names.
    min_rows : int, default 50
        As of `largest_gap`, of both models.

    Returns
    -------
    tuple or None
        Challenger's gap minus champion's, the rate, the group with the higher and that with the lower value; None
        where no two groups count.

    Raises
    ------
    ValueError
        The models have other rates.

    Notes
    -----
    The two groups (and the rate) are those with the largest gap of both models together: the mean of two numbers tells
    nothing of their difference where both vary alike, so the choice does not bias the difference. The largest gap of
    each model by itself would be one of other groups, and both would be biased. Delete-one-bucket jackknife of the
    difference of the differences.

    References
    ----------
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 11.

    Examples
    --------
    >>> rng = np.random.default_rng(3)
    >>> n = np.full((2, 64), 10.0)
    >>> old = rng.binomial(10, np.array([[0.5], [0.4]]), (2, 64)).astype(float)
    >>> new = np.minimum(old + np.array([[1.0], [0.0]]) * rng.integers(0, 2, (2, 64)), 10)
    >>> found, rate, high, low = gap_change({"rate": Rate(old, n)}, {"rate": Rate(new, n)}, ["a", "b"])
    >>> high, round(found.champion, 3), round(found.challenger, 3), found.ci_low > 0
    ('a', 0.089, 0.136, True)
    """
    if set(champion) != set(challenger):
        raise ValueError("gap_change: both models need the same rates")
    choices: list[tuple[float, str, int, int]] = []
    for name in champion:
        both = [_Groups(each[name], min_rows) for each in (champion, challenger)]
        kept = [g for g in both[0].kept if g in both[1].kept]
        if len(kept) > 1:
            mean = (both[0].p + both[1].p)[kept] / 2
            order = [int(k) for k in np.argsort(mean, kind="stable")]
            choices.append((float(mean.max() - mean.min()), name, kept[order[-1]], kept[order[0]]))
    if not choices:
        return None
    _, name, high, low = max(choices)
    arrays = [
        [part for g in (high, low) for part in (each[name].total[g], each[name].n[g])]
        for each in (champion, challenger)
    ]

    def gap(a: FloatArray, n: FloatArray, b: FloatArray, m: FloatArray) -> FloatArray:
        return a / n - b / m

    rows = int(min(each[name].n[[high, low]].sum() for each in (champion, challenger)))
    return paired_difference(gap, *arrays, n=rows), name, groups[high], groups[low]


def _mean(total: FloatArray, n: FloatArray) -> FloatArray:
    return total / n


class _Groups:
    """Values of a rate by group, and the limits of any confidence."""

    def __init__(self, rate: Rate, min_rows: int) -> None:
        self.rate = rate
        self.n: FloatArray = rate.n.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = jackknife(_mean, rate.total, rate.n)
            self.p: FloatArray = rate.total.sum(axis=1) / self.n
            rest_n = self.n[:, None] - rate.n
            self.without: FloatArray = (rate.total.sum(axis=1)[:, None] - rate.total) / rest_n
        self.se, self.degrees = found.standard_error, found.degrees_of_freedom
        enough = (self.n >= min_rows) & ((rate.n > 0).sum(axis=1) >= FEWEST_BUCKETS)
        if not rate.is_share:
            enough &= self.se > 0
        self.kept = [int(g) for g in np.flatnonzero(enough)]

    def limits(self, confidence: float) -> tuple[FloatArray, FloatArray]:
        if self.rate.is_share:
            successes = np.minimum(self.rate.total.sum(axis=1), self.n)
            low, high, _ = proportion_interval(successes, self.n, self.se, self.degrees, confidence=confidence)
            return low, high
        half = t_quantile(self.degrees, confidence) * self.se
        return self.p - half, self.p + half

    def values(self, name: str, groups: Sequence[str], confidence: float, min_rows: int) -> list[GroupValue]:
        low, high = self.limits(confidence)
        told: list[GroupValue] = []
        for g, group in enumerate(groups):
            n = int(self.n[g])
            value = float(self.p[g]) if n else None
            ends = [float(end[g]) if np.isfinite(end[g]) else None for end in (low, high)]
            if g in self.kept:
                told.append(GroupValue(group, name, value, ends[0], ends[1], n))
            else:
                few = f"{count(n, 'rows')}, {min_rows} needed"
                reason = few if n < min_rows else "its rows are of too few entities, or all alike"
                told.append(GroupValue(group, name, value, ends[0], ends[1], n, "insufficient_data", reason))
        return told

    def ends(self) -> tuple[int, int]:
        p = self.p[self.kept]
        return self.kept[int(np.argmax(p))], self.kept[int(np.argmin(p))]

    def extreme(self, for_all: float, for_one: float, *, as_ratio: bool) -> tuple[float, float, float]:
        """The largest gap, the end that holds for all pairs at once, and that of each pair by itself."""
        p = self.p[self.kept]
        strict, plain = self._limits_of_kept(for_all), self._limits_of_kept(for_one)
        off_diagonal = ~np.eye(len(p), dtype=bool)
        if as_ratio:
            value = float(p.min() / p.max()) if p.max() > 0 else np.nan
            above, below = _ratio_ends(p, *strict)[1], _ratio_ends(p, *plain)[0]
            ends = [float(np.nanmin(np.where(off_diagonal, end, np.nan))) for end in (above, below)]
            return value, float(np.clip(ends[0], value, 1.0)), float(np.clip(ends[1], 0.0, value))
        rho = self._correlation()
        below, above = _difference_ends(p, *strict, rho)[0], _difference_ends(p, *plain, rho)[1]
        low, high = float(below[off_diagonal].max()), float(above[off_diagonal].max())
        return float(p.max() - p.min()), max(low, 0.0), high

    def _limits_of_kept(self, confidence: float) -> tuple[FloatArray, FloatArray]:
        low, high = self.limits(confidence)
        return low[self.kept], high[self.kept]

    def _correlation(self) -> FloatArray:
        """Of the groups' values over the buckets, where negative: entities may have rows in several groups."""
        rows = self.without[self.kept]
        centred = np.where(np.isfinite(rows), rows - self.p[self.kept][:, None], 0.0)
        size = np.sqrt((centred**2).sum(axis=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = centred @ centred.T / np.outer(size, size)
        return np.clip(np.nan_to_num(rho), -1.0, 0.0)

    def by_chance(self) -> float | None:
        """Mean largest gap of equal groups, normal with these standard errors."""
        n, se = self.n[self.kept], self.se[self.kept]
        if self.rate.is_share:
            share = float(self.rate.total[self.kept].sum() / n.sum())
            usual = np.sqrt(share * (1 - share) / n)
            with np.errstate(divide="ignore", invalid="ignore"):
                effect = se**2 / (self.p[self.kept] * (1 - self.p[self.kept]) / n)
            se = usual * np.sqrt(np.where(np.isfinite(effect), np.maximum(effect, 1.0), 1.0))
        if not (se > 0).any():
            return None
        x = np.linspace(0.0, 9 * float(se.max()), GRID)
        scale = np.where(se > 0, se, np.finfo(float).tiny)
        below = ndtr(x[:, None] / scale).prod(axis=1)
        under = ndtr(-x[:, None] / scale).prod(axis=1)
        return float(2 * np.trapezoid(1 - below - under, x))


def _difference_ends(p: FloatArray, low: FloatArray, high: FloatArray, rho: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Ends of the differences of row minus column (MOVER)."""
    difference = p[:, None] - p[None, :]
    down, up = p - low, high - p
    corner = 2 * np.asarray(rho)
    below = np.sqrt(down[:, None] ** 2 + up[None, :] ** 2 - corner * down[:, None] * up[None, :])
    above = np.sqrt(up[:, None] ** 2 + down[None, :] ** 2 - corner * up[:, None] * down[None, :])
    return difference - below, difference + above


def _ratio_ends(p: FloatArray, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ends of the ratios of row over column (Donner and Zou)."""
    product = p[:, None] * p[None, :]
    a, la, ua = p[:, None], low[:, None], high[:, None]
    b, lb, ub = p[None, :], low[None, :], high[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (product - np.sqrt(np.maximum(product**2 - la * ub * (2 * a - la) * (2 * b - ub), 0))) / (
            ub * (2 * b - ub)
        )
        above = (product + np.sqrt(np.maximum(product**2 - ua * lb * (2 * a - ua) * (2 * b - lb), 0))) / (
            lb * (2 * b - lb)
        )
    return np.where(np.isfinite(below), below, 0.0), np.where(np.isfinite(above), above, np.inf)
