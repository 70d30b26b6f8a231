"""Bodies as the senders' current sources and documentation show them; the fixtures are in ``captured``."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sightline.collector.formats import ADAPTERS
from sightline.errors import SightlineError
from sightline.lake.intake.load import intake
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.columns import Feature
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.collector_site import Site, logged, make_home, run

CAPTURED = Path(__file__).parent / "captured"
NAMES = ("sepal_length", "sepal_width")
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "iris", "task": "binary_classification"},
        "columns": {"score": "score", "prediction": "class", "features": dict.fromkeys(NAMES, "numeric")},
        "labels": {"column": "is_setosa"},
        "reference": {"start": "2026-01-01", "end": "2026-01-05"},
    }
)
FOUR = SPEC.model_copy(
    update={
        "columns": SPEC.columns.model_copy(
            update={"features": dict.fromkeys("abcd", SPEC.columns.features["sepal_width"])}
        )
    }
)
AT = datetime(2026, 1, 5, 10, tzinfo=UTC)
QUARTER = timedelta(milliseconds=250)
ROWS = [{"sepal_length": 6.8, "sepal_width": 2.8}, {"sepal_length": 6.0, "sepal_width": 3.4}]


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def read(adapter: str, name: str | bytes, spec: MonitorSpec = SPEC, **headers: str) -> list[Any]:
    body = name if isinstance(name, bytes) else (CAPTURED / name).read_bytes()
    return ADAPTERS[adapter]({key.replace("_", "-"): value for key, value in headers.items()}, body, spec)


def event_headers(kind: str, **more: str) -> dict[str, str]:
    """Headers of a binary CloudEvent; KServe's and Seldon's loggers set exactly these."""
    return {
        "content_type": "application/json",
        "ce_id": f"id-of-{kind.rsplit('.', 1)[1]}",
        "ce_source": "http://localhost:9081/",
        "ce_specversion": "1.0",
        "ce_time": "2026-01-05T10:00:00.250123456Z",
        "ce_type": kind,
    } | more


def kserve(part: str) -> dict[str, str]:
    more = {
        "inferenceservicename": "sklearn-iris",
        "namespace": "models",
        "component": "predictor",
        "endpoint": "default",
    }
    return event_headers(
        f"org.kubeflow.serving.inference.{part}",
        ce_id="0009174a",
        ce_metadata='{"X-Tenant":["a"]}',
        **{f"ce_{name}": value for name, value in more.items()},
    )


def seldon(kind: str) -> dict[str, str]:
    more = {
        "modelid": "classifier",
        "requestid": "req-9",
        "inferenceservicename": "iris",
        "endpoint": "main",
        "protocol": "seldon",
    }
    return event_headers(f"io.seldon.serving.{kind}", **{f"ce_{name}": value for name, value in more.items()})


def test_kserve_v2_takes_the_version_of_the_model_that_answered_and_keeps_the_extensions():
    requests = read("cloudevents", "kserve_v2_request.json", FOUR, **kserve("request"))
    responses = read("cloudevents", "kserve_v2_response.json", FOUR, **kserve("response"))
    assert [e.id for e in requests] == [e.id for e in responses] == ["0009174a:0", "0009174a:1"]
    assert requests[1].features == {"a": 6.0, "b": 3.4, "c": 4.5, "d": 1.6} and requests[1].part == "request"
    assert [(e.prediction, e.version, e.part) for e in responses] == [(1, "2", "response"), (0, "2", "response")]
    assert requests[0].at == AT + timedelta(microseconds=250123) and requests[0].version == "sklearn-iris"
    assert requests[0].trace == {
        "inferenceservicename": "sklearn-iris", "namespace": "models", "component": "predictor", "endpoint": "default",
        "metadata": '{"X-Tenant":["a"]}',
    }  # fmt: skip


def test_tensorflow_serving_columns():
    call = {
        side: json.loads((CAPTURED / f"tfserving_columns_{side}.json").read_bytes()) for side in ("request", "response")
    }
    events = read("open_inference", json.dumps({"id": "t", **call}).encode())
    assert [(e.id, e.features, e.score) for e in events] == [("t:0", ROWS[0], 0.25), ("t:1", ROWS[1], 0.75)]


@pytest.mark.parametrize("name", ["seldon_v1_request.json", "seldon_v1_request_tensor.json"])
def test_the_protocol_of_seldon_core_1(name):
    requests = read("cloudevents", name, **seldon("inference.request"))
    responses = read("cloudevents", "seldon_v1_response.json", **seldon("inference.response"))
    assert [(e.id, e.features, e.part) for e in requests] == [
        ("req-9:0", ROWS[0], "request"),
        ("req-9:1", ROWS[1], "request"),
    ]
    assert [(e.id, e.score, e.part) for e in responses] == [
        ("req-9:0", 0.25, "response"),
        ("req-9:1", 0.75, "response"),
    ]
    assert {e.version for e in requests + responses} == {"classifier"}


def test_feedback_of_seldon_belongs_to_the_call_it_repeats():
    labels = read("cloudevents", "seldon_v1_feedback.json", **{**seldon("feedback"), "ce_requestid": "another"})
    assert [(type(e), e.id, e.value) for e in labels] == [(LabelEvent, "req-9:0", 0), (LabelEvent, "req-9:1", 1)]
    with pytest.raises(SightlineError, match="no truth"):
        read("cloudevents", b'{"response": {"meta": {"puid": "x"}}, "reward": 1.0}', **seldon("feedback"))


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ({"jsonData": {"instances": [[1, 2]]}}, {"sepal_length": 1, "sepal_width": 2}),
        ({"data": {"names": list(NAMES), "ndarray": [1, 2]}}, {"sepal_length": 1, "sepal_width": 2}),
        ({"data": {"ndarray": [[1, 2]]}}, {"sepal_length": 1, "sepal_width": 2}),
        ({"data": "of a feature of this name"}, {"data": "of a feature of this name"}),
    ],
)
def test_payloads_of_seldon_core_1(body, features):
    (event,) = read("cloudevents", json.dumps(body).encode(), **seldon("inference.request"))
    assert event.features == features


def test_a_text_of_seldon_core_1_is_the_value_of_the_only_feature():
    body = json.dumps({"strData": "hello", "meta": {}}).encode()
    with pytest.raises(SightlineError, match="1 unnamed values for 2 features"):
        read("cloudevents", body, **seldon("inference.request"))
    one = SPEC.model_copy(
        update={"columns": SPEC.columns.model_copy(update={"features": {"text": Feature(kind="text")}})}
    )
    (event,) = read("cloudevents", body, one, **seldon("inference.request"))
    assert event.features == {"text": "hello"}


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"tftensor": {}}}, {"binData": "aGVsbG8="}, {"data": {"names": ["a"], "ndarray": [[1, 2]]}},
        {"data": {"tensor": {"shape": [2, 2], "values": [1]}}}, {"data": {"tensor": 3}}, {"data": {"ndarray": {}}},
    ],
)  # fmt: skip
def test_payloads_of_seldon_that_are_no_rows(body):
    with pytest.raises(SightlineError) as caught:
        read("cloudevents", json.dumps(body).encode(), **seldon("inference.request"))
    assert caught.value.what and caught.value.where


# ---- the binary tensor data extension --------------------------------------------------------------------------------


def binary(*tensors: tuple[str, str, list[int], bytes], side: str = "inputs") -> tuple[bytes, bytes]:
    described = [
        {"name": name, "shape": shape, "datatype": kind, "parameters": {"binary_data_size": len(data)}}
        for name, kind, shape, data in tensors
    ]
    return json.dumps({"id": "b", side: described}).encode(), b"".join(data for *_, data in tensors)


def text(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


@pytest.mark.parametrize(
    ("kind", "data", "values"),
    [
        ("FP32", struct.pack("<2f", 1.5, math.inf), [1.5, math.inf]), ("FP64", struct.pack("<2d", 1.5, -2), [1.5, -2]),
        ("FP16", struct.pack("<2e", 1.5, -2), [1.5, -2]), ("BF16", bytes.fromhex("c03f00c0"), [1.5, -2]),
        ("INT64", struct.pack("<2q", -1, 2**62), [-1, 2**62]), ("UINT8", b"\x00\xff", [0, 255]),
        ("BOOL", b"\x00\x01", [False, True]),
        ("BYTES", text("é".encode(), b""), ["é", ""]), ("UINT16", b"\x01\x00\x00\x01", [1, 256]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_told", [True, False])
def test_binary_tensors_of_each_type(kind, data, values, is_told):
    header, rest = binary(("sepal_length", kind, [2], data), ("sepal_width", "FP32", [2, 1], struct.pack("<2f", 1, 2)))
    headers = {"inference_header_content_length": str(len(header))} if is_told else {}
    events = read("open_inference", header + rest, **headers)
    assert [(e.id, e.features) for e in events] == [
        (f"b:{i}", {"sepal_length": value, "sepal_width": float(i + 1)}) for i, value in enumerate(values)
    ]


def test_a_payload_logger_hands_on_binary_tensors_without_the_header_of_the_length():
    header, rest = binary(("score", "FP32", [2, 1], struct.pack("<2f", 0.25, 0.75)), side="outputs")
    header = header.replace(b'"b"', '"\u00e9 {\\"a\\": ["'.encode())
    events = read("cloudevents", header + rest, **{**kserve("response"), "content_type": "application/octet-stream"})
    assert [(e.id, e.score) for e in events] == [("0009174a:0", 0.25), ("0009174a:1", 0.75)]


def test_binary_tensors_through_the_application(tmp_path):
    header, rest = binary(
        ("distance", "FP32", [2], struct.pack("<2f", 1, 2)), ("carrier", "BYTES", [2], text(b"UA", b"B6"))
    )
    length = {"inference_header_content_length": str(len(header)), "content_type": "application/octet-stream"}
    home = make_home(tmp_path)

    async def talk(site: Site) -> None:
        path = "/v1/monitors/m/open_inference"
        assert (await site.post(path, header + rest, **length)).json()["accepted"] == 2
        assert (await site.post(path, header + rest)).json()["duplicate"] == 2
        assert (await site.post(path, header + rest, content_type="application/octet-stream")).status_code == 415
        assert (await site.post("/v1/monitors/m/mlflow", header + rest, **length)).status_code == 415
        logger = {name: value for name, value in kserve("request").items() if name != "ce_id"} | {"content_type": ""}
        assert (await site.post("/", header + rest, ce_id="k", x_sightline_monitor="m", **logger)).json()[
            "accepted"
        ] == 2

    run(home, talk)
    assert [e.features["carrier"] for e in logged(home)] == ["UA", "B6"] * 2


GOOD = binary(("a", "FP32", [1], b"\x00\x00\x80\x3f"))


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (GOOD[0] + GOOD[1][:-1], None), (GOOD[0] + GOOD[1] + b"\x00", None), (GOOD[0] + GOOD[1], "7"),
        (GOOD[0] + GOOD[1], "-1"),
        (GOOD[0] + GOOD[1], "9" * 30), (GOOD[0] + GOOD[1], "0"), (GOOD[0], None), (b"\x00" * 9, None),
        (GOOD[0][:-1], None),
        (b"".join(binary(("a", "FP32", [1], b"abc"))), None), (b"".join(binary(("a", "STRING", [1], b"a"))), None),
        (b"".join(binary(("a", "BYTES", [1], b"\x09\x00\x00\x00a"))), None),
        (b"".join(binary(("a", "BYTES", [1], text(b"\xff")))), None),
        (b"".join(binary(("a", "BYTES", [1], b"\x01"))), None), (GOOD[0].replace(b"4", b"true") + GOOD[1], None),
        (GOOD[0].replace(b"4", b"-4") + GOOD[1], None), (b'{"a": 1, "binary_data_size": 1}  \x00', None),
        (b'{"a":' * 5000 + b'"binary_data_size"', None),
    ],
)  # fmt: skip
def test_binary_tensors_that_do_not_fit_are_refused(body, length):
    headers = {} if length is None else {"inference_header_content_length": length}
    for adapter, more in (("open_inference", {}), ("cloudevents", kserve("request"))):
        with pytest.raises(SightlineError) as caught:
            read(adapter, body, **headers, **more)
        assert caught.value.what


def test_columns_that_the_yaml_names_cost_their_own_row_only():
    spec = MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "regression"},
            "columns": {"prediction_id": "key", "timestamp": "t", "model_version": "v", "prediction": "y",
             "features": {"a": "numeric"}},
            "labels": {"column": "late"},
            "reference": {"start": "2026-01-01", "end": "2026-02-01"},
        }
    )  # fmt: skip
    good = {"a": 1, "key": 7, "t": 1767607200000, "v": 3, "y": 1.5}
    rows = [
        good,
        {**good, "key": None, "v": None, "t": None},
        {**good, "t": "soon"},
        {**good, "key": [1]},
        {**good, "t": [1]},
    ]
    found = read(
        "mlflow", json.dumps({"id": "call", "time": "2026-01-05T11:00:00Z", "dataframe_records": rows}).encode(), spec
    )
    first, second, *refused = found
    assert (first.id, first.version, first.at, first.prediction, first.features) == ("7", "3", AT, 1.5, {"a": 1})
    assert (second.id, second.version, second.at) == ("call:1", None, AT + timedelta(hours=1)), "those of the call"
    assert [(e.reason, e.column) for e in refused] == [
        ("bad_timestamp", "at"),
        ("bad_id", "id"),
        ("bad_timestamp", "at"),
    ]
    truth = [{"key": key, "late": 1} for key in (7, None, [1])]
    event = {"specversion": "1.0", "id": "x", "source": "s", "type": "io.sightline.label", "data": truth}
    labels = read("cloudevents", json.dumps(event).encode(), spec, content_type="application/cloudevents+json")
    assert [getattr(e, "reason", e.id) for e in labels] == ["7", "x:1", "bad_id"]


def test_halves_in_any_order_and_again_and_of_different_lengths_are_all_accounted_for(tmp_path):
    home = make_home(tmp_path)
    total = Counter[str]()

    async def talk(site: Site) -> None:
        async def send(call: str, part: str, body: dict[str, Any]) -> None:
            headers = {name: value for name, value in kserve(part).items() if name != "ce_id"}
            answer = (await site.post("/v1/monitors/m/cloudevents", body, ce_id=call, **headers)).json()
            total.update({name: answer[name] for name in ("accepted", "duplicate", "rejected")})

        two, answers = {"instances": [[1, "UA"], [2, "B6"]]}, {"predictions": [0.25, 0.75]}
        await send("a", "response", answers)
        await send("a", "request", two)
        await send("a", "request", two)
        await send("a", "response", answers)
        await send("b", "request", two)
        await send("b", "response", {"predictions": [0.5]})
        await send("c", "request", {"instances": [[3, "UA"]]})
        await send("c", "request", {"instances": [[4, "UA"]]})
        await send("c", "response", {"predictions": [0.5]})
        await send("d", "response", {"predictions": []})

    run(home, talk)
    assert total == {"accepted": 10, "duplicate": 4, "rejected": 0}
    assert len(logged(home)) == 10
    spec, paths = load_monitor(home.monitors / "m.yaml"), home.monitor("m")
    report = intake(spec, paths, "inferences", home)
    lake = pl.read_parquet(paths.lake / "inferences" / "**" / "*.parquet").sort("prediction_id")
    assert lake.select("prediction_id", "f_distance", "score").rows() == [
        ("a:0", 1.0, 0.25),
        ("a:1", 2.0, 0.75),
        ("c", 3.0, 0.5),
    ]
    halves = pl.read_parquet(paths.lake / "halves" / "*.parquet")["prediction_id"].to_list()
    assert (report.accepted, sorted(halves)) == (6, ["b", "b:0", "b:1"]), "a pair counts as two"
    assert report.accepted + len(halves) + report.duplicates + report.rejected == total["accepted"]


# ---- tables and logs -------------------------------------------------------------------------------------------------


def test_databricks_rows_of_ai_gateway_whatever_was_too_large_to_be_kept():
    events = read("databricks", "databricks_gateway.ndjson")
    assert [e.id if isinstance(e, InferenceEvent) else e.reason for e in events] == [
        "d-3:0", "d-3:1", "d-4:0", "d-4:1", "d-5", "bad_row", "i-1",
    ]  # fmt: skip
    first, second, alone, _, no_request, refused, unity = events
    assert (first.at, first.weight, first.latency_ms, first.version, first.score) == (
        AT + QUARTER,
        2.0,
        12,
        "e-7",
        0.25,
    )
    assert math.isnan(second.features["sepal_width"]) and second.score == 0.75
    assert (alone.features, alone.score) == (ROWS[0], None) and (no_request.features, no_request.score) == ({}, 0.5)
    assert "MAX_REQUEST_SIZE_EXCEEDED" in refused.message
    assert (unity.at, unity.latency_ms, unity.score) == (AT + timedelta(seconds=1), 31, 0.5)


def test_small_milliseconds_of_a_table_are_milliseconds():
    row = {"databricks_request_id": "x", "timestamp_ms": 90_000_000_000, "request": '{"inputs": [[1, 2]]}'}
    (event,) = read("databricks", json.dumps(row).encode())
    assert event.at == datetime(1972, 11, 7, 16, tzinfo=UTC)


@pytest.mark.parametrize("fraction", [10**400, -0.5, 0, "half", [1], float("nan")])
def test_a_sampling_fraction_that_is_none_costs_its_row(fraction):
    row = {"databricks_request_id": "x", "request": {"inputs": [[1, 2]]}}
    _, refused = read("databricks", json.dumps([row, {**row, "sampling_fraction": fraction}]).encode())
    assert isinstance(refused, RejectedEvent) and "sampling_fraction" in refused.message


def test_sagemaker_merged_with_its_truth_gives_both():
    prediction, label = read("sagemaker", "sagemaker_merged.jsonl")
    assert (prediction.id, prediction.features, prediction.score, prediction.at) == ("dddd", ROWS[0], 0.25, AT)
    assert (label.id, label.value, label.at, label.predicted_at) == ("dddd", "1", None, AT)


@pytest.mark.parametrize(
    ("adapter", "body"),
    [
        ("sagemaker",
         b'{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "a"}}\n'
         b'{"groundTruthData": 1}'),
        ("sagemaker",
         b'[{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "a"}}, '
         b'{"groundTruthData": 1}]'),
        ("cloudevents", json.dumps([{"specversion": "1.0", "id": "x", "source": "s", "type": "io.sightline.label",
         "data": {"value": 1}}, {"type": "io.sightline.label"}]).encode()),
        ("otlp",
         json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "sightline.label", "attributes": [
            attribute("sightline.prediction.id", stringValue="o"), attribute("sightline.label.value", intValue=1)]},
             {"eventName": "sightline.label"}]}]}]}).encode()),
    ],
)  # fmt: skip
def test_a_label_that_cannot_be_read_is_refused_as_a_label(adapter, body):
    label, refused = read(adapter, body, content_type="application/cloudevents-batch+json")
    assert isinstance(label, LabelEvent) and isinstance(refused, RejectedEvent) and refused.kind == "labels"


def test_bentoml_files_with_a_field_of_pythons_logging():
    events = read("bentoml", "bentoml_data.log", content_type="application/x-ndjson")
    assert [(e.id[-2:], e.features, e.score) for e in events] == [
        (":0", ROWS[0], 0.25), (":1", {**ROWS[0], "sepal_length": 6.0}, 0.75),
    ]  # fmt: skip


def test_bentoml_columns_of_other_roles_have_the_role_of_their_name():
    schema = [
        {"name": "sepal_length", "role": "input"},
        {"name": "score", "role": "output"},
        {"name": "is_setosa", "role": ["target"]},
    ]
    body = {"schema": schema, "records": [{"request_id": "1", "sepal_length": 1.0, "score": 0.5, "is_setosa": 1}]}
    event, label = read("bentoml", json.dumps(body).encode())
    assert (event.features, event.score, label.value) == ({"sepal_length": 1.0}, 0.5, 1)


def test_bentoml_over_otlp_with_and_without_its_schema():
    event, label, alone = read("otlp", "bentoml_otlp.json")
    assert (event.id, event.features, event.score, event.at) == ("77", ROWS[0], 0.25, AT + QUARTER)
    assert event.trace == {"trace_id": "5b8efff798038103d269b633813fc60c", "service.name": "iris:iris_prediction"}
    assert (label.id, label.value, alone.id, alone.score, alone.source) == ("77", 1.0, "78", 0.25, "otlp")


def test_otlp_numbers_that_are_sent_as_text_and_parts_that_cannot_be_read():
    record = {
        "eventName": "sightline.inference", "timeUnixNano": 1767607200250000000, "traceId": "0" * 32, "attributes": [
            attribute("sightline.prediction.id", stringValue="o"), attribute("sightline.feature.a", doubleValue="NaN"),
            attribute("sightline.feature.b", doubleValue="-Infinity"),
            attribute("sightline.feature.c", intValue="-9223372036854775808"),
        ],
    }  # fmt: skip
    bad = {**record, "attributes": [*record["attributes"], attribute("sightline.feature.d", doubleValue="much")]}
    early = {**record, "timeUnixNano": "-5"}
    text_of_bentoml = {"scope": {"name": "bentoml_monitor_data"}, "logRecords": [{"body": {"stringValue": "{'a': 1}"}}]}
    logs = [7, {"scopeLogs": [{"logRecords": [record, bad, early]}, text_of_bentoml]}, {"scopeLogs": {}}]
    found = read("otlp", json.dumps({"resourceLogs": logs}).encode())
    assert [type(e) for e in found] == [RejectedEvent, InferenceEvent, *[RejectedEvent] * 4]
    assert (
        math.isnan(found[1].features["a"])
        and found[1].features["b"] == -math.inf
        and found[1].features["c"] == -(2**63)
    )
    assert (found[1].at, found[1].trace) == (AT + QUARTER, None)
    assert read("otlp", b"{}") == []


# ---- CloudEvents -----------------------------------------------------------------------------------------------------


def test_header_values_may_be_quoted_and_attributes_null():
    headers = {**kserve("request"), "ce_id": '"a \\"b\\" %E2%82%AC"'}
    assert [e.id for e in read("cloudevents", b'{"instances": [[1, 2]]}', **headers)] == ['a "b" €']
    for encoded in ("%C0%A0", "a%FF", "%ED%A0%80"):
        with pytest.raises(SightlineError, match="no UTF-8"):
            read("cloudevents", b'{"instances": [[1, 2]]}', **{**headers, "ce_id": encoded})
    assert read("cloudevents", b"[]", content_type="application/cloudevents-batch+json") == []
    event = {"specversion": "1.0", "id": "x", "source": "s", "type": "io.sightline.inference", "requestid": None,
     "time": None,
             "data_base64": None, "data": {"sepal_length": 1}}  # fmt: skip
    (found,) = read("cloudevents", json.dumps(event).encode(), content_type="application/cloudevents+json")
    assert (found.id, found.at, found.features) == ("x", None, {"sepal_length": 1})
