"""A collector that does what it is told, for the client's tests."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.reader import read_segment

Answer = tuple[int, dict[str, str], Any]


class FakeCollector:
    """Keeps what it is sent.

    `answer` decides on each batch: kind and rows -> status, headers, JSON body; None: hang up.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {"inferences": [], "labels": []}
        self.requests: list[dict[str, str]] = []
        self.answer: Callable[[str, list[Any]], Answer | None] = self.accept
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self, kind: str, rows: list[Any]) -> Answer:
        self.rows[kind] += rows
        return 200, {}, {"accepted": len(rows), "duplicate": 0, "rejected": 0, "errors": []}

    def ids(self, kind: str = "inferences") -> list[str]:
        return [row["id"] for row in self.rows[kind]]


def serve(fake: FakeCollector, port: int = 0) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            fake.requests.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            found = fake.answer(self.path.rsplit("/", 1)[1], json.loads(body))
            if found is None:
                self.close_connection = True
                return
            status, headers, content = found
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    fake.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@contextmanager
def collecting(port: int = 0) -> Iterator[FakeCollector]:
    fake = FakeCollector()
    server = serve(fake, port)
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.005)


def client_threads() -> set[threading.Thread]:
    """The threads of clients in this process."""
    return {thread for thread in threading.enumerate() if thread.name == "sightline-client"}


def logged(home: Path, kind: str = "inferences", monitor: str = "m") -> list:
    """Events of a monitor's log, sealed and open; looked at again where a segment is sealed between two looks."""
    log = Home(home).monitor(monitor).log
    while True:
        paths = (*seg.list_sealed(log, kind), *seg.list_open(log, kind))
        try:
            return [event for path in paths for event in read_segment(path).events]
        except SightlineError:
            if all(path.exists() for path in paths):
                raise


def adds_up(stats: dict[str, int]) -> bool:
    """Every logged event was sent, spooled, refused or dropped, or is queued."""
    return stats["logged"] == stats["sent"] + stats["spooled"] + stats["refused"] + stats["dropped"] + stats["queued"]
