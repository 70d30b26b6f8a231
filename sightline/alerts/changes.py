"""What there is to tell: an incident that opened, grew or ended, a person's word about it, and operational facts.

A `Change` is told once. Its id follows from what it says, so that replays, restarts, backfills and two processes name
the same change alike; the outbox (`sightline.alerts.outbox`) keeps which ids are known.

For those who feed the outbox: ``enqueue(home, incident_changes.of_monitor(spec, paths))`` after decisions were
published, and ``enqueue(home, [operational(...)])`` for everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Level = Literal["error", "warn", "info"]

SEVERITIES: dict[str, Level] = {
    "opened": "error",
    "split": "error",
    "grew": "error",
    "reopened": "error",
    "backlog": "error",
    "row_guard": "error",
    "check_failed": "error",
    "run_failed": "error",
    "daemon_silent": "error",
    "delivery_failed": "error",
    "labels_overdue": "warn",
    "freshness": "warn",
    "row_guard_ended": "info",
    "acknowledged": "info",
    "assigned": "info",
    "noted": "info",
    "accepted": "info",
    "fixed": "info",
    "merged": "info",
    "settled": "info",
    "recovered": "info",
    "new_normal": "info",
    "passed": "info",
    "check_recovered": "info",
    "run_recovered": "info",
    "fresh_again": "info",
    "daemon_back": "info",
    "digest": "info",
    "history": "info",
    "test": "info",
}
"""Kind of change -> how severe it is unless said otherwise."""

HISTORY = "history"
"""What was known before the first delivery; recorded, told to nobody."""


@dataclass(frozen=True)
class Change:
    """One thing to tell.

    Attributes
    ----------
    id : str
        Idempotency key: 32 hex digits of what it says (`change_id`).
    monitor : str
        Id of the monitor; empty for what concerns none (a digest).
    incident : str or None
        Id of the incident, or None.
    kind : str
        One of `SEVERITIES`.
    at : datetime
        When it happened, in the data's time (aware, UTC).
    severity : {'error', 'warn', 'info'}
        ``error`` is told in quiet hours too.
    assets : tuple of str
        Assets it is about, without the monitor's prefix.
    owner : str or None
        Who answers for it.
    facts : mapping
        JSON-able: ``what`` (one sentence) and, where known, ``since, size, sure, members, causes, todo, by, note,
        run_id``.
    covers : tuple of str
        Ids of changes that need not be told any more once this one is known.
    to : tuple of str
        Channels it goes to whatever the routes say; empty: as the routes say.
    """

    id: str
    monitor: str
    incident: str | None
    kind: str
    at: datetime
    severity: Level
    assets: tuple[str, ...] = ()
    owner: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    covers: tuple[str, ...] = ()
    to: tuple[str, ...] = ()


def change_id(monitor: str, subject: str | None, kind: str, says: str = "") -> str:
    """Idempotency key of a change.

    Parameters
    ----------
    monitor : str
        Id of the monitor.
    subject : str or None
        The incident, check, run or asset.
    kind : str
        One of `SEVERITIES`.
    says : str
        What tells it from others of its kind and subject, mostly a time.

    Returns
    -------
    str
        32 hex digits.

    Examples
    --------
    >>> change_id("churn", "2026-03-02-f1020c", "opened")
    '4c5d8ecff07fa01b0a987bb2e4062caf'
    """
    return hashlib.sha256("\x1f".join((monitor, subject or "", kind, says)).encode()).hexdigest()[:32]


def operational(
    kind: str,
    *,
    monitor: str,
    subject: str,
    at: datetime,
    what: str,
    says: str | None = None,
    severity: Level | None = None,
    assets: Sequence[str] = (),
    owner: str | None = None,
    to: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Change:
    """A change that is no incident's: a failed run or check, freshness, a row guard, a silent daemon.

    Parameters
    ----------
    kind : str
        One of `SEVERITIES`.
    monitor : str
        Id of the monitor; empty where it concerns none.
    subject : str
        The check, run, asset or column it is about.
    at : datetime
        When it happened; without a zone it is UTC.
    what : str
        One sentence.
    says : str, optional
        What tells it from others of its kind and subject; default `at`. Two changes that say the same are one.
    severity : {'error', 'warn', 'info'}, optional
        Default: that of the kind.
    assets : sequence of str
        Without the monitor's prefix.
    owner : str, optional
        Who answers for it.
    to : sequence of str
        Channels it goes to whatever the routes say.
    facts : mapping, optional
        More facts (see `Change`).

    Returns
    -------
    Change

    Raises
    ------
    KeyError
        The kind is unknown.
    """
    moment = in_utc(at)
    key = change_id(monitor, subject, kind, moment.isoformat() if says is None else says)
    told = {"what": what, "subject": subject, **(facts or {})}
    known = SEVERITIES[kind] if severity is None else severity
    return Change(key, monitor, None, kind, moment, known, tuple(assets), owner, told, to=tuple(to))


def in_utc(moment: datetime) -> datetime:
    """A moment in UTC; one without a zone is UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
