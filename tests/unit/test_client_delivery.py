"""The client's way of an event: queue, batches, retries, spool, forks, the end of the process. Nothing is lost without being counted."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sightline_client
from sightline_client import Client, SightlineClientError
from sightline_client import segments as client_segments
from sightline_client import worker as client_worker

from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.reader import read_segment
from sightline.log.recovery import recover
from tests.unit.client_helpers import collecting, until

AT = datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(client_worker, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(client_worker, "MAX_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(client_worker, "ORPHAN_CHECK_SECONDS", 0.05)


def logged(home: Path, kind: str = "inferences", monitor: str = "m") -> list:
    log = Home(home).monitor(monitor).log
    return [e for path in (*seg.list_sealed(log, kind), *seg.list_open(log, kind)) for e in read_segment(path).events]


def adds_up(stats: dict[str, int]) -> bool:
    return stats["logged"] == stats["sent"] + stats["spooled"] + stats["refused"] + stats["dropped"] + stats["queued"]


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


@pytest.mark.parametrize("trouble", ["away", "overloaded", "hangs_up", "no_monitor", "nonsense"])
def test_events_wait_in_the_spool_and_are_replayed_in_order(tmp_path, trouble):
    with collecting() as collector:
        answers = {
            "overloaded": (503, {"Retry-After": "0.02"}, {"error": "busy"}),
            "hangs_up": None,
            "no_monitor": (404, {}, {"error": "there is no monitor"}),
            "nonsense": (200, {}, ["not", "a", "collector"]),
        }
        url, port = collector.url, collector.port
        collector.answer = lambda kind, rows: answers[trouble]
        log = Client("m", url=url, spool=tmp_path, interval=0.01, batch_size=50)
        if trouble == "away":
            log._worker.transport._port = 9
        for i in range(300):
            log.prediction(f"p{i}", features={"x": float("nan")})
        assert log.flush(10)
        stats = log.stats()
        assert stats["spooled"] == 300 and stats["sent"] == 0 and stats["failures"] > 0 and adds_up(stats)
        collector.answer = collector.accept
        log._worker.transport._port = port
        for i in range(300, 320):
            log.prediction(f"p{i}")
        until(lambda: log.stats()["replayed"] == log.stats()["spooled"] and log.stats()["queued"] == 0)
        log.prediction("last")
        log.close(10)
        assert [i for i in collector.ids() if i != "last"] == [f"p{i}" for i in range(320)]
        assert collector.ids()[-1] == "last" and collector.rows["inferences"][0]["features"] == {"x": "NaN"}
        assert list((tmp_path / "m").rglob("*.seg")) == [] and adds_up(log.stats())


def test_without_a_spool_events_wait_in_memory():
    with collecting() as collector:
        collector.answer = lambda kind, rows: (429, {"Retry-After": "0.02"}, {})
        log = Client("m", url=collector.url, spool=False, interval=0.01)
        for i in range(30):
            log.prediction(i)
        until(lambda: log.stats()["failures"] > 1)
        assert log.stats()["queued"] == 30 and not log.flush(0.01)
        collector.answer = collector.accept
        assert log.flush(10) and log.stats()["sent"] == 30
        log.close()


def test_the_spool_is_bounded(tmp_path):
    log = Client(
        "m", url="http://127.0.0.1:9", spool=tmp_path, spool_bytes=3000, queue_size=50, batch_size=10, interval=0.005
    )
    for i in range(400):
        log.prediction(i, features={"x": "y" * 50})
        if i % 20 == 0:
            log.flush(0.02)
    log.close(0.2)
    stats = log.stats()
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.seg"))
    assert 0 < stats["spooled"] < 60 and size < 6000 and stats["dropped"] > 300 and adds_up(stats)


def test_what_another_process_left_in_the_spool_is_replayed(tmp_path):
    code = (
        "import os, sys; from sightline_client import Client\n"
        "log = Client('m', url='http://127.0.0.1:9', spool=sys.argv[1], interval=0.01)\n"
        "for i in range(40): log.label(i, 1)\n"
        "log.flush(10); assert log.stats()['spooled'] == 40; os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    (orphan,) = (tmp_path / "m" / "open").glob("*.seg")
    with orphan.open("ab") as file:
        file.write(b"torn")
    with collecting() as collector, Client("m", url=collector.url, spool=tmp_path, interval=0.01) as log:
        log.prediction("x")
        until(lambda: len(collector.ids("labels")) == 40)
    assert collector.ids("labels") == [str(i) for i in range(40)]
    (kept,) = tmp_path.rglob("*.seg")  # a torn file is not thrown away
    assert kept.parent.name == "damaged"


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


def test_a_forked_child_logs_on_its_own_and_repeats_nothing(tmp_path):
    log = Client("m", path=tmp_path, interval=60)
    log.prediction("parent-1")  # waits in the parent's queue at the fork
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert log.stats()["logged"] == 0
            log.prediction("child")
            log.close()
            status = 0 if log.stats()["sent"] == 1 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    log.prediction("parent-2")
    log.close()
    assert sorted(e.id for e in logged(tmp_path)) == ["child", "parent-1", "parent-2"]
    assert len(seg.list_sealed(Home(tmp_path).monitor("m").log)) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_flush_at_their_end(tmp_path, method):
    script = tmp_path / "main.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from sightline_client import Client\n"
        "def work(name):\n"
        "    log = LOG if LOG is not None else Client('m', path=sys.argv[1], interval=60)\n"
        "    for i in range(5): log.prediction(f'{name}-{i}')\n"
        "LOG = None\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method(sys.argv[2])\n"
        "    if sys.argv[2] == 'fork':\n"
        "        LOG = Client('m', path=sys.argv[1], interval=60)\n"
        "        LOG.prediction('parent-0')\n"
        "    children = [multiprocessing.Process(target=work, args=(f'c{i}',)) for i in range(3)]\n"
        "    [c.start() for c in children]; [c.join() for c in children]\n"
    )
    subprocess.run([sys.executable, str(script), str(tmp_path), method], check=True, timeout=60)
    expected = [f"c{c}-{i}" for c in range(3) for i in range(5)] + (["parent-0"] if method == "fork" else [])
    assert sorted(e.id for e in logged(tmp_path)) == sorted(expected)


def test_the_end_of_the_process_flushes(tmp_path):
    code = "import sys; from sightline_client import Client; log = Client('m', path=sys.argv[1], interval=60)\nfor i in range(50): log.prediction(i)\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=30)
    assert [e.id for e in logged(tmp_path)] == [str(i) for i in range(50)]
    assert seg.list_open(Home(tmp_path).monitor("m").log) == []


def test_the_end_of_the_process_spools_what_a_hanging_collector_does_not_take(tmp_path):
    gate = threading.Event()
    with collecting() as collector:
        collector.answer = lambda kind, rows: (gate.wait(30), None)[1]
        code = (
            "import sys; from sightline_client import Client\n"
            "log = Client('m', url=sys.argv[1], spool=sys.argv[2], interval=0.01, exit_timeout=0.5, timeout=60)\n"
            "for i in range(700): log.prediction(i)\n"
        )
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code, collector.url, str(tmp_path)], check=True, timeout=60)
        assert time.monotonic() - started < 20
        gate.set()
    spooled = [
        event["id"]
        for path in (tmp_path / "m" / "sealed").glob("*.seg")
        for _, kind, payload in client_segments.read_frames(path.read_bytes())
        if kind == client_segments.RECORDS
        for event in json.loads(payload)[2]
    ]
    assert sorted(spooled, key=int) == [str(i) for i in range(700)]


def test_a_killed_process_loses_at_most_what_was_queued(tmp_path):
    code = (
        "import os, sys; from sightline_client import Client; log = Client('m', path=sys.argv[1], interval=60)\n"
        "for i in range(20): log.prediction(i)\n"
        "assert log.flush(10); log.prediction('queued'); os.kill(os.getpid(), 9)\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30).returncode
        == -signal.SIGKILL
    )
    report = recover(Home(tmp_path).monitor("m").log)
    assert report.events == 20
    assert [e.id for e in logged(tmp_path)] == [str(i) for i in range(20)]


def test_a_full_disk_keeps_events_in_memory_until_there_is_room(tmp_path, monkeypatch):
    real = os.write
    full = threading.Event()
    full.set()

    def write(descriptor: int, data) -> int:
        if full.is_set() and str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(str(tmp_path)):
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(client_segments.os, "write", write)
    with Client("m", path=tmp_path, interval=0.01) as log:
        for i in range(20):
            log.prediction(i)
        until(lambda: log.stats()["failures"] > 0)
        assert log.stats()["sent"] == 0
        full.clear()
        assert log.flush(10) and log.stats()["sent"] == 20
    assert [e.id for e in logged(tmp_path)] == [str(i) for i in range(20)]


def test_segments_are_sealed_by_age_while_nothing_comes_in(tmp_path):
    with Client("m", path=tmp_path, interval=0.01, segment_seconds=0.05) as log:
        log.prediction("a")
        until(lambda: seg.list_sealed(Home(tmp_path).monitor("m").log))


def test_a_client_nobody_refers_to_still_delivers(tmp_path):
    def log_one() -> None:
        Client("m", path=tmp_path, interval=60).prediction("a")

    log_one()
    gc.collect()
    until(lambda: [e.id for e in logged(tmp_path)] == ["a"])
    until(lambda: not client_worker._running)


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


def test_the_default_spool_folder_follows_the_environment(monkeypatch, tmp_path):
    from sightline_client.spool import default_folder

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SIGHTLINE_SPOOL", raising=False)
    assert default_folder() == tmp_path / "sightline" / "spool"
    monkeypatch.setenv("SIGHTLINE_SPOOL", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


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
    monkeypatch.setattr(log._worker, "_round", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR):
        log.prediction("a")
        until(lambda: "has ended" in caplog.text)
    log.prediction("b")
    log.close()
    assert log.stats()["dropped"] == 2


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_it_runs_on_other_pythons(tmp_path, version):
    """Runs where such an interpreter is installed; CI has them all."""
    installed = [
        shutil.which(f"python{version}"),
        *(Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"),
    ]
    code = (
        "import sys; from sightline_client import Client, ASGIMiddleware, WSGIMiddleware\n"
        "with Client('m', path=sys.argv[1]) as log:\n"
        "    log.prediction('a', features={'x': 1}); log.label('a', 1)\n"
        "    log.wrap(lambda row: 0.5)({'x': 2})\n"
    )
    env = {"PYTHONPATH": str(Path(sightline_client.__file__).parent.parent), "PATH": os.environ["PATH"]}
    working = [
        str(p)
        for p in installed
        if p and not subprocess.run([p, "-c", ""], env=env, check=False, capture_output=True).returncode
    ]
    if not working:
        pytest.skip(f"no Python {version} on this machine")
    subprocess.run([working[0], "-c", code, str(tmp_path)], check=True, timeout=60, env=env)
    assert len(logged(tmp_path)) == 2
