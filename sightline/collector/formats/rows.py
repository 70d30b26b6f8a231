"""From plain rows to events.

Which value is the score, which the class, which a feature, is what the monitor's spec says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sightline.collector.formats import errors, lenient
from sightline.collector.formats.bodies import Row, TypedRow
from sightline.errors import SightlineError
from sightline.lake.intake.roles import revision_roles
from sightline.log.events import (
    EARLIEST,
    INFERENCES,
    LABELS,
    LATEST,
    EventError,
    InferenceEvent,
    LabelEvent,
    RejectedEvent,
    build_event,
)
from sightline.narrowing import Json, is_array
from sightline.spec.model import MonitorSpec

MAX_PAYLOAD = 4000
RETRACTED = "retracted"
"""Field of a label that is taken back, besides the column that the spec names."""
ROUNDED = 0.0101
"""Two probabilities that are rounded to two digits add up to 1 within this."""
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
FIRST_SECOND = 100_000_000
"""March 1973: from here to 2200 no number is a moment in two units. The lake reads the
numbers of files in the same way.
"""
END_SECOND = int(LATEST.timestamp())
TIME_FIX = "send RFC 3339 text such as 2026-01-31T06:00:00Z, or the time since 1970 in s, ms, us or ns"
Event = InferenceEvent | LabelEvent | RejectedEvent


def read_each(
    records: Iterable[tuple[str, Any]],
    read: Callable[[str, Any], list[Event]],
    source: str,
    is_label: Callable[[Any], bool] = lambda record: False,
) -> list[Event]:
    """Events of the records of a body (place, record). One that cannot be read is rejected, and the others go on.

    `is_label` tells of a record that cannot be read whether it would have been a label.

    Raises
    ------
    SightlineError
        If none of them can be read: then it is the body that is wrong.
    """
    events: list[Event] = []
    first: SightlineError | None = None
    failed = total = 0
    for where, record in records:
        total += 1
        try:
            events += read(where, record)
        except SightlineError as error:
            failed, first = failed + 1, first or error
            text = record if isinstance(record, bytes) else as_json(record)
            events.append(
                RejectedEvent(
                    kind=LABELS if is_label(record) else INFERENCES,
                    reason="bad_row",
                    message=f"{error.where or where}: {error.what}"[:1000],
                    payload=text.decode("utf-8", "replace")[:MAX_PAYLOAD],
                    source=source,
                )
            )
        lenient.check_rows(len(events), "body")
    if first is not None and failed == total:
        raise first
    return events


def as_json(row: Any) -> bytes:
    """A row for the quarantine."""
    try:
        return msgspec.json.encode(row, enc_hook=str)
    except RecursionError:
        return b"(nested too deeply)"


def exploded_id(base: str, row: int, rows: int) -> str:
    """A batch call is one request with several predictions: ``<id>`` for one row, ``<id>:<row>`` for more."""
    return base if rows == 1 else f"{base}:{row}"


def answered_event(
    spec: MonitorSpec, inputs: Row | None, outputs: Row | None, *, status: Any = None, **known: Any
) -> InferenceEvent | RejectedEvent:
    """The event of a row that a server answered: `inference_event`, where an error in place of outputs has failed.

    Parameters
    ----------
    spec, inputs, outputs, **known
        As in `inference_event`.
    status : str or int, optional
        Outcome of the call that the row belongs to; that of a row which failed alone wins.
    """
    failed = None if outputs is None else errors.failure(outputs, spec)
    return inference_event(
        spec, inputs, outputs if failed is None else None, status=status if failed is None else failed, **known
    )


def inference_event(
    spec: MonitorSpec, inputs: Row | None, outputs: Row | None, **known: Any
) -> InferenceEvent | RejectedEvent:
    """One event from a row of inputs and a row of outputs (either may be missing: a half, joined later by id).

    Parameters
    ----------
    spec : MonitorSpec
        Names of the columns.
    inputs, outputs : dict or None
        Named values; unnamed ones are called ``@0, @1, ...``: inputs take the features' names in the order of the spec.
    **known
        Fields of the event that the envelope gives (id, at, source, status, ...). A column of the row named in the spec
        wins over the envelope, since the user said so.

    Returns
    -------
    InferenceEvent or RejectedEvent
        Refused when a field has a type or value that no event can have; the rest of the batch goes on.
    """
    fields: dict[str, Any] = dict(known)
    features = _named_inputs(spec, dict(inputs)) if inputs else {}
    columns = spec.columns
    for column, field in (
        (columns.prediction_id, "id"),
        (columns.timestamp, "at"),
        (columns.model_version, "version"),
        (columns.entity_id, "entity"),
        (columns.query_id, "query"),
        (columns.status, "status"),
        (columns.latency_ms, "latency_ms"),
        (columns.weight, "weight"),
        *revision_columns(spec),
    ):
        if column and column in features and column not in columns.features:
            value = features.pop(column)
            if value is not None:  # else the envelope's
                fields[field] = _read_field(field, value)
    fields |= _named_outputs(spec, features)
    if outputs:
        row = dict(outputs)
        fields |= _outputs(spec, row, is_typed=isinstance(outputs, TypedRow))
        features |= {k: v for k, v in row.items() if not k.startswith("@")}
    return checked(INFERENCES, {"features": features, **fields})


def _read_field(field: str, value: Json) -> Any:
    """The value of a column as the field of an event takes it; what is left as it is, is refused with its row."""
    if field in ("id", "version", "entity", "query"):
        return value if isinstance(value, list | dict) else str(value)
    if field in ("at", "observed_at"):
        with contextlib.suppress(SightlineError):
            return moment(value, field)
    return value


def revision_columns(spec: MonitorSpec) -> list[tuple[str, str]]:
    """Columns that correct or withdraw a prediction, with the fields of an event that say so."""
    fields = {"is_correction": "supersedes", "is_withdrawn": "withdrawn", "observed_at": "observed_at"}
    return [(role.column, fields[role.name]) for role in revision_roles(spec)]


def label_event(spec: MonitorSpec, row: Mapping[str, Any], **known: Any) -> LabelEvent | RejectedEvent:
    """A label from a row with the label column (or ``value``) and the prediction's id, or its retraction."""
    if spec.labels is None:
        raise SightlineError(
            f"monitor {spec.id} declares no labels", where="labels", fix="add a `labels:` section to its YAML"
        )
    names = (spec.labels.column, "label", "value", "target")
    name = next((n for n in names if n in row), None)
    taken_back = spec.labels.retracted if spec.labels.retracted and spec.labels.retracted in row else RETRACTED
    is_flag = taken_back in row and taken_back != name
    if name is None and not is_flag:
        raise SightlineError(f"no label value: none of {', '.join(dict.fromkeys(names))} is there", where="label")
    id_column = spec.labels.prediction_id or spec.columns.prediction_id
    fields = dict(known)
    if row.get(id_column) is not None:
        fields["id"] = _read_field("id", row[id_column])
    if not fields.get("id"):
        raise SightlineError(
            f"the label has no {id_column!r}", where="label", fix="send the id of the prediction it belongs to"
        )
    flag = {RETRACTED: row.get(taken_back)} if is_flag else {}
    return checked(LABELS, {"value": row.get(name) if name else None, **flag, **fields})


def checked(kind: str, fields: dict[str, Any]) -> Any:
    """Build the event from loosely typed fields through the log's own reader.

    So whatever is logged can be read back.
    """
    part, source = fields.pop("part", None), fields.pop("source", "")
    try:
        event = build_event(kind, with_times(fields))
    except EventError as error:
        payload = as_json(fields).decode("utf-8", errors="replace")[:MAX_PAYLOAD]
        identity = fields.get("id")
        return RejectedEvent(
            kind=kind, reason=error.reason, message=error.message, column=error.column, value=error.value,
            id=identity[:512] if isinstance(identity, str) and identity else None, payload=payload, source=source,
        )  # fmt: skip
    event.source = source
    if part is not None and isinstance(event, InferenceEvent):
        event.part = part
    return event


def moment(value: Any, where: str) -> datetime | None:
    """A moment in UTC from ISO 8601 text, or from a number since 1970 whose unit is beyond doubt (see `since_1970`)."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    found = None
    try:
        if isinstance(value, str) and not value.strip().lstrip("-").replace(".", "", 1).isdigit():
            parsed = datetime.fromisoformat(value.strip())
            found = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        elif not isinstance(value, bool):
            found = since_1970(float(value) if isinstance(value, str) else value)
    except (ValueError, TypeError, OverflowError):
        pass
    if found is None:
        raise SightlineError(f"{str(value)[:80]!r} is no point in time", where=where, fix=TIME_FIX)
    return found


def since_1970(number: Any, unit: str | None = None) -> datetime | None:
    """The moment that is `number` units after the beginning of 1970 in UTC; None if there is none before 2200.

    Parameters
    ----------
    number : int or float
        Anything else gives None too.
    unit : {"s", "ms", "us", "ns"}, optional
        Its unit. If it is not known, it is the only one that puts the moment into March 1973 to
        2199: each number fits one at most.
    """
    if not isinstance(number, int | float) or isinstance(number, bool):
        return None
    for name, per_second in UNITS_PER_SECOND.items():
        first = 0 if unit == name else FIRST_SECOND * per_second
        if unit in (None, name) and first <= number < END_SECOND * per_second:
            exact = number * 1_000_000 // per_second if isinstance(number, int) else round(number * 1e6 / per_second)
            return EARLIEST + timedelta(microseconds=exact)
    return None


def with_times(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an event with datetimes for numbers.

    Raises
    ------
    EventError
        ``bad_timestamp`` for a number that fits no unit.
    """
    times = dict[str, datetime]()
    for name in ("at", "predicted_at", "observed_at"):
        value = fields.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = since_1970(value)
            if found is None:
                message = f"`{name}` is a number that is no time since 1970 in s, ms, us or ns: {TIME_FIX}"
                raise EventError("bad_timestamp", message, name, value)
            times[name] = found
    return {**fields, **times}


def _named_inputs(spec: MonitorSpec, row: Row) -> Row:
    unnamed = [k for k in row if k.startswith("@")]
    names = list(spec.columns.logged)
    if unnamed and len(unnamed) != len(names):
        raise SightlineError(
            f"{len(unnamed)} unnamed values for {len(names)} features",
            where="inputs",
            fix="send named columns, or exactly the features in the order of the monitor's YAML",
        )
    return {
        **{k: v for k, v in row.items() if not k.startswith("@")},
        **{names[i]: row[k] for i, k in enumerate(unnamed)},
    }


def _named_outputs(spec: MonitorSpec, row: Row) -> dict[str, Any]:
    """Take score, prediction and class scores out of a row, by their names in the YAML."""
    columns, found = spec.columns, dict[str, Any]()
    for column, field in ((columns.score, "score"), (columns.prediction, "prediction")):
        if column and column in row:
            found[field] = row.pop(column)
    scores = {c: row.pop(column) for c, column in columns.class_scores.items() if column in row}
    if scores:
        found["class_scores"] = scores
    score: Any = found.get("score")
    if is_array(score) and (len(score) == 1 or is_pair(score)):  # [P(negative), P(positive)]
        found["score"] = score[-1]
    return found


def is_pair(values: list[Any]) -> bool:
    """Whether two values are the probabilities of the negative and the positive class: they add up to 1."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) == len(values) == 2 and min(numbers) >= 0 and abs(sum(numbers) - 1) <= ROUNDED


def _outputs(spec: MonitorSpec, row: Row, *, is_typed: bool) -> dict[str, Any]:
    """Take score, prediction and class scores out of a row of outputs; unnamed values are read by the task."""
    values = [row.pop(k) for k in [k for k in row if k.startswith("@")]]
    found = _named_outputs(spec, row)
    if not values and not found and len(row) == 1 and not set(row) & set(spec.columns.features):
        values = list(row.values())  # a single output tensor under the server's own name
        row.clear()
    if len(values) == 1 and is_array(values[0]):
        values = values[0]
    return {**found, **_unnamed_outputs(spec, values, found, is_typed)} if values else found


def _unnamed_outputs(spec: MonitorSpec, values: list[Any], named: Mapping[str, Any], is_typed: bool) -> dict[str, Any]:
    task, classes = spec.model.task, list(spec.columns.class_scores)
    if task == "multiclass_classification" and len(values) > 1 and len(values) == len(classes):
        return {"class_scores": {**named.get("class_scores", {}), **dict(zip(classes, values, strict=True))}}
    if task == "binary_classification" and is_pair(values):
        return {"score": values[1]}
    if len(values) != 1:
        raise SightlineError(
            f"{len(values)} outputs for one prediction of task {task}",
            where="outputs",
            fix="name the outputs as in the monitor's YAML",
        )
    value = values[0]
    return {"score" if task == "ranking" or _is_score(spec, value, is_typed) else "prediction": value}


def _is_score(spec: MonitorSpec, value: Any, is_typed: bool) -> bool:
    """Whether the only output of a binary model is its probability.

    A float is. Of 0 and 1 without a type nothing tells, as many senders write 1.0 as 1: where the file names a class
    they are it, where it names the score alone they are the score.
    """
    columns = spec.columns
    if spec.model.task != "binary_classification" or not columns.score or isinstance(value, bool):
        return False
    may_be_real = not is_typed and not columns.prediction and value in (0, 1)
    return isinstance(value, float) or (may_be_real and isinstance(value, int))
