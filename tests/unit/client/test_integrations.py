"""The client in applications: odd values, decorated functions, ASGI and WSGI middleware, BentoML's words."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sightline_client import ASGIMiddleware, Client, SightlineClientError, WSGIMiddleware, current_prediction_id
from sightline_client.encoding import moment_text, to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.events import build_event
from sightline.log.reader import read_segment


class Colour(Enum):
    RED = "red"


@dataclass
class Thing:
    name: str = "thing"

    def __str__(self) -> str:
        return self.name


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def tolist(self) -> list:
        raise RuntimeError("no list")


def logged(home, kind="inferences") -> list:
    log = Home(home).monitor("m").log
    return [e for path in seg.list_sealed(log, kind) for e in read_segment(path).events]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([1.0, np.inf]), [1.0, "Infinity"]),
        (np.datetime64("2026-01-31T06:00:00"), "2026-01-31T06:00:00Z"),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-01-31", tz="UTC"), "2026-01-31T00:00:00Z"),
        (pd.Series([1, 2]), [1, 2]),
        (pl.Series([1, 2]), [1, 2]),
        (Decimal("1.25"), 1.25),
        (datetime(2026, 1, 31, 6), "2026-01-31T06:00:00Z"),
        (date(2026, 1, 31), "2026-01-31"),
        (timedelta(hours=1), "1:00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (Colour.RED, "red"),
        (Thing(), "thing"),
        (Hostile(), "<Hostile>"),
        ({1: {2}, None: (3,)}, {"1": [2], "None": [3]}),
        ("\ud800", "?"),
        (10**30, 10**30),
    ],
)
def test_values_of_other_libraries_become_data(value, expected):
    assert json.loads(to_json({"x": value, "pad": float("nan")}))["x"] == expected
    assert json.loads(to_json({"x": value}))["x"] == expected or isinstance(value, dict | date | pd.Timestamp)


def test_circular_and_deep_values_end():
    circular: dict = {}
    circular["self"] = circular
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert len(to_json({"x": circular})) < 20_000 and len(to_json({"x": deep})) < 20_000


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(), values, max_size=5))
def test_any_features_become_an_event_the_log_can_read(features):
    row = json.loads(to_json({"id": "a", "at": "2026-01-31T06:00:00Z", "features": features}))
    assert build_event("inferences", row).features.keys() <= {
        key.encode("utf-8", "replace").decode() for key in features
    }


def test_times_are_written_in_utc():
    assert moment_text(0) == "1970-01-01T00:00:00Z"
    assert moment_text(datetime(2026, 1, 31, 6, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-31T04:00:00Z"
    assert moment_text(date(2026, 1, 31)) == "2026-01-31T00:00:00Z"
    assert moment_text("2026-01-31") == "2026-01-31"
    assert moment_text(1e300) == "1e+300"


def test_features_may_be_changed_after_the_call(tmp_path):
    features = {"x": 1}
    with Client("m", path=tmp_path) as log:
        log.prediction("a", features=features)
        features["x"] = 2
    assert logged(tmp_path)[0].features == {"x": 1}


def test_arguments_that_cannot_be_queued_are_counted(tmp_path, caplog):
    with Client("m", path=tmp_path) as log:
        log.prediction("a", features=7)
        log.prediction("b", features={"x": 1})
    assert (
        log.stats()["errors"] == 1
        and [e.id for e in logged(tmp_path)] == ["b"]
        and "could not be queued" in caplog.text
    )


def test_a_decorated_function_is_logged_with_latency_and_status(tmp_path):
    with Client("m", path=tmp_path, version="v1") as log:

        @log.wrap(id=lambda row, **_: row["id"], features=lambda row, **_: {"x": row["x"]}, version="v2")
        def predict(row, fail=False):
            assert current_prediction_id() == row["id"]
            if fail:
                raise LookupError("no model")
            return np.float64(0.25)

        assert predict({"id": "a", "x": 1}) == 0.25
        with pytest.raises(LookupError):
            predict({"id": "b", "x": 2}, fail=True)

        @log.wrap
        async def classify(x):
            await asyncio.sleep(0)
            return {"prediction": "late", "class_scores": {"late": 0.7, "ok": 0.3}, "other": 1}

        assert asyncio.run(classify(x=3))["prediction"] == "late"

        @log.wrap(result="prediction", id=lambda: 1 / 0)
        def regress():
            return [12.5]

        regress()
        generated = current_prediction_id()

        @log.wrap(result=lambda value: {"score": value[1], "query": "q"})
        def rank(row):
            return ("x", 0.5)

        rank({"y": 1})
    a, b, c, d, e = logged(tmp_path)
    assert (a.id, a.score, a.features, a.version, a.status) == ("a", 0.25, {"x": 1}, "v2", None) and a.latency_ms > 0
    assert (b.id, b.score, b.status, b.features) == ("b", None, "error", {"x": 2})
    assert (c.prediction, c.class_scores, c.features, c.version) == ("late", {"late": 0.7, "ok": 0.3}, {"x": 3}, "v1")
    assert (d.prediction, d.id, d.score) == (12.5, generated, None) and len(c.id) == 32
    assert (e.score, e.query, e.features) == (0.5, "q", {"y": 1})


def test_a_broken_rule_of_the_decorator_does_not_break_the_prediction(tmp_path, caplog):
    with Client("m", path=tmp_path) as log:
        assert log.wrap(lambda row: 0.5, features=lambda row: row["absent"])({}) == 0.5
    assert "could not be logged" in caplog.text


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def starlette_app() -> Starlette:
    async def predict(request: Request) -> JSONResponse:
        body = await request.json()
        if isinstance(body, list):
            return JSONResponse({"predictions": [{"score": 0.1 * i} for i in range(len(body))]})
        if body.get("bad"):
            return JSONResponse({"detail": "bad"}, 422)
        if body.get("crash"):
            raise RuntimeError("crash")
        return JSONResponse({"score": 0.75, "version": "v7"})

    return Starlette(
        routes=[Route("/predict", predict, methods=["POST"]), Route("/", lambda r: PlainTextResponse("hi"))]
    )


def call_asgi(app, *calls: tuple[str, str, dict]) -> list[httpx.Response]:
    """Send requests to an ASGI application; its exceptions become answers with status 500."""

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as web:
            return [await web.request(method, path, **arguments) for method, path, arguments in calls]

    return asyncio.run(main())


def test_asgi_middleware_logs_requests_and_answers(tmp_path):
    with Client("m", path=tmp_path) as log:
        single, *_, page = call_asgi(
            ASGIMiddleware(starlette_app(), log),
            ("POST", "/predict", {"json": {"id": "a", "features": {"x": 1}}, "headers": {"traceparent": TRACE}}),
            ("POST", "/predict", {"json": [{"x": 1}, {"x": 2}], "headers": {"x-request-id": "call"}}),
            ("POST", "/predict", {"json": {"x": 3, "bad": True}, "headers": {"x-request-id": "refused"}}),
            ("POST", "/predict", {"json": {"crash": True}, "headers": {"x-request-id": "crashed"}}),
            ("POST", "/predict", {"content": b"no json", "headers": {"x-request-id": "noise"}}),
            ("GET", "/", {}),
        )
        assert single.headers["x-prediction-id"] and single.json()["score"] == 0.75 and page.text == "hi"
    events = logged(tmp_path)
    assert [e.id for e in events] == ["a", "call:0", "call:1", "refused", "crashed", "noise"]
    assert (events[0].features, events[0].score, events[0].version) == ({"x": 1}, 0.75, "v7")
    assert events[0].trace == {"trace_id": TRACE[3:35], "span_id": TRACE[36:52]} and events[0].latency_ms > 0
    assert [(e.features, e.score) for e in events[1:3]] == [({"x": 1}, 0.0), ({"x": 2}, 0.1)]
    assert (events[3].features, events[3].status, events[3].score) == ({"x": 3, "bad": True}, 422, None)
    assert [(e.status, e.features) for e in events[4:]] == [(500, {"crash": True}), (500, {})]


def wsgi_app(environ, start_response):
    body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    if body.get("crash"):
        raise RuntimeError("crash")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"prediction": ', json.dumps(body["x"] > 1).encode(), b"}"]


def call_wsgi(app, path: str, body: object, **environ: str) -> tuple[list, bytes]:
    import io

    data = json.dumps(body).encode()
    found: list = []
    result = app(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
            **environ,
        },
        lambda status, headers, *rest: found.append((status, dict(headers))),
    )
    content = b"".join(result)
    close = getattr(result, "close", None)
    if close:
        close()
    return found, content


def test_wsgi_middleware_logs_requests_and_answers(tmp_path):
    with Client("m", path=tmp_path) as log:
        app = WSGIMiddleware(wsgi_app, log, paths=["/predict"])
        found, content = call_wsgi(app, "/predict", {"x": 2}, HTTP_X_REQUEST_ID="call")
        assert json.loads(content) == {"prediction": True} and found[0][1]["x-prediction-id"] == "call"
        call_wsgi(app, "/other", {"x": 1})
        with pytest.raises(RuntimeError):
            call_wsgi(app, "/predict", {"crash": True})
    first, second = logged(tmp_path)
    assert (first.id, first.features, first.prediction, first.status) == ("call", {"x": 2}, True, None)
    assert (second.status, second.features) == (500, {"crash": True})


def test_an_answer_that_breaks_off_is_a_failed_call(tmp_path):
    def wsgi(environ, start_response):
        start_response("200 OK", [])
        yield b'{"score": '
        raise RuntimeError("broken off")

    async def asgi(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broken off")

    with Client("m", path=tmp_path) as log:
        body = WSGIMiddleware(wsgi, log)(
            {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "wsgi.input": None}, lambda status, headers: None
        )
        with pytest.raises(RuntimeError):
            list(body)
        body.close()
        call_asgi(ASGIMiddleware(asgi, log), ("POST", "/predict", {"json": {"x": 1}}))
    assert [e.status for e in logged(tmp_path)] == [500, 500]


def test_objects_with_an_async_call_are_awaited_and_generators_refused(tmp_path):
    class Model:
        async def __call__(self, row):
            return 0.5

    def stream(row):
        yield 0.5

    async def stream_async(row):
        yield 0.5

    with Client("m", path=tmp_path) as log:
        assert asyncio.run(log.wrap(Model())({"x": 1})) == 0.5
        for function in (stream, stream_async):
            with pytest.raises(SightlineClientError, match="generator"):
                log.wrap(function)
    assert [(e.score, e.status) for e in logged(tmp_path)] == [(0.5, None)]


def test_middleware_takes_a_rule_of_ones_own_and_bounds_bodies(tmp_path):
    def rule(request, response):
        return [] if request is None else [{"id": request["key"], "score": response["p"]}]

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"p": 0.5}'})

    with Client("m", path=tmp_path) as log:
        call_asgi(
            ASGIMiddleware(app, log, paths=["/score"], extract=rule, max_body_bytes=100),
            ("POST", "/score", {"json": {"key": "k"}}),
            ("POST", "/score", {"json": {"key": "x" * 200}}),
            ("POST", "/predict", {"json": {"key": "not a prediction path"}}),
        )
    assert [(e.id, e.score) for e in logged(tmp_path)] == [("k", 0.5)]


def test_the_words_of_bentoml(tmp_path):
    with Client("m", path=tmp_path) as log:
        with log.monitor("a") as m:
            m.log(5.1, name="sepal_length", role="feature", data_type="numerical")
            m.log("setosa", name="species", role="prediction", data_type="categorical")
            m.log([0.9, 0.1], name="probabilities", role="prediction", data_type="numerical_sequence")
            m.log("setosa", name="truth", role="target", data_type="categorical")
        with log.monitor() as m:
            m.log(0.25, name="score", role="prediction", data_type="numerical")
        with log.monitor("c") as m:
            m.log(0.25, name="score", role="typo", data_type="numerical")
        with pytest.raises(LookupError), log.monitor("d"):
            raise LookupError
    a, b, d = logged(tmp_path)
    assert (a.id, a.features, a.prediction, a.class_scores) == (
        "a",
        {"sepal_length": 5.1},
        "setosa",
        {"0": 0.9, "1": 0.1},
    )
    assert (b.score, len(b.id)) == (0.25, 32) and (d.id, d.status) == ("d", "error")
    assert [(e.id, e.value) for e in logged(tmp_path, "labels")] == [("a", "setosa")]
    assert log.stats()["errors"] == 1


def test_many_threads_lose_nothing(tmp_path):
    with Client("m", path=tmp_path, queue_size=100_000, batch_size=50, interval=0.01) as log:
        threads = [
            threading.Thread(target=lambda t=t: [log.prediction(f"{t}-{i}") for i in range(500)]) for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(e.id for e in logged(tmp_path)) == sorted(f"{t}-{i}" for t in range(8) for i in range(500))
    assert log.stats()["sent"] == 4000
