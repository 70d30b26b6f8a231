"""HTTP for the requests that bring events.

There is one object per connection, without a task, ASGI messages or a timer for each request.

uvicorn runs the server; this protocol takes its connections and answers plain POST requests to ingest paths itself. At
the first request of any other kind it hands the connection over to uvicorn's own protocol, which calls the ASGI
application. Both ways lead through the same `Gate` and the same `Upload`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sightline.collector.ingest import Upload, problem
from sightline.collector.limits import HTTPError, too_large, too_slow
from sightline.collector.request_heads import Head

if TYPE_CHECKING:
    from sightline.collector.app import Collector

MAX_HEAD_BYTES = 64 * 1024
MAX_KEPT_BYTES = 64 * 1024
"""Bytes behind an unanswered request that are kept; then the connection is not read until it is answered."""

END = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class IngestProtocol(asyncio.Protocol):
    """One connection. uvicorn makes it (``http=IngestProtocol``) for an application that is a `Collector`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._collector = cast("Collector", config.app)
        self._server = server_state
        self._make_successor = lambda: HttpToolsProtocol(config, server_state, app_state, _loop)
        self._idle_seconds = config.timeout_keep_alive
        self._loop = _loop or asyncio.get_running_loop()
        self._changed_at = self._loop.time()
        self._buffer = b""
        self._head: Head | None = None
        """Of the request under way."""
        self._upload: Upload | HTTPError | None = None
        """What becomes of it."""
        self._pieces: list[bytes] = []
        self._missing = 0
        self._is_working = self._is_paused = self._is_full = self._is_last = False

    # ---- called by asyncio -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The peer is here."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(cast("Any", self))
        self._collector.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone; what it had sent whole is logged all the same."""
        self._leave()
        self._buffer = b""
        if self._missing and isinstance(self._upload, Upload):
            self._upload.abandon()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the peer."""
        if self._missing:
            body, data = data[: self._missing], data[self._missing :]
            self._missing -= len(body)
            self._pieces.append(body)
            if not self._missing:
                self._complete()
        if data:
            self._buffer = self._buffer + data if self._buffer else data
            if self._head is None:
                self._work()
            elif len(self._buffer) > MAX_KEPT_BYTES:
                self._is_paused = True
                self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The peer does not read its answers: nothing more is done for it."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._is_full = False
        self._work()

    # ---- called by the server ----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close as soon as the request under way is answered."""
        self._is_last = True
        if self._head is None:
            self._transport.close()

    def expire(self, body_seconds: float) -> None:
        """End the wait for a body that takes too long (408), and a connection on which nothing happens."""
        quiet = self._loop.time() - self._changed_at
        if self._missing and quiet >= body_seconds:
            self._missing, self._pieces = 0, []
            self._refuse(too_slow(body_seconds))
        elif self._head is None and quiet >= self._idle_seconds:
            self._transport.close()

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Begin what has come in, one request after the other: the next one when the last one is answered."""
        if self._is_working:
            return
        self._is_working = True
        while self._buffer and self._head is None and not (self._is_full or self._transport.is_closing()):
            end = self._buffer.find(END) + len(END)
            if end < len(END) and len(self._buffer) <= MAX_HEAD_BYTES:
                break
            head = self._collector.heads.find(self._buffer[:end]) if end >= len(END) else None
            if head is None:
                self._hand_over()
                break
            self._begin(head, end)
        self._is_working = False

    def _begin(self, head: Head, start: int) -> None:
        state, admission = self._collector.state, head.admission
        self._head, self._changed_at = head, self._loop.time()
        refusal = admission if isinstance(admission, HTTPError) else state.refusal()
        if refusal is None and head.length > state.limits.max_body_bytes:
            refusal = too_large(state.limits.max_body_bytes)
        if refusal is None:
            self._upload = Upload(state, cast("Any", admission), self._answer)
        else:
            self._upload = refusal
            if head.length > state.limits.max_body_bytes:  # nobody waits for all that
                refusal.headers["connection"] = "close"
                self._buffer = b""
                self._refuse(refusal)
                return
        stop = start + head.length
        self._missing = max(0, stop - len(self._buffer))
        self._pieces, self._buffer = [self._buffer[start:stop]], self._buffer[stop:]
        if not self._missing:
            self._complete()

    def _complete(self) -> None:
        """The body of the request under way is here."""
        pieces, self._pieces = self._pieces, []
        if isinstance(self._upload, Upload):
            self._upload.take(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        elif self._upload is not None:
            self._refuse(self._upload)

    def _refuse(self, error: HTTPError) -> None:
        if isinstance(self._upload, Upload):
            self._upload.fail(error)
        elif self._head is not None:
            self._collector.state.metrics.note(self._head.name, error.status, self._loop.time() - self._changed_at)
            self._answer(error.status, problem(error), error.headers)

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Write an answer and go on."""
        head, self._head, self._upload = self._head, None, None
        self._changed_at = self._loop.time()
        if self._transport.is_closing():
            return
        self._is_last |= headers.get("connection") == "close" or not (head and head.keep_alive)
        general = b"".join([b"%b: %b\r\n" % header for header in self._server.default_headers])
        if status == 200 and not self._is_last:
            self._transport.write(OK % (general, len(content), content))
        else:
            lines = {"content-type": "application/json", "content-length": str(len(content)), **headers}
            if self._is_last:
                lines["connection"] = "close"
            text = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n" + "".join(
                f"{name}: {value}\r\n" for name, value in lines.items()
            )
            self._transport.write(text.encode("latin-1", "replace") + general + b"\r\n" + content)
        if self._is_last:
            self._transport.close()
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        if self._buffer:
            self._work()

    def _hand_over(self) -> None:
        """From here on the connection is uvicorn's."""
        self._leave()
        successor = self._make_successor()
        self._transport.set_protocol(successor)
        successor.connection_made(self._transport)
        buffer, self._buffer = self._buffer, b""
        successor.data_received(buffer)

    def _leave(self) -> None:
        self._server.connections.discard(cast("Any", self))
        self._collector.connections.discard(self)
