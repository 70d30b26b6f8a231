"""A collector that listens in this process, and bare connections to it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from sightline.collector.app import Collector
from sightline.collector.connection import BoundedProtocol
from sightline.collector.limits import Limits
from sightline.collector.protocol import IngestProtocol
from sightline.collector.server import make_collector
from sightline.home import Home
from tests.support.collector_site import INFER


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.005)


class Running:
    """A collector that listens."""

    def __init__(self, collector: Collector, server: uvicorn.Server, port: int) -> None:
        self.collector, self.server, self.port = collector, server, port

    def connect(self) -> Peer:
        return Peer(socket.create_connection(("127.0.0.1", self.port), timeout=10))


class Peer:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def send(self, *pieces: bytes) -> Peer:
        for piece in pieces:
            self.socket.sendall(piece)
            time.sleep(0)
        return self

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON body of the next answer."""
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(self._buffer) < int(headers["content-length"]):
            self._read()
        body, self._buffer = (
            self._buffer[: int(headers["content-length"])],
            self._buffer[int(headers["content-length"]) :],
        )
        text = body.decode()
        return int(first.split()[1]), headers, json.loads(text) if text.startswith(("{", "[")) else text

    def status(self) -> int:
        return self.answer()[0]

    def is_closed(self) -> bool:
        try:
            return self._buffer == b"" and self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _read(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"closed after {self._buffer!r}"
        self._buffer += data


SERVERS = {"direct": IngestProtocol, "plain": BoundedProtocol}


@contextmanager
def running(
    home: Home, server: str = "direct", limits: Limits | None = None, keep_alive: int = 5, **options: Any
) -> Generator[Running]:
    collector = make_collector(home, guards=False, limits=limits or Limits(min_free_bytes=0), **options)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # accepted connections inherit it
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            collector,
            http=SERVERS[server],
            log_config=None,
            proxy_headers=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=keep_alive,
        )
        web = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(web.serve([listener])), daemon=True)
        thread.start()
        until(lambda: web.started)
        yield Running(collector, web, listener.getsockname()[1])
        web.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def post(row: Any, *headers: str, path: str = INFER) -> bytes:
    body = row if isinstance(row, bytes) else json.dumps(row).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
