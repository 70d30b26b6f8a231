"""One word on an incident in a process of its own: ``python -m sightline.alerts.acting``.

Publishing what the engine makes of a word takes seconds of CPU. A service that must answer others meanwhile starts this
process, writes a `Request` as JSON to it and reads an `Answer`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from sightline.alerts.listing import UnknownIncidentError, jsonable
from sightline.alerts.word import StateError
from sightline.errors import SightlineError
from sightline.home import Home

MAX_STREAMS, MAX_PATTERN = 1000, 500


class Fields(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a word says besides its kind; moments without a zone are UTC."""

    note: str = ""
    person: str = ""
    start: str = msgspec.field(default="", name="from")
    end: str = msgspec.field(default="", name="to")
    at: str = ""
    into: str = ""
    streams: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True):
    """A word: where, on what, which, by whom."""

    home: str
    monitor: str
    incident: str
    action: str
    by: str
    fields: Fields


class Answer(msgspec.Struct, frozen=True):
    """HTTP's status, and the incident as it is now, or what was wrong."""

    status: int
    content: dict[str, Any]


ALLOWED: dict[str, tuple[str, ...]] = {
    "acknowledge": ("note",),
    "accept": ("note",),
    "fixed": ("note", "start", "end", "at"),
    "assign": ("note", "person"),
    "note": ("note",),
    "reopen": ("note",),
    "merge": ("note", "into"),
    "split": ("note", "streams"),
}
"""What each action takes."""


def check(action: str, fields: Fields) -> None:
    """Raise a `SightlineError` for what an action does not take."""
    allowed = ALLOWED[action]
    given = [name for name in Fields.__struct_fields__ if getattr(fields, name)]
    names = dict(zip(Fields.__struct_fields__, Fields.__struct_encode_fields__, strict=True))
    if others := [names[name] for name in given if name not in allowed]:
        fix = f"it takes {', '.join(names[name] for name in allowed)}"
        raise SightlineError(f"{action} takes no {', '.join(others)}", fix=fix)
    for moment in (fields.start, fields.end, fields.at):
        _moment(moment)
    if len(fields.streams) > MAX_STREAMS or any(len(name) > MAX_PATTERN for name in fields.streams):
        raise SightlineError("too many streams, or too long ones", fix="use patterns with `*`")


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        fix = "write 2026-01-31 or 2026-01-31T06:00:00Z"
        raise SightlineError(f"{text[:50]!r} is no date or time", fix=fix) from None


def perform(request: Request) -> Answer:
    """Say it; what is wrong with it is an answer.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Answer
        200, 400, 404 or 409.
    """
    from sightline.alerts import actions

    fields = request.fields
    check(request.action, fields)
    about = (Home(Path(request.home)), request.monitor, request.incident)
    by: dict[str, Any] = {"by": request.by}
    moments: dict[str, Any] = {name: _moment(getattr(fields, name)) for name in ("start", "end", "at")}
    said: dict[str, Callable[[], dict[str, Any]]] = {
        "acknowledge": lambda: actions.acknowledge(*about, note=fields.note, **by),
        "accept": lambda: actions.accept(*about, note=fields.note, **by),
        "fixed": lambda: actions.fixed(*about, **moments, note=fields.note, **by),
        "assign": lambda: actions.assign(*about, fields.person, note=fields.note, **by),
        "note": lambda: actions.note(*about, fields.note, **by),
        "reopen": lambda: actions.reopen(*about, note=fields.note, **by),
        "merge": lambda: actions.merge(*about, fields.into, note=fields.note, **by),
        "split": lambda: actions.split(*about, fields.streams, note=fields.note, **by),
    }
    try:
        return Answer(200, jsonable(said[request.action]()))
    except SightlineError as error:
        status = 404 if isinstance(error, UnknownIncidentError) else 409 if isinstance(error, StateError) else 400
        return Answer(status, {"error": error.what, **({"fix": error.fix} if error.fix else {})})


def main() -> None:
    """Read one `Request` from standard input, write one `Answer` to standard output."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    sys.stdout.buffer.write(msgspec.json.encode(perform(request)))


if __name__ == "__main__":
    main()
