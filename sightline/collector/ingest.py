"""From a request body to durable events and an answer: parse, drop exact repeats, commit, remember, observe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import msgspec

from sightline.collector.dedupe import Split
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
from sightline.log.writer import Commit, LogBusyError, LogWriteError

logger = logging.getLogger(__name__)

MAX_ERRORS = 100
"""Rejected rows listed in an answer at most; all of them are in the quarantine."""

THREAD_FROM_BYTES = 128 * 1024
"""Larger bodies are parsed on a thread, so that small requests need not wait for them."""


OBSERVED_AT_ONCE = 500
"""Guards look at so many events before other requests have their turn."""


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
        parsed = await asyncio.to_thread(_parse, monitor, adapter, headers, body)
    else:
        parsed = _parse(monitor, adapter, headers, body)
    started = time.perf_counter()
    source = "native" if name in (INFERENCES, LABELS) else name
    commits: list[Commit] = []
    splits: dict[str, Split] = {}
    try:
        for kind in parsed.events:
            events, encoded = parsed.events[kind], parsed.encoded[kind]
            if kind != REJECTED:
                split = splits[kind] = monitor.recent[kind].split(kind, events, encoded)
                events, encoded = split.events, split.encoded
            if events:
                commits.append(
                    monitor.writers[kind].submit(events, received_at=received_at, source=source, encoded=encoded)
                )
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
        answer.accepted += len(split.events)
        answer.duplicate += split.duplicates
        metrics.events[monitor.spec.id, kind, "accepted"] += len(split.events)
        metrics.events[monitor.spec.id, kind, "duplicate"] += split.duplicates
    _report_rejected(answer, parsed.events.get(REJECTED, []), metrics, monitor.spec.id)
    if INFERENCES in splits:
        await _observe(monitor, splits[INFERENCES], received_at, metrics)
    return answer


def _parse(monitor: ServedMonitor, adapter: Adapter, headers: Mapping[str, str], body: bytes) -> _Parsed:
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


async def _observe(monitor: ServedMonitor, split: Split, received_at: datetime, metrics: Metrics) -> None:
    if monitor.observer is None:
        return
    events = cast("Sequence[InferenceEvent]", split.events)
    duplicates = split.duplicates
    try:
        for start in range(0, max(len(events), 1), OBSERVED_AT_ONCE):
            monitor.observer.observe(events[start : start + OBSERVED_AT_ONCE], received_at, duplicates)
            duplicates = 0
            if start + OBSERVED_AT_ONCE < len(events):
                await asyncio.sleep(0)
    except Exception:  # the events are logged already: a guard's defect must not make the sender repeat them
        metrics.observer_errors += 1
        logger.exception("a guard of %s failed on a batch", monitor.spec.id)
