"""What the collector takes and what it refuses, row by row, and that a 200 means durable."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.collector.formats import ADAPTERS, native
from sightline.collector.limits import Limits
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.events import InferenceEvent, LabelEvent, RejectedEvent
from sightline.spec.model import MonitorSpec
from tests.support.collector_site import EVENT, INFER, LABEL, SPEC, Site, logged, make_home, run


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_object_array_and_ndjson_are_durable_when_answered(home):
    async def talk(site: Site) -> None:
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.json()) == (
            200,
            {"accepted": 1, "duplicate": 0, "rejected": 0, "errors": []},
        )
        assert [e.id for e in logged(home)] == ["a"]
        assert (await site.post(INFER, [{"id": "b"}, {"id": "c"}])).json()["accepted"] == 2
        lines = b'{"id": "d"}\r\n\n{"id": "e"}\n'
        assert (await site.post(INFER, lines, content_type="application/x-ndjson")).json()["accepted"] == 2
        assert (await site.post(INFER, b'{"id": "f"}\n{"id": "g"}')).json()["accepted"] == 2
        assert (await site.post(LABEL, {"id": "a", "value": True, "at": "2026-02-01T00:00:00Z"})).json()[
            "accepted"
        ] == 1
        assert (await site.post(INFER, [])).json()["accepted"] == 0

    run(home, talk)
    events = logged(home)
    assert [e.id for e in events] == list("abcdefg")
    assert (events[0].at, events[0].source, events[0].features) == (
        datetime(2026, 1, 31, 4, tzinfo=UTC), "native", {"distance": 7, "carrier": "UA"},
    )  # fmt: skip
    assert abs((events[0].received_at - datetime.now(UTC)).total_seconds()) < 60
    assert [(e.id, e.value) for e in logged(home, "labels")] == [("a", True)]
    assert seg.list_open(home.monitor("m").log) == []  # the end of the lifespan seals


def test_flat_rows_under_the_yamls_names(home):
    rows = [
        {
            "flight": "a",
            "distance": 7,
            "carrier": "UA",
            "p_late": 0.5,
            "departed_at": "2026-01-31T06:00:00Z",
            "gate": "B",
        }
    ]
    truth = [{"flight": "a", "late": 1, "landed_at": "2026-01-31T09:00:00Z", "distance": 7}, {"flight": "", "late": 1}]

    async def talk(site: Site) -> None:
        assert (await site.post(INFER, rows)).json()["accepted"] == 1
        answer = (await site.post(LABEL, truth)).json()
        assert (answer["accepted"], answer["rejected"]) == (1, 1)

    run(home, talk)
    (event,) = logged(home)
    assert (event.id, event.score, event.at) == ("a", 0.5, datetime(2026, 1, 31, 6, tzinfo=UTC))
    assert (event.features, event.prediction) == ({"distance": 7, "carrier": "UA", "gate": "B"}, None)
    (label,) = logged(home, "labels")
    assert (label.id, label.value, label.at) == ("a", 1, datetime(2026, 1, 31, 9, tzinfo=UTC))


def test_a_misspelt_output_of_a_flat_row_is_refused(home):
    moment = "2026-01-31T06:00:00Z"
    rows = [
        {"flight": "a", "distance": 7, "p_laet": 0.5, "departed_at": moment},
        {"flight": "b", "distance": 7, "gate": "B", "departed_at": moment},  # without a score, and nothing is like it
        {"flight": "c", "distance": 7, "p_late": 0.5, "p_laet": 0.4, "departed_at": moment},
    ]

    async def talk(site: Site) -> None:
        answer = (await site.post(INFER, rows)).json()
        assert (answer["accepted"], answer["rejected"]) == (2, 1)
        assert answer["errors"][0]["row"] == 0 and answer["errors"][0]["reason"] == "unknown_field"
        assert "Did you mean 'p_late'?" in answer["errors"][0]["message"]

    run(home, talk)


def test_columns_that_are_no_features_leave_the_features_of_a_flat_row():
    spec = MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "multiclass_classification"},
            "columns": {
                "prediction_id": "k", "timestamp": "t", "prediction": "says", "class_scores": {"a": "p_a", "b": "p_b"},
                "entity_id": "plane", "status": "code", "features": {"plane": "categorical"},
            },
            "reference": {"start": "2026-01-01", "end": "2026-02-01"},
        }
    )  # fmt: skip
    row = {"k": 1, "t": "2026-01-31", "says": "a", "p_a": 0.75, "p_b": 0.25, "plane": "N1", "code": 200, "note": "B"}
    (event,) = native.inferences({}, json.dumps(row).encode(), spec)
    assert (event.id, event.prediction, event.class_scores) == ("1", "a", {"a": 0.75, "b": 0.25})
    assert (event.entity, event.status, event.features) == ("N1", 200, {"plane": "N1", "note": "B"})
    (bare,) = native.inferences({}, b'{"k": 1, "note": "B"}', spec)
    assert (bare.prediction, bare.features) == (None, {"note": "B"})


def test_bad_rows_are_rejected_one_by_one_and_kept(home):
    rows = [
        {"id": "ok"},
        {"id": "a", "scor": 1},
        {"id": "b", "at": 17672256},
        {"score": 0.5},
        {"id": "c", "features": {"x": {"y": {"z": 1}}}},
        7,
        {"id": "d", "features": {str(i): 1 for i in range(native.MAX_FIELDS + 1)}},
        {"id": "e", "version": "x" * (native.MAX_TEXT_LENGTH + 1)},
        {"id": "f", "at": "0001-01-01T00:00:00Z"},
        {"id": "g", "source": "forged"},
        {"id": "h", "features": {"big": 10**30}, "score": "NaN"},
    ]

    async def talk(site: Site) -> dict[str, Any]:
        answer = (await site.post(INFER, rows)).json()
        metrics = (await site.web.get("/metrics")).text
        assert 'sightline_collector_rejections_total{monitor="m",reason="bad_timestamp"} 1.0' in metrics
        assert 'sightline_collector_events_total{kind="inferences",monitor="m",outcome="rejected"} 9.0' in metrics
        return answer

    answer = run(home, talk)
    assert (answer["accepted"], answer["duplicate"], answer["rejected"]) == (2, 0, 9)
    reasons = {error["row"]: error["reason"] for error in answer["errors"]}
    assert reasons == {
        1: "unknown_field", 2: "bad_timestamp", 3: "missing_id", 4: "limit_exceeded", 5: "bad_type",
        6: "limit_exceeded", 7: "limit_exceeded", 8: "timestamp_out_of_range", 9: "unknown_field",
    }  # fmt: skip
    kept = logged(home, "rejected")
    assert [(e.row, e.reason, e.kind) for e in kept] == [(row, reason, "inferences") for row, reason in reasons.items()]
    assert json.loads(kept[0].payload) == rows[1] and len(kept[5].payload) == native.MAX_PAYLOAD
    ok, h = logged(home)
    assert (ok.id, h.features, h.score != h.score) == ("ok", {"big": 1e30}, True)


def test_a_bad_line_does_not_cost_the_others(home):
    async def talk(site: Site) -> None:
        answer = (
            await site.post(LABEL, b'{"id": "a", "value": 1}\n{oops\n"x"\n', content_type="application/x-ndjson")
        ).json()
        assert (answer["accepted"], [e["reason"] for e in answer["errors"]]) == (1, ["bad_json", "bad_type"])

    run(home, talk)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        (INFER, b"{", {}, 400, "no JSON"),
        (INFER, b"", {}, 400, "no JSON"),
        (INFER, b"[" * 100_000, {}, 400, "JSON|nested"),
        (INFER, b"[]", {"content_type": "text/plain"}, 415, "application/json"),
        (INFER, b"[]", {"content_type": ""}, 415, "is missing"),
        (INFER, b"[]", {"content_encoding": "br"}, 415, "gzip or zstd"),
        (INFER, b"[]", {"content_encoding": "gzip"}, 400, "gzip"),
        (INFER, b"[]", {"content_encoding": "zstd"}, 400, "zstd"),
        (INFER, b" " * 3000, {}, 413, "1024 bytes"),
        (INFER, gzip.compress(b" " * 5000, mtime=0), {"content_encoding": "gzip"}, 413, "decompressed"),
        (INFER, b'[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]', {}, 413, "4 rows"),
        ("/v1/monitors/n/labels", b"[]", {}, 404, "Did you mean 'm'|Allowed"),
        ("/v1/monitors/m/label", b"[]", {}, 404, "Did you mean 'labels'"),
        ("/v1/monitors/m", b"[]", {}, 404, "nothing is at"),
        (INFER, b"[]", {"host": "evil.example"}, 421, "127.0.0.1"),
    ],
)
def test_refusals_say_what_and_why(home, path, body, headers, status, words):
    import re

    async def talk(site: Site) -> None:
        answer = await site.post(path, body, **headers)
        assert answer.status_code == status, answer.text
        assert re.search(words, answer.text), answer.text
        assert set(answer.json()) <= {"error", "fix"}

    limits = Limits(
        max_body_bytes=200_000 if body[:1] == b"[" else 1024, max_decompressed_bytes=2048, max_rows=3, min_free_bytes=0
    )
    run(home, talk, limits=limits)
    assert logged(home) == []


def test_a_binary_cloudevent_has_the_content_type_of_the_logged_request(home):
    """KServe's logger hands on what the model's caller sent, and curl says form data unless told otherwise."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "k",
        "ce_source": "x",
        "ce_type": "org.kubeflow.serving.inference.request",
    }

    async def talk(site: Site) -> None:
        for media in ("application/x-www-form-urlencoded", "application/octet-stream", ""):
            path, call = "/v1/monitors/m/cloudevents", {"instances": [[7, "UA"]]}
            answer = await site.post(path, call, content_type=media, **{**headers, "ce_id": f"k-{media}"})
            assert answer.status_code == 200, answer.text
            assert (await site.post(path, b"\x00\x01", content_type=media, **headers)).status_code == 400
            assert (await site.post(path, call, content_type=media)).status_code == 415, "no CloudEvent"
            assert (await site.post(INFER, EVENT, content_type=media, **headers)).status_code == 415

    run(home, talk)
    assert len(logged(home)) == 3


def test_other_methods_and_pages(home):
    async def talk(site: Site) -> None:
        for method in ("GET", "PUT", "DELETE"):
            answer = await site.web.request(method, INFER)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await site.web.get("/healthz")).json() == {"status": "ok"}
        ready = await site.web.get("/readyz")
        assert (ready.status_code, ready.json()["monitors"]) == (200, 2)
        document = (await site.web.get("/openapi.json")).json()
        others = ("incidents", "candidates", "registry")
        formats = [path for path in document["paths"] if path.startswith("/v1/") and path.split("/")[4] not in others]
        assert set(ADAPTERS) == {path.split("/", 4)[4] for path in formats}
        assert sum("/incidents" in path for path in document["paths"]) == 3
        assert "received_at" not in document["components"]["schemas"]["NativeInference"]["properties"]
        assert "POST /v1/monitors/<monitor>/labels" in (await site.web.get("/")).json()["paths"]
        assert (await site.web.get("/metrics", headers={"host": "evil.example"})).status_code == 421
        site.collector.state.is_ready = False
        answer = await site.post(INFER, EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await site.web.get("/readyz")).status_code == 503

    run(home, talk)


def test_other_formats_are_reached_by_their_name(home):
    event = {
        "specversion": "1.0", "id": "call", "source": "x", "type": "org.kubeflow.serving.inference.request",
        "data": {"instances": [{"distance": 1}, {"distance": 2}]},
    }  # fmt: skip

    async def talk(site: Site) -> None:
        answer = await site.post("/v1/monitors/m/cloudevents", event, content_type="application/cloudevents+json")
        assert answer.json()["accepted"] == 2, answer.text
        headers = {"content_type": "application/cloudevents+json", "x_sightline_monitor": "m"}
        assert (await site.post("/", event, **headers)).json()["duplicate"] == 2
        assert (await site.post("/", event, content_type="application/cloudevents+json")).status_code == 404
        answer = await site.post("/v1/monitors/m/cloudevents", {}, content_type="application/cloudevents+json")
        assert answer.status_code == 400 and "lacks" in answer.text

    run(home, talk)
    assert [(e.id, e.part, e.source) for e in logged(home)] == [
        ("call:0", "request", "cloudevents"),
        ("call:1", "request", "cloudevents"),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
rows = st.dictionaries(
    st.sampled_from(
        ["id", "at", "value", "features", "score", "version", "flight", "late", "p_late", "departed_at", "trace", "x"]
    ),
    json_values | st.sampled_from(["2026-01-31T06:00:00Z", "NaN", "a"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(rows | json_values, max_size=6), st.sampled_from(["inferences", "labels"]))
def test_any_rows_are_events_or_rejections_in_their_place(documents, kind):
    found = ADAPTERS[kind]({"content-type": "application/json"}, json.dumps(documents).encode(), SPEC)
    assert len(found) == len(documents)
    for number, event in enumerate(found):
        assert isinstance(event, InferenceEvent | LabelEvent | RejectedEvent)
        if isinstance(event, RejectedEvent):
            assert event.row == number and event.reason and event.message and event.kind == kind


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/x-ndjson"]))
def test_any_bytes_are_rows_or_one_clear_error(body, media):
    try:
        found = native.inferences({"content-type": media}, body, SPEC)
    except SightlineError as error:
        assert "JSON" in error.what or "nested" in error.what
    else:
        assert all(isinstance(event, InferenceEvent | RejectedEvent) for event in found)
