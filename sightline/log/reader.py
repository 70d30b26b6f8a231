"""Reading segments: every checksum is verified.

Whatever cannot be read is handed back as a rejection with its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from sightline.errors import SightlineError
from sightline.log import segment as seg
from sightline.log.events import (
    EVENT_TYPES,
    REJECTED,
    Event,
    EventError,
    InferenceEvent,
    LabelEvent,
    RejectedEvent,
    build_event,
)
from sightline.narrowing import Json

CODECS = ("json", "msgpack")


class Records(msgspec.Struct, array_like=True):
    """Payload of a records frame; the events are decoded in a second step."""

    received_at: datetime
    source: str
    events: list[Any]


@dataclass(frozen=True)
class Rejection:
    """Something in a segment that is no event.

    Attributes
    ----------
    offset : int
        Byte offset in the file of the damaged bytes, or of the frame that holds the row.
    reason : str
        ``corrupt_record`` (checksum), ``torn_tail`` (end of a segment whose writer was killed), ``corrupt_header`` (the
        events were read all the same), ``missing_footer`` (the end of a sealed file is gone), ``missing_records`` (the
        footer counts more), or the reason of `build_event` for a whole row with wrong content.
    message : str
        The reason for a human being.
    payload : bytes
        The damaged bytes, or the row as JSON.
    count : int or None
        Number of events concerned; None if it cannot be known.
    row : int or None
        Position of the row in its frame.
    column, value, id : str or None
        As far as they could be read.
    """

    offset: int
    reason: str
    message: str
    payload: bytes
    count: int | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None
    id: str | None = None


@dataclass
class Segment:
    """What one segment file holds.

    Attributes
    ----------
    path : Path
        The file.
    header : SegmentHeader
        Monitor, kind, codec, writer.
    events : list
        `InferenceEvent`, `LabelEvent` or `RejectedEvent` in the order they were logged,
        ``received_at`` and ``source`` set.
    rejections : list of Rejection
        What could not be read; empty for a sound segment.
    footer : SegmentFooter or None
        None if the segment was never sealed.
    end : int
        Offset behind the last valid frame.
    """

    path: Path
    header: seg.SegmentHeader
    events: list[Any] = field(default_factory=list[Any])
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    footer: seg.SegmentFooter | None = None
    end: int = 0

    @property
    def is_sound(self) -> bool:
        """No damaged byte in it (rows with wrong content do not count)."""
        return not any(r.reason in DAMAGE for r in self.rejections)


DAMAGE = frozenset({"corrupt_record", "torn_tail", "corrupt_header", "missing_footer", "missing_records"})
"""Reasons of rejections that mean damaged or missing bytes."""


def read_segment(path: Path) -> Segment:
    """Read one segment, sealed or open.

    Parameters
    ----------
    path : Path
        The file; a segment of 16 MiB (the default size at which writers rotate) holds
        about 60,000 events of 20 features.

    Returns
    -------
    Segment
        Events and rejections. Damage inside the file costs the frames it touches (at most
        64 events each), never the rest.

    Raises
    ------
    SightlineError
        If the file cannot be read, or is no segment: neither its header nor its name say what it holds.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SightlineError(f"cannot read the segment: {error.strerror}", where=str(path)) from error
    try:
        header, damage = seg.read_header(data, str(path)), None
    except seg.DamagedHeaderError as error:
        header, damage = _guess_header(path, data, error)
    result = _read_frames(path, header, data)
    if damage is not None:
        result.rejections.insert(0, damage)
    return result


def columns(events: Iterable[InferenceEvent | LabelEvent], names: Iterable[str]) -> dict[str, list[Any]]:
    """Transpose events: one list per field in `names`, and nothing else.

    Examples
    --------
    >>> columns([InferenceEvent(id="a", score=0.5)], ["id", "score"])
    {'id': ['a'], 'score': [0.5]}
    """
    events = list(events)
    return {name: [getattr(event, name) for event in events] for name in names}


def _guess_header(path: Path, data: bytes, error: seg.DamagedHeaderError) -> tuple[seg.SegmentHeader, Rejection]:
    """A damaged header must not cost the events: the file's name says the kind, the first record the codec."""
    name = seg.SegmentName.parse(path.name)
    records = [part for part in seg.scan(data) if isinstance(part, seg.Frame) and part.type == seg.RECORDS_FRAME]
    if name is None or not records:
        raise error
    codec = "json" if bytes(records[0].payload[:1]) == b"[" else "msgpack"
    monitor = path.absolute().parent.parent.parent.name
    header = seg.SegmentHeader(monitor, name.kind, codec, name.writer, name.sequence, name.stamp)
    return header, Rejection(0, "corrupt_header", error.what, data[: records[0].offset], count=0)


def _read_frames(path: Path, header: seg.SegmentHeader, data: bytes) -> Segment:
    if header.kind not in EVENT_TYPES or header.codec not in CODECS:
        raise SightlineError(
            f"unknown kind {header.kind!r} or codec {header.codec!r}", where=str(path), fix="update Sightline"
        )
    result = Segment(path, header, end=len(seg.MAGIC))
    for part in seg.scan(data):
        if isinstance(part, seg.Gap):
            if part.offset == len(seg.MAGIC):
                continue  # the damaged header, reported by the caller
            result.rejections.append(_damage(part, data))
            continue
        result.end = part.end
        if part.type == seg.RECORDS_FRAME:
            events, rejections = decode_records(header, part)
            result.events.extend(events)
            result.rejections.extend(rejections)
        elif part.type == seg.FOOTER_FRAME:
            result.footer = msgspec.json.decode(part.payload, type=seg.SegmentFooter)
    _compare_with_footer(result)
    return result


def _damage(gap: seg.Gap, data: bytes) -> Rejection:
    torn = gap.is_tail and gap.count is None
    count = "an unknown number of" if gap.count is None else str(gap.count)
    message = (
        f"the last {gap.length} bytes are no whole frame"
        if torn
        else f"{gap.length} bytes at offset {gap.offset} do not match their checksum: {count} events cannot be read"
    )
    reason = "torn_tail" if torn else "corrupt_record"
    return Rejection(gap.offset, reason, message, data[gap.offset : gap.offset + gap.length], count=gap.count)


def _compare_with_footer(result: Segment) -> None:
    """A footer counts all events that were sealed.

    Say so if some of them are in no frame and in no damaged place either.
    """
    if result.footer is None:
        if result.path.parent.name == seg.SEALED:
            message = "the file ends without a footer: its end is lost"
            result.rejections.append(Rejection(result.end, "missing_footer", message, b""))
        return
    rows = sum(1 for r in result.rejections if r.row is not None)
    damaged = [r for r in result.rejections if r.row is None]
    missing = result.footer.count - len(result.events) - rows - sum(r.count or 0 for r in damaged)
    if missing > 0 and not any(r.count is None for r in damaged):
        message = f"the footer counts {result.footer.count} events; {missing} of them are not in the file"
        result.rejections.append(Rejection(result.end, "missing_records", message, b"", count=missing))


@cache
def _decoders(kind: str, codec: str) -> tuple[Any, Any]:
    module = msgspec.msgpack if codec == "msgpack" else msgspec.json
    typed = msgspec.defstruct(
        f"Typed_{kind}",
        [("received_at", datetime), ("source", str), ("events", list[EVENT_TYPES[kind]])],
        array_like=True,
        bases=(msgspec.Struct,),
    )
    return module.Decoder(typed), module.Decoder(Records)


def decode_records(header: seg.SegmentHeader, frame: seg.Frame) -> tuple[list[Event], list[Rejection]]:
    """Decode one records frame. If one of its rows has wrong content, the others still count."""
    typed, loose = _decoders(header.kind, header.codec)
    rejections: list[Rejection] = []
    try:
        records = typed.decode(frame.payload)
        events = records.events
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            records = loose.decode(frame.payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"the frame at offset {frame.offset} is whole, but its content cannot be decoded: {error}"
            return [], [Rejection(frame.offset, "corrupt_record", message, bytes(frame.payload), count=frame.count)]
        events = _build_rows(header.kind, frame.offset, records.events, rejections)
    received_at, source = records.received_at, records.source
    for event in events:
        if event.received_at is None:
            event.received_at = received_at
        if not event.source:
            event.source = source
    if header.codec == "json":
        _make_aware(events)
    return events, rejections


def _build_rows(kind: str, offset: int, rows: list[Json], rejections: list[Rejection]) -> list[Event]:
    events: list[Event] = []
    for index, row in enumerate(rows):
        try:
            events.append(
                msgspec.convert(row, RejectedEvent) if kind == REJECTED else build_event(kind, row, stored=True)
            )
        except EventError as error:
            identifier = row.get("id") if isinstance(row, dict) else None
            rejections.append(
                Rejection(
                    offset,
                    error.reason,
                    error.message,
                    msgspec.json.encode(row, enc_hook=str),
                    count=1,
                    row=index,
                    column=error.column,
                    value=error.value,
                    id=None if identifier is None else str(identifier)[:200],
                )
            )
        except msgspec.ValidationError as error:
            rejections.append(
                Rejection(offset, "bad_type", str(error), msgspec.json.encode(row, enc_hook=str), count=1, row=index)
            )
    return events


def _make_aware(events: list[Event]) -> None:
    """Times without a zone are UTC (JSON only: MessagePack timestamps always are)."""
    for event in events:
        if event.at is not None and event.at.tzinfo is None:
            event.at = event.at.replace(tzinfo=UTC)
        if isinstance(event, LabelEvent) and event.predicted_at is not None and event.predicted_at.tzinfo is None:
            event.predicted_at = event.predicted_at.replace(tzinfo=UTC)
        if isinstance(event, InferenceEvent) and event.observed_at is not None and event.observed_at.tzinfo is None:
            event.observed_at = event.observed_at.replace(tzinfo=UTC)
