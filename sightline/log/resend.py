"""Sending logged events again: to a stream, to a collector, or into the log of another home."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.log.events import InferenceEvent, LabelEvent
from sightline.log.inspect import lasting_rejections
from sightline.log.reader import read_segment
from sightline.log.segment import list_open, list_sealed
from sightline.log.writer import SegmentWriter

BATCH = 500
REPLAY_HEADER = "x-sightline-replay"
"""Tells a collector that rows carry ``received_at``, ``source`` and ``part``; it lets only
tokens of scope replay send it.
"""
Loggable = InferenceEvent | LabelEvent


def logged_events(
    log: Path,
    kind: str,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    include_open: bool = False,
    on_unreadable: Callable[[str], None],
) -> Iterator[Loggable]:
    """Events of one kind in the order they were logged, with times in [start, end).

    Where they have no time, that of receipt counts.

    What cannot be read, a whole file or a part of it, is told to `on_unreadable`, and the rest goes on.
    """
    for path in [*list_sealed(log, kind), *(list_open(log, kind) if include_open else [])]:
        try:
            content = read_segment(path)
        except SightlineError as error:
            on_unreadable(f"{path}: {error.what}")
            continue
        for rejection in lasting_rejections(content):
            on_unreadable(f"{path}: offset {rejection.offset}: {rejection.reason}: {rejection.message}")
        for event in content.events:
            at = event.at or event.received_at
            if (start is None or at >= start) and (end is None or at < end):
                yield event


def batches(events: Iterator[Loggable]) -> Iterator[list[Loggable]]:
    """Lists of at most `BATCH` events."""
    batch: list[Loggable] = []
    for event in events:
        batch.append(event)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def to_row(event: Loggable) -> dict[str, object]:
    """The event as a row of the native format, without what the log itself had added."""
    row = to_stored_row(event)
    for name in ("received_at", "source"):
        row.pop(name, None)
    return row


def to_stored_row(event: Loggable) -> dict[str, object]:
    """The event as a row with time of receipt and source."""
    return msgspec.to_builtins(event)


@dataclass
class Replayed:
    """Counts of the collector's answers. Without ``keeps_times`` the times of receipt are those of the replay."""

    keeps_times: bool = True
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0


def replay_to_home(events: Iterator[Loggable], target: Home, monitor: str, kind: str) -> int:
    """Append the events to the log of a monitor in another home; times of receipt and sources stay.

    Returns their number.
    """
    count = 0
    with SegmentWriter(target.monitor(monitor).log, monitor, kind) as writer:
        for batch in batches(events):
            count += writer.append(batch, source="replay")
    return count


def replay_to_url(events: Iterator[Loggable], url: str, monitor: str, kind: str, token: str | None) -> Replayed:
    """POST the events to a collector in batches, smaller ones where the collector takes no such size.

    Times of receipt and sources stay if the token has scope ``replay``. Otherwise the events
    are new ones to the collector.

    Raises
    ------
    SightlineError
        If the collector cannot be reached or answers anything but 200, or an event is half a call (request and response
        logged apart), which only a token of scope ``replay`` may send.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SightlineError(f"{url!r} is no address", fix="write http://host:8700")
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname, parts.port, timeout=30)
    path = f"{parts.path.rstrip('/')}/v1/monitors/{monitor}/{kind}"
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    totals = Replayed()
    try:
        for batch in batches(events):
            _send(connection, url, path, headers, batch, totals)
    except OSError as error:
        raise SightlineError(
            f"cannot send to the collector: {error}", where=url, fix="start `sightline collector`"
        ) from error
    finally:
        connection.close()
    return totals


def _send(
    connection: http.client.HTTPConnection,
    url: str,
    path: str,
    headers: dict[str, str],
    batch: list[Loggable],
    totals: Replayed,
) -> None:
    """Send a batch and add what the collector counted; halves of it where it is too large."""
    status, answer = 403, b""
    if totals.keeps_times:
        status, answer = _post(connection, path, headers | {REPLAY_HEADER: "1"}, batch, to_stored_row)
        totals.keeps_times = status != 403
    if not totals.keeps_times:
        if any(getattr(event, "part", None) for event in batch):
            raise SightlineError(
                "the log holds requests and responses logged apart",
                fix="use a token of scope replay, or replay into a home: --home PATH",
            )
        status, answer = _post(connection, path, headers, batch, to_row)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            _send(connection, url, path, headers, half, totals)
        return
    if status != HTTPStatus.OK:
        what = f"the collector answered {status}: {answer[:500].decode(errors='replace')}"
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            what += f" (one event alone, {batch[0].id!r})"
        raise SightlineError(what, where=url)
    counts = json.loads(answer)
    totals.accepted += counts["accepted"]
    totals.duplicate += counts["duplicate"]
    totals.rejected += counts["rejected"]


def _post(
    connection: http.client.HTTPConnection,
    path: str,
    headers: dict[str, str],
    batch: list[Loggable],
    row: Callable[[Loggable], dict[str, object]],
) -> tuple[int, bytes]:
    connection.request("POST", path, msgspec.json.encode([row(event) for event in batch], enc_hook=str), headers)
    response = connection.getresponse()
    return response.status, response.read()
