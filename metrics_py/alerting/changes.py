"""What changed in a stream since its most likely change point, measured against the baseline without those windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.incidents import Member, change_point
from metrics_py.alerting.streams import Streams

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOVED_AGAIN = 4.0
"""Standard deviations between the levels before and after a second change from which it is told."""

LASTED = 2
"""Windows that a second change must have lasted before it is told."""

SHIFT_WINDOWS = 14
"""Fewest windows on either side of a level shift that is looked for in the whole past."""

SHIFT_GAIN = 40.0
"""Gain (twice the log-likelihood) from which such a shift is clear."""

BACK = 2.0
"""Standard deviations within which a stream that moved again is called back at its old level."""


@dataclass(frozen=True)
class Change:
    """One stream before and after its change point (levels in the unit of the value).

    Parameters
    ----------
    rows : integer ndarray
        Positions of the windows since the change point in the stream's history, oldest first.
    window : int
        The first of them; of a value over several windows the first of those.
    before, after : float
        Mean of the baseline over those windows, and of their values.
    sigma : float
        Standard deviation of the baseline's windows.
    half_width : float
        Half of the 95 % interval of ``after - before``.
    """

    rows: Integers
    window: int
    before: float
    after: float
    sigma: float
    half_width: float

    @property
    def shift(self) -> float:
        """``after - before``."""
        return self.after - self.before

    def is_return(self, reference: float) -> bool:
        """Whether the stream moved towards its reference, and not past it by more than is noise.

        Noise is one standard deviation of a window, or half of the interval of the shift where that is wider.

        Parameters
        ----------
        reference : float
            Level of the reference; ``-inf`` says that lower is always nearer, NaN that there is none.

        Returns
        -------
        bool
            False without a reference.
        """
        if np.isnan(reference):
            return False
        if np.isneginf(reference):
            return self.shift < 0
        left, gone_to = self.before - reference, self.after - reference
        return abs(gone_to) < abs(left) and (left * gone_to >= 0 or abs(gone_to) <= max(self.sigma, self.half_width))

    def member(self, stream: str, decided: int, evidence: float, adjusted: float) -> Member:
        """The change as a member of an incident.

        Parameters
        ----------
        stream : str
            Name of the stream.
        decided : int
            Window in which it was rejected.
        evidence, adjusted : float
            Evidence for the stream alone, and over all streams.

        Returns
        -------
        Member
            Open; `effect` is None where the stream had never varied.
        """
        return Member(
            stream=stream,
            joined_at=decided,
            change_point=self.window,
            evidence=evidence,
            adjusted_evidence=adjusted,
            level_before=self.before,
            level_after=self.after,
            effect=self.shift / self.sigma if self.sigma > 0 else None,
            shift=self.shift,
            shift_low=self.shift - self.half_width,
            shift_high=self.shift + self.half_width,
        )


def take_out(streams: Streams, stream: int, live_from: int, began: int | None = None) -> Change:
    """Take the windows since the stream's change point out of its baseline, and describe the change.

    Parameters
    ----------
    streams : Streams
        All streams; the baseline, the tails and the history of this one change.
    stream : int
        Index of the stream.
    live_from : int
        First window that may belong to the change.
    began : int, optional
        First window of the change; by default the most likely one.

    Returns
    -------
    Change
        Against the baseline without those windows.
    """
    history, baseline = streams.history, streams.baseline
    rows = history.rows(stream, live_from)
    rows = rows[np.isfinite(history.z[stream, rows])]
    if began is None:
        rows = rows[change_point(history.z[stream, rows][None, :]) :]
    else:
        rows = rows[streams.begins(stream, history.window[stream, rows]) >= began]
    streams.forget(stream, rows)
    slots = streams.config.slot(history.window[stream, rows])
    count, total = baseline.count[stream, slots], baseline.total[stream, slots]
    windows: Floats = np.where(count > 0, count, np.nan)
    level: Floats = total / windows + baseline.center[stream] + baseline.local[stream]
    level = np.where(np.isfinite(level), level, history.value[stream, rows])
    yearly = float(streams.yearly(stream, history.window[stream, rows]).mean())
    one = np.array([stream])
    spread = baseline.deviation_sum[one] / np.maximum(baseline.deviation_count[one], 1)
    sigma = float(np.sqrt(np.maximum(spread, baseline.sampling_variance(one))[0]))
    rho = float(baseline.correlations(one, streams.pool)[0])
    n_eff = max(len(rows) * (1 - rho) / (1 + rho), 1.0)
    return Change(
        rows=rows,
        window=int(streams.begins(stream, history.window[stream, rows[:1]])[0]),
        before=float(level.mean()) + yearly,
        after=float(history.value[stream, rows].mean()) + yearly,
        sigma=sigma,
        half_width=1.96 * sigma * float(np.sqrt(1 / n_eff + 1 / max(float(count.mean()), 1.0))),
    )


def moved_again(streams: Streams, stream: int, member: Member) -> tuple[int, float] | None:
    """The most likely second change of a muted stream: a description for people, no part of any decision.

    Parameters
    ----------
    streams : Streams
        All streams.
    stream : int
        Index of the stream.
    member : Member
        Its membership in an open incident.

    Returns
    -------
    (int, float) or None
        First window of the change and mean distance from the old level since then, where the levels before and after
        lie at least `MOVED_AGAIN` standard deviations apart, by the values themselves, too (a window with few rows has
        a larger one), and the change has lasted for `LASTED` windows at least.
    """
    if not member.effect:
        return None
    history = streams.history
    rows = history.rows(stream, member.joined_at + 1)
    rows = rows[np.isfinite(history.apart[stream, rows])]
    apart = history.apart[stream, rows]
    if len(rows) < LASTED:
        return None
    values = history.value[stream, rows] + streams.yearly(stream, history.window[stream, rows])
    by_distance, by_value = apart - member.effect, (values - member.level_after) * member.effect / member.shift
    nearer: Floats = np.asarray(np.where(np.abs(by_distance) < np.abs(by_value), by_distance, by_value), np.float64)
    k = change_point(nearer[None, :])
    before, after = float(apart[:k].mean()) if k else member.effect, float(apart[k:].mean())
    gap = values[k:].mean() - (values[:k].mean() if k else member.level_after)
    is_apart = min(abs(after - before), abs(gap * member.effect / member.shift)) >= MOVED_AGAIN
    if len(rows) - k < LASTED or not is_apart:
        return None
    return int(streams.begins(stream, history.window[stream, rows[k : k + 1]])[0]), after


def last_level_shift(values: Floats) -> int:
    """Where the latest clear shift of a level begins.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite, oldest first.

    Returns
    -------
    int
        0 without one; a shift has at least `SHIFT_WINDOWS` windows on either side, and a gain of `SHIFT_GAIN`.
    """
    center = np.median(values)
    scale = 1.4826 * np.median(np.abs(values - center))
    n = len(values)
    if scale <= 0 or n <= 2 * SHIFT_WINDOWS:
        return 0
    z = np.clip((values - center) / scale, -4.0, 4.0)
    k = np.arange(SHIFT_WINDOWS, n - SHIFT_WINDOWS)
    total = np.cumsum(z)
    left, right = total[k - 1] / k, (total[-1] - total[k - 1]) / (n - k)
    gain = (left - right) ** 2 * k * (n - k) / n
    best = int(np.argmax(gain))
    return int(k[best]) if gain[best] > SHIFT_GAIN else 0
