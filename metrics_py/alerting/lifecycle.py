"""Life cycle of incidents: opening, muting, recovery, the new normal, and what each does to the baselines.

A member of an open incident is muted: it gathers no evidence and teaches nothing. It is live again when

* *recovered*: its latest windows are back inside the old baseline (`Recovery`); the windows since the change point
  stay out of the baseline,
* *new normal* (automatic): it has stayed away for `new_normal_after` windows at one settled level, or may wander
  (`EngineConfig.follows`); its baseline restarts at the change point, and follows the level if it may wander,
* *accepted* or *fixed* by a person, with the effect of the new normal or of recovery.

A rejected stream that moved back towards its reference (`EngineConfig.references`) makes no incident: its baseline
follows. The incident ends with its last member. All of these use the past only and none can add an alarm while the
stream is muted.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.baseline import Prediction
from metrics_py.alerting.changes import last_level_shift, moved_again, take_out
from metrics_py.alerting.columns import Columns
from metrics_py.alerting.grouping import Grouping
from metrics_py.alerting.incidents import Incident, Member, Status, incident_id
from metrics_py.alerting.recovery import Recovery
from metrics_py.alerting.streams import Streams

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
STRENGTH: list[Status] = ["open", "moved", "closed", "accepted", "fixed"]
"""An incident whose members ended differently takes the strongest of their ends."""

NEW_NORMAL = "new normal"
"""`ended_by` of a membership that ended unasked."""

GROWS = 2
"""An incident that took no stream in for so many times `EngineConfig.recovery` windows takes in none that is only kin
of a member."""

STRAY = 12.0
"""Robust standard deviations from the median beyond which a window of the warm-up does not belong to the rest."""


class Membership(Columns):
    """Which open incident (its number) mutes a stream; what recovery is measured against.

    From the window `bad_from` to before `bad_to` a person said that something was broken.

    Parameters
    ----------
    size : int, default 0
        Streams.
    width : int, default 1
        Unused: all fields have one axis.
    """

    FIELDS: ClassVar = {
        "incident": (np.int64, -1, False),
        "member": (np.int64, -1, False),
        "effect": (np.float64, 0.0, False),
        "muted_for": (np.int64, 0, False),
        "since": (np.int64, 0, False),
        "live_from": (np.int64, np.iinfo(np.int64).min, False),
        "bad_from": (np.int64, 0, False),
        "bad_to": (np.int64, 0, False),
    }
    incident: Integers
    member: Integers
    effect: Floats
    muted_for: Integers
    since: Integers
    live_from: Integers
    bad_from: Integers
    bad_to: Integers


class Lifecycle:
    """The incidents of a set of streams.

    Parameters
    ----------
    states : Streams
        The streams; incidents mute them, and restart and clean their baselines.
    """

    def __init__(self, states: Streams) -> None:
        self.states = states
        self.columns = Membership(0)
        self.recovery = Recovery(states)
        self.incidents: list[Incident] = []
        self.open_numbers: dict[int, list[int]] = {}

    # -- returning -----------------------------------------------------------------------------------------------------

    def send_back(self, rejected: Integers) -> Integers:
        """Let rejected streams that moved back towards their reference follow there: they make no incident.

        Their evidence is reset like a member's, so that the budget's accounting holds: this gate only removes alarms.

        Parameters
        ----------
        rejected : integer ndarray
            Streams rejected in this window.

        Returns
        -------
        integer ndarray
            Those of them that moved back.
        """
        states = self.states
        returned: list[int] = []
        for stream in rejected[~np.isnan(states.reference[rejected])].tolist():
            change = take_out(states, stream, int(self.columns.live_from[stream]))
            if not change.is_return(float(states.reference[stream])):
                continue
            returned.append(stream)
            one = np.array([stream])
            states.baseline.follow(one, len(change.rows), change.shift)
            states.evidence.reset(one)
            self._live_again(stream)
        return np.array(returned, dtype=np.int64)

    def _live_again(self, stream: int) -> None:
        """Gather evidence anew from the next window on."""
        self.columns.live_from[stream] = self.states.last_window[stream] + 1
        self.states.last_scored[stream] = np.iinfo(np.int64).min

    # -- opening -------------------------------------------------------------------------------------------------------

    def open(self, decided: int, rejected: Integers, adjusted: Floats) -> tuple[list[Incident], list[Incident]]:
        """Let rejected streams join the open incident they belong to, and make incidents of the others, one per cause.

        A group of streams opens an incident if its own evidence would have done so without the streams of other causes:
        of `m` streams each has at least a share of ``1 / m`` of the threshold. So every incident costs a whole
        threshold of evidence, which its members lose, and the budget bounds incidents, not rejections. The evidence of
        the others is kept.

        Parameters
        ----------
        decided : int
            Number of the window decided.
        rejected : integer ndarray
            Streams rejected in it.
        adjusted : ndarray, shape (streams,)
            Adjusted evidence of all streams.

        Returns
        -------
        opened, joined : list of Incident
            New ones, and open ones that took in streams.
        """
        opened: list[Incident] = []
        joined: dict[int, Incident] = {}
        states = self.states
        weighted = states.weight[rejected] * states.evidence.total(rejected)
        strength = np.zeros(len(states.names))
        strength[rejected] = weighted
        grouping = Grouping(states, self.columns.live_from)
        for family in np.unique(states.family[rejected]).tolist():
            alone: list[int] = []
            for stream in rejected[states.family[rejected] == family].tolist():
                host = self._host(grouping, stream, family, decided)
                if host is None:
                    alone.append(stream)
                else:
                    near = grouping.change_near(stream, self.incidents[host].change_point)
                    self._enter(host, stream, self._leave(decided, stream, float(adjusted[stream]), near))
                    joined[host] = self.incidents[host]
            for group in grouping.clusters(alone, strength):
                cause = self._enough(group, strength)
                if cause:
                    began = grouping.common_change_point(cause)
                    members = {
                        each: self._leave(decided, each, float(adjusted[each]), grouping.change_near(each, began))
                        for each in cause
                    }
                    opened.append(self._new(decided, family, began, members))
        return opened, list(joined.values())

    def _enough(self, group: list[int], strength: Floats) -> list[int]:
        """The largest part of a group (strongest first) that e-BH rejects by itself."""
        order = sorted(group, key=lambda stream: -strength[stream])
        threshold = self.states.config.threshold_windows
        reaches = [m for m, stream in enumerate(order, 1) if m * strength[stream] >= threshold]
        return order[: max(reaches, default=0)]

    def _new(self, decided: int, family: int, began: int, members: dict[int, Member]) -> Incident:
        states = self.states
        names = [states.names[stream] for stream in members]
        key = f"{states.config.start(decided):%Y-%m-%d}"
        if states.config.days_per_window < 1:
            key = f"{states.config.start(decided):%Y-%m-%d-%H}"
        number = len(self.incidents)
        incident = Incident(
            incident_id=incident_id(key, names),
            opened_at=decided,
            change_point=began,
            evidence=max(member.adjusted_evidence for member in members.values()),
        )
        self.incidents.append(incident)
        self.open_numbers.setdefault(family, []).append(number)
        for stream, member in members.items():
            self._enter(number, stream, member)
        return incident

    def _leave(self, decided: int, stream: int, adjusted: float, near: int | None) -> Member:
        """Take a change out of the baseline: the one that the incident's others had too, if it may be that."""
        evidence = float(self.states.evidence.total(np.array([stream]))[0])
        change = take_out(self.states, stream, int(self.columns.live_from[stream]), near)
        return change.member(self.states.names[stream], decided, evidence, adjusted)

    def _host(self, grouping: Grouping, stream: int, family: int, decided: int) -> int | None:
        """The open incident this belongs to, the latest of several: changed with it, kin of a member, or never left.

        Kinship counts while the incident grows: nobody looks for the cause of today in a change of last season.
        """
        for number in reversed(self.open_numbers.get(family, [])):
            incident = self.incidents[number]
            grows = decided - max(each.joined_at for each in incident.members) <= GROWS * self.states.config.back
            open_members = np.flatnonzero(self.columns.incident == number).tolist() if grows else []
            is_kin = grouping.belongs(stream, incident.change_point, open_members)
            if is_kin or self._is_back(grouping, stream, incident):
                return number
        return None

    def _is_back(self, grouping: Grouping, stream: int, incident: Incident) -> bool:
        """Whether a member that seemed to have recovered never did: it is off the same way ever since it left."""
        own = [member for member in incident.members if member.stream == self.states.names[stream]]
        if not own or own[-1].ended_by != "recovered" or own[-1].ended_at is None or own[-1].effect is None:
            return False
        evidence = self.states.evidence
        went_up = evidence.up[stream].sum() > evidence.down[stream].sum()
        waited = grouping.change_point(stream) - own[-1].ended_at - 1
        is_same = (own[-1].effect > 0) == went_up and waited <= self.states.config.join_within
        return is_same and self.recovery.was_doubtful(stream, own[-1].change_point, own[-1].ended_at, own[-1].effect)

    def _enter(self, number: int, stream: int, member: Member) -> None:
        incident = self.incidents[number]
        incident.members.append(member)
        columns = self.columns
        columns.incident[stream] = number
        columns.member[stream] = len(incident.members) - 1
        columns.effect[stream] = np.inf if member.effect is None else member.effect
        columns.muted_for[stream] = 0
        columns.since[stream] = member.change_point
        self.states.evidence.reset(np.array([stream]))

    # -- while open ----------------------------------------------------------------------------------------------------

    def observe(
        self, decided: int, i: Integers, windows: Integers, prediction: Prediction, muted: NDArray[np.bool_]
    ) -> list[Incident]:
        """Note how far muted streams are from their old level, and end those that recovered or settled.

        Parameters
        ----------
        decided : int
            Number of the window decided.
        i : integer ndarray, shape (k,)
            Streams with a value.
        windows : integer ndarray, shape (k,)
            The window each value is about.
        prediction : Prediction
            What the old baselines say of the values.
        muted : ndarray of bool, shape (k,)
            Members of an open incident, outside holidays.

        Returns
        -------
        list of Incident
            Those that ended with their last member.
        """
        streams = i[muted]
        if not len(streams):
            return []
        columns, history = self.columns, self.states.history
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = prediction.deviation[muted] / prediction.deviation_sigma[muted]
            apart = np.where(prediction.deviation[muted] == 0, 0.0, apart)
        history.set_latest("apart", streams, apart)
        columns.muted_for[streams] += 1
        for stream, distance in zip(streams.tolist(), apart.tolist(), strict=True):
            member = self.incidents[columns.incident[stream]].members[columns.member[stream]]
            member.latest_effect = distance if np.isfinite(distance) else None
        waited = columns.muted_for[streams] >= self.states.back[streams]
        ended: list[Incident] = []
        candidates = streams[waited]
        if not len(candidates):
            return ended
        recovered = self.recovery.is_back(candidates, columns.effect[candidates], columns.muted_for[candidates])
        for stream in candidates[recovered]:
            ended += self._end(int(stream), "closed", "recovered", decided)
        rest = candidates[~recovered]
        for stream in rest[self.recovery.has_settled(rest, columns.muted_for[rest])]:
            ended += self._end(int(stream), "accepted", NEW_NORMAL, decided)
        return ended

    # -- ending --------------------------------------------------------------------------------------------------------

    def is_bad(self, i: Integers, windows: Integers) -> NDArray[np.bool_]:
        """Whether values are over a window in which a person said that something was broken.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        windows : integer ndarray, shape (k,)
            The window each value stands in: the last it is over.

        Returns
        -------
        ndarray of bool, shape (k,)
            By what was said last of each stream.
        """
        columns = self.columns
        return (windows >= columns.bad_from[i]) & (windows - self.states.stride[i] + 1 < columns.bad_to[i])

    def act(self, name: str, status: Status, at: int) -> Incident:
        """Accept or fix an incident; only its open members change.

        Parameters
        ----------
        name : str
            Its `incident_id`.
        status : {"accepted", "fixed"}
            How its members end.
        at : int
            Window of the action.

        Returns
        -------
        Incident
            The incident, ended; unchanged where it had ended before.

        Raises
        ------
        KeyError
            If the incident is unknown.
        """
        incident = next((incident for incident in self.incidents if incident.incident_id == name), None)
        if incident is None:
            raise KeyError(f"incident {name!r} is unknown")
        if incident.status == "open":
            for member in [member for member in incident.members if member.status == "open"]:
                self._end(self.states.position(member.stream), status, "user", at)
        return incident

    def _end(self, stream: int, status: Status, by: str, decided: int) -> list[Incident]:
        """End one membership; returns the incident if that was its last."""
        columns = self.columns
        number = int(columns.incident[stream])
        incident = self.incidents[number]
        member = incident.members[int(columns.member[stream])]
        self._note_second_change(stream, member)
        member.status, member.ended_at, member.ended_by = status, decided, by
        columns.incident[stream] = -1
        columns.member[stream] = -1
        self._live_again(stream)
        self.states.evidence.reset(np.array([stream]))
        if status == "accepted":
            if by == NEW_NORMAL and self.states.may_follow[stream]:
                self.states.baseline.follow(np.array([stream]), int(self.states.baseline.follow_windows[stream]))
            self._restart({stream: int(columns.since[stream])})
        elif by == "user":
            self.states.baseline.last_deviation[stream] = np.nan  # yesterday says nothing about a repaired stream
        if any(other.status == "open" for other in incident.members):
            return []
        main = max(incident.members, key=lambda other: (STRENGTH.index(other.status), other.ended_at or 0))
        incident.status, incident.closed_at, incident.closed_by = main.status, decided, main.ended_by
        self.open_numbers[int(self.states.family[stream])].remove(number)
        return [incident]

    def note_second_changes(self) -> None:
        """Bring what is told of a second change up to date in the open memberships."""
        for incident in self.incidents:
            for member in incident.members if incident.status == "open" else ():
                if member.status == "open":
                    self._note_second_change(self.states.position(member.stream), member)

    def _note_second_change(self, stream: int, member: Member) -> None:
        member.moved_again_at, member.moved_again_effect = moved_again(self.states, stream, member) or (None, None)

    def _restart(self, since: dict[int, int]) -> None:
        """Build the baselines of streams anew from the kept windows since each one's change point."""
        states = self.states
        lessons: dict[int, Integers] = {}
        for stream, first in since.items():
            rows = states.history.rows(stream, first)
            working = [not states.is_off(stream, int(window)) for window in states.history.window[stream, rows]]
            lessons[stream] = rows[working]
            states.history.weight[stream] = 0.0
        states.baseline.restart(np.array(list(since)))
        states.teach(lessons)

    def clean_warmup(self, streams: Integers) -> None:
        """Take windows that do not belong to the rest out of a warm-up that has just ended (a half-empty first day).

        Such a window is farther than `STRAY` robust standard deviations (1.4826 times the median absolute deviation)
        from the median of the warm-up. Left in, it would blind the stream for months. The baseline is built again
        without it, and the warm-up lasts as many windows longer.

        Parameters
        ----------
        streams : integer ndarray
            Streams whose warm-up has just ended.
        """
        if not len(streams):
            return
        states = self.states
        history = states.history
        n = history.width
        value = history.latest("value", streams, n)
        value[~(history.latest("weight", streams, n) > 0)] = np.nan
        center = np.nanmedian(value, axis=1, keepdims=True)
        robust = 1.4826 * np.nanmedian(np.abs(value - center), axis=1, keepdims=True)
        stray = (robust > 0) & (np.abs(value - center) > STRAY * robust)
        for k in np.flatnonzero(stray.any(axis=1)):
            stream = int(streams[k])
            rows = history.rows(stream, np.iinfo(np.int64).min)
            belongs = (np.isfinite(value[k]) & ~stray[k])[-len(rows) :]
            self.states.forget(stream, rows)
            states.baseline.restart(np.array([stream]))
            self.states.teach({stream: rows[belongs]}, pooled=True)

    def learn_seasons(self, i: Integers, windows: Integers) -> None:
        """Look for the season of the year in the streams that are due, and begin anew under it where it has changed.

        The kept values are expressed without it, the baseline is built again from them, from the last clear level shift
        on, and follows no longer: only what the season does not explain may be followed. Where a season is new or
        gone, evidence starts from nothing, which can only remove alarms; where it is only known better, evidence stays:
        each e-value was one under the prediction of its day. Members of an open incident wait.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams with a value.
        windows : integer ndarray, shape (k,)
            The window each value is about.
        """
        states = self.states
        free = self.columns.incident[i] < 0
        weeks = states.weeks(windows)
        since: dict[int, int] = {}
        for stream in states.season.due(i[free], weeks[free]).tolist():
            kept = states.history.window[stream]
            before, knew = states.yearly(stream, kept), states.season.is_known(stream)
            if states.season.fit(stream, int(np.floor(weeks.max()))):
                states.history.value[stream] += before - states.yearly(stream, kept)
                since[stream] = self._forget_all(stream)
                if not (knew and states.season.is_known(stream)):
                    self._start_evidence(stream)
        if since:
            self._restart(since)

    def _start_evidence(self, stream: int) -> None:
        states = self.states
        states.evidence.reset(np.array([stream]))
        self.columns.live_from[stream] = states.last_window[stream]
        states.last_scored[stream] = np.iinfo(np.int64).min

    def _forget_all(self, stream: int) -> int:
        """Empty what a stream has learnt from its kept windows; returns the first of them to begin with."""
        states = self.states
        rows = states.history.rows(stream, np.iinfo(np.int64).min)
        rows = rows[np.isfinite(states.history.value[stream, rows])]
        rows = rows[last_level_shift(states.history.value[stream, rows]) :]
        pooled = states.history.u[stream]
        pooled = pooled[np.isfinite(pooled)]
        states.tails.learn(np.full(len(pooled), states.pool[stream]), pooled, -1)
        states.history.u[stream] = np.nan
        states.history.score[stream] = np.nan
        states.history.pooled[stream] = np.nan
        states.baseline.local[stream], states.baseline.near[stream] = 0.0, 0
        return int(states.history.window[stream, rows[0]])

    # -- state ---------------------------------------------------------------------------------------------------------

    def pack(self) -> dict[str, Any]:
        """JSON-able form.

        Returns
        -------
        dict
            Memberships and incidents.
        """
        return {
            "columns": self.columns.pack(),
            "incidents": [incident.to_dict() for incident in self.incidents],
        }

    def unpack(self, packed: dict[str, Any]) -> None:
        """Inverse of `pack`.

        Parameters
        ----------
        packed : dict
            Result of `pack`.
        """
        self.columns.unpack(packed["columns"])
        self.incidents = [Incident.from_dict(data) for data in packed["incidents"]]
        self.open_numbers = {}
        for number, incident in enumerate(self.incidents):
            if incident.status == "open":
                family = int(self.states.family[self.states.position(incident.members[0].stream)])
                self.open_numbers.setdefault(family, []).append(number)
