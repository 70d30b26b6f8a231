"""Merging, splitting and dating open incidents: what a person knows of causes, with the history of both kept.

The engine groups streams by change point and co-movement. A person knows more: two incidents are one failure, or one
holds two. Memberships then move from one incident to another. Nothing is learnt or forgotten by it, and muted streams
stay muted: no evidence comes or goes, so that the budget's accounting does not change. A person may also know which
windows were bad: those alone are then kept out of the baselines.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.incidents import Incident, incident_id
from metrics_py.alerting.lifecycle import Lifecycle

BY = "user"


def merge(lifecycle: Lifecycle, name: str, into: str, at: int) -> Incident:
    """Move the open members of one incident to another one.

    Parameters
    ----------
    lifecycle : Lifecycle
        The incidents.
    name, into : str
        Ids of two incidents of one family.
    at : int
        Window of the action.

    Returns
    -------
    Incident
        The one that took them; unchanged where either has ended.

    Raises
    ------
    KeyError
        If an incident is unknown.
    """
    source, target = _number(lifecycle, name), _number(lifecycle, into)
    found = lifecycle.incidents[target]
    if source == target or {lifecycle.incidents[source].status, found.status} != {"open"}:
        return found
    _move(lifecycle, source, target, {member.stream for member in lifecycle.incidents[source].members}, at)
    ended = lifecycle.incidents[source]
    ended.status, ended.closed_at, ended.closed_by, ended.moved_to = "moved", at, BY, found.incident_id
    for numbers in lifecycle.open_numbers.values():
        if source in numbers:
            numbers.remove(source)
    found.change_point = min(found.change_point, ended.change_point)
    return found


def fix_between(lifecycle: Lifecycle, name: str, first: int, end: int, at: int) -> Incident:
    """End an incident as fixed, of which only some windows were bad.

    These never teach the baselines of its open members, also those before the change point and those that are judged
    later; the others since the change point do.

    Parameters
    ----------
    lifecycle : Lifecycle
        The incidents.
    name : str
        Id of an incident.
    first, end : int
        The first bad window, and the first one after them.
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
    incident = lifecycle.incidents[_number(lifecycle, name)]
    if incident.status != "open":
        return incident
    states, columns = lifecycle.states, lifecycle.columns
    streams = [states.position(member.stream) for member in incident.members if member.status == "open"]
    since = {stream: int(columns.since[stream]) for stream in streams}
    lifecycle.act(name, "fixed", at)
    lessons: dict[int, NDArray[np.int64]] = {}
    for stream in streams:
        columns.bad_from[stream], columns.bad_to[stream] = first, end
        rows = states.history.rows(stream, int(np.iinfo(np.int64).min))
        windows = states.history.window[stream, rows]
        bad = lifecycle.is_bad(np.full(len(rows), stream), windows)
        states.forget(stream, rows[bad])
        working = np.array([not states.is_off(stream, int(window)) for window in windows], dtype=bool)
        untaught = states.history.weight[stream, rows] <= 0
        lessons[stream] = rows[~bad & working & untaught & (windows >= since[stream])]
    states.teach(lessons)
    return incident


def split(lifecycle: Lifecycle, name: str, streams: Collection[str], at: int) -> Incident:
    """Make an incident of its own of some open members of another one.

    Parameters
    ----------
    lifecycle : Lifecycle
        The incidents.
    name : str
        Id of the incident.
    streams : collection of str
        Names of the members to take out.
    at : int
        Window of the action.

    Returns
    -------
    Incident
        The new one; the old one, unchanged, where it has ended or where none or all of its open members are meant.

    Raises
    ------
    KeyError
        If the incident is unknown.
    """
    source = _number(lifecycle, name)
    old = lifecycle.incidents[source]
    open_ = [member for member in old.members if member.status == "open"]
    leaving = [member for member in open_ if member.stream in streams]
    if not leaving or len(leaving) == len(open_):
        return old
    key = old.incident_id.rpartition("-")[0]
    new = Incident(
        incident_id=_free_id(lifecycle, key, [member.stream for member in leaving]),
        opened_at=old.opened_at,
        change_point=min(member.change_point for member in leaving),
        evidence=max(member.adjusted_evidence for member in leaving),
        split_from=old.incident_id,
    )
    lifecycle.incidents.append(new)
    number = len(lifecycle.incidents) - 1
    lifecycle.open_numbers[int(lifecycle.states.family[lifecycle.states.position(leaving[0].stream)])].append(number)
    _move(lifecycle, source, number, {member.stream for member in leaving}, at)
    staying = [member for member in old.members if member.status != "moved"]
    old.change_point = min(member.change_point for member in staying)
    old.evidence = max(member.adjusted_evidence for member in staying)
    return new


def _number(lifecycle: Lifecycle, name: str) -> int:
    for number, incident in enumerate(lifecycle.incidents):
        if incident.incident_id == name:
            return number
    raise KeyError(f"incident {name!r} is unknown")


def _free_id(lifecycle: Lifecycle, key: str, streams: list[str]) -> str:
    """An id that no incident has: the same streams may have opened one on that day already."""
    taken = {incident.incident_id for incident in lifecycle.incidents}
    found, parts = incident_id(key, streams), list(streams)
    while found in taken:
        parts.append("split")
        found = incident_id(key, parts)
    return found


def _move(lifecycle: Lifecycle, source: int, target: int, streams: Collection[str], at: int) -> None:
    """Open memberships go on in another incident; in the old one they have ended, and say where to."""
    old, new, columns = lifecycle.incidents[source], lifecycle.incidents[target], lifecycle.columns
    for member in [member for member in old.members if member.status == "open" and member.stream in streams]:
        position = lifecycle.states.position(member.stream)
        new.members.append(replace(member, moved_from=[*member.moved_from, old.incident_id]))
        columns.incident[position], columns.member[position] = target, len(new.members) - 1
        member.status, member.ended_at, member.ended_by = "moved", at, BY
