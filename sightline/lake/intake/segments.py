"""Sealed log segments to chunks: events become columns, rejected events and damaged frames become bad records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.intake.chunks import (
    MAX_PAYLOAD_BYTES,
    OBJECT_ROWS,
    BadRecord,
    Chunk,
    UnreadableError,
    field_names,
    gather,
    no_gc,
    typed_series,
)
from sightline.lake.intake.roles import Role, roles
from sightline.lake.intake.sources import Batch
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.log.reader import Rejection, read_segment
from sightline.spec.model import MonitorSpec

EVENT_FIELDS = {
    "prediction_id": "id",
    "model_version": "version",
    "entity_id": "entity",
    "query_id": "query",
    "score": "score",
    "prediction": "prediction",
    "status": "status",
    "latency_ms": "latency_ms",
    "weight": "weight",
}
"""Role -> field of `InferenceEvent`; where the field is empty, a feature with the spec's column name stands in."""

FLAGS = ("is_correction", "is_withdrawn", "observed_at")
"""Roles that are fields of an event under names of their own."""


def load_segment(batch: Batch, home: Home) -> tuple[list[Any], list[BadRecord]]:
    """Events of a segment and what could not be read of it.

    Raises
    ------
    UnreadableError
        The file is no segment, or its header is damaged.
    """
    try:
        with no_gc():
            segment = read_segment(batch.file(home))
    except SightlineError as error:
        raise UnreadableError("unreadable_file", str(error)) from error
    first = len(segment.events)
    return segment.events, [_bad_record(first + i, rejection) for i, rejection in enumerate(segment.rejections)]


def _bad_record(number: int, rejection: Rejection) -> BadRecord:
    message = f"offset {rejection.offset}: {rejection.message}"
    payload = rejection.payload[:MAX_PAYLOAD_BYTES].decode(errors="replace")
    return BadRecord(number, rejection.reason, message, payload, 1 if rejection.count is None else rejection.count)


def read_segment_chunks(spec: MonitorSpec, batch: Batch, home: Home, chunk_rows: int) -> Iterator[Chunk]:
    """Decode a segment of inferences or labels; see `sightline.lake.intake.read.read_chunks`."""
    events, bad = load_segment(batch, home)
    numbered = list(enumerate(events))
    halves = []
    if batch.kind == "inferences" and any(event.part for event in events):
        halves = [(number, event) for number, event in numbered if event.part]
        numbered = [(number, event) for number, event in numbered if not event.part]
    build = inference_chunk if batch.kind == "inferences" else label_chunk
    chunk_rows = min(chunk_rows, OBJECT_ROWS)
    for start in range(0, max(len(numbered), 1), chunk_rows):
        piece = numbered[start : start + chunk_rows]
        rows, numbers = [event for _, event in piece], [number for number, _ in piece]
        chunk = build(spec, batch, rows, numbers, bad if start == 0 else [])
        chunk.halves = halves if start == 0 else []
        yield chunk


def inference_chunk(
    spec: MonitorSpec, batch: Batch, events: Sequence[InferenceEvent], row_numbers: Sequence[int], bad: list[BadRecord]
) -> Chunk:
    """Inference events as columns under their role names."""
    features = [event.features for event in events]
    names = field_names(features)
    sought = gather(
        features, [name for name in dict.fromkeys(role.column for role in roles(spec, "inferences")) if name in names]
    )
    columns: list[pl.Series] = []
    missing: list[Role] = []
    for role in roles(spec, "inferences"):
        if role.name in FLAGS:
            continue
        if role.name == "predicted_at":
            columns.append(_times("predicted_at", [event.at for event in events]))
            continue
        field = EVENT_FIELDS.get(role.name)
        if field is not None:
            values = [getattr(event, field) for event in events]
            if role.column in names:
                values = [
                    other if value is None else value for value, other in zip(values, sought[role.column], strict=True)
                ]
        elif role.name.startswith("p_"):
            values = [None if event.class_scores is None else event.class_scores.get(role.name[2:]) for event in events]
        elif role.column in names:
            values = sought[role.column]
        else:
            missing.append(role)
            continue
        columns.append(typed_series(role.name, values, role.kind))
    # The event's own fields count although the spec names no column for them.
    have = {column.name for column in columns}
    for name, field in EVENT_FIELDS.items():
        if name not in have:
            kind = "numeric" if name in ("score", "latency_ms", "weight") else "categorical"
            columns.append(typed_series(name, [getattr(event, field) for event in events], kind))
    if any(event.supersedes or event.withdrawn for event in events):
        columns.append(pl.Series("is_correction", [event.supersedes for event in events], dtype=pl.Boolean))
        columns.append(pl.Series("is_withdrawn", [event.withdrawn for event in events], dtype=pl.Boolean))
        columns.append(_times("observed_at", [event.observed_at for event in events]))
    columns.append(_times("received_at", [event.received_at for event in events]))
    columns.append(pl.Series("row_number", list(row_numbers), dtype=pl.Int64))
    known = {role.column for role in roles(spec, "inferences")}
    return Chunk(
        batch,
        pl.DataFrame(columns),
        False,
        lambda rows: [_payload(events[i]) for i in rows],
        unknown=tuple(name for name in names if name not in known),
        missing=tuple(missing) if events else (),
        bad=bad,
    )


def label_chunk(
    spec: MonitorSpec, batch: Batch, events: Sequence[LabelEvent], row_numbers: Sequence[int], bad: list[BadRecord]
) -> Chunk:
    """Label events as columns under their role names."""
    kind = next((role.kind for role in roles(spec, "labels") if role.name == "label"), "categorical")
    frame = pl.DataFrame(
        [
            pl.Series("prediction_id", [event.id for event in events], dtype=pl.String),
            typed_series("label", [event.value for event in events], kind),
            pl.Series("is_retracted", [event.retracted for event in events], dtype=pl.Boolean),
            _times("observed_at", [event.at for event in events]),
            _times("predicted_at", [event.predicted_at for event in events]),
            _times("received_at", [event.received_at for event in events]),
            pl.Series("row_number", list(row_numbers), dtype=pl.Int64),
        ]
    )
    return Chunk(batch, frame, False, lambda rows: [_payload(events[i]) for i in rows], bad=bad)


def rejected_rows(batch: Batch, home: Home) -> tuple[list[dict[str, object]], list[BadRecord]]:
    """Quarantine rows of a segment of rows the collector refused; ``window_start`` is left to the caller."""
    events, bad = load_segment(batch, home)
    rows: list[dict[str, object]] = [
        {
            "kind": event.kind,
            "batch_id": batch.batch_id,
            "source": event.source or batch.path,
            "row_number": number,
            "prediction_id": event.id,
            "predicted_at": _naive(event.at),
            "column": event.column,
            "reason": event.reason,
            "value": event.value if event.value is not None else event.message[:200] or None,
            "severity": "row",
            "payload": event.payload,
            "received_at": _naive(event.received_at or batch.received_at),
        }
        for number, event in enumerate(events)
        if isinstance(event, RejectedEvent)
    ]
    return rows, bad


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _times(name: str, moments: list[datetime | None]) -> pl.Series:
    return pl.Series(name, moments, dtype=pl.Datetime("us", "UTC"))


def _payload(event: InferenceEvent | LabelEvent) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()[:MAX_PAYLOAD_BYTES]
