"""Sound bodies of each sender, bent in one to four places, through the real application.

There is no 500, and the counters add up.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector.formats import ADAPTERS
from sightline.errors import SightlineError
from sightline.log.events import LabelEvent, RejectedEvent
from sightline.spec.loader import load_monitor
from tests.support.collector_site import MONITOR, Site, logged, make_home, run

CAPTURED = Path(__file__).parent / "captured"
CLASSES = """\
version: 1
model: {id: m, task: multiclass_classification}
columns:
  prediction_id: id
  timestamp: timestamp
  model_version: model_version
  entity_id: request_id
  status: status_code
  latency_ms: latency_ms
  weight: weight
  prediction: outputs
  class_scores: {setosa: predict, other: score}
  features: {sepal_length: numeric, sepal_width: categorical, request: embedding, data: datetime, features: boolean}
labels: {column: value, prediction_id: id}
reference: {kind: window, start: 2026-01-01, end: 2026-02-01}
"""
SPECS = {
    "plain": MONITOR.format(name="m").replace("distance", "sepal_length"),
    "names like those of the formats": CLASSES,
}
EVENT = {"id": "e", "source": "s", "specversion": "1.0", "time": "2026-01-05T10:00:00Z"}
KINDS = [
    f"{domain}.inference.{part}"
    for domain in ("org.kubeflow.serving", "io.seldon.serving")
    for part in ("request", "response")
]


def fixture(name: str) -> Any:
    found = [json.loads(line) for line in (CAPTURED / name).read_text().splitlines() if line.strip()]
    return found if len(found) > 1 else found[0]


def whole(name: str) -> Any:
    return json.loads((CAPTURED / name).read_text())


CALLS = [
    {"id": "q", "request": fixture("seldon_v2_request.json"), "response": fixture("seldon_v2_response.json")},
    fixture("kserve_v2_request.json"), fixture("mlflow_split.json"),
    {"id": "t", "request": fixture("tfserving_columns_request.json")},
    {"id": "r", "dataframe_records": [{"sepal_length": 1.0, "sepal_width": "x"}], "params": {"k": 1}},
    {"request_id": 7, "response": {"predictions": [{"score": 0.5}]}},
]  # fmt: skip
EVENTS = [
    *({**EVENT, "type": kind,
     "data": fixture(f"{name}_{kind.rsplit('.', 1)[1]}.json")} for kind in KINDS for name in ("kserve", "seldon_v1")),
    {**EVENT, "type": "io.seldon.serving.feedback", "data": fixture("seldon_v1_feedback.json")},
    {**EVENT, "type": "io.sightline.label", "data": [{"value": 1, "id": "x"}]},
]  # fmt: skip
FLAT = {
    "id": "x",
    "timestamp": 1767607200,
    "flight": "f",
    "departed_at": "2026-01-05T10:00:00Z",
    "late": 1,
    "value": "setosa",
}
SOUND: dict[str, list[Any]] = {
    "inferences": [{"id": "a", "at": 1767607200, "features": {"sepal_length": 1}, "score": 0.5,
     "class_scores": {"a": 0.5}}, FLAT],
    "labels": [{"id": "a", "value": True, "at": 1767607200.5}, FLAT],
    "cloudevents": EVENTS,
    "open_inference": CALLS,
    "mlflow": CALLS,
    "databricks": [fixture("databricks.ndjson"), fixture("databricks_gateway.ndjson")],
    "sagemaker": [fixture("sagemaker_capture.jsonl"), fixture("sagemaker_truth.jsonl"),
     fixture("sagemaker_merged.jsonl")],
    "bentoml": [whole("bentoml_flat.json"), whole("bentoml_fields.json"), fixture("bentoml_data.log")],
    "otlp": [whole("otlp.json"), whole("bentoml_otlp.json")],
}  # fmt: skip
WORDS = [
    "id", "request", "response", "inputs", "outputs", "instances", "predictions", "data", "names", "ndarray", "tensor",
    "shape", "columns",
    "features", "score", "value", "timestamp", "sepal_length", "truth", "model_version", "status_code", "", "@0", "@9",
    "NaN", "2026-01-05",
    "\u20ac" * 300, "x" * 70_000, "[1, 2]", '{"inputs": [[1]]}', "text/csv", "BASE64", "CSV", "JSON", "FP32", "BYTES",
    "\x00", "a,b\r\"c",
]  # fmt: skip
odd = st.sampled_from(
    [None, True, False, 0, 1, -1, 200, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"),
     1767607200, 1767607200000,
     [], {}, [[]], [{}], {"": {}}, [None], [[1, 2], [3]], {"a": [1], "b": [1, 2]}, [1] * 300,
      {str(i): i for i in range(2_100)}]
) | st.sampled_from(WORDS)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def bend(document: Any, how: str, chance: random.Random, value: Any) -> Any:
    """The document with one place changed.

    It is replaced, removed, renamed, doubled, emptied, nested deeply, or turned into JSON text.
    """
    path = chance.choice(places(document))
    if not path:
        return [document] if how == "nested" else value if how == "replaced" and chance.random() < 0.2 else document
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    last = path[-1]
    if how == "removed":
        del holder[last]
    elif how == "renamed" and isinstance(holder, dict):
        holder[chance.choice(WORDS)] = holder.pop(last)
    elif how == "doubled" and isinstance(holder, list):
        holder += copy.deepcopy([holder[last]] * chance.choice([1, 2, 40]))
    elif how == "emptied" and isinstance(holder[last], dict | list):
        holder[last] = type(holder[last])()
    elif how == "nested":
        for _ in range(chance.choice([1, 3, 40, 150])):
            holder[last] = [holder[last]] if chance.random() < 0.5 else {"a": holder[last]}
    elif how == "text":
        holder[last] = json.dumps(holder[last])
    else:
        holder[last] = value
    return document


class Raw(dict):
    """An object that writes one of its keys twice."""

    def items(self) -> Any:  # type: ignore[override]
        found = list(super().items())
        return [*found, *found[:1]]


@st.composite
def bodies(draw: Any, name: str) -> tuple[bytes, dict[str, str]]:
    chance = random.Random(draw(st.integers(0, 2**32)))
    document = copy.deepcopy(draw(st.sampled_from(SOUND[name])))
    for how in draw(
        st.lists(
            st.sampled_from(["replaced", "removed", "renamed", "doubled", "emptied", "nested", "text"]), max_size=4
        )
    ):
        document = bend(document, how, chance, copy.deepcopy(draw(odd)))
    if draw(st.booleans()) and isinstance(document, dict):
        document = Raw(document)
    shape = draw(st.sampled_from(["one", "many", "lines"]))
    several = document if isinstance(document, list) else [document] * draw(st.integers(0, 3))
    if shape == "lines":
        body, media = b"\n".join(json.dumps(item).encode() for item in several), "application/x-ndjson"
    else:
        body, media = json.dumps(document if shape == "one" else several).encode(), "application/json"
    if name == "cloudevents":
        batch = "-batch" if shape == "many" else ""
        kind = draw(
            st.sampled_from([*KINDS, "io.seldon.serving.feedback", "io.sightline.label", "io.sightline.inference"])
        )
        binary = {"content-type": "text/plain", **{f"ce-{k}": v for k, v in EVENT.items()}, "ce-type": kind}
        return body, binary if draw(st.booleans()) else {"content-type": f"application/cloudevents{batch}+json"}
    return body, {"content-type": media}


def test_every_format_is_bent():
    assert {name for name in ADAPTERS if not name.startswith("otlp/")} <= set(SOUND)


@pytest.mark.parametrize("spec_text", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("name", [name for name in ADAPTERS if not name.startswith("otlp/")])
def test_bent_bodies_are_counted_and_never_crash(name, spec_text, tmp_path):
    home = make_home(tmp_path)
    (home.monitors / "m.yaml").write_text(spec_text)
    spec = load_monitor(home.monitors / "m.yaml")
    total = Counter[str]()

    async def talk(site: Site) -> None:
        loop = asyncio.get_running_loop()

        @settings(max_examples=60, deadline=None, database=None)
        @given(bodies(name))
        def send(case: tuple[bytes, dict[str, str]]) -> None:
            body, headers = case
            answer = asyncio.run_coroutine_threadsafe(
                site.web.post(f"/v1/monitors/m/{name}", content=body, headers=headers), loop
            ).result(30)
            try:
                events = ADAPTERS[name](headers, body, spec)
            except SightlineError as error:
                assert answer.status_code == 400 and answer.json()["error"] and error.what, answer.text
                return
            assert answer.status_code == 200, answer.text
            counts = answer.json()
            assert counts["accepted"] + counts["duplicate"] + counts["rejected"] == len(events)
            assert counts["rejected"] >= sum(isinstance(e, RejectedEvent) for e in events)
            assert all(e["reason"] and e["message"] and 0 <= e["row"] < len(events) for e in counts["errors"])
            assert len({type(e) for e in events} - {RejectedEvent, LabelEvent}) <= 1
            total.update({key: counts[key] for key in ("accepted", "duplicate", "rejected")})

        await asyncio.to_thread(send)
        text = (await site.web.get("/metrics")).text
        for outcome, number in total.items():
            told = [
                float(line.split()[-1])
                for line in text.splitlines()
                if f'outcome="{outcome}"' in line and 'monitor="m"' in line
            ]
            assert sum(told) == number, outcome

    run(home, talk)
    assert len(logged(home)) + len(logged(home, "labels")) == total["accepted"]
    assert len(logged(home, "rejected")) == total["rejected"]


SPAN = {
    "name": "chat", "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
    "startTimeUnixNano": "1767607200000000000", "endTimeUnixNano": "1767607200250000000", "status": {},
    "attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.response.id", "value": {"stringValue": "j-1"}},
        {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "7"}},
    ],
}  # fmt: skip
RECORD = {
    "timeUnixNano": "1767607200000000000", "eventName": "gen_ai.evaluation.result", "attributes": SPAN["attributes"],
}  # fmt: skip
OTLP = {
    "traces": {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": [SPAN, SPAN]}]}]},
    "logs": {"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": [RECORD, RECORD]}]}]},
}


AS_JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("signal", OTLP)
def test_bent_telemetry_is_answered_as_the_protocol_says(signal, tmp_path):
    """200 with what was rejected, or 400; nothing crashes, and what is logged as rejected is what was told."""
    home = make_home(tmp_path)
    (home.monitors / "m.yaml").write_text(next(iter(SPECS.values())))
    told: Counter[str] = Counter()

    async def talk(site: Site) -> None:
        loop = asyncio.get_running_loop()

        @settings(max_examples=60, deadline=None, database=None)
        @given(
            st.integers(0, 2**32), st.lists(st.sampled_from(["replaced", "removed", "renamed", "nested", "text"])), odd
        )
        def send(seed: int, ways: list[str], value: Any) -> None:
            document: Any = copy.deepcopy(OTLP[signal])
            for how in ways[:4]:
                document = bend(document, how, random.Random(seed), copy.deepcopy(value))
            body = json.dumps(document).encode()  # with NaN and infinity, which are no JSON
            call = site.web.post(f"/v1/monitors/m/otlp/v1/{signal}", content=body, headers=AS_JSON)
            answer = asyncio.run_coroutine_threadsafe(call, loop).result(30)
            assert answer.status_code in (200, 400), answer.text
            rejected = answer.json().get("partialSuccess", {}) if answer.status_code == 200 else {}
            told.update({key: int(n) for key, n in rejected.items() if key.startswith("rejected")})

        await asyncio.to_thread(send)

    run(home, talk)
    assert len(logged(home, "rejected")) == sum(told.values())
