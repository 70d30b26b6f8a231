"""Events wait on disk while the collector is away, and in memory where there is no disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sightline_client import Client
from sightline_client import segments as client_segments
from sightline_client.spool import Spool

from tests.support.fake_collector import adds_up, collecting, logged, until

AT = datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.mark.parametrize("trouble", ["away", "overloaded", "hangs_up", "no_monitor", "nonsense"])
def test_events_wait_in_the_spool_and_are_replayed_in_order(tmp_path, trouble):
    with ExitStack() as servers:
        collector = servers.enter_context(collecting())
        answers = {
            "overloaded": (503, {"Retry-After": "0.02"}, {"error": "busy"}),
            "hangs_up": None,
            "no_monitor": (404, {}, {"error": "there is no monitor"}),
            "nonsense": (200, {}, ["not", "a", "collector"]),
        }
        url, port = collector.url, collector.port
        if trouble == "away":
            servers.close()
        else:
            collector.answer = lambda kind, rows: answers[trouble]
        log = Client("m", url=url, spool=tmp_path, interval=0.01, batch_size=50)
        for i in range(300):
            log.prediction(f"p{i}", features={"x": float("nan")})
        assert log.flush(10)
        stats = log.stats()
        assert stats["spooled"] == 300 and stats["sent"] == 0 and stats["failures"] > 0 and adds_up(stats)
        if trouble == "away":
            collector = servers.enter_context(collecting(port))
        else:
            collector.answer = collector.accept
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


def test_the_default_spool_folder_follows_the_environment(monkeypatch, tmp_path):
    from sightline_client.spool import default_folder

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("SIGHTLINE_SPOOL", raising=False)
    assert default_folder() == tmp_path / "sightline" / "spool"
    monkeypatch.setenv("SIGHTLINE_SPOOL", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


@pytest.mark.parametrize("is_away_first", [False, True])
def test_an_event_that_can_never_be_sent_is_set_aside_and_holds_up_none(tmp_path, is_away_first, caplog):
    def answer(kind: str, rows: list[Any]) -> Any:
        if sum(len(json.dumps(row)) for row in rows) > 2000:
            return 413, {"Connection": "close"}, {"error": "too large"}
        return collector.accept(kind, rows)

    with collecting() as collector, Client("m", url=collector.url, spool=tmp_path, interval=0.01) as log:
        collector.answer = (lambda kind, rows: (503, {}, {"error": "busy"})) if is_away_first else answer
        for number in range(100):
            log.prediction(f"p{number}", version="x" * (3000 if number in (3, 70) else 10), features={"é": number})
        if is_away_first:
            until(lambda: log.stats()["spooled"] == 100)
            collector.answer = answer
        until(lambda: log.stats()["refused"] == 2 and log.stats()["queued"] == 0)
        until(lambda: len(collector.ids()) == 98)
        stats = log.stats()
        assert stats["sent"] + stats["replayed"] == 98 and stats["dropped"] == 0
        assert stats["refused"] == 2 and (is_away_first or adds_up(stats))
    assert sorted(collector.ids()) == sorted(f"p{i}" for i in range(100) if i not in (3, 70))
    (file,) = (tmp_path / "m" / "refused").iterdir()
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted((k["kind"], k["event"]["id"], "413" in k["reason"]) for k in kept) == [
        ("inferences", "p3", True), ("inferences", "p70", True),
    ]  # fmt: skip
    assert list((tmp_path / "m").rglob("*.seg")) == [] and str(file) in caplog.text


def test_what_is_set_aside_is_bounded_like_the_spool(tmp_path, caplog):
    with collecting() as collector:
        collector.answer = lambda kind, rows: (413, {}, {})
        with Client("m", url=collector.url, spool=tmp_path, spool_bytes=5000, interval=0.01) as log:
            for number in range(10):
                log.prediction(f"p{number}", version="x" * 1000)
                assert log.flush(10)
            assert log.stats()["refused"] == 10
    size = sum(path.stat().st_size for path in (tmp_path / "m" / "refused").iterdir())
    assert 3000 < size <= 5000 and "they are lost" in caplog.text


def test_large_events_stay_readable_in_the_spool(tmp_path):
    spool = Spool(tmp_path, "m", 1 << 30)
    rows = [json.dumps({"id": str(i), "x": "y" * 2_000_000}).encode() for i in range(40)]
    assert spool.append("inferences", rows)
    found: list[bytes] = []
    assert spool.replay(lambda kind, batch: found.extend(batch), lambda: False)
    assert [json.loads(row)["id"] for row in found] == [str(i) for i in range(40)]
    assert not (tmp_path / "damaged").exists()
