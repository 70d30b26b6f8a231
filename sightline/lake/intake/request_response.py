"""Payload loggers send the request and the response of a call as two events; here the halves become one inference.

A call of several rows has one half for each of them, ``<id>:<row>``; where the server answered it with an error there
is one response for all, ``<id>``, and every row gets it.

Halves wait in the lake (``lake/halves``) until the other one comes. When a day of newer data has gone by, a half is
loaded as it is, with a note in the quarantine.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from sightline.lake.intake.roles import SUCCESS
from sightline.lake.store.parts import Staging, quarantine_frame, scan_parts
from sightline.lake.store.schema import HALF_SCHEMA
from sightline.log.events import InferenceEvent
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import keys_between

PATIENCE = timedelta(days=1)
REQUEST_FIRST = ("at", "entity", "query", "weight", "trace")
"""Fields the request decides if it has them; all others are the response's."""

ROW_OF_CALL = re.compile(r"(.+):(?:0|[1-9][0-9]*)", re.DOTALL)

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
        Halves whose other one did not come, and whose call is not in the lake.
    waiting, paired, repeated : Counter of str
        Halves by batch: those that wait, earlier ones that no longer do, and repetitions of one that waits.
    late : Counter of str
        Halves by batch that waited, and are repetitions: their call is in the lake.
    n_more : int
        Rows that error answers completed beyond one each: such an answer counts once for every row that waited for it.
    """

    events: list[tuple[int, InferenceEvent]] = field(default_factory=list[tuple[int, InferenceEvent]])
    expired: list[Half] = field(default_factory=list[Half])
    waiting: Counter[str] = field(default_factory=Counter[str])
    paired: Counter[str] = field(default_factory=Counter[str])
    repeated: Counter[str] = field(default_factory=Counter[str])
    late: Counter[str] = field(default_factory=Counter[str])
    n_more: int = 0


def join_halves(request: InferenceEvent, response: InferenceEvent) -> InferenceEvent:
    """One inference of a request and its response."""
    joined: dict[str, Any] = {}
    for name in InferenceEvent.__struct_fields__:
        first, second = (request, response) if name in REQUEST_FIRST else (response, request)
        value = getattr(first, name)
        joined[name] = getattr(second, name) if value is None else value
    joined["id"] = request.id  # of an error answer it is that of the call
    if request.source == "otlp":  # the event with the texts is written when the call is over: the span tells its start
        joined["at"] = min(filter(None, (request.at, response.at)), default=None)
    joined["features"] = {**response.features, **request.features}
    joined["received_at"] = max(filter(None, (request.received_at, response.received_at)), default=None)
    joined["part"] = None
    return InferenceEvent(**joined)


def _call_of(row_id: str) -> str | None:
    """Id of the call of several rows that a row's half belongs to, if it looks like one."""
    found = ROW_OF_CALL.fullmatch(row_id)
    return found[1] if found else None


def _answers_all(event: InferenceEvent) -> bool:
    """Whether this is an error answer: it speaks for all rows of its call."""
    is_empty = event.prediction is None and event.score is None and event.class_scores is None
    failed = event.status is not None and str(event.status).strip().lower() not in SUCCESS
    return event.part == "response" and failed and is_empty


class HalfWork:
    """Joins the halves of one commit with each other and with those that wait in the lake."""

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self.waiting: dict[str, Half] | None = None
        self.rows_of: defaultdict[str, dict[str, None]] = defaultdict(dict[str, None])
        """Waiting requests by the id of their call of several rows."""
        self.newest: datetime | None = None

    def add(self, batch_id: str, halves: Sequence[tuple[int, InferenceEvent]], fallback: datetime) -> HalvesDone:
        """Take in the halves of a batch, in the order they were logged; `fallback` is its time of receipt."""
        waiting = self._load()
        done = HalvesDone()
        spent: dict[str, None] = {}
        for row_number, event in halves:
            received = event.received_at or fallback
            self.newest = received if self.newest is None else max(self.newest, received)
            other = waiting.get(event.id)
            if other is None:
                answer = self._answer_to(event)
                if answer is not None:  # it is kept for the other rows of the call, which stand beside this one
                    if answer.event.id not in spent:
                        done.paired[answer.batch_id] += 1
                    spent[answer.event.id] = None
                    done.events.append((row_number, join_halves(event, answer.event)))
                elif not self._spread(event, row_number, done):
                    self._wait(Half(event, batch_id, row_number, received))
                    done.waiting[batch_id] += 1
            elif other.event.part == event.part:
                done.repeated[batch_id] += 1
            else:
                self._remove(event.id)
                done.paired[other.batch_id] += 1
                is_request = event.part == "request"
                joined = join_halves(event, other.event) if is_request else join_halves(other.event, event)
                done.events.append((row_number, joined))
        for name in spent:
            self._remove(name)
        return done

    def _answer_to(self, request: InferenceEvent) -> Half | None:
        """The error answer that waits for the call this request is a row of."""
        call = _call_of(request.id) if request.part == "request" else None
        found = None if call is None else self._load().get(call)
        is_for_all = found is not None and _answers_all(found.event) and found.event.source == request.source
        return found if is_for_all else None

    def _spread(self, answer: InferenceEvent, row_number: int, done: HalvesDone) -> bool:
        """Give an error answer to the rows of its call that wait for it; False if there are none."""
        if not _answers_all(answer):
            return False
        waiting = self._load()
        rows = [waiting[name] for name in self.rows_of.get(answer.id, ())]
        rows = [half for half in rows if half.event.source == answer.source]
        for half in rows:
            self._remove(half.event.id)
            done.paired[half.batch_id] += 1
            done.events.append((row_number, join_halves(half.event, answer)))
        done.n_more += max(len(rows) - 1, 0)
        return bool(rows)

    def _wait(self, half: Half) -> None:
        self._load()[half.event.id] = half
        self._index(half)

    def _index(self, half: Half) -> None:
        call = _call_of(half.event.id) if half.event.part == "request" else None
        if call is not None:
            self.rows_of[call][half.event.id] = None

    def _remove(self, name: str) -> None:
        del self._load()[name]
        call = _call_of(name)
        if call in self.rows_of:
            self.rows_of[call].pop(name, None)
            if not self.rows_of[call]:
                del self.rows_of[call]

    def overdue(self) -> list[Half]:
        """Halves that have waited for a day of newer data."""
        if self.waiting is None or self.newest is None:
            return []
        return [half for half in self.waiting.values() if half.received_at < self.newest - PATIENCE]

    def expire(self, overdue: Sequence[Half], spec: MonitorSpec) -> HalvesDone:
        """Let halves wait no longer; all rows of the open commit have been staged.

        A half whose call is in the lake was sent again: loaded alone, it would be a second prediction with the id (the
        halves may name different versions), and take the label of the first.
        """
        done = HalvesDone()
        known = _known_calls(overdue, spec, self.staging)
        for half in overdue:
            self._remove(half.event.id)
            if half.event.id in known:
                done.late[half.batch_id] += 1
            else:
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
            for half in self.waiting.values():
                self._index(half)
        return self.waiting


def _known_calls(halves: Sequence[Half], spec: MonitorSpec, staging: Staging) -> set[str]:
    """Ids of halves under which the lake holds a prediction of that time, as it was logged or corrected since."""
    ids_of: defaultdict[str, set[str]] = defaultdict(set[str])
    for half in halves:
        at = max(half.event.at or half.received_at, spec.first_window + PATIENCE)
        for key in keys_between(spec, spec.key(at - PATIENCE), spec.key(at + PATIENCE)):
            ids_of[key].add(half.event.id)
    parts = [part for kind in ("inferences", "replaced") for part in staging.live(kind, ids_of)]
    ids = set[str]().union(*ids_of.values())
    found = scan_parts([staging.file(part) for part in parts], {"prediction_id": pl.String()})
    return set(found.filter(pl.col("prediction_id").is_in(list(ids))).collect()["prediction_id"]) if parts else set()


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
