"""CloudEvents 1.0 in binary, structured and batch mode; KServe's and Seldon's payload loggers speak it.

A logger sends the request and the response of one call as two events that share an id and come in either order. Each
becomes a half (``part="request"`` or ``"response"``); the halves are joined by id where the log becomes the lake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from sightline.collector.formats import bodies, rows
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

REQUEST = {"org.kubeflow.serving.inference.request", "io.seldon.serving.inference.request"}
RESPONSE = {"org.kubeflow.serving.inference.response", "io.seldon.serving.inference.response"}
FEEDBACK = {"io.seldon.serving.feedback"}
OWN_INFERENCE, OWN_LABEL = "io.sightline.inference", "io.sightline.label"
REQUIRED = ("id", "source", "type", "specversion")


def parse(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter: see the module. `headers` has lower-case names."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/cloudevents-batch+json":
        batch = bodies.decode_json(body, "batch")
        if not isinstance(batch, list):
            raise SightlineError("a batch is an array of CloudEvents", where="batch")
        numbered = ((f"batch[{i}]", item) for i, item in enumerate(batch))
        return rows.read_each(numbered, lambda where, item: _structured(item, where, spec), "cloudevents")
    if content_type == "application/cloudevents+json":
        return _structured(bodies.decode_json(body, "event"), "event", spec)
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    return _event(attributes, bodies.decode_json(body, "data") if body else None, "event", spec)


def _structured(item: Any, where: str, spec: MonitorSpec) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    if not isinstance(item, Mapping):
        raise SightlineError("a CloudEvent is an object", where=where)
    data = item.get("data")
    if "data_base64" in item:
        data = bodies.decode_json(
            bodies.decode_base64(str(item["data_base64"]), f"{where}.data_base64"), f"{where}.data"
        )
    elif isinstance(data, str):
        data = bodies.decode_json(data, f"{where}.data")
    return _event({k.lower(): str(v) for k, v in item.items() if k not in ("data", "data_base64")}, data, where, spec)


def _event(
    attributes: Mapping[str, str], data: Any, where: str, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    missing = [name for name in REQUIRED if not attributes.get(name)]
    if missing:
        raise SightlineError(
            f"the CloudEvent lacks {', '.join(missing)}",
            where=where,
            fix="send all required attributes of CloudEvents 1.0",
        )
    if not attributes["specversion"].startswith("1."):
        raise SightlineError(
            f"specversion {attributes['specversion']!r} is not supported", where=where, fix="send CloudEvents 1.0"
        )
    kind = attributes["type"]
    base = attributes.get("requestid") or attributes["id"]
    at = rows.moment(attributes.get("time"), f"{where}.time")
    version = attributes.get("modelid") or attributes.get("inferenceservicename")
    trace = {
        k: v for k, v in attributes.items() if k in ("traceparent", "tracestate", "namespace", "component", "endpoint")
    } or None
    common: dict[str, Any] = {"at": at, "version": version, "trace": trace, "source": "cloudevents"}
    if kind in REQUEST or kind in RESPONSE:
        part = "request" if kind in REQUEST else "response"
        found = (bodies.request_rows if part == "request" else bodies.response_rows)(data, f"{where}.data")
        return [
            rows.inference_event(
                spec,
                row if part == "request" else None,
                row if part == "response" else None,
                id=rows.exploded_id(base, i, len(found)),
                part=part,
                **common,
            )
            for i, row in enumerate(found)
        ]
    if kind in FEEDBACK or kind == OWN_LABEL:
        truth = _truth(data, f"{where}.data")
        return [
            rows.label_event(spec, row, id=rows.exploded_id(base, i, len(truth)), at=at, source="cloudevents")
            for i, row in enumerate(truth)
        ]
    if kind == OWN_INFERENCE:
        found = bodies.request_rows(data, f"{where}.data")
        return [
            rows.inference_event(spec, row, None, id=rows.exploded_id(base, i, len(found)), **common)
            for i, row in enumerate(found)
        ]
    allowed = sorted(REQUEST | RESPONSE | FEEDBACK | {OWN_INFERENCE, OWN_LABEL})
    raise SightlineError(
        f"CloudEvent type {kind!r} is not known", where=f"{where}.type", fix=f"send one of {', '.join(allowed)}"
    )


def _truth(data: Any, where: str) -> list[dict[str, Any]]:
    """Seldon feedback holds ``truth``: a number, an array, or its ``data.ndarray``."""
    if isinstance(data, Mapping) and "truth" in data:
        truth = data["truth"]
        if isinstance(truth, Mapping):
            truth = truth.get("data", truth)
            truth = truth.get("ndarray", truth) if isinstance(truth, Mapping) else truth
        values = truth if isinstance(truth, list) else [truth]
        return [{"value": v[0] if isinstance(v, list) and len(v) == 1 else v} for v in values]
    if isinstance(data, Mapping):
        return [dict(data)]
    if isinstance(data, list):
        return [dict(v) if isinstance(v, Mapping) else {"value": v} for v in data]
    raise SightlineError(
        "the feedback holds no truth", where=where, fix="send `truth`, an object with the label, or an array"
    )
