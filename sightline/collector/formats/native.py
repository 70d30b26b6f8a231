"""The native format: JSON object, array of objects, or NDJSON.

A row is an event (``{"id", "at", "version", "features": {...}, "score", ...}``, a label ``{"id", "value", "at"}``), or
a flat row under the column names of the monitor's YAML (``{"flight_id", "distance", "p_late", ...}``). A body whose
rows are all sound events is decoded and validated in one pass; otherwise each row is looked at on its own, and the bad
ones come back as `RejectedEvent`.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sightline.collector.formats import lenient, rows
from sightline.collector.formats.features import canonical, feature_names, features_type
from sightline.errors import SightlineError
from sightline.log.events import (
    EARLIEST,
    EVENT_TYPES,
    INFERENCES,
    LABELS,
    LATEST,
    MAX_ID_LENGTH,
    EventError,
    InferenceEvent,
    LabelEvent,
    RejectedEvent,
    build_event,
)
from sightline.log.resend import REPLAY_HEADER
from sightline.narrowing import Json
from sightline.spec.model import MonitorSpec

REVISION_FIELDS = {"supersedes", "withdrawn", "observed_at"}
MAX_FIELDS = 2_000
MISSPELT = 0.8
"""Share of letters in common (difflib's ratio) from which one name is a misspelling of another."""
MAX_COMPARED = 32
"""Unknown columns of a row that are looked at for misspellings."""
MAX_NAME_LENGTH = 256
MAX_TEXT_LENGTH = 65_536
MAX_PAYLOAD = 4_000

Event = InferenceEvent | LabelEvent | RejectedEvent

_Name: Any = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
_Text: Any = Annotated[str, Meta(max_length=MAX_TEXT_LENGTH)]
_Scalar: Any = None | bool | int | float | _Text
_Value: Any = None | bool | int | float | _Text | list[_Scalar | list[_Scalar]] | dict[str, _Scalar]
_Word: Any = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_WordScalar: Any = None | bool | _Word | float | _Text
_WordValue: Any = None | bool | _Word | float | _Text | list[_WordScalar | list[_WordScalar]] | dict[str, _WordScalar]
_ClassScores: Any = Annotated[dict[_Name, float | None], Meta(max_length=MAX_FIELDS)]
_Trace: Any = Annotated[dict[_Name, _Scalar], Meta(max_length=MAX_FIELDS)]
_Id: Any = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]


_INFERENCE_FIELDS: list[tuple[str, Any] | tuple[str, Any, Any]] = [
    ("id", _Id),
    ("version", _Text | None, None),
    ("features", Annotated[dict[_Name, _Value], Meta(max_length=MAX_FIELDS)], msgspec.field(default_factory=dict)),
    ("prediction", _Text | int | float | bool | None, None),
    ("class_scores", _ClassScores | None, None),
    ("entity", _Text | None, None),
    ("query", _Text | None, None),
    ("status", _Text | _Word | bool | None, None),
    ("trace", _Trace | None, None),
]
_LABEL_FIELDS: list[tuple[str, Any] | tuple[str, Any, Any]] = [("id", _Id), ("value", bool | int | float | _Text)]
_SET_BY_THE_LOG: list[tuple[str, Any] | tuple[str, Any, Any]] = [
    ("received_at", None, None),
    ("source", Literal[""], ""),
]


def _bounded(name: str, base: type, fields: list[tuple[str, Any] | tuple[str, Any, Any]]) -> Any:
    """`base` with bounded field types; its other fields stay as they are."""
    return msgspec.defstruct(
        name,
        fields,
        bases=(base,),
        kw_only=True,
        omit_defaults=True,
        forbid_unknown_fields=True,
        gc=False,
        module=__name__,
    )


# Events as they may come from outside: bounded, and without the fields that adapters and the log set.
NativeInference = _bounded(
    "NativeInference", InferenceEvent, [*_INFERENCE_FIELDS, *_SET_BY_THE_LOG, ("part", None, None)]
)
NativeLabel = _bounded("NativeLabel", LabelEvent, [*_LABEL_FIELDS, *_SET_BY_THE_LOG])

NATIVE_TYPES: dict[str, Any] = {INFERENCES: NativeInference, LABELS: NativeLabel}

_Numbered: Any = datetime | int | float | None
_NUMBERED: dict[str, Any] = {
    INFERENCES: [("at", _Numbered, None), ("observed_at", _Numbered, None)],
    LABELS: [("at", _Numbered, None), ("predicted_at", _Numbered, None)],
}


def inferences(headers: Mapping[str, str], body: bytes, spec: MonitorSpec) -> list[Event]:
    """Adapter for ``POST /v1/monitors/<id>/inferences``; `headers` has lower-case names.

    Raises
    ------
    SightlineError
        If the body as a whole is no JSON.
    """
    return parse(INFERENCES, headers, body, spec)


def labels(headers: Mapping[str, str], body: bytes, spec: MonitorSpec) -> list[Event]:
    """Adapter for ``POST /v1/monitors/<id>/labels``; see `inferences`."""
    return parse(LABELS, headers, body, spec)


@lru_cache(maxsize=256)
def _types(kind: str, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Types of an event to try in turn, the quickest first: its features as a Struct of the monitor's, then as a dict.

    The last one takes times as numbers.
    """
    loose = NATIVE_TYPES[kind]
    features = features_type(names, _WordValue) if kind == INFERENCES else None
    if features is None:
        return loose, _bounded("Numbered", loose, _NUMBERED[kind])
    quick = _bounded("QuickInference", loose, [("features", features, msgspec.field(default_factory=dict))])
    return quick, loose, _bounded("Numbered", quick, _NUMBERED[kind])


@lru_cache(maxsize=1024)
def _decoders(event: Any) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    """For one event, and for an array of them."""
    return msgspec.json.Decoder(event), msgspec.json.Decoder(list[event])


def parse(kind: str, headers: Mapping[str, str], body: bytes, spec: MonitorSpec) -> list[Event]:
    """Events and rejected rows of a body, in its order."""
    events = sound(kind, headers, body, spec)
    return row_by_row(kind, headers, body, spec) if events is None else events


def sound(kind: str, headers: Mapping[str, str], body: bytes, spec: MonitorSpec) -> list[Event] | None:
    """Events of a body whose rows are all sound events; None where each row has to be looked at on its own."""
    names = feature_names(spec.columns) if kind == INFERENCES else ()
    types = () if REPLAY_HEADER in headers else _types(kind, names)
    if lenient.has_long_rows(body, _is_lines(headers)):
        return None
    for left, event_type in enumerate(types, 1 - len(types)):
        try:
            events = _decode(event_type, body, _is_lines(headers))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if left == 0 and not _read_numbers(kind, events):
            continue
        if len(types) > 2 and event_type is NativeInference:
            for event in events:
                event.features = canonical(event.features, names)
        return _timed(kind, events)
    return None


def row_by_row(kind: str, headers: Mapping[str, str], body: bytes, spec: MonitorSpec) -> list[Event]:
    """Events and rejected rows of a body; much slower than `sound`."""
    names = feature_names(spec.columns) if kind == INFERENCES else ()
    is_replay = REPLAY_HEADER in headers
    found: list[Event] = []
    for number, row in enumerate(_loose_rows(body, _is_lines(headers), () if is_replay else _types(kind, names))):
        if isinstance(row, InferenceEvent | LabelEvent):
            found += _timed(kind, [row], number)
            continue
        event = _event(kind, row, spec, number, is_replay)
        if isinstance(event, InferenceEvent):
            event.features = canonical(event.features, names)
        found.append(event)
    return found


def _is_lines(headers: Mapping[str, str]) -> bool:
    return "ndjson" in headers.get("content-type", "") or "jsonl" in headers.get("content-type", "")


def _decode(event: Any, body: bytes, is_lines: bool) -> list[Any]:
    one, many = _decoders(event)
    if is_lines:
        return one.decode_lines(body)
    return many.decode(body) if body[:1] == b"[" else [one.decode(body)]


def _timed(kind: str, events: list[Any], first: int = 0) -> list[Event]:
    """The events with times in UTC; those outside the range are rejected. `first` is the row of the first one."""
    found: list[Event] = events
    for i, event in enumerate(events):
        at = event.at
        if at is not None:
            if at.tzinfo is None:
                event.at = at = at.replace(tzinfo=UTC)
            if not EARLIEST <= at < LATEST:
                found[i] = _out_of_range(kind, event, first + i)
                continue
        other = "predicted_at" if kind == LABELS else "observed_at"
        if (moment := getattr(event, other)) is not None:
            in_utc = _aware(moment)
            setattr(event, other, in_utc)
            if not EARLIEST <= in_utc < LATEST:
                found[i] = _out_of_range(kind, event, first + i)
    return found


def _read_numbers(kind: str, events: list[Any]) -> bool:
    """Put datetimes where times are numbers; False if one of these is no time."""
    for name, *_ in _NUMBERED[kind]:
        for event in events:
            value = getattr(event, name)
            if isinstance(value, int | float):
                moment = rows.since_1970(value)
                if moment is None:
                    return False
                setattr(event, name, moment)
    return True


def _aware(moment: datetime) -> datetime:
    """Times without a zone are UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _out_of_range(kind: str, event: InferenceEvent | LabelEvent, number: int) -> RejectedEvent:
    message = f"a time is outside {EARLIEST.year} to {LATEST.year - 1}: wrong unit or clock?"
    return _rejected(
        kind, number, "timestamp_out_of_range", message, msgspec.json.encode(event), "at", event.at, event.id
    )


# ---- row by row ------------------------------------------------------------------------------------------------------


class _BadRow:
    """A row that is no JSON, or is not read."""

    def __init__(self, text: bytes, message: str, reason: str = "bad_json") -> None:
        self.text, self.message, self.reason = text, message, reason


def _loose_rows(body: bytes, is_lines: bool, types: tuple[Any, ...]) -> list[Any]:
    """Events where a row is one of these types, `_BadRow` where it is no JSON, else what the row decodes to."""
    if is_lines:
        return _lines(body, types)
    document = body.lstrip()
    try:
        if document[:1] == b"[":
            return [_loose_row(row, types) for row in lenient.elements(document)]
        return [_too_long(document) or lenient.decode(document)]
    except RecursionError as error:
        raise SightlineError("the body is nested too deeply", where="body") from error
    except lenient.UNREADABLE as error:
        if document[:1] == b"{" and b"\n" in document.strip():
            return _lines(body, types)
        raise SightlineError(
            f"the body is no JSON: {error}", where="body", fix="send an object, an array, or NDJSON"
        ) from error


def _lines(body: bytes, types: tuple[Any, ...]) -> list[Any]:
    lines = [line for line in lenient.lines(body) if line.strip()]
    lenient.check_rows(len(lines), "body")
    return [_loose_row(line, types) for line in lines]


def _loose_row(text: bytes, types: tuple[Any, ...]) -> Any:
    if (too_long := _too_long(text)) is not None:
        return too_long
    if types:
        with contextlib.suppress(*lenient.UNREADABLE):
            return _decoders(types[0])[0].decode(text)
    try:
        return lenient.decode(text)
    except lenient.UNREADABLE as error:
        return _BadRow(text, f"the row is no JSON: {error}")
    except lenient.TooMuchError as error:
        return _BadRow(text, error.what, "limit_exceeded")


def _too_long(text: bytes) -> _BadRow | None:
    """What stands for a row of too many values."""
    if lenient.has_more_values(text, lenient.MAX_ROW_VALUES):
        return _BadRow(text, f"the row holds more than {lenient.MAX_ROW_VALUES} values", "limit_exceeded")
    return None


def _event(kind: str, row: Json | _BadRow, spec: MonitorSpec, number: int, is_replay: bool = False) -> Event:
    if isinstance(row, _BadRow):
        return _rejected(kind, number, row.reason, row.message, row.text)
    try:
        event = build_event(kind, row, stored=True) if is_replay else _build(kind, row, spec)
        if isinstance(event, RejectedEvent):
            event.row = number
        else:
            _check_limits(event)
        return event
    except EventError as error:
        identity = row.get("id") if isinstance(row, Mapping) else None
        return _rejected(
            kind, number, error.reason, error.message, rows.as_json(row), error.column, error.value, identity
        )
    except SightlineError as error:
        return _rejected(kind, number, "bad_row", error.what, rows.as_json(row), error.where)


def _build(kind: str, row: Json, spec: MonitorSpec) -> Event:
    if isinstance(row, Mapping) and _is_flat(kind, row, spec):
        if kind == INFERENCES:
            return build_event(kind, rows.with_times(_fields_of(spec, row)))
        observed_at = spec.labels.observed_at if spec.labels else None
        return rows.label_event(spec, row, at=row.get(observed_at) if observed_at else None)
    return build_event(kind, rows.with_times(row) if isinstance(row, Mapping) else row)


def _fields_of(spec: MonitorSpec, row: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an inference from a flat row.

    Columns that are features stay features; what the YAML does not name does too.
    """
    columns = spec.columns
    features = dict(row)
    fields: dict[str, Any] = {"features": features}
    for field, column in (
        ("id", columns.prediction_id),
        ("at", columns.timestamp),
        ("version", columns.model_version),
        ("score", columns.score),
        ("prediction", columns.prediction),
        ("entity", columns.entity_id),
        ("query", columns.query_id),
        ("status", columns.status),
        ("latency_ms", columns.latency_ms),
        ("weight", columns.weight),
        *((field, column) for column, field in rows.revision_columns(spec)),
    ):
        if column is not None and column in row:
            fields[field] = row[column]
            if column not in columns.features:
                features.pop(column, None)
    scores = {name: features.pop(column) for name, column in columns.class_scores.items() if column in features}
    missing = tuple(
        c for c in (columns.score, columns.prediction, *columns.class_scores.values()) if c is not None and c not in row
    )
    if missing:
        for name in [c for c in features if c not in columns.features][:MAX_COMPARED]:
            meant = _meant(str(name), missing)
            if meant is not None:
                raise EventError("unknown_field", f"unknown column {name!r}. Did you mean {meant!r}?", str(name))
    return fields | ({"class_scores": scores} if scores else {})


@lru_cache(maxsize=4096)
def _meant(name: str, missing: tuple[str, ...]) -> str | None:
    """The missing output that an unknown column is a misspelling of.

    It would leave the prediction without its output.
    """
    return next(iter(difflib.get_close_matches(name[:MAX_NAME_LENGTH], missing, n=1, cutoff=MISSPELT)), None)


def _is_flat(kind: str, row: Mapping[str, Any], spec: MonitorSpec) -> bool:
    """Is the row under the YAML's column names? Then it has the id column, and something that no event has."""
    column = spec.columns.prediction_id
    if kind == LABELS and spec.labels is not None:
        column = spec.labels.prediction_id or column
    fields = {*EVENT_TYPES[kind].__struct_fields__}
    if kind == INFERENCES:  # a column of such a name that plays another part is no field
        fields -= REVISION_FIELDS - {column for column, _ in rows.revision_columns(spec)}
    return column in row and not isinstance(row.get("features"), Mapping) and not all(name in fields for name in row)


def _check_limits(event: InferenceEvent | LabelEvent) -> None:
    """The same limits that the fast pass holds: refuse what is too long, too many, or nested too deeply."""
    try:
        msgspec.convert(msgspec.to_builtins(event, builtin_types=(datetime,)), _LIMITED[type(event)])
    except msgspec.ValidationError as error:
        raise EventError("limit_exceeded", f"the row exceeds a limit: {error}") from None


_LIMITED = {
    InferenceEvent: _bounded("LimitedInference", InferenceEvent, _INFERENCE_FIELDS),
    LabelEvent: _bounded("LimitedLabel", LabelEvent, [("id", _Id), ("value", bool | int | float | _Text | None, None)]),
}


def _rejected(
    kind: str,
    number: int,
    reason: str,
    message: str,
    payload: bytes,
    column: str | None = None,
    value: object = None,
    identity: object = None,
) -> RejectedEvent:
    return RejectedEvent(
        kind=kind,
        reason=reason,
        message=message[:1000],
        column=None if column is None else column[:MAX_NAME_LENGTH],
        value=None if value is None else str(value)[:200],
        id=None if identity is None else str(identity)[:MAX_ID_LENGTH],
        row=number,
        payload=payload[: 4 * MAX_PAYLOAD].decode("utf-8", "replace")[:MAX_PAYLOAD],
    )
