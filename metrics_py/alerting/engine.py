"""The alert engine: one step per window over all streams, under one budget, with incidents that open, end and restart baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from metrics_py.alerting.baseline import Prediction
from metrics_py.alerting.config import EngineConfig
from metrics_py.alerting.evidence import adjusted_evidence
from metrics_py.alerting.incidents import Incident
from metrics_py.alerting.lifecycle import Lifecycle
from metrics_py.alerting.streams import NEVER, Streams

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
STATE_VERSION = 3
POOL_TARGET = 2000
"""A pool keeps learning after the warm-up of its streams until it holds this many residuals."""


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
    """

    value: float | None
    variance: float = 0.0
    reason: str | None = None
    may_alarm: bool = True


@dataclass(frozen=True)
class Decision:
    """Result of one step; arrays follow `streams` (indices into `Engine.streams`), NaN where nothing is known.

    `rejected` are the streams of new or open incidents, `returned` those that only moved back towards their reference.
    `evidence` is M in windows ("this much appears by chance at most once in M windows" for the stream alone);
    `adjusted_evidence` the same over all streams of the monitor, to be compared with `EngineConfig.threshold_windows`.
    """

    window: int
    streams: Integers
    windows: Integers
    value: Floats
    expected: Floats
    z: Floats
    p_value: Floats
    evidence: Floats
    adjusted_evidence: Floats
    history: Integers
    live: NDArray[np.bool_]
    muted: NDArray[np.bool_]
    holiday: NDArray[np.bool_]
    rejected: Integers
    returned: Integers
    opened: list[Incident] = field(default_factory=list)
    joined: list[Incident] = field(default_factory=list)
    ended: list[Incident] = field(default_factory=list)
    insufficient: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)


class Engine:
    """State of all streams of one monitor (or, for simulation, of several monitors side by side).

    Parameters
    ----------
    config : EngineConfig
        Settings.
    streams : sequence of str
        Streams known from the start; others are added when they first appear.
    groups : sequence of str, optional
        What a stream belongs to (its column): an open incident takes in later rejections of the same group.
    pools, families : integer arrays, optional
        Pool of tails and decision family of each stream; all zero in a monitor.
    """

    def __init__(
        self,
        config: EngineConfig,
        streams: Sequence[str] = (),
        *,
        groups: Sequence[str] | None = None,
        pools: Sequence[int] | Integers | None = None,
        families: Sequence[int] | Integers | None = None,
    ) -> None:
        self.config = config
        self.states = Streams(config)
        self.lifecycle = Lifecycle(self.states)
        self.decided = NEVER
        self.register(streams, groups, pools, families)

    # -- streams -------------------------------------------------------------------------------------------------------

    def register(
        self,
        streams: Sequence[str],
        groups: Sequence[str] | None = None,
        pools: Sequence[int] | Integers | None = None,
        families: Sequence[int] | Integers | None = None,
    ) -> None:
        """Add streams (see `Streams.add`)."""
        self.states.add(streams, groups, pools, families)
        self.lifecycle.columns.grow(len(streams))

    @property
    def streams(self) -> list[str]:
        """Names of the streams, in the order of their indices."""
        return self.states.names

    def position(self, stream: str) -> int:
        """Index of a stream."""
        return self.states.position(stream)

    @property
    def incidents(self) -> list[Incident]:
        """All incidents, oldest first."""
        return self.lifecycle.incidents

    # -- one window ----------------------------------------------------------------------------------------------------

    def update(
        self,
        window: int | datetime | date,
        stats: Mapping[str, Statistic | float | None],
        *,
        windows: Mapping[str, int] | None = None,
    ) -> Decision:
        """Decide one window.

        Parameters
        ----------
        window : int, datetime or date
            The window decided (its number or its start). Not before the last one decided.
        stats : mapping
            Stream -> `Statistic` (or a bare value). A stream may be absent.
        windows : mapping, optional
            Stream -> number of the window its statistic is about, where that is an earlier one (labels that came late).

        Returns
        -------
        Decision
            `ignored` names the streams whose window was repeated or came after a later one, `insufficient` those without
            a value; neither changes any state.

        Raises
        ------
        ValueError
            If the window lies before the last one decided, or a variance is negative.
        """
        decided = window if isinstance(window, (int, np.integer)) else self.config.index(window)
        given = {name: stat if isinstance(stat, Statistic) else Statistic(stat) for name, stat in stats.items()}
        self.register([name for name in given if name not in self.states])
        insufficient = {
            name: stat.reason or "no value"
            for name, stat in given.items()
            if stat.value is None or not np.isfinite(stat.value)
        }
        usable = [name for name in given if name not in insufficient]
        about = [decided if windows is None else windows.get(name, decided) for name in usable]
        decision = self.step(
            int(decided),
            np.array([self.states.position(name) for name in usable], dtype=np.int64),
            np.array([given[name].value for name in usable], dtype=np.float64),
            np.array([given[name].variance for name in usable], dtype=np.float64),
            windows=np.array(about, dtype=np.int64),
            may_alarm=np.array([given[name].may_alarm for name in usable], dtype=bool),
        )
        decision.insufficient.update(insufficient)
        return decision

    def step(
        self,
        decided: int,
        i: Integers,
        value: Floats,
        variance: Floats | None = None,
        *,
        windows: Integers | None = None,
        may_alarm: NDArray[np.bool_] | None = None,
    ) -> Decision:
        """`update` on arrays: distinct stream indices `i`, finite values, sampling variances; all of shape (k,)."""
        if decided < self.decided:
            raise ValueError(
                f"Engine.step: window {self.config.start(decided):%Y-%m-%d %H:%M} lies before the last one decided, "
                f"{self.config.start(self.decided):%Y-%m-%d %H:%M}\n  fix: pass windows in order, or replay the evidence log"
            )
        self.decided = decided
        windows = np.full(len(i), decided) if windows is None else windows
        variance = np.zeros(len(i)) if variance is None else np.nan_to_num(variance, nan=0.0)
        if (variance < 0).any():
            raise ValueError("Engine.step: a sampling variance is negative\n  fix: give 0 where it is unknown")
        late = windows <= self.states.last_window[i]
        ignored = {
            self.states.names[s]: "repeated window"
            if w == self.states.last_window[s]
            else "earlier than a window already decided"
            for s, w in zip(i[late], windows[late], strict=True)
        }
        if late.any():
            i, value, variance, windows = i[~late], value[~late], variance[~late], windows[~late]
            may_alarm = None if may_alarm is None else may_alarm[~late]
        self.states.last_window[i] = windows
        decision = self._judge(decided, i, value, variance, windows, may_alarm)
        decision.ignored.update(ignored)
        return decision

    def _judge(
        self,
        decided: int,
        i: Integers,
        value: Floats,
        variance: Floats,
        windows: Integers,
        may_alarm: NDArray[np.bool_] | None,
    ) -> Decision:
        first = ~np.isfinite(self.states.baseline.center[i])
        self.states.baseline.center[i[first]] = value[first]
        slot = self.config.slot(windows)
        muted = self.lifecycle.columns.incident[i] >= 0
        prediction = self.states.baseline.predict(i, value, variance, slot, windows)
        off = self._holidays(windows)
        live = self._live(i, prediction) & ~muted & ~off
        z, p_value = self._score(i, prediction, live)
        self._gather(i, z, windows, live)
        taught = ~muted & ~off
        self._learn(i, value, variance, slot, windows, prediction, z, taught, muted)
        ended = self.lifecycle.observe(decided, i, windows, prediction, muted & ~off)
        adjusted, rejected = self._reject(i, may_alarm)
        evidence = self.states.evidence.total(i)
        returned = self.lifecycle.send_back(rejected)
        rejected = np.setdiff1d(rejected, returned)
        opened, joined = self.lifecycle.open(decided, rejected, adjusted)
        shown = np.where(muted, prediction.level, prediction.expected)
        apart = np.where(muted, _ratio(prediction.deviation, prediction.deviation_sigma), z)
        return Decision(
            window=decided, streams=i, windows=windows, value=value, expected=shown, z=apart, p_value=p_value,
            evidence=evidence, adjusted_evidence=adjusted[i], history=self.states.baseline.history[i], live=live, muted=muted,
            holiday=off, rejected=rejected, returned=returned, opened=opened, joined=joined, ended=ended,
        )  # fmt: skip

    def _holidays(self, windows: Integers) -> NDArray[np.bool_]:
        if not self.config.holidays:
            return np.zeros(len(windows), dtype=bool)
        numbers, inverse = np.unique(windows, return_inverse=True)
        return np.array([self.config.is_holiday(int(number)) for number in numbers], dtype=bool)[inverse]

    def _live(self, i: Integers, prediction: Prediction) -> NDArray[np.bool_]:
        """Streams that have learnt enough to be judged."""
        enough = self.states.baseline.history[i] >= self.config.taught
        enough &= self.states.baseline.square_count[i] >= self.config.residuals
        return enough & np.isfinite(prediction.residual)

    def _score(self, i: Integers, prediction: Prediction, live: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Normal scores and two-sided p-values of the live streams, NaN elsewhere."""
        z = np.full(len(i), np.nan)
        if not live.any():
            return z, z.copy()
        self.states.tails.refit()
        streams, u = i[live], prediction.score[live]
        scores = self.states.tails.normal_score(self.states.pool[streams], u)
        # A stream that has never varied, without a sampling variance: no scale, so only the rank of the newest value counts.
        flat = prediction.sigma[live] <= 0
        if flat.any():
            rank = -ndtri(0.5 / (self.states.baseline.history[streams] + 2.0))
            scores = np.where(flat, np.sign(u) * rank, scores)
        z[live] = scores
        return z, 2.0 * ndtr(-np.abs(z))

    def _gather(self, i: Integers, z: Floats, windows: Integers, live: NDArray[np.bool_]) -> None:
        """Evidence of the live streams; a gap counts as the windows that passed, up to `max_gap`."""
        streams = i[live]
        before = self.states.last_scored[streams]
        elapsed = np.where(before == NEVER, 1, np.clip(windows[live] - before, 1, self.config.max_gap))
        self.states.evidence.update(streams, z[live], elapsed.astype(np.float64))
        self.states.last_scored[streams] = windows[live]

    def _learn(
        self,
        i: Integers,
        value: Floats,
        variance: Floats,
        slot: Integers,
        windows: Integers,
        prediction: Prediction,
        z: Floats,
        taught: NDArray[np.bool_],
        muted: NDArray[np.bool_],
    ) -> None:
        """Append to the history; teach baselines and tails from windows outside incidents and holidays."""
        warming = self.states.baseline.history[i] < self.config.taught
        self.states.history.append(i, windows, value, variance, z)
        u = prediction.score
        usable = taught & prediction.is_pooled(self.states.baseline.square_count[i])
        pools = self.states.pool[i]
        usable &= warming | (self.states.tails.sizes()[pools] < POOL_TARGET)
        self.states.tails.learn(pools[usable], u[usable])
        self.states.history.set_latest("u", i[usable], u[usable])
        if taught.all():
            lesson = self.states.baseline.teach(i, value, variance, slot, windows, prediction)
            self.states.history.note(i, lesson)
        elif taught.any():
            k = i[taught]
            part = prediction.take(taught)
            lesson = self.states.baseline.teach(k, value[taught], variance[taught], slot[taught], windows[taught], part)
            self.states.history.note(k, lesson)
        self.lifecycle.clean_warmup(i[taught & (self.states.baseline.history[i] == self.config.taught)])
        if muted.any():
            self.states.baseline.remember(i[muted], windows[muted], prediction.deviation[muted])

    def _reject(self, i: Integers, may_alarm: NDArray[np.bool_] | None) -> tuple[Floats, Integers]:
        """e-d-BH over all streams, those without news included."""
        weighted = self.states.weight * self.states.evidence.total()
        if may_alarm is not None and not may_alarm.all():
            weighted[i[~may_alarm]] = 0.0
        adjusted = adjusted_evidence(weighted, self.states.family)
        return adjusted, np.flatnonzero((adjusted >= self.config.threshold_windows) & (weighted > 0))

    # -- actions and state ---------------------------------------------------------------------------------------------

    def accept(self, incident_id: str, at: int | None = None) -> Incident:
        """New normal: the open streams' baselines restart at their change points. Raises KeyError for an unknown incident."""
        return self.lifecycle.act(incident_id, "accepted", self.decided if at is None else at)

    def fix(self, incident_id: str, at: int | None = None) -> Incident:
        """Fixed: the windows since the change point stay out of the baseline and the streams are live again."""
        return self.lifecycle.act(incident_id, "fixed", self.decided if at is None else at)

    def to_state(self) -> dict[str, Any]:
        """Everything needed to go on, as a JSON-able dict; `from_state` continues with identical evidence."""
        return {
            "version": STATE_VERSION,
            "decided": int(self.decided),
            "streams": self.states.pack(),
            "lifecycle": self.lifecycle.pack(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], config: EngineConfig) -> Engine:
        """Continue from `to_state` under the same settings."""
        if state.get("version") != STATE_VERSION:
            raise ValueError(
                f"Engine.from_state: state version {state.get('version')!r} is unknown\n  fix: replay the evidence log"
            )
        engine = cls(config)
        engine.decided = state["decided"]
        engine.states.unpack(state["streams"])
        engine.lifecycle.unpack(state["lifecycle"])
        return engine


def _ratio(value: Floats, scale: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(value == 0, 0.0, value / scale)
