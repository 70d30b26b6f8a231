"""Faults with real processes: kills, full disks, slow peers, overload.

What was acknowledged is in the log, and in the lake once.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from sightline_client import Client

from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.reader import read_segment
from sightline.log.recovery import recover
from tests.support.collector_process import (
    MONITOR,
    ROOT,
    CollectorProcess,
    check_nothing_is_lost,
    environment,
    event,
    logged,
    sending,
    until,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def lake_ids(home: Path) -> Counter[str]:
    """Load the log into the lake, and count its rows by prediction id."""
    from sightline.lake.intake.load import intake
    from sightline.lake.store.parts import scan_lake
    from sightline.spec.loader import find_monitor

    place = Home(home)
    spec = find_monitor(place, "m")
    intake(spec, place.monitor("m"), "inferences", place)
    frame = scan_lake(spec, place.monitor("m"), "inferences").select("prediction_id").collect()
    assert isinstance(frame, pl.DataFrame)
    return Counter(frame["prediction_id"].to_list())


def kill_again_and_again(home: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    collector = CollectorProcess(home, "--seal-seconds", "0.2")
    with (
        collector,
        sending(collector.port, 3, seed=seed) as senders,
        sending(collector.port, 1, "labels", seed) as labellers,
    ):
        for _ in range(kills):
            acknowledged = sum(len(s.acknowledged) for s in senders)
            until(lambda before=acknowledged: sum(len(s.acknowledged) for s in senders) > before)
            threading.Event().wait(rng.uniform(0.0, 0.25))
            collector.kill()
            collector.start()
        before = sum(len(s.acknowledged) for s in senders)
        until(lambda: sum(len(s.acknowledged) for s in senders) > before)
        for sender in (*senders, *labellers):
            sender.finish()
        assert collector.stop() == 0
    assert sum(s.failures for s in senders) >= kills
    check_nothing_is_lost(logged(collector.log), senders)
    check_nothing_is_lost(logged(collector.log, "labels"), labellers)
    ids = lake_ids(home)
    assert set(ids.values()) == {1}
    assert {i for s in senders for i in s.acknowledged} <= ids.keys()


def test_kill_9_of_the_collector_loses_nothing_acknowledged(tmp_path):
    kill_again_and_again(tmp_path, 3, seed=1)


@pytest.mark.full
def test_two_hundred_kills_of_the_collector(tmp_path):
    for seed in range(10):
        kill_again_and_again(tmp_path / str(seed), 20, seed)


CLIENT = """\
import sys
from sightline_client import Client
mode, target, spool, name = sys.argv[1:]
where = {("path" if mode.startswith("path") else "url"): target}
log = Client("m", **where, sync=mode.endswith("sync"), spool=spool, interval=0.005)
print("ready", flush=True)
for number in range(1_000_000):
    log.prediction(f"{name}-{number}", features={"x": float(number), "c": "UA"}, at="2026-01-31T06:00:00Z", score=0.5)
    if mode.endswith("sync"):
        print(number, flush=True)
    elif number % 50 == 49:
        log.flush()
        print(number, flush=True)
"""


def run_and_kill_client(mode: str, target: str, home: Path, name: str, rng: random.Random) -> int:
    """Returns how many events the client was told are safe before it was killed."""
    command = [sys.executable, "-c", CLIENT, mode, target, str(home / "spool"), name]
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    threading.Timer(rng.uniform(0.005, 0.15), process.kill).start()
    numbers = [line for line in process.stdout.read().split("\n")[:-1] if line]
    assert process.wait() == -signal.SIGKILL
    return int(numbers[-1]) + 1 if numbers else 0


def kill_clients(home: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    safe: dict[str, int] = {}
    (home / "monitors").mkdir(parents=True, exist_ok=True)
    with CollectorProcess(home, "--seal-seconds", "0.2") as collector:
        for number in range(kills):
            mode = ("path", "url", "path-sync", "url-sync")[number % 4]
            target = str(home) if mode.startswith("path") else collector.url
            safe[f"{mode}-{number}"] = run_and_kill_client(mode, target, home, f"{mode}-{number}", rng)
        with Client("m", url=collector.url, spool=home / "spool", interval=0.005) as log:  # replays what others left
            log.prediction("last-0")
            until(lambda: not list((home / "spool" / "m").glob("*/*.seg")))
        assert collector.stop() == 0
    recover(collector.log)
    found: dict[str, set[int]] = {}
    for item in logged(collector.log):
        name, _, index = item.id.rpartition("-")
        assert item.id == "last-0" or item.features == {"x": float(index), "c": "UA"}
        found.setdefault(name, set()).add(int(index))
    assert any(safe.values())
    for name, count in safe.items():
        assert set(range(count)) <= found.get(name, set()), name
        assert found.get(name, set()) == set(range(len(found.get(name, set())))), f"{name}: a hole"


def test_kill_9_of_clients_loses_nothing_they_were_told_is_safe(tmp_path):
    kill_clients(tmp_path, 4, seed=2)


def test_the_intake_finds_what_a_killed_client_without_a_collector_left(tmp_path):
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "m.yaml").write_text(MONITOR)
    safe = run_and_kill_client("path-sync", str(tmp_path), tmp_path, "p", random.Random(3))
    ids = lake_ids(tmp_path)
    assert {f"p-{i}" for i in range(safe)} <= ids.keys() and set(ids.values()) <= {1}


@pytest.mark.full
def test_two_hundred_kills_of_clients(tmp_path):
    for seed in range(10):
        kill_clients(tmp_path / str(seed), 20, seed)


@pytest.mark.e2e
def test_a_client_rides_over_killed_collectors(tmp_path):
    collector = CollectorProcess(tmp_path, "--seal-seconds", "0.2")
    with collector, Client("m", url=collector.url, spool=tmp_path / "spool", interval=0.01, queue_size=100_000) as log:
        for number in range(3000):
            log.prediction(f"p-{number}", features={"x": float(number), "c": "UA"}, at="2026-01-31T06:00:00Z")
            if number in (500, 1500):
                collector.kill()
            if number in (1000, 2000):
                assert log.flush(30)
                collector.start()
        until(lambda: log.flush(30) and log.stats()["spooled"] == log.stats()["replayed"], 60)
        stats = log.stats()
        assert collector.stop() == 0
    assert (stats["logged"], stats["dropped"], stats["refused"], stats["queued"]) == (3000, 0, 0, 0)
    assert stats["sent"] + stats["spooled"] == 3000 and stats["spooled"] > 0
    events = logged(collector.log)
    assert {e.id for e in events} == {f"p-{i}" for i in range(3000)}
    assert set(lake_ids(tmp_path).values()) == {1}


def test_sigterm_answers_what_came_in_and_seals(tmp_path):
    with CollectorProcess(tmp_path) as collector, sending(collector.port, 6) as senders:
        until(lambda: all(len(s.acknowledged) > 50 for s in senders))
        accepted = collector.metric("sightline_collector_events_total")
        started = time.monotonic()
        assert collector.stop() == 0
        assert time.monotonic() - started < 20
        for sender in senders:
            sender.finish()
        events = logged(collector.log)
        check_nothing_is_lost(events, senders)
        assert len(events) >= accepted
        assert len(events) == len({e.id for e in events})
    assert "all segments are sealed" in (tmp_path / "collector.log").read_text()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_and_corrupts_nothing(small_disk):
    with CollectorProcess(small_disk, "--min-free-mb", "0", "--no-guards", "--seal-seconds", "0.3") as collector:
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"\0" * 1_200_000)
        with sending(collector.port, 3) as senders:
            until(lambda: all(503 in s.statuses for s in senders), 60, "a full disk")
            assert collector.get("/healthz")[0] == 200
            full = [len(s.acknowledged) for s in senders]
            ballast.unlink()
            until(lambda: all(len(s.acknowledged) > n for s, n in zip(senders, full, strict=True)), 30, "recovery")
        accepted = collector.metric(
            'sightline_collector_events_total{kind="inferences",monitor="m",outcome="accepted"}'
        )
        assert collector.stop() == 0
    recover(collector.log)
    events = logged(collector.log)
    check_nothing_is_lost(events, senders)
    assert len(events) == accepted == sum(s.answers["accepted"] for s in senders)


def test_a_disk_that_stays_full_keeps_what_was_acknowledged(small_disk):
    room = small_disk / "room"
    room.write_bytes(b"\0" * 400_000)  # more than any torn end
    with CollectorProcess(small_disk, "--min-free-mb", "0", "--no-guards") as collector:
        with sending(collector.port, 2) as senders:
            until(lambda: all(503 in s.statuses for s in senders), 60, "a full disk")
        collector.kill()
    sealed_before = {path.name for path in seg.list_sealed(collector.log)}
    report = recover(collector.log)  # may need room for a footer and for a torn end
    room.unlink()
    assert recover(collector.log).failed == []
    events = logged(collector.log)
    check_nothing_is_lost(events, senders)
    assert report.sealed or report.failed or sealed_before


def test_low_space_refuses_before_the_disk_is_full(small_disk):
    with (
        CollectorProcess(small_disk, "--min-free-mb", "1", "--no-guards") as collector,
        sending(collector.port, 2) as senders,
    ):
        (small_disk / "ballast").write_bytes(b"\0" * 1_400_000)
        until(lambda: collector.get("/readyz")[0] == 503)
        until(lambda: all(503 in s.statuses for s in senders))
        for sender in senders:
            sender.finish()
        assert collector.stop() == 0  # there is room to seal
        check_nothing_is_lost(logged(collector.log), senders)


def test_peers_that_are_slow_or_go_away_hold_up_nobody(tmp_path):
    with CollectorProcess(tmp_path) as collector:
        body = json.dumps([event(f"slow-{i}") for i in range(50)]).encode()
        head = (
            f"POST /v1/monitors/m/inferences HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        idle = [socket.create_connection(("127.0.0.1", collector.port)) for _ in range(60)]
        for number, peer in enumerate(idle):
            if number % 3 == 0:
                peer.sendall(head + body[: len(body) // 2])  # never sends the rest
            elif number % 3 == 1:
                peer.sendall((head + body) * 5)  # never reads the answers
            else:
                peer.sendall(head[:20])
        with sending(collector.port, 2) as senders:
            until(lambda: all(len(s.acknowledged) > 200 for s in senders), 20)
        for peer in idle:
            peer.close()
        assert collector.get("/readyz")[0] == 200
        until(lambda: collector.metric("sightline_collector_in_flight") == 0)
        assert collector.stop() == 0
    events = [e for e in logged(collector.log) if not e.id.startswith("slow")]
    check_nothing_is_lost(events, senders)


@pytest.mark.e2e
def test_reading_the_log_while_it_is_written_sees_whole_events_only(tmp_path):
    with CollectorProcess(tmp_path, "--seal-seconds", "0.1") as collector, sending(collector.port, 2) as senders:
        seen: set[str] = set()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            for path in (*seg.list_open(collector.log), *seg.list_sealed(collector.log)[-3:]):
                try:
                    content = read_segment(path)
                except Exception:
                    if path.exists():  # sealed at this moment
                        raise
                    continue
                assert all(r.reason == "torn_tail" for r in content.rejections)
                seen |= {e.id for e in content.events}
        assert seen <= {i for s in senders for i in s.sent} and len(seen) > 100


@pytest.mark.e2e
def test_the_command_line_over_a_real_log(tmp_path):
    def sightline(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sightline.cli", *arguments]
        return subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=120
        )

    with CollectorProcess(tmp_path) as collector, sending(collector.port, 1) as (sender,):
        until(lambda: len(sender.acknowledged) > 100)
        sender.finish()
        collector.kill()
    head, row, *_ = sightline("log", "stats", "m").stdout.splitlines()
    assert dict(zip(head.split(), row.split(), strict=False))["orphaned"] == "1"
    assert "1 segments sealed" in sightline("log", "recover", "m").stdout
    stats = json.loads(sightline("log", "stats", "m", "--json").stdout)
    assert stats[0]["events"] >= len(sender.acknowledged) and stats[0]["sealed"] == stats[0]["not_loaded"] == 1
    verified = sightline("log", "verify", "m")
    assert verified.returncode == 0 and "0 segments damaged" in verified.stdout
    lines = sightline("log", "replay", "m", "--start", "2026-01-31", "--end", "2026-02-01").stdout.splitlines()
    assert {json.loads(line)["id"] for line in lines} >= set(sender.acknowledged)
    other = tmp_path / "other"
    with CollectorProcess(other) as second:
        assert "0 rejected" in sightline("log", "replay", "m", "--url", second.url).stdout
        assert second.stop() == 0
    assert {e.id for e in logged(second.log)} == {json.loads(line)["id"] for line in lines}
    (path,) = seg.list_sealed(collector.log)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    damaged = sightline("log", "verify", "m")
    assert damaged.returncode == 1 and "corrupt_record" in damaged.stdout
    missing = sightline("log", "stats", "n")
    assert missing.returncode == 2 and "there is no monitor 'n'" in missing.stderr
    token = sightline("token", "create", "m", "--note", "serving").stdout.strip()
    assert token.startswith("slt_") and "serving" in sightline("token", "list", "m").stdout
    assert "revoked" in sightline("token", "revoke", "m", token.split("_")[1]).stdout
    refused = sightline("collector", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2 and "sightline token create" in refused.stderr


def settled(collector: CollectorProcess, name: str) -> float:
    """A counter, when what was under way as its senders left has been handled."""
    seen = [-1.0]

    def is_settled() -> bool:
        threading.Event().wait(0.5)
        seen.append(collector.metric(name))
        return seen[-1] == seen[-2] and collector.metric("sightline_collector_in_flight") == 0

    until(is_settled, 60)
    return seen[-1]


@pytest.mark.long
def test_overload_for_a_minute_loses_nothing(tmp_path):
    """Closed loops of far more connections than one core serves.

    Latency grows alike for all of them, nothing breaks, and the counters add up.
    """
    connections = 256
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); from dataclasses import asdict; from "
        "benchmarks.logging_load import drive\n"
        "port, rows, first, connections = map(int, sys.argv[2:]); "
        "result, _ = drive(port, 'overload', (connections, rows, 20), 60, first); "
        "print(json.dumps(asdict(result)))\n"
    )
    with CollectorProcess(tmp_path) as collector:
        (tmp_path / "monitors" / "load20.yaml").write_text(MONITOR.replace("id: m", "id: load20"))
        until(lambda: json.loads(collector.get("/readyz")[1])["monitors"] == 2)
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(ROOT), str(collector.port), rows, first, str(connections)],
                stdout=subprocess.PIPE,
            )
            for rows, first in (("1", "0"), ("20", "100000000"))
        ]
        results = [json.loads(process.communicate()[0]) for process in runs]
        accepted = settled(
            collector, 'sightline_collector_events_total{kind="inferences",monitor="load20",outcome="accepted"}'
        )
        answered = collector.metric('sightline_collector_responses_total{format="inferences",status="200"}')
        assert collector.get("/readyz")[0] == 200
        assert collector.stop() == 0
    events = logged(Home(tmp_path).monitor("load20").log)
    assert len(events) == len({e.id for e in events}) == accepted
    acknowledged = sum((r["requests_per_second"] * 60 - r["failed"]) * r["events_per_request"] for r in results)
    assert 0 < acknowledged <= accepted and answered > 0
    for result in results:  # in a closed loop the mean latency is the connections divided by the throughput
        assert result["p99_ms"] < 20 * 1000 * connections / result["requests_per_second"]


def test_a_kept_alive_connection_survives_many_requests_and_mistakes(tmp_path):
    with CollectorProcess(tmp_path) as collector:
        connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
        for number in range(200):
            body = b"{" if number % 3 == 0 else json.dumps(event(f"k-{number}")).encode()
            connection.request("POST", "/v1/monitors/m/inferences", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            assert response.status == (400 if number % 3 == 0 else 200)
        assert collector.stop() == 0
    assert len(logged(collector.log)) == 133
