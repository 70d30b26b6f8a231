"""One person's word on one incident: checked, kept, and told beside what others said just before."""

from __future__ import annotations

import getpass
import logging
import os
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sightline.alerts import decisions, listing
from sightline.alerts.answers import ACKNOWLEDGE, ENDS, MERGE, REOPEN, SPLIT
from sightline.alerts.life import ASSIGN, NOTE
from sightline.durable import exclusive
from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.results.actions import append_action, read_actions
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec

logger = logging.getLogger(__name__)

KINDS = (ACKNOWLEDGE, *ENDS, MERGE, SPLIT, ASSIGN, NOTE, REOPEN)
AT_ONCE = timedelta(minutes=10)
"""So long after another person's word the next one is told of it."""
MAX_NOTE, MAX_NAME = 4000, 200
"""Characters of a note, and of a person's name."""
PAST = {
    ACKNOWLEDGE: "acknowledged", "accept": "accepted", ASSIGN: "assigned", REOPEN: "reopened",
    MERGE: "merged", SPLIT: "split",
}  # fmt: skip
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of characters that are not kept: they steer terminals, or turn text around."""


class StateError(SightlineError):
    """The incident is not in a state that takes this word."""


class Word:
    """One person speaks of one incident at a time: what others said before is known, and told.

    Entered with a lock that the other words of the monitor wait for.
    """

    def __init__(self, home: Home, monitor: str, incident: str, kind: str, by: str | None, note: str) -> None:
        if kind not in KINDS:
            raise SightlineError(f"there is no action {kind!r}", fix=nearest(kind, KINDS))
        self.spec: MonitorSpec = find_monitor(home, monitor)
        self.paths = home.monitor(self.spec.id)
        self.incident, self.kind = incident, kind
        self.by = name_of(user() if by is None else by, "who says it")
        self.note = clean(note, MAX_NOTE, "the note")
        self.told_of: list[str] = []

    def __enter__(self) -> Word:
        listing.one(self.spec, self.paths, self.incident)  # before any folder is made
        self._lock = exclusive(self.paths.results / ".acting.lock")
        self._lock.__enter__()
        try:
            self.now = datetime.now(UTC)
            self.row = listing.one(self.spec, self.paths, self.incident)
            said = [a for a in read_actions(self.paths) if a["incident"] == self.incident]
            self._just_said = [
                a for a in said if a.get("user") != self.by and self.now - datetime.fromisoformat(a["at"]) <= AT_ONCE
            ]
            self.told_of = [_told(action, self.now) for action in self._just_said]
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._lock.__exit__(None, None, None)

    @property
    def is_late(self) -> bool:
        """Whether somebody else has just ended the incident."""
        return not self.row["is_open"] and any(action["kind"] in (*ENDS, MERGE) for action in self._just_said)

    def require_here(self) -> None:
        """Raise if the incident has moved to another one."""
        if self.row["state"] == "moved":
            what = f"the incident {self.incident} has moved to {self.row['moved_to']}"
            raise StateError(what, fix="say it of that one")

    def require_open(self, *, of_engine: bool = False) -> None:
        """Raise if the incident has ended."""
        require_open(self.row, of_engine=of_engine)

    def keep_as_note(self) -> None:
        """Keep what comes too late to count."""
        words = f"{PAST.get(self.kind, self.kind)}, too late to count ({'; '.join(self.told_of)})"
        append_action(self.paths, {
            "kind": NOTE, "incident": self.incident, "user": self.by, "said": self.kind,
            "note": f"{words}: {self.note}" if self.note else words,
        })  # fmt: skip
        self._hand_over()

    def say(self, **more: Any) -> None:
        """Record it, and publish what follows."""
        action = {"kind": self.kind, "incident": self.incident, "user": self.by, "note": self.note}
        known = {
            "from_window": decisions.published_through(self.paths),
            "newest_window": decisions.newest_window(self.paths),
        }
        told = {name: None if window is None else window.isoformat() for name, window in known.items()}
        append_action(self.paths, {**action, **more, **told})
        if self.kind not in (ASSIGN, NOTE):
            decisions.run(self.spec, self.paths)
        self._hand_over()

    def _hand_over(self) -> None:
        """Let others be told; a word that is kept does not fail because nobody can be told of it now."""
        from sightline.alerts.incident_changes import of_monitor
        from sightline.alerts.outbox import enqueue

        try:
            enqueue(Home(self.paths.home), of_monitor(self.spec, self.paths))
        except SightlineError as error:
            logger.warning("the word is kept, and told when messages can be sent again: %s", error)

    def told(self, incident: str | None = None) -> dict[str, Any]:
        """The incident as it is now."""
        return {**listing.one(self.spec, self.paths, incident or self.incident), "told": self.told_of}


def require_open(row: Mapping[str, Any], *, of_engine: bool) -> None:
    """Raise if an incident has ended, or (`of_engine`) is open by a person's word alone."""
    name, monitor = row["incident_id"], row["monitor"]
    if row["is_open"] and not (of_engine and row["status"] != "open"):
        return
    if row["is_open"]:
        what = f"the incident {name} was reopened by a person; its streams are judged for themselves"
        raise StateError(what, fix="streams that move again are an incident of their own: say it of that one")
    by = f" by {row['ended_by']}" if row["closed_by"] == "user" and row["ended_by"] else ""
    raise StateError(
        f"the incident {name} has ended already ({row['state']}{by})",
        fix=f"see `sightline incident {monitor} {name}`; `sightline reopen` where it is not over",
    )


def _told(action: Mapping[str, Any], now: datetime) -> str:
    """What somebody else said, and how long before."""
    seconds = max((now - datetime.fromisoformat(action["at"])).total_seconds(), 0.0)
    ago = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    past = {"fixed": "called it fixed", NOTE: "left a note"}.get(action["kind"])
    to = f" to {action['to']}" if action["kind"] == ASSIGN else ""
    done = past or f"{PAST.get(action['kind'], action['kind'])} it{to}"
    return f"{action.get('user') or 'somebody'} {done} {ago} before"


def clean(text: str, most: int, what: str) -> str:
    """A text without characters that steer terminals or turn text around, and not too long.

    Parameters
    ----------
    text : str
        As somebody gave it.
    most : int
        Characters at most.
    what : str
        What it is, for the error.

    Returns
    -------
    str
        Line ends and tabs stay.

    Raises
    ------
    SightlineError
        It is longer.
    """
    kept = "".join(c if c in "\n\t" or unicodedata.category(c) not in HIDDEN else "\ufffd" for c in text).strip()
    if len(kept) > most:
        raise SightlineError(
            f"{what} has {len(kept)} characters", fix=f"at most {most} are kept: give a link to the rest"
        )
    return kept


def name_of(text: str, what: str) -> str:
    """A name on one line; a `SightlineError` if there is none."""
    name = " ".join(clean(text, MAX_NAME, what).split())
    if not name:
        raise SightlineError(f"{what} has no name", fix="give a name or an address")
    return name


def past_moment(moment: datetime | None, incident: str) -> datetime | None:
    """An aware moment that does not lie in the future."""
    if moment is None:
        return None
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if aware > datetime.now(UTC):
        what = f"{aware:%Y-%m-%d %H:%M} UTC lies in the future: the incident {incident} goes on until then"
        raise SightlineError(what, fix="say it when it is so, or without that moment")
    return aware


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"
