"""The client's way of an event: queue, batches, retries, answers. Nothing is lost without being counted."""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import UTC, datetime

import pytest
from sightline_client import Client, SightlineClientError
from sightline_client import segments as client_segments
from sightline_client.transports import PathTransport

from sightline.home import Home
from sightline.log import segment as seg
from tests.support.fake_collector import adds_up, collecting, logged, until

AT = datetime(2026, 1, 31, 6, tzinfo=UTC)


def test_path_events_are_readable_by_the_log(tmp_path):
    with Client("m", path=tmp_path, version="v1") as log:
        log.prediction(
            "a", features={"x": 1.5, "c": "UA"}, score=0.25, at=AT, entity=7, query="q", status=200, latency_ms=3.5
        )
        log.prediction(
            2,
            prediction="late",
            class_scores={"late": 0.7, "ok": 0.3},
            version="v2",
            weight=2.0,
            trace={"trace_id": "t"},
        )
        log.label("a", 1, at="2026-02-01T00:00:00Z", predicted_at=AT)
    first, second = logged(tmp_path)
    assert (first.id, first.at, first.version, first.features) == ("a", AT, "v1", {"x": 1.5, "c": "UA"})
    assert (first.score, first.entity, first.query, first.status, first.latency_ms) == (0.25, "7", "q", 200, 3.5)
    assert (second.id, second.version, second.prediction, second.weight) == ("2", "v2", "late", 2.0)
    assert second.class_scores == {"late": 0.7, "ok": 0.3} and second.trace == {"trace_id": "t"}
    assert abs((second.at - datetime.now(UTC)).total_seconds()) < 60
    (label,) = logged(tmp_path, "labels")
    assert (label.id, label.value, label.at, label.predicted_at, label.source) == (
        "a", 1, datetime(2026, 2, 1, tzinfo=UTC), AT, "client",
    )  # fmt: skip
    assert log.stats() | {"logged": 3, "sent": 3, "dropped": 0} == log.stats()


def test_a_label_is_taken_back(tmp_path):
    with Client("m", path=tmp_path) as log:
        log.label("a", 1)
        log.retract_label("a", at="2026-02-02T00:00:00Z", predicted_at=AT)
        log.retract_label(7)
    _, back, seven = logged(tmp_path, "labels")
    assert (back.id, back.value, back.retracted, back.predicted_at) == ("a", None, True, AT)
    assert back.at == datetime(2026, 2, 2, tzinfo=UTC)
    assert (seven.id, seven.retracted) == ("7", True)


def test_a_prediction_is_corrected_and_withdrawn(tmp_path):
    with Client("m", path=tmp_path, version="v1") as log:
        log.correct("a", at=AT, features={"x": 2.0}, score=0.5, observed_at="2026-02-02T00:00:00Z")
        log.withdraw("b")
        log.withdraw(7, version="v2", observed_at=AT)
        log.correct("c", at=AT, scores=1.0)
    fixed, gone, seven = logged(tmp_path)
    assert (fixed.id, fixed.at, fixed.version, fixed.score, fixed.supersedes) == ("a", AT, "v1", 0.5, True)
    assert (fixed.observed_at, fixed.features) == (datetime(2026, 2, 2, tzinfo=UTC), {"x": 2.0})
    assert (gone.id, gone.at, gone.version, gone.withdrawn, gone.supersedes) == ("b", None, None, True, False)
    assert abs((gone.observed_at - datetime.now(UTC)).total_seconds()) < 60
    assert (seven.id, seven.version, seven.observed_at) == ("7", "v2", AT)
    assert log.stats()["errors"] == 1


def test_url_events_arrive_in_order_compressed_and_with_the_token():
    with collecting() as collector, Client("m", url=collector.url + "/prefix/", token="secret", spool=False) as log:
        for i in range(1200):
            log.prediction(f"p{i}", features={"x": i})
        log.label("p1", "ok")
        assert log.flush(10)
        assert collector.ids() == [f"p{i}" for i in range(1200)] and collector.ids("labels") == ["p1"]
        assert {r["path"].rsplit("/", 1)[0] for r in collector.requests} == {"/prefix/v1/monitors/m"}
        assert all(r["authorization"] == "Bearer secret" for r in collector.requests)
        assert collector.requests[0]["content-encoding"] == "gzip"
        assert len(collector.requests) < 12
        assert adds_up(log.stats()) and log.stats()["sent"] == 1201


def test_a_full_queue_drops_counts_and_neither_blocks_nor_raises():
    gate = threading.Event()
    with collecting() as collector:
        collector.answer = lambda kind, rows: (gate.wait(20), collector.accept(kind, rows))[1]
        log = Client("m", url=collector.url, queue_size=100, batch_size=10, interval=0.01, spool=False)
        slowest = 0.0
        for i in range(500):
            started = time.perf_counter()
            log.prediction(i)
            slowest = max(slowest, time.perf_counter() - started)
        stats = log.stats()
        assert stats["dropped"] >= 350 and stats["logged"] == 500 and adds_up(stats)
        assert slowest < 5.0  # far below the time the collector takes to answer
        gate.set()
        log.close(20)
        stats = log.stats()
        assert stats["sent"] == len(collector.ids()) == 500 - stats["dropped"] and adds_up(stats)


def test_rows_refused_for_good_are_counted_and_the_rest_goes_on(caplog):
    with collecting() as collector, Client("m", url=collector.url, spool=False, interval=0.01) as log:
        collector.answer = lambda kind, rows: (
            (400, {}, {"error": "no"}) if kind == "labels" else collector.accept(kind, rows)
        )
        log.label("a", 1)
        log.prediction("b")
        assert log.flush(10)
        assert log.stats()["refused"] == 1 and log.stats()["sent"] == 1 and adds_up(log.stats())
    assert "refused" in caplog.text


def test_too_large_a_batch_is_split():
    with collecting() as collector, Client("m", url=collector.url, spool=False, interval=0.01) as log:
        collector.answer = lambda kind, rows: (413, {}, {}) if len(rows) > 10 else collector.accept(kind, rows)
        for i in range(100):
            log.prediction(i)
        assert log.flush(10)
        assert sorted(collector.ids(), key=int) == [str(i) for i in range(100)] and log.stats()["sent"] == 100


def test_counts_of_the_collector_are_kept(caplog):
    with collecting() as collector, Client("m", url=collector.url, spool=False, interval=0.01) as log:
        error = {"row": 0, "reason": "bad_type", "message": "score must be a number"}
        collector.answer = lambda kind, rows: (
            200,
            {},
            {"accepted": 0, "duplicate": 1, "rejected": 1, "errors": [error]},
        )
        log.prediction("a", score="high")
        log.prediction("b")
        assert log.flush(10)
        assert (log.stats()["sent"], log.stats()["rejected"], log.stats()["duplicate"]) == (2, 1, 1)
    assert "score must be a number" in caplog.text


def test_sync_returns_when_durable_and_raises_otherwise(tmp_path):
    with Client("m", path=tmp_path, sync=True) as log:
        log.prediction("a")
        assert [e.id for e in logged(tmp_path)] == ["a"]
        log.label("a", 1)
        assert log.stats()["sent"] == 2
    with pytest.raises(SightlineClientError, match="closed"):
        log.prediction("b")
    with collecting() as collector, Client("m", url=collector.url, sync=True) as log:
        threads = [
            threading.Thread(target=lambda t=t: [log.prediction(f"{t}-{i}") for i in range(20)]) for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(collector.ids()) == 80 and log.stats()["sent"] == 80
        collector.answer = lambda kind, rows: (503, {}, {"error": "busy"})
        with pytest.raises(SightlineClientError, match="503"):
            log.prediction("c")
        collector.answer = lambda kind, rows: (
            200,
            {},
            {"accepted": 0, "duplicate": 0, "rejected": 1, "errors": []},
        )
        with pytest.raises(SightlineClientError, match="quarantine"):
            log.prediction("d")
    with Client("m", url="http://127.0.0.1:9", sync=True) as log, pytest.raises(SightlineClientError):
        log.prediction("e")


def test_segments_are_sealed_by_age_while_nothing_comes_in(tmp_path):
    with Client("m", path=tmp_path, interval=0.01, segment_seconds=0.05) as log:
        log.prediction("a")
        until(lambda: seg.list_sealed(Home(tmp_path).monitor("m").log))


def test_calls_after_close_are_counted_as_dropped(tmp_path):
    log = Client("m", path=tmp_path)
    log.prediction("a")
    log.close()
    log.close()
    log.prediction("b")
    log.label("b", 1)
    assert (log.stats()["sent"], log.stats()["dropped"], log.stats()["logged"]) == (1, 2, 3)
    assert log.flush(1)


def test_wrong_set_up_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.delenv("SIGHTLINE_URL", raising=False)
    for arguments in ({}, {"url": "ftp://x"}, {"url": "http://x", "path": "y"}, {"path": tmp_path, "queue_size": 0}):
        with pytest.raises(SightlineClientError):
            Client("m", **arguments)
    with pytest.raises(SightlineClientError):
        Client("../m", path=tmp_path)
    monkeypatch.setenv("SIGHTLINE_URL", "http://127.0.0.1:9")
    assert Client("m", spool=False).stats()["logged"] == 0


def test_the_container_is_the_same_on_both_sides():
    assert (client_segments.MAGIC, client_segments.MARKER) == (seg.MAGIC, seg.MARKER)
    for frame_type in (seg.HEADER_FRAME, seg.RECORDS_FRAME, seg.FOOTER_FRAME):
        assert client_segments.pack_frame(frame_type, 3, b"payload") == seg.pack_frame(frame_type, 3, b"payload")
    data = seg.MAGIC + b"".join(seg.pack_frame(2, 1, bytes([i]) * 50) for i in range(5))
    assert [payload for _, _, payload in client_segments.read_frames(data)] == [bytes([i]) * 50 for i in range(5)]
    damaged = data[:70] + b"\xff" + data[71:]
    assert len(list(client_segments.read_frames(damaged))) == 4


def test_a_defect_in_the_thread_is_logged_and_never_reaches_the_caller(tmp_path, monkeypatch, caplog):
    log = Client("m", path=tmp_path, interval=0.01)
    monkeypatch.setattr(PathTransport, "tick", lambda self: 1 / 0)
    with caplog.at_level(logging.ERROR):
        log.prediction("a")
        until(lambda: "has ended" in caplog.text)
    log.prediction("b")
    log.close()
    assert log.stats()["dropped"] == 2


def test_a_large_batch_for_a_collector_that_is_away_waits_like_any_other(tmp_path):
    with Client("m", url="http://127.0.0.1:9", spool=tmp_path, timeout=1) as log:
        for k in range(20):
            log.prediction(f"a{k}", features={"x": random.Random(k).randbytes(20_000).hex()}, at=AT)
        assert log.flush(10)
        stats = log.stats()
    assert (stats["spooled"], stats["dropped"]) == (20, 0)
