"""Settings of the alert engine and the calendar of its windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from math import gcd
from typing import Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

Season = Literal["weekday", "hour_of_week"]

MONDAY = datetime(1969, 12, 29, tzinfo=UTC)
"""Window index 0 starts here: a Monday at midnight, so weeks, days and hours share one origin."""

SLOTS: dict[Season | None, int] = {"weekday": 7, "hour_of_week": 168, None: 1}
_DEFAULTS: dict[Season | None, dict[str, int]] = {
    "weekday": {"warmup": 28, "memory": 182, "recovery": 7, "new_normal_after": 42, "follow_windows": 10},
    "hour_of_week": {"warmup": 336, "memory": 1344, "recovery": 24, "new_normal_after": 1008, "follow_windows": 240},
    None: {"warmup": 12, "memory": 104, "recovery": 4, "new_normal_after": 12, "follow_windows": 4},
}


def _error(what: str, where: str, fix: str) -> ValueError:
    return ValueError(f"{where}: {what}\n  fix: {fix}")


@dataclass(frozen=True)
class Pace:
    """How one stream counts: all but `stride` are values of the stream.

    Parameters
    ----------
    stride : int
        Windows between two values.
    taught, residuals : int
        Values and one-step residuals needed before the stream may alarm.
    back : int
        Fewest values back inside the old baseline before it is live again.
    settled : int
        Values at one new level after which its baseline restarts there unasked; 0: never.
    followed : int
        Memory of a followed level.
    """

    stride: int
    taught: int
    residuals: int
    back: int
    settled: int
    followed: int


class _Settings(TypedDict, total=False):
    """Fields of `EngineConfig` beside the threshold and the window."""

    season: Season | None
    warmup: int | None
    holidays: frozenset[date]
    weights: Mapping[str, float]
    memory: int | None
    recovery: int | None
    new_normal_after: int | None
    follows: tuple[str, ...]
    references: Mapping[str, float]
    follow_windows: int | None
    join_within: int
    max_gap: int
    warn_share: float
    strides: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings of the alert engine; counts are windows unless the name says otherwise.

    Parameters
    ----------
    threshold_windows : float
        Threshold of the evidence: at most ``T / threshold_windows`` false incidents are expected in ``T`` windows.
    window : timedelta
        Length of one window.
    season : {'weekday', 'hour_of_week', None}
        Which calendar effect the baseline follows. Give ``None`` for weekly windows.
    warmup : int, optional
        Windows that a stream must have taught before it may alarm. Default 28 (weekday), 336 (hour of week), 12 (none).
        Besides, ``max(8, slots)`` one-step residuals are needed.
    holidays : collection of date
        A window that lies entirely in listed days neither alarms nor teaches the baseline.
    weights : mapping
        Stream name pattern (``fnmatch``; the first match wins) -> relative weight. Unlisted streams weigh 1.
    memory : int, optional
        Windows kept per stream to find change points and restart baselines, at least `warmup`. Default 182, 1344, 104.
    recovery : int, optional
        Fewest windows back inside the old baseline before a stream of an open incident is live again. Default 7, 24,
        4.
    new_normal_after : int or None
        An incident's stream that has stayed this long at one settled new level restarts its baseline there without
        being asked. ``None``: only on ``accept``. ``-1`` (default) means 42, 1008, 12.
    follows : collection of str
        Patterns (``fnmatch``) of streams that may wander. After an incident that nobody attended to for
        `new_normal_after` windows such a stream follows its own level, settled or not: only sudden changes are told
        from then on.
    references : mapping
        Stream name pattern (the first match wins) -> level of the reference, on the scale of the value; ``-inf`` where
        lower is always nearer to it. A stream that moves back towards its reference makes no incident: it follows
        there.
    follow_windows : int, optional
        Memory of a followed level. Default 10, 240, 4.
    join_within : int
        A stream rejected while an incident is open joins it when a change at most this far from the incident's is about
        as likely as the stream's own best change point (see `metrics_py.alerting.grouping` for what else joins).
    max_gap : int
        After a gap a stream is credited with at most this many values' windows (less credit only lowers evidence).
    warn_share : float
        Status ``warn`` from this share of the threshold on.
    strides : mapping
        Ending of a stream's name -> windows that each of its values is over; the value stands in the last of them. Such
        a stream has the warm-up and the other counts of a monitor whose windows are that long (`pace`), is credited
        with all of its windows, and neither alarms nor learns from a value over a listed day. Patterns for streams
        match it with and without the ending.

    Raises
    ------
    ValueError
        If a setting is out of range, with what to give instead.

    Notes
    -----
    The budget is an average over time that holds for all streams together, however they depend on each other: the
    evidence of a stream grows by at most one window per window while nothing changes, so it reaches a threshold of `c`
    windows at most once in `c` windows on average.

    References
    ----------
    Shin, Ramdas & Rinaldo (2022), E-detectors, arXiv 2203.03532.

    Examples
    --------
    >>> from datetime import date, timedelta
    >>> config = EngineConfig.from_budget(1, timedelta(days=90), holidays=frozenset({date(2026, 12, 25)}))
    >>> config.threshold_windows, config.season, config.warmup
    (90.0, 'weekday', 28)
    """

    threshold_windows: float
    window: timedelta = timedelta(days=1)
    season: Season | None = "weekday"
    warmup: int | None = None
    holidays: frozenset[date] = frozenset()
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    memory: int | None = None
    recovery: int | None = None
    new_normal_after: int | None = -1
    follows: tuple[str, ...] = ()
    references: Mapping[str, float] = field(default_factory=dict[str, float])
    follow_windows: int | None = None
    join_within: int = 3
    max_gap: int = 7
    warn_share: float = 1 / 3
    strides: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        if self.season not in SLOTS:
            raise _error(
                f"season {self.season!r} is unknown",
                "EngineConfig",
                "use 'weekday', 'hour_of_week' or None (weekly windows)",
            )
        if self.memory is None and self.warmup is not None:
            object.__setattr__(self, "memory", max(_DEFAULTS[self.season]["memory"], 2 * self.warmup))
        for name, default in _DEFAULTS[self.season].items():
            value = getattr(self, name)
            if (value is None and name != "new_normal_after") or value == -1:
                object.__setattr__(self, name, default)
        object.__setattr__(self, "holidays", frozenset(self.holidays))
        if not (np.isfinite(self.threshold_windows) and self.threshold_windows >= 1):
            raise _error(
                f"threshold_windows is {self.threshold_windows!r}",
                "EngineConfig",
                "allow at most one false incident per window (at least 1)",
            )
        if self.window <= timedelta(0):
            raise _error(f"window is {self.window}", "EngineConfig", "give a positive length")
        lows = {"warmup": 8, "recovery": 1, "join_within": 0, "max_gap": 1, "memory": 16, "follow_windows": 2}
        for name, low in lows.items():
            if getattr(self, name) < low:
                raise _error(f"{name} is {getattr(self, name)}", "EngineConfig", f"give at least {low}")
        if self.kept < self.taught:
            raise _error(
                f"memory is {self.kept}", "EngineConfig", f"keep at least the warm-up of {self.taught} windows"
            )
        if self.new_normal_after is not None and not 8 <= self.new_normal_after <= self.kept:
            raise _error(
                f"new_normal_after is {self.new_normal_after}", "EngineConfig", f"give 8 to {self.kept}, or None"
            )
        self._check_streams()

    def _check_streams(self) -> None:
        """Refuse settings of streams that are out of range."""
        for pattern, weight in self.weights.items():
            if not (np.isfinite(weight) and weight > 0):
                raise _error(f"weight of {pattern!r} is {weight}", "EngineConfig.weights", "give a positive number")
        for ending, stride in self.strides.items():
            if not ending or stride < 2:
                raise _error(f"stride of {ending!r} is {stride}", "EngineConfig.strides", "give at least 2 windows")

    @classmethod
    def from_budget(
        cls, incidents: float, per: timedelta, *, window: timedelta = timedelta(days=1), **settings: Unpack[_Settings]
    ) -> EngineConfig:
        """Settings for a promise such as ``1 per 90d``; ``season`` follows from the window unless given.

        Parameters
        ----------
        incidents : float
            Expected false incidents at most ...
        per : timedelta
            ... per this duration.
        window : timedelta
            Length of one window.
        **settings
            Any other field of `EngineConfig`.

        Returns
        -------
        EngineConfig
            With ``threshold_windows = per / window / incidents``.

        Examples
        --------
        >>> EngineConfig.from_budget(2, timedelta(days=7), window=timedelta(hours=1)).threshold_windows
        84.0
        """
        by_day: Season = "weekday" if window >= timedelta(days=1) else "hour_of_week"
        settings.setdefault("season", None if window >= timedelta(days=7) else by_day)
        return cls(threshold_windows=(per / window) / incidents, window=window, **settings)

    @property
    def slots(self) -> int:
        """Number of baseline means per stream."""
        return SLOTS[self.season]

    @property
    def taught(self) -> int:
        """Windows before a stream may alarm."""
        return int(self.warmup or 0)

    @property
    def kept(self) -> int:
        """Windows of history kept per stream."""
        return int(self.memory or 0)

    @property
    def back(self) -> int:
        """Fewest windows back inside the old baseline before a muted stream is live again."""
        return int(self.recovery or 0)

    def pace(self, stream: str) -> Pace:
        """How a stream counts.

        Parameters
        ----------
        stream : str
            Name of the stream.

        Returns
        -------
        Pace
            These settings, or those of longer windows where `strides` names the stream.

        Examples
        --------
        >>> config = EngineConfig(threshold_windows=90, strides={"@7d": 7})
        >>> config.pace("x").taught, config.pace("x@7d").taught, config.pace("x@7d").stride
        (28, 12, 7)
        """
        stride = next((n for ending, n in self.strides.items() if stream.endswith(ending)), 1)
        settled, followed = int(self.new_normal_after or 0), int(self.follow_windows or 0)
        if stride == 1:
            return Pace(1, self.taught, max(8, self.slots), self.back, settled, followed)
        length = stride * self.window
        usual = _DEFAULTS[None if length >= timedelta(days=7) else "weekday"]
        return Pace(
            stride=stride,
            taught=max(usual["warmup"], -(-self.taught // stride)),
            residuals=max(8, self.slots // gcd(self.slots, stride)),
            back=usual["recovery"],
            settled=min(usual["new_normal_after"], self.kept) if settled else 0,
            followed=usual["follow_windows"],
        )

    @property
    def days_per_window(self) -> float:
        """Length of a window in days."""
        return self.window / timedelta(days=1)

    def index(self, start: datetime | date) -> int:
        """Number of the window that starts at (or holds) this moment.

        Parameters
        ----------
        start : datetime or date
            Naive moments are UTC.

        Returns
        -------
        int
            0 for the window that starts at `MONDAY`.
        """
        if not isinstance(start, datetime):
            start = datetime(start.year, start.month, start.day, tzinfo=UTC)
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start
        return (start - MONDAY) // self.window

    def start(self, index: int) -> datetime:
        """Start of the window with this number.

        Parameters
        ----------
        index : int
            As from `index`.

        Returns
        -------
        datetime
            UTC, aware.
        """
        return MONDAY + int(index) * self.window

    def slot(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Baseline slot of window numbers.

        Parameters
        ----------
        index : integer ndarray
            Window numbers.

        Returns
        -------
        integer ndarray
            Of the same shape; 0 is Monday (midnight).
        """
        seconds = np.asarray(index, dtype=np.int64) * int(self.window.total_seconds())
        if self.season == "weekday":
            return seconds // 86_400 % 7
        if self.season == "hour_of_week":
            return seconds // 3_600 % 168
        return np.zeros_like(seconds)

    def is_holiday(self, index: int, stride: int = 1) -> bool:
        """Whether the window lies entirely in listed days.

        Parameters
        ----------
        index : int
            Number of the window.
        stride : int, default 1
            Windows up to this one that a value is over: whether one of them does.

        Returns
        -------
        bool
            By the days of UTC.
        """
        if not self.holidays:
            return False
        if stride > 1:
            return any(self.is_holiday(number) for number in range(index - stride + 1, index + 1))
        day, end = self.start(index), self.start(index + 1)
        while day < end:
            if day.date() not in self.holidays:
                return False
            day = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        return True

    def may_follow(self, stream: str) -> bool:
        """Whether the stream may wander (see `follows`).

        Parameters
        ----------
        stream : str
            Name of the stream.

        Returns
        -------
        bool
            Does a pattern match?
        """
        return any(self.matches(pattern, stream) for pattern in self.follows)

    def matches(self, pattern: str, stream: str) -> bool:
        """Whether a pattern means a stream, with or without the ending of `strides`.

        Parameters
        ----------
        pattern : str
            As for ``fnmatch``.
        stream : str
            Name of the stream.

        Returns
        -------
        bool
            Case counts.
        """
        if fnmatchcase(stream, pattern):
            return True
        return any(fnmatchcase(stream.removesuffix(end), pattern) for end in self.strides if stream.endswith(end))

    def reference(self, stream: str) -> float:
        """Level of the stream's reference.

        Parameters
        ----------
        stream : str
            Name of the stream.

        Returns
        -------
        float
            NaN where none is given.
        """
        return next((level for pattern, level in self.references.items() if self.matches(pattern, stream)), np.nan)

    def weight(self, stream: str) -> float:
        """Relative weight of a stream.

        Parameters
        ----------
        stream : str
            Name of the stream.

        Returns
        -------
        float
            1 where none is given.
        """
        for pattern, weight in self.weights.items():
            if self.matches(pattern, stream):
                return float(weight)
        return 1.0
