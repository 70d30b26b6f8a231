"""Error answers are no predictions; values that could belong to several columns are refused, not put somewhere."""

from __future__ import annotations

import base64
import json

import pytest

from sightline.collector.formats import cloudevents, invocations, tables
from sightline.errors import SightlineError
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.columns import Columns
from sightline.spec.model import MonitorSpec

FEATURES = {name: {"kind": "numeric"} for name in ("sl", "sw", "pl", "pw")}
SEVERAL = MonitorSpec.model_validate(
    {
        "model": {"id": "ks", "task": "multiclass_classification"},
        "columns": {
            "prediction": "predict",
            "status": "status",
            "class_scores": {"0": "p0", "1": "p1", "2": "p2"},
            "features": FEATURES,
        },
        "labels": {"column": "y"},
        "reference": {"start": "2026-11-01", "end": "2026-11-08"},
    }
)
BINARY = MonitorSpec.model_validate(
    {
        "model": {"id": "sm", "task": "binary_classification"},
        "columns": {
            "score": "score",
            "prediction": "predicted_label",
            "features": {name: {"kind": "numeric"} for name in ("f0", "f1", "f2")},
        },
        "labels": {"column": "y"},
        "reference": {"start": "2026-11-01", "end": "2026-11-08"},
    }
)
VALUES = [5.1, 3.5, 1.4, 0.2]
ERRORS = [
    ({"error": "model not ready"}, "error"),
    ({"error": {"code": 503, "message": "overloaded"}}, "error"),
    ({"detail": "Not Found"}, "error"),
    ({"detail": [{"loc": ["body"], "msg": "field required", "type": "value_error"}]}, "error"),
    ({"error_code": "BAD_REQUEST", "message": "Failed to convert"}, "error"),
    ({"error": "boom", "code": 500}, 500),
    ({"ErrorCode": "CLIENT_ERROR", "OriginalStatusCode": 400, "OriginalMessage": "x", "Message": "y"}, 400),
    ({"status": {"status": "FAILURE", "code": 500, "info": "x", "reason": "y"}}, 500),
    ({"message": "Internal Server Error"}, "error"),
    ({"Message": "Rate exceeded", "__type": "ThrottlingException"}, "error"),
    ({"err": "boom"}, "error"),
    ({"status": "error", "message": "model not loaded"}, "error"),
    ({"code": 500, "message": "boom"}, 500),
    ({"title": "Internal error", "status": 500}, 500),
    ({"success": False, "hint": "try later"}, "error"),
    ({"error": {"message": "x"}, "model": "m"}, "error"),
    ({"error": "x", "request_id": "1", "retryable": True}, "error"),
    ({"error": "x", "data": None}, "error"),
    ({"predict": None, "error": "x"}, "error"),
    ({"predictions": None, "error": "x"}, "error"),
    ({"predictions": [], "error": "x", "status_code": 503}, 503),
    ({"predictions": [{"error": "timeout"}]}, "error"),
    ({"predictions": [{"predict": None, "error": "timeout", "code": 504}]}, 504),
    ([{"error": "timeout"}], "error"),
    ("Internal Server Error", 500),
    ("502 Bad Gateway", 502),
    ("<html><body>Bad Gateway</body></html>", "error"),
]


def one(events):
    (event,) = events
    assert isinstance(event, InferenceEvent), event
    return event


def check_failed(event, status):
    assert (event.status, event.prediction, event.score, event.class_scores) == (status, None, None, None)


@pytest.mark.parametrize(("answer", "status"), ERRORS)
def test_an_error_answer_is_a_failed_call_without_a_prediction(answer, status):
    call = {"id": "o1", "request": {"instances": [VALUES]}, "response": answer}
    for read in (invocations.open_inference, invocations.mlflow):
        event = one(read({}, json.dumps(call).encode(), SEVERAL))
        check_failed(event, status)
        assert event.features == dict(zip(FEATURES, VALUES, strict=True))
    row = {"databricks_request_id": "o1", "request": {"instances": [VALUES]}, "response": json.dumps(answer)}
    check_failed(one(tables.databricks({}, json.dumps(row).encode(), SEVERAL)), status)
    capture = {
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "data": "1,2,3,4", "encoding": "CSV"},
            "endpointOutput": {
                "observedContentType": "application/json",
                "data": json.dumps(answer),
                "encoding": "JSON",
            },
        },
        "eventMetadata": {"eventId": "e3"},
    }
    event = one(tables.sagemaker({}, json.dumps(capture).encode(), SEVERAL))
    check_failed(event, status)
    assert event.features == {"sl": 1, "sw": 2, "pl": 3, "pw": 4}


def response_event(data, **more):
    headers = {
        "content-type": "application/json",
        "ce-id": "k1",
        "ce-source": "kserve",
        "ce-type": "org.kubeflow.serving.inference.response",
        "ce-specversion": "1.0",
        **{f"ce-{name}": value for name, value in more.items()},
    }
    return one(cloudevents.parse(headers, json.dumps(data).encode(), SEVERAL))


def test_a_cloudevent_of_a_failed_call():
    event = response_event({"error": "no key 'instances'"})
    check_failed(event, "error")
    assert (event.id, event.part) == ("k1", "response")
    check_failed(response_event({"error": "no key 'instances'"}, statuscode="400"), 400)
    check_failed(response_event({"predictions": [1]}, statuscode="503"), 503)
    assert response_event({"predictions": [1]}, statuscode="200").prediction == 1


def test_an_output_called_like_an_error_is_an_output():
    for name in ("error", "message", "status"):
        spec = SEVERAL.model_copy(update={"columns": SEVERAL.columns.model_copy(update={"prediction": name})})
        for response in ({name: "failed"}, {"predictions": [{name: "failed"}]}):
            call = {"id": "o1", "request": {"instances": [VALUES]}, "response": response}
            event = one(invocations.mlflow({}, json.dumps(call).encode(), spec))
            assert (event.prediction, event.status) == ("failed", None)


@pytest.mark.parametrize(
    ("answer", "prediction"),
    [
        ({"predictions": [2], "error": None, "message": "ok"}, 2),
        ({"predict": "2", "message": "ok", "status": 200, "success": True}, "2"),
        ({"predict": "2", "error": "one feature was filled in"}, "2"),
        ({"predictions": [{"fault": "bearing"}]}, "bearing"),
        ({"predictions": [{"status": "failed"}]}, "failed"),
        ({"predictions": [{"success": False}]}, False),
        ({"predictions": [{"reconstruction_error": 0.35}]}, 0.35),
        ({"predictions": [{"error": 0.35}]}, 0.35),
        ({"predictions": [{"message": "1"}]}, "1"),  # a class that the file names
    ],
)
def test_an_answer_with_a_value_beside_words_of_an_error_is_an_answer(answer, prediction):
    call = {"id": "o1", "request": {"instances": [VALUES]}, "response": answer}
    event = one(invocations.mlflow({}, json.dumps(call).encode(), SEVERAL))
    assert (event.status, event.prediction) == (None, prediction)


def test_a_row_of_a_batch_fails_alone():
    call = {
        "id": "o1",
        "request": {"instances": [VALUES, VALUES, VALUES]},
        "response": {"predictions": [{"predict": "1"}, {"error": "timeout", "status": 504}, {"predict": "2"}]},
    }
    events = invocations.mlflow({}, json.dumps(call).encode(), SEVERAL)
    found = [(e.id, e.status, e.prediction) for e in events if isinstance(e, InferenceEvent)]
    assert found == [("o1:0", None, "1"), ("o1:1", 504, None), ("o1:2", None, "2")]


@pytest.mark.parametrize(
    "text", ["Internal Server Error", "500: Internal Server Error", "<!DOCTYPE html>\n<p>a, b</p>"]
)
@pytest.mark.parametrize("spec", [SEVERAL, BINARY])
def test_a_text_of_csv_that_no_class_is_called_is_a_failed_call(text, spec):
    inputs = ",".join("1" for _ in spec.columns.features)
    event = one(tables.sagemaker({}, captured(inputs, text), spec))
    check_failed(event, "error" if text[0] == "<" else 500)
    assert one(tables.sagemaker({}, captured(inputs, "setosa"), spec)).prediction == "setosa"


def test_a_text_where_a_number_is_expected_is_a_failed_call():
    model = SEVERAL.model.model_copy(update={"task": "regression"})
    columns = SEVERAL.columns.model_copy(update={"class_scores": {}})
    spec = SEVERAL.model_copy(update={"model": model, "columns": columns})
    check_failed(one(tables.sagemaker({}, captured("1,2,3,4", "model not loaded"), spec)), "error")
    assert float(one(tables.sagemaker({}, captured("1,2,3,4", "7.5"), spec)).prediction) == 7.5


def test_a_feature_called_like_a_sign_keeps_the_value_of_its_request():
    features = dict.fromkeys(("message", "status"), SEVERAL.columns.features["sl"])
    spec = SEVERAL.model_copy(update={"columns": SEVERAL.columns.model_copy(update={"features": features})})
    row = {"message": "buy now", "status": "error"}
    for response, status in (({"predict": "1"}, None), ({"message": "Internal Server Error"}, "error")):
        call = {"id": "o1", "request": {"instances": [row]}, "response": response}
        event = one(invocations.mlflow({}, json.dumps(call).encode(), spec))
        assert (event.features, event.status) == (row, status)


@pytest.mark.parametrize("values", [[1, 2, 3], [1, 2, 3, 4, 5]])
def test_unnamed_values_are_as_many_as_the_features_or_refused(values):
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP64", "data": values}
    for request in (
        {"instances": [values]},
        {"inputs": [tensor]},
        {"inputs": [values]},
        {"dataframe_split": {"data": [values]}},
    ):
        call = {"id": "o6", "request": request, "response": {"predictions": [1]}}
        with pytest.raises(SightlineError, match=f"{len(values)} unnamed values for 4 features"):
            invocations.open_inference({}, json.dumps(call).encode(), SEVERAL)
    with pytest.raises(SightlineError, match=f"{len(values)} unnamed values for 4 features"):
        tables.sagemaker({}, captured(",".join(map(str, values)), "1"), SEVERAL)


@pytest.mark.parametrize(
    "request_body",
    [
        {"dataframe_split": {"columns": ["sl", "sl", "pl", "pw"], "data": [[1, 2, 3, 4]]}},
        {"data": {"names": ["sl", "sl", "pl", "pw"], "ndarray": [[1, 2, 3, 4]]}},
        {"inputs": [{"name": "sl", "shape": [1], "datatype": "FP64", "data": [v]} for v in (1, 2)]},
    ],
)
def test_a_name_that_occurs_twice_is_refused(request_body):
    call = {"id": "o3", "request": request_body, "response": {"predictions": [1]}}
    with pytest.raises(SightlineError, match="the column name 'sl' occurs twice"):
        invocations.mlflow({}, json.dumps(call).encode(), SEVERAL)
    good = {"id": "o4", "request": {"instances": [VALUES]}, "response": {"predictions": [1]}}
    events = invocations.mlflow({}, json.dumps([call, good]).encode(), SEVERAL)
    assert [type(event) for event in events] == [RejectedEvent, InferenceEvent]


def captured(inputs: str, outputs: str) -> bytes:
    sides = {"endpointInput": inputs, "endpointOutput": outputs}
    data = {n: {"observedContentType": "text/csv", "data": text, "encoding": "CSV"} for n, text in sides.items()}
    return json.dumps({"captureData": data, "eventMetadata": {"eventId": "e3"}, "eventVersion": "0"}).encode()


def test_an_empty_field_of_csv_is_no_value():
    event = one(tables.sagemaker({}, captured("0.4,,0.6", "0.2"), BINARY))
    assert event.features == {"f0": 0.4, "f1": None, "f2": 0.6}
    assert event.score == 0.2


@pytest.mark.parametrize(("answer", "score"), [("0.2,0.8", 0.8), ("0.33,0.67", 0.67), ("0,1", 1.0)])
def test_two_values_that_add_up_to_1_are_a_pair_of_probabilities(answer, score):
    assert one(tables.sagemaker({}, captured("1,2,3", answer), BINARY)).score == score


SCORED = BINARY.model_copy(update={"columns": BINARY.columns.model_copy(update={"prediction": None})})
INPUTS = {"instances": [[0.1, 0.2, 0.3]] * 3}
UNTYPED = [
    {"predictions": [0.25, 1, 0]},
    {"predictions": [[0.25], [1], [0]]},
    {"predictions": [{"p": 0.25}, {"p": 1}, {"p": 0}]},
    {"outputs": {"p": [0.25, 1, 0]}},
    {"outputs": [{"name": "p", "shape": [3], "data": [0.25, 1, 0]}]},
    {"outputs": [{"name": "p", "shape": [3, 1], "datatype": "FP32", "data": [0.25, 1, 0]}]},
    {"data": {"tensor": {"shape": [3, 1], "values": [0.25, 1, 0]}}},
    {"data": {"ndarray": [[0.25], [1], [0]]}},
]


def answers_of(response: dict, spec: MonitorSpec) -> list[tuple]:
    call = {"id": "w", "request": INPUTS, "response": response}
    return [
        (event.score, event.prediction) for event in invocations.open_inference({}, json.dumps(call).encode(), spec)
    ]


@pytest.mark.parametrize("response", UNTYPED)
@pytest.mark.parametrize("spec", [BINARY, SCORED])
def test_a_probability_that_is_written_without_a_fraction_is_one(response, spec):
    assert answers_of(response, spec) == [(0.25, None), (1.0, None), (0.0, None)]


@pytest.mark.parametrize("data", [[1, 0, 1], [1, 1, 1]])
def test_whole_numbers_are_classes_where_their_type_or_the_file_says_so(data):
    typed = {"outputs": [{"name": "y", "shape": [3], "datatype": "INT64", "data": data}]}
    real = {"outputs": [{"name": "p", "shape": [3], "datatype": "FP64", "data": data}]}
    classes, scores = [(None, value) for value in data], [(float(value), None) for value in data]
    for spec in (BINARY, SCORED):
        assert answers_of(typed, spec) == classes
        assert answers_of(real, spec) == scores
    assert answers_of({"predictions": data}, BINARY) == classes
    assert answers_of({"predictions": data}, SCORED) == scores


@pytest.mark.parametrize("answer", ["1,0.83", "0.9,0.83", "-0.5,1.5", "yes,0.4"])
def test_two_values_that_do_not_are_refused(answer):
    with pytest.raises(SightlineError, match="2 outputs for one prediction"):
        tables.sagemaker({}, captured("1,2,3", answer), BINARY)


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        ("02134", "categorical", "02134"),
        ("1_000", "categorical", "1_000"),
        ("1e5", "categorical", "1e5"),
        ("12345678901234567890", "text", "12345678901234567890"),
        ("true", "boolean", True),
        ("1", "boolean", 1.0),
        ("1e5", "numeric", 1e5),
        ("1_000", "numeric", "1_000"),
    ],
)
def test_a_field_of_csv_is_what_its_declared_kind_says(field, kind, value):
    features = {"f0": {"kind": "numeric"}, "f1": {"kind": kind}}
    columns = Columns.model_validate(BINARY.columns.model_dump() | {"features": features})
    spec = BINARY.model_copy(update={"columns": columns})
    event = one(tables.sagemaker({}, captured(f"1.5,{field}", "0.2"), spec))
    assert (event.features, event.score) == ({"f0": 1.5, "f1": value}, 0.2)
    encoded = json.loads(captured(f"1.5,{field}", "0.2"))
    for side in encoded["captureData"].values():
        side.update(data=base64.b64encode(side["data"].encode()).decode(), encoding="BASE64")
    assert one(tables.sagemaker({}, json.dumps(encoded).encode(), spec)).features == event.features


def test_a_class_of_csv_keeps_its_zeros():
    event = one(tables.sagemaker({}, captured("1,2,3,4", "007"), SEVERAL))
    assert event.prediction == "007"
    event = one(tables.sagemaker({}, captured("1,2,3,4", "0.1,0.2,0.7"), SEVERAL))
    assert event.class_scores == {"0": 0.1, "1": 0.2, "2": 0.7}
    two = tables.sagemaker({}, captured("1,2,3,4\n1,2,3,4", "01,02"), SEVERAL)
    assert [event.prediction for event in two if isinstance(event, InferenceEvent)] == ["01", "02"]
    truth = {"groundTruthData": {"data": "007", "encoding": "CSV"}, "eventMetadata": {"eventId": "e3"}}
    (label,) = tables.sagemaker({}, json.dumps(truth).encode(), SEVERAL)
    assert isinstance(label, LabelEvent)
    assert label.value == "007"
