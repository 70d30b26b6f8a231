"""Connections beyond the bound: who makes room, who is told to come again, and what files leave room for."""

from __future__ import annotations

import logging
import resource
import socket

import pytest

from sightline.collector import app, connections
from sightline.collector.connections import Connections, kept_files, raise_open_files
from sightline.collector.limits import Limits
from sightline.errors import SightlineError
from tests.support.collector_server import SERVERS, Peer, post, running, until
from tests.support.collector_site import logged, make_home

PAGE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path)


@pytest.fixture(params=SERVERS)
def server(request):
    return request.param


def limits(number: int, min_idle: float = 60.0, body_timeout: float = 30.0) -> Limits:
    return Limits(
        max_connections=number, min_idle_seconds=min_idle, body_timeout_seconds=body_timeout, min_free_bytes=0
    )


def serve_another(site) -> int:
    with site.connect().socket as one:
        return Peer(one).send(PAGE).status()


def test_one_too_many_is_told_to_come_again_and_comes_when_another_has_gone(home, server, caplog):
    caplog.set_level(logging.WARNING, "sightline")
    with running(home, server, limits(3)) as site:
        known = [site.connect() for _ in range(3)]
        assert [peer.send(post({"id": f"k{n}"})).status() for n, peer in enumerate(known)] == [200] * 3
        for number in range(4):
            status, headers, answer = site.connect().send(post({"id": f"late{number}"})).answer()
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert "3 connections are open" in answer["error"] and "date" in headers
        assert [record.message for record in caplog.records] == [
            "3 connections are open: new ones are refused (1 so far)"
        ]
        assert [peer.send(post({"id": f"g{n}"})).status() for n, peer in enumerate(known)] == [200] * 3
        page = known[1].send(PAGE.replace(b"healthz", b"metrics")).answer()[2]
        for line in ("", "_limit"):
            assert f"\nsightline_collector_connections{line} 3.0\n" in page
        assert "\nsightline_collector_connections_refused_total 4.0\n" in page
        known[0].socket.close()
        until(lambda: serve_another(site) == 200)
    assert sorted(e.id for e in logged(home)) == ["g0", "g1", "g2", "k0", "k1", "k2"]


def test_a_refused_peer_that_sends_much_still_reads_why(home, server):
    with running(home, server, limits(1)) as site:
        first = site.connect().send(PAGE)
        assert first.status() == 200
        late = site.connect().send(post({"id": "x" * 3_000_000}))
        assert late.status() == 503 and late.is_closed()
        late.socket.close()
        until(lambda: len(site.collector.connections) == 1)


def test_a_refused_peer_that_stays_and_trickles_is_closed_soon(home, server, monkeypatch):
    monkeypatch.setattr(app, "RELOAD_SECONDS", 0.05)
    monkeypatch.setattr("sightline.collector.connection.LINGER_SECONDS", 0.3)
    with running(home, server, limits(1)) as site:
        first = site.connect().send(PAGE)
        assert first.status() == 200
        late = site.connect()
        assert late.status() == 503
        with pytest.raises(ConnectionError):
            until(lambda: late.send(b"x") is None)
        until(lambda: len(site.collector.connections) == 1)


def test_peers_that_are_leaving_are_bounded_too(home, server, monkeypatch):
    monkeypatch.setattr(connections, "MAX_LEAVING", 5)
    with running(home, server, limits(1)) as site:
        first = site.connect().send(PAGE)
        assert first.status() == 200
        late = [site.connect() for _ in range(20)]
        assert [peer.status() for peer in late] == [503] * 20
        assert len(site.collector.connections) <= 6
        assert first.send(PAGE).status() == 200


def test_the_silent_make_room_first_then_the_longest_idle_and_the_busy_never(home, server):
    with running(home, server, limits(4, min_idle=0.0)) as site:
        busy = site.connect().send(post({"id": "busy"})[:-2])
        until(lambda: site.collector.state.in_flight == 1)
        old, new = site.connect(), site.connect()
        assert [old.send(PAGE).status(), new.send(PAGE).status()] == [200, 200]
        silent = site.connect()
        until(lambda: len(site.collector.connections) == 4)
        more = []
        for number, goes in enumerate((silent, old, new)):
            more.append(site.connect().send(post({"id": str(number)})[:-2]))
            assert goes.is_closed()
            until(lambda: site.collector.state.in_flight == len(more) + 1)
        assert site.connect().send(PAGE).status() == 503
        assert busy.send(post({"id": "busy"})[-2:]).status() == 200
        for peer in more:
            peer.socket.close()
        assert site.collector.connections.closed_idle == 3 and site.collector.connections.refused == 1
    assert [e.id for e in logged(home)] == ["busy"]


def test_nobody_is_closed_who_was_heard_of_just_now(home, server):
    with running(home, server, limits(1, min_idle=0.5)) as site:
        first = site.connect().send(PAGE)
        assert first.status() == 200
        assert site.connect().send(PAGE).status() == 503
        until(lambda: serve_another(site) == 200)
        assert first.is_closed()


def test_a_peer_that_never_reads_the_rest_of_its_last_answer_is_given_up(home, server, monkeypatch):
    monkeypatch.setattr(app, "RELOAD_SECONDS", 0.05)
    with running(home, server, limits(5, body_timeout=0.5)) as site:
        peer = Peer(socket.socket())
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.socket.connect(("127.0.0.1", site.port))
        page = PAGE.replace(b"healthz", b"openapi.json")
        peer.send(page * 5 + page[:-2] + b"Connection: close\r\n\r\n")
        until(lambda: len(site.collector.connections) == 1)
        until(lambda: not site.collector.connections)


def test_few_files_leave_room_for_few_connections(caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = Connections(Limits(), lambda: 10)
    kept = kept_files(10)
    try:
        assert raise_open_files(kept + 5000) >= kept + 1000 and bound.limit == 1000
        resource.setrlimit(resource.RLIMIT_NOFILE, (kept + 700, hard))
        assert bound.limit == 700
        bound.prepare(10)
        assert bound.limit == 1000 and not caplog.records, "the process may raise its own limit"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_files_are_told_at_the_start(monkeypatch, caplog):
    bound, kept = Connections(Limits(), lambda: 10), kept_files(10)
    monkeypatch.setattr(connections, "raise_open_files", lambda wanted: kept + 300)
    bound.prepare(10)
    assert "300 connections at a time instead of 1000" in caplog.text
    monkeypatch.setattr(connections, "raise_open_files", lambda wanted: kept + 7)
    with pytest.raises(SightlineError, match=rf"may open {kept + 7} files(?s:.)*ulimit -n"):
        bound.prepare(10)
