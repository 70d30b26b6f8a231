"""OTLP/HTTP logs in JSON.

No stable OpenTelemetry convention names classical inference, so the records use names of their own:

event name ``sightline.inference`` with attributes ``sightline.prediction.id``, ``.score``, ``.value``, ``.version``,
``.entity``, ``.latency_ms``, ``.status``, ``.weight``, ``.supersedes``, ``.withdrawn``, ``.observed_at``,
``.class_score.<class>`` and ``sightline.feature.<name>``;
event name ``sightline.label`` with ``sightline.prediction.id`` and ``sightline.label.value``.
Trace id, span id and ``service.*`` are kept. The body of a record of BentoML's OTLP monitor (scope
``bentoml_monitor_data``) is read as `bentoml` reads it. Records of other event names are passed over (a
collector sends all its logs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sightline.collector.formats import bentoml, bodies, lenient, rows
from sightline.errors import SightlineError
from sightline.log.events import INFERENCES, LABELS, InferenceEvent, LabelEvent, RejectedEvent
from sightline.narrowing import is_array, is_object
from sightline.spec.model import MonitorSpec

FEATURE, CLASS_SCORE = "sightline.feature.", "sightline.prediction.class_score."
FIELDS = {
    "sightline.prediction.id": "id", "sightline.prediction.score": "score", "sightline.prediction.value": "prediction",
    "sightline.prediction.version": "version", "sightline.prediction.entity": "entity",
    "sightline.prediction.query": "query",
    "sightline.prediction.latency_ms": "latency_ms", "sightline.prediction.status": "status",
    "sightline.prediction.weight": "weight", "sightline.prediction.supersedes": "supersedes",
    "sightline.prediction.withdrawn": "withdrawn", "sightline.prediction.observed_at": "observed_at",
}  # fmt: skip
MAX_DEPTH = 16
BENTOML_SCOPE = "bentoml_monitor_data"
"""Name of the logger of BentoML's OTLP monitor."""


def parse(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for one ``ExportLogsServiceRequest``.

    Records with attribute ``sightline.monitor`` of another monitor are passed over.
    """
    found = list(_records(bodies.decode_json(body, "body")))
    lenient.check_rows(len(found), "body")
    read_bentoml = bentoml.reader([r.bentoml for r in found if r.bentoml is not None], None, spec, "otlp")
    ahead = iter(found)

    def read(where: str, content: Any) -> list[rows.Event]:
        record = next(ahead)
        if record.error is not None:
            raise record.error
        if record.bentoml is None:
            return _read(where, content, record.service, spec)
        events = read_bentoml(where, record.bentoml)
        for event in events:
            if isinstance(event, InferenceEvent):
                event.trace = _trace(content, record.service)
        return events

    return rows.read_each(((record.where, record.content) for record in found), read, "otlp", _is_label)


def _is_label(record: Any) -> bool:
    return is_object(record) and record.get("eventName") == "sightline.label"


def _read(where: str, record: Any, service: Mapping[str, Any], spec: MonitorSpec) -> list[rows.Event]:
    record = _object(record, where)
    attributes = _attributes(record.get("attributes"), where)
    name = record.get("eventName") or attributes.get("event.name")
    is_ours = attributes.get("sightline.monitor", spec.id) == spec.id
    if name not in ("sightline.inference", "sightline.label") or not is_ours:
        return []
    if attributes.get("sightline.prediction.id") in (None, ""):
        raise SightlineError("no attribute sightline.prediction.id", where=where)
    at = _moment(record)
    identity = str(attributes["sightline.prediction.id"])
    if name == "sightline.label":
        value, retracted = (attributes.get(f"sightline.label.{name}") for name in ("value", "retracted"))
        if value is None and retracted is None:
            raise SightlineError("no attribute sightline.label.value, nor sightline.label.retracted", where=where)
        told = {"id": identity, "value": value, "retracted": retracted, "at": at, "source": "otlp"}
        return [rows.checked(LABELS, told)]
    scores = {k[len(CLASS_SCORE) :]: v for k, v in attributes.items() if k.startswith(CLASS_SCORE)}
    fields = {
        **{field: attributes[key] for key, field in FIELDS.items() if key in attributes},
        "id": identity,
        "features": {k[len(FEATURE) :]: v for k, v in attributes.items() if k.startswith(FEATURE)},
        "class_scores": scores or None,
        "at": at,
        "trace": _trace(record, service),
    }
    return [rows.checked(INFERENCES, {**fields, "source": "otlp"})]


def _trace(record: Mapping[str, Any], service: Mapping[str, Any]) -> dict[str, str] | None:
    """Ids as they came (hexadecimal; all zeros are none), and the service."""
    ids = {name: str(record.get(key) or "") for name, key in (("trace_id", "traceId"), ("span_id", "spanId"))}
    found = {name: text for name, text in ids.items() if text.strip("0")}
    return {**found, **{key: str(value) for key, value in service.items() if value}} or None


def _moment(record: Mapping[str, Any]) -> datetime | None:
    for key in ("timeUnixNano", "observedTimeUnixNano"):
        value = record.get(key)
        if value not in (None, "", "0", 0):
            try:
                moment = rows.since_1970(int(value), "ns")
            except (TypeError, ValueError, OverflowError):
                moment = None
            if moment is None:
                raise SightlineError(f"{str(value)[:40]!r} is no count of nanoseconds since 1970", where=key)
            return moment
    return None


@dataclass(frozen=True)
class _Record:
    """A log record, or what stands in its place; `bentoml` is the body of a record of BentoML's monitor."""

    where: str
    content: Any
    service: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bentoml: Mapping[str, Any] | None = None
    error: SightlineError | None = None


def _records(document: Any) -> Iterator[_Record]:
    """All records; a resource that cannot be read is one record with an error."""
    if document == {}:  # an export of nothing
        return
    if not is_object(document) or not is_array(document.get("resourceLogs")):
        raise SightlineError("no `resourceLogs` array", where="body", fix="send OTLP/HTTP logs as JSON")
    for i, resource in enumerate(document["resourceLogs"]):
        where = f"resourceLogs[{i}]"
        try:
            yield from _records_of(_object(resource, where), where)
        except SightlineError as error:
            yield _Record(where, resource, error=error)


def _records_of(resource: Mapping[str, Any], where: str) -> Iterator[_Record]:
    described = _object(resource.get("resource") or {}, f"{where}.resource")
    attributes = _attributes(described.get("attributes"), where)
    service = {k: v for k, v in attributes.items() if k.startswith("service.")}
    for j, scope in enumerate(_array(resource.get("scopeLogs"), f"{where}.scopeLogs")):
        place = f"{where}.scopeLogs[{j}]"
        about = _object(scope, place).get("scope")
        is_bentoml = is_object(about) and about.get("name") == BENTOML_SCOPE
        for k, content in enumerate(_array(scope.get("logRecords"), f"{place}.logRecords")):
            at = f"{place}.logRecords[{k}]"
            try:
                yield _Record(at, content, service, _bentoml(content, at) if is_bentoml else None)
            except SightlineError as error:
                yield _Record(at, content, service, error=error)


def _bentoml(record: Any, where: str) -> Mapping[str, Any]:
    body = _value(_object(record, where).get("body"), where, 0)
    if not is_object(body):
        raise SightlineError("the body of a BentoML record is no list of keys and values", where=f"{where}.body")
    return body


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not is_object(value):
        raise SightlineError("expected an object", where=where)
    return value


def _array(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not is_array(value):
        raise SightlineError("expected an array", where=where)
    return value


def _attributes(value: Any, where: str) -> dict[str, Any]:
    return {
        str(_object(a, where).get("key")): _value(a.get("value"), where, 0)
        for a in _array(value, f"{where}.attributes")
    }


def _value(value: Any, where: str, depth: int) -> Any:
    """An OTLP ``AnyValue``."""
    if depth > MAX_DEPTH:
        raise SightlineError(f"values are nested deeper than {MAX_DEPTH}", where=where)
    if value is None:
        return None
    holder = _object(value, where)
    for key, convert in (("intValue", int), ("doubleValue", float)):
        if holder.get(key) is not None:
            try:
                return convert(holder[key])  # 64-bit integers and non-finite numbers are sent as text
            except (TypeError, ValueError, OverflowError) as error:
                raise SightlineError(f"{str(holder[key])[:40]!r} is no {key}", where=where) from error
    for key in ("stringValue", "boolValue", "bytesValue"):
        if key in holder:
            return holder[key]
    if "arrayValue" in holder:
        return [_value(v, where, depth + 1) for v in _array(_object(holder["arrayValue"], where).get("values"), where)]
    if "kvlistValue" in holder:
        return {
            str(_object(v, where).get("key")): _value(v.get("value"), where, depth + 1)
            for v in _array(_object(holder["kvlistValue"], where).get("values"), where)
        }
    return None
