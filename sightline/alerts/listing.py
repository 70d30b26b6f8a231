"""Incidents as they are listed, filtered and told, from published results alone (no Dagster, no warehouse)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, cast
from urllib.parse import quote

import polars as pl

from sightline.alerts import life
from sightline.alerts.facts import rank
from sightline.alerts.operational import standing
from sightline.alerts.stream_words import stream_words
from sightline.alerts.takeovers import new_versions
from sightline.errors import SightlineError, nearest
from sightline.home import Home, MonitorPaths
from sightline.results.actions import read_actions
from sightline.results.evidence import read_evidence
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import find_monitor, load_monitors
from sightline.spec.model import MonitorSpec
from sightline.spec.routes import Links, load_routes

INCIDENTS, MEMBERS = "incidents", "incident_members"


class UnknownIncidentError(SightlineError):
    """There is no incident of this id."""


@dataclass(frozen=True)
class Wanted:
    """Which incidents are listed; all of what is given must hold.

    Parameters
    ----------
    is_open : bool
        Only those that have not ended.
    states, severities : collection of str
        One of these, of `life.STATES` and `life.SEVERITIES`; empty: any.
    owner : str, optional
        To whom it is assigned; an empty text: to nobody.
    since, until : datetime, optional
        They were open at some moment from `since` to before `until` (naive UTC).
    stream : str, optional
        Name of a member, or a pattern with ``*``.
    """

    is_open: bool = False
    states: Sequence[str] = ()
    severities: Sequence[str] = ()
    owner: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    stream: str | None = None

    def holds(self, incident: Mapping[str, Any]) -> bool:
        """Whether an incident is wanted.

        Parameters
        ----------
        incident : mapping
            As from `listed`.

        Returns
        -------
        bool
        """
        is_known = (not self.is_open or incident["is_open"]) and (not self.states or incident["state"] in self.states)
        is_known &= not self.severities or incident["severity"] in self.severities
        is_known &= self.owner is None or (incident["owner"] or "") == self.owner
        ended = None if incident["is_open"] else incident["ended_at"] or incident["closed_at"]
        is_known &= self.since is None or ended is None or ended >= self.since
        is_known &= self.until is None or incident["opened_at"] < self.until
        if self.stream is None or not is_known:
            return is_known
        return any(fnmatchcase(member["stream"], self.stream) for member in incident["members"])

    def holds_operation(self, fact: Mapping[str, Any]) -> bool:
        """Whether an operational fact is wanted.

        Parameters
        ----------
        fact : mapping
            As from `sightline.alerts.operational.standing`.

        Returns
        -------
        bool
        """
        level = "error" if fact["is_failing"] else "info"
        is_known = (not self.is_open or fact["is_failing"]) and (not self.severities or level in self.severities)
        is_known &= self.since is None or fact["until"] is None or naive(fact["until"]) >= self.since
        return is_known and (self.until is None or naive(fact["since"]) < self.until)


def listed(spec: MonitorSpec, paths: MonitorPaths, wanted: Wanted | None = None) -> list[dict[str, Any]]:
    """Incidents of a monitor with their members, newest first; empty before the first alerts run.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.results`.
    wanted : Wanted, optional
        Default: all.

    Returns
    -------
    list of dict
        As from `sightline.alerts.life.lives`, and ``monitor`` and ``members``: rows of the snapshot `incident_members`
        with ``words``, those that opened the incident first, of one window the most evident.
    """
    found, members = read_snapshot(paths, INCIDENTS), read_snapshot(paths, MEMBERS)
    if found is None or members is None:
        return []
    rows = life.lives(found, members, read_actions(paths), recurs_within(spec))
    by_incident = {key: part.drop("incident_id").to_dicts() for (key,), part in members.group_by(["incident_id"])}
    told = [
        {"monitor": spec.id, **row, "members": told_members(by_incident.get(row["incident_id"], []))} for row in rows
    ]
    return [row for row in told if wanted is None or wanted.holds(row)]


def recurs_within(spec: MonitorSpec) -> timedelta:
    """So soon after its end an incident is reopened by a stream that moves again the same way: `settle_after`."""
    return spec.settle_windows * spec.window


def told_members(members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Members with ``words``, by `rank`, without those that left for another incident and came back."""
    latest = {member["stream"]: member for member in members if member["status"] != "moved"}
    current = [m for m in members if m["status"] != "moved" or m["stream"] not in latest]
    return [_told(member) for member in sorted(current, key=rank)]


def each_once(members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Members without the later ones of a stream that left and came back."""
    found: dict[str, dict[str, Any]] = {}
    for member in members:
        found.setdefault(member["stream"], member)
    return list(found.values())


def _told(member: dict[str, Any]) -> dict[str, Any]:
    levels = (member.get(name) for name in ("display_before", "display_after", "display_extreme"))
    return {**member, "words": stream_words(member["stream"], *levels)}


def operations(paths: MonitorPaths, wanted: Wanted | None = None) -> list[dict[str, Any]]:
    """Operational facts that stand beside the incidents, those that fail first (`operational.standing`).

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    wanted : Wanted, optional
        `is_open`, `since` and `until` hold for them too; where a state, owner or stream is wanted there are none.

    Returns
    -------
    list of dict
    """
    if wanted is None:
        return standing(paths)
    if wanted.states or wanted.owner or wanted.stream:
        return []
    return [fact for fact in standing(paths) if wanted.holds_operation(fact)]


def history(spec: MonitorSpec, paths: MonitorPaths, incident: str) -> list[dict[str, Any]]:
    """What happened to an incident, oldest first: opened, who joined when, what people said, how it ended.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.results`.
    incident : str
        Its id.

    Returns
    -------
    list of dict
        As from `sightline.alerts.life.timeline`, and ``version`` for model versions that began to answer near it.

    Raises
    ------
    SightlineError
        There is no such incident.
    """
    row = one(spec, paths, incident)
    members = read_snapshot(paths, MEMBERS)
    assert members is not None  # published with the incidents
    own = members.filter(pl.col("incident_id") == incident, pl.col("status") != "moved").to_dicts()
    own = own or members.filter(pl.col("incident_id") == incident).to_dicts()
    said = [action for action in read_actions(paths) if action["incident"] == incident]
    told = life.timeline(row, own, said, spec.window, before=row["reopens"])
    return sorted([*new_versions(spec, paths, row), *told], key=lambda entry: entry["at"])


def one(spec: MonitorSpec, paths: MonitorPaths, incident: str) -> dict[str, Any]:
    """One incident, as from `listed`.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.results`.
    incident : str
        Its id.

    Returns
    -------
    dict

    Raises
    ------
    SightlineError
        There is no such incident.
    """
    found = {row["incident_id"]: row for row in listed(spec, paths)}
    if incident not in found:
        fix = nearest(incident, found, most=5) if found else f"there are none: see `sightline incidents {spec.id}`"
        raise UnknownIncidentError(f"{spec.id} has no incident {incident!r}", where=str(paths.results), fix=fix)
    return found[incident]


def whole(spec: MonitorSpec, paths: MonitorPaths, incident: str) -> dict[str, Any]:
    """All that is known of an incident: `one`, and its timeline, causes and what may be said to it.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        `paths.results`.
    incident : str
        Its id.

    Returns
    -------
    dict
        As from `listed`, and ``timeline``, ``causes`` (rows of the snapshot `incident_causes`, None where nobody has
        looked yet), ``run_id`` (of the run that judged the window it opened by), ``links``, ``actions`` (names),
        ``operations`` (facts that stood then) and ``budget``.

    Raises
    ------
    SightlineError
        There is no such incident.
    """
    row = one(spec, paths, incident)
    causes = read_snapshot(paths, "incident_causes")
    own = None if causes is None else causes.filter(pl.col("incident_id") == incident).sort("rank").to_dicts()
    run = _run_of(paths, row)
    return {
        **row,
        "budget": str(spec.alerts.budget),
        "timeline": history(spec, paths, incident),
        "causes": own or None,
        "run_id": run,
        "links": links(Home(paths.home), row, run),
        "actions": list(possible(row)),
        "operations": [fact for fact in operations(paths) if _is_beside(fact, row, spec)],
    }


def _run_of(paths: MonitorPaths, row: Mapping[str, Any]) -> str | None:
    """The run that gave the engine the newest value of the main stream by the time the incident opened."""
    known = read_evidence(paths).filter(
        pl.col("stream") == row["main_stream"], pl.col("window_start") <= row["opened_at"]
    )
    return None if known.is_empty() else known.sort("window_start")["run_id"][-1]


def links(home: Home, row: Mapping[str, Any], run_id: str | None) -> dict[str, str]:
    """Pages about an incident: ``lineage``, ``run`` and, where `alerts/routes.yaml` names one, ``dashboard``.

    Without ``links.dagster`` there they are paths below Dagster's UI.

    Parameters
    ----------
    home : Home
    row : mapping
        As from `listed`.
    run_id : str or None
        A run.

    Returns
    -------
    dict of str to str
    """
    try:
        given = load_routes(home).links
    except SightlineError:  # whoever sends messages is told of its mistakes; reading goes on without its addresses
        given = Links()
    base = (given.dagster or "").rstrip("/")
    monitor, asset = (quote(part, safe="") for part in (row["monitor"], row["main_stream"].partition("/")[0]))
    found = {"lineage": f"{base}/assets/{monitor}/{asset}?view=lineage"}
    if run_id and is_run(run_id):
        found["run"] = f"{base}/runs/{run_id}"
    if given.dashboard is not None:
        page = given.dashboard.replace("{monitor}", monitor)
        found["dashboard"] = page.replace("{incident}", quote(row["incident_id"], safe=""))
    return found


def is_run(text: str) -> bool:
    """Whether a text is an id that Dagster gives to runs."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def _is_beside(fact: Mapping[str, Any], row: Mapping[str, Any], spec: MonitorSpec) -> bool:
    """Whether an operational fact stood while an incident began, or since."""
    ended = row["ended_at"] or row["closed_at"]
    begins = row["change_point"] - spec.window
    return (fact["until"] is None or naive(fact["until"]) >= begins) and (
        ended is None or naive(fact["since"]) <= ended
    )


def possible(row: Mapping[str, Any]) -> Iterator[str]:
    """Actions that an incident can take now.

    Parameters
    ----------
    row : mapping
        As from `listed`.

    Yields
    ------
    str
        Names of commands.
    """
    if row["status"] == "open":
        yield from ("acknowledge", "accept", "fixed", "split", "merge")
    elif row["is_open"]:
        yield from ("acknowledge", "accept", "fixed")
    elif row["state"] != "moved":
        yield "reopen"
    if row["state"] != "moved":
        yield "assign"
    yield "note"


def jsonable(value: Any) -> Any:
    """A value as JSON holds it: moments in ISO 8601 (UTC), numbers that are none as null."""
    if isinstance(value, Mapping):
        return {str(name): jsonable(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, datetime):
        return f"{naive(value).isoformat()}Z"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def naive(moment: datetime | None) -> Any:
    """A moment as results hold it: UTC, without a zone; None stays None."""
    return moment if moment is None or moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def monitors(home: Home, monitor: str | None = None) -> list[MonitorSpec]:
    """The monitor of this id, or all whose files can be read.

    Parameters
    ----------
    home : Home
    monitor : str, optional
        Its id.

    Returns
    -------
    list of MonitorSpec

    Raises
    ------
    SightlineError
        There is no such monitor.
    """
    if monitor is not None:
        return [find_monitor(home, monitor)]
    return list(load_monitors(home)[0].values())


def find(home: Home, incident: str, monitor: str | None = None) -> MonitorSpec:
    """The monitor of an incident.

    Parameters
    ----------
    home : Home
    incident : str
        Its id.
    monitor : str, optional
        Where it is looked for; default: everywhere.

    Returns
    -------
    MonitorSpec

    Raises
    ------
    SightlineError
        There is no such incident, or several monitors have one.
    """
    specs = monitors(home, monitor)
    if monitor is not None:
        return specs[0]
    known = {spec.id: _ids(home.monitor(spec.id)) for spec in specs}
    having = [spec for spec in specs if incident in known[spec.id]]
    if not having:
        every = {name for ids in known.values() for name in ids}
        fix = nearest(incident, every, most=5) if every else "there are none: see `sightline incidents`"
        raise UnknownIncidentError(f"no monitor has an incident {incident!r}", where=str(home.data), fix=fix)
    if len(having) > 1:
        names = ", ".join(spec.id for spec in having)
        raise SightlineError(f"several monitors have an incident {incident!r}: {names}", fix="name the monitor as well")
    return having[0]


def _ids(paths: MonitorPaths) -> set[str]:
    found = read_snapshot(paths, INCIDENTS)
    return set() if found is None else set(found["incident_id"].to_list())
