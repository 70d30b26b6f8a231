"""OTLP/HTTP: logs and traces, in JSON or protobuf.

Calls of language models and evaluations of them follow OpenTelemetry's conventions (`gen_ai`). No stable convention
names classical inference, so the log records of others use names of their own:

event name ``sightline.inference`` with attributes ``sightline.prediction.id``, ``.score``, ``.value``, ``.version``,
``.entity``, ``.latency_ms``, ``.status``, ``.weight``, ``.supersedes``, ``.withdrawn``, ``.observed_at``,
``.class_score.<class>`` and ``sightline.feature.<name>``;
event name ``sightline.label`` with ``sightline.prediction.id`` and ``sightline.label.value``.
Trace id, span id and ``service.*`` are kept. The body of a record of BentoML's OTLP monitor (scope
``bentoml_monitor_data``) is read as `bentoml` reads it. Records of other event names and spans of other operations are
passed over (a collector sends all it has).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sightline.collector.formats import bentoml, bodies, gen_ai, lenient, otlp_protobuf, rows
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
    """Adapter for one ``ExportLogsServiceRequest`` or ``ExportTraceServiceRequest`` in JSON.

    Records with attribute ``sightline.monitor`` of another monitor are passed over.
    """
    if otlp_protobuf.is_protobuf(headers):
        fix = "POST to otlp/v1/traces or otlp/v1/logs: in protobuf the two cannot be told apart"
        raise SightlineError("protobuf is not taken here", where="body", fix=fix)
    return _events(bodies.decode_json(body, "body"), spec)


def traces(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for traces in JSON or protobuf; see `parse`."""
    return _signal("traces", headers, body, spec)


def logs(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for logs in JSON or protobuf; see `parse`."""
    return _signal("logs", headers, body, spec)


def _signal(
    signal: otlp_protobuf.Signal, headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    if otlp_protobuf.is_protobuf(headers):
        return _events(otlp_protobuf.document(body, signal), spec)
    return _events(bodies.decode_json(body, "body"), spec)


def _events(document: Any, spec: MonitorSpec) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    found = list(_records(document))
    lenient.check_rows(len(found), "body")
    read_bentoml = bentoml.reader([r.bentoml for r in found if r.bentoml is not None], None, spec, "otlp")
    ahead = iter(found)

    def read(where: str, content: Any) -> list[rows.Event]:
        record = next(ahead)
        if record.error is not None:
            raise record.error
        if record.is_span:
            return _span(where, content, record.service, spec)
        if record.bentoml is None:
            return _read(where, content, record.service, spec)
        events = read_bentoml(where, record.bentoml)
        for event in events:
            if isinstance(event, InferenceEvent):
                event.trace = _trace(content, record.service)
        return events

    return rows.read_each(((record.where, record.content) for record in found), read, "otlp", _is_label)


def _is_label(record: Any) -> bool:
    return is_object(record) and record.get("eventName") in ("sightline.label", gen_ai.EVALUATION)


def _read(where: str, record: Any, service: Mapping[str, Any], spec: MonitorSpec) -> list[rows.Event]:
    record = _object(record, where)
    attributes = _attributes(record.get("attributes"), where)
    name = record.get("eventName") or attributes.get("event.name")
    is_ours = attributes.get("sightline.monitor", spec.id) == spec.id
    if name in gen_ai.EVENTS and is_ours:
        return _gen_ai(str(name), where, record, attributes, _trace(record, service) or {}, spec)
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


def _gen_ai(
    name: str,
    where: str,
    record: Mapping[str, Any],
    attributes: Mapping[str, Any],
    trace: Mapping[str, str],
    spec: MonitorSpec,
) -> list[rows.Event]:
    """An event of the GenAI conventions: one that cannot be read is refused alone, whatever else is in the body."""
    try:
        at = _moment(record)
        if name == gen_ai.EVALUATION:
            event = gen_ai.read_evaluation(spec, attributes, trace, at)
        else:
            wanted = spec.columns.llm.otlp if spec.columns.llm is not None else "spans"
            if wanted == "spans":  # the span of the same call has it all
                return []
            event = gen_ai.read_call(spec, attributes, trace, at, part="request" if wanted == "both" else None)
    except SightlineError as error:
        kind = LABELS if name == gen_ai.EVALUATION else INFERENCES
        return [_refused(kind, where, error, attributes)]
    return [] if event is None else [event]


def _span(where: str, span: Any, service: Mapping[str, Any], spec: MonitorSpec) -> list[rows.Event]:
    """The call that a span is, and what its events say of it."""
    try:
        span = _object(span, where)
        attributes = _attributes(span.get("attributes"), where)
    except SightlineError as error:
        return [_refused(INFERENCES, where, error, span)]
    if attributes.get("sightline.monitor", spec.id) != spec.id:
        return []
    found: list[rows.Event] = []
    trace = _trace(span, service) or {}
    llm = spec.columns.llm
    if llm is not None and llm.otlp != "events" and gen_ai.is_call(attributes):
        part = "response" if llm.otlp == "both" else None
        try:
            times = [_moment({"timeUnixNano": span.get(f"{end}TimeUnixNano")}) for end in ("start", "end")]
            took = (times[1] - times[0]).total_seconds() * 1e3 if times[0] and times[1] else None
            event = gen_ai.read_call(
                spec, attributes, trace, times[0], latency_ms=took, failed=_failure(span), part=part
            )
            found += [] if event is None else [event]
        except SightlineError as error:
            found.append(_refused(INFERENCES, where, error, attributes))
    for k, each in enumerate(span.get("events") or ()):
        if is_object(each) and each.get("name") == gen_ai.EVALUATION:
            place = f"{where}.events[{k}]"
            try:
                said = _attributes(each.get("attributes"), place)
            except SightlineError as error:
                found.append(_refused(LABELS, place, error, each))
                continue
            said.setdefault("gen_ai.response.id", attributes.get("gen_ai.response.id"))
            found += _gen_ai(gen_ai.EVALUATION, place, each, said, trace, spec)
    return found


def _failure(span: Mapping[str, Any]) -> str | None:
    status = span.get("status")
    is_error = is_object(status) and status.get("code") in (2, "2", "STATUS_CODE_ERROR")
    return "error" if is_error else None


def _refused(kind: str, where: str, error: SightlineError, content: Any) -> RejectedEvent:
    return RejectedEvent(
        kind=kind,
        reason="bad_row",
        message=f"{error.where or where}: {error.what}"[:1000],
        payload=rows.as_json(content).decode("utf-8", "replace")[: rows.MAX_PAYLOAD],
        source="otlp",
    )


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
    is_span: bool = False


SIGNALS = {"resourceLogs": ("scopeLogs", "logRecords"), "resourceSpans": ("scopeSpans", "spans")}


def _records(document: Any) -> Iterator[_Record]:
    """All records; a resource that cannot be read is one record with an error."""
    if document == {}:  # an export of nothing
        return
    signal = next((name for name in SIGNALS if is_object(document) and is_array(document.get(name))), None)
    if signal is None:
        what = "no `resourceLogs` or `resourceSpans` array"
        raise SightlineError(what, where="body", fix="send OTLP/HTTP logs or traces")
    for i, resource in enumerate(document[signal]):
        where = f"{signal}[{i}]"
        try:
            yield from _records_of(_object(resource, where), where, signal)
        except SightlineError as error:
            yield _Record(where, resource, error=error)


def _records_of(resource: Mapping[str, Any], where: str, signal: str) -> Iterator[_Record]:
    scopes, records = SIGNALS[signal]
    described = _object(resource.get("resource") or {}, f"{where}.resource")
    attributes = _attributes(described.get("attributes"), where)
    service = {k: v for k, v in attributes.items() if k.startswith("service.")}
    for j, scope in enumerate(_array(resource.get(scopes), f"{where}.{scopes}")):
        place = f"{where}.{scopes}[{j}]"
        about = _object(scope, place).get("scope")
        is_bentoml = is_object(about) and about.get("name") == BENTOML_SCOPE
        for k, content in enumerate(_array(scope.get(records), f"{place}.{records}")):
            at = f"{place}.{records}[{k}]"
            if signal == "resourceSpans":
                yield _Record(at, content, service, is_span=True)
                continue
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
