"""Bodies of model servers sent as they are: Open Inference Protocol v1 and v2, and MLflow's ``/invocations``.

The document is ``{"id": ..., "request": BODY, "response": BODY}``, or the request body alone (then with the ids of its
rows in the column that the spec names). Where the response is inside, the event is whole and needs no joining.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.collector.formats import bodies, errors, rows, tensors
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.narrowing import is_object
from sightline.spec.model import MonitorSpec


def open_inference(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for Open Inference Protocol bodies.

    The id is the document's, the request's own, or header ``x-request-id``.
    """
    return _calls(headers, body, spec, "open_inference")


def mlflow(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for MLflow ``/invocations`` bodies."""
    return _calls(headers, body, spec, "mlflow")


def _calls(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec, source: str
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    if body.lstrip()[:1] == b"[":
        calls = bodies.decode_records(body, "body")
    else:
        calls = [bodies.decode_document(body, "body", headers.get(tensors.LENGTH_HEADER))]
    numbered = ((f"body[{i}]" if len(calls) > 1 else "body", call) for i, call in enumerate(calls))

    def read(where: str, call: Any) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
        return _call(headers, bodies.decode_record(call, where), spec, source, where)

    return rows.read_each(numbered, read, source)


def _call(
    headers: Mapping[str, str], call: Any, spec: MonitorSpec, source: str, where: str
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    if not is_object(call):
        raise SightlineError(f"expected an object, found {type(call).__name__}", where=where)
    wrapped = "request" in call or "response" in call
    request, response = (call.get("request"), call.get("response")) if wrapped else (call, None)
    inputs = bodies.request_rows(request, f"{where}.request") if request is not None else None
    status = errors.failure(response, spec)
    outputs = bodies.response_rows(response, f"{where}.response") if response is not None and not status else None
    if inputs is not None and outputs is not None and len(inputs) != len(outputs):
        raise SightlineError(f"{len(inputs)} inputs and {len(outputs)} outputs", where=where)
    base = _id(headers, call, request, response)
    version = next(
        (str(b["model_version"]) for b in (response, request) if is_object(b) and b.get("model_version")),
        None,
    )
    known: dict[str, Any] = {
        "at": rows.moment(call.get("time") or headers.get("x-timestamp"), f"{where}.time"),
        "version": version,
        "source": source,
        "status": status,
        "part": None
        if (inputs is None) == (response is None)
        else ("request" if response is None and wrapped else "response" if inputs is None else None),
    }
    count = 1 if inputs is None and outputs is None else len(inputs if inputs is not None else outputs or [])
    events: list[InferenceEvent | LabelEvent | RejectedEvent] = []
    for i in range(count):
        row = inputs[i] if inputs is not None else None
        if base is None and not (row and spec.columns.prediction_id in row):
            raise SightlineError(
                f"the call has no id: neither `id`, header x-request-id nor a column {spec.columns.prediction_id!r}",
                where=where,
                fix="send one, so that labels can refer to the prediction",
            )
        identity = rows.exploded_id(base, i, count) if base is not None else ""
        events.append(rows.answered_event(spec, row, outputs[i] if outputs is not None else None, id=identity, **known))
    return events


def _id(headers: Mapping[str, str], call: Mapping[str, Any], request: Any, response: Any) -> str | None:
    for holder in (call, request, response):
        if is_object(holder):
            for key in ("id", "request_id", "client_request_id"):
                if isinstance(holder.get(key), str | int) and holder[key] != "":
                    return str(holder[key])
    return headers.get("x-request-id") or None
