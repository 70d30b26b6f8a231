"""What goes into one step of the alert engine, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.incidents import Incident

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Statistic:
    """One day-level statistic on its stabilised scale.

    Parameters
    ----------
    value : float or None
        ``None`` or NaN: not enough data in this window.
    variance : float
        Sampling variance of the value, 0 if unknown (arcsine of a rate: 1 / (4 n)).
    reason : str, optional
        Why there is no value.
    may_alarm : bool
        Practical gate: ``False`` keeps the stream out of this decision. A gate only removes alarms.

    Notes
    -----
    The engine compares values with the stream's own past, so their spread must not depend on their level: take the
    arcsine of the root of a rate, the log of an error, and the variance on that scale. A variance lets small windows
    count for less; the engine never takes a window for more certain than the past of its stream shows.

    References
    ----------
    Anscombe (1948), Biometrika 35:246 (arcsine of a rate).

    Examples
    --------
    90 of 100 rows are right:

    >>> from math import asin, sqrt
    >>> Statistic(asin(sqrt(90 / 100)), variance=1 / (4 * 100))
    Statistic(value=1.2490457723982544, variance=0.0025, reason=None, may_alarm=True)
    """

    value: float | None
    variance: float = 0.0
    reason: str | None = None
    may_alarm: bool = True


@dataclass(frozen=True)
class Decision:
    """Result of one step; arrays follow `streams`, NaN where nothing is known.

    Attributes
    ----------
    window : int
        The window decided.
    streams : integer ndarray, shape (k,)
        Streams with a value, as indices into `Engine.streams`.
    windows : integer ndarray, shape (k,)
        The window each value is about.
    value, expected : ndarray, shape (k,)
        The value, and what the past expects; for a muted stream its old level.
    level, level_variance, usual_variance : ndarray, shape (k,)
        Seasonal level before this window, without what the windows just before it carry on; the variance around it of a
        window as certain as is usual, and the part of that which is sampling.
    z : ndarray, shape (k,)
        Normal score; for a muted stream its distance from the old level in standard deviations.
    p_value : ndarray, shape (k,)
        Two-sided.
    distance : ndarray, shape (k,)
        Standard deviations from what was expected; for a muted stream from its old level.
    evidence : ndarray, shape (k,)
        M in windows: this much appears by chance at most once in M windows for the stream alone.
    adjusted_evidence : ndarray, shape (k,)
        The same over all streams of the monitor, to be compared with `EngineConfig.threshold_windows`.
    history : integer ndarray, shape (k,)
        Windows that the baseline has learnt from.
    live, muted, holiday : ndarray of bool, shape (k,)
        Judged in this window; member of an open incident; window of holidays.
    rejected : integer ndarray
        Streams of new or open incidents.
    returned : integer ndarray
        Streams that only moved back towards their reference.
    opened, joined, ended : list of Incident
        New in this window, taking in streams that were rejected now, ended in this window.
    insufficient, ignored : dict
        Stream -> reason: without a value; window repeated or before one already decided.
    """

    window: int
    streams: Integers
    windows: Integers
    value: Floats
    expected: Floats
    level: Floats
    level_variance: Floats
    usual_variance: Floats
    z: Floats
    p_value: Floats
    distance: Floats
    evidence: Floats
    adjusted_evidence: Floats
    history: Integers
    live: NDArray[np.bool_]
    muted: NDArray[np.bool_]
    holiday: NDArray[np.bool_]
    rejected: Integers
    returned: Integers
    opened: list[Incident] = field(default_factory=list[Incident])
    joined: list[Incident] = field(default_factory=list[Incident])
    ended: list[Incident] = field(default_factory=list[Incident])
    insufficient: dict[str, str] = field(default_factory=dict[str, str])
    ignored: dict[str, str] = field(default_factory=dict[str, str])
