"""When a member of an incident is back at its old level, seems to be, or has settled at another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.streams import Streams

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DOUBTFUL = 0.5
"""Share of the mean distance that recovery allows (`nearly`) from which on it may have been chance."""


class Recovery:
    """What the latest distances of muted streams from their old level say.

    Parameters
    ----------
    states : Streams
        All streams and their histories; nothing is changed by asking.
    """

    def __init__(self, states: Streams) -> None:
        self.states = states

    def is_back(self, streams: Integers, effect: Floats, muted_for: Integers) -> NDArray[np.bool_]:
        """Whether the last r values are within 3 sd of the old level, and their mean is `nearly` there.

        Parameters
        ----------
        streams : integer ndarray, shape (k,)
            Their positions.
        effect : ndarray, shape (k,)
            Of their incidents, in standard deviations.
        muted_for : integer ndarray, shape (k,)
            Windows with a value since they joined.

        Returns
        -------
        ndarray of bool, shape (k,)
            r is `telling`; False where there are fewer values.
        """
        low = self.states.back[streams]
        wanted = telling(effect, low, self.states.history.width)
        apart = self._distances(streams, 4 * int(low.max()))
        n: int = apart.shape[1]
        inside = np.arange(n, 0, -1) <= wanted[:, None]
        complete = (np.isfinite(apart) | ~inside).all(axis=1) & (muted_for >= wanted)
        near = np.where(inside, np.abs(np.nan_to_num(apart, nan=np.inf)) <= 3.0, True).all(axis=1)
        mean = np.where(inside & np.isfinite(apart), apart, 0.0).sum(axis=1) / wanted
        return complete & near & (np.abs(mean) <= nearly(effect))

    def was_doubtful(self, stream: int, first: int, last: int, effect: float) -> bool:
        """Whether the windows that a stream recovered by lay on the side of its change.

        Chance does so to streams that are still off: they lie just inside of what recovery allows. Of those that are
        back, one in ten lies beyond half of it.

        Parameters
        ----------
        stream : int
            Its position.
        first, last : int
            Windows of the change and of the recovery.
        effect : float
            Of its incident.

        Returns
        -------
        bool
            Their mean is at least `DOUBTFUL` times `nearly`.
        """
        history = self.states.history
        rows = history.rows(stream, first)
        apart: Floats = history.apart[stream, rows[history.window[stream, rows] <= last]]
        size = np.array([effect])
        wanted = int(telling(size, self.states.back[np.array([stream])], history.width)[0])
        latest: Floats = apart[np.isfinite(apart)][-wanted:] * np.sign(effect)
        return len(latest) == wanted and float(np.mean(latest)) >= DOUBTFUL * float(nearly(size)[0])

    def has_settled(self, streams: Integers, muted_for: Integers) -> NDArray[np.bool_]:
        """Whether streams have been away for so many values, at one level in both halves or may follow.

        Parameters
        ----------
        streams : integer ndarray, shape (k,)
            Their positions.
        muted_for : integer ndarray, shape (k,)
            Windows with a value since they joined.

        Returns
        -------
        ndarray of bool, shape (k,)
            False where the automatic rule is off.
        """
        settled = np.zeros(len(streams), dtype=bool)
        for n in np.unique(self.states.settled[streams]):
            own = (self.states.settled[streams] == n) & (muted_for >= n)
            if n > 0 and own.any():
                apart = self._distances(streams[own], int(n))
                first, second = (half.mean(axis=1) for half in np.array_split(apart, 2, axis=1))
                is_one_level = self.states.may_follow[streams[own]] | (np.abs(second - first) <= 0.5)
                settled[own] = np.isfinite(apart).all(axis=1) & is_one_level
        return settled

    def _distances(self, streams: Integers, n: int) -> Floats:
        """The last `n` distances from the old level, oldest first, shape (k, n), without windows that have none."""
        apart = self.states.history.latest("apart", streams, self.states.history.width)
        order = np.argsort(~np.isnan(apart), axis=1, kind="stable")
        return np.take_along_axis(apart, order, axis=1)[:, -n:]


def telling(effect: Floats, low: Integers, width: int) -> Floats:
    """As many values as tell "back" from "still there".

    Parameters
    ----------
    effect : ndarray, shape (k,)
        In standard deviations.
    low : integer ndarray, shape (k,)
        Fewest of them.
    width : int
        Windows that are kept.

    Returns
    -------
    ndarray, shape (k,)
        ``25 / effect^2``, within ``[low, 4 low]``.

    Examples
    --------
    >>> telling(np.array([1.0, 2.0, -5.0]), np.array([7, 7, 7]), 100).tolist()
    [25.0, 7.0, 7.0]
    """
    with np.errstate(divide="ignore"):
        found = np.clip(np.ceil(25.0 / np.maximum(np.abs(effect), 1e-9) ** 2), low, 4 * low)
    return np.minimum(found, width).astype(np.float64)


def nearly(effect: Floats) -> Floats:
    """Mean distance from the old level up to which a stream is back: half of the effect, at most one.

    Parameters
    ----------
    effect : ndarray, shape (k,)
        In standard deviations.

    Returns
    -------
    ndarray, shape (k,)
        In standard deviations.

    Examples
    --------
    >>> nearly(np.array([1.0, -5.0])).tolist()
    [0.5, 1.0]
    """
    return np.minimum(np.abs(effect) / 2, 1.0)
