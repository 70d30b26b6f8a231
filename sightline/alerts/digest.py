"""The weekly digest: what is open, what settled unseen, which streams are not judged, what the budget was spent on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from metrics_py.wording import day
from sightline.alerts.changes import Change, change_id, operational
from sightline.alerts.stream_words import stream_words
from sightline.home import Home, MonitorPaths
from sightline.results.snapshots import read_snapshot
from sightline.spec.model import MonitorSpec
from sightline.spec.routes import DAYS, DigestSchedule, Routes

if TYPE_CHECKING:
    from sightline.alerts.outbox import Outbox

WEEK = timedelta(days=7)
LATE = timedelta(days=2)
"""A digest that could not be sent for so long is left out: the next one tells."""
SHOWN = 10


@dataclass
class MonitorDigest:
    """What there is to say of one monitor.

    Attributes
    ----------
    monitor, budget : str
        Its id, and the promise.
    open, settled, ended : list of str
        Incidents as lines: open, settled without a word of anybody, ended in the last week.
    spent : dict
        How the incidents that opened within the budget's time stand by now -> their number.
    not_judged : dict
        Reason -> number of streams.
    n_streams : int
        All streams.
    """

    monitor: str
    budget: str
    open: list[str] = field(default_factory=list[str])
    settled: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])
    spent: dict[str, int] = field(default_factory=dict[str, int])
    not_judged: dict[str, int] = field(default_factory=dict[str, int])
    n_streams: int = 0


def of_monitor(spec: MonitorSpec, paths: MonitorPaths, now: datetime) -> MonitorDigest:
    """The digest of one monitor, from published results.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        Of the same monitor.
    now : datetime
        Aware; the week and the budget's time end here, or with the newest decision where that is older.

    Returns
    -------
    MonitorDigest
    """
    from sightline.alerts.unjudged import not_judged  # costs scipy

    found = MonitorDigest(spec.id, str(spec.alerts.budget))
    incidents = read_snapshot(paths, "incidents")
    streams = read_snapshot(paths, "alert_streams")
    if incidents is None or streams is None:
        return found
    moment = now.astimezone(UTC).replace(tzinfo=None)
    newest = streams["decided_at"].max()
    moment = min(moment, newest + spec.window) if isinstance(newest, datetime) else moment
    for row in incidents.sort("opened_at", descending=True).iter_rows(named=True):
        line = f"{row['incident_id']}: {stream_words(row['main_stream'])}, since {day(row['change_point'])}"
        if row["status"] == "open":
            unseen = row.get("settled_at") is not None and row.get("acknowledged_at") is None
            (found.settled if unseen else found.open).append(line)
        elif row["closed_at"] is not None and row["closed_at"] >= moment - WEEK:
            found.ended.append(f"{line}, {_ending(row)}")
    recent = [row for row in incidents.iter_rows(named=True) if row["opened_at"] >= moment - spec.alerts.budget.per]
    found.spent = dict(Counter(_ending(row) for row in recent).most_common())
    found.n_streams, silent = not_judged(paths, spec)
    found.not_judged = dict(Counter(row["reason"] for row in silent).most_common())
    return found


def _ending(row: Mapping[str, Any]) -> str:
    """How an incident stands, in a word or two."""
    if row["status"] == "open":
        return "settled unseen" if row.get("settled_at") and not row.get("acknowledged_at") else "open"
    if row["closed_by"] == "new normal":
        return "taken for the new normal"
    return "recovered" if row["status"] == "closed" else str(row["status"])


def lines_of(found: MonitorDigest) -> list[str]:
    """The digest of one monitor as lines.

    Parameters
    ----------
    found : MonitorDigest

    Returns
    -------
    list of str
    """
    parts = [("open", found.open), ("settled, and nobody said what it was", found.settled), ("ended", found.ended)]
    lines = [f"{found.monitor}: {words}: {line}" for words, rows in parts for line in rows[:SHOWN]]
    lines += [f"{found.monitor}: {words}: {len(rows) - SHOWN} more" for words, rows in parts if len(rows) > SHOWN]
    spent = ", ".join(f"{n} {words}" for words, n in found.spent.items()) or "no incident"
    lines.append(f"{found.monitor}: budget {found.budget} (false ones, at most, expected), spent on: {spent}")
    for reason, n in found.not_judged.items():
        lines.append(f"{found.monitor}: not judged: {n} of {found.n_streams} streams: {reason}")
    return lines


def digest(
    home: Home, specs: Iterable[MonitorSpec], dead: Sequence[Mapping[str, Any]], now: datetime, to: Sequence[str] = ()
) -> Change:
    """The digest of all monitors as a change.

    Parameters
    ----------
    home : Home
    specs : iterable of MonitorSpec
    dead : sequence of mapping
        Deliveries that were given up, as from `Outbox.listed`.
    now : datetime
        Aware.
    to : sequence of str
        Channels.

    Returns
    -------
    Change
        Its id follows from `now`.
    """
    found = [of_monitor(spec, home.monitor(spec.id), now) for spec in specs]
    n_open, n_settled = sum(len(each.open) for each in found), sum(len(each.settled) for each in found)
    what = f"{n_open} open, {n_settled} settled unseen, over {len(found)} monitor{'' if len(found) == 1 else 's'}"
    lines = [line for each in found for line in lines_of(each)]
    by_channel = Counter(str(row["channel"]) for row in dead)
    lines += [f"given up: {n} messages to {channel}" for channel, n in by_channel.items()]
    return operational(
        "digest", monitor="", subject="week", at=now, what=what, to=to, facts={"lines": lines}, says=now.isoformat()
    )


def due_digest(
    home: Home, outbox: Outbox, specs: Callable[[], Sequence[MonitorSpec]], routes: Routes, now: datetime
) -> Change | None:
    """The digest whose hour has come, if it is not told yet.

    Parameters
    ----------
    home : Home
    outbox : Outbox
    specs : callable
        Gives the monitors; called only if it is time.
    routes : Routes
    now : datetime
        Aware.

    Returns
    -------
    Change or None
        Its id follows from the hour, so that two processes tell one.
    """
    if routes.digest is None:
        return None
    moment = last_moment(routes.digest, routes, now)
    if now - moment > LATE or outbox.knows(change_id("", "week", "digest", moment.isoformat())):
        return None
    week = (moment - WEEK).timestamp()
    dead = [row for row in outbox.listed(states=["dead"]) if (row["tried_at"] or 0.0) >= week]
    return digest(home, specs(), dead, moment, routes.digest.to)


def last_moment(schedule: DigestSchedule, routes: Routes, now: datetime) -> datetime:
    """The newest moment of the schedule that is not later than `now`."""
    local = now.astimezone(routes.zone)
    back = (local.weekday() - DAYS.index(schedule.day)) % 7
    moment = datetime.combine(local.date() - timedelta(days=back), schedule.at, tzinfo=routes.zone)
    if moment > now:
        moment = datetime.combine(local.date() - timedelta(days=back + 7), schedule.at, tzinfo=routes.zone)
    return moment.astimezone(UTC)
