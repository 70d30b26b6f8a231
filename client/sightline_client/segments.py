"""The log's segment files, written and read with the standard library.

They hold JSON records in the same container as the collector's.

Magic bytes, then frames: marker ``F5 5E``, type, zero, number of events u32, payload length u32, CRC-32 u32 of these
12 bytes and the payload, payload. Types: 1 header (JSON object), 2 records
(``[received_at, source, [event, ...]]``), 3 footer (JSON object).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sightline_client.errors import SightlineClientError

try:
    import fcntl
except ImportError:  # Windows: no locks, hence no segments; the URL transport works without a spool there
    fcntl = None  # type: ignore[assignment]

MAGIC = b"\x89SLG\r\n\x1a\n"
MARKER = b"\xf5\x5e"
_CHECKED = struct.Struct("<2sBBII")
_CHECKSUM = struct.Struct("<I")
HEAD_BYTES = _CHECKED.size + _CHECKSUM.size
HEADER, RECORDS, FOOTER = 1, 2, 3
FRAME_EVENTS = 64
FRAME_BYTES = 1024 * 1024
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"([a-z]+)-(\d{8}T\d{12}Z)-(\d+)-([A-Za-z0-9_.-]+)\.seg")


def has_locks() -> bool:
    """Can this platform lock files? Without that, two processes could write or replay the same segment."""
    return fcntl is not None


def is_segment_name(name: str) -> bool:
    """Whether it is ``<kind>-<utc stamp>-<sequence>-<writer>.seg``."""
    return _NAME.fullmatch(name) is not None


def make_writer_id() -> str:
    """``<host>-<pid>-<random>``: no two writers share it."""
    host = re.sub(r"[^A-Za-z0-9]+", "", socket.gethostname())[:24] or "host"
    return "-".join((host, str(os.getpid()), secrets.token_hex(4)))


def pack_frame(frame_type: int, count: int, payload: bytes) -> bytes:
    """One frame with its checksum."""
    checked = _CHECKED.pack(MARKER, frame_type, 0, count, len(payload))
    return checked + _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(checked))) + payload


def pack_records(rows: list[bytes], received_at: str, source: str) -> bytes:
    """Records frames of at most 64 events (what one damaged byte can cost) and, if there are several, 1 MiB."""
    prefix = json.dumps([received_at, source])[:-1].encode() + b",["
    frames: list[bytes] = []
    start = 0
    while start < len(rows):
        piece = rows[start : start + FRAME_EVENTS]
        while len(piece) > 1 and sum(map(len, piece)) > FRAME_BYTES:
            piece = piece[: len(piece) // 2]
        frames.append(pack_frame(RECORDS, len(piece), prefix + b",".join(piece) + b"]]"))
        start += len(piece)
    return b"".join(frames)


def read_frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """``(offset, type, payload)`` of every frame whose checksum is right; damaged bytes are skipped."""
    offset = len(MAGIC)
    while offset < len(data):
        frame = _frame_at(data, offset)
        if frame is None:
            offset = data.find(MARKER, offset + 1)
            if offset == -1:
                return
            continue
        yield (offset, frame[0], frame[1])
        offset += HEAD_BYTES + len(frame[1])


def _frame_at(data: bytes, offset: int) -> tuple[int, bytes] | None:
    start = offset + HEAD_BYTES
    if start > len(data):
        return None
    marker, frame_type, zero, _, length = _CHECKED.unpack_from(data, offset)
    if marker != MARKER or zero or not HEADER <= frame_type <= FOOTER or length > MAX_PAYLOAD_BYTES:
        return None
    payload = data[start : start + length]
    (checksum,) = _CHECKSUM.unpack_from(data, offset + _CHECKED.size)
    if len(payload) != length or zlib.crc32(payload, zlib.crc32(data[offset : offset + _CHECKED.size])) != checksum:
        return None
    return frame_type, payload


def utc_text(moment: datetime) -> str:
    """RFC 3339 with a final Z."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"


class SegmentWriter:
    """Writes the segments of one kind into ``open/`` and moves them to ``sealed/``; one thread uses it.

    Parameters
    ----------
    folder : Path
        Log folder with ``open/`` and ``sealed/``.
    monitor, kind : str
        For names and headers.
    max_bytes, max_age_seconds : float
        When a segment is sealed.
    """

    def __init__(self, folder: Path, monitor: str, kind: str, max_bytes: int, max_age_seconds: float) -> None:
        self.folder, self.monitor, self.kind = folder, monitor, kind
        self.max_bytes, self.max_age_seconds = max_bytes, max_age_seconds
        self.forget()

    def forget(self) -> None:
        """Begin anew, with another writer id.

        An open descriptor is closed (in a forked child the parent keeps its own).
        """
        descriptor = getattr(self, "_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)
        self._writer = make_writer_id()
        self._descriptor: int | None = None
        self._sequence = 0
        self._stamp: datetime | None = None
        self._reset_counts()

    def _reset_counts(self) -> None:
        self._path: Path | None = None
        self._size = 0
        self._count = 0
        self._opened_at = 0.0

    @property
    def open_path(self) -> Path | None:
        """The segment being written, if any."""
        return self._path if self._descriptor is not None else None

    def append(self, rows: list[bytes], source: str) -> int:
        """Write events and wait until they are on disk. Returns the number of bytes.

        Raises
        ------
        OSError
            If they are not; the segment then ends where it ended before.
        """
        now = datetime.now(timezone.utc)
        if self._descriptor is None:
            self._open(now)
        descriptor = self._descriptor
        assert descriptor is not None
        data = pack_records(rows, utc_text(now), source)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            self._cut()
            raise
        self._size += len(data)
        self._count += len(rows)
        return len(data)

    def seal_if_due(self) -> Path | None:
        """Seal the open segment if it is large or old enough."""
        if self._descriptor is None:
            return None
        is_due = self._size >= self.max_bytes or time.monotonic() >= self._opened_at + self.max_age_seconds
        return self.seal() if is_due else None

    def seal(self) -> Path | None:
        """Footer, fsync, rename, fsync of the folders.

        Raises
        ------
        OSError
            If that fails; the segment is then still open.
        """
        if self._descriptor is None or self._path is None:
            return None
        target = self.folder / "sealed" / self._path.name
        try:
            # The range of times stays unknown: users may have written them as text.
            footer = {"count": self._count, "min_at": None, "max_at": None, "sealed_at": _now_text()}
            _write_all(self._descriptor, pack_frame(FOOTER, 0, json.dumps(footer).encode()))
            os.fsync(self._descriptor)
            self._path.rename(target)
        except OSError:
            self._cut()
            raise
        os.close(self._descriptor)
        self._descriptor = None
        self._reset_counts()
        for folder in (target.parent, self.folder / "open"):
            sync_folder(folder)
        return target

    def _open(self, now: datetime) -> None:
        if fcntl is None:
            raise SightlineClientError("this platform has no file locks: log to a url=")
        folder = self.folder / "open"
        folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "sealed").mkdir(exist_ok=True)
        stamp = self._next_stamp(now)
        name = f"{self.kind}-{stamp:%Y%m%dT%H%M%S%f}Z-{self._sequence + 1:06d}-{self._writer}.seg"
        header = {
            "monitor": self.monitor, "kind": self.kind, "codec": "json", "writer": self._writer,
            "sequence": self._sequence + 1, "created_at": utc_text(stamp), "format": 1,
        }  # fmt: skip
        data = MAGIC + pack_frame(HEADER, 0, json.dumps(header).encode())
        temporary = folder / (name + ".tmp")  # locked and whole before a recovery can see it
        descriptor = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(descriptor, data)
            os.fsync(descriptor)
            temporary.rename(folder / name)
            sync_folder(folder)
        except OSError:
            for leftover in (temporary, folder / name):
                if leftover.exists():
                    leftover.unlink()
            os.close(descriptor)
            raise
        self._descriptor, self._path, self._size = descriptor, folder / name, len(data)
        self._sequence, self._stamp, self._opened_at = self._sequence + 1, stamp, time.monotonic()

    def _next_stamp(self, now: datetime) -> datetime:
        """Names keep their order when a clock jumps back."""
        latest = self._stamp
        if latest is None:
            names = [p.name for f in ("open", "sealed") for p in (self.folder / f).glob(self.kind + "-*")]
            match = _NAME.match(max(names, default=""))
            if match:
                latest = datetime.strptime(match.group(2), "%Y%m%dT%H%M%S%fZ").replace(tzinfo=timezone.utc)
        return now if latest is None or now > latest else latest + timedelta(microseconds=1)

    def _cut(self) -> None:
        """Take back what was written since the last success; if even that fails, leave the segment to recovery."""
        descriptor = self._descriptor
        assert descriptor is not None
        try:
            os.ftruncate(descriptor, self._size)
            os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            self._descriptor = None
            self._reset_counts()


def _now_text() -> str:
    return utc_text(datetime.now(timezone.utc))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path) -> int | None:
    """Descriptor of a segment nobody else holds, or None. Closing it gives the lock back."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(str(path), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass  # another process writes or replays it, or has just finished with it
    os.close(descriptor)
    return None
