"""Marks that come as CloudEvents: something was done to the model or its surroundings, such as a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from sightline.collector.formats import rows
from sightline.errors import SightlineError
from sightline.log.events import EARLIEST, LATEST, MAX_ID_LENGTH
from sightline.narrowing import is_object
from sightline.results.marks import MOST_LETTERS

MARK = "sightline.mark"
"""Type of the CloudEvent."""
MARKS = "marks"
"""Name under which marks are counted, beside the kinds of events."""
FIX = 'send `data: {"text": "deployed 4.2"}`'


class MarkEvent(msgspec.Struct, kw_only=True):
    """What `sightline mark` keeps: `at` is aware (None: when it was received), `id` and `source` make it one."""

    id: str
    source: str
    text: str
    at: datetime | None = None


def mark_event(attributes: Mapping[str, str], data: Any, where: str) -> MarkEvent:
    """The mark of a CloudEvent with all required attributes.

    Raises
    ------
    SightlineError
        With the place of what is wrong.
    """
    if not is_object(data):
        raise SightlineError("a mark's data are an object", where=f"{where}.data", fix=FIX)
    unknown = sorted(map(str, data.keys() - {"text"}))
    if unknown:
        raise SightlineError("a mark has no such field", where=f"{where}.data.{unknown[0][:80]}", fix=FIX)
    text = data.get("text")
    if not isinstance(text, str) or not text.strip():
        raise SightlineError("a mark needs words", where=f"{where}.data.text", fix=FIX)
    for name, value, most in (
        ("data.text", text, MOST_LETTERS),
        ("source", attributes["source"], MOST_LETTERS),
        ("id", attributes["id"], MAX_ID_LENGTH),
    ):
        if len(value) > most:
            raise SightlineError(
                f"more than {most} letters", where=f"{where}.{name}", fix="keep details elsewhere; link"
            )
    at = rows.moment(attributes.get("time"), f"{where}.time")
    if at is not None and not EARLIEST <= at < LATEST:
        raise SightlineError(f"{at:%Y-%m-%d} is no likely time", where=f"{where}.time", fix=rows.TIME_FIX)
    return MarkEvent(id=attributes["id"], source=attributes["source"], text=text, at=at)
