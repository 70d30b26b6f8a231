"""From a request body to durable events and an answer.

An `Upload` goes this way: parse, drop exact repeats, commit, remember, answer; then the guards look. It does so in
callbacks on the event loop, without a task of its own: what is durable at once is answered at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from sightline.collector.admission import NATIVE, Admission
from sightline.collector.dedupe import Repeats
from sightline.collector.formats import lenient, native, otlp_protobuf
from sightline.collector.formats.marks import MARKS, MarkEvent
from sightline.collector.guard_feed import GuardFeed, Sighting
from sightline.collector.keeping import MarkKeeping
from sightline.collector.limits import HTTPError, Limits, decompress, too_large
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

MAX_OTLP_ERRORS = 5
"""Reasons in the message of an OTLP answer."""
OTLP_SIGNALS: Mapping[str, otlp_protobuf.Signal] = {"otlp/v1/traces": "traces", "otlp/v1/logs": "logs"}
"""Formats whose answers are OTLP's own."""

THREAD_FROM_BYTES = 512 * 1024
"""Larger bodies are parsed on a thread, so that small requests need not wait for them (so many take about 3 ms)."""

COMPRESSION = 8
"""Bytes of JSON that one compressed byte stands for, roughly."""

LITTLE_BYTES = 8 * 1024
LITTLE_VALUES = 200
"""Of a body that is read row by row on the event loop: a row takes up to 50 us there."""


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
    held_bytes: int = 0
    """Of bodies that are coming in or wait to be read."""
    parsers: Executor = field(default_factory=lambda: ThreadPoolExecutor(2, "sightline-parser"))
    """Few, because what is made of a body may take many times its size."""

    marks: MarkKeeping = field(default_factory=MarkKeeping)

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
        "_admission", "_commits", "_held", "_parts", "_pieces", "_received_at", "_respond", "_sighting", "_started",
        "_state", "_submitted", "_waiting",
    )  # fmt: skip

    def __init__(self, state: State, admission: Admission, respond: Respond) -> None:
        self._state, self._admission, self._respond = state, admission, respond
        self._started = time.perf_counter()
        self._sighting: Sighting | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        state.in_flight += 1

    def abandon(self) -> None:
        """The sender went away before its body was here: there is nobody to answer."""
        self._release()
        self._state.in_flight -= 1

    def fail(self, error: HTTPError) -> None:
        """Answer with an error."""
        signal, is_protobuf = self._otlp()
        if signal is not None and is_protobuf:
            headers = {**error.headers, "content-type": otlp_protobuf.MEDIA_TYPE}
            self._end(error.status, otlp_protobuf.status(error.message), headers)
            return
        self._end(error.status, problem(error), error.headers)

    def add(self, piece: bytes) -> None:
        """Bytes of the body.

        Raises
        ------
        HTTPError
            413, or 503 where the bodies of all requests are too much. What follows is `fail`.
        """
        state = self._state
        self._pieces.append(piece)
        self._held += len(piece)
        state.held_bytes += len(piece)
        if self._held > state.limits.max_body_bytes:
            raise too_large(state.limits.max_body_bytes)
        if state.held_bytes > state.limits.max_held_bytes:
            what = f"{state.held_bytes} bytes of requests are being handled"
            raise HTTPError(503, what, "send again", {"retry-after": "1"})

    def complete(self) -> None:
        """The whole body is here: on from now to the answer."""
        admission, state = self._admission, self._state
        self._received_at = admission.monitor.clock()
        state.metrics.received_bytes += self._held
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        try:
            parts = _parse_at_once(admission, body, state.limits)
        except Exception as error:
            self._break(error)
            return
        if parts is not None:
            self._go(parts)
            return
        loop = asyncio.get_running_loop()
        loop.run_in_executor(state.parsers, _parse, admission, body, state.limits).add_done_callback(self._parsed)

    def _parsed(self, parsing: asyncio.Future[Parts]) -> None:
        """Raising its error here would tie both together, and the memory of the body with them."""
        error = parsing.exception()
        if error is None:
            self._go(parsing.result())
        elif isinstance(error, Exception):
            self._break(error)

    def _release(self) -> None:
        self._pieces = []
        self._state.held_bytes -= self._held
        self._held = 0

    def _go(self, parts: Parts) -> None:
        self._release()
        try:
            self._commits = self._submit(parts)
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
            if kind == MARKS:
                commits.append(self._state.marks.submit(
                    monitor.paths, part.events[0], self._received_at, partial(setattr, part, "repeats")
                ))  # fmt: skip
                part.events = ()
                continue
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
        headers = {"content-type": otlp_protobuf.MEDIA_TYPE} if all(self._otlp()) else NOTHING
        self._end(200, content, headers)
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
            if kind != MARKS:
                monitor.recent[kind].remember(part.repeats)
            answer.accepted += part.repeats.n_new
            answer.duplicate += part.repeats.duplicates
            metrics.events[monitor.spec.id, kind, "accepted"] += part.repeats.n_new
            metrics.events[monitor.spec.id, kind, "duplicate"] += part.repeats.duplicates
        signal, is_protobuf = self._otlp()
        if signal is None:
            return _encode_json(answer)
        message = "; ".join(dict.fromkeys(error.message for error in answer.errors[:MAX_OTLP_ERRORS]))
        return otlp_protobuf.answer(signal, answer.rejected, message, protobuf=is_protobuf)

    def _otlp(self) -> tuple[otlp_protobuf.Signal | None, bool]:
        """The signal whose own answer the sender expects, and whether it speaks protobuf."""
        signal = OTLP_SIGNALS.get(self._admission.name)
        return signal, signal is not None and otlp_protobuf.is_protobuf(self._admission.headers)

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
        self._release()
        self._state.in_flight -= 1
        self._state.metrics.note(self._admission.name, status, time.perf_counter() - self._started)
        self._respond(status, content, headers)


def problem(error: HTTPError) -> bytes:
    """Body of an answer other than 200."""
    return _encode_json({"error": error.message, "fix": error.fix} if error.fix else {"error": error.message})


_encode_json = msgspec.json.Encoder().encode


def _parse_at_once(admission: Admission, body: bytes, limits: Limits) -> Parts | None:
    """Events of a body that takes a few milliseconds; None for all others."""
    encoding = admission.headers.get("content-encoding")
    if len(body) * (1 if encoding is None else COMPRESSION) >= THREAD_FROM_BYTES:
        return None
    if encoding is not None:
        try:
            body = decompress(body, encoding, min(THREAD_FROM_BYTES, limits.max_decompressed_bytes))
        except HTTPError as error:
            if (
                error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                and limits.max_decompressed_bytes > THREAD_FROM_BYTES
            ):
                return None
            raise
    if admission.name in NATIVE:
        found = native.sound(admission.name, admission.headers, body, admission.monitor.spec)
        if found is not None:
            return _sort(admission.monitor, found, limits)
    is_little = len(body) <= LITTLE_BYTES and sum(map(body.count, (b",", b"[", b"{", b"\n"))) <= LITTLE_VALUES
    return _read(admission, body, limits) if is_little else None


def _parse(admission: Admission, body: bytes, limits: Limits) -> Parts:
    """Events of a body by kind, encoded for the log."""
    if "content-encoding" in admission.headers:
        body = decompress(body, admission.headers["content-encoding"], limits.max_decompressed_bytes)
    return _read(admission, body, limits)


def _read(admission: Admission, body: bytes, limits: Limits) -> Parts:
    try:
        if not otlp_protobuf.is_protobuf(admission.headers):  # which counts for itself
            lenient.check_values(body)
        found = admission.adapter(admission.headers, body, admission.monitor.spec)
        return _sort(admission.monitor, found, limits)
    except SightlineError as error:
        status = 413 if isinstance(error, lenient.TooMuchError) else 400
        message = f"{error.where}: {error.what}" if error.where else error.what
        fix = error.fix or ""
    raise HTTPError(
        status, message, fix
    )  # out here it does not hold the error before it, and what was made of the body


def _sort(monitor: ServedMonitor, found: Sequence[Any], limits: Limits) -> Parts:
    if len(found) > limits.max_rows:
        raise HTTPError(
            413, f"{len(found)} rows in one request; at most {limits.max_rows}", "send fewer rows per request"
        )
    if found and isinstance(found[0], MarkEvent):  # it is alone
        return {MARKS: Part(found, range(1))}
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
