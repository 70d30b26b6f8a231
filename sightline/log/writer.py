"""Appending to segments with group commit: one fsync for everything that came in while the last one was running.

A `SegmentWriter` may be used by many threads and event loops at once. Each `submit` returns a `Commit`; what it
holds is on disk when the commit is done, and was refused as a whole if it failed. Nothing is acknowledged
before ``fdatasync`` has returned.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from sightline.errors import SightlineError
from sightline.log import segment as seg
from sightline.log.events import EVENT_TYPES, Event
from sightline.log.files import OpenSegment, make_writer_id, next_stamp

logger = logging.getLogger(__name__)

FRAME_EVENTS = 64
"""Events per frame at most: what one damaged byte can cost."""

FRAME_BYTES = 1024 * 1024
SEAL_RETRY_SECONDS = 1.0


class LogWriteError(SightlineError):
    """The log could not take the events (disk full, I/O error). None of the events of this commit count as logged."""


class LogBusyError(SightlineError):
    """Too much is waiting for the disk. Try again later; nothing of this call was taken."""


class Commit:
    """A group of appends that reach the disk with one fsync."""

    __slots__ = ("_callbacks", "_event", "_lock", "chunks", "count", "done", "error", "max_at", "min_at", "size")

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0
        self.count = 0
        self.min_at: datetime | None = None
        self.max_at: datetime | None = None
        self.done = False
        self.error: LogWriteError | None = None
        self._lock = threading.Lock()
        self._event: threading.Event | None = None
        self._callbacks: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}

    def wait(self, timeout: float | None = None) -> None:
        """Block until the events are durable.

        Raises
        ------
        LogWriteError
            If they could not be written.
        TimeoutError
            If that took longer than `timeout` seconds; their fate is then unknown.
        """
        with self._lock:
            if not self.done and self._event is None:
                self._event = threading.Event()
            event = self._event
        if not self.done and event is not None and not event.wait(timeout):
            raise TimeoutError(f"the log was not on disk within {timeout} s")
        if self.error is not None:
            raise self.error

    def notify(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """Have `callback` called on an event loop when the commit is done; then `error` tells how it went."""
        with self._lock:
            if not self.done:
                self._callbacks.setdefault(loop, []).append(callback)
                return
        loop.call_soon_threadsafe(callback)

    def add(
        self, chunks: Sequence[bytes], size: int, count: int, min_at: datetime | None, max_at: datetime | None
    ) -> None:
        """Put frames into the group (the writer's lock is held)."""
        self.chunks.extend(chunks)
        self.size += size
        self.count += count
        if min_at is not None and (self.min_at is None or min_at < self.min_at):
            self.min_at = min_at
        if max_at is not None and (self.max_at is None or max_at > self.max_at):
            self.max_at = max_at

    def finish(self, error: LogWriteError | None) -> None:
        """Tell everyone who waits. One wake-up per event loop, however many wait there."""
        with self._lock:
            self.error, self.done = error, True
            event, callbacks, self._callbacks = self._event, self._callbacks, {}
            self.chunks = []
        if event is not None:
            event.set()
        for loop, waiting in callbacks.items():
            try:
                loop.call_soon_threadsafe(_call_all, waiting)
            except RuntimeError:  # the loop was closed: nobody waits there any more
                logger.debug("an event loop was closed before its events were committed")


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # those who wait for the same commit must hear of it all the same
            logger.exception("a callback of a commit failed")


_live: weakref.WeakSet[SegmentWriter] = weakref.WeakSet()


class SegmentWriter:
    """Writes the events of one kind of one monitor into segments of one log folder.

    Parameters
    ----------
    log : Path
        The monitor's log folder (``MonitorPaths.log``).
    monitor : str
        Monitor id, written into every header.
    kind : {"inferences", "labels", "rejected"}
        Kind of the events.
    max_bytes : int
        Size at which a segment is sealed and the next one begun.
    max_age_seconds : float
        Age (of the first event) at which a segment is sealed, on the monotonic clock.
    max_pending_bytes : int
        More than this waiting for the disk: `submit` raises `LogBusyError`.
    clock : callable
        Returns the time (aware, UTC) for names, headers and `received_at`.
    on_sealed : callable, optional
        Called with the path of each sealed segment, on the commit thread.
    """

    def __init__(
        self,
        log: Path,
        monitor: str,
        kind: str,
        *,
        max_bytes: int = 16 * 1024 * 1024,
        max_age_seconds: float = 5.0,
        max_pending_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_sealed: Callable[[Path], None] | None = None,
    ) -> None:
        if kind not in EVENT_TYPES:
            raise ValueError(f"kind must be one of {', '.join(EVENT_TYPES)}, not {kind!r}")
        self.log, self.monitor, self.kind = log, monitor, kind
        self.max_bytes, self.max_age_seconds, self.max_pending_bytes = max_bytes, max_age_seconds, max_pending_bytes
        self._clock, self._on_sealed = clock, on_sealed
        self._encoder = msgspec.msgpack.Encoder()
        self._reset()
        _live.add(self)

    def _reset(self) -> None:
        self.writer_id = make_writer_id()
        self._sequence = 0
        self._stamp: datetime | None = None
        self._changed = threading.Condition()
        self._pending = Commit()
        self._in_flight = 0
        self._segment: OpenSegment | None = None
        self._opened_at = 0.0
        self._retry_seal_at = 0.0
        self._seal_requests: list[Commit] = []
        self._thread: threading.Thread | None = None
        self._closing = False

    def forget_after_fork(self) -> None:
        """In a forked child: the open segment belongs to the parent; this writer begins anew with an id of its own."""
        if self._segment is not None:
            self._segment.abandon()
        self._reset()

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the disk."""
        return self._pending.size + self._in_flight

    def encode(self, events: Sequence[Event]) -> list[bytes]:
        """Encode events one by one, as `submit` takes them in `encoded`."""
        encode = self._encoder.encode
        return [encode(event) for event in events]

    def submit(
        self,
        events: Sequence[Event],
        *,
        received_at: datetime | None = None,
        source: str = "native",
        encoded: Sequence[bytes] | None = None,
    ) -> Commit:
        """Queue events for the next fsync and return at once.

        Parameters
        ----------
        events : sequence of InferenceEvent, LabelEvent or RejectedEvent
            Events of this writer's kind.
        received_at : datetime, optional
            When they came in; default now.
        source : str
            Name of the wire format.
        encoded : sequence of bytes, optional
            The same events encoded by `encode`, if the caller has them already.

        Returns
        -------
        Commit
            ``commit.wait()`` returns, and the callbacks of ``commit.notify`` are called, when they are durable.

        Raises
        ------
        LogBusyError
            If more than `max_pending_bytes` are waiting.
        LogWriteError
            If the writer is closed.
        """
        received_at = received_at or self._clock()
        chunks = self._frames(self.encode(events) if encoded is None else encoded, received_at, source)
        size = sum(map(len, chunks))
        moments = [event.at or event.received_at or received_at for event in events]
        with self._changed:
            if self._closing:
                raise LogWriteError("the log writer is closed", where=str(self.log))
            if self.pending_bytes + size > self.max_pending_bytes and self.pending_bytes:
                raise LogBusyError(
                    f"{self.pending_bytes} bytes are waiting for the disk", where=str(self.log), fix="send more slowly"
                )
            commit = self._pending
            commit.add(chunks, size, len(events), min(moments, default=None), max(moments, default=None))
            self._wake_thread()
        return commit

    def append(self, events: Sequence[Event], *, received_at: datetime | None = None, source: str = "native") -> int:
        """Log events and return their number when they are on disk; errors as in `submit` and `Commit.wait`."""
        if events:
            self.submit(events, received_at=received_at, source=source).wait()
        return len(events)

    def seal(self) -> None:
        """Commit what is queued and seal the open segment, if there is one.

        Raises
        ------
        LogWriteError
            If the segment could not be sealed; it stays open, and sealing is tried again.
        """
        request = Commit()
        with self._changed:
            if self._closing or (self._thread is None and self._segment is None):
                return
            self._seal_requests.append(request)
            self._wake_thread()
        request.wait()

    def close(self) -> None:
        """Commit what is queued, seal, and stop the thread. A segment that cannot be sealed is left for recovery."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _frames(self, encoded: Sequence[bytes], received_at: datetime, source: str) -> list[bytes]:
        # [received_at, source, [event, ...]] put together by hand, because the events are encoded already
        prefix = b"\x93" + self._encoder.encode(received_at) + self._encoder.encode(source) + b"\xdd"
        frames: list[bytes] = []
        start = 0
        while start < len(encoded):
            piece = encoded[start : start + FRAME_EVENTS]
            while len(piece) > 1 and sum(map(len, piece)) > FRAME_BYTES:
                piece = piece[: len(piece) // 2]
            stop = start + len(piece)
            payload = b"".join((prefix, len(piece).to_bytes(4, "big"), *piece))
            frames.append(seg.pack_frame(seg.RECORDS_FRAME, len(piece), payload))
            start = stop
        return frames

    # ---- the commit thread -------------------------------------------------------------------------------------------

    def _wake_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"log-{self.monitor}-{self.kind}", daemon=True)
            self._thread.start()
        else:
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._pending.chunks or self._seal_requests or self._closing or self._seal_is_due()):
                    self._changed.wait(self._seconds_to_seal())
                commit, closing = self._pending, self._closing
                requests, self._seal_requests = self._seal_requests, []
                if commit.chunks:
                    self._pending, self._in_flight = Commit(), commit.size
            if commit.chunks:
                self._write(commit)
                self._in_flight = 0
            if requests or closing or self._seal_is_due():
                error = self._seal_segment()
                for request in requests:
                    request.finish(error)
            if closing and not commit.chunks:
                return

    def _seconds_to_seal(self) -> float | None:
        if self._segment is None:
            return None
        due = max(self._opened_at + self.max_age_seconds, self._retry_seal_at)
        return max(0.0, due - time.monotonic())

    def _seal_is_due(self) -> bool:
        if self._segment is None or time.monotonic() < self._retry_seal_at:
            return False
        return self._segment.size >= self.max_bytes or time.monotonic() >= self._opened_at + self.max_age_seconds

    def _write(self, commit: Commit) -> None:
        error = None
        try:
            if self._segment is None:
                self._segment = self._open_segment()
            self._segment.append(b"".join(commit.chunks), commit.count, commit.min_at, commit.max_at)
        except OSError as cause:
            error = LogWriteError(
                f"cannot write the log: {cause.strerror}",
                where=str(self.log),
                fix="free disk space, or look at the disk",
            )
            logger.error("%s", error)
            if self._segment is not None and self._segment.is_broken:
                self._segment.abandon()
                self._segment = None
        commit.finish(error)

    def _open_segment(self) -> OpenSegment:
        now = self._clock()
        # Looking at the folder once is enough: this writer's own names stay in order by themselves.
        stamp = (
            next_stamp(self.log, self.kind, now)
            if self._stamp is None
            else max(now, self._stamp + timedelta(microseconds=1))
        )
        header = seg.SegmentHeader(self.monitor, self.kind, "msgpack", self.writer_id, self._sequence + 1, stamp)
        segment = OpenSegment.create(self.log, header)
        self._sequence, self._stamp, self._opened_at = header.sequence, stamp, time.monotonic()
        return segment

    def _seal_segment(self) -> LogWriteError | None:
        if self._segment is None:
            return None
        try:
            path = self._segment.seal(self._clock())
        except OSError as cause:
            logger.warning("cannot seal %s: %s", self._segment.path, cause.strerror)
            error = LogWriteError(
                f"cannot seal the segment: {cause.strerror}", where=str(self._segment.path), fix="free disk space"
            )
            if self._segment.is_broken or self._closing:
                self._segment.abandon()
                self._segment = None
            self._retry_seal_at = time.monotonic() + SEAL_RETRY_SECONDS
            return error
        self._segment, self._retry_seal_at = None, 0.0
        if path is not None and self._on_sealed is not None:
            try:
                self._on_sealed(path)
            except Exception:  # a listener must not stop the log
                logger.exception("the listener for sealed segments failed on %s", path)
        return None


def _forget_after_fork() -> None:
    for writer in list(_live):
        writer.forget_after_fork()


os.register_at_fork(after_in_child=_forget_after_fork)
