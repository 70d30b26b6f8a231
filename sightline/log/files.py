"""The one place that opens, locks, syncs and renames segment files.

An open segment is locked (``flock``) by its writer for as long as the writer lives. Whoever gets the lock of an open
segment knows that its writer is dead. Sealing is: footer, fsync, rename into ``sealed/``, fsync of both folders.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
import socket
from datetime import datetime, timedelta
from pathlib import Path

from sightline.durable import sync_folder
from sightline.log import segment as seg

logger = logging.getLogger(__name__)

TEMPORARY_SUFFIX = ".tmp"


def make_writer_id() -> str:
    """``<host>-<pid>-<random>``: no two writers share it, and a file name says who wrote it."""
    host = re.sub(r"[^A-Za-z0-9]+", "", socket.gethostname())[:24] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte or raise OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def next_stamp(log: Path, kind: str, now: datetime) -> datetime:
    """`now`, or a microsecond later than the latest segment of this kind.

    So names keep their order when a clock jumps back.
    """
    folders = (folder for folder in (seg.sealed_folder(log), seg.open_folder(log)) if folder.is_dir())
    latest = max((path.name for folder in folders for path in folder.glob(f"{kind}-*")), default="")
    name = seg.SegmentName.parse(latest.removesuffix(TEMPORARY_SUFFIX))
    return now if name is None else max(now, name.stamp + timedelta(microseconds=1))


class OpenSegment:
    """A segment being written by this process. Not safe for several threads: one commit thread owns it."""

    def __init__(self, log: Path, name: seg.SegmentName, descriptor: int, size: int) -> None:
        self.log, self.name, self.size = log, name, size
        self.path = seg.open_folder(log) / str(name)
        self.count = 0
        self.min_at: datetime | None = None
        self.max_at: datetime | None = None
        self.is_broken = False
        self._descriptor = descriptor

    @classmethod
    def create(cls, log: Path, header: seg.SegmentHeader) -> OpenSegment:
        """Make a new segment, locked and with its header on disk. Its name carries ``header.created_at``.

        Raises
        ------
        OSError
            If that is impossible; nothing is left behind then.
        """
        folder = seg.open_folder(log)
        folder.mkdir(parents=True, exist_ok=True)
        seg.sealed_folder(log).mkdir(exist_ok=True)
        name = seg.SegmentName(header.kind, header.created_at, header.sequence, header.writer)
        beginning = seg.pack_header(header)
        # Under another name until it is locked and whole: a recovery never sees an unlocked segment of a living writer.
        temporary = folder / f"{name}{TEMPORARY_SUFFIX}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(descriptor, beginning)
            os.fsync(descriptor)
            temporary.rename(folder / str(name))
            sync_folder(folder)
        except OSError:
            for leftover in (temporary, folder / str(name)):
                leftover.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return cls(log, name, descriptor, len(beginning))

    def append(self, data: bytes, count: int, min_at: datetime | None, max_at: datetime | None) -> None:
        """Write frames and wait until they are on disk.

        Raises
        ------
        OSError
            If they are not. The file ends where it ended before; if even that fails, ``is_broken`` is set.
        """
        try:
            write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            self._cut()
            raise
        self.size += len(data)
        self.count += count
        if min_at is not None and (self.min_at is None or min_at < self.min_at):
            self.min_at = min_at
        if max_at is not None and (self.max_at is None or max_at > self.max_at):
            self.max_at = max_at

    def seal(self, now: datetime) -> Path | None:
        """Finish the segment. Returns its new path, or None if it held no event and was removed.

        Raises
        ------
        OSError
            If the footer cannot be written or the file not be renamed; the segment is then still open.
        """
        if self.count == 0:
            self.path.unlink(missing_ok=True)
            self.abandon()
            return None
        try:
            write_all(self._descriptor, seg.pack_footer(seg.SegmentFooter(self.count, self.min_at, self.max_at, now)))
            os.fsync(self._descriptor)
            target = seg.sealed_folder(self.log) / self.path.name
            self.path.rename(target)
        except OSError:
            self._cut()
            raise
        self.abandon()
        try:
            sync_folder(target.parent)
            sync_folder(self.path.parent)
        except (
            OSError
        ) as error:  # the events are durable; after a crash the file may be found in open/ and is recovered
            logger.warning("cannot sync the folders of %s: %s", target, error.strerror)
        return target

    def abandon(self) -> None:
        """Close the file without sealing it (its lock goes with it, unless a forked parent still holds it)."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _cut(self) -> None:
        """Take back what was written since the last commit."""
        try:
            os.ftruncate(self._descriptor, self.size)
            os.fdatasync(self._descriptor)
        except OSError:
            self.is_broken = True
