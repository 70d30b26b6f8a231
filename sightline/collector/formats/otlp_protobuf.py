"""OTLP as protobuf: requests as the documents that OTLP/JSON has for them, and the answers that OTLP asks for.

The messages are those of the package opentelemetry-proto (extra ``llm``).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sightline.collector.formats.lenient import TooMuchError
from sightline.errors import SightlineError

Signal = Literal["traces", "logs"]
MEDIA_TYPE = "application/x-protobuf"
MAX_BYTES = 4 * 1024 * 1024
"""A message in protobuf may take fifty times its size in memory; 4 MiB is also what OTLP over gRPC takes."""
MAX_VALUES = 500_000
"""Attributes and values of a message in all."""
REJECTED = {"traces": "rejectedSpans", "logs": "rejectedLogRecords"}


def is_protobuf(headers: Mapping[str, str]) -> bool:
    """Whether a request is written in protobuf."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == MEDIA_TYPE


def document(body: bytes, signal: Signal) -> dict[str, Any]:
    """The export request as the JSON document that it is in OTLP/JSON.

    Raises
    ------
    SightlineError
        It is no such message, or the package is not installed.
    TooMuchError
        It is longer than `MAX_BYTES` or holds more than `MAX_VALUES`.
    """
    if len(body) > MAX_BYTES:
        raise TooMuchError(f"{len(body)} bytes of protobuf; at most {MAX_BYTES}", "body")
    request = _requests()[signal]()
    from google.protobuf.message import DecodeError

    try:
        request.ParseFromString(body)
    except DecodeError as error:
        fix = f"POST to otlp/v1/{signal} what an exporter of {signal} sends"
        raise SightlineError(f"the body is no OTLP request of {signal}: {error}", where="body", fix=fix) from error
    return _Reader().request(request, signal)


def _requests() -> dict[Signal, Callable[[], Any]]:
    try:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ModuleNotFoundError as error:
        fix = "pip install 'sightline[llm]', or send JSON (OTEL_EXPORTER_OTLP_PROTOCOL=http/json)"
        raise SightlineError("OTLP as protobuf needs the package opentelemetry-proto", where="body", fix=fix) from error
    return {"traces": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest}


class _Reader:
    """Messages as documents; counts values, so that a small body does not become large."""

    def __init__(self) -> None:
        self.n = 0

    def request(self, request: Any, signal: Signal) -> dict[str, Any]:
        if signal == "logs":
            found = request.resource_logs
            read = [self._resource(r, r.scope_logs, "scopeLogs", "log_records", "logRecords", self._log) for r in found]
            return {"resourceLogs": read}
        found = request.resource_spans
        return {"resourceSpans": [self._resource(r, r.scope_spans, "scopeSpans", "spans", "spans", self._span)
                                  for r in found]}  # fmt: skip

    def _resource(
        self, resource: Any, scopes: Sequence[Any], name: str, field: str, key: str, read: Callable[[Any], Any]
    ) -> dict[str, Any]:
        found = [{"scope": {"name": s.scope.name}, key: [read(r) for r in getattr(s, field)]} for s in scopes]
        return {"resource": {"attributes": self._attributes(resource.resource.attributes)}, name: found}

    def _log(self, record: Any) -> dict[str, Any]:
        self._count()
        found = {
            "timeUnixNano": record.time_unix_nano,
            "observedTimeUnixNano": record.observed_time_unix_nano,
            "eventName": record.event_name or None,
            "traceId": record.trace_id.hex(),
            "spanId": record.span_id.hex(),
            "attributes": self._attributes(record.attributes),
        }
        return {**found, "body": self._value(record.body)} if record.HasField("body") else found

    def _span(self, span: Any) -> dict[str, Any]:
        self._count()
        return {
            "traceId": span.trace_id.hex(),
            "spanId": span.span_id.hex(),
            "name": span.name,
            "startTimeUnixNano": span.start_time_unix_nano,
            "endTimeUnixNano": span.end_time_unix_nano,
            "attributes": self._attributes(span.attributes),
            "status": {"code": span.status.code, "message": span.status.message},
            "events": [
                {"name": e.name, "timeUnixNano": e.time_unix_nano, "attributes": self._attributes(e.attributes)}
                for e in span.events
            ],
        }

    def _attributes(self, attributes: Any) -> list[dict[str, Any]]:
        return [{"key": each.key, "value": self._value(each.value)} for each in attributes]

    def _value(self, value: Any) -> dict[str, Any]:
        self._count()
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return {"arrayValue": {"values": [self._value(each) for each in value.array_value.values]}}
        if kind == "kvlist_value":
            return {"kvlistValue": {"values": self._attributes(value.kvlist_value.values)}}
        if kind == "bytes_value":
            return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
        names = {"string_value": "stringValue", "bool_value": "boolValue", "int_value": "intValue",
                 "double_value": "doubleValue"}  # fmt: skip
        return {names[kind]: getattr(value, kind)} if kind in names else {}

    def _count(self) -> None:
        self.n += 1
        if self.n > MAX_VALUES:
            raise TooMuchError(f"more than {MAX_VALUES} values in one request", "body")


def answer(signal: Signal, n_rejected: int, message: str, *, protobuf: bool) -> bytes:
    """Body of a 200: how many records were refused, and why; nothing where none was.

    A sender must not send again what is in it.
    """
    if not protobuf:
        import msgspec

        told = {"partialSuccess": {REJECTED[signal]: str(n_rejected), "errorMessage": message}} if n_rejected else {}
        return msgspec.json.encode(told)
    if not n_rejected:
        return b""
    inner = b"\x08" + _varint(n_rejected) + _text_field(2, message)
    return b"\x0a" + _varint(len(inner)) + inner


def status(message: str) -> bytes:
    """Body of an answer other than 200: a ``google.rpc.Status`` with a message."""
    return _text_field(2, message)


def _text_field(number: int, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
