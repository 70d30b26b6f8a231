"""Payload loggers send the request and the response of a call as two events; here the halves become one inference.

Halves wait in the lake (``lake/halves``) until the other one comes. When a day of newer data has gone by, a half is
loaded as it is, with a note in the quarantine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from sightline.lake.store.parts import Staging, quarantine_frame, scan_parts
from sightline.lake.store.schema import HALF_SCHEMA
from sightline.log.events import InferenceEvent

PATIENCE = timedelta(days=1)
REQUEST_FIRST = ("at", "entity", "query", "weight", "trace")
"""Fields the request decides if it has them; all others are the response's."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(InferenceEvent).decode


@dataclass(frozen=True)
class Half:
    """One half, and where it came from."""

    event: InferenceEvent
    batch_id: str
    row_number: int
    received_at: datetime


@dataclass
class HalvesDone:
    """What came of some halves.

    Attributes
    ----------
    events : list of (int, InferenceEvent)
        Whole inferences, with the row number of the half that completed them.
    expired : list of Half
        Halves whose other one did not come.
    waiting, paired, repeated : Counter of str
        Halves by batch: those that wait, earlier ones that no longer do, and repetitions of one that waits.
    """

    events: list[tuple[int, InferenceEvent]] = field(default_factory=list[tuple[int, InferenceEvent]])
    expired: list[Half] = field(default_factory=list[Half])
    waiting: Counter[str] = field(default_factory=Counter[str])
    paired: Counter[str] = field(default_factory=Counter[str])
    repeated: Counter[str] = field(default_factory=Counter[str])


def join_halves(request: InferenceEvent, response: InferenceEvent) -> InferenceEvent:
    """One inference of a request and its response."""
    joined: dict[str, Any] = {}
    for name in InferenceEvent.__struct_fields__:
        first, second = (request, response) if name in REQUEST_FIRST else (response, request)
        value = getattr(first, name)
        joined[name] = getattr(second, name) if value is None else value
    joined["features"] = {**response.features, **request.features}
    joined["received_at"] = max(filter(None, (request.received_at, response.received_at)), default=None)
    joined["part"] = None
    return InferenceEvent(**joined)


class HalfWork:
    """Joins the halves of one commit with each other and with those that wait in the lake."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self.waiting: dict[str, Half] | None = None
        self.newest: datetime | None = None

    def add(self, batch_id: str, halves: Sequence[tuple[int, InferenceEvent]], fallback: datetime) -> HalvesDone:
        """Take in the halves of a batch, in the order they were logged; `fallback` is its time of receipt."""
        waiting = self._load()
        done = HalvesDone()
        for row_number, event in halves:
            received = event.received_at or fallback
            self.newest = received if self.newest is None else max(self.newest, received)
            other = waiting.get(event.id)
            if other is None:
                waiting[event.id] = Half(event, batch_id, row_number, received)
                done.waiting[batch_id] += 1
            elif other.event.part == event.part:
                done.repeated[batch_id] += 1
            else:
                del waiting[event.id]
                done.paired[other.batch_id] += 1
                is_request = event.part == "request"
                joined = join_halves(event, other.event) if is_request else join_halves(other.event, event)
                done.events.append((row_number, joined))
        return done

    def expire(self) -> HalvesDone:
        """Halves that have waited for a day of newer data."""
        done = HalvesDone()
        if self.waiting is None or self.newest is None:
            return done
        for half in [half for half in self.waiting.values() if half.received_at < self.newest - PATIENCE]:
            del self.waiting[half.event.id]
            done.paired[half.batch_id] += 1
            done.expired.append(half)
        return done

    def finish(self, seq: int) -> None:
        """Stage the halves that still wait."""
        if self.waiting is None:
            return
        for part in self.staging.live("halves"):
            self.staging.replace(part)
        if self.waiting:
            self.staging.add("halves", None, _frame(self.waiting.values()), seq)

    def _load(self) -> dict[str, Half]:
        if self.waiting is None:
            files = [self.staging.file(part) for part in self.staging.live("halves")]
            found = scan_parts(files, HALF_SCHEMA).sort("seq").collect()
            self.waiting = {
                row["prediction_id"]: Half(
                    _decode(row["event"]), row["batch_id"], row["row_number"], row["received_at"].replace(tzinfo=UTC)
                )
                for row in found.iter_rows(named=True)
            }
        return self.waiting


def unpaired_notes(halves: Sequence[Half], source: str) -> pl.DataFrame:
    """Quarantine notes for halves that were loaded alone."""
    return quarantine_frame(
        [
            {
                "kind": "inferences",
                "batch_id": half.batch_id,
                "source": source,
                "row_number": half.row_number,
                "prediction_id": half.event.id,
                "reason": f"unpaired_{half.event.part}",
                "severity": "note",
                "received_at": half.received_at.astimezone(UTC).replace(tzinfo=None),
            }
            for half in halves
        ]
    )


def _frame(halves: Iterable[Half]) -> pl.DataFrame:
    rows = [
        {
            "seq": number,
            "prediction_id": half.event.id,
            "batch_id": half.batch_id,
            "row_number": half.row_number,
            "received_at": half.received_at.astimezone(UTC).replace(tzinfo=None),
            "event": _encode(half.event),
        }
        for number, half in enumerate(halves)
    ]
    return pl.DataFrame(rows, schema=HALF_SCHEMA)
