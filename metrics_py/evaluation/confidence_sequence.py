"""Two versions that run beside each other, looked at every day: differences whose interval holds at every look.

Days have effects of their own, and rows of one entity belong together on all days; both are units here. Within a day
both versions count alike, whatever share of the traffic each has, so a share that grows while the traffic changes is
not taken for a difference between versions.

References
----------
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Annals of Statistics 52:2613. Cameron, Gelbach & Miller (2011),
Journal of Business & Economic Statistics 29:238 (two ways of clustering).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from metrics_py.intervals import confidence_sequence

FloatArray = NDArray[np.float64]
Day = Callable[[int], tuple[Sequence[FloatArray], Sequence[FloatArray]]]
Statistic = Callable[..., ArrayLike]
FIRST_DAY, DAYS_OPTIMAL, ALPHA = 7, 30, 0.05
LEAST_EFFECTIVE = 5.0
"""Days of very unequal weight tell as little as fewer of equal weight: no statement below so many."""

POWER, MOST_DAYS = 0.8, 3650
ROUNDING = 1e-12
SAME_EVERY_DAY = "the difference is the same without each day, which does not say how precise it is: no interval"
ONE_BUCKET = "all rows of a version stand in one bucket of entities: no interval"


@dataclass(frozen=True)
class SequentialDifference:
    """Challenger minus champion of one metric over days on which both ran.

    Attributes
    ----------
    champion, challenger, difference : float or None
        At the same mixture of days; None where undefined.
    ci_low, ci_high : float or None
        Confidence sequence of the difference: holds at every look at once.
    standard_error : float or None
        Of the difference, by days and entities.
    n_days : int
        Days on which both versions have rows.
    effective_days : float
        As many days of equal weight tell as much.
    n_champion, n_challenger : int
        Rows on these days.
    status : {"ok", "insufficient_data"}
    reason : str or None
    """

    champion: float | None
    challenger: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    standard_error: float | None
    n_days: int
    effective_days: float
    n_champion: int
    n_challenger: int
    status: Literal["ok", "insufficient_data"] = "ok"
    reason: str | None = None


def weights_of_days(n_champion: ArrayLike, n_challenger: ArrayLike) -> FloatArray:
    """Weight of each day for both versions: what its rows tell of a difference.

    Parameters
    ----------
    n_champion, n_challenger : array_like, shape (T,)
        Rows.

    Returns
    -------
    ndarray, shape (T,)
        ``n m / (n + m)``, 0 where a version has no row.

    References
    ----------
    Mantel & Haenszel (1959), Journal of the National Cancer Institute 22:719.

    Examples
    --------
    >>> weights_of_days([950, 500, 0], [50, 500, 10]).tolist()
    [47.5, 250.0, 0.0]
    """
    n, m = np.asarray(n_champion, dtype=float), np.asarray(n_challenger, dtype=float)
    return n * m / np.maximum(n + m, 1.0)


def effective_number(weights: ArrayLike) -> float:
    """How many units of equal weight tell as much as these.

    Parameters
    ----------
    weights : array_like, shape (T,)
        Not negative.

    Returns
    -------
    float
        ``(sum w)^2 / sum w^2``; 0 without any weight.

    References
    ----------
    Kish (1965), Survey Sampling, section 11.7.

    Examples
    --------
    >>> effective_number([1, 1, 1, 1]), effective_number([1, 0, 0, 0])
    (4.0, 1.0)
    """
    w = np.asarray(weights, dtype=float)
    return float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0


def interval_at(
    difference: ArrayLike,
    standard_error: ArrayLike,
    effective_days: ArrayLike,
    *,
    alpha: float = ALPHA,
    days_optimal: float = DAYS_OPTIMAL,
) -> tuple[FloatArray, FloatArray]:
    """Interval of a difference at one of many looks.

    Parameters
    ----------
    difference, standard_error : array_like
        Of the days so far.
    effective_days : array_like
        As of `effective_number`; more than 1.
    alpha : float, default 0.05
        Probability of ever missing the true difference.
    days_optimal : float, default 30
        Days at which the sequence is narrowest; fixed before looking.

    Returns
    -------
    ci_low, ci_high : ndarray
        Ends of the interval, in units of the difference.

    Notes
    -----
    `metrics_py.intervals.confidence_sequence` with the days as units, a standard deviation of ``se sqrt(days)``, and
    Student's over the normal quantile with ``days - 1`` degrees of freedom.

    Examples
    --------
    After 30 days it is 1.62 times as wide as the interval of a single look:

    >>> low, high = interval_at(0.0, 0.01, 30.0)
    >>> round(float(high) / 0.0196, 2)
    1.62
    """
    days = np.asarray(effective_days, dtype=float)
    inflation = stdtrit(np.maximum(days - 1, 0.5), 1 - alpha / 2) / ndtri(1 - alpha / 2)
    deviation = np.asarray(standard_error, dtype=float) * np.sqrt(days) * inflation
    return confidence_sequence(difference, deviation, days, alpha=alpha, n_optimal=days_optimal)


def sequential_difference(
    statistic: Statistic,
    day: Day,
    rows: ArrayLike,
    *,
    alpha: float = ALPHA,
    days_optimal: float = DAYS_OPTIMAL,
    first_day: int = FIRST_DAY,
) -> SequentialDifference:
    """Difference of any metric between two versions over the days on which both ran, valid at every look.

    Parameters
    ----------
    statistic : callable
        The metric as a function of aggregates with any leading axes.
    day : callable
        Number of a day -> aggregates of the champion and of the challenger on it, each a sequence of arrays of shape
        (B, ...) in the order of the statistic's arguments. The B buckets are those of entities, the same for both.
    rows : array_like, shape (2, T, B)
        Rows behind the metric: champion, challenger.
    alpha : float, default 0.05
        Probability of ever missing the true difference, over all looks.
    days_optimal : float, default 30
        Days at which the interval is narrowest; fixed before looking.
    first_day : int, default 7
        No interval before so many days.

    Returns
    -------
    SequentialDifference
        ``insufficient_data`` with fewer days, where the metric is undefined, or undefined without a day or a bucket.

    Raises
    ------
    ValueError
        If `rows` has another shape or negative entries.

    Notes
    -----
    *What is compared.* Counts of each version and day are divided by its rows on that day and multiplied by the day's
    weight (`weights_of_days`), the same for both, and added up; the metric is that of the sums. So both see the same
    mixture of days (direct standardisation), and a metric that is a ratio is not biased by days with few rows.

    *How precise it is.* Three delete-one jackknives of the difference: of days, of buckets of entities, and of the
    cells of both. ``V = V_days + V_buckets - V_cells``, and not less than either of the first two: an effect that days
    share, and one that an entity keeps from day to day, both count. A version need not have judged the same rows; where
    it has, what both share cancels.

    *Looking every day.* `interval_at`. It is asymptotic in the days: their differences are taken to be independent of
    each other given the entities, with one mean. Effects that last for several days make it too narrow, and a
    difference that changes with time has no one value to be found.

    References
    ----------
    Waudby-Smith et al. (2024), Annals of Statistics 52:2613. Cameron, Gelbach & Miller (2011), JBES 29:238.

    Examples
    --------
    Shares of right answers on eight days in two buckets; the challenger is right once more on every other day.

    >>> right = [np.array([[7.0, 8.0], [8.0, 9.0 if t % 2 else 8.0]]) for t in range(8)]
    >>> n = np.full(2, 10.0)
    >>> found = sequential_difference(
    ...     lambda c, n: c / n, lambda t: ([right[t][0], n], [right[t][1], n]), np.full((2, 8, 2), 10)
    ... )
    >>> found.n_days, round(found.difference, 4), found.status
    (8, 0.075, 'ok')
    """
    counts = np.asarray(rows, dtype=float)
    if counts.ndim != 3 or counts.shape[0] != 2 or not (counts >= 0).all():
        raise ValueError(f"sequential_difference: rows of shape {counts.shape} must be counts of shape (2, T, B)")
    per_day = counts.sum(axis=2)
    is_told = ((counts > 0).sum(axis=2) >= 2).all(axis=0)
    days = [int(t) for t in np.flatnonzero(is_told)]
    n = per_day[:, is_told]
    weights = weights_of_days(n[0], n[1])
    effective = effective_number(weights)
    size = (len(days), effective, int(n[0].sum()), int(n[1].sum()))
    if not days:
        many = "no day on which both versions have rows" if not per_day.all(axis=0).any() else ONE_BUCKET
        return SequentialDifference(None, None, None, None, None, None, *size, "insufficient_data", many)
    found = _Replicates(statistic, day, counts, days, weights)
    old, new = (float(v) if np.isfinite(v) else None for v in found.values)
    if old is None or new is None:
        whose = "champion" if old is None else "challenger"
        reason = f"the metric of the {whose} is undefined on these days"
        return SequentialDifference(old, new, None, None, None, None, *size, "insufficient_data", reason)
    told = (old, new, new - old)
    if len(days) < first_day or effective < LEAST_EFFECTIVE:
        reason = f"{len(days)} days on which both ran, {first_day} needed"
        if len(days) >= first_day:
            reason = (
                f"few of the {len(days)} days have most of the rows: they tell as much as {effective:.1f} equal ones"
            )
        return SequentialDifference(*told, None, None, None, *size, "insufficient_data", reason)
    error = found.standard_error()
    if not error > ROUNDING * max(abs(old), abs(new)):
        reason = "undefined without one of the days or buckets of entities" if np.isnan(error) else SAME_EVERY_DAY
        return SequentialDifference(*told, None, None, None, *size, "insufficient_data", reason)
    low, high = interval_at(new - old, error, effective, alpha=alpha, days_optimal=days_optimal)
    return SequentialDifference(*told, float(low), float(high), error, *size)


class _Replicates:
    """Values of a metric at the same mixture of days, and the difference without each day, bucket and cell."""

    def __init__(
        self, statistic: Statistic, day: Day, counts: FloatArray, days: Sequence[int], weights: FloatArray
    ) -> None:
        self._statistic, self._day, self._counts, self._days, self._weights = statistic, day, counts, days, weights
        shares: list[list[list[FloatArray]]] = [[], []]
        self._without_bucket: list[list[FloatArray]] = [[], []]
        for i in range(len(days)):
            for v in (0, 1):
                whole, rest = self._parts(i, v)
                shares[v].append(whole)
                sums = self._without_bucket[v]
                self._without_bucket[v] = [a + b for a, b in zip(sums, rest, strict=True)] if sums else rest
        self._of_day = [[np.stack(arrays) for arrays in zip(*each, strict=True)] for each in shares]
        self._total = [[array.sum(axis=0) for array in each] for each in self._of_day]
        self.values = [self._value(each) for each in self._total]

    def _parts(self, i: int, v: int) -> tuple[list[FloatArray], list[FloatArray]]:
        """A version's sums of a day at the day's weight, and those without each bucket at the same weight."""
        t = self._days[i]
        n = self._counts[v, t]
        arrays = [np.asarray(a, dtype=float) for a in self._day(t)[v]]
        whole = [a.sum(axis=0) * (self._weights[i] / n.sum()) for a in arrays]
        scale = self._weights[i] / (n.sum() - n)
        rest = [(a.sum(axis=0) - a) * scale.reshape(-1, *[1] * (a.ndim - 1)) for a in arrays]
        return whole, rest

    def _value(self, arrays: Sequence[FloatArray]) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self._statistic(*arrays), dtype=float)

    def _difference(self, of_versions: Sequence[Sequence[FloatArray]]) -> FloatArray:
        return self._value(of_versions[1]) - self._value(of_versions[0])

    def standard_error(self) -> float:
        """By days and entities; NaN where the metric is undefined without one."""
        occupied = np.asarray((self._counts[:, self._days] > 0).any(axis=0))
        total = self._total
        without_day = self._difference(
            [[whole - own for whole, own in zip(total[v], self._of_day[v], strict=True)] for v in (0, 1)]
        )
        without_bucket = self._difference(self._without_bucket)[occupied.any(axis=0)]
        cells: list[FloatArray] = []
        for i in range(len(self._days)):
            changed = [
                [
                    whole - own[i] + rest
                    for whole, own, rest in zip(total[v], self._of_day[v], self._parts(i, v)[1], strict=True)
                ]
                for v in (0, 1)
            ]
            cells.append(self._difference(changed)[occupied[i]])
        if len(without_bucket) < 2:
            return float("nan")
        return combined_error(*(_jackknife_variance(x) for x in (without_day, without_bucket, np.concatenate(cells))))


def combined_error(of_days: ArrayLike, of_buckets: ArrayLike, of_cells: ArrayLike) -> float:
    """Standard error where both days and entities have effects that their rows share.

    Parameters
    ----------
    of_days, of_buckets, of_cells : float
        Variances by the jackknife of days, of buckets of entities, and of the cells of both.

    Returns
    -------
    float
        Root of ``days + buckets - cells``, and not less than that of either.

    References
    ----------
    Cameron, Gelbach & Miller (2011), Journal of Business & Economic Statistics 29:238.

    Examples
    --------
    >>> combined_error(4.0, 9.0, 4.0), combined_error(4.0, 4.0, 5.0)
    (3.0, 2.0)
    """
    days, buckets, cells = (np.asarray(v, dtype=float) for v in (of_days, of_buckets, of_cells))
    return float(np.sqrt(np.maximum(days + buckets - cells, np.maximum(days, buckets))))


def _jackknife_variance(replicates: FloatArray) -> float:
    n = len(replicates)
    spread = replicates - replicates.mean()
    return float((n - 1) / n * (spread**2).sum())


def days_needed(
    found: SequentialDifference,
    gap: float,
    *,
    alpha: float = ALPHA,
    days_optimal: float = DAYS_OPTIMAL,
    power: float = POWER,
) -> int | None:
    """Further days after which a difference, if it stays what it is, is told from a margin.

    Parameters
    ----------
    found : SequentialDifference
        With a standard error.
    gap : float
        Distance of the difference from the margin; positive.
    alpha : float, default 0.05
        As of `sequential_difference`.
    days_optimal : float, default 30
        As of `sequential_difference`.
    power : float, default 0.8
        In so many of such cases.

    Returns
    -------
    int or None
        At least 1; None where ten years would not do, or nothing is known.

    Notes
    -----
    The standard error shrinks with the root of the days. Where it is one of entities of which no new ones come it does
    not, and more days than these are needed.

    Examples
    --------
    >>> found = SequentialDifference(0.8, 0.81, 0.01, -0.01, 0.03, 0.01, 30, 30.0, 900, 900)
    >>> days_needed(found, 0.01), days_needed(found, 0.0) is None
    (491, True)
    """
    if found.standard_error is None or not gap > 0 or found.effective_days <= 1:
        return None
    per_day = found.effective_days / found.n_days
    days = np.arange(found.n_days + 1, found.n_days + MOST_DAYS + 1)
    effective = days * per_day
    error = found.standard_error * np.sqrt(found.effective_days / effective)
    _, half = interval_at(0.0, error, effective, alpha=alpha, days_optimal=days_optimal)
    enough = np.flatnonzero(half + float(ndtri(power)) * error <= gap)
    return ceil(days[enough[0]] - found.n_days) if len(enough) else None
