"""Answers of a registry that misbehaves: bounded in time and size, told with their place, no token to anybody else."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sightline.registries import http as web
from sightline.registries import mlflow
from sightline.registries.http import Server
from sightline.registries.mlflow import MLflow
from sightline.registries.protocol import Registered, RegistryError

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server on loopback whose every GET and POST is answered by a function."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def said(content: bytes, status: int = 200, length: int | None = None, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def test_a_token_is_sent_as_bearer_and_a_login_as_basic():
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Authorization"))
        said(b"{}")(handler)

    with serving(answer) as url:
        for secret in (None, "abc", "me:se:cret"):
            assert Server(url, secret).get("/x") == {}
    assert seen == [None, "Bearer abc", f"Basic {base64.b64encode(b'me:se:cret').decode()}"]


def test_a_redirect_is_not_followed():
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.path)
        said(b"", 302, Location="/elsewhere")(handler)

    with serving(answer) as url, pytest.raises(RegistryError, match="answered 302"):
        Server(url, "secret").get("/x")
    assert seen == ["/x"]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (said(b"<html>"), "no JSON"),
        (said(b"[1]"), "no JSON object"),
        (said(b"\xff\xfe"), "no JSON"),
        (said(b"[" * 200_000), "no JSON"),
        (said(b'{"a": 1}', length=100), "broke off"),
        (said(b"nope", 500), "answered 500: nope"),
        (said(b"who?", 401), r"answered 401: who\?[\s\S]*token_env"),
        (said(b"x" * 4000, 404), "answered 404"),
    ],
)
def test_answers_that_are_none(answer, what):
    with serving(answer) as url, pytest.raises(RegistryError, match=what) as error:
        Server(url).get("/x")
    assert len(str(error.value)) < 800


def test_a_large_answer_is_not_read_to_its_end(monkeypatch, tmp_path):
    monkeypatch.setattr(web, "MAX_ANSWER_BYTES", 100_000)
    with serving(said(b"x" * 1_000_000)) as url:
        with pytest.raises(RegistryError, match="larger than 100,000 bytes"):
            Server(url).get("/x")
        with pytest.raises(RegistryError, match="larger than 500,000 bytes"):
            Server(url).download("/x", tmp_path / "f", 500_000)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_answer_ends(monkeypatch):
    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.5)
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            if stop.wait(0.05):
                return
            handler.wfile.write(b" ")
            handler.wfile.flush()

    started = time.monotonic()
    with serving(drip) as url:
        with pytest.raises(RegistryError, match=r"longer than 0\.5 s"):
            Server(url).get("/x")
        stop.set()
    assert time.monotonic() - started < 15


def test_a_silent_server_ends(monkeypatch):
    monkeypatch.setattr(web, "TIMEOUT_SECONDS", 0.3)
    stop = threading.Event()
    with serving(lambda handler: stop.wait(20) and None) as url:
        with pytest.raises(RegistryError, match="cannot be reached"):
            Server(url).get("/x")
        stop.set()


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://a", "http://", "http://me:secret@a"])
def test_what_is_no_address(url):
    with pytest.raises(RegistryError, match="no address"):
        Server(url)


def test_nobody_listens():
    with pytest.raises(RegistryError, match="cannot be reached"):
        Server("http://127.0.0.1:9").get("/x")


def of(content: dict[str, bytes]) -> Answer:
    """Answers by the beginning of the path."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        found = [body for path, body in content.items() if handler.path.startswith(path)]
        said(found[0] if found else b'{"error_code": "NO"}', 200 if found else 404)(handler)

    return answer


VERSION = Registered("1", 0.0, run="r")
RUN = b'{"run": {"info": {"artifact_uri": "mlflow-artifacts:/0/r/artifacts"}}}'


def test_another_service_is_no_mlflow():
    with serving(of({"/api": b'{"hello": 1}'})) as url, pytest.raises(RegistryError, match="is this an MLflow server"):
        MLflow(Server(url), "m", "evaluation").versions()
    odd = b'{"registered_model": {"aliases": [1]}}'
    with serving(of({"/api": odd})) as url, pytest.raises(RegistryError, match="is this an MLflow server"):
        MLflow(Server(url), "m", "evaluation").versions()


def test_artifacts_elsewhere_and_too_large_ones_are_told(tmp_path, monkeypatch):
    files = b'{"files": [{"path": "evaluation/a.parquet", "is_dir": false, "file_size": "4"}]}'
    elsewhere = RUN.replace(b"mlflow-artifacts:/", b"s3://bucket/")
    answers = {"/api/2.0/mlflow/runs": elsewhere, "/api/2.0/mlflow/artifacts": files}
    with serving(of(answers)) as url, pytest.raises(RegistryError, match="does not hand out"):
        MLflow(Server(url), "m", "evaluation").evaluation_set(VERSION, tmp_path)
    monkeypatch.setattr(mlflow, "MAX_BYTES", 3)
    answers["/api/2.0/mlflow/runs"] = RUN
    with serving(of(answers)) as url, pytest.raises(RegistryError, match="larger than 3 bytes"):
        MLflow(Server(url), "m", "evaluation").evaluation_set(VERSION, tmp_path)


def test_paths_of_a_hostile_server_stay_in_the_folder(tmp_path):
    files = (
        b'{"files": [{"path": "evaluation/../../../x.parquet"}, {"path": "/etc/x.parquet"}, '
        b'{"path": "evaluation/sub", "is_dir": true}, {"path": "evaluation/.hidden.parquet"}, '
        b'{"path": "evaluation/readme.txt"}, '
        b'{"path": "evaluation/a.parquet"}]}'
    )
    answers = {
        "/api/2.0/mlflow/runs": RUN,
        "/api/2.0/mlflow/artifacts": files,
        "/api/2.0/mlflow-artifacts/artifacts/0/r/artifacts/evaluation/a.parquet": b"PAR1",
    }
    inner = tmp_path / "inner"
    inner.mkdir()
    with serving(of(answers)) as url:
        written = MLflow(Server(url), "m", "evaluation").evaluation_set(VERSION, inner)
    assert [file.name for file in written] == ["a.parquet"]
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*")) == ["inner", "inner/a.parquet"]
