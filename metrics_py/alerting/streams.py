"""Everything the engine keeps per stream: names, weights, baseline, tails, evidence and history, grown together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.baseline import Baseline, Prediction
from metrics_py.alerting.columns import decode, encode
from metrics_py.alerting.config import EngineConfig
from metrics_py.alerting.evidence import Evidence
from metrics_py.alerting.history import History
from metrics_py.alerting.season import Season
from metrics_py.alerting.tails import Tails

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
NEVER = np.iinfo(np.int64).min
PACE = ("taught", "residuals", "back", "settled")
"""Of `metrics_py.alerting.config.Pace`, one entry per stream; stride and memory are the baseline's."""
PER_STREAM = ("pool", "family", "raw_weight", "weight", "may_follow", "reference", "last_window", "last_scored", *PACE)
"""Arrays kept here, one entry per stream."""
PARTS = ("baseline", "tails", "evidence", "history", "season")


class Streams:
    """The streams of one monitor (or, for simulation, of several monitors side by side).

    Parameters
    ----------
    config : EngineConfig
        Weights, who may follow and references of streams that are added.

    Attributes
    ----------
    names, groups : list of str
        Name of each stream, and what it belongs to (its column).
    pool, family : integer ndarray, shape (streams,)
        Pool of tails and decision family.
    weight : ndarray, shape (streams,)
        Share of the budget, summing to 1 over a family.
    reference : ndarray, shape (streams,)
        Level of the reference, NaN where none is given.
    last_window, last_scored : integer ndarray, shape (streams,)
        Latest window seen, and latest that gave evidence (`NEVER` before the first).
    taught, residuals, back, settled : integer ndarray, shape (streams,)
        As in `metrics_py.alerting.config.Pace`.
    """

    taught: Integers
    residuals: Integers
    back: Integers
    settled: Integers

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.names: list[str] = []
        self.groups: list[str] = []
        self._position: dict[str, int] = {}
        self.pool = np.empty(0, dtype=np.int64)
        self.family = np.empty(0, dtype=np.int64)
        self.raw_weight = np.empty(0)
        self.weight = np.empty(0)
        self.may_follow = np.empty(0, dtype=bool)
        self.reference = np.empty(0)
        self.last_window = np.empty(0, dtype=np.int64)
        self.last_scored = np.empty(0, dtype=np.int64)
        for name in PACE:
            setattr(self, name, np.empty(0, dtype=np.int64))
        self.baseline = Baseline(0, config.slots)
        self.tails = Tails(0)
        self.evidence = Evidence(0)
        self.history = History(0, config.kept)
        self.season = Season(0)

    def add(
        self,
        names: Sequence[str],
        groups: Sequence[str] | None = None,
        pools: Sequence[int] | Integers | None = None,
        families: Sequence[int] | Integers | None = None,
    ) -> None:
        """Add streams.

        Weights sum to 1 over all streams ever seen, so they only fall: the budget holds through additions.

        Parameters
        ----------
        names : sequence of str
            New names.
        groups : sequence of str, optional
            Default: each stream by itself.
        pools, families : integer ndarray, optional
            Default 0.

        Raises
        ------
        ValueError
            If a name is there already.
        """
        new = len(names)
        if not new:
            return
        if len(set(names)) < new or any(name in self._position for name in names):
            raise ValueError("Engine.register: a stream is named twice\n  fix: give every stream a name of its own")
        first = len(self.names)
        self._position.update({name: first + k for k, name in enumerate(names)})
        self.names += list(names)
        self.groups += list(names if groups is None else groups)
        zeros, config = np.zeros(new, dtype=np.int64), self.config
        self.pool = np.concatenate([self.pool, zeros if pools is None else np.asarray(pools, dtype=np.int64)])
        self.family = np.concatenate([self.family, zeros if families is None else np.asarray(families, dtype=np.int64)])
        self.raw_weight = np.concatenate([self.raw_weight, [config.weight(name) for name in names]])
        self.may_follow = np.concatenate([self.may_follow, [config.may_follow(name) for name in names]]).astype(bool)
        self.reference = np.concatenate([self.reference, [config.reference(name) for name in names]])
        self.last_window = np.concatenate([self.last_window, np.full(new, NEVER)])
        self.last_scored = np.concatenate([self.last_scored, np.full(new, NEVER)])
        for part in (self.baseline, self.evidence, self.history, self.season):
            part.grow(new)
        paces = [config.pace(name) for name in names]
        for name in PACE:
            values = np.array([getattr(pace, name) for pace in paces], dtype=np.int64)
            setattr(self, name, np.concatenate([getattr(self, name), values]))
        self.baseline.stride[first:] = [pace.stride for pace in paces]
        self.baseline.follow_windows[first:] = [pace.followed for pace in paces]
        self.tails.grow(int(self.pool.max()) + 1 - self.tails.size)
        self.weight = self.raw_weight / np.bincount(self.family, weights=self.raw_weight)[self.family]

    @property
    def stride(self) -> Integers:
        """Windows between two values of each stream."""
        return self.baseline.stride

    def begins(self, stream: int, windows: Integers) -> Integers:
        """First of the windows that values of a stream are over.

        Parameters
        ----------
        stream : int
            Index of the stream.
        windows : integer ndarray
            Windows in which the values stand: the last ones.

        Returns
        -------
        integer ndarray
            Of the same shape.
        """
        return windows - (self.stride[stream] - 1)

    def is_off(self, stream: int, window: int) -> bool:
        """Whether a value of a stream neither alarms nor teaches, because of listed days.

        Parameters
        ----------
        stream : int
            Index of the stream.
        window : int
            Number of the window in which it stands.

        Returns
        -------
        bool
            A value over several windows is off where one of them is.
        """
        return self.config.is_holiday(window, int(self.stride[stream]))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._position

    def position(self, name: str) -> int:
        """Index of a stream.

        Parameters
        ----------
        name : str
            Name of the stream.

        Returns
        -------
        int
            Position in `names`.
        """
        return self._position[name]

    def weeks(self, windows: Integers) -> Floats:
        """The middle of windows, in weeks.

        Parameters
        ----------
        windows : integer ndarray
            Window numbers.

        Returns
        -------
        ndarray
            Of the same shape.
        """
        return np.asarray((windows + 0.5) * self.config.days_per_window / 7.0, dtype=np.float64)

    def yearly(self, i: Integers | int, windows: Integers) -> Floats:
        """The season of the year of streams in windows.

        Parameters
        ----------
        i : integer ndarray, shape (k,), or int
            Streams.
        windows : integer ndarray, shape (k,)
            Window numbers.

        Returns
        -------
        ndarray, shape (k,)
            In units of the value; 0 for streams without a season.
        """
        return self.season.at(np.broadcast_to(np.asarray(i, dtype=np.int64), windows.shape), self.weeks(windows))

    def predict(self, i: Integers, value: Floats, variance: Floats, slot: Integers, windows: Integers) -> Prediction:
        """`Baseline.predict` with the correlations that all streams show.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        value, variance : ndarray, shape (k,)
            The value (finite) and its sampling variance (0 = unknown).
        slot, windows : integer ndarray, shape (k,)
            Seasonal slot and window of each.

        Returns
        -------
        Prediction
            Arrays of shape (k,).
        """
        return self.baseline.predict(i, value, variance, slot, windows, self.baseline.correlations(i, self.pool))

    def forget(self, stream: int, rows: Integers) -> None:
        """Take what some windows of a stream have taught back, out of its baseline and out of the tails.

        Parameters
        ----------
        stream : int
            Index of the stream.
        rows : integer ndarray
            Positions in its history; windows that taught nothing are passed over.
        """
        history = self.history
        rows = rows[history.weight[stream, rows] > 0]
        if not len(rows):
            return
        slot = self.config.slot(history.window[stream, rows])
        self.baseline.forget(stream, slot, history.lesson(stream, rows), history.variance[stream, rows])
        u = history.u[stream, rows]
        pooled = u[np.isfinite(u)]
        self.tails.learn(np.full(len(pooled), self.pool[stream]), pooled, -1)
        history.weight[stream, rows] = 0.0
        history.u[stream, rows] = np.nan

    def teach(self, rows: Mapping[int, Integers], *, pooled: bool = False) -> None:
        """Teach kept windows of streams, those of each in their order.

        Parameters
        ----------
        rows : mapping of int to integer ndarray
            Stream -> positions in its history, oldest first.
        pooled : bool, default False
            Do the tails learn from them too?
        """
        history, baseline = self.history, self.baseline
        for k in range(max(map(len, rows.values()), default=0)):
            i = np.array([stream for stream, places in rows.items() if len(places) > k])
            at = np.array([rows[stream][k] for stream in i.tolist()])
            window = history.window[i, at]
            slot = self.config.slot(window)
            value, variance = history.value[i, at], history.variance[i, at]
            prediction = self.predict(i, value, variance, slot, window)
            history.score[i, at], history.pooled[i, at] = prediction.score, np.nan
            usable = prediction.is_pooled(baseline.square_count[i]) & pooled
            self.tails.learn(self.pool[i[usable]], prediction.score[usable])
            history.u[i[usable], at[usable]] = prediction.score[usable]
            history.note(i, baseline.teach(i, value, variance, slot, window, prediction), at)

    def pack(self) -> dict[str, Any]:
        """JSON-able form.

        Returns
        -------
        dict
            Names, and every array by `encode`.
        """
        return {
            "names": self.names,
            "groups": self.groups,
            **{name: encode(getattr(self, name)) for name in PER_STREAM},
            **{name: getattr(self, name).pack() for name in PARTS},
        }

    def unpack(self, packed: dict[str, Any]) -> None:
        """Inverse of `pack`, under the same settings.

        Parameters
        ----------
        packed : dict
            Result of `pack`.

        Raises
        ------
        ValueError
            If season or memory differ from the saved ones.
        """
        self.names, self.groups = list(packed["names"]), list(packed["groups"])
        self._position = {name: k for k, name in enumerate(self.names)}
        for name in PER_STREAM:
            setattr(self, name, decode(packed[name]))
        for name in PARTS:
            getattr(self, name).unpack(packed[name])
        if self.baseline.count.shape[1] != self.config.slots or self.history.width != self.history.z.shape[1]:
            raise ValueError(
                "Engine.from_state: season or memory differ from the saved ones\n  fix: replay the evidence log"
            )
