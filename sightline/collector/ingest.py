"""From a request body to durable events and an answer.

An `Upload` goes this way: parse, drop exact repeats, commit, remember, answer; then the guards look. It does so in
callbacks on the event loop, without a task of its own: what is durable at once is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sightline.collector.admission import NATIVE, Admission
from sightline.collector.dedupe import Repeats
from sightline.collector.guard_feed import GuardFeed, Sighting
from sightline.collector.limits import HTTPError, Limits, decompress
from sightline.collector.metrics import Metrics
from sightline.collector.monitors import ServedMonitor
from sightline.errors import SightlineError
from sightline.log.events import (
    INFERENCES,
    KINDS,
    LABELS,
    REJECTED,
    InferenceEvent,
    LabelEvent,
    RejectedEvent,
    storable,
)
from sightline.log.resend import REPLAY_HEADER
from sightline.log.writer import Commit, LogBusyError, LogWriteError

logger = logging.getLogger(__name__)

MAX_ERRORS = 100
"""Rejected rows listed in an answer at most; all of them are in the quarantine."""

THREAD_FROM_BYTES = 1024 * 1024
"""Larger bodies are parsed on a thread, so that small requests need not wait for them (a megabyte takes about 5 ms)."""

COMPRESSION = 8
"""Bytes of JSON that one compressed byte may stand for, roughly."""


class RowError(msgspec.Struct, omit_defaults=True):
    """Why one row was rejected."""

    row: int
    reason: str
    message: str
    column: str | None = None
    id: str | None = None


class Answer(msgspec.Struct):
    """Body of a 200.

    Every row is accepted and durable, an exact repeat of one that is, or rejected and in quarantine.
    """

    accepted: int
    duplicate: int
    rejected: int
    errors: list[RowError] = []


@dataclass
class State:
    """What all requests of a collector share; used by its event loop alone."""

    limits: Limits
    metrics: Metrics
    guard_feed: GuardFeed
    is_ready: bool = False
    low_disk: bool = False
    in_flight: int = 0

    def refusal(self) -> HTTPError | None:
        """Why no request can be taken at the moment; None if one can."""
        if not self.is_ready:
            return HTTPError(503, "the collector is starting or stopping", "send again", {"retry-after": "1"})
        if self.low_disk:
            return HTTPError(503, "too little disk space is left", "free disk space", {"retry-after": "10"})
        if self.in_flight >= self.limits.max_in_flight:
            return HTTPError(503, f"{self.in_flight} requests are being handled", "send again", {"retry-after": "1"})
        return None


@dataclass(slots=True)
class Part:
    """The events of one kind of one request.

    ``rows`` are their positions in the request, ``encoded`` the events as they are logged, ``repeats`` what is to be
    remembered of them (None for rejected rows).
    """

    events: Sequence[Any]
    rows: Sequence[int]
    encoded: Sequence[bytes] = ()
    repeats: Repeats | None = None


Parts = dict[str, Part]
NOTHING: Mapping[str, str] = {}

Respond = Callable[[int, bytes, Mapping[str, str]], None]
"""Called once with status, JSON body, and further headers of the answer."""


class Upload:
    """One admitted request on its way to the disk: begins when its body is awaited and ends with its answer.

    Parameters
    ----------
    state : State
        Of the collector.
    admission : Admission
        Why it was let in.
    respond : callable
        Takes the answer, on the event loop; it may be called before `take` returns.
    """

    __slots__ = (
        "_admission", "_commits", "_parts", "_received_at", "_respond", "_sighting", "_started", "_state", "_submitted",
        "_waiting",
    )  # fmt: skip

    def __init__(self, state: State, admission: Admission, respond: Respond) -> None:
        self._state, self._admission, self._respond = state, admission, respond
        self._started = time.perf_counter()
        self._sighting: Sighting | None = None
        state.in_flight += 1

    def abandon(self) -> None:
        """The sender went away before its body was here: there is nobody to answer."""
        self._state.in_flight -= 1

    def fail(self, error: HTTPError) -> None:
        """Answer with an error."""
        self._end(error.status, problem(error), error.headers)

    def take(self, body: bytes) -> None:
        """The whole body is here: on from now to the answer."""
        admission, state = self._admission, self._state
        self._received_at = admission.monitor.clock()
        state.metrics.received_bytes += len(body)
        size = len(body) * (COMPRESSION if "content-encoding" in admission.headers else 1)
        if size >= THREAD_FROM_BYTES:
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, _parse, admission, body, state.limits).add_done_callback(
                lambda parsing: self._go(parsing.result)
            )
        else:
            self._go(lambda: _parse(admission, body, state.limits))

    def _go(self, parse: Callable[[], Parts]) -> None:
        try:
            self._commits = self._submit(parse())
        except Exception as error:
            self._break(error)
            return
        self._waiting = len(self._commits)
        if not self._commits:
            self._finish()
        loop = asyncio.get_running_loop()
        for commit in self._commits:
            commit.notify(loop, self._committed)

    def _submit(self, parts: Parts) -> list[Commit]:
        """Drop repeats and queue the rest for the disk."""
        monitor, name = self._admission.monitor, self._admission.name
        source = "native" if name in NATIVE else name
        self._parts, self._submitted = parts, time.perf_counter()
        commits: list[Commit] = []
        for kind, part in parts.items():
            if kind != REJECTED:
                part.events, part.encoded, part.repeats = monitor.recent[kind].split(kind, part.events, part.encoded)
            if part.events:
                commits.append(
                    monitor.writers[kind].submit(
                        part.events, received_at=self._received_at, source=source, encoded=part.encoded
                    )
                )
            if kind == INFERENCES and monitor.observer is not None and REPLAY_HEADER not in self._admission.headers:
                duplicates = part.repeats.duplicates if part.repeats else 0  # what is replayed does not arrive now
                self._sighting = self._state.guard_feed.begin(monitor, part.events, self._received_at, duplicates)
            part.encoded = ()
            if kind != REJECTED:
                part.events = ()  # memory that is used again at once stays in the processor's cache
        return commits

    def _committed(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._finish()

    def _finish(self) -> None:
        """Everything is on disk, or refused: remember and answer."""
        try:
            content = self._account()
        except Exception as error:
            self._break(error)
            return
        self._end(200, content, NOTHING)
        if self._sighting is not None:
            self._state.guard_feed.add(self._sighting)

    def _account(self) -> bytes:
        """Note what was logged; returns the body of the answer."""
        for commit in self._commits:
            if commit.error is not None:
                raise commit.error
        monitor, metrics = self._admission.monitor, self._state.metrics
        metrics.commit_seconds.observe(time.perf_counter() - self._submitted)
        answer = Answer(0, 0, 0)
        for kind, part in self._parts.items():
            if part.repeats is None:
                _report_rejected(answer, part.events, metrics, monitor.spec.id)
                continue
            monitor.recent[kind].remember(part.repeats)
            answer.accepted += part.repeats.n_new
            answer.duplicate += part.repeats.duplicates
            metrics.events[monitor.spec.id, kind, "accepted"] += part.repeats.n_new
            metrics.events[monitor.spec.id, kind, "duplicate"] += part.repeats.duplicates
        return _encode_json(answer)

    def _break(self, error: Exception) -> None:
        """Whatever went wrong becomes the answer."""
        if isinstance(error, LogBusyError):
            error = HTTPError(429, error.what, "wait, then send again", {"retry-after": "1"})
        elif isinstance(error, LogWriteError):
            error = HTTPError(503, error.what, error.fix or "", {"retry-after": "10"})
        elif not isinstance(error, HTTPError):
            name, monitor = self._admission.name, self._admission.monitor.spec.id
            logger.error("a POST of %s to %s failed", name, monitor, exc_info=error)
            error = HTTPError(500, "a defect of the collector: see its log")
        self.fail(error)

    def _end(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self._state.in_flight -= 1
        self._state.metrics.note(self._admission.name, status, time.perf_counter() - self._started)
        self._respond(status, content, headers)


def problem(error: HTTPError) -> bytes:
    """Body of an answer other than 200."""
    return _encode_json({"error": error.message, "fix": error.fix} if error.fix else {"error": error.message})


_encode_json = msgspec.json.Encoder().encode


def _parse(admission: Admission, body: bytes, limits: Limits) -> Parts:
    """Events of a body by kind, encoded for the log."""
    headers, monitor = admission.headers, admission.monitor
    if "content-encoding" in headers:
        body = decompress(body, headers["content-encoding"], limits.max_decompressed_bytes)
    try:
        found = admission.adapter(headers, body, monitor.spec)
    except SightlineError as error:
        raise HTTPError(400, f"{error.where}: {error.what}" if error.where else error.what, error.fix or "") from error
    if len(found) > limits.max_rows:
        raise HTTPError(
            413, f"{len(found)} rows in one request; at most {limits.max_rows}", "send fewer rows per request"
        )
    numbered = range(len(found))
    if len(set(map(type, found))) == 1:
        parts = {_kind(found[0]): Part(found, numbered)}
    else:
        kinds = list(map(_kind, found))
        parts = {}
        for kind in KINDS:
            rows = [row for row in numbered if kinds[row] == kind]
            if rows:
                parts[kind] = Part([found[row] for row in rows], rows)
    if REJECTED in parts:
        for event, row in zip(parts[REJECTED].events, parts[REJECTED].rows, strict=True):
            event.row = row
    _encode(monitor, parts)
    return parts


def _kind(event: InferenceEvent | LabelEvent | RejectedEvent) -> str:
    return INFERENCES if isinstance(event, InferenceEvent) else LABELS if isinstance(event, LabelEvent) else REJECTED


UNSTORABLE = (OverflowError, TypeError, ValueError)
"""What the encoder raises for values that MessagePack cannot hold."""


def _encode(monitor: ServedMonitor, parts: Parts) -> None:
    """Encode all events. Integers beyond 64 bits become doubles; what still cannot be stored is rejected."""
    unsound: list[RejectedEvent] = []
    for kind, part in parts.items():
        encode = monitor.writers[kind].encode
        try:
            part.encoded = encode(part.events)
            continue
        except UNSTORABLE:
            sound: list[Any] = []
            encoded: list[bytes] = []
        for event, row in zip(part.events, part.rows, strict=True):
            try:
                encoded += encode([_with_doubles(event)])
                sound.append(event)
            except UNSTORABLE as error:
                message = f"the row cannot be stored: {error}"
                unsound.append(RejectedEvent(kind=kind, reason="bad_type", message=message, id=event.id, row=row))
        part.events, part.encoded = sound, encoded
    if unsound:
        rejected = parts.setdefault(REJECTED, Part([], ()))
        rejected.events = [*rejected.events, *unsound]
        rejected.encoded = monitor.writers[REJECTED].encode(rejected.events)


def _with_doubles(event: InferenceEvent | LabelEvent) -> InferenceEvent | LabelEvent:
    for name in ("features", "prediction", "status", "trace", "value"):
        if hasattr(event, name):
            setattr(event, name, storable(getattr(event, name)))
    return event


def _report_rejected(answer: Answer, rejected: Sequence[RejectedEvent], metrics: Metrics, monitor: str) -> None:
    answer.rejected = len(rejected)
    answer.errors = [RowError(e.row, e.reason, e.message, e.column, e.id) for e in rejected[:MAX_ERRORS]]
    for event in rejected:
        metrics.events[monitor, event.kind, "rejected"] += 1
        metrics.rejections[monitor, event.reason] += 1
