"""The collector's own HTTP over real sockets.

Heads and bodies in any pieces, hand-over to uvicorn, limits, and the end.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from sightline.collector.app import Collector
from sightline.collector.auth import create_token, revoke_token
from sightline.collector.limits import Limits
from sightline.collector.protocol import END, MAX_HEAD_BYTES, IngestProtocol
from sightline.collector.request_heads import KNOWN_HEADS
from sightline.collector.server import make_collector
from sightline.home import Home
from sightline.log import writer as log_writer
from tests.support.collector_site import INFER, logged, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.005)


class Running:
    """A collector that listens."""

    def __init__(self, collector: Collector, server: uvicorn.Server, port: int) -> None:
        self.collector, self.server, self.port = collector, server, port

    def connect(self) -> Peer:
        return Peer(socket.create_connection(("127.0.0.1", self.port), timeout=10))


class Peer:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def send(self, *pieces: bytes) -> Peer:
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(0)
        return self

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON body of the next answer."""
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(self._buffer) < int(headers["content-length"]):
            self._read()
        body, self._buffer = (
            self._buffer[: int(headers["content-length"])],
            self._buffer[int(headers["content-length"]) :],
        )
        text = body.decode()
        return int(first.split()[1]), headers, json.loads(text) if text.startswith(("{", "[")) else text

    def status(self) -> int:
        return self.answer()[0]

    def is_closed(self) -> bool:
        try:
            return self._buffer == b"" and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _read(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"closed after {self._buffer!r}"
        self._buffer += data


@contextmanager
def running(home: Home, limits: Limits | None = None, keep_alive: int = 5, **options: Any) -> Iterator[Running]:
    collector = make_collector(home, guards=False, limits=limits or Limits(min_free_bytes=0), **options)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # accepted connections inherit it
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            collector, http=IngestProtocol, log_config=None, proxy_headers=False, timeout_keep_alive=keep_alive
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        until(lambda: server.started)
        yield Running(collector, server, listener.getsockname()[1])
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def post(row: Any, *headers: str, path: str = INFER) -> bytes:
    body = row if isinstance(row, bytes) else json.dumps(row).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_requests_in_any_pieces_and_one_behind_the_other(home):
    with running(home) as site:
        peer = site.connect()
        status, headers, answer = peer.send(post({"id": "a"})).answer()
        assert (status, answer) == (200, {"accepted": 1, "duplicate": 0, "rejected": 0, "errors": []})
        assert headers["content-type"] == "application/json" and headers["date"].endswith("GMT")
        request = post([{"id": "b"}, {"id": "c"}])
        for size in (1, 7, 100):
            pieces = [request[i : i + size] for i in range(0, len(request), size)]
            assert peer.send(*pieces).answer()[2]["accepted"] + 1 in (1, 3)
        together = b"".join(post({"id": f"p{i}"}) for i in range(50))
        peer.send(together[:-3], together[-3:])
        assert [peer.status() for _ in range(50)] == [200] * 50
        assert peer.send(post(b"{"), post({"id": "d"})).status() == 400
        assert peer.status() == 200
        assert not site.collector.state.in_flight
    assert sorted(e.id for e in logged(home)) == sorted(["a", "b", "c", "d", *(f"p{i}" for i in range(50))])


def test_other_requests_are_handed_over_and_answered_in_order(home):
    chunked = (
        f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        "chunked\r\n\r\n"
        'c\r\n{"id": "cc"}\r\n0\r\n\r\n'
    ).encode()
    with running(home) as site:
        peer = site.connect().send(
            post({"id": "a"}), b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", post({"id": "b"})
        )
        assert [peer.answer()[2] for _ in range(3)][1] == {"status": "ok"}
        assert site.connect().send(chunked).answer()[2]["accepted"] == 1
        waiting = post({"id": "e"}, "Expect: 100-continue")
        peer = site.connect().send(waiting[: waiting.index(b"\r\n\r\n") + 4])
        assert peer.socket.recv(100).startswith(b"HTTP/1.1 100")
        assert peer.send(waiting[waiting.index(b"\r\n\r\n") + 4 :]).status() == 200
        old = site.connect().send(post({"id": "o"}).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert old.status() == 200 and old.is_closed()
        assert site.connect().send(b"nonsense\r\n\r\n").status() == 400
        assert site.connect().send(post({"id": "x"}).replace(b"POST", b"PUT")).answer()[1]["allow"] == "POST"
        twice = post({"id": "t"}, "Content-Length: 5")
        assert site.connect().send(twice).status() == 400, "two lengths"
        assert site.connect().send(b"GET /" + b"x" * (2 * MAX_HEAD_BYTES)).socket is not None
    assert sorted(e.id for e in logged(home)) == ["a", "b", "cc", "e", "o"]


def test_a_request_that_is_not_admitted_is_answered_and_the_connection_goes_on(home):
    token = create_token(home.monitor("m"))
    bearer = f"Authorization: Bearer {token}"
    with running(home) as site:
        peer = site.connect()
        status, headers, _ = peer.send(post([{"id": "z" * 500}] * 300)).answer()
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        for number in range(3):
            assert peer.send(post({"id": str(number)}, bearer)).status() == 200
        assert peer.send(post({"id": "n"}, path="/v1/monitors/other/nothing")).status() == 404
        assert peer.send(post({"id": "h"}, bearer).replace(b"127.0.0.1", b"evil.test")).status() == 421
        answers = site.collector.state.metrics.responses
        assert (answers["inferences", 401], answers["inferences", 200], answers["unknown", 404]) == (1, 3, 1)
        create_token(home.monitor("m"))
        revoke_token(home.monitor("m"), token.split("_")[1])
        tokens = site.collector.registry.monitors["m"].tokens
        until(lambda: tokens.scope(f"Bearer {token}") is None)
        assert peer.send(post({"id": "late"}, bearer)).status() == 401, "what was looked up once holds no longer"
    assert sorted(e.id for e in logged(home)) == ["0", "1", "2"]


def test_heads_that_differ_each_time_do_not_fill_the_memory(home):
    with running(home) as site:
        peer = site.connect()
        requests = [post([], f"X-Request-Id: {number}") for number in range(KNOWN_HEADS + 50)]
        texts = [request[: request.index(END) + len(END)] for request in requests]
        for request in requests:
            assert peer.send(request).status() == 200
        heads = site.collector.heads
        found = {text: heads.find(text) for text in texts}
        kept = [text for text in reversed(texts) if heads.find(text) is found[text]]
        assert 0 < len(kept) <= KNOWN_HEADS


def test_limits_of_size_time_and_patience(home):
    limits = Limits(max_body_bytes=1000, body_timeout_seconds=0.2, min_free_bytes=0)
    with running(home, limits) as site:
        peer = site.connect().send(post({"id": "x" * 2000}))
        assert peer.status() == 413 and peer.is_closed()
        peer = site.connect().send(post({"id": "slow"})[:-3])
        until(lambda: site.collector.state.in_flight == 1)
        status, headers, _ = peer.answer()
        assert (status, headers["connection"]) == (408, "close") and peer.is_closed()
        until(lambda: site.collector.state.in_flight == 0)
        site.connect().send(post({"id": "gone"})[:-3]).socket.close()
        until(lambda: site.collector.state.in_flight == 0 and not site.collector.connections)
        site.collector.state.in_flight += limits.max_in_flight
        assert site.connect().send(post({"id": "busy"})).answer()[1]["retry-after"] == "1"
        site.collector.state.in_flight -= limits.max_in_flight
        last = site.connect().send(post({"id": "last"}, "Connection: close"))
        assert last.answer()[1]["connection"] == "close" and last.is_closed()
    assert [e.id for e in logged(home)] == ["last"]


def test_a_connection_on_which_nothing_happens_is_closed(home):
    with running(home, keep_alive=1) as site:
        idle, busy = site.connect(), site.connect()
        assert busy.send(post({"id": "a"})).status() == 200
        assert idle.is_closed() and busy.is_closed()
        until(lambda: not site.collector.connections)


def test_a_peer_that_never_reads_is_not_read_either(home):
    with running(home) as site:
        peer = Peer(socket.socket())
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.socket.connect(("127.0.0.1", site.port))
        peer.socket.settimeout(0.5)
        request = post({"id": "x"}) * 100
        with pytest.raises(TimeoutError):
            for _ in range(100_000):
                peer.socket.sendall(request)
        assert site.connect().send(post({"id": "y"})).status() == 200
        peer.socket.close()
        until(lambda: len(site.collector.connections) <= 1)


def test_the_end_answers_what_is_under_way(home, monkeypatch):
    gate = threading.Event()
    real = log_writer.OpenSegment.append
    monkeypatch.setattr(log_writer.OpenSegment, "append", lambda self, *a: (gate.wait(20), real(self, *a))[1])
    with running(home) as site:
        idle, peer = site.connect(), site.connect().send(post({"id": "a"}))
        until(lambda: site.collector.state.in_flight == 1)
        site.server.should_exit = True
        assert idle.is_closed()
        gate.set()
        status, headers, answer = peer.answer()
        assert (status, headers["connection"], answer["accepted"]) == (200, "close", 1) and peer.is_closed()
    assert [e.id for e in logged(home)] == ["a"]
