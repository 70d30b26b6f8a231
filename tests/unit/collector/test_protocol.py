"""The collector's HTTP over real sockets, on the direct way and through ASGI.

Heads and bodies in any pieces, limits, bad peers, and the end.
"""

from __future__ import annotations

import http.client
import socket
import threading
from pathlib import Path

import pytest

from sightline.collector import app
from sightline.collector.auth import create_token, revoke_token
from sightline.collector.connection import STEP_BYTES
from sightline.collector.limits import Limits
from sightline.collector.request_heads import END, KNOWN_HEADS
from sightline.home import Home
from sightline.log import writer as log_writer
from tests.support.collector_server import SERVERS, Peer, post, running, until
from tests.support.collector_site import INFER, logged, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return request.param


def test_requests_in_any_pieces_and_one_behind_the_other(home, server):
    with running(home, server) as site:
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


def test_requests_of_all_kinds_are_answered_in_order(home, server):
    chunked = (
        f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        "chunked\r\n\r\n"
        'c\r\n{"id": "cc"}\r\n0\r\n\r\n'
    ).encode()
    with running(home, server) as site:
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
    assert sorted(e.id for e in logged(home)) == ["a", "b", "cc", "e", "o"]


def test_a_request_that_is_not_admitted_is_answered_and_the_connection_goes_on(home, server):
    token = create_token(home.monitor("m"))
    bearer = f"Authorization: Bearer {token}"
    with running(home, server) as site:
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
        kept = [text for text in texts if site.collector.heads.known(text) is not None]
        assert 0 < len(kept) <= KNOWN_HEADS


def test_only_a_text_whose_lines_are_the_fields_is_remembered(home):
    with running(home) as site:
        heads = site.collector.heads
        fields = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"2")]
        lines = [b"POST %b HTTP/1.1" % INFER.encode(), *(b"%b: %b" % field for field in fields), b"", b""]
        for text in (b"\n".join(lines), b"\r\n".join(lines[:-1]), b"\r\n".join(lines) + b"x\r\n", b""):
            heads.find(INFER.encode(), fields, True, text)
            assert heads.known(text) is None
        heads.find(INFER.encode(), fields, True, b"\r\n".join(lines))
        assert heads.known(b"\r\n".join(lines)) is not None


def test_limits_of_size_time_and_patience(home, server):
    limits = Limits(max_body_bytes=1000, body_timeout_seconds=0.2, min_free_bytes=0)
    with running(home, server, limits) as site:
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


def test_a_connection_on_which_nothing_happens_is_closed(home, server):
    with running(home, server, keep_alive=1) as site:
        idle, busy = site.connect(), site.connect()
        assert busy.send(post({"id": "a"})).status() == 200
        assert idle.is_closed() and busy.is_closed()
        until(lambda: not site.collector.connections)


def test_a_peer_that_never_reads_is_not_read_either(home, server):
    with running(home, server) as site:
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


def test_the_end_answers_what_is_under_way(home, server, monkeypatch):
    gate = threading.Event()
    real = log_writer.OpenSegment.append
    monkeypatch.setattr(log_writer.OpenSegment, "append", lambda self, *a: (gate.wait(20), real(self, *a))[1])
    with running(home, server) as site:
        idle, peer = site.connect(), site.connect().send(post({"id": "a"}))
        until(lambda: site.collector.state.in_flight == 1)
        site.server.should_exit = True
        assert idle.is_closed()
        gate.set()
        status, headers, answer = peer.answer()
        assert (status, headers["connection"], answer["accepted"]) == (200, "close", 1) and peer.is_closed()
    assert [e.id for e in logged(home)] == ["a"]


def test_a_refused_body_is_read_so_that_its_sender_gets_the_answer(home, server):
    limits = Limits(max_body_bytes=1000, max_drained_bytes=20_000_000, min_free_bytes=0)
    with running(home, server, limits) as site:
        for size in (5_000, 3_000_000, 19_000_000):  # more than all buffers of a socket hold
            connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
            connection.request("POST", INFER, b"x" * size, {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert (response.status, response.headers["connection"]) == (413, "close")
            assert "larger than 1000 bytes" in response.read().decode()
            connection.close()
        endless = site.connect().send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999999999\r\n\r\n")
        with pytest.raises(ConnectionError):
            for _ in range(100):
                endless.send(b"x" * 1_000_000)
        until(lambda: not site.collector.connections)


def test_bodies_of_requests_that_are_not_let_in_are_not_kept(home, server):
    create_token(home.monitor("m"))
    with running(home, server) as site:
        peer = site.connect().send(post({"id": "x" * 3_000_000})[:-1])
        assert peer.status() == 401
        assert site.collector.state.held_bytes == 0 and peer.send(b"}", post([])).status() == 401


def test_the_bodies_of_all_requests_together_are_bounded(home, server):
    limits = Limits(max_held_bytes=100_000, min_free_bytes=0)
    with running(home, server, limits) as site:
        half = post({"id": "a", "version": "x" * 60_000})
        first = site.connect().send(half[:-1])
        until(lambda: site.collector.state.in_flight == 1)
        status, headers, answer = site.connect().send(half).answer()
        assert (status, headers["retry-after"]) == (503, "1") and "bytes of requests" in answer["error"]
        assert first.send(half[-1:]).status() == 200
        assert (site.collector.state.held_bytes, site.collector.state.in_flight) == (0, 0)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"POST / HTTP/1.1\r\n", b""])
def test_a_head_is_bounded_in_size_and_time(home, server, start):
    limits = Limits(max_head_bytes=20_000, head_timeout_seconds=0.2, min_free_bytes=0)
    with running(home, server, limits) as site:
        if start:
            assert site.connect().send(start, b"a: b\r\n" * 5_000).status() == 431
            assert site.connect().send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + start).status() == 200
        slow = site.connect().send(start + (b"a: b" if start else b"GET /"))
        assert slow.status() == 408 and slow.is_closed()
        long = site.connect().send(b"GET /" + b"x" * 40_000)
        assert long.status() == 431 and long.is_closed()
        until(lambda: not site.collector.connections)


def test_requests_sent_ahead_are_not_held_beyond_their_turn(home, server):
    page = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with running(home, server) as site:
        peer = Peer(socket.socket())
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.socket.connect(("127.0.0.1", site.port))
        peer.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            for _ in range(100_000):
                peer.socket.sendall(page * 100)
        (connection,) = site.collector.connections
        assert len(connection.pipeline) <= STEP_BYTES // len(page) + 1
        peer.socket.close()
        until(lambda: not site.collector.connections)


def test_a_peer_that_does_not_read_is_given_up(home, server, monkeypatch):
    monkeypatch.setattr(app, "RELOAD_SECONDS", 0.05)
    with running(home, server, Limits(body_timeout_seconds=0.5, min_free_bytes=0)) as site:
        peer = Peer(socket.socket())
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.socket.connect(("127.0.0.1", site.port))
        peer.socket.settimeout(5)
        with pytest.raises(ConnectionError):
            for _ in range(100_000):
                peer.socket.sendall(post([]) * 100)
        until(lambda: not site.collector.connections and not site.collector.state.in_flight)


def test_a_peer_that_has_ended_its_side_gets_its_answers(home, server):
    page = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with running(home, server) as site:
        peer = site.connect().send(post({"id": "a"}), post({"id": "b"}), page)
        peer.socket.shutdown(socket.SHUT_WR)
        assert [peer.status() for _ in range(3)] == [200] * 3 and peer.is_closed()
        peer = site.connect().send(post({"id": "c"}), post({"id": "d"})[:-2])
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.status() == 200 and peer.is_closed()
        silent = site.connect()
        silent.socket.shutdown(socket.SHUT_WR)
        assert silent.is_closed()
        until(lambda: not site.collector.connections and not site.collector.state.in_flight)
    assert sorted(e.id for e in logged(home)) == ["a", "b", "c"]


def test_close_is_close_also_without_a_body(home, server):
    with running(home, server) as site:
        for request in (post(b"", "Connection: close"), post({"id": "a"}, "Connection: close")):
            peer = site.connect().send(request)
            status, headers, _ = peer.answer()
            assert headers["connection"] == "close" and peer.is_closed()
            assert status == (400 if b"Length: 0" in request else 200)


@pytest.mark.parametrize(
    "request_line", [b"POST 127.0.0.1:80 HTTP/1.1", b"POST http://127.0.0.1 HTTP/1.1", b"CONNECT a:1 HTTP/1.1",
                     b"OPTIONS * HTTP/1.1", b"POST  HTTP/1.1", b"POST ?x HTTP/1.1", b"POST /%ff\xff HTTP/1.1"],
)  # fmt: skip
def test_a_target_that_is_no_path_is_400(home, server, request_line, caplog):
    with running(home, server) as site:
        peer = site.connect().send(request_line + b"\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n[]")
        assert peer.status() == 400 and peer.is_closed()
    assert not caplog.records


@pytest.mark.parametrize(
    "header", ["Host: localhost", "Content-Type: application/json", "Authorization: Bearer x"],
)  # fmt: skip
def test_a_header_that_decides_stands_once(home, server, header):
    with running(home, server) as site:
        twice = [header] if not header.startswith("Authorization") else [header, header]
        status, _, answer = site.connect().send(post({"id": "a"}, *twice)).answer()
        assert status == 400 and "twice" in answer["error"]
        assert site.connect().send(post({"id": "a"}, "X-Other: 1", "X-Other: 2")).status() == 200


def test_an_upgrade_is_not_followed(home, server):
    with running(home, server) as site:
        ask = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        peer = site.connect().send(ask)
        assert peer.answer()[2] == {"status": "ok"} and peer.is_closed()


def test_trailers_and_extensions_of_chunks_are_not_kept(home, server):
    head = f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    start = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b'c;a=b\r\n{"id": "cc"}\r\n0\r\n'
    with running(home, server) as site:
        peer = site.connect().send(start, b"trailer: x\r\n" * 1000)
        until(lambda: [each for each in site.collector.connections if each._in_body])
        (connection,) = site.collector.connections
        assert len(connection.headers) == 3
        assert peer.send(b"\r\n", post({"id": "d"})).status() == 200 and peer.status() == 200


def test_what_is_no_http_is_told_after_the_answers_before_it(home, server):
    with running(home, server) as site:
        peer = site.connect().send(post({"id": "a"}) + b"\0\0nonsense\r\n\r\n")
        assert [peer.status(), peer.status()] == [200, 400] and peer.is_closed()
