"""Each wire format against a body as its sender writes it, and what every adapter must do with broken ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector.formats import bentoml, cloudevents, invocations, otlp, tables
from sightline.collector.formats.native import inferences, labels
from sightline.errors import SightlineError
from sightline.log.events import EVENT_TYPES, INFERENCES, LABELS, REJECTED, InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec

CAPTURED = Path(__file__).parent / "captured"
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "iris", "task": "binary_classification"},
        "columns": {
            "score": "score",
            "model_version": "version",
            "features": {"sepal_length": {"kind": "numeric"}, "sepal_width": {"kind": "numeric"}},
        },
        "labels": {"column": "is_setosa"},
        "reference": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-05T00:00:00Z"},
    }
)
FOUR = SPEC.model_copy(
    update={
        "columns": SPEC.columns.model_copy(
            update={
                "features": dict.fromkeys(("a", "b", "c", "d"), SPEC.columns.features["sepal_width"]),
                "prediction": "class",
            }
        )
    }
)
AT = datetime(2026, 1, 5, 10, tzinfo=UTC)
ADAPTERS = {
    "cloudevents": cloudevents.parse,
    "open_inference": invocations.open_inference,
    "mlflow": invocations.mlflow,
    "databricks": tables.databricks,
    "sagemaker": tables.sagemaker,
    "bentoml": bentoml.parse,
    "otlp": otlp.parse,
}


def captured(name: str) -> bytes:
    return (CAPTURED / name).read_bytes()


def kserve_headers(part: str) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "ce-id": "0009174a",
        "ce-source": "http://localhost:9081/",
        "ce-type": f"org.kubeflow.serving.inference.{part}",
        "ce-specversion": "1.0",
        "ce-time": "2026-01-05T10:00:00Z",
        "ce-inferenceservicename": "sklearn-iris",
        "ce-namespace": "models",
    }


def test_kserve_request_and_response_are_halves_with_the_same_exploded_ids():
    request = cloudevents.parse(kserve_headers("request"), captured("kserve_request.json"), FOUR)
    response = cloudevents.parse(kserve_headers("response"), captured("kserve_response.json"), FOUR)
    assert [e.id for e in request] == [e.id for e in response] == ["0009174a:0", "0009174a:1"]
    assert [e.part for e in request + response] == ["request", "request", "response", "response"]
    assert request[0].features == {"a": 6.8, "b": 2.8, "c": 4.8, "d": 1.4}
    assert [e.prediction for e in response] == [1, 1]
    assert (
        request[0].at == AT
        and request[0].version == "sklearn-iris"
        and request[0].trace == {"inferenceservicename": "sklearn-iris", "namespace": "models"}
    )


def test_seldon_structured_events_join_on_requestid_and_take_the_positive_class():
    def event(kind: str, data: bytes, **more: str) -> bytes:
        return json.dumps(
            {"id": f"x-{kind}", "source": "seldon", "type": f"io.seldon.serving.inference.{kind}", "specversion": "1.0",
             "requestid": "req-1", "modelid": "iris-2", "time": "2026-01-05T10:00:00Z", "data": json.loads(data)} | more
        ).encode()  # fmt: skip

    headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
    request = cloudevents.parse(headers, event("request", captured("seldon_v2_request.json")), SPEC)
    response = cloudevents.parse(headers, event("response", captured("seldon_v2_response.json")), SPEC)
    assert [e.id for e in request] == [e.id for e in response] == ["req-1:0", "req-1:1"]
    assert request[1].features == {"sepal_length": 6.0, "sepal_width": 3.4}
    assert [e.score for e in response] == [0.9, 0.2]
    assert {e.version for e in request + response} == {"iris-2"}


def test_seldon_feedback_and_a_batch_of_own_events():
    batch = [
        {"id": "p-1", "source": "s", "type": "io.seldon.serving.feedback", "specversion": "1.0",
         "data": {"truth": {"data": {"ndarray": [[1]]}}}},
        {"id": "p-2", "source": "s", "type": "io.sightline.label", "specversion": "1.0", "data": {"is_setosa": 0}},
        {"id": "p-3", "source": "s", "type": "io.sightline.inference", "specversion": "1.0",
         "data_base64": "eyJzZXBhbF9sZW5ndGgiOiAxLCAic2NvcmUiOiAwLjV9"},
    ]  # fmt: skip
    events = cloudevents.parse({"content-type": "application/cloudevents-batch+json"}, json.dumps(batch).encode(), SPEC)
    assert [(e.id, getattr(e, "value", None)) for e in events] == [("p-1", 1), ("p-2", 0), ("p-3", None)]
    assert events[2].score == 0.5 and events[2].features == {"sepal_length": 1} and events[2].part is None


def test_open_inference_with_request_and_response_is_whole():
    body = json.dumps(
        {
            "request": json.loads(captured("seldon_v2_request.json")),
            "response": json.loads(captured("seldon_v2_response.json")),
        }
    )
    events = invocations.open_inference({}, body.encode(), SPEC)
    assert [(e.id, e.score, e.version, e.part) for e in events] == [
        ("c5f0:0", 0.9, "7", None),
        ("c5f0:1", 0.2, "7", None),
    ]


def test_mlflow_rows_carry_their_own_version_column():
    events = invocations.mlflow({}, captured("mlflow_split.json"), SPEC)
    assert [(e.id, e.version, e.score) for e in events] == [("batch-9:0", "7", 0.25), ("batch-9:1", "8", 0.75)]
    assert events[1].features == {"sepal_length": 6.0, "sepal_width": None}


def test_databricks_sampling_fraction_is_a_weight_and_a_failed_call_keeps_its_inputs():
    events = tables.databricks({}, captured("databricks.ndjson"), SPEC)
    assert [(e.id, e.weight, e.status, e.latency_ms) for e in events] == [
        ("d-1", 4.0, 200, 12.0),
        ("mine", None, 500, 7.0),
    ]
    assert events[0].score == 0.4 and events[0].version == "3" and events[0].at == AT
    assert events[1].features["sepal_length"] == 1.0 and events[1].score is None


def test_sagemaker_capture_and_truth_meet_by_inference_id():
    first, *exploded = tables.sagemaker({}, captured("sagemaker_capture.jsonl"), SPEC)
    (label,) = tables.sagemaker({}, captured("sagemaker_truth.jsonl"), SPEC)
    assert first.id == label.id == "order-17"
    assert first.score == 0.0149 and first.features == {"sepal_length": 6.8, "sepal_width": 2.8} and label.value == "1"
    assert [(e.id, e.part) for e in exploded] == [("cccc:0", "request"), ("cccc:1", "request")]


def test_bentoml_targets_become_labels():
    events = bentoml.parse({}, captured("bentoml_flat.json"), SPEC)
    assert [(type(e).__name__, e.id) for e in events] == [
        ("InferenceEvent", "b-1"),
        ("LabelEvent", "b-1"),
        ("InferenceEvent", "b-2"),
    ]
    assert events[0].score == 0.5 and events[1].value == 1
    (one,) = bentoml.parse({}, captured("bentoml_fields.json"), SPEC)
    assert (
        one.features == {"sepal_length": 6.8}
        and one.score == 0.5
        and one.at == datetime(2026, 1, 5, 10, 0, 0, 500000, tzinfo=UTC)
    )


def test_otlp_keeps_the_trace_and_passes_over_foreign_records():
    inference, label = otlp.parse({}, captured("otlp.json"), SPEC)
    assert inference.trace == {
        "trace_id": "5B8EFFF798038103D269B633813FC60C",
        "span_id": "EEE19B7EC3C1B174",
        "service.name": "checkout",
    }
    assert (
        inference.features == {"sepal_length": 6.8, "tags": ["a", 2]} and inference.score == 0.7 and inference.at == AT
    )
    assert (label.id, label.value, label.at) == ("o-1", 1, datetime(2026, 1, 5, 11, tzinfo=UTC))


@pytest.mark.parametrize(
    ("adapter", "body", "place"),
    [
        ("cloudevents", b"{", "data"),
        (
            "open_inference",
            b'{"id": "a", "inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1]}]}',
            "inputs[0].data",
        ),
        ("open_inference", b'{"instances": [[1, 2]]}', "no id"),
        ("mlflow", b'{"id": 1, "dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}', "data[0]"),
        (
            "databricks",
            b'{"databricks_request_id": "x", "sampling_fraction": 0, "request": "{\\"instances\\": [[1]]}"}',
            "sampling_fraction",
        ),
        ("sagemaker", b'{"eventMetadata": {"eventId": "x"}}', "captureData"),
        ("bentoml", b'{"fields": [{"name": "a", "role": "weight"}]}', "fields[0]"),
        ("otlp", b'{"resourceLogs": {}}', "resourceLogs"),
    ],
)
def test_a_broken_body_names_its_place(adapter, body, place):
    headers = {"ce-id": "1", "ce-source": "s", "ce-type": "io.sightline.label", "ce-specversion": "1.0"}
    with pytest.raises(SightlineError) as caught:
        ADAPTERS[adapter](headers, body, SPEC)
    assert place in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["id", "request", "response", "inputs", "instances", "predictions", "outputs", "name", "shape", "data",
         "columns", "dataframe_split",
         "fields", "role", "schema", "records", "resourceLogs", "scopeLogs", "logRecords", "attributes", "key", "value",
         "captureData",
         "endpointInput", "encoding", "eventMetadata", "eventId", "groundTruthData", "databricks_request_id", "truth",
         "specversion", "type",
         "source", "time", "timestamp", "timeUnixNano", "sampling_fraction", "intValue", "eventName"]
    ) | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=150, deadline=None)
@given(value=json_values, structured=st.booleans())
def test_any_json_gives_events_or_a_clear_error(adapter, value, structured):
    headers = {"content-type": "application/cloudevents+json"} if structured else {
        "ce-id": "1", "ce-source": "s", "ce-type": "io.seldon.serving.inference.response", "ce-specversion": "1.0"
    }  # fmt: skip
    try:
        events = ADAPTERS[adapter](headers, json.dumps(value).encode(), SPEC)
    except SightlineError as error:
        assert str(error)
    else:
        for event in events:
            kind = {InferenceEvent: INFERENCES, LabelEvent: LABELS, RejectedEvent: REJECTED}[type(event)]
            back = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=EVENT_TYPES[kind])
            assert type(back) is type(event) and (kind == REJECTED or back.id)


def test_a_row_of_a_wrong_type_is_refused_and_the_rest_goes_on():
    body = (
        b'{"id": "x", "request": {"instances": [[1, 2], [3, 4]]}, "response": {"predictions": [{"score": '
        b'"high"}, {"score": 0.5}]}}'
    )
    refused, accepted = invocations.open_inference({}, body, SPEC)
    assert (refused.reason, refused.column, refused.id) == ("bad_type", "score", "x:0") and '"high"' in refused.payload
    assert accepted.score == 0.5


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_give_events_or_a_clear_error(adapter, body):
    try:
        ADAPTERS[adapter]({}, body, SPEC)
    except SightlineError as error:
        assert str(error)


def otlp_label(**attributes: object) -> bytes:
    """A log record of a label."""
    return otlp_record("sightline.label", **attributes)


def otlp_record(event: str, **attributes: object) -> bytes:
    """A log record; booleans and text as attributes."""
    listed = [
        {"key": name.replace("__", "."), "value": {"boolValue" if isinstance(v, bool) else "stringValue": v}}
        for name, v in attributes.items()
    ]
    record = {"timeUnixNano": "1767607200000000000", "eventName": event, "attributes": listed}
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()


def native(headers: dict[str, str], body: bytes, spec: MonitorSpec) -> list:
    """The native format's labels under the name that the other adapters have."""
    return labels(headers, body, spec)


OWN_LABEL = {"ce-id": "p-1", "ce-source": "s", "ce-type": "io.sightline.label", "ce-specversion": "1.0"}
FEEDBACK = {**OWN_LABEL, "ce-type": "io.seldon.serving.feedback"}
TRUTH = {"eventMetadata": {"eventId": "p-1"}, "eventVersion": "0"}
TAKEN_BACK = {
    "native": (native, {}, {"id": "p-1", "retracted": True}),
    "native, with a value": (native, {}, {"id": "p-1", "value": 1, "retracted": True}),
    "native, flat": (native, {}, {"prediction_id": "p-1", "retracted": 1}),
    "cloudevents": (cloudevents.parse, OWN_LABEL, {"retracted": True}),
    "cloudevents, array": (cloudevents.parse, OWN_LABEL, [{"retracted": "true"}]),
    "seldon": (cloudevents.parse, FEEDBACK, {"truth": {"retracted": True}}),
    "sagemaker": (
        tables.sagemaker,
        {},
        {**TRUTH, "groundTruthData": {"data": '{"retracted": true}', "encoding": "JSON"}},
    ),
    "bentoml": (
        bentoml.parse,
        {},
        {
            "request_id": "p-1",
            "timestamp": "2026-01-05T10:00:00",
            "fields": [{"name": "retracted", "role": "target", "type": "categorical", "value": True}],
        },
    ),
    "otlp": (otlp.parse, {}, otlp_label(sightline__prediction__id="p-1", sightline__label__retracted=True)),
}


@pytest.mark.parametrize("name", TAKEN_BACK)
def test_a_label_is_taken_back_in_every_format_that_has_labels(name):
    parse, headers, body = TAKEN_BACK[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    (event,) = parse({"content-type": "application/json", **headers}, content, SPEC)
    assert isinstance(event, LabelEvent), event
    assert (event.id, event.retracted) == ("p-1", True)


SAID_LATER = "2026-01-06T00:00:00Z"
OWN_INFERENCE = {**OWN_LABEL, "ce-type": "io.sightline.inference"}
REVISED = {
    "native": (inferences, {}, {"id": "p-1", "withdrawn": True, "observed_at": SAID_LATER}),
    "native, number": (inferences, {}, {"id": "p-1", "withdrawn": True, "observed_at": 1767657600}),
    "native, flat": (inferences, {}, {"prediction_id": "p-1", "withdrawn": 1}),
    "cloudevents": (cloudevents.parse, OWN_INFERENCE, {"withdrawn": True, "observed_at": SAID_LATER}),
    "otlp": (
        otlp.parse,
        {},
        otlp_record(
            "sightline.inference",
            sightline__prediction__id="p-1",
            sightline__prediction__withdrawn=True,
            sightline__prediction__observed_at=SAID_LATER,
        ),
    ),
    "table": (
        invocations.mlflow,
        {},
        {
            "id": "p-1",
            "request": {"dataframe_records": [{"sepal_length": 1, "sepal_width": 2, "withdrawn": True}]},
            "response": {"predictions": [0.5]},
        },
    ),
}


@pytest.mark.parametrize("name", REVISED)
def test_a_prediction_is_withdrawn_in_formats_that_can_say_so(name):
    parse, headers, body = REVISED[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    (event,) = parse({"content-type": "application/json", **headers}, content, SPEC)
    assert isinstance(event, InferenceEvent), event
    assert (event.id, event.withdrawn, event.supersedes) == ("p-1", True, False)
    assert event.observed_at in (None, datetime(2026, 1, 6, tzinfo=UTC)) and "withdrawn" not in event.features


def test_a_correction_is_an_inference_with_a_flag_that_must_be_clear():
    (event,) = inferences({}, b'{"id": "a", "score": 0.5, "supersedes": true}', SPEC)
    assert isinstance(event, InferenceEvent) and event.supersedes
    (event,) = inferences({}, b'{"id": "a", "score": 0.5, "supersedes": "perhaps"}', SPEC)
    assert (event.reason, event.column) == ("bad_type", "supersedes")


def test_a_label_without_value_or_with_a_doubtful_retraction_is_rejected():
    for row, reason in (({"id": "a"}, "missing_label"), ({"id": "a", "retracted": "perhaps"}, "bad_type")):
        (event,) = native({}, json.dumps(row).encode(), SPEC)
        assert isinstance(event, RejectedEvent) and event.reason == reason
