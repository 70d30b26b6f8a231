"""The collector as an ASGI application.

``POST /v1/monitors/<id>/<format>`` is handled here directly, because it is the hot path; health, metrics and the OpenAPI document are
ordinary Starlette routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sightline.collector.auth import REPLAY, WRITE
from sightline.collector.formats import ADAPTERS
from sightline.collector.ingest import ingest
from sightline.collector.limits import BodyClock, HTTPError, Limits, decompress, read_body
from sightline.collector.metrics import Labels, Metrics
from sightline.collector.monitors import Registry, ServedMonitor
from sightline.collector.openapi import openapi_document
from sightline.errors import nearest
from sightline.log.replay import REPLAY_HEADER

logger = logging.getLogger(__name__)

PREFIX = "/v1/monitors/"
NATIVE = ("inferences", "labels")
JSON_TYPES = (
    "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
    "application/cloudevents+json", "application/cloudevents-batch+json",
)  # fmt: skip
RELOAD_SECONDS = 1.0
RECOVER_SECONDS = 60.0


class Collector:
    """ASGI application of one home folder.

    Parameters
    ----------
    registry : Registry
        The monitors.
    limits : Limits
        What one request may cost.
    require_tokens : bool
        Answer 401 to everything without a token, also for monitors that have none (any address but loopback).
    allowed_hosts : frozenset of str, optional
        Names a ``Host`` header may carry: on loopback this keeps web pages out that a browser resolves to this machine.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits,
        *,
        require_tokens: bool = False,
        allowed_hosts: frozenset[str] | None = None,
    ) -> None:
        self.registry, self.limits = registry, limits
        self.require_tokens, self.allowed_hosts = require_tokens, allowed_hosts
        self.metrics = Metrics()
        self.in_flight = 0
        self._bodies = BodyClock(limits.body_timeout_seconds)
        self.is_ready = False
        self.low_disk = False
        self._encode = msgspec.json.Encoder().encode
        self._pages = Starlette(
            routes=[
                Route("/", self._index),
                Route("/healthz", self._health),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
                Route("/openapi.json", self._openapi),
            ],
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not self._is_ingest(scope):
            if scope["type"] == "http" and not self._host_is_allowed(_headers(scope)):
                error = HTTPError(421, "this Host is not served here", "use 127.0.0.1 or localhost")
                await self._answer(send, error.status, _problem(error), {})
                return
            await self._pages(scope, receive, send)
            return
        started = time.perf_counter()
        headers = _headers(scope)
        name = "unknown"
        extra: Mapping[str, str] = {}
        try:
            monitor_id, name = self._target(scope, headers)
            status, content = 200, await self._post(scope, headers, receive, monitor_id, name)
        except HTTPError as error:
            status, extra = error.status, error.headers
            content = _problem(error)
        except Exception:
            status, content = 500, _problem(HTTPError(500, "a defect of the collector: see its log"))
            logger.exception("POST %s failed", scope["path"])
        self.metrics.responses[name if name in ADAPTERS else "unknown", status] += 1
        self.metrics.seconds.observe(time.perf_counter() - started)
        await self._answer(send, status, content, extra)

    # ---- POST -----------------------------------------------------------------------------------------------------------------

    def _is_ingest(self, scope: Any) -> bool:
        return scope["path"].startswith(PREFIX) or (scope["path"] == "/" and scope["method"] == "POST")

    def _target(self, scope: Any, headers: Mapping[str, str]) -> tuple[str, str]:
        """Monitor and format of a request. ``POST /`` is CloudEvents; KServe names the service, not a path."""
        path = scope["path"]
        if path == "/":
            given = headers.get("x-sightline-monitor") or headers.get("ce-inferenceservicename", "").replace("-", "_")
            monitors = list(self.registry.monitors)
            return given or (monitors[0] if len(monitors) == 1 else ""), "cloudevents"
        monitor_id, separator, name = path[len(PREFIX) :].partition("/")
        if not separator or not monitor_id:
            raise HTTPError(404, f"nothing is at {path}", f"POST {PREFIX}<monitor>/<format>")
        return monitor_id, name

    async def _post(self, scope: Any, headers: Mapping[str, str], receive: Any, monitor_id: str, name: str) -> bytes:
        if not self._host_is_allowed(headers):
            raise HTTPError(421, "this Host is not served here", "use 127.0.0.1 or localhost")
        monitor = self._monitor(monitor_id, headers)
        adapter = ADAPTERS.get(name)
        if adapter is None:
            raise HTTPError(404, f"there is no format {name!r}", nearest(name, ADAPTERS))
        if scope["method"] != "POST":
            raise HTTPError(405, f"{scope['method']} is not allowed here", "send a POST", {"allow": "POST"})
        _check_content_type(headers, name)
        if REPLAY_HEADER in headers:
            _check_replay(monitor, headers, name)
        if not self.is_ready:
            raise HTTPError(503, "the collector is starting or stopping", "send again", {"retry-after": "1"})
        if self.low_disk:
            raise HTTPError(503, "too little disk space is left", "free disk space", {"retry-after": "10"})
        if self.in_flight >= self.limits.max_in_flight:
            raise HTTPError(503, f"{self.in_flight} requests are being handled", "send again", {"retry-after": "1"})
        self.in_flight += 1
        try:
            body = await self._bodies.wait(read_body(headers, receive, self.limits.max_body_bytes))
            self.metrics.received_bytes += len(body)
            if "content-encoding" in headers:
                body = decompress(body, headers["content-encoding"], self.limits.max_decompressed_bytes)
            answer = await ingest(monitor, name, adapter, headers, body, self.metrics)
        finally:
            self.in_flight -= 1
        return self._encode(answer)

    def _monitor(self, monitor_id: str, headers: Mapping[str, str]) -> ServedMonitor:
        """The monitor, if the request may write to it. Without a token nobody learns which monitors exist."""
        monitor = self.registry.monitors.get(monitor_id)
        authorization = headers.get("authorization", "")
        if self.require_tokens or (monitor is not None and monitor.tokens):
            scope = monitor.tokens.scope(authorization) if monitor is not None else None
            if scope is None:
                fix = "send `Authorization: Bearer <token>`; make one with `sightline token create MONITOR`"
                raise HTTPError(401, "no valid token for this monitor", fix, {"www-authenticate": "Bearer"})
            if scope not in (WRITE, REPLAY):
                raise HTTPError(403, "this token may not write", "create one with --scope write")
        if monitor is None:
            if monitor_id in self.registry.broken:
                what = f"the file of monitor {monitor_id!r} has mistakes: see `sightline validate`"
                raise HTTPError(503, what, "mend the file", {"retry-after": "30"})
            known = self.registry.monitors
            fix = nearest(monitor_id, known) if known else "write monitors/<id>.yaml"
            raise HTTPError(404, f"there is no monitor {monitor_id!r}", fix)
        return monitor

    def _host_is_allowed(self, headers: Mapping[str, str]) -> bool:
        if self.allowed_hosts is None:
            return True
        host = headers.get("host", "")
        name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
        return name.lower() in self.allowed_hosts

    async def _answer(self, send: Any, status: int, content: bytes, extra: Mapping[str, str]) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        headers += [(key.encode(), value.encode("latin-1", "replace")) for key, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    # ---- pages ----------------------------------------------------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        paths = [f"POST {PREFIX}<monitor>/{name}" for name in ADAPTERS]
        return JSONResponse(
            {"service": "sightline collector", "paths": [*paths, "/healthz", "/readyz", "/metrics", "/openapi.json"]}
        )

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        reasons = []
        if not self.is_ready:
            reasons.append("starting or stopping")
        if self.low_disk:
            reasons.append("too little disk space is left")
        content = {
            "status": "unavailable" if reasons else "ready",
            "reasons": reasons,
            "monitors": len(self.registry.monitors),
            "broken_monitors": len(self.registry.broken),
        }
        return JSONResponse(content, 503 if reasons else 200)

    async def _metrics(self, request: Request) -> Response:
        authorization = request.headers.get("authorization", "")
        served = self.registry.monitors.values()
        if self.require_tokens and not any(monitor.tokens.scope(authorization) for monitor in served):
            return JSONResponse({"error": "no valid token"}, 401, {"www-authenticate": "Bearer"})
        text = self.metrics.render(self._gauges())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi_document())

    def _gauges(self) -> Iterator[tuple[str, str, Labels, float]]:
        yield "sightline_collector_in_flight", "POST requests being handled.", (), float(self.in_flight)
        yield "sightline_collector_ready", "1 if events are taken.", (), float(self.is_ready and not self.low_disk)
        yield (
            "sightline_collector_broken_monitors",
            "Monitor files with mistakes.",
            (),
            float(len(self.registry.broken)),
        )
        for name, monitor in self.registry.monitors.items():
            labels: Labels = (("monitor", name),)
            pending = sum(writer.pending_bytes for writer in monitor.writers.values())
            yield "sightline_collector_pending_bytes", "Bytes that wait for the disk.", labels, float(pending)
            if monitor.observer is not None:
                for column, rule, number in monitor.observer.counts():
                    guard: Labels = (*labels, ("column", column), ("rule", rule))
                    yield (
                        "sightline_guard_violations_total",
                        "Values that broke a rule of the row guards.",
                        guard,
                        float(number),
                    )

    # ---- life -----------------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(self.registry.load)
        await asyncio.to_thread(self._recover)
        self.is_ready = True
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            yield
        finally:
            self.is_ready = False
            housekeeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await housekeeping
            await asyncio.to_thread(self.registry.close)
            logger.info("all segments are sealed")

    async def _keep_house(self) -> None:
        """Once a second: changed monitor files, tokens, disk space, guards; once a minute: segments of killed writers."""
        recover_at = time.monotonic() + RECOVER_SECONDS
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            self._bodies.expire()
            try:
                self.low_disk = self._is_disk_low()
                for monitor in self.registry.monitors.values():
                    monitor.tokens.reload()
                if await asyncio.to_thread(self.registry.changed):
                    for old in await asyncio.to_thread(self.registry.load):
                        await asyncio.to_thread(old.close)
                self._tick_observers()
                if time.monotonic() >= recover_at:
                    recover_at = time.monotonic() + RECOVER_SECONDS
                    await asyncio.to_thread(self._recover)
            except Exception:  # the collector must go on taking events; the next round tries again
                logger.exception("housekeeping failed")

    def _tick_observers(self) -> None:
        now = datetime.now(UTC)
        for name, monitor in self.registry.monitors.items():
            if monitor.observer is not None:
                try:
                    monitor.observer.tick(now)
                except Exception:  # as in ingest: a guard's defect must not stop the collector
                    self.metrics.observer_errors += 1
                    logger.exception("a guard of %s failed", name)

    def _recover(self) -> None:
        for name, monitor in list(self.registry.monitors.items()):
            report = monitor.recover()
            self.metrics.recovered_events += report.events
            if report.sealed or report.damaged:
                logger.warning("%s: recovered %d events of killed writers", name, report.events)

    def _is_disk_low(self) -> bool:
        folder = self.registry.home.data
        return (
            shutil.disk_usage(folder if folder.is_dir() else self.registry.home.root).free < self.limits.min_free_bytes
        )


def _headers(scope: Any) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _check_replay(monitor: ServedMonitor, headers: Mapping[str, str], name: str) -> None:
    """Times of receipt are taken from the rows only where a token says so: a writer must not be able to forge them."""
    if monitor.tokens.scope(headers.get("authorization", "")) != REPLAY:
        fix = "make a token with `sightline token create MONITOR --scope replay`"
        raise HTTPError(403, "events with their own times of receipt need a token of scope replay", fix)
    if name not in NATIVE:
        raise HTTPError(400, f"{name} cannot be replayed", f"send {' or '.join(NATIVE)}")


def _check_content_type(headers: Mapping[str, str], name: str) -> None:
    """Only types a web page cannot send without asking first; adapters may be sent as their senders do.

    A binary CloudEvent has the type of the request that was logged, whatever it is; no web page can send its headers unasked.
    """
    if name == "cloudevents" and "ce-specversion" in headers:
        return
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in JSON_TYPES and not (name not in NATIVE and media.endswith("+json")):
        fix = "set Content-Type to application/json or application/x-ndjson"
        raise HTTPError(415, f"Content-Type {media or 'is missing and'} is not supported", fix)


def _problem(error: HTTPError) -> bytes:
    return msgspec.json.encode({"error": error.message, "fix": error.fix} if error.fix else {"error": error.message})
