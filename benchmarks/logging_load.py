"""Load on the collector over loopback: single events and batches, against an application that answers and does nothing.

The server and the load generator are processes of their own, each on one core where there are two. Every event has 20
features (or 5) and an id of its own, and each 200 means that it is on disk. Two kinds of load: as much as goes (each
connection sends its next request when the last one is answered: the latency is then the number of connections divided
by the throughput, and the generator's own work is in it), and a fixed rate (requests are due at even distances, and the
latency counts from the moment a request was due, so that a stall is charged to all that it holds up). ``waited`` is the
share of the time in which threads of the server were ready and other work had their core: where it is high without a
reason in the server itself, latencies tell of the machine.

Run: ``python -m benchmarks logging_load [--seconds 5] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FEATURES = (20, 5)
MONITOR = """\
version: 1
model: {id: NAME, task: binary_classification}
columns:
  score: score
  features: {NUMERIC, carrier: categorical, origin: categorical}
reference: {kind: window, start: 2026-01-01, end: 2026-02-01}
"""
BARE = """\
import sys
import uvicorn
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
uvicorn.run(app, port=int(sys.argv[1]), http="httptools", log_level="warning", access_log=False, server_header=False)
"""
ID = b"00000000000000"
SINGLE = [(32, 1, 20), (128, 1, 20)]
RATE = 10_000
PACED = (128, 1, 20)
"""Connections, events per request, features; `RATE` requests a second."""

BATCHES = [(8, 50, 20), (4, 500, 20), (8, 50, 5), (4, 500, 5)]


@dataclass(frozen=True)
class Result:
    """One run; latencies in milliseconds, from the first byte sent to the last received.

    ``events_per_cpu_second`` divides by the processor time the server used: what one core can do,
    also on a machine with other work.
    """

    name: str
    connections: int
    events_per_request: int
    features: int
    requests_per_second: float
    events_per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int
    rate: int | None = None
    events_per_cpu_second: float = 0.0
    waited: float = 0.0


def monitor(features: int) -> str:
    """YAML of the monitor ``load<features>``."""
    numeric = ", ".join(f"x{i}: numeric" for i in range(features - 2))
    return MONITOR.replace("NAME", f"load{features}").replace("NUMERIC", numeric)


def event(number: int, features: int) -> bytes:
    """One event; the id is filled in for each request."""
    values = {f"x{i}": round(i * 1.37 + number, 3) for i in range(features - 2)} | {"carrier": "UA", "origin": "EWR"}
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    row = {"id": ID.decode(), "at": at, "version": "v3", "features": values, "score": 0.31}
    return json.dumps(row, separators=(",", ":")).encode()


def request_maker(port: int, rows: int, features: int) -> Callable[[int], bytes]:
    """Function from a number to a whole request with ids of its own."""
    body = b"[" + b",".join(event(i, features) for i in range(rows)) + b"]" if rows > 1 else event(0, features)
    head = (
        f"POST /v1/monitors/load{features}/inferences HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    pieces = (head + body).split(ID)

    def make(number: int) -> bytes:
        parts = [pieces[0]]
        for row, piece in enumerate(pieces[1:]):
            parts += [b"%014d" % (number * rows + row), piece]
        return b"".join(parts)

    return make


class Connection:
    """One keep-alive connection with one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.started = 0.0
        self.buffer = b""

    def send(self, data: bytes) -> None:
        """Send a request."""
        self.buffer = b""
        self.started = time.perf_counter()
        self.socket.sendall(data)

    def receive(self) -> int | None:
        """Status once the whole answer is here."""
        self.buffer += self.socket.recv(65536)
        end = self.buffer.find(b"\r\n\r\n")
        if end == -1:
            return None
        head = self.buffer[:end].lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        return int(self.buffer[9:12]) if len(self.buffer) >= end + 4 + length else None


def drive(
    port: int, name: str, case: tuple[int, int, int], seconds: float, first: int, rate: int | None = None
) -> tuple[Result, int]:
    """Send requests for some seconds: as many as are answered, or `rate` a second at even distances.

    `case` is the number of connections, of events per request, and of features.
    """
    connections, rows, features = case
    make = request_maker(port, rows, features)
    selector = selectors.EpollSelector()
    free: list[Connection] = []
    for _ in range(connections):
        connection = Connection(port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        free.append(connection)
    latencies: list[float] = []
    failed = sent = 0
    started = time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        due = started if rate is None else started + sent / rate
        while free and due <= now:
            connection = free.pop()
            connection.send(make(first + sent))
            if rate is not None:
                connection.started = due
            sent += 1
            due = started if rate is None else started + sent / rate
        for key, _ in selector.select(max(0.0, due - now) if free else 1.0):
            status = key.data.receive()
            if status is not None:
                latencies.append(time.perf_counter() - key.data.started)
                failed += status != 200
                free.append(key.data)
    elapsed = time.perf_counter() - started
    for key in list(selector.get_map().values()):
        key.data.socket.close()
    latencies.sort()
    answered = len(latencies) / elapsed
    at = [latencies[int(len(latencies) * q)] * 1000 for q in (0.5, 0.99)]
    return Result(
        name, *case, answered, answered * rows, at[0], at[1], latencies[-1] * 1000, failed, rate
    ), first + sent


@contextmanager
def server(arguments: list[str], port: int, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server process on the first core, until the end of the block."""
    env = {
        **os.environ,
        "SIGHTLINE_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    process = subprocess.Popen(  # noqa: S603 (its own command)
        [sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, {cores[0]})
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the server did not start") from None
            time.sleep(0.05)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited_seconds(process: subprocess.Popen[bytes]) -> float:
    """Time in which threads of a process were ready and had no core so far."""
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    """Run all cases and print a table, or write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "monitors").mkdir()
        for features in FEATURES:
            (home / "monitors" / f"load{features}.yaml").write_text(monitor(features))
        collector = ["-m", "sightline.cli", "collector", "--port"]
        for label, command, cases in (
            ("bare application", ["-c", BARE], [(32, 1, 20), (128, 1, 20), (8, 50, 20)]),
            ("collector", collector, [*SINGLE, *BATCHES]),
            ("collector with guards", collector, [*SINGLE, *BATCHES]),
        ):
            port = free_port()
            arguments = [*command, str(port)] + (["--no-guards"] if label == "collector" else [])
            with server(arguments, port, home) as process:
                if len(cores) > 1:
                    os.sched_setaffinity(0, {cores[1]})
                _, number = drive(port, "warm-up", (4, 1, 20), 0.5, 0)
                for case, rate in [*((case, None) for case in cases), (PACED, RATE)]:
                    used, waited = cpu_seconds(process), waited_seconds(process)
                    result, number = drive(port, label, case, options.seconds, number, rate)
                    used, waited = cpu_seconds(process) - used, waited_seconds(process) - waited
                    per_second = result.events_per_second * options.seconds / used
                    results.append(replace(result, events_per_cpu_second=per_second, waited=waited / options.seconds))
                os.sched_setaffinity(0, set(cores))
    bare = {(r.connections, r.events_per_request, r.rate): r for r in results if r.name == "bare application"}
    heads = (
        "conn",
        "rows",
        "features",
        "load",
        "requests/s",
        "events/s",
        "events/cpu s",
        "p50 ms",
        "p99 ms",
        "waited",
        "vs bare",
        "failed",
    )
    widths = (5, 6, 10, 8, 12, 12, 14, 9, 9, 8, 9, 8)
    print(f"{'':24}" + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for r in results:
        floor = bare.get((r.connections, r.events_per_request, r.rate)) if r.features == FEATURES[0] else None
        cells = (
            f"{r.connections}", f"{r.events_per_request}", f"{r.features}", f"{r.rate or 'full'}",
            f"{r.requests_per_second:,.0f}", f"{r.events_per_second:,.0f}",
            f"{r.events_per_cpu_second:,.0f}", f"{r.p50_ms:.2f}", f"{r.p99_ms:.2f}", f"{r.waited:.2f}",
            f"{r.events_per_cpu_second / floor.events_per_cpu_second:.2f}" if floor else "", f"{r.failed}",
        )  # fmt: skip
        print(f"{r.name:24}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=2) + "\n")


if __name__ == "__main__":
    main()
