"""What a person says about an incident: it is being looked at, the new normal, mended, part of another one, or two."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from sightline.alerts import decisions
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.results.actions import append_action
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import find_monitor

KINDS = ("acknowledge", "accept", "fixed", "merge", "split")


def act(
    home: Home, monitor: str, incident: str, kind: str, *, at: datetime | None = None, note: str = ""
) -> dict[str, Any]:
    """Record an action on an incident and publish what the engine makes of it.

    Parameters
    ----------
    home : Home
    monitor : str
        Its id.
    incident : str
        Id of the incident, as `sightline incidents` lists it.
    kind : {'acknowledge', 'accept', 'fixed'}
        ``acknowledge``: somebody is at it; the incident goes on, its checks warn. ``accept``: the baseline starts anew
        at the change point. ``fixed``: the windows since the change point never taught it. See also `merge`, `split`.
    at : datetime, optional
        From when on it holds (aware; default now).
    note : str
        Kept with the action.

    Returns
    -------
    dict
        The incident as it is now.

    Raises
    ------
    SightlineError
        There is no such incident, it has ended already, or `at` lies in the future.
    """
    found = _recorded(home, monitor, incident, kind, at, note, {})
    return next(row for row in found.iter_rows(named=True) if row["incident_id"] == incident)


def merge(home: Home, monitor: str, incident: str, into: str, *, note: str = "") -> dict[str, Any]:
    """Say that two open incidents are one: the members of `incident` go on in `into`.

    Parameters
    ----------
    home, monitor, incident, note
        As for `act`.
    into : str
        The open incident that takes them.

    Returns
    -------
    dict
        The incident `into` as it is now.

    Raises
    ------
    SightlineError
        As for `act`, of both incidents; or they are the same.
    """
    if incident == into:
        raise SightlineError(f"the incident {incident} cannot be merged into itself", fix="name two incidents")
    _require_open(home, monitor, into)
    found = _recorded(home, monitor, incident, "merge", None, note, {"into": into})
    return next(row for row in found.iter_rows(named=True) if row["incident_id"] == into)


def split(home: Home, monitor: str, incident: str, patterns: Sequence[str], *, note: str = "") -> dict[str, Any]:
    """Say that an open incident is two: some of its members become one of their own.

    Parameters
    ----------
    home, monitor, incident, note
        As for `act`.
    patterns : sequence of str
        Names of streams, or patterns with ``*``.

    Returns
    -------
    dict
        The new incident.

    Raises
    ------
    SightlineError
        As for `act`; or a pattern means no open member, or all are meant.
    """
    _require_open(home, monitor, incident)
    members = read_snapshot(home.monitor(monitor), decisions.MEMBERS)
    assert members is not None  # published with the incidents
    own = members.filter(pl.col("status") == "open", incident_id=incident)["stream"].to_list()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in own):
            raise SightlineError(f"no open stream of {incident} is called {pattern!r}", fix=nearest(pattern, own))
    leaving = [name for name in own if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if len(leaving) == len(own):
        what = f"all {len(own)} open streams of {incident} are meant: nothing would be left"
        raise SightlineError(what, fix="name those of one cause only")
    before = read_snapshot(home.monitor(monitor), decisions.INCIDENTS)
    assert before is not None
    found = _recorded(home, monitor, incident, "split", None, note, {"streams": leaving})
    new = found.filter(pl.col("split_from") == incident).join(before, on="incident_id", how="anti")
    if new.is_empty():
        what = f"{incident} was not split: new evidence has changed it since"
        raise SightlineError(what, fix=f"see `sightline incidents {monitor}`")
    return new.row(0, named=True)


def _recorded(
    home: Home, monitor: str, incident: str, kind: str, at: datetime | None, note: str, more: Mapping[str, Any]
) -> pl.DataFrame:
    """The incidents after an action on an open one."""
    _require_open(home, monitor, incident)
    spec, paths, now = find_monitor(home, monitor), home.monitor(monitor), datetime.now(UTC)
    moment = at or now
    if moment > now:
        what = f"{moment:%Y-%m-%d %H:%M} UTC lies in the future: the incident {incident} goes on until then"
        raise SightlineError(what, fix="say it when it is so, without --at")
    newest = decisions.published_through(paths)
    action = {"kind": kind, "incident": incident, "effective_at": moment.isoformat(), "user": _user(), "note": note}
    known = {"from_window": newest, "newest_window": decisions.newest_window(paths)}
    told = {name: None if window is None else window.isoformat() for name, window in known.items()}
    append_action(paths, {**action, **more, **told})
    return decisions.run(spec, paths).incidents


def _require_open(home: Home, monitor: str, incident: str) -> None:
    paths = home.monitor(find_monitor(home, monitor).id)
    found = read_snapshot(paths, decisions.INCIDENTS)
    states = {} if found is None else dict(found.select("incident_id", "status").iter_rows())
    if incident not in states:
        fix = nearest(incident, states) if states else f"there are none: see `sightline incidents {monitor}`"
        raise SightlineError(f"{monitor} has no incident {incident!r}", where=str(paths.results), fix=fix)
    if states[incident] != "open":
        raise SightlineError(
            f"the incident {incident} has ended already ({states[incident]})", fix="see `sightline incidents`"
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
