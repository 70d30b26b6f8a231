"""OTLP/HTTP logs in JSON. No stable OpenTelemetry convention names classical inference, so the records use names of their own:

event name ``sightline.inference`` with attributes ``sightline.prediction.id``, ``.score``, ``.value``, ``.version``,
``.entity``, ``.latency_ms``, ``.status``, ``.weight``, ``.class_score.<class>`` and ``sightline.feature.<name>``;
event name ``sightline.label`` with ``sightline.prediction.id`` and ``sightline.label.value``.
Trace id, span id and ``service.*`` are kept. Records of other event names are passed over (a collector sends all its logs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightline.collector.formats import bodies, rows
from sightline.errors import SightlineError
from sightline.log.events import INFERENCES, LABELS, InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

FEATURE, CLASS_SCORE = "sightline.feature.", "sightline.prediction.class_score."
FIELDS = {
    "sightline.prediction.id": "id", "sightline.prediction.score": "score", "sightline.prediction.value": "prediction",
    "sightline.prediction.version": "version", "sightline.prediction.entity": "entity", "sightline.prediction.query": "query",
    "sightline.prediction.latency_ms": "latency_ms", "sightline.prediction.status": "status", "sightline.prediction.weight": "weight",
}  # fmt: skip
MAX_DEPTH = 16


def parse(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for one ``ExportLogsServiceRequest``; records with attribute ``sightline.monitor`` of another monitor are passed over."""
    document = bodies.decode_json(body, "body")
    services: list[dict[str, Any]] = []

    def records() -> Iterator[tuple[str, Any]]:
        for where, record, service in _records(document):
            services[:] = [service]
            yield where, record

    return rows.read_each(records(), lambda where, record: _read(where, record, services[0], spec), "otlp")


def _read(
    where: str, record: Any, service: Mapping[str, Any], spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    record = _object(record, where)
    attributes = _attributes(record.get("attributes"), where)
    name = record.get("eventName") or attributes.get("event.name")
    is_ours = attributes.get("sightline.monitor", spec.id) == spec.id
    if name not in ("sightline.inference", "sightline.label") or not is_ours:
        return []
    if attributes.get("sightline.prediction.id") in (None, ""):
        raise SightlineError("no attribute sightline.prediction.id", where=where)
    at = rows.moment(_nanoseconds(record), f"{where}.timeUnixNano")
    identity = str(attributes["sightline.prediction.id"])
    if name == "sightline.label":
        if "sightline.label.value" not in attributes:
            raise SightlineError("no attribute sightline.label.value", where=where)
        value = attributes["sightline.label.value"]
        return [rows.checked(LABELS, {"id": identity, "value": value, "at": at, "source": "otlp"})]
    ids = {"trace_id": record.get("traceId"), "span_id": record.get("spanId")}
    trace = {key: str(value) for key, value in {**ids, **service}.items() if value}
    scores = {k[len(CLASS_SCORE) :]: v for k, v in attributes.items() if k.startswith(CLASS_SCORE)}
    fields = {
        **{field: attributes[key] for key, field in FIELDS.items() if key in attributes},
        "id": identity,
        "features": {k[len(FEATURE) :]: v for k, v in attributes.items() if k.startswith(FEATURE)},
        "class_scores": scores or None,
        "at": at,
        "trace": trace or None,
    }
    return [rows.checked(INFERENCES, {**fields, "source": "otlp"})]


def _nanoseconds(record: Mapping[str, Any]) -> float | None:
    for key in ("timeUnixNano", "observedTimeUnixNano"):
        value = record.get(key)
        if value not in (None, "", "0", 0):
            try:
                return int(value) / 1e9
            except (TypeError, ValueError) as error:
                raise SightlineError(f"{str(value)[:40]!r} is no count of nanoseconds", where=key) from error
    return None


def _records(document: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    if not isinstance(document, Mapping) or not isinstance(document.get("resourceLogs"), list):
        raise SightlineError("no `resourceLogs` array", where="body", fix="send OTLP/HTTP logs as JSON")
    for i, resource in enumerate(document["resourceLogs"]):
        where = f"resourceLogs[{i}]"
        holder = _object(resource, where)
        described = holder.get("resource") or {}
        service = {
            k: v
            for k, v in _attributes(_object(described, f"{where}.resource").get("attributes"), where).items()
            if k.startswith("service.")
        }
        for j, scope in enumerate(_array(holder.get("scopeLogs"), f"{where}.scopeLogs")):
            place = f"{where}.scopeLogs[{j}]"
            for k, record in enumerate(_array(_object(scope, place).get("logRecords"), f"{place}.logRecords")):
                yield f"{place}.logRecords[{k}]", record, service


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SightlineError("expected an object", where=where)
    return value


def _array(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
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
    if "intValue" in holder:
        try:
            return int(holder["intValue"])
        except (TypeError, ValueError) as error:
            raise SightlineError(f"{str(holder['intValue'])[:40]!r} is no integer", where=where) from error
    for key in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
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
