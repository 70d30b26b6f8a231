"""Rows of capture tables: Databricks inference tables and SageMaker data capture with its ground truth (JSON lines)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sightline.collector.formats import bodies, errors, lenient, rows
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.narrowing import is_object
from sightline.spec.field_types import NUMBER_TASKS
from sightline.spec.model import MonitorSpec

IDS = ("client_request_id", "databricks_request_id", "invocation_id")
DURATIONS = ("execution_time_ms", "execution_duration_ms", "latency_ms")
TIMES = ("request_time", "event_time")
TRUTHS = {"true": True, "false": False}
"""Words of CSV where a feature is no text."""


def _lines(body: bytes) -> Iterator[tuple[str, Any]]:
    """Records of JSON lines (as bytes) or of one array, each with its place."""
    if body.lstrip()[:1] == b"[":
        for i, item in enumerate(bodies.decode_records(body, "body")):
            yield f"body[{i}]", item
        return
    for i, line in enumerate(lenient.lines(body)):
        if line.strip():
            yield f"line {i + 1}", line


def _record(where: str, item: Any) -> Mapping[str, Any]:
    item = bodies.decode_record(item, where)
    if not is_object(item):
        raise SightlineError("expected an object", where=where)
    return item


def databricks(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for rows of a Databricks inference table; ``sampling_fraction`` becomes the weight 1 / fraction.

    The columns are those of inference tables of AI Gateway, of the older ones of model serving (``timestamp_ms``,
    ``execution_time_ms``, ``request_metadata``), and of Unity AI Gateway (``event_time``, ``invocation_id``,
    ``latency_ms``). A batch call is one row; `request` and `response` are JSON text, null if they were too large;
    `client_request_id` wins as the id.
    """
    return rows.read_each(_lines(body), lambda where, item: _served(spec, where, _record(where, item)), "databricks")


def _served(
    spec: MonitorSpec, where: str, item: Mapping[str, Any]
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    base = next((item[name] for name in IDS if item.get(name)), None)
    if base is None:
        raise SightlineError("neither client_request_id nor databricks_request_id", where=where)
    request, response = _json_field(item, "request", where), None
    status = item.get("status_code")
    if status in (None, 200, "200"):  # a failed call answers with an error document
        response = _json_field(item, "response", where)
        if found := errors.failure(response, spec):
            status, response = found, None
    inputs = None if request is None else bodies.request_rows(request, f"{where}.request")
    outputs = None if response is None else bodies.response_rows(response, f"{where}.response")
    if inputs is None and outputs is None and status in (None, 200, "200"):
        codes = item.get("logging_error_codes") or "no logging_error_codes"
        raise SightlineError(f"the row holds neither request nor response: {codes!s:.200}", where=where)
    count = 1 if inputs is None and outputs is None else len(inputs if inputs is not None else outputs or [])
    if inputs is not None and outputs is not None and len(inputs) != len(outputs):
        raise SightlineError(f"{len(inputs)} inputs and {len(outputs)} outputs", where=where)
    known: dict[str, Any] = {
        "at": _served_at(item, where),
        "status": status,
        "source": "databricks",
        "latency_ms": next((item[k] for k in DURATIONS if item.get(k) is not None), None),
        "weight": _weight(item.get("sampling_fraction"), where),
        "version": _version(item, where),
    }
    return [
        rows.answered_event(
            spec,
            None if inputs is None else inputs[i],
            None if outputs is None else outputs[i],
            id=rows.exploded_id(str(base), i, count),
            **known,
        )
        for i in range(count)
    ]


def _served_at(item: Mapping[str, Any], where: str) -> datetime | None:
    milliseconds = rows.since_1970(item.get("timestamp_ms"), "ms")
    if milliseconds is not None:
        return milliseconds
    name = next((name for name in ("timestamp_ms", *TIMES) if item.get(name) is not None), TIMES[0])
    return rows.moment(item.get(name), f"{where}.{name}")


def _version(item: Mapping[str, Any], where: str) -> str | None:
    metadata = _json_field(item, "request_metadata", where)
    if is_object(metadata) and metadata.get("model_version"):
        return str(metadata["model_version"])
    served = item.get("served_entity_id") or item.get("model_version")
    return str(served) if served else None


def _weight(fraction: Any, where: str) -> float | None:
    if fraction in (None, "", 1, 1.0):
        return None
    try:
        value = float(fraction)
    except (TypeError, ValueError, OverflowError):
        value = 0.0
    if not 0 < value <= 1:
        raise SightlineError(f"sampling_fraction {str(fraction)[:40]!r} is not in (0, 1]", where=where)
    return 1 / value


def _json_field(item: Mapping[str, Any], field: str, where: str) -> Any:
    value = item.get(field)
    if isinstance(value, str):
        return bodies.decode_json(value, f"{where}.{field}") if value else None
    return value


def sagemaker(
    headers: Mapping[str, str], body: bytes, spec: MonitorSpec
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    """Adapter for SageMaker data capture and ground-truth lines; ``inferenceId`` wins over ``eventId``."""

    def read(where: str, item: Any) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
        return _monitored(spec, where, _record(where, item))

    return rows.read_each(_lines(body), read, "sagemaker", _is_truth)


def _is_truth(item: Any) -> bool:
    if isinstance(item, bytes):
        return b'"groundTruthData"' in item and b'"captureData"' not in item
    return is_object(item) and "groundTruthData" in item and "captureData" not in item


def _monitored(
    spec: MonitorSpec, where: str, item: Mapping[str, Any]
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    metadata = item.get("eventMetadata")
    if not is_object(metadata):
        raise SightlineError("no `eventMetadata`", where=where, fix="send lines as SageMaker writes them")
    base = metadata.get("inferenceId") or metadata.get("eventId")
    if not base:
        raise SightlineError("neither inferenceId nor eventId", where=f"{where}.eventMetadata")
    at = rows.moment(metadata.get("inferenceTime"), f"{where}.eventMetadata.inferenceTime")
    if "groundTruthData" not in item:
        return _captured(spec, item, where, str(base), at)
    # The inference time is that of the prediction; when the truth became known is not told. Merged files hold both.
    captured = _captured(spec, item, where, str(base), at) if "captureData" in item else []
    truth = _payload(item["groundTruthData"], f"{where}.groundTruthData", request=False)
    if _is_csv(item["groundTruthData"]) and spec.model.task in NUMBER_TASKS:
        truth = [_numbers(row) for row in truth]
    return captured + [
        rows.label_event(
            spec,
            _label_row(r),
            id=rows.exploded_id(str(base), i, len(truth)),
            predicted_at=at,
            source="sagemaker",
        )
        for i, r in enumerate(truth)
    ]


def _captured(
    spec: MonitorSpec, item: Mapping[str, Any], where: str, base: str, at: Any
) -> list[InferenceEvent | LabelEvent | RejectedEvent]:
    captured = item.get("captureData")
    if not is_object(captured):
        raise SightlineError("neither `captureData` nor `groundTruthData`", where=where)
    sides: dict[str, list[bodies.Row]] = {}
    status = None
    for side in ("Input", "Output"):
        payload = captured.get(f"endpoint{side}")
        if payload is not None:
            place = f"{where}.captureData.{side}"
            status = errors.failure(_document(payload), spec, may_be_text=True) if side == "Output" else None
            sides[side] = [] if status else _payload(payload, place, request=side == "Input")
    if not sides:
        raise SightlineError("captureData holds neither input nor output", where=where)
    inputs, outputs = sides.get("Input"), None if status else sides.get("Output")
    if inputs and outputs and len(outputs) == 1 < len(inputs) == len(outputs[0]) and "@0" in outputs[0]:
        outputs = [{"@0": value} for value in outputs[0].values()]  # some containers answer with one line for all rows
    if inputs and _is_csv(captured["endpointInput"]):
        inputs = [_typed_inputs(spec, row) for row in inputs]
    if outputs and _is_csv(captured["endpointOutput"]):
        outputs = [_typed_outputs(spec, row) for row in outputs]
    if inputs is not None and outputs is not None and len(inputs) != len(outputs):
        raise SightlineError(f"{len(inputs)} inputs and {len(outputs)} outputs", where=where)
    part = None if len(sides) == 2 else ("request" if inputs is not None else "response")
    count = 1 if inputs is None and outputs is None else len(inputs if inputs is not None else outputs or [])
    return [
        rows.answered_event(
            spec,
            inputs[i] if inputs is not None else None,
            outputs[i] if outputs is not None else None,
            id=rows.exploded_id(base, i, count),
            at=at,
            part=part,
            status=status,
            source="sagemaker",
        )
        for i in range(count)
    ]


def _is_csv(payload: Mapping[str, Any]) -> bool:
    encoding = str(payload.get("encoding", "JSON")).upper()
    return encoding == "CSV" or (encoding == "BASE64" and "csv" in str(payload.get("observedContentType", "")).lower())


def _numbers(row: bodies.Row) -> bodies.Row:
    return {name: bodies.number(value) for name, value in row.items()}


def _typed_inputs(spec: MonitorSpec, row: bodies.Row) -> bodies.Row:
    """Fields of CSV as the kinds of the features want them: a category stays the text that it is."""
    kinds = [feature.kind for feature in spec.columns.logged.values()]
    if len(kinds) != len(row):  # refused later
        return row
    texts = ("categorical", "text")
    return {
        name: value if kind in texts else TRUTHS.get(str(value).strip().lower(), bodies.number(value))
        for (name, value), kind in zip(row.items(), kinds, strict=True)
    }


def _typed_outputs(spec: MonitorSpec, row: bodies.Row) -> bodies.Row:
    """Probabilities and predicted numbers as numbers, a predicted class as the text that it is."""
    task = spec.model.task
    is_class = task == "multiclass_classification" or (task == "binary_classification" and not spec.columns.score)
    return row if is_class and len(row) == 1 else _numbers(row)


def _document(payload: Any) -> Any:
    """The JSON document of a captured answer, or its text if it is a single value or a page."""
    data = payload.get("data") if is_object(payload) else None
    if isinstance(data, str) and str(payload.get("encoding", "JSON")).upper() == "BASE64":
        with contextlib.suppress(SightlineError):
            data = bodies.decode_base64(data, "data").decode("utf-8", errors="replace")
    if not isinstance(data, str):
        return data
    if data.lstrip()[:1] in ("{", "[", '"'):
        with contextlib.suppress(SightlineError):
            return bodies.decode_json(data, "data")
    is_several = any(mark in data.strip() for mark in (",", "\n")) and data.lstrip()[:1] != "<"
    return None if is_several or data.lstrip()[:1] in ("{", "[", '"') else data


def _payload(payload: Any, where: str, *, request: bool) -> list[bodies.Row]:
    if not is_object(payload) or "data" not in payload:
        raise SightlineError("expected an object with `data` and `encoding`", where=where)
    data, encoding = payload["data"], str(payload.get("encoding", "JSON")).upper()
    media = str(payload.get("observedContentType", "")).lower()
    if encoding == "BASE64":
        data = bodies.decode_base64(str(data), f"{where}.data").decode("utf-8", errors="replace")
        encoding = "CSV" if "csv" in media else "JSON"
    if encoding == "CSV":
        return bodies.csv_rows(str(data))
    if encoding != "JSON":
        raise SightlineError(
            f"encoding {encoding[:40]!r} is not supported", where=where, fix="capture CSV or JSON content types"
        )
    if isinstance(data, str) and "jsonlines" in media:
        lines = [line for line in lenient.lines(data.encode("utf-8", "surrogatepass")) if line.strip()]
        value: Any = [bodies.decode_json(line, f"{where}.data") for line in lines]
    else:
        value = bodies.decode_json(data, f"{where}.data") if isinstance(data, str) else data
    return (
        bodies.request_rows(value, f"{where}.data")
        if request and isinstance(value, list | Mapping)
        else bodies.response_rows(value, f"{where}.data")
    )


def _label_row(row: bodies.Row) -> bodies.Row:
    return {"value": row["@0"]} if "@0" in row and rows.RETRACTED not in row else row
