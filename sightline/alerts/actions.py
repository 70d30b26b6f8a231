"""What a person says about an incident: it is being looked at, it is the new normal, or it is mended."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Any

from sightline.alerts import decisions
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.results.actions import append_action
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import find_monitor

KINDS = ("acknowledge", "accept", "fixed")


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
        at the change point. ``fixed``: the windows since the change point never taught it.
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
    spec, paths = find_monitor(home, monitor), home.monitor(monitor)
    found = read_snapshot(paths, decisions.INCIDENTS)
    states = {} if found is None else dict(found.select("incident_id", "status").iter_rows())
    if incident not in states:
        fix = nearest(incident, states) if states else f"there are none: see `sightline incidents {monitor}`"
        raise SightlineError(f"{monitor} has no incident {incident!r}", where=str(paths.results), fix=fix)
    if states[incident] != "open":
        raise SightlineError(
            f"the incident {incident} has ended already ({states[incident]})", fix="see `sightline incidents`"
        )
    now = datetime.now(UTC)
    moment = at or now
    if moment > now:
        what = f"{moment:%Y-%m-%d %H:%M} UTC lies in the future: the incident {incident} goes on until then"
        raise SightlineError(what, fix="say it when it is so, without --at")
    newest = decisions.published_through(paths)
    action = {"kind": kind, "incident": incident, "effective_at": moment.isoformat(), "user": _user(), "note": note}
    append_action(paths, {**action, "from_window": None if newest is None else newest.isoformat()})
    incidents = decisions.run(spec, paths).incidents
    return next(row for row in incidents.iter_rows(named=True) if row["incident_id"] == incident)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
