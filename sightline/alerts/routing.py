"""Who is told of a change, and until when it is held: functions of `alerts/routes.yaml`, the change and the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fnmatch import fnmatchcase

from sightline.alerts.changes import Change
from sightline.errors import nearest
from sightline.spec.routes import DAYS, RECORD, Downtime, QuietHours, Route, Routes, moment_in

QUIET = "quiet hours"
DOWNTIME = "downtime"
LONGEST_QUIET = 60
"""Days of holidays and quiet days in a row that are looked through for their end."""


@dataclass(frozen=True)
class Hold:
    """A delivery that waits.

    Attributes
    ----------
    until : datetime
        When it is looked at again (aware).
    reason : str
        Begins with `QUIET` or `DOWNTIME`; names no secret.
    """

    until: datetime
    reason: str


def channels_of(change: Change, routes: Routes, notify: Sequence[str]) -> list[str]:
    """Channels that are told of a change.

    Parameters
    ----------
    change : Change
    routes : Routes
    notify : sequence of str
        `alerts.notify` of the change's monitor: channels, which hear of everything, and named routes.

    Returns
    -------
    list of str
        Each once, in the order of the file; `RECORD` where nobody else is told. A name in `notify` that is neither a
        channel nor a route is that of a person: it is shown, and reaches nobody.
    """
    if change.to:
        return list(dict.fromkeys(name for name in change.to if name in routes.channels or name == RECORD)) or [RECORD]
    found = [name for name in notify if name in routes.channels or name == RECORD]
    for route in routes.routes:
        if takes(route, change, is_named=route.name is not None and route.name in notify):
            found += route.to
    return list(dict.fromkeys(found)) or [RECORD]


def takes(route: Route, change: Change, *, is_named: bool = False) -> bool:
    """Whether a route takes a change; where its monitor names it, whatever its `monitors` and `owners` say.

    `owners` are those of the model and, once an incident is assigned, its assignee.
    """
    who = [change.owner or "", change.facts.get("assignee", "")]
    is_own = is_named or (_any(route.monitors, [change.monitor]) and _any(route.owners, who))
    is_wanted = (not route.severities or change.severity in route.severities) and _any(route.kinds, [change.kind])
    return is_own and is_wanted and _any(route.assets, change.assets)


def unknown_names(routes: Routes, notify: Iterable[str]) -> list[tuple[str, str]]:
    """Names of `alerts.notify` that reach nobody, each with the nearest that would."""
    known = [*routes.channels, *(route.name for route in routes.routes if route.name is not None), RECORD]
    return [(name, nearest(name, known)) for name in notify if name not in known]


def hold(change: Change, routes: Routes, now: datetime) -> Hold | None:
    """Whether a change waits, and until when.

    Parameters
    ----------
    change : Change
    routes : Routes
    now : datetime
        Aware.

    Returns
    -------
    Hold or None
        None: it may be told. Of a downtime, however urgent the change is; in quiet hours only what is not urgent. A
        specimen (`test`) never waits.
    """
    if change.kind == "test":
        return None
    down = _downtime(change, routes, now)
    if down is not None:
        reason = f": {down.reason}" if down.reason else ""
        return Hold(moment_in(routes, down.end), f"{DOWNTIME} until {down.end:%Y-%m-%d %H:%M}{reason}")
    urgent = routes.quiet_hours.urgent if routes.quiet_hours is not None else ("error",)
    if change.severity in urgent:
        return None
    until = quiet_until(routes, now)
    return None if until is None else Hold(until, QUIET)


def _downtime(change: Change, routes: Routes, now: datetime) -> Downtime | None:
    for each in routes.downtime:
        is_meant = bool(change.monitor) and _any(each.monitors, [change.monitor])
        if is_meant and moment_in(routes, each.start) <= now < moment_in(routes, each.end):
            return each
    return None


def quiet_until(routes: Routes, now: datetime) -> datetime | None:
    """When the quiet time that holds now is over; None where it is not quiet.

    Parameters
    ----------
    routes : Routes
        Its quiet hours and holidays.
    now : datetime
        Aware.

    Returns
    -------
    datetime or None
        In the zone of the file. Where it is always quiet, after `LONGEST_QUIET` days.
    """
    local = now.astimezone(routes.zone)
    moment = local
    for _ in range(2 * LONGEST_QUIET):
        end = _stretch_end(routes, moment)
        if end is None:
            break
        moment = end
    return None if moment == local else moment


def _stretch_end(routes: Routes, moment: datetime) -> datetime | None:
    """End of the quiet day or of the quiet hours that `moment` lies in."""
    quiet = routes.quiet_hours
    day = moment.date()
    if day in routes.holidays or (quiet is not None and DAYS[day.weekday()] in quiet.days):
        return _at(routes, day + timedelta(days=1), time(0))
    if quiet is None or quiet.start is None or quiet.end is None:
        return None
    for first in (day - timedelta(days=1), day):
        start, end = _hours(routes, quiet, first)
        if start <= moment < end:
            return end
    return None


def _hours(routes: Routes, quiet: QuietHours, day: date) -> tuple[datetime, datetime]:
    """The quiet hours that begin on a day."""
    assert quiet.start is not None and quiet.end is not None
    last = day if quiet.start < quiet.end else day + timedelta(days=1)
    return _at(routes, day, quiet.start), _at(routes, last, quiet.end)


def _at(routes: Routes, day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, tzinfo=routes.zone)


def _any(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
