"""Bodies as the current documentation and sources of the senders show them.

Also what must not bring a collector down.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sightline.collector.formats import ADAPTERS
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {"score": "p", "features": {"a": "numeric", "b": "numeric", "c": "categorical"}},
        "labels": {"column": "late"},
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)


def read(name: str, document: Any, **headers: str) -> list[Any]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return ADAPTERS[name]({key.replace("_", "-"): value for key, value in headers.items()}, body, SPEC)


def brief(events: list[Any]) -> list[tuple[Any, ...]]:
    return [(e.id, e.features, e.score) if isinstance(e, InferenceEvent) else type(e).__name__ for e in events]


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def capture(sent: str, answered: str, encoding: str, media: str) -> dict[str, Any]:
    sides = {
        f"endpoint{side}": {"observedContentType": media, "mode": side.upper(), "data": data, "encoding": encoding}
        for side, data in (("Input", sent), ("Output", answered))
    }
    return {
        "captureData": sides,
        "eventMetadata": {"eventId": "e", "inferenceTime": "2026-01-14T17:25:49Z"},
        "eventVersion": "0",
    }


@pytest.mark.parametrize(
    ("sent", "answered", "encoding", "media", "expected"),
    [
        ("50,0,x", "0.25", "CSV", "text/csv", [("e", {"a": 50.0, "b": 0.0, "c": "x"}, 0.25)]),
        ("1,2,x\n3,4,y", "0.25,0.5", "CSV", "text/csv",
         [("e:0", {"a": 1.0, "b": 2.0, "c": "x"}, 0.25), ("e:1", {"a": 3.0, "b": 4.0, "c": "y"}, 0.5)]),
        (base64_text("50,0,x"), base64_text("0.25"), "BASE64", "text/csv; charset=utf-8",
         [("e", {"a": 50.0, "b": 0.0, "c": "x"}, 0.25)]),
        (base64_text('{"instances": [{"features": [1, 2, "x"]}]}'), base64_text('{"predictions": [{"score": 0.25}]}'),
         "BASE64", "application/json", [("e", {"a": 1, "b": 2, "c": "x"}, 0.25)]),
        (base64_text('{"a": 1}\n{"a": 2}\n'), base64_text('{"p": 0.25}\n{"p": 0.5}'), "BASE64", "application/jsonlines",
         [("e:0", {"a": 1}, 0.25), ("e:1", {"a": 2}, 0.5)]),
        ('{"a": 1}', "0.25", "JSON", "application/json", [("e", {"a": 1}, 0.25)]),
    ],
)  # fmt: skip
def test_sagemaker_encodings(sent, answered, encoding, media, expected):
    assert brief(read("sagemaker", capture(sent, answered, encoding, media))) == expected


def test_bentoml_data_lines_without_their_schema():
    """What its default monitor writes: one line per row, several with one request id for a batch."""
    more = {"timestamp": "2026-01-14T17:25:49.123456", "request_id": "9913", "trace_id": "5"}
    lines = b"\n".join(json.dumps({"a": a, "p": 0.5, **more}).encode() for a in (1, 2))
    assert brief(read("bentoml", lines)) == [("9913:0", {"a": 1}, 0.5), ("9913:1", {"a": 2}, 0.5)]
    (alone, label) = read("bentoml", {"a": 1, "late": 1, **more, "request_id": "7"})
    assert (alone.id, alone.features, label.id, label.value) == ("7", {"a": 1}, "7", 1)
    schema = {"meta_data": {"bento_name": "m"}, "columns": [{"name": "a", "role": "feature", "type": "numerical"}]}
    assert brief(read("bentoml", {"schema": schema, "records": [{"request_id": "8", "a": 1}]})) == [
        ("8", {"a": 1}, None)
    ]


def test_databricks_rows_of_both_schemas():
    row = {
        "databricks_request_id": "d", "request_time": "2026-01-14 17:25:49.123", "status_code": 200,
        "execution_duration_ms": 12,
        "request": '{"dataframe_records": [{"a": 1}]}', "response": '{"predictions": [0.25]}', "served_entity_id": "s",
        "logging_error_codes": [], "requester": "u",
    }  # fmt: skip
    failed = {**row, "status_code": 400, "response": '{"error_code": "BAD_REQUEST", "message": "x"}'}
    good, bad, wrong = read("databricks", [row, failed, {**row, "execution_duration_ms": "soon"}])
    assert (good.latency_ms, good.version, good.score, good.at.microsecond) == (12.0, "s", 0.25, 123000)
    assert (bad.status, bad.score, bad.features) == (400, None, {"a": 1})
    assert (wrong.reason, wrong.column) == ("bad_type", "latency_ms")


def test_mlflow_params_are_no_features():
    request = {"dataframe_split": {"columns": ["a"], "index": [0], "data": [[1]]}, "params": {"top_k": 2}}
    call = {"id": "q", "request": request, "response": {"predictions": [[0.75, 0.25]]}}
    assert brief(read("mlflow", call)) == [("q", {"a": 1}, 0.25)]


def test_open_inference_tensors_of_every_common_type():
    tensors = [
        {"name": "a", "shape": [2], "datatype": "FP32", "data": [1.5, 2.5]},
        {"name": "b", "shape": [2, 1], "datatype": "BOOL", "data": [[True], [False]]},
        {"name": "c", "shape": [2], "datatype": "BYTES", "parameters": {"content_type": "str"}, "data": ["x", "y"]},
    ]
    output = {"name": "predict", "shape": [2], "datatype": "FP64", "data": [0.25, 0.5]}
    call = {
        "request": {"id": "o", "parameters": {"content_type": "pd"}, "inputs": tensors},
        "response": {"outputs": [output]},
    }
    assert brief(read("open_inference", call)) == [
        ("o:0", {"a": 1.5, "b": True, "c": "x"}, 0.25),
        ("o:1", {"a": 2.5, "b": False, "c": "y"}, 0.5),
    ]


def test_attributes_of_a_binary_cloudevent_may_be_percent_encoded():
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "k%C3%A9",
        "ce_source": "x",
        "ce_type": "org.kubeflow.serving.inference.request",
    }
    assert [e.id for e in read("cloudevents", {"instances": [[1, 2, "x"]]}, **headers)] == ["ké"]


@pytest.mark.parametrize("shape", [[10**9, 0], [10**12, 0, 5], [2, 0]])
def test_a_tensor_may_not_claim_rows_it_does_not_bring(shape):
    tensor = {"name": "a", "shape": shape, "datatype": "FP32", "data": []}
    with pytest.raises(SightlineError, match="rows without values"):
        read("open_inference", {"id": "o", "inputs": [tensor]})


ATTRIBUTES = [{"key": "sightline.prediction.id", "value": {"intValue": "77"}}]
RECORD = {"eventName": "sightline.inference", "timeUnixNano": "1768411549000000000", "attributes": ATTRIBUTES}
EVENT = {"specversion": "1.0", "id": "c", "source": "x", "type": "io.sightline.inference", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("name", "good", "bad", "wrap"),
    [
        ("otlp", RECORD, {**RECORD, "attributes": []},
         lambda rs: {"resourceLogs": [{"scopeLogs": [{"logRecords": rs}]}]}),
        ("otlp", RECORD, 5, lambda rs: {"resourceLogs": [{"scopeLogs": [{"logRecords": rs}]}]}),
        ("cloudevents", EVENT, {"id": "c"}, list),
        ("databricks", {"databricks_request_id": "d", "request": {"a": 1}}, {"request": {"a": 1}}, list),
        ("sagemaker", capture("1,2,x", "0.5", "CSV", "text/csv"), {"captureData": {}},
         lambda rs: b"\n".join(json.dumps(r).encode() for r in rs)),
        ("sagemaker", capture("1,2,x", "0.5", "CSV", "text/csv"), None,
         lambda rs: json.dumps(rs[0]).encode() + b"\n{torn"),
        ("bentoml", {"a": 1, "request_id": "7"}, {"a": 1}, list),
        ("mlflow", {"id": "q", "inputs": [[1, 2, "x"]]}, {"id": "q"}, list),
    ],
)  # fmt: skip
def test_one_record_that_cannot_be_read_does_not_cost_the_others(name, good, bad, wrap):
    media = "application/cloudevents-batch+json" if name == "cloudevents" else "application/json"
    if (name, bad) == ("mlflow", {"id": "q"}):
        bad = {"request": 5}
    event, rejected = read(name, wrap([good, bad]), content_type=media)
    assert isinstance(event, InferenceEvent) and isinstance(rejected, RejectedEvent)
    assert rejected.reason == "bad_row" and rejected.message and rejected.payload
    if bad is not None:
        with pytest.raises(SightlineError):
            read(name, wrap([bad, bad]), content_type=media)


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("inferences", '[{"id": "x", "features": {"a": %s}}, {"id": "y"}]'),
        ("labels", '[{"id": "x", "value": %s}, {"id": "y", "value": 1}]'),
        ("inferences", '[%s, {"id": "y"}]'),
        ("inferences", '[{"id": "x", "trace": {"a": %s}}, {"id": "y"}]'),
        ("inferences", '[{"id": %s}, {"id": "y"}]'),
        ("databricks",
         '[{"databricks_request_id": "x", "request": {"a": %s}}, {"databricks_request_id": "y", "request": {"a": 1}}]'),
        ("mlflow", '[{"id": "x", "dataframe_records": [{"a": %s}]}, {"id": "y", "dataframe_records": [{"a": 1}]}]'),
        ("bentoml", '[{"request_id": "x", "a": %s}, {"request_id": "y", "a": 1}]'),
    ],
)  # fmt: skip
def test_deep_nesting_costs_its_row_only(name, body):
    rejected, event = read(name, (body % DEEP).encode())
    assert isinstance(rejected, RejectedEvent) and event.id == "y", (rejected, event)


def test_numbers_and_text_that_cannot_be_read_cost_their_row_only():
    body = b'[{"id": "a"}, {"id": "b", "score": 1e999}, {"id": "c\xff"}, {"id": "d"}]'
    found = read("inferences", body)
    assert [getattr(e, "reason", e.id) for e in found] == ["a", "bad_json", "bad_json", "d"]
