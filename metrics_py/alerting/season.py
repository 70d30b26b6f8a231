"""The season of the year of every stream, learnt from its own weeks once it has a year of them.

A stream with a season looks to an expanding mean as if it changed all the time. Following its level instead would hide
sustained changes as well, so what the year explains is taken out of the values before anything else looks at them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.columns import Columns
from metrics_py.scipy_functions import median_filter

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
WEEKS_PER_YEAR = 365.2425 / 7
KEPT = 157
"""Weeks kept: three years."""
NEEDED = 52
REFIT = 8
"""Weeks between two looks at a stream."""
HARMONICS = 2
STEPS = 4
"""Most level shifts that may explain the weeks without a season; with one, half as many."""
STEP_COST = 3
"""Parameters that a level shift counts for: its height, and its place, which is searched for."""
SHORTEST = 3
"""Fewest weeks between two level shifts."""
MARGIN = 10.0
"""Difference of BIC from which the season is preferred ("very strong", Kass & Raftery)."""
QUARTER = 13
OUTLYING = 4.0
"""Weeks farther than this many standard deviations from the median of the quarter around them count as this far."""
ROUNDS = 4
"""How often harmonics and level shifts are fitted in turn."""
MATERIAL = 0.1
"""Root mean square, in standard deviations of a week, below which a new fit is not worth a new start."""


class Season(Columns):
    """Weekly sums of every stream, and the harmonics of the year that were found in them.

    Parameters
    ----------
    size : int, default 0
        Streams.
    width : int, default 157
        Weeks kept.

    Notes
    -----
    A season is believed when two yearly harmonics beside up to two level shifts explain the weekly means better, by the
    Bayesian information criterion, than up to four level shifts alone do: one year of a stream that moved once or
    twice looks like a season to a regression that knows nothing else.

    References
    ----------
    Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, ch. 2.3 (trigonometric seasonals).
    Zhang & Siegmund (2007), Biometrics 63:22 (what a searched change point costs).
    Kass & Raftery (1995), JASA 90:773 (differences of BIC).
    """

    FIELDS: ClassVar = {
        "sum": (np.float64, 0.0, True),
        "count": (np.float64, 0.0, True),
        "week": (np.int64, -1, True),
        "seen": (np.int64, 0, False),
        "sin1": (np.float64, 0.0, False),
        "sin2": (np.float64, 0.0, False),
        "cos1": (np.float64, 0.0, False),
        "cos2": (np.float64, 0.0, False),
        "fitted": (np.int64, np.iinfo(np.int64).min // 2, False),
    }
    sum: Floats
    count: Floats
    week: Integers
    seen: Integers
    sin1: Floats
    sin2: Floats
    cos1: Floats
    cos2: Floats
    fitted: Integers

    def __init__(self, size: int = 0, width: int = KEPT) -> None:
        super().__init__(size, width)

    def add(self, i: Integers, weeks: Floats, value: Floats) -> None:
        """Add one value per stream to its week.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        weeks : ndarray, shape (k,)
            Time of each value in weeks.
        value : ndarray, shape (k,)
            With its season.
        """
        week = np.floor(weeks).astype(np.int64)
        at = week % self.width
        fresh = self.week[i, at] != week
        self.sum[i, at] = np.where(fresh, 0.0, self.sum[i, at]) + value
        self.count[i, at] = np.where(fresh, 0.0, self.count[i, at]) + 1
        self.week[i, at] = week
        self.seen[i] += fresh

    def at(self, i: Integers, weeks: Floats) -> Floats:
        """The season of streams at some time.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        weeks : ndarray, shape (k,)
            Time in weeks.

        Returns
        -------
        ndarray, shape (k,)
            In units of the value, of mean 0 over a year; 0 for a stream without a season.
        """
        once, twice = _angle(weeks), 2 * _angle(weeks)
        return (
            self.sin1[i] * np.sin(once)
            + self.sin2[i] * np.sin(twice)
            + self.cos1[i] * np.cos(once)
            + self.cos2[i] * np.cos(twice)
        )

    def is_known(self, stream: int) -> bool:
        """Whether a season of this stream is believed.

        Parameters
        ----------
        stream : int
            Index of the stream.

        Returns
        -------
        bool
            False before a year has been seen.
        """
        return bool(self.sin1[stream] or self.sin2[stream] or self.cos1[stream] or self.cos2[stream])

    def due(self, i: Integers, weeks: Floats) -> Integers:
        """Streams that have a year of weeks and are due for another look (`REFIT`).

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        weeks : ndarray, shape (k,)
            Time in weeks.

        Returns
        -------
        integer ndarray
            Some of `i`.
        """
        now = np.floor(weeks).astype(np.int64)
        return i[(now - self.fitted[i] >= REFIT) & (self.seen[i] > NEEDED)]

    def fit(self, stream: int, week: int) -> bool:
        """Look for the season in the weeks before this one.

        Parameters
        ----------
        stream : int
            Index of the stream.
        week : int
            Number of the present week, which is not complete.

        Returns
        -------
        bool
            Whether the season has changed.
        """
        self.fitted[stream] = week
        count = self.count[stream]
        usual = np.median(count[count > 0])
        used = (count >= usual / 2) & (self.week[stream] < week)
        order = np.argsort(self.week[stream][used])
        weeks = self.week[stream][used][order]
        if len(weeks) < NEEDED or weeks[-1] - weeks[0] < NEEDED - 1:
            return False
        means = (self.sum[stream][used] / count[used])[order]
        found, noise = yearly_harmonics(weeks + 0.5, means)
        known = np.array([self.sin1[stream], self.sin2[stream], self.cos1[stream], self.cos2[stream]])
        if found.any() == known.any() and np.sqrt(((found - known) ** 2).sum() / 2) <= MATERIAL * noise:
            return False
        self.sin1[stream], self.sin2[stream], self.cos1[stream], self.cos2[stream] = found
        return True


def yearly_harmonics(weeks: Floats, means: Floats) -> tuple[Floats, float]:
    """The season of one stream, if there is one.

    Parameters
    ----------
    weeks : ndarray, shape (n,)
        Times in weeks, ascending; at least a year.
    means : ndarray, shape (n,)
        Mean of each week.

    Returns
    -------
    coefficients : ndarray, shape (4,)
        Of sin and sin of twice the angle, then of cos likewise; zeros where no season is believed.
    noise : float
        Standard deviation of a week, from the differences between neighbours.
    """
    noise = 1.4826 * float(np.median(np.abs(np.diff(means)))) / np.sqrt(2.0)
    none = np.zeros(2 * HARMONICS)
    if noise <= 0:
        return none, noise
    usual = median_filter(means, QUARTER)
    means = np.clip(means, usual - OUTLYING * noise, usual + OUTLYING * noise)
    angle = _angle(weeks)[:, None] * np.arange(1, HARMONICS + 1)
    design = np.column_stack([np.sin(angle), np.cos(angle)])
    centered: Floats = design - design.mean(axis=0)
    solve = np.linalg.pinv(centered)
    n = len(means)

    def bic(residual: Floats, parameters: int) -> float:
        return n * float(np.log((residual**2).mean())) + parameters * float(np.log(n))

    without = min(bic(means - _levels(means, steps), 1 + STEP_COST * steps) for steps in range(STEPS + 1))
    best, coefficients = np.inf, none
    for steps in range(STEPS // 2 + 1):
        fitted: Floats = solve @ means
        levels = means
        for _ in range(ROUNDS if steps else 1):
            levels = _levels(means - design @ fitted, steps)
            fitted = solve @ (means - levels)
        levels = _levels(means - design @ fitted, steps)
        score = bic(means - levels - design @ fitted, 1 + STEP_COST * steps + 2 * HARMONICS)
        if score < best:
            best, coefficients = score, fitted
    return (coefficients if best + MARGIN < without else none), noise


def _angle(weeks: Floats) -> Floats:
    return 2 * np.pi * weeks / WEEKS_PER_YEAR


def _levels(y: Floats, steps: int) -> Floats:
    """Piecewise constant least squares with so many steps, by dynamic programming."""
    n = len(y)
    first, second = np.r_[0.0, np.cumsum(y)], np.r_[0.0, np.cumsum(y * y)]
    start, stop = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    length = stop - start
    with np.errstate(invalid="ignore", divide="ignore"):
        cost = second[None, :] - second[:, None] - (first[None, :] - first[:, None]) ** 2 / length
    cost = np.where(length >= SHORTEST, cost, np.inf)
    best: Floats = cost[0]
    origins: list[Integers] = []
    for _ in range(steps):
        total = best[:, None] + cost
        origins.append(np.argmin(total, axis=0))
        best = total.min(axis=0)
    bounds = [n]
    for origin in reversed(origins):
        bounds.insert(0, int(origin[bounds[0]]))
    bounds.insert(0, 0)
    out = np.empty(n)
    for a, b in pairwise(bounds):
        out[a:b] = y[a:b].mean()
    return out
