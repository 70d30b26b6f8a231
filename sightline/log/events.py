"""What can be logged: inferences, labels, and rows that were refused.

The Structs are stored as MessagePack maps without default values, so that a field can be added without a new format.
They are decoded by the million and hold no cycles: the garbage collector need not look at them (``gc=False``).
`build_event` reads one loosely typed row (a decoded JSON object) and says in snake_case words why it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from sightline.errors import nearest
from sightline.narrowing import Json

INFERENCES = "inferences"
LABELS = "labels"
REJECTED = "rejected"
KINDS = (INFERENCES, LABELS, REJECTED)
"""Kinds of segments. ``rejected`` holds rows the collector refused; the lake shows them in the quarantine."""

MAX_ID_LENGTH = 512
MAX_DEPTH = 32
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Moments outside [EARLIEST, LATEST) are refused: they are wrong units or unset clocks."""

NON_FINITE = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}
"""Spellings of numbers JSON cannot write."""

FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0", "none", ""), False),
}
"""Words for yes and no."""


class InferenceEvent(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One prediction as the serving system made it.

    Attributes
    ----------
    id : str
        Identifies the prediction; labels refer to it.
    at : datetime or None
        When the prediction was made (aware, UTC); None: when it was received.
    version : str or None
        Version of the model that answered.
    features : dict
        Input values by feature name, as they came.
    score : float or None
        P(positive), or ranking score. May be NaN or infinite: the lake nulls and counts it.
    prediction : str, float, int, bool or None
        Predicted class or value.
    class_scores : dict or None
        Multiclass: probability per class.
    entity, query : str or None
        Whom the row is about (rows of one entity are dependent); the query it belongs to (ranking).
    status : str, int or None
        Outcome of the call: None, ``ok``, 200 and ``true`` are success.
    latency_ms : float or None
        Latency of the call in milliseconds.
    weight : float or None
        1 / sampling fraction.
    trace : dict or None
        ``trace_id``, ``span_id``, ``service.*`` of the call.
    supersedes : bool
        The event replaces what was logged before under its id and version.
    withdrawn : bool
        The prediction is taken back: only `id`, `version` (None: all) and `observed_at` have a meaning.
    observed_at : datetime or None
        When a correction or withdrawal became known (aware, UTC); None: when it was received.
    part : {"request", "response"} or None
        Half of a call whose request and response are logged apart (payload loggers); the lake joins halves by id.
    received_at : datetime or None
        When the log took it; kept once per frame, set by the reader.
    source : str
        Name of the wire format; kept once per frame, set by the reader.
    """

    id: str
    at: datetime | None = None
    version: str | None = None
    features: dict[str, Any] = {}
    score: float | None = None
    prediction: str | int | float | bool | None = None
    class_scores: dict[str, float | None] | None = None
    entity: str | None = None
    query: str | None = None
    status: str | int | bool | None = None
    latency_ms: float | None = None
    weight: float | None = None
    trace: dict[str, Any] | None = None
    supersedes: bool = False
    withdrawn: bool = False
    observed_at: datetime | None = None
    part: str | None = None
    received_at: datetime | None = None
    source: str = ""


class LabelEvent(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The truth about one prediction; a later one with the same id replaces it (all are kept), or takes it back.

    Attributes
    ----------
    id : str
        The prediction's id.
    value : any
        True class or value.
    at : datetime or None
        When the truth became known (aware, UTC); None: when it was received.
    predicted_at : datetime or None
        When the prediction was made, if the sender knows: finds the window without a look-up.
    retracted : bool
        The label is taken back: `at` is when that became known, and a value has no meaning.
    received_at, source
        As in `InferenceEvent`.
    """

    id: str
    value: Any = None
    at: datetime | None = None
    predicted_at: datetime | None = None
    retracted: bool = False
    received_at: datetime | None = None
    source: str = ""


class RejectedEvent(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One row the collector refused, with the reason; fields as in the lake's quarantine.

    Attributes
    ----------
    kind : str
        ``inferences`` or ``labels``: what the row would have been.
    reason : str
        Snake_case word, such as ``missing_id`` or ``bad_timestamp``.
    message : str
        The reason for a human being.
    column : str or None
        Field that is wrong.
    value : str or None
        Its value, at most 200 characters.
    id : str or None
        Prediction id, where one could be read.
    at : datetime or None
        Prediction time, where one could be read.
    row : int
        Position of the row in its request.
    payload : str
        The row as JSON (or the bytes as text), at most 4 kB.
    """

    kind: str
    reason: str
    message: str = ""
    column: str | None = None
    value: str | None = None
    id: str | None = None
    at: datetime | None = None
    row: int = 0
    payload: str = ""
    received_at: datetime | None = None
    source: str = ""


Event = InferenceEvent | LabelEvent | RejectedEvent
EVENT_TYPES: dict[str, type[InferenceEvent] | type[LabelEvent] | type[RejectedEvent]] = {
    INFERENCES: InferenceEvent,
    LABELS: LabelEvent,
    REJECTED: RejectedEvent,
}
_FIELDS = {kind: frozenset(cls.__struct_fields__) for kind, cls in EVENT_TYPES.items()}
_SET_BY_THE_LOG = frozenset({"received_at", "source", "part"})
"""Fields that adapters and the log set; rows from outside may not carry them."""


class EventError(ValueError):
    """Why one row is no event.

    Parameters
    ----------
    reason : str
        Snake_case word for the quarantine.
    message : str
        Sentence for a human being.
    column : str, optional
        Field that is wrong.
    value : object, optional
        Its value; kept as text of at most 200 characters.
    """

    def __init__(self, reason: str, message: str, column: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.column = reason, message, column
        self.value = None if value is None else str(value)[:200]


def build_event(kind: str, row: Json, *, stored: bool = False) -> InferenceEvent | LabelEvent:
    """Turn one decoded JSON object into an event, forgiving harmless spellings.

    Ids and versions may be integers, times RFC 3339 text (without a zone: UTC), non-finite numbers the words of
    `NON_FINITE`, numbers decimal text.

    Parameters
    ----------
    kind : {"inferences", "labels"}
        What the row is to be.
    row : Json
        The decoded row.
    stored : bool
        The row comes from a segment, where ``received_at`` and ``source`` are allowed.

    Raises
    ------
    EventError
        With the reason why the row is refused.
    """
    if not isinstance(row, Mapping):
        raise EventError("bad_type", f"a row must be an object, not {_json_type(row)}")
    allowed = _FIELDS[kind] if stored else _FIELDS[kind] - _SET_BY_THE_LOG
    for name in row:
        if name not in allowed:
            raise EventError(
                "unknown_field", f"unknown field {name!r}. {nearest(str(name), allowed)}", str(name), row[name]
            )
    if kind == LABELS:
        retracted = read_flag("retracted", row.get("retracted"))
        if not retracted and row.get("value") is None:
            raise EventError("missing_label", "a label needs a `value`, or `retracted`: true", "value")
        return LabelEvent(
            id=read_id(row.get("id")),
            value=None if retracted else storable(row["value"]),
            retracted=retracted,
            at=read_moment("at", row.get("at")),
            predicted_at=read_moment("predicted_at", row.get("predicted_at")),
            received_at=read_moment("received_at", row.get("received_at")),
            source=_text("source", row.get("source")) or "",
        )
    return InferenceEvent(
        id=read_id(row.get("id")),
        at=read_moment("at", row.get("at")),
        version=_text("version", row.get("version")),
        features=storable(_mapping("features", row.get("features")) or {}),
        score=read_number("score", row.get("score")),
        prediction=storable(_prediction(row.get("prediction"))),
        class_scores=_class_scores(row.get("class_scores")),
        entity=_text("entity", row.get("entity")),
        query=_text("query", row.get("query")),
        status=_status(row.get("status")),
        latency_ms=read_number("latency_ms", row.get("latency_ms")),
        weight=read_number("weight", row.get("weight")),
        trace=storable(_mapping("trace", row.get("trace"))),
        supersedes=read_flag("supersedes", row.get("supersedes")),
        withdrawn=read_flag("withdrawn", row.get("withdrawn")),
        observed_at=read_moment("observed_at", row.get("observed_at")),
        part=_text("part", row.get("part")),
        received_at=read_moment("received_at", row.get("received_at")),
        source=_text("source", row.get("source")) or "",
    )


def storable(value: Json, depth: int = MAX_DEPTH) -> Any:
    """The value with integers beyond 64 bits, which MessagePack cannot hold, as the nearest double (or an infinity).

    Raises
    ------
    EventError
        ``limit_exceeded`` if it is nested deeper than `depth`.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return read_number("value", value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        raise EventError("limit_exceeded", f"a value is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {key: storable(item, depth - 1) for key, item in value.items()}
    return [storable(item, depth - 1) for item in value]


def read_id(value: object, column: str = "id") -> str:
    """A prediction id: text of 1 to 512 characters, or an integer.

    Raises
    ------
    EventError
        ``missing_id`` or ``bad_id``.
    """
    if value is None or value == "":
        raise EventError("missing_id", f"`{column}` is missing: it identifies the prediction", column)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise EventError("bad_id", f"`{column}` must be text or an integer, not {_json_type(value)}", column, value)
    if len(value) > MAX_ID_LENGTH:
        raise EventError("bad_id", f"`{column}` has {len(value)} characters; at most {MAX_ID_LENGTH}", column, value)
    return value


def read_moment(column: str, value: object) -> datetime | None:
    """A moment as aware UTC datetime, from RFC 3339 text or a datetime; without a zone it is UTC.

    Raises
    ------
    EventError
        ``bad_timestamp`` or ``timestamp_out_of_range``. Numbers are refused: their unit cannot be known.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            # Times with any number of fraction digits and a final Z are msgspec's; plain dates are the standard
            # library's.
            moment = msgspec.convert(text, datetime) if len(text) > len("2026-01-31") else datetime.fromisoformat(text)
        except (msgspec.ValidationError, ValueError):
            raise EventError(
                "bad_timestamp", f"`{column}` is no RFC 3339 time such as 2026-01-31T06:00:00Z", column, value
            ) from None
    elif isinstance(value, datetime):
        moment = value
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        hint = ": the unit of a number is not known" if is_number else ""
        raise EventError(
            "bad_timestamp", f"`{column}` must be RFC 3339 text, not {_json_type(value)}{hint}", column, value
        )
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise EventError("timestamp_out_of_range", f"`{column}` cannot be expressed in UTC", column, value) from None
    if not EARLIEST <= moment < LATEST:
        raise EventError(
            "timestamp_out_of_range", f"`{column}` is outside 1970 to 2199: wrong unit or clock?", column, value
        )
    return moment


def read_number(column: str, value: object) -> float | None:
    """A number, also from decimal text and the words of `NON_FINITE`.

    Raises
    ------
    EventError
        ``bad_type``.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        if value in NON_FINITE:
            return NON_FINITE[value]
        try:
            return float(value)
        except ValueError:
            pass
    raise EventError("bad_type", f"`{column}` must be a number, not {_json_type(value)}", column, value)


def read_flag(column: str, value: object) -> bool:
    """Yes or no: a boolean, 1 or 0, or their words as text; nothing is no.

    Raises
    ------
    EventError
        ``bad_type``.
    """
    word = str(value).strip().lower()
    if word not in FLAGS:
        raise EventError("bad_type", f"`{column}` must be true or false, not {_json_type(value)}", column, value)
    return FLAGS[word]


def _json_type(value: object) -> str:
    names: dict[type, str] = {
        str: "text", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object",
    }  # fmt: skip
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _text(column: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise EventError("bad_type", f"`{column}` must be text, not {_json_type(value)}", column, value)


def _mapping(column: str, value: Json) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise EventError("bad_type", f"`{column}` must be an object, not {_json_type(value)}", column, value)


def _prediction(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise EventError(
        "bad_type", f"`prediction` must be text, a number or a boolean, not {_json_type(value)}", "prediction", value
    )


def _status(value: object) -> str | int | bool | None:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise EventError("bad_type", "`status` is a number beyond 64 bits", "status", "a long number")
    if value is None or isinstance(value, str | int | bool):
        return value
    raise EventError("bad_type", f"`status` must be text or an integer, not {_json_type(value)}", "status", value)


def _class_scores(value: Json) -> dict[str, float | None] | None:
    scores = _mapping("class_scores", value)
    return (
        None if scores is None else {name: read_number(f"class_scores.{name}", score) for name, score in scores.items()}
    )
