"""P-values of the newest window of each stream: its rank among the stream's own past, joined to the pooled tail.

A smooth law fitted to all streams is wrong for a stream whose days are mostly one value (a count that is zero on 85 %
of days), skewed, or calm with bursts: its ordinary days would count as news in one direction, and evidence would grow
without any change. The rank of a score among the stream's own past scores is right for any such law; beyond the past
only the pooled tail can tell how far out a score is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from metrics_py.alerting.history import History

Floats = NDArray[np.float64]
LAG = 10
"""The latest windows are left out: a change that is going on would make itself ordinary."""
HOT = 0.1
"""From this share of the threshold on, the windows since the likeliest change point are left out as well."""
REACH = 60
"""Windows back to which that change point is looked for."""
MIN_RANKS = 20
"""With fewer past scores the pooled tail decides alone."""
MASS = 0.05
"""Share of ties from which a value is an atom of the stream, judged by the whole interval of its ranks."""
TIE = 0.25
"""Values within this many standard deviations of sampling are ties."""
SLACK = 2.0
"""Standard errors by which the pooled tail may contradict the rank of a value in its stream's own past."""
MISFIT = 1.63
"""Distance of a stream's past p-values by the pooled tail from uniform, times the root of their number, from which on
the tail may no longer contradict: the 1 % point of the Kolmogorov-Smirnov test."""
ROUNDING = 1e-9
SMALLEST = 1e-16
MAX_Z = 8.0


@dataclass(frozen=True)
class Ranks:
    """P-values of one side; a randomised p-value is uniform between `low` and `high`, a point has both equal.

    Parameters
    ----------
    low, high : ndarray, shape (k,)
        Between 0 and 1.
    """

    low: Floats
    high: Floats

    @property
    def width(self) -> Floats:
        """How much of the p-value is left to chance, shape (k,): 0 for a point, 1 for a stream that never varied."""
        return self.high - self.low

    def e_values(self, lambdas: Floats) -> Floats:
        """Mean over the randomisation of exp(lambda z - lambda^2 / 2), z the normal score of the p-value.

        Parameters
        ----------
        lambdas : ndarray, shape (m,)
            Positive.

        Returns
        -------
        ndarray, shape (k, m)
            Of mean at most 1 where the p-value is super-uniform.

        Notes
        -----
        Averaging keeps the mean and takes the chance out: the same data give the same evidence. Over p uniform in
        (a, b) the mean is ``(Phi(z_a - lambda) - Phi(z_b - lambda)) / (b - a)`` with z = -Phi^-1.
        """
        top = np.where(self.low <= 0, np.inf, _score(self.low))[:, None]
        bottom = np.where(self.high >= 1, -np.inf, _score(self.high))[:, None]
        is_point = self.width < ROUNDING
        area = ndtr(top - lambdas) - ndtr(bottom - lambdas)
        at_point = np.exp(lambdas * _score(self.high)[:, None] - lambdas**2 / 2)
        return np.where(is_point[:, None], at_point, area / np.where(is_point, 1.0, self.width)[:, None])

    def normal_scores(self) -> Floats:
        """Mean over the randomisation of the normal score of the p-value.

        Returns
        -------
        ndarray, shape (k,)
            Between -8 and 8; 0 for a stream that is always at one value.
        """
        top, bottom = _score(self.low), _score(self.high)
        is_point = self.width < ROUNDING
        density = np.where(self.high >= 1, 0.0, _density(bottom)) - np.where(self.low <= 0, 0.0, _density(top))
        return np.where(is_point, bottom, density / np.where(is_point, 1.0, self.width))


def predictive_ranks(
    history: History,
    i: NDArray[np.int64],
    value: Floats,
    variance: Floats,
    score: Floats,
    upper: Floats,
    heat: Floats,
) -> tuple[Ranks, Ranks]:
    """How extreme the newest score of each stream is, upwards and downwards.

    Parameters
    ----------
    history : History
        Past windows; the newest one is not in it yet.
    i : integer ndarray, shape (k,)
        Streams.
    value, variance : ndarray, shape (k,)
        The newest value of each and its usual sampling variance (0: unknown), which says what counts as a tie.
    score : ndarray, shape (k,)
        Its standardised residual.
    upper : ndarray, shape (k,)
        Probability of a score at least as high by the pooled tail.
    heat : ndarray, shape (k,)
        Evidence of each stream so far, as a share of the threshold.

    Returns
    -------
    tuple of Ranks
        Upwards, downwards.

    Notes
    -----
    Of n past scores, k above and t tied with the newest one, the p-value lies in (k / (n + 1), (k + t + 1) / (n + 1)):
    uniform there it is exactly uniform where the scores are exchangeable. Where ties are rare the pooled tail takes its
    place, but not below the rank r = k + t / 2 less two standard errors, (r - 2 sqrt(r)) / (n + 1): a window is news
    only if it is far out in standard deviations and rare among the stream's own past. Ranks alone would make an
    incident of one row more a day in a stream that had none. Two standard errors every day would add up where the tail
    does not fit a stream, so it has no such slack once the stream's own past p-values by the tail are not uniform.

    References
    ----------
    Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World, ch. 2 (smoothed conformal p-values).
    """
    width = history.width
    age = (history.seen[i, None] - 1 - np.arange(width)) % width
    used = (age < history.seen[i, None]) & (age >= _left_out(history, i, age, heat)[:, None])
    past = history.score[i]
    used &= (history.weight[i] > 0) & np.isfinite(past)
    tolerance = TIE * np.sqrt(variance) + ROUNDING * np.abs(value)
    tied = used & ((np.abs(history.value[i] - value[:, None]) <= tolerance[:, None]) | (past == score[:, None]))
    above = (used & ~tied & (past > score[:, None])).sum(axis=1)
    ties = tied.sum(axis=1)
    n = used.sum(axis=1)
    slack = np.where(misfit(np.where(used, history.pooled[i], np.nan)) < MISFIT, SLACK, 0.0)
    return _ranks(n, above, ties, upper, slack), _ranks(n, n - above - ties, ties, 1.0 - upper, slack)


def _ranks(
    n: NDArray[np.int64], beyond: NDArray[np.int64], ties: NDArray[np.int64], tail: Floats, slack: Floats
) -> Ranks:
    low, high = beyond / (n + 1.0), (beyond + ties + 1.0) / (n + 1.0)
    rank = beyond + 0.5 * ties
    point = np.maximum(tail, (rank - slack * np.sqrt(rank)) / (n + 1.0))
    point = np.where(n < MIN_RANKS, tail, point)
    is_atom = (n >= MIN_RANKS) & (ties >= MASS * n)
    return Ranks(np.where(is_atom, low, point), np.maximum(np.where(is_atom, high, point), SMALLEST))


def misfit(p: Floats) -> Floats:
    """How far p-values are from uniform.

    Parameters
    ----------
    p : ndarray, shape (k, m)
        One stream per row; NaN where there is none.

    Returns
    -------
    ndarray, shape (k,)
        Kolmogorov-Smirnov distance times the root of the number of p-values; 0 for fewer than `MIN_RANKS`.
    """
    ordered: Floats = np.sort(p, axis=1)
    n: NDArray[np.int64] = np.isfinite(ordered).sum(axis=1)
    place: NDArray[np.int64] = np.arange(ordered.shape[1], dtype=np.int64)
    share: Floats = place / np.maximum(n, 1)[:, None]
    step: Floats = 1.0 / np.maximum(n, 1)[:, None]
    distance: Floats = np.maximum(np.abs(ordered - share), np.abs(ordered - share - step))
    largest: Floats = np.where(np.less(place, n[:, None]), distance, 0.0).max(axis=1)
    return np.where(n >= MIN_RANKS, largest * np.sqrt(n), 0.0)


def _left_out(history: History, i: NDArray[np.int64], age: NDArray[np.int64], heat: Floats) -> NDArray[np.int64]:
    """How many of the latest windows are no past to rank against."""
    out = np.full(len(i), LAG)
    hot = np.flatnonzero(heat > HOT)
    if not len(hot):
        return out
    newest_first = np.argsort(age[hot], axis=1, kind="stable")[:, :REACH]
    z: Floats = np.take_along_axis(history.z[i[hot]], newest_first, axis=1)
    seen: NDArray[np.int64] = history.seen[i[hot]][:, None]
    known: NDArray[np.bool_] = np.isfinite(z) & np.less(np.arange(REACH)[: len(z[0])], seen)
    total: Floats = np.where(known, z, 0.0).cumsum(axis=1)
    gain = np.where(known, total**2 / np.maximum(np.add.accumulate(known, axis=1, dtype=np.int64), 1), -1.0)
    out[hot] = np.maximum(LAG, np.argmax(gain, axis=1) + 1)
    return out


def _density(z: Floats) -> Floats:
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def _score(p: Floats) -> Floats:
    return np.clip(-ndtri(np.clip(p, SMALLEST, 1.0 - SMALLEST)), -MAX_Z, MAX_Z)
