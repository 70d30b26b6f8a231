"""CloudEvents 1.0 in binary, structured and batch mode; KServe's and Seldon's payload loggers speak it.

A logger sends the request and the response of one call as two events that share an id and come in either order. Each
becomes a half (``part="request"`` or ``"response"``); the halves are joined by id where the log becomes the lake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from sightline.collector.formats import bodies, errors, lenient, rows, tensors
from sightline.collector.formats.marks import MARK, MarkEvent, mark_event
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.narrowing import is_array, is_object
from sightline.spec.model import MonitorSpec

REQUEST = {"org.kubeflow.serving.inference.request", "io.seldon.serving.inference.request"}
RESPONSE = {"org.kubeflow.serving.inference.response", "io.seldon.serving.inference.response"}
FEEDBACK = {"io.seldon.serving.feedback"}
OWN_INFERENCE, OWN_LABEL = "io.sightline.inference", "io.sightline.label"
REQUIRED = ("id", "source", "type", "specversion")
TRACED = (
    "traceparent", "tracestate", "inferenceservicename", "namespace", "component", "endpoint", "protocol", "metadata",
    "annotations",
)  # fmt: skip
Found = InferenceEvent | LabelEvent | RejectedEvent
QUOTED_PAIR = re.compile(r"\\(.)")


def parse(headers: Mapping[str, str], body: bytes, spec: MonitorSpec) -> Sequence[Found | MarkEvent]:
    """Adapter: see the module. `headers` has lower-case names. A mark comes alone: it is no row of a batch."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/cloudevents-batch+json":
        if body.lstrip()[:1] != b"[":
            raise SightlineError("a batch is an array of CloudEvents", where="batch")
        numbered = ((f"batch[{i}]", item) for i, item in enumerate(bodies.decode_records(body, "batch")))

        marks: list[str] = []

        def read(where: str, item: Any) -> list[Found]:
            record = bodies.decode_record(item, where)
            if is_object(record) and record.get("type") == MARK:
                marks.append(where)  # one that is wrong would be counted as a refused prediction
                return []
            return _event(*_structured(record, where), where, spec)

        found = rows.read_each(numbered, read, "cloudevents", _is_label)
        if marks:
            raise SightlineError("a mark is sent alone", where=marks[0], fix="send it in structured mode")
        return found
    if content_type == "application/cloudevents+json":
        attributes, data = _structured(bodies.decode_json(body, "event"), "event")
        return _one(attributes, data, spec)
    attributes = {name[3:]: _header_value(value, name) for name, value in headers.items() if name.startswith("ce-")}
    data = bodies.decode_document(body, "data", headers.get(tensors.LENGTH_HEADER)) if body else None
    return _one(attributes, data, spec)


def _one(attributes: Mapping[str, str], data: Any, spec: MonitorSpec) -> Sequence[Found | MarkEvent]:
    if attributes.get("type") == MARK:
        _check_attributes(attributes, "event")
        return [mark_event(attributes, data, "event")]
    return _event(attributes, data, "event", spec)


def _is_label(item: Any) -> bool:
    return is_object(item) and item.get("type") in (*FEEDBACK, OWN_LABEL)


def _header_value(text: str, where: str) -> str:
    """An attribute as the HTTP binding writes it: perhaps in double quotes, and percent-encoded."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = QUOTED_PAIR.sub(r"\1", text[1:-1])
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:  # the binding wants it refused: two ids must not become one
        raise SightlineError(f"header value {text[:80]!r} is no UTF-8", where=where) from error


def _structured(item: Any, where: str) -> tuple[dict[str, str], Any]:
    """Attributes and data of an event that is one document."""
    if not is_object(item):
        raise SightlineError("a CloudEvent is an object", where=where)
    data = item.get("data")
    if item.get("data_base64") is not None:
        place = f"{where}.data_base64"
        data = bodies.decode_document(bodies.decode_base64(str(item["data_base64"]), place), place)
    elif isinstance(data, str):
        data = bodies.decode_json(data, f"{where}.data")
    attributes = {
        name.lower(): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in item.items()
        if value is not None and name not in ("data", "data_base64")
    }
    return attributes, data


def _check_attributes(attributes: Mapping[str, str], where: str) -> None:
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


def _event(attributes: Mapping[str, str], data: Any, where: str, spec: MonitorSpec) -> list[Found]:
    _check_attributes(attributes, where)
    kind = attributes["type"]
    base = attributes.get("requestid") or attributes["id"]
    at = rows.moment(attributes.get("time"), f"{where}.time")
    served = str(data["model_version"]) if is_object(data) and data.get("model_version") else None
    version = attributes.get("modelid") or served or attributes.get("inferenceservicename")
    trace = {k: attributes[k] for k in TRACED if attributes.get(k) not in (None, "", "{}", "null")} or None
    common: dict[str, Any] = {"at": at, "version": version, "trace": trace, "source": "cloudevents"}
    if kind in REQUEST or kind in RESPONSE:
        part = "request" if kind in REQUEST else "response"
        status = _failed(attributes, data, spec) if part == "response" else None
        if status:
            failed = rows.inference_event(spec, None, None, id=base, part=part, status=status, **common)
            return [failed]
        found = (bodies.request_rows if part == "request" else bodies.response_rows)(data, f"{where}.data")
        return [
            rows.answered_event(
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
        base = _judged_call(data) or base
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
    allowed = sorted(REQUEST | RESPONSE | FEEDBACK | {OWN_INFERENCE, OWN_LABEL, MARK})
    raise SightlineError(
        f"CloudEvent type {kind!r} is not known", where=f"{where}.type", fix=f"send one of {', '.join(allowed)}"
    )


def _failed(attributes: Mapping[str, str], data: Any, spec: MonitorSpec) -> int | str | None:
    """Status of a call that failed, by the extension ``statuscode`` or by its answer."""
    code = attributes.get("statuscode", "")
    if code.isdigit() and int(code[:4]) >= 400:
        return int(code[:4])
    return errors.failure(data, spec)


def _judged_call(feedback: Any) -> str | None:
    """Id of the call that feedback of Seldon is about.

    It is that of the response it repeats (the feedback's own may be a new one).
    """
    for part in ("response", "request"):
        message = feedback.get(part) if is_object(feedback) else None
        meta = message.get("meta") if is_object(message) else None
        if is_object(meta) and isinstance(meta.get("puid"), str) and meta["puid"]:
            return meta["puid"]
    return None


def _truth(data: Any, where: str) -> list[dict[str, Any]]:
    """Rows of labels.

    Seldon's feedback holds a message ``truth`` (or a number, or an array); others an object, or an array.
    """
    if is_object(data) and "truth" in data:
        truth = data["truth"]
        if is_object(truth) and rows.RETRACTED in truth:
            return [dict(truth)]
        if is_object(truth) and not bodies.is_seldon(truth) and bodies.is_seldon({"data": truth}):
            truth = {"data": truth}  # without the envelope of a message
        found = bodies.response_rows(truth, f"{where}.truth")
        return [{"value": next(iter(row.values()))} if len(row) == 1 else row for row in found]
    if is_object(data):
        if data.keys() <= {"request", "response", "reward", "meta"}:
            what = "the feedback holds no truth (a reward is none)"
            raise SightlineError(what, where=where, fix="send `truth` with the feedback")
        return [dict(data)]
    if is_array(data):
        lenient.check_rows(len(data), where)
        return [dict(v) if is_object(v) else {"value": v} for v in data]
    raise SightlineError(
        "the feedback holds no truth", where=where, fix="send `truth`, an object with the label, or an array"
    )
