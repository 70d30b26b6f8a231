"""A collector as a process of its own, and senders that remember what was acknowledged."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.reader import read_segment

ROOT = Path(__file__).resolve().parents[2]
MONITOR = """\
version: 1
model: {id: m, task: binary_classification}
columns:
  score: score
  features: {x: numeric, c: categorical}
labels: {column: late}
reference: {kind: window, start: 2026-01-01, end: 2026-02-01}
start: 2026-01-01
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "it") -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        threading.Event().wait(0.01)
    return found


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "SIGHTLINE_HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")])}


class CollectorProcess:
    """`sightline collector` over a home folder; may be killed and started again on the same port."""

    def __init__(self, home: Path, *options: str, monitor: str = MONITOR) -> None:
        self.home, self.options, self.port = home, options, free_port()
        (home / "monitors").mkdir(parents=True, exist_ok=True)
        (home / "monitors" / "m.yaml").write_text(monitor)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return Home(self.home).monitor("m").log

    def start(self) -> None:
        command = [sys.executable, "-m", "sightline.cli", "collector", "--port", str(self.port), *self.options]
        with (self.home / "collector.log").open("ab") as output:
            self.process = subprocess.Popen(command, env=environment(self.home), stdout=output, stderr=output)
        until(self.is_ready, 60, "the start of the collector")

    def is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.home / "collector.log").read_text()[
            -3000:
        ]
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/readyz")[0] == 200
        return False

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def post(self, path: str, rows: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        """Status and answer of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(rows).encode(), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Sum over all label sets of a metric."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def __enter__(self) -> CollectorProcess:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


class Sender(threading.Thread):
    """Posts batches of new events until told to stop; every batch is sent again until it is acknowledged."""

    def __init__(self, port: int, name: str, kind: str = "inferences", seed: int = 0) -> None:
        super().__init__(daemon=True)
        self.port, self.kind, self.prefix = port, kind, name
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self.answers: dict[str, int] = {"accepted": 0, "duplicate": 0, "rejected": 0}
        self.failures = 0
        self.statuses: set[int] = set()
        self.enough = threading.Event()
        self.error: BaseException | None = None
        self._rng = random.Random(f"{seed}-{name}")
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                size = self._rng.choice([1, 1, 5, 80])
                ids = [f"{self.prefix}-{len(self.sent) + i}" for i in range(size)]
                self.sent += ids
                body = json.dumps([event(i) if self.kind == "inferences" else label(i) for i in ids]).encode()
                while not self._post(body):
                    self.failures += 1
                    if self.enough.wait(self._rng.uniform(0.001, 0.05)):
                        return
                self.acknowledged += ids
        except BaseException as error:
            self.error = error
            raise

    def _post(self, body: bytes) -> bool:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self._connection.request("POST", f"/v1/monitors/m/{self.kind}", body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return False
        self.statuses.add(response.status)
        if response.status == 200:
            for name, number in json.loads(answer).items():
                if name != "errors":
                    self.answers[name] += number
            return True
        assert response.status in (429, 503), answer
        assert response.getheader("Retry-After")
        return False

    def finish(self) -> None:
        self.enough.set()
        self.join(30)
        assert not self.is_alive() and self.error is None, self.error


def number(identifier: str) -> float:
    return float(identifier.rsplit("-", 1)[1])


def event(identifier: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "at": "2026-01-31T06:00:00Z",
        "features": {"x": number(identifier), "c": "UA"},
        "score": 0.5,
    }


def label(identifier: str) -> dict[str, Any]:
    return {"id": identifier, "value": int(number(identifier)) % 2, "at": "2026-02-01T06:00:00Z"}


@contextlib.contextmanager
def sending(port: int, count: int, kind: str = "inferences", seed: int = 0) -> Iterator[list[Sender]]:
    senders = [Sender(port, f"{kind[0]}{i}", kind, seed) for i in range(count)]
    for sender in senders:
        sender.start()
    try:
        yield senders
    finally:
        for sender in senders:
            sender.finish()


def logged(log: Path, kind: str = "inferences") -> list[Any]:
    """Events of all sealed segments; every one of them must be sound, and nothing may be left open."""
    assert seg.list_open(log) == []
    events: list[Any] = []
    for path in seg.list_sealed(log, kind):
        content = read_segment(path)
        assert content.is_sound and not content.rejections, (path, content.rejections)
        events += content.events
    return events


def check_nothing_is_lost(events: list[Any], senders: list[Sender]) -> None:
    """Every acknowledged event is there, as it was sent; nothing is there that was not sent; copies are equal."""
    by_id: dict[str, Any] = {}
    for item in events:
        content = item.features if hasattr(item, "features") else item.value
        assert by_id.setdefault(item.id, content) == content
    acknowledged = {i for sender in senders for i in sender.acknowledged}
    sent = {i for sender in senders for i in sender.sent}
    assert acknowledged <= by_id.keys() <= sent
    assert all(content == {"x": number(i), "c": "UA"} for i, content in by_id.items() if isinstance(content, dict))
