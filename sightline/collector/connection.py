"""uvicorn's HTTP protocol with bounds on what one peer can cost.

uvicorn itself bounds neither heads, nor the time a head or an answer takes, nor requests sent ahead of their turn, and
closes with a reset where a body is refused before it was read, so that its sender may never see why. Here the parser
gets a few bytes at a time and none while a request waits for its answer; and before a connection is closed, what the
peer is still sending is read and thrown away, up to a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sightline.collector.admission import Admission
from sightline.collector.exchange import Exchange
from sightline.collector.ingest import problem
from sightline.collector.limits import HTTPError, too_slow
from sightline.collector.request_heads import Head, read_head

if TYPE_CHECKING:
    from sightline.collector.app import Collector

STEP_BYTES = 4 * 1024
"""Outside of bodies the parser gets so many bytes at a time: what it makes of them is all that is held of requests that
were sent ahead."""

TURN_SECONDS = 0.005
"""After so long it is the turn of other connections."""

LINGER_SECONDS = 2.0
"""A peer that has been answered for good and sends nothing for so long is not waited for."""

OK = b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. uvicorn makes it (``http=BoundedProtocol``) for an application that is a `Collector`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.collector = cast("Collector", config.app)
        self.limits = self.collector.state.limits
        self._since = self.loop.time()
        self._patience = self.limits.body_timeout_seconds
        """Seconds that the end of the connection may take."""
        self._full_since = self._heard_at = 0.0
        self._kept = b""
        """Bytes behind a request that waits for its answer."""
        self._running: Any = None
        """The request whose turn it is, or was: an `Exchange` or one of uvicorn's."""
        self._head_bytes = self._body_left = self._drained = 0
        self._in_head = self._in_body = self._is_busy = self._has_ended = self._is_draining = False
        self._unreadable: HTTPError | None = None
        """What came is no HTTP: to be told when the requests before it are answered."""
        self._general: tuple[object, bytes] = (None, b"")

    # ---- called by asyncio -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The peer is here."""
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(self._transport)
        self.transport = cast("asyncio.Transport", _ClosedWithCare(self._transport, self.close))
        refusal = self.collector.connections.admit(self, self.loop.time())
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone."""
        self.connections.discard(self)
        self.collector.connections.discard(self)
        for request in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(request, Exchange):
                request.abandon()
            elif request is not None:
                request.disconnected = not request.response_complete
                request.message_event.set()
        self.pipeline.clear()
        self._kept = b""
        self.flow.resume_writing()
        self.parser = cast("Any", None)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the peer."""
        if self._is_draining:
            self._heard_at = self.loop.time()
            self._discard(len(data))
            return
        self._kept = self._kept + data if self._kept else data
        self._go_on()

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] (asyncio's own says bool)
        """The peer sends no more; it may still read. True keeps the connection for the answers that it is owed."""
        self._has_ended = True
        return not self._is_draining and bool(self._waits_for_answer() or self.pipeline or self._kept)

    def pause_writing(self) -> None:
        """The peer does not read its answers: nothing more is done for it."""
        self._full_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._go_on()

    # ---- called by the server ----------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close as soon as the request under way is answered."""
        self.pipeline.clear()
        if self._is_draining:
            self._transport.close()
        elif self._running is None or self._running.response_complete:
            self.close()
        else:
            self._running.keep_alive = False

    def _refuse(self, refusal: HTTPError) -> None:
        """Tell the peer at once that it has no place. What it may be sending is read and thrown away for a moment."""
        self._patience = LINGER_SECONDS
        self._write(refusal.status, problem(refusal), refusal.headers, False)
        self._drain()

    @property
    def has_asked(self) -> bool:
        """Whether a request ever came."""
        return self._running is not None

    def idle_since(self) -> float | None:
        """The event loop's time since when the connection only waits for a request; None where more is going on."""
        running = self._running
        is_under_way = self._in_head or self._in_body or self._kept or self.pipeline or self._unreadable
        if is_under_way or self._is_draining or self._transport.is_closing() or self.flow.write_paused:
            return None
        return self._since if running is None or running.response_complete else None

    def leave(self) -> None:
        """Make room for another one."""
        self._patience = LINGER_SECONDS
        self.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def expire(self) -> None:
        """End what takes too long: a head, a body, reading the answers, a connection on which nothing happens."""
        now, limits = self.loop.time(), self.limits
        quiet, running = now - self._since, self._running
        if self._transport.is_closing():  # its peer may never read the rest of its answers
            is_over, end = quiet >= self._patience, self._transport.abort
        elif self.flow.write_paused:
            is_over, end = now - self._full_since >= limits.body_timeout_seconds, self._transport.abort
        elif self._is_draining:
            is_silent = now - self._heard_at >= LINGER_SECONDS
            is_over, end = is_silent or quiet >= self._patience, self._transport.abort
        elif self._waits_for_answer():
            return
        elif self._in_body and running.response_complete:
            is_over, end = quiet >= limits.body_timeout_seconds, self._transport.abort
        elif self._in_body:
            is_over, end = quiet >= limits.body_timeout_seconds, self._time_out
        elif self._in_head:
            is_over, end = quiet >= limits.head_timeout_seconds, self._refuse_slow_head
        else:
            is_idle = running is None or running.response_complete
            is_over, end = is_idle and quiet >= self.timeout_keep_alive, self.close
        if is_over:
            end()

    def _time_out(self) -> None:
        if isinstance(self._running, Exchange):  # for ASGI, `read_body` does it
            self._running.time_out(too_slow(self.limits.body_timeout_seconds))

    def _refuse_slow_head(self) -> None:
        seconds = self.limits.head_timeout_seconds
        self._unreadable = HTTPError(408, f"the head did not arrive within {seconds:g} s")
        self._go_on()

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _waits_for_answer(self) -> bool:
        running = self._running
        return running is not None and not running.response_complete and not running.more_body

    def _go_on(self) -> None:
        """Do what has come in, one request after the other: the next one when the last one is answered."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            started = monotonic()
            while self._go_one_step():
                if monotonic() > started + TURN_SECONDS:
                    self.loop.call_soon(self._go_on)
                    break
        finally:
            self._is_busy = False
        if self._kept:
            self.flow.pause_reading()
        elif not self.flow.write_paused:
            self.flow.resume_reading()

    def _go_one_step(self) -> bool:
        if self._is_draining or self._transport.is_closing() or self._waits_for_answer() or self.flow.write_paused:
            return False
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return True
        if self._unreadable is not None:
            self.answer(self._unreadable.status, problem(self._unreadable), self._unreadable.headers, False)
            return False
        if self._kept:
            self.parse_some()
            return True
        if self._has_ended:
            self.close()
        return False

    def parse_some(self) -> None:
        """Make something of what is kept."""
        size = max(STEP_BYTES, self._body_left)
        piece, self._kept = (self._kept, b"") if len(self._kept) <= size else (self._kept[:size], self._kept[size:])
        if not self._in_body:
            self._head_bytes += len(piece)
        try:
            self.parser.feed_data(piece)
        except (
            httptools.HttpParserUpgrade
        ):  # nothing is upgraded to: the request is answered as it stands, the last one
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._unreadable, self._kept = HTTPError(400, "this is no HTTP request"), b""
        if self._head_bytes > self.limits.max_head_bytes:
            what = f"the head of the request is larger than {self.limits.max_head_bytes} bytes"
            self._unreadable, self._kept = HTTPError(431, what, "send fewer or shorter headers"), b""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        if isinstance(cycle, Exchange):
            cycle.start()
        else:
            super()._start_asgi_task(cycle, app)

    def begin_exchange(self, path: str, length: int, what: Admission | HTTPError, keep_alive: bool) -> None:
        """The request whose head has just been read is answered without ASGI."""
        self._body_left = length
        exchange = Exchange(self, path, length, what, keep_alive)
        previous: Any = self.cycle
        self.cycle = cast("Any", exchange)
        if previous is None or previous.response_complete:
            self._start_asgi_task(exchange, None)
        else:
            self.pipeline.appendleft((self.cycle, cast("Any", None)))

    def begin_request(self) -> None:
        """The head of a request has been read."""
        try:
            head = read_head(self.url, self.headers)
        except HTTPError as error:
            self.begin_exchange("", 0, error, keep_alive=False)
        else:
            self.begin_asgi(head)

    def begin_asgi(self, head: Head) -> None:
        """The request whose head has just been read is the application's."""
        self._body_left = head.length or 0
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = head.headers.get("expect", "").lower() == "100-continue"
        super().on_headers_complete()

    # ---- called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins."""
        self.url, self.headers = b"", []
        self._in_head, self._since = True, self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of it (or of the trailer of a chunked body, which nobody reads)."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """It ends."""
        self.note_head()
        self.begin_request()

    def note_head(self) -> None:
        """A head is here; next comes its body."""
        self._in_head, self._in_body = False, True
        self._head_bytes = self._body_left = self._drained = 0
        self._since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body."""
        self._body_left -= len(body)
        if self.cycle.response_complete:
            self._discard(len(body))
        elif isinstance(self.cycle, Exchange):
            self.cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._in_body, self._body_left, self._since = False, 0, self.loop.time()
        if isinstance(self.cycle, Exchange):
            self.cycle.complete()
        else:
            super().on_message_complete()

    # ---- answers -----------------------------------------------------------------------------------------------------

    def answer(self, status: int, content: bytes, headers: Mapping[str, str], keep_alive: bool) -> None:
        """Write an answer and go on, or close."""
        if self._transport.is_closing():
            return
        self._write(status, content, headers, keep_alive)
        if not keep_alive:
            self.close()
        self.on_response_complete()

    def _write(self, status: int, content: bytes, headers: Mapping[str, str], keep_alive: bool) -> None:
        source, general = self._general
        if source is not self.server_state.default_headers:
            general = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
            self._general = (self.server_state.default_headers, general)
        if status == 200 and keep_alive and not headers:
            self._transport.write(OK % (general, len(content), content))
        else:
            lines = {"content-type": "application/json", "content-length": str(len(content)), **headers}
            if not keep_alive:
                lines["connection"] = "close"
            text = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n" + "".join(
                f"{name}: {value}\r\n" for name, value in lines.items()
            )
            self._transport.write(text.encode("latin-1", "replace") + general + b"\r\n" + content)

    def on_response_complete(self) -> None:
        """The request whose turn it was is answered."""
        self.server_state.total_requests += 1
        self._since = self.loop.time()
        self._go_on()

    def close(self) -> None:
        """Close, so that the peer gets all that was written.

        A socket that is closed with unread bytes resets the connection, and the answer is lost: what is still coming is
        read and thrown away until the peer ends, within bounds.
        """
        if self._is_draining or self._transport.is_closing():
            return
        is_whole = not (self._in_head or self._in_body or self._kept or self._unreadable)
        if is_whole or self._has_ended:
            self._since = self.loop.time()
            self._transport.close()
            return
        self._drain()

    def _drain(self) -> None:
        self._is_draining, self._drained = True, len(self._kept)
        self._since = self._heard_at = self.loop.time()
        self._kept = b""
        self._transport.write_eof()
        self.flow.resume_reading()

    def _discard(self, size: int) -> None:
        self._drained += size
        if self._drained > self.limits.max_drained_bytes:
            self._transport.abort()


class _ClosedWithCare:
    """The transport as requests of ASGI see it."""

    def __init__(self, transport: asyncio.Transport, close: Any) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close
