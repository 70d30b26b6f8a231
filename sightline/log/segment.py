"""The segment file: magic bytes, then frames. One writer, one monitor, one kind of event.

==========  =========================================================================================
bytes       meaning
==========  =========================================================================================
8           magic ``89 53 4C 47 0D 0A 1A 0A`` (damaged by any text-mode copy)
frames      16-byte head and payload, again and again: header, records..., footer
==========  =========================================================================================

Frame head (little endian): marker ``F5 5E`` · type u8 · zero u8 · number of events u32 · payload length u32 · CRC-32
u32 of the first 12 bytes and the payload. The marker lets a reader find the next frame behind a damaged one.

Header and footer payloads are JSON objects. A records payload is an array ``[received_at, source, [event, ...]]`` in
the codec the header names: ``msgpack`` (time as MessagePack timestamp) or ``json`` (time as RFC 3339 text), so that a
writer needs only the standard library.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from sightline.errors import SightlineError
from sightline.log.events import KINDS

MAGIC = b"\x89SLG\r\n\x1a\n"
FORMAT_VERSION = 1
MARKER = b"\xf5\x5e"
HEAD = struct.Struct("<2sBBIII")
_CHECKED = struct.Struct("<2sBBII")
HEADER_FRAME, RECORDS_FRAME, FOOTER_FRAME = 1, 2, 3
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
_FOOTER_BYTES = 4096
SUFFIX = ".seg"

_NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<stamp>\d{8}T\d{12}Z)-(?P<sequence>\d+)-(?P<writer>[A-Za-z0-9_.-]+)\.seg")


class SegmentHeader(msgspec.Struct, frozen=True):
    """First frame: whose events these are, and how they are encoded."""

    monitor: str
    kind: str
    codec: str
    writer: str
    sequence: int
    created_at: datetime
    format: int = FORMAT_VERSION


class SegmentFooter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Last frame of a sealed segment.

    ``count`` is the number of events, ``min_at`` and ``max_at`` the range of their times (time of receipt where
    they have none). ``recovered`` segments were sealed by someone else than their writer; ``torn_bytes`` were
    cut off their end and kept aside.
    """

    count: int
    min_at: datetime | None
    max_at: datetime | None
    sealed_at: datetime
    recovered: bool = False
    torn_bytes: int = 0


@dataclass(frozen=True)
class SegmentName:
    """The parts of ``<kind>-<utc stamp>-<sequence>-<writer>.seg``; names sort by time."""

    kind: str
    stamp: datetime
    sequence: int
    writer: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.stamp.astimezone(UTC):%Y%m%dT%H%M%S%f}Z-{self.sequence:06d}-{self.writer}{SUFFIX}"

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """Read a file name; None if it is no segment's name."""
        match = _NAME.fullmatch(name)
        if match is None or match["kind"] not in KINDS:
            return None
        stamp = datetime.strptime(match["stamp"], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
        return cls(match["kind"], stamp, int(match["sequence"]), match["writer"])


OPEN, SEALED, DAMAGED = "open", "sealed", "damaged"


class DamagedHeaderError(SightlineError):
    """Magic bytes or header frame are not what they should be."""


def open_folder(log: Path) -> Path:
    """Segments being written."""
    return log / OPEN


def sealed_folder(log: Path) -> Path:
    """Immutable segments."""
    return log / SEALED


def damaged_folder(log: Path) -> Path:
    """Bytes cut off torn ends, and what could not be read at all: nothing is thrown away."""
    return log / DAMAGED


def list_sealed(log: Path, kind: str | None = None) -> list[Path]:
    """Sealed segments of a log folder (``MonitorPaths.log``), oldest first.

    Parameters
    ----------
    log : Path
        The monitor's log folder; it need not exist.
    kind : {"inferences", "labels", "rejected"}, optional
        Only this kind.
    """
    return _list(sealed_folder(log), kind)


def list_open(log: Path, kind: str | None = None) -> list[Path]:
    """Segments being written (or left behind by a killed process), oldest first."""
    return _list(open_folder(log), kind)


def _list(folder: Path, kind: str | None) -> list[Path]:
    if not folder.is_dir():
        return []
    kinds = KINDS if kind is None else (kind,)
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.name.partition("-")[0] in kinds]
    return sorted(found, key=_sort_key)


def _sort_key(path: Path) -> tuple[str, int, str]:
    kind, stamp, sequence, writer = path.name.split("-", 3)
    return stamp, int(sequence), f"{writer}-{kind}"


def pack_frame(frame_type: int, count: int, payload: bytes) -> bytes:
    """One frame: head with checksum, then the payload."""
    checked = _CHECKED.pack(MARKER, frame_type, 0, count, len(payload))
    return b"".join((checked, zlib.crc32(payload, zlib.crc32(checked)).to_bytes(4, "little"), payload))


def pack_header(header: SegmentHeader) -> bytes:
    """Magic bytes and header frame: the beginning of a segment."""
    return MAGIC + pack_frame(HEADER_FRAME, 0, msgspec.json.encode(header))


def pack_footer(footer: SegmentFooter) -> bytes:
    """Footer frame: the end of a sealed segment."""
    return pack_frame(FOOTER_FRAME, 0, msgspec.json.encode(footer))


@dataclass(frozen=True)
class Frame:
    """A frame whose checksum is right."""

    offset: int
    type: int
    count: int
    payload: memoryview

    @property
    def end(self) -> int:
        """Offset behind the frame."""
        return self.offset + HEAD.size + len(self.payload)


@dataclass(frozen=True)
class Gap:
    """Bytes that are no valid frame.

    ``count`` is the number of events the damaged head claims, if its length still leads to the next frame.
    ``is_tail``: nothing valid follows.
    """

    offset: int
    length: int
    count: int | None
    is_tail: bool


def frame_at(data: memoryview, offset: int) -> Frame | None:
    """The frame that begins at `offset`, or None if head, length or checksum are wrong."""
    head = _head_at(data, offset)
    if head is None:
        return None
    frame_type, count, length, checksum = head
    start = offset + HEAD.size
    payload = data[start : start + length]
    if len(payload) != length or zlib.crc32(payload, zlib.crc32(data[offset : offset + _CHECKED.size])) != checksum:
        return None
    return Frame(offset, frame_type, count, payload)


def _head_at(data: memoryview, offset: int) -> tuple[int, int, int, int] | None:
    if len(data) - offset < HEAD.size:
        return None
    marker, frame_type, zero, count, length, checksum = HEAD.unpack_from(data, offset)
    if marker != MARKER or zero or not HEADER_FRAME <= frame_type <= FOOTER_FRAME or length > MAX_PAYLOAD_BYTES:
        return None
    return frame_type, count, length, checksum


def scan(data: bytes | memoryview) -> Iterator[Frame | Gap]:
    """All frames of a segment's bytes in order; what lies between valid frames comes as `Gap`.

    Magic bytes are not checked here.
    """
    view = memoryview(data)
    offset = len(MAGIC)
    while offset < len(view):
        frame = frame_at(view, offset)
        if frame is not None:
            yield frame
            offset = frame.end
            continue
        following = _next_frame(view, offset)
        head = _head_at(view, offset)
        claims = head is not None and offset + HEAD.size + head[2] == following
        yield Gap(offset, following - offset, head[1] if head and claims else None, following == len(view))
        offset = following


def _next_frame(view: memoryview, offset: int) -> int:
    """Offset of the next valid frame behind a damaged place; the end of the data if there is none."""
    data = view.obj if isinstance(view.obj, bytes) else bytes(view)
    candidate = data.find(MARKER, offset + 1)
    while candidate != -1:
        if frame_at(view, candidate) is not None:
            return candidate
        candidate = data.find(MARKER, candidate + 1)
    return len(view)


def read_footer(path: Path) -> SegmentFooter | None:
    """The footer of a segment, without reading what lies before it; None if its end is no footer.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _FOOTER_BYTES))
        tail = file.read()
    start = tail.rfind(MARKER)
    while start != -1:
        frame = frame_at(memoryview(tail), start)
        if frame is not None and frame.type == FOOTER_FRAME and frame.end == len(tail):
            try:
                return msgspec.json.decode(frame.payload, type=SegmentFooter)
            except msgspec.DecodeError:
                return None
        start = tail.rfind(MARKER, 0, start)
    return None


def read_header(data: bytes | memoryview, where: str) -> SegmentHeader:
    """Check the magic bytes and read the header frame.

    Raises
    ------
    DamagedHeaderError
        If magic bytes or header frame are missing or damaged.
    SightlineError
        If the format is newer than this program.
    """
    view = memoryview(data)
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise DamagedHeaderError("this is no Sightline segment: the magic bytes are missing", where=where)
    frame = frame_at(view, len(MAGIC))
    if frame is None or frame.type != HEADER_FRAME:
        raise DamagedHeaderError("the segment's header is damaged", where=where)
    try:
        header = msgspec.json.decode(frame.payload, type=SegmentHeader)
    except msgspec.DecodeError as error:
        raise DamagedHeaderError(f"the segment's header cannot be read: {error}", where=where) from error
    if header.format > FORMAT_VERSION:
        raise SightlineError(
            f"segment format {header.format} is newer than {FORMAT_VERSION}", where=where, fix="update Sightline"
        )
    return header
