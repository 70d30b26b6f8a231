"""Threads with ``sync=True`` share requests, and each one hears of its own event only."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from sightline_client import Client, SightlineClientError
from sightline_client.together import SharedSender
from sightline_client.transports import Outcome

from tests.support.fake_collector import client_threads, collecting, until


def log_from_threads(log: Client, ids: list[str]) -> dict[str, str]:
    """Log each id from a thread of its own; returns what was raised, by id."""
    raised: dict[str, str] = {}

    def call(identifier: str) -> None:
        try:
            log.prediction(identifier)
        except SightlineClientError as error:
            raised[identifier] = str(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return raised


def test_threads_share_requests_and_each_has_its_own_outcome():
    with collecting() as collector, Client("m", url=collector.url, sync=True) as log:
        others_wait = threading.Event()

        def answer(kind: str, rows: list[Any]) -> Any:
            if rows[0]["id"] == "first":
                others_wait.wait(10)
            errors = [{"row": n, "message": "odd id"} for n, row in enumerate(rows) if row["id"].startswith("odd")]
            collector.rows[kind] += rows
            counts = {"accepted": len(rows) - len(errors), "duplicate": 0, "rejected": len(errors)}
            return 200, {}, {**counts, "errors": errors}

        collector.answer = answer
        first = threading.Thread(target=log.prediction, args=("first",))
        first.start()
        until(lambda: len(collector.requests) == 1)
        threading.Timer(0.2, others_wait.set).start()
        ids = [f"{word}-{n}" for n in range(30) for word in ("odd", "even")]
        raised = log_from_threads(log, ids)
        first.join(10)
        assert set(raised) == {i for i in ids if i.startswith("odd")}
        assert all("quarantine: odd id" in text for text in raised.values())
        assert sorted(collector.ids()) == sorted(["first", *ids])
        assert len(collector.requests) < 30 and log.stats()["sent"] == 31


def test_one_row_that_is_refused_does_not_cost_the_others():
    with collecting() as collector, Client("m", url=collector.url, sync=True) as log:

        def answer(kind: str, rows: list[Any]) -> Any:
            if any(row["id"] == "poison" for row in rows):
                return 400, {}, {"error": "poison"}
            return collector.accept(kind, rows)

        collector.answer = answer
        ids = [f"p-{n}" for n in range(20)]
        assert set(log_from_threads(log, [*ids, "poison"])) == {"poison"}
        assert sorted(collector.ids()) == sorted(ids)
        collector.answer = lambda kind, rows: (503, {}, {"error": "busy"})
        raised = log_from_threads(log, ids)
        assert set(raised) == set(ids) and all("503" in text for text in raised.values())


class Stuck:
    """A transport whose first send waits until it is told to go on, and then is interrupted."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.go = threading.Event()

    def send(self, kind: str, rows: list[bytes]) -> Outcome:
        self.batches.append(rows)
        if len(self.batches) == 1:
            self.go.wait(10)
            raise KeyboardInterrupt
        return Outcome(len(rows))


def test_an_interrupted_sender_passes_its_turn_on():
    stuck: Any = Stuck()
    sender = SharedSender(stuck, 500)
    results: dict[str, BaseException | None] = {}

    def send(name: str) -> None:
        try:
            sender.send("inferences", name.encode())
            results[name] = None
        except BaseException as error:
            results[name] = error

    threads = [threading.Thread(target=send, args=(name,)) for name in "abc"]
    threads[0].start()
    until(lambda: stuck.batches)
    for thread in threads[1:]:
        thread.start()
    until(lambda: sender.waiting == 2)
    stuck.go.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert isinstance(results["a"], KeyboardInterrupt)
    assert results["b"] is None and results["c"] is None and sorted(stuck.batches[1]) == [b"b", b"c"]
    sender.send("labels", b"d")
    assert stuck.batches[-1] == [b"d"]


def test_what_is_lost_at_the_end_is_told_once(caplog):
    before = client_threads()
    with collecting() as collector:
        port = collector.port
    log = Client("m", url=f"http://127.0.0.1:{port}", spool=False, exit_timeout=0.1)
    log.prediction("a")
    log.close()
    assert sum("are lost" in record.message for record in caplog.records) == 1
    with collecting(port):  # the thread ends when it is rid of its event
        until(lambda: client_threads() <= before)
    code = (
        "import sys; from sightline_client import Client\n"
        "log = Client('m', url=sys.argv[1], spool=False, exit_timeout=0.1)\n"
        "log.prediction('a'); log.close()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, f"http://127.0.0.1:{port}"], check=True, timeout=30, capture_output=True, text=True
    )
    assert ended.stderr.count("are lost") == 1
