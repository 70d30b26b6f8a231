"""From a request body to durable events and an answer: parse, drop exact repeats, commit, remember, observe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from sightline.collector.dedupe import Repeats
from sightline.collector.formats import Adapter
from sightline.collector.limits import HTTPError
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
from sightline.log.replay import REPLAY_HEADER
from sightline.log.writer import Commit, LogBusyError, LogWriteError

logger = logging.getLogger(__name__)

MAX_ERRORS = 100
"""Rejected rows listed in an answer at most; all of them are in the quarantine."""

THREAD_FROM_BYTES = 128 * 1024
"""Larger bodies are parsed on a thread, so that small requests need not wait for them."""


class RowError(msgspec.Struct, omit_defaults=True):
    """Why one row was rejected."""

    row: int
    reason: str
    message: str
    column: str | None = None
    id: str | None = None


class Answer(msgspec.Struct):
    """Body of a 200: every row is accepted and durable, an exact repeat of one that is, or rejected and in quarantine."""

    accepted: int
    duplicate: int
    rejected: int
    errors: list[RowError] = []


@dataclass
class _Parsed:
    """Events of one request by kind, encoded for the log."""

    events: dict[str, list[Any]] = field(default_factory=dict)
    encoded: dict[str, Sequence[bytes]] = field(default_factory=dict)
    rows: dict[str, Sequence[int]] = field(default_factory=dict)
    findings: Any = None
    """What the guards see in the inferences."""


async def ingest(
    monitor: ServedMonitor, name: str, adapter: Adapter, headers: Mapping[str, str], body: bytes, metrics: Metrics
) -> Answer:
    """Log one body; returning means that it is on disk.

    Raises
    ------
    HTTPError
        400 (no such format), 413 (too many rows), 429 (too much waits for this monitor's disk), 503 (disk full or broken).
    """
    received_at = monitor.clock()
    if len(body) >= THREAD_FROM_BYTES:
        parsed = await asyncio.to_thread(_parse, monitor, adapter, headers, body, received_at, metrics)
    else:
        parsed = _parse(monitor, adapter, headers, body, received_at, metrics)
    started = time.perf_counter()
    source = "native" if name in (INFERENCES, LABELS) else name
    rejected = parsed.events.get(REJECTED, [])
    try:
        splits, commits = _submit(monitor, parsed, received_at, source, metrics)
        findings = parsed.findings
        del parsed  # memory that is used again at once stays in the processor's cache
        for commit in commits:
            await commit.wait_async()
    except LogBusyError as error:
        raise HTTPError(429, error.what, "wait, then send again", {"retry-after": "1"}) from error
    except LogWriteError as error:
        raise HTTPError(503, error.what, error.fix or "", {"retry-after": "10"}) from error
    metrics.commit_seconds.observe(time.perf_counter() - started)
    answer = Answer(0, 0, 0)
    for kind, split in splits.items():
        monitor.recent[kind].remember(split)
        answer.accepted += split.count
        answer.duplicate += split.duplicates
        metrics.events[monitor.spec.id, kind, "accepted"] += split.count
        metrics.events[monitor.spec.id, kind, "duplicate"] += split.duplicates
    _report_rejected(answer, rejected, metrics, monitor.spec.id)
    if INFERENCES in splits and findings is not None and monitor.observer is not None:
        try:
            monitor.observer.apply(findings, received_at, splits[INFERENCES].duplicates)
        except Exception:  # the events are logged already: a guard's defect must not make the sender repeat them
            _note_defect(monitor, metrics)
    return answer


def _submit(
    monitor: ServedMonitor, parsed: _Parsed, received_at: datetime, source: str, metrics: Metrics
) -> tuple[dict[str, Repeats], list[Commit]]:
    """Drop repeats and queue the rest for the disk."""
    commits: list[Commit] = []
    splits: dict[str, Repeats] = {}
    for kind in parsed.events:
        events, encoded = parsed.events[kind], parsed.encoded[kind]
        if kind != REJECTED:
            split = monitor.recent[kind].split(kind, events, encoded)
            splits[kind] = split.repeats
            events, encoded = split.events, split.encoded
            if parsed.findings is not None and kind == INFERENCES and split.duplicates:
                parsed.findings = _screen(monitor, split.events, received_at, metrics)
        if events:
            commits.append(
                monitor.writers[kind].submit(events, received_at=received_at, source=source, encoded=encoded)
            )
    return splits, commits


def _screen(monitor: ServedMonitor, events: Sequence[Any], received_at: datetime, metrics: Metrics) -> Any:
    """What the guards see; None without guards, or if they fail."""
    if monitor.observer is None:
        return None
    try:
        return monitor.observer.screen(events, received_at)
    except Exception:  # a guard's defect must not lose events
        _note_defect(monitor, metrics)
        return None


def _note_defect(monitor: ServedMonitor, metrics: Metrics) -> None:
    metrics.observer_errors += 1
    logger.exception("a guard of %s failed on a batch", monitor.spec.id)


def _parse(
    monitor: ServedMonitor,
    adapter: Adapter,
    headers: Mapping[str, str],
    body: bytes,
    received_at: datetime,
    metrics: Metrics,
) -> _Parsed:
    try:
        found = adapter(headers, body, monitor.spec)
    except SightlineError as error:
        raise HTTPError(400, f"{error.where}: {error.what}" if error.where else error.what, error.fix or "") from error
    max_rows = monitor.limits.max_rows
    if len(found) > max_rows:
        raise HTTPError(413, f"{len(found)} rows in one request; at most {max_rows}", "send fewer rows per request")
    parsed = _Parsed()
    numbered = range(len(found))
    if len({type(event) for event in found}) == 1:
        kind = _kind(found[0])
        parsed.events[kind], parsed.rows[kind] = found, numbered
    else:
        for kind in KINDS:
            rows = [row for row in numbered if _kind(found[row]) == kind]
            if rows:
                parsed.events[kind], parsed.rows[kind] = [found[row] for row in rows], rows
    for event, row in zip(parsed.events.get(REJECTED, ()), parsed.rows.get(REJECTED, ()), strict=True):
        event.row = row
    _encode(monitor, parsed)
    if INFERENCES in parsed.events and REPLAY_HEADER not in headers:  # what is replayed does not arrive now
        parsed.findings = _screen(monitor, parsed.events[INFERENCES], received_at, metrics)
    return parsed


def _kind(event: InferenceEvent | LabelEvent | RejectedEvent) -> str:
    return INFERENCES if isinstance(event, InferenceEvent) else LABELS if isinstance(event, LabelEvent) else REJECTED


UNSTORABLE = (OverflowError, TypeError, ValueError)
"""What the encoder raises for values that MessagePack cannot hold."""


def _encode(monitor: ServedMonitor, parsed: _Parsed) -> None:
    """Encode all events. Integers beyond 64 bits become doubles; what still cannot be stored is rejected."""
    for kind in (INFERENCES, LABELS):
        if kind not in parsed.events:
            continue
        encode = monitor.writers[kind].encode
        try:
            parsed.encoded[kind] = encode(parsed.events[kind])
            continue
        except UNSTORABLE:
            sound, encoded = [], []
        for event, row in zip(parsed.events[kind], parsed.rows[kind], strict=True):
            try:
                encoded += encode([_with_doubles(event)])
                sound.append(event)
            except UNSTORABLE as error:
                message = f"the row cannot be stored: {error}"
                rejected = RejectedEvent(kind=kind, reason="bad_type", message=message, id=event.id, row=row)
                parsed.events.setdefault(REJECTED, []).append(rejected)
        parsed.events[kind], parsed.encoded[kind] = sound, encoded
    if REJECTED in parsed.events:
        parsed.encoded[REJECTED] = monitor.writers[REJECTED].encode(parsed.events[REJECTED])


def _with_doubles(event: InferenceEvent | LabelEvent) -> InferenceEvent | LabelEvent:
    for name in ("features", "prediction", "status", "trace", "value"):
        if hasattr(event, name):
            setattr(event, name, storable(getattr(event, name)))
    return event


def _report_rejected(answer: Answer, rejected: Sequence[RejectedEvent], metrics: Metrics, monitor: str) -> None:
    if not rejected:
        return
    answer.rejected = len(rejected)
    answer.errors = [RowError(e.row, e.reason, e.message, e.column, e.id) for e in rejected[:MAX_ERRORS]]
    for event in rejected:
        metrics.events[monitor, event.kind, "rejected"] += 1
        metrics.rejections[monitor, event.reason] += 1
