"""What a hostile peer can do to a running collector: hold up the others for a moment, and take bounded memory."""

from __future__ import annotations

import contextlib
import http.client
import random
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from sightline_client import Client

from sightline.collector.auth import create_token
from sightline.home import Home
from sightline.log import segment as seg
from tests.support.attacks import JSON_TYPE, MEGABYTE, Watch, bodies, longest_hold, peer, post, resident_bytes
from tests.support.collector_process import (
    CollectorProcess,
    Sender,
    check_nothing_is_lost,
    event,
    logged,
    sending,
    until,
)

pytestmark = pytest.mark.long

SECONDS = longest_hold()
"""So long one body may keep the event loop from others: 200 ms, more where the machine itself is slow."""

HALF_BODY = (
    b"POST /v1/monitors/m/inferences HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 8000000\r\n\r\n["
)
PAGE = b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(params=["direct", "plain"])
def collector(request: pytest.FixtureRequest, tmp_path) -> Iterator[CollectorProcess]:
    with CollectorProcess(tmp_path, "--server", request.param) as running:
        assert running.post("/v1/monitors/m/inferences", [event("warm-0")])[0] == 200
        yield running
        assert running.get("/readyz")[0] == 200
        until(lambda: running.metric("sightline_collector_in_flight") == 0)
        assert running.stop() == 0
        assert "Traceback" not in (tmp_path / "collector.log").read_text()


def test_a_body_that_costs_much_holds_up_nobody(collector):
    before = resident_bytes(collector)
    for name, attack in bodies().items():
        with Watch(collector) as watch:
            status = post(collector.port, attack)
        assert status in (200, 400, 413), (name, status)
        assert watch.slowest < SECONDS, (name, watch.slowest)
        assert watch.peak_bytes < before + 600 * MEGABYTE, (name, watch.peak_bytes - before)


def test_many_such_bodies_at_once_take_the_memory_of_two(collector):
    before = resident_bytes(collector)
    attack = bodies()["just records"]
    with Watch(collector) as watch:
        threads = [threading.Thread(target=post, args=(collector.port, attack), daemon=True) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
    assert watch.slowest < 2 * SECONDS, watch.slowest
    assert watch.peak_bytes < before + 1_000 * MEGABYTE, watch.peak_bytes - before


def test_a_body_that_is_too_large_is_told_so(collector):
    before = resident_bytes(collector)
    with Watch(collector) as watch:
        for size in (9, 18, 60):
            assert post(collector.port, ("inferences", b" " * (size * MEGABYTE), JSON_TYPE)) == 413
    assert watch.slowest < SECONDS and watch.peak_bytes < before + 40 * MEGABYTE


def test_an_event_of_18_megabytes_does_not_hold_up_the_client(collector, tmp_path):
    with Client("m", url=collector.url, spool=tmp_path / "spool", interval=0.01) as log:
        for number in range(200):
            noise = random.Random(number).randbytes(9_000_000).hex() if number == 50 else "y"
            log.prediction(f"p-{number}", features={"x": 1.0, "c": noise})
        until(lambda: log.stats()["refused"] == 1 and log.stats()["sent"] + log.stats()["replayed"] == 199, 60)
    (kept,) = (tmp_path / "spool" / "m" / "refused").iterdir()
    assert '"id":"p-50"' in kept.read_text() and "413" in kept.read_text()


def test_bodies_of_refused_requests_take_no_memory(collector):
    create_token(Home(collector.home).monitor("m"))
    until(lambda: post(collector.port, ("inferences", b"[]", JSON_TYPE)) == 401)
    before = resident_bytes(collector)
    head = b"POST /v1/monitors/m/inferences HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with Watch(collector) as watch, contextlib.ExitStack() as peers:
        for _ in range(60):
            one = peers.enter_context(peer(collector.port))
            one.sendall(head + b"Content-Length: %d\r\n\r\n" % (8 * MEGABYTE) + b" " * (8 * MEGABYTE - 1))
            assert one.recv(65536).startswith(b"HTTP/1.1 401")
    assert watch.slowest < SECONDS and watch.peak_bytes < before + 40 * MEGABYTE, (watch.slowest, watch.peak_bytes)


@pytest.mark.parametrize("request_text", [PAGE, b"POST /v1/monitors/m/inferences HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{"])  # fmt: skip
def test_a_peer_that_sends_ahead_and_never_reads_is_read_no_more(collector, request_text):
    before = resident_bytes(collector)
    with Watch(collector) as watch, peer(collector.port, receive_buffer=4096) as greedy:
        greedy.settimeout(2)
        with pytest.raises(TimeoutError):
            for _ in range(200):
                greedy.sendall(request_text * (MEGABYTE // len(request_text)))
    assert watch.slowest < SECONDS and watch.peak_bytes < before + 40 * MEGABYTE, (watch.slowest, watch.peak_bytes)


def test_a_peer_that_sends_ahead_and_reads_is_served_in_turn(collector):
    before = resident_bytes(collector)
    with Watch(collector) as watch, peer(collector.port) as greedy:
        number, received = 4_000, 0
        sender = threading.Thread(target=greedy.sendall, args=(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * number,))
        sender.start()
        while received < number:
            received += greedy.recv(1 << 20).count(b"HTTP/1.1 421")
        sender.join(20)
    assert watch.slowest < SECONDS and watch.peak_bytes < before + 40 * MEGABYTE


@pytest.mark.parametrize("start", [b"", PAGE, b"GET / HTTP/1.1\r\n"])
def test_heads_without_end_are_cut_off(collector, start):
    before = resident_bytes(collector)
    with Watch(collector) as watch, peer(collector.port) as endless, contextlib.suppress(ConnectionError):
        for _ in range(100):
            endless.sendall(start + b"a: b\r\n" * 200_000)
    assert watch.slowest < SECONDS and watch.peak_bytes < before + 40 * MEGABYTE


def test_half_heads_do_not_stay(collector):
    with contextlib.ExitStack() as peers:
        halves = [peers.enter_context(peer(collector.port)) for _ in range(100)]
        for half in halves:
            half.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127")
        started = time.monotonic()
        for half in halves:
            assert half.recv(65536).startswith(b"HTTP/1.1 408")
            half.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                assert half.recv(1) == b""
        assert time.monotonic() - started < 20


def test_slow_bodies_leave_room_for_others(collector):
    with contextlib.ExitStack() as peers:
        for _ in range(200):
            slow = peers.enter_context(peer(collector.port))
            slow.sendall(HALF_BODY)
        with Watch(collector) as watch:
            for number in range(50):
                assert collector.post("/v1/monitors/m/inferences", [event(f"e-{number}")])[0] == 200
    assert watch.slowest < SECONDS


def test_a_peer_that_ends_its_side_gets_its_answer(collector):
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    connection.request("POST", "/v1/monitors/m/inferences", b'{"id": "half"}', JSON_TYPE)
    connection.sock.shutdown(socket.SHUT_WR)
    assert connection.getresponse().status == 200


def of_metrics(connection: http.client.HTTPConnection) -> dict[str, float]:
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def connect_many(port: int, number: int, peers: contextlib.ExitStack, start: bytes) -> list[socket.socket]:
    made = [peers.enter_context(peer(port)) for _ in range(number)]
    for one in made:
        with contextlib.suppress(ConnectionError):  # it may be refused and gone already
            one.sendall(start)
    return made


def is_refused(one: socket.socket) -> bool:
    """Whether the server told it to come again, or has closed it."""
    one.settimeout(0)
    try:
        answer = one.recv(65536)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 503") and b"retry-after: 1\r\n" in answer), answer
    return True


def check_all_there(collector: CollectorProcess, sender: Sender) -> None:
    assert sender.acknowledged
    until(lambda: not seg.list_open(collector.log))
    check_nothing_is_lost([one for one in logged(collector.log) if one.id != "warm-0"], [sender])


def test_1200_connections_that_are_busy_leave_the_known_client_alone(collector):
    before, name = resident_bytes(collector), "sightline_collector_connections"
    known = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    with sending(collector.port, 1) as (sender,), contextlib.ExitStack() as peers:
        until(lambda: sender.acknowledged)
        made: list[socket.socket] = []
        for _ in range(6):
            made += connect_many(collector.port, 200, peers, HALF_BODY)
            assert of_metrics(known)[f"{name}_limit"] == 1_000
        until(lambda: of_metrics(known)[f"{name}_refused_total"] == 202)
        until(lambda: sum(map(is_refused, made)) == 202)
        slowest, acknowledged = 0.0, len(sender.acknowledged)
        for _ in range(100):
            started = time.perf_counter()
            assert of_metrics(known)[name] == 1_000
            slowest = max(slowest, time.perf_counter() - started)
        until(lambda: len(sender.acknowledged) > acknowledged)
        assert slowest < 2 * SECONDS, slowest
        assert resident_bytes(collector) < before + 60 * MEGABYTE, resident_bytes(collector) - before
        assert sender.failures == 0 and sender.statuses == {200}, "the client that was there had its place all along"
    until(lambda: of_metrics(known)[name] <= 2)
    known.close()
    check_all_there(collector, sender)


def test_1200_connections_that_say_nothing_make_room(collector):
    with contextlib.ExitStack() as peers:
        connect_many(collector.port, 1_200, peers, b"")
        with sending(collector.port, 1) as (sender,):
            until(lambda: sender.acknowledged)
            until(lambda: collector.get("/healthz")[0] == 200)
        assert collector.metric("sightline_collector_connections_closed_idle_total") >= 1
    check_all_there(collector, sender)


def test_where_files_are_few_connections_are_and_events_are_logged(collector):
    assert collector.process is not None
    _, hard = resource.prlimit(collector.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(collector.process.pid, resource.RLIMIT_NOFILE, (600, hard))
    with sending(collector.port, 1) as (sender,), contextlib.ExitStack() as peers:
        until(lambda: sender.acknowledged)
        made = connect_many(collector.port, 700, peers, HALF_BODY)
        until(lambda: sum(map(is_refused, made)) > 500)
        acknowledged = len(sender.acknowledged)
        until(lambda: len(sender.acknowledged) > acknowledged + 500)
        assert sender.failures == 0
    check_all_there(collector, sender)
    assert "Too many open files" not in (collector.home / "collector.log").read_text()
