"""Which streams changed for one cause: at one moment, or because they go up and down together.

A stream belongs to an incident when a change near the incident's is about as likely as the stream's own best change
point, when its changes from window to window go with those of a member, or when it is of a member's column and follows
within days, as in a slow season that every statistic notices when it can. Streams of one column that changed in March
and in July, each for a reason of its own, are two incidents.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.incidents import change_gain, change_point
from metrics_py.alerting.streams import Streams
from metrics_py.scipy_functions import rankdata

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PLAUSIBLE = 4.0
"""Loss of `change_gain` (twice the log-likelihood) up to which another change point is as good as the best."""

FAR = 4
"""Times `EngineConfig.recovery` windows between two change points that cannot be one, however faint the change."""

CO_MOVING_OVER = 56
"""Latest windows in which two streams must go together."""

FEWEST_STEPS = 20
"""Fewer changes from one window to the next that both streams share tell nothing about co-movement."""

CO_MOVING = 0.3
"""Spearman's correlation of those changes, either sign, that even the lower 99 % limit must exceed."""


class Grouping:
    """What can be said of causes at one moment; nothing is changed by asking.

    Parameters
    ----------
    states : Streams
        All streams and their histories.
    live_from : integer ndarray, shape (streams,)
        First window that may belong to a stream's change.
    """

    def __init__(self, states: Streams, live_from: Integers) -> None:
        self.states = states
        self.live_from = live_from
        self._gains: dict[int, tuple[Integers, Floats]] = {}
        self._scores: dict[int, tuple[Integers, Floats]] = {}

    def change_point(self, stream: int) -> int:
        """First window after the stream's own most likely change, of a value over several windows the first of them.

        Parameters
        ----------
        stream : int
            Position of the stream.

        Returns
        -------
        int
            Number of the window.
        """
        windows, gain = self._gain(stream)
        return int(windows[np.argmax(gain)])

    def common_change_point(self, streams: list[int]) -> int:
        """First window after the most likely change of several streams together.

        Parameters
        ----------
        streams : list of int
            Their positions.

        Returns
        -------
        int
            Number of the window.
        """
        if len(streams) == 1:
            return self.change_point(streams[0])
        known = [self._normal_scores(stream) for stream in streams]
        windows = np.unique(np.concatenate([each for each, _ in known]))
        z = np.full((len(streams), len(windows)), np.nan)
        for k, (own, scores) in enumerate(known):
            z[k, np.searchsorted(windows, own)] = scores
        return int(windows[change_point(z)])

    def change_near(self, stream: int, window: int) -> int | None:
        """First window after the most likely change within `join_within` of a window, if it is as good as any.

        However faint a change is, one that began `FAR` from the window is another.

        Parameters
        ----------
        stream : int
            Position of the stream.
        window : int
            Number of the window.

        Returns
        -------
        int or None
            Number of a window; None where the stream has none near it, or its change was another.
        """
        windows, gain = self._gain(stream)
        config = self.states.config
        if self.is_far(stream, window):
            return None
        last = windows + self.states.stride[stream] - 1
        near = (windows - window <= config.join_within) & (window - last <= config.join_within)
        if not near.any() or gain[near].max() < gain.max() - PLAUSIBLE:
            return None
        return int(windows[near][np.argmax(gain[near])])

    def is_far(self, stream: int, window: int) -> bool:
        """Whether the stream's own most likely change began `FAR` from a window.

        Parameters
        ----------
        stream : int
            Position of the stream.
        window : int
            Number of the window.

        Returns
        -------
        bool
            Are they two changes, whatever else the streams have in common?
        """
        return abs(self.change_point(stream) - window) > FAR * self.states.config.back

    def co_moves(self, stream: int, other: int) -> bool:
        """Whether the changes of two streams from one window to the next go together lately.

        Changes, not levels: two that drift for reasons of their own correlate in their levels.

        Parameters
        ----------
        stream : int
            Position of the stream.
        other : int
            Position of the other.

        Returns
        -------
        bool
            False where they share too few windows.
        """
        history = self.states.history
        rows = [history.rows(each, int(np.iinfo(np.int64).min))[-CO_MOVING_OVER:] for each in (stream, other)]
        windows = [history.window[each, own] for each, own in zip((stream, other), rows, strict=True)]
        shared, left, right = np.intersect1d(windows[0], windows[1], assume_unique=True, return_indices=True)
        if len(shared) <= FEWEST_STEPS:
            return False
        levels = np.stack([history.value[stream, rows[0][left]], history.value[other, rows[1][right]]])
        step = max(int(self.states.stride[stream]), int(self.states.stride[other]))
        return is_together(*np.diff(levels)[:, np.diff(shared) == step])

    def belongs(self, stream: int, window: int, others: list[int]) -> bool:
        """Whether a stream changed at a window, or is of one group with one of others, or goes together with one.

        A slow season of a column is noticed by each of its statistics when it can. Streams of several columns that go
        together, or of a group of many things (its name ends in a slash), have one cause only if they did not change
        `FAR` from each other.

        Parameters
        ----------
        stream : int
            Position of the stream.
        window : int
            First window after the change of the others.
        others : list of int
            Their positions.

        Returns
        -------
        bool
            Is one cause likely?
        """
        if self.change_near(stream, window) is not None:
            return True
        group = self.states.groups[stream]
        is_shared = any(self.states.groups[other] == group for other in others)
        if is_shared and not group.endswith("/"):
            return True
        if self.is_far(stream, window):
            return False
        return is_shared or any(self.co_moves(stream, other) for other in others)

    def clusters(self, streams: list[int], strength: Floats) -> list[list[int]]:
        """Streams rejected in one window, grouped by cause.

        Parameters
        ----------
        streams : list of int
            Their positions.
        strength : ndarray, shape (all streams,)
            The strongest of those left begins the next group.

        Returns
        -------
        list of list of int
            The strongest group first; each stream in one of them.
        """
        left = sorted(streams, key=lambda stream: (-strength[stream], stream))
        groups: list[list[int]] = []
        while left:
            first, rest = left[0], left[1:]
            began = self.change_point(first)
            at_once = [each for each in rest if self.change_near(each, began) is not None]
            began = self.common_change_point([first, *at_once])
            group = [first, *(each for each in rest if self.belongs(each, began, [first]))]
            groups.append(group)
            left = [each for each in left if each not in group]
        return groups

    def _gain(self, stream: int) -> tuple[Integers, Floats]:
        if stream not in self._gains:
            windows, z = self._normal_scores(stream)
            self._gains[stream] = windows, change_gain(z[None, :])
        return self._gains[stream]

    def _normal_scores(self, stream: int) -> tuple[Integers, Floats]:
        if stream not in self._scores:
            history = self.states.history
            rows = history.rows(stream, int(self.live_from[stream]))
            rows = rows[np.isfinite(history.z[stream, rows])]
            self._scores[stream] = self.states.begins(stream, history.window[stream, rows]), history.z[stream, rows]
        return self._scores[stream]


def is_together(left: Floats, right: Floats) -> bool:
    """Whether two series of changes are rank-correlated beyond doubt.

    Parameters
    ----------
    left, right : ndarray, shape (n,)
        Changes of the same windows.

    Returns
    -------
    bool
        Does the lower 99 % limit of ``|rho|`` (Fisher's z, standard error ``1.03 / sqrt(n - 3)``) exceed `CO_MOVING`?

    References
    ----------
    Fieller, Hartley & Pearson (1957), Tests for rank correlation coefficients, Biometrika 44:470.

    Examples
    --------
    >>> x = np.sin(np.arange(40.0))
    >>> is_together(x, 2 * x), is_together(x, np.roll(x, 20)[::-1] % 0.7)
    (True, False)
    """
    known = np.isfinite(left) & np.isfinite(right)
    n = int(known.sum())
    if n < FEWEST_STEPS:
        return False
    ranks = np.array([rankdata(each[known]) for each in (left, right)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    if norm <= 0:
        return False
    rho = min(abs(float(ranks[0] @ ranks[1])) / norm, 1 - 1e-12)
    return float(np.tanh(np.arctanh(rho) - 2.326 * 1.03 / np.sqrt(n - 3))) > CO_MOVING
