"""The alert engine: one step per window over all streams, under one budget.

Incidents open, end and restart baselines.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from metrics_py.alerting import rearranging
from metrics_py.alerting.baseline import Prediction, weight_of
from metrics_py.alerting.config import EngineConfig
from metrics_py.alerting.decision import Decision, Statistic
from metrics_py.alerting.evidence import LAMBDAS, adjusted_evidence
from metrics_py.alerting.incidents import Incident
from metrics_py.alerting.lifecycle import Lifecycle
from metrics_py.alerting.predictive import Ranks, predictive_ranks
from metrics_py.alerting.streams import NEVER, Streams

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
STATE_VERSION = 12
POOL_TARGET = 2000
"""A pool keeps learning after the warm-up of its streams until it holds this many residuals."""


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

    Notes
    -----
    Each value becomes a one-step residual against the stream's own past (season, lag-one correlation, scale), the
    residual a p-value per side by its rank in the stream's own past and the pooled tail of all residuals, the p-values
    a Shiryaev-Roberts e-detector per stream, and the evidence of all streams one decision by the e-d-BH rule.
    Nothing looks ahead: the same values in the same order give the same incidents, one window at a time or all at
    once (`replay`).

    References
    ----------
    Shin, Ramdas & Rinaldo (2022), E-detectors, arXiv 2203.03532.
    Dandapanthula & Ramdas (2025), e-d-BH, arXiv 2501.04130.

    Examples
    --------
    Eight weeks of noise, then a week that is six standard deviations higher; the first day of it is enough:

    >>> from datetime import timedelta
    >>> noise = np.random.default_rng(1).normal(size=63)
    >>> noise[56:] += 6
    >>> engine = Engine(EngineConfig.from_budget(1, timedelta(days=90)))
    >>> decisions = [engine.update(date(2026, 1, 5) + timedelta(days=k), {"x": y}) for k, y in enumerate(noise)]
    >>> [incident.incident_id for decision in decisions for incident in decision.opened]
    ['2026-03-02-2d7116']
    >>> member = engine.incidents[0].members[0]
    >>> f"{engine.config.start(member.change_point):%Y-%m-%d}, {member.effect:.1f}"
    '2026-03-02, 7.6'
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
        """Add streams (see `Streams.add`).

        Parameters
        ----------
        streams : sequence of str
            New names.
        groups : sequence of str, optional
            What each belongs to. Default: each stream by itself.
        pools, families : integer ndarray, optional
            Pool of tails and decision family of each stream. Default 0.

        Raises
        ------
        ValueError
            If a name is there already.
        """
        self.states.add(streams, groups, pools, families)
        self.lifecycle.columns.grow(len(streams))

    @property
    def streams(self) -> list[str]:
        """Names of the streams, in the order of their indices."""
        return self.states.names

    def position(self, stream: str) -> int:
        """Index of a stream.

        Parameters
        ----------
        stream : str
            Name of the stream.

        Returns
        -------
        int
            Position in `streams`.
        """
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
            Stream -> number of the window its statistic is about, where that is an earlier one (labels that came
            late).

        Returns
        -------
        Decision
            `ignored` names the streams whose window was repeated or came after a later one, `insufficient` those
            without a value; neither changes any state.

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
        """`update` on arrays.

        Parameters
        ----------
        decided : int
            Number of the window decided.
        i : integer ndarray, shape (k,)
            Distinct streams.
        value : ndarray, shape (k,)
            Finite.
        variance : ndarray, shape (k,), optional
            Sampling variances, 0 or NaN where unknown.
        windows : integer ndarray, shape (k,), optional
            The window each value is about. Default: the one decided.
        may_alarm : ndarray of bool, shape (k,), optional
            Practical gate. Default: all may.

        Returns
        -------
        Decision
            As from `update`.

        Raises
        ------
        ValueError
            If the window lies before the last one decided, or a variance is negative.
        """
        if decided < self.decided:
            raise ValueError(
                f"Engine.step: window {self.config.start(decided):%Y-%m-%d %H:%M} lies before the last one decided, "
                f"{self.config.start(self.decided):%Y-%m-%d %H:%M}\n"
                "  fix: pass windows in order, or replay the evidence log"
            )
        self.decided = decided
        windows = np.full(len(i), decided) if windows is None else windows
        variance = np.zeros(len(i)) if variance is None else np.nan_to_num(variance, nan=0.0)
        if (variance < 0).any():
            raise ValueError("Engine.step: a sampling variance is negative\n  fix: give 0 where it is unknown")
        late = windows <= self.states.last_window[i]
        ignored = {
            self.states.names[int(s)]: "repeated window"
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
        self.lifecycle.learn_seasons(i, windows)
        yearly = self.states.yearly(i, windows)
        value = value - yearly
        first = ~np.isfinite(self.states.baseline.center[i])
        self.states.baseline.center[i[first]] = value[first]
        slot = self.config.slot(windows)
        muted = self.lifecycle.columns.incident[i] >= 0
        prediction = self.states.predict(i, value, variance, slot, windows)
        off = self._holidays(i, windows) | self.lifecycle.is_bad(i, windows)
        live = self._live(i, prediction) & ~muted & ~off
        pooled = np.full(len(i), np.nan)
        pooled[live] = self._pooled(i[live], prediction.take(live))
        up, down = self._ranks(i[live], value[live], variance[live], prediction.score[live], pooled[live])
        self._gather(i[live], up, down, windows[live])
        z, p_value = np.full(len(i), np.nan), np.full(len(i), np.nan)
        z[live] = (up.normal_scores() - down.normal_scores()) / 2
        p_value[live] = np.minimum(1.0, 2.0 * np.minimum(up.high, down.high))
        taught = ~muted & ~off
        self._learn(i, value, variance, slot, windows, prediction, z, taught, muted)
        self.states.history.set_latest("pooled", i, pooled)
        self.states.season.add(i[~off], self.states.weeks(windows[~off]), value[~off] + yearly[~off])
        ended = self.lifecycle.observe(decided, i, windows, prediction, muted & ~off)
        adjusted, rejected = self._reject(i, may_alarm)
        evidence = self.states.evidence.total(i)
        returned = self.lifecycle.send_back(rejected)
        rejected = np.setdiff1d(rejected, returned)
        opened, joined = self.lifecycle.open(decided, rejected, adjusted)
        rejected = rejected[self.lifecycle.columns.incident[rejected] >= 0]
        shown = np.where(muted, prediction.level, prediction.expected)
        apart = np.where(muted, _ratio(prediction.deviation, prediction.deviation_sigma), z)
        return Decision(
            window=decided,
            streams=i,
            windows=windows,
            value=value + yearly,
            expected=shown + yearly,
            level=prediction.level + yearly,
            level_variance=prediction.level_variance,
            usual_variance=prediction.usual_variance,
            z=apart,
            p_value=p_value,
            distance=np.where(live, prediction.score, np.where(muted, apart, np.nan)),
            evidence=evidence,
            adjusted_evidence=adjusted[i],
            history=self.states.baseline.history[i],
            live=live,
            muted=muted,
            holiday=off,
            rejected=rejected,
            returned=returned,
            opened=opened,
            joined=joined,
            ended=ended,
        )

    def _holidays(self, i: Integers, windows: Integers) -> NDArray[np.bool_]:
        if not self.config.holidays:
            return np.zeros(len(windows), dtype=bool)
        spans, inverse = np.unique(np.stack([windows, self.states.stride[i]]), axis=1, return_inverse=True)
        return np.array([self.config.is_holiday(int(last), int(n)) for last, n in spans.T], dtype=bool)[inverse]

    def _live(self, i: Integers, prediction: Prediction) -> NDArray[np.bool_]:
        """Streams that have learnt enough to be judged."""
        enough = self.states.baseline.history[i] >= self.states.taught[i]
        enough &= self.states.baseline.square_count[i] >= self.states.residuals[i]
        return enough & np.isfinite(prediction.residual)

    def _pooled(self, streams: Integers, prediction: Prediction) -> Floats:
        """Probability of a score at least as high as that of each live stream, by the tail of its pool."""
        states = self.states
        states.tails.refit()
        scores = states.tails.normal_score(states.pool[streams], prediction.score)
        # A stream that has never varied, without a sampling variance, has no scale: the rank of its newest value counts
        flat = prediction.sigma <= 0
        if flat.any():
            rank = -ndtri(0.5 / (states.baseline.history[streams] + 2.0))
            scores = np.where(flat, np.sign(prediction.score) * rank, scores)
        return np.asarray(ndtr(-scores), dtype=np.float64)

    def _ranks(
        self, streams: Integers, value: Floats, variance: Floats, score: Floats, pooled: Floats
    ) -> tuple[Ranks, Ranks]:
        """P-values of live streams, upwards and downwards."""
        states = self.states
        usual = np.maximum(variance, states.baseline.sampling_variance(streams))
        heat = states.weight[streams] * states.evidence.total(streams) / self.config.threshold_windows
        return predictive_ranks(states.history, streams, value, usual, score, pooled, heat)

    def _gather(self, streams: Integers, up: Ranks, down: Ranks, windows: Integers) -> None:
        """Evidence of live streams; a gap counts as the windows that passed, up to those of `max_gap` values."""
        before, stride = self.states.last_scored[streams], self.states.stride[streams]
        passed = np.where(before == NEVER, stride, np.clip(windows - before, 1, self.config.max_gap * stride))
        elapsed = passed.astype(np.float64)
        self.states.evidence.update(streams, up.e_values(LAMBDAS), down.e_values(LAMBDAS), elapsed * (1 - up.width))
        self.states.last_scored[streams] = windows

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
        warming = self.states.baseline.history[i] < self.states.taught[i]
        self.states.history.append(i, windows, value, variance, z)
        u = prediction.score
        self.states.history.set_latest("score", i, u)
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
        self.lifecycle.clean_warmup(i[taught & (self.states.baseline.history[i] == self.states.taught[i])])
        if muted.any():
            weight = weight_of(prediction)[muted]
            self.states.baseline.remember(i[muted], windows[muted], prediction.deviation[muted], weight)

    def _reject(self, i: Integers, may_alarm: NDArray[np.bool_] | None) -> tuple[Floats, Integers]:
        """e-d-BH over all streams, those without news included."""
        weighted = self.states.weight * self.states.evidence.total()
        if may_alarm is not None and not may_alarm.all():
            weighted[i[~may_alarm]] = 0.0
        adjusted = adjusted_evidence(weighted, self.states.family)
        return adjusted, np.flatnonzero((adjusted >= self.config.threshold_windows) & (weighted > 0))

    # -- actions and state ---------------------------------------------------------------------------------------------

    def accept(self, incident_id: str, at: int | None = None) -> Incident:
        """New normal: the open streams' baselines restart at their change points.

        Parameters
        ----------
        incident_id : str
            The incident.
        at : int, optional
            Window of the action. Default: the last one decided.

        Returns
        -------
        Incident
            The incident, ended; unchanged where it had ended before.

        Raises
        ------
        KeyError
            If the incident is unknown.
        """
        return self.lifecycle.act(incident_id, "accepted", self.decided if at is None else at)

    def fix(
        self, incident_id: str, at: int | None = None, *, bad: tuple[datetime | None, datetime] | None = None
    ) -> Incident:
        """Fixed: the windows since the change point stay out of the baseline and the streams are live again.

        Parameters
        ----------
        incident_id : str
            The incident.
        at : int, optional
            Window of the action. Default: the last one decided.
        bad : (datetime or None, datetime), optional
            Only windows that end after the first moment and start before the second were bad; the others since the
            change point teach the baseline. None for the first moment: since the incident's change point.

        Returns
        -------
        Incident
            The incident, ended; unchanged where it had ended before.

        Raises
        ------
        KeyError
            If the incident is unknown.
        """
        decided = self.decided if at is None else at
        if bad is None:
            return self.lifecycle.act(incident_id, "fixed", decided)
        first, end = bad
        found = next((incident for incident in self.incidents if incident.incident_id == incident_id), None)
        began = found.change_point if found else 0
        after_end = self.config.index(end - timedelta(microseconds=1)) + 1
        began = began if first is None else self.config.index(first)
        return rearranging.fix_between(self.lifecycle, incident_id, began, after_end, decided)

    def merge(self, incident_id: str, into: str) -> Incident:
        """Let the open members of an incident go on in another one (see `metrics_py.alerting.rearranging.merge`).

        Parameters
        ----------
        incident_id, into : str
            The incident, and the one that takes its members.

        Returns
        -------
        Incident
            The one that took them; unchanged where either has ended.
        """
        return rearranging.merge(self.lifecycle, incident_id, into, self.decided)

    def split(self, incident_id: str, streams: Collection[str]) -> Incident:
        """Make an incident of its own of some members (see `metrics_py.alerting.rearranging.split`).

        Parameters
        ----------
        incident_id : str
            The incident.
        streams : collection of str
            Members to take out.

        Returns
        -------
        Incident
            The new one; the old one, unchanged, where it has ended or where none or all of its members are meant.
        """
        return rearranging.split(self.lifecycle, incident_id, streams, self.decided)

    def to_state(self) -> dict[str, Any]:
        """Everything needed to go on; `from_state` continues with identical evidence.

        Returns
        -------
        dict
            JSON-able.
        """
        return {
            "version": STATE_VERSION,
            "decided": int(self.decided),
            "streams": self.states.pack(),
            "lifecycle": self.lifecycle.pack(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], config: EngineConfig) -> Engine:
        """Continue from `to_state` under the same settings.

        Parameters
        ----------
        state : dict
            Result of `to_state`.
        config : EngineConfig
            The settings of the engine that was saved.

        Returns
        -------
        Engine
            As it was.

        Raises
        ------
        ValueError
            If another version wrote the state, or season or memory differ.
        """
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
