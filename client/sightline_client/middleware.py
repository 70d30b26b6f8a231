"""ASGI and WSGI middleware: logs the JSON requests and responses of a prediction route.

In the request path bodies are only kept; they are decoded on the client's thread. Each answer carries the
header ``X-Prediction-ID``: the id of the prediction, unless the request's row brings an ``id`` of its
own, which then is what is logged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

from sightline_client.wrap import new_id, read_result, set_current_id

if TYPE_CHECKING:
    from sightline_client.client import Client

MAX_BODY_BYTES = 1_000_000
ID_HEADER = "x-prediction-id"

Extract = Callable[[Any, Any], Iterable[Mapping[str, Any]]]


def extract(request: Any, response: Any) -> list[dict[str, Any]]:
    """Keyword arguments of `Client.prediction` from a decoded request and response: the default rule of the middleware.

    Parameters
    ----------
    request : any
        An object is one row, a list (also under ``instances``, ``inputs``, ``rows`` or ``data``) several. A row's
        ``features`` are its features, or else the row itself without ``id``.
    response : any
        One result for one row, a list of results for several (also under ``predictions``, ``outputs`` or ``results``);
        see `read_result`. None if the call failed.
    """
    rows = _unpack(request, ("instances", "inputs", "rows", "data"))
    if not isinstance(rows, list):
        return [_row(rows, response)]
    results = _unpack(response, ("predictions", "outputs", "results"))
    if not isinstance(results, list) or len(results) != len(rows):
        results = [None] * len(rows)
    return [_row(row, result) for row, result in zip(rows, results)]


def _unpack(body: Any, names: Sequence[str]) -> Any:
    if isinstance(body, Mapping):
        for name in names:
            if isinstance(body.get(name), list):
                return body[name]
    return body


def _row(row: Any, result: Any) -> dict[str, Any]:
    found: dict[str, Any] = {} if result is None else read_result(result)
    if isinstance(row, Mapping):
        inner = row.get("features")
        found["features"] = inner if isinstance(inner, Mapping) else {k: v for k, v in row.items() if k != "id"}
        if row.get("id") is not None:
            found["id"] = row["id"]
    return found


class _Exchange:
    """What is kept of one request and its answer."""

    def __init__(self, headers: Callable[[str], str | None], max_bytes: int, choose: Extract) -> None:
        self.started, self.at = time.perf_counter(), time.time()
        given = headers("x-request-id")
        self.id = new_id() if not given else set_current_id(given[:512])
        self.traceparent = headers("traceparent")
        self.status = 500
        self._max_bytes, self._choose = max_bytes, choose
        self._request: list[bytes] = []
        self._response: list[bytes] = []
        self._sizes = [0, 0]

    def add_request(self, data: bytes) -> None:
        self._add(0, self._request, data)

    def add_response(self, data: bytes) -> None:
        self._add(1, self._response, data)

    def _add(self, index: int, pieces: list[bytes], data: bytes) -> None:
        self._sizes[index] += len(data)
        if self._sizes[index] <= self._max_bytes:
            pieces.append(bytes(data))

    def finish(self, log: Client) -> None:
        latency_ms = (time.perf_counter() - self.started) * 1000.0
        log.defer(lambda: self._predictions(latency_ms))

    def _predictions(self, latency_ms: float) -> list[dict[str, Any]]:
        """On the client's thread: keyword arguments of `Client.prediction` for every row."""
        common: dict[str, Any] = {"at": self.at, "latency_ms": latency_ms, "trace": _trace(self.traceparent)}
        ok = self.status < 400
        if not ok:
            common["status"] = self.status
        request = _decode(self._request, self._sizes[0] > self._max_bytes)
        response = _decode(self._response, self._sizes[1] > self._max_bytes) if ok else None
        rows = [dict(row) for row in self._choose(request, response)]
        for number, row in enumerate(rows):
            if row.get("id") is None:
                row["id"] = self.id if len(rows) == 1 else f"{self.id}:{number}"
        return [{**common, **row} for row in rows]


def _decode(pieces: list[bytes], is_cut: bool) -> Any:
    if is_cut:
        return None
    try:
        return json.loads(b"".join(pieces))
    except (ValueError, RecursionError):
        return None


def _trace(traceparent: str | None) -> dict[str, str] | None:
    parts = (traceparent or "").split("-")
    return {"trace_id": parts[1], "span_id": parts[2]} if len(parts) >= 4 else None


class ASGIMiddleware:
    """Logs calls of an ASGI application (Starlette, FastAPI, Litestar...).

    Parameters
    ----------
    app : ASGI application
        What answers.
    log : Client
        Where predictions are logged.
    paths : sequence of str
        Paths whose POST and PUT requests are predictions.
    extract : callable, optional
        From decoded request and response to keyword arguments of `Client.prediction`, one
        mapping per row; default: `extract`.
    max_body_bytes : int
        Longer bodies are not decoded: the call is logged without them.
    """

    def __init__(
        self,
        app: Any,
        log: Client,
        paths: Sequence[str] = ("/predict",),
        extract: Extract = extract,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.app, self.log, self.paths = app, log, frozenset(paths)
        self._extract, self._max_body_bytes = extract, max_body_bytes

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT") or scope["path"] not in self.paths:
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = _Exchange(headers.get, self._max_body_bytes, self._extract)

        async def listen() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                exchange.add_request(message.get("body", b""))
            return message

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                extra = (ID_HEADER.encode(), exchange.id.encode("latin-1", "replace"))
                message = {**message, "headers": [*message.get("headers", ()), extra]}
            elif message["type"] == "http.response.body":
                exchange.add_response(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, listen, answer)
        except Exception:  # also behind a first line of the answer that said 200
            exchange.status = 500
            raise
        finally:
            exchange.finish(self.log)


class WSGIMiddleware:
    """Logs calls of a WSGI application (Flask, Django...); parameters as for `ASGIMiddleware`."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        log: Client,
        paths: Sequence[str] = ("/predict",),
        extract: Extract = extract,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.app, self.log, self.paths = app, log, frozenset(paths)
        self._extract, self._max_body_bytes = extract, max_body_bytes

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle one request."""
        if environ.get("REQUEST_METHOD") not in ("POST", "PUT") or environ.get("PATH_INFO") not in self.paths:
            return self.app(environ, start_response)
        exchange = _Exchange(
            lambda name: environ.get("HTTP_" + name.upper().replace("-", "_")), self._max_body_bytes, self._extract
        )
        environ["wsgi.input"] = _Input(environ["wsgi.input"], exchange)

        def start(status: str, headers: list[Any], *rest: Any) -> Any:
            exchange.status = int(status.split(" ", 1)[0])
            return start_response(status, [*headers, (ID_HEADER, exchange.id)], *rest)

        try:
            body = self.app(environ, start)
        except BaseException:
            exchange.finish(self.log)
            raise
        return _Body(body, exchange, self.log)


class _Input:
    """``wsgi.input`` that keeps what the application reads."""

    def __init__(self, stream: Any, exchange: _Exchange) -> None:
        self._stream, self._exchange = stream, exchange

    def read(self, *args: Any) -> bytes:
        return self._keep(self._stream.read(*args))

    def readline(self, *args: Any) -> bytes:
        return self._keep(self._stream.readline(*args))

    def readlines(self, *args: Any) -> list[bytes]:
        return [self._keep(line) for line in self._stream.readlines(*args)]

    def __iter__(self) -> Iterator[bytes]:
        return (self._keep(line) for line in self._stream)

    def _keep(self, data: bytes) -> bytes:
        self._exchange.add_request(data)
        return data


class _Body:
    """The application's answer, kept while it passes; logged when the server closes it."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange, log: Client) -> None:
        self._body, self._exchange, self._log = body, exchange, log

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._body:
                self._exchange.add_response(piece)
                yield piece
        except Exception:  # the answer broke off behind a first line that said 200
            self._exchange.status = 500
            raise

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._exchange.finish(self._log)
