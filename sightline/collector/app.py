"""The collector as an ASGI application.

``POST /v1/monitors/<id>/<format>`` is handled here directly; health, metrics and the OpenAPI document are ordinary
Starlette routes. Most requests do not come this way: see `sightline.collector.protocol`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import shutil
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sightline.alerts.operational import heartbeat_age, is_late
from sightline.collector.admission import DESKS, PREFIX, Gate, format_of, is_about, is_ingest
from sightline.collector.candidates import CandidateDesk
from sightline.collector.connections import Connections
from sightline.collector.formats import ADAPTERS
from sightline.collector.guard_feed import GuardFeed
from sightline.collector.incidents import IncidentDesk
from sightline.collector.ingest import State, Upload, problem
from sightline.collector.limits import HTTPError, Limits, read_body
from sightline.collector.metrics import Labels, Metrics
from sightline.collector.monitors import Registry
from sightline.collector.openapi import openapi_document
from sightline.collector.registry_calls import RegistryDesk
from sightline.collector.request_heads import Heads
from sightline.errors import SightlineError

logger = logging.getLogger(__name__)

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
        self.registry = registry
        self.gate = Gate(registry, require_tokens, allowed_hosts)
        self.heads = Heads(self.gate)
        metrics = Metrics()
        self.state = State(limits, metrics, GuardFeed(metrics))
        self.incidents = IncidentDesk(registry, self.gate, limits)
        self.candidates = CandidateDesk(registry, self.gate, self.state)
        self.registry_calls = RegistryDesk(registry, self.gate, limits)
        self.connections = Connections(limits, lambda: len(registry.monitors))
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
        """Handle one connection, as ASGI wants it."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if is_ingest(scope["method"], scope["path"]):
            await _answer(send, *await self._post(scope, headers, receive))
            return
        desks = (self.incidents, self.candidates, self.registry_calls)
        for name, desk in zip(DESKS, desks, strict=True):
            if is_about(scope["path"], name):
                await _answer(send, *await self._about(name, desk, scope, headers, receive))
                return
        try:
            self.gate.check_host(headers)
        except HTTPError as error:
            await _answer(send, error.status, problem(error), error.headers)
            return
        await self._pages(scope, receive, send)

    async def _post(self, scope: Any, headers: Mapping[str, str], receive: Any) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and further headers of the answer to a request that brings events."""
        started = time.perf_counter()
        try:
            admission = self.gate.admit(scope["method"], scope["path"], headers)
            if (refusal := self.state.refusal()) is not None:
                raise refusal
        except HTTPError as error:
            self.state.metrics.note(format_of(scope["path"]), error.status, time.perf_counter() - started)
            return error.status, problem(error), error.headers
        answer: asyncio.Future[tuple[int, bytes, Mapping[str, str]]] = asyncio.get_running_loop().create_future()

        def respond(status: int, content: bytes, headers: Mapping[str, str]) -> None:
            if not answer.done():
                answer.set_result((status, content, headers))

        upload = Upload(self.state, admission, respond)
        try:
            await read_body(headers, receive, self.state.limits, upload.add)
            upload.complete()
        except HTTPError as error:
            upload.fail(error)
        except asyncio.CancelledError:
            upload.abandon()
            raise
        return await answer

    async def _about(
        self,
        name: str,
        desk: IncidentDesk | CandidateDesk | RegistryDesk,
        scope: Any,
        headers: Mapping[str, str],
        receive: Any,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and further headers of the answer to a request that brings no events."""
        try:
            method, path, query = scope["method"], scope["path"], scope["query_string"]
            status, content, extra = await desk.answer(method, path, query, headers, receive)
        except HTTPError as error:
            self.state.metrics.responses[name, error.status] += 1
            return error.status, problem(error), error.headers
        self.state.metrics.responses[name, status] += 1
        return status, msgspec.json.encode(content), extra

    # ---- pages -------------------------------------------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        paths = [f"POST {PREFIX}<monitor>/{name}" for name in ADAPTERS]
        paths += [f"GET {PREFIX}<monitor>/incidents", f"GET {PREFIX}<monitor>/incidents/<id>"]
        paths.append(f"POST {PREFIX}<monitor>/incidents/<id>/<action>")
        paths += [f"{method} {PREFIX}<monitor>/candidates" for method in ("GET", "POST")]
        paths.append(f"POST {PREFIX}<monitor>/registry")
        return JSONResponse(
            {"service": "sightline collector", "paths": [*paths, "/healthz", "/readyz", "/metrics", "/openapi.json"]}
        )

    async def _health(self, request: Request) -> Response:
        """200 as long as the process answers: a silent daemon is told, and is no reason to take events elsewhere."""
        age = heartbeat_age(self.registry.home, datetime.now(UTC))
        if age is None:
            return JSONResponse({"status": "ok"})
        told = {"seconds": round(age, 1) if math.isfinite(age) else None, "late": is_late(age)}
        return JSONResponse({"status": "degraded" if is_late(age) else "ok", "daemon_heartbeat": told})

    async def _ready(self, request: Request) -> Response:
        reasons: list[str] = []
        if not self.state.is_ready:
            reasons.append("starting or stopping")
        if self.state.low_disk:
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
        if self.gate.require_tokens and not any(monitor.tokens.scope(authorization) for monitor in served):
            return JSONResponse({"error": "no valid token"}, 401, {"www-authenticate": "Bearer"})
        self.state.guard_feed.finish()
        text = self.state.metrics.render(self._gauges())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(openapi_document())

    def _gauges(self) -> Iterator[tuple[str, str, Labels, float]]:
        yield "sightline_collector_in_flight", "POST requests being handled.", (), float(self.state.in_flight)
        yield (
            "sightline_collector_ready",
            "1 if events are taken.",
            (),
            float(self.state.is_ready and not self.state.low_disk),
        )
        yield from self.connections.gauges()
        age = heartbeat_age(self.registry.home, datetime.now(UTC))
        if age is not None:
            yield "sightline_daemon_heartbeat_age_seconds", "Since the daemon's sensor last looked.", (), age
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

    # ---- life --------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncGenerator[None]:
        await asyncio.to_thread(self.registry.load)
        await asyncio.to_thread(self._recover)
        self.state.is_ready = True
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            yield
        finally:
            self.state.is_ready = False
            housekeeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await housekeeping
            self.state.guard_feed.finish()
            await asyncio.to_thread(self.registry.close)
            logger.info("all segments are sealed")

    async def _keep_house(self) -> None:
        """Keep the collector up to date.

        Once a second: changed monitor files, tokens, disk space, guards; once a minute: segments of killed writers.
        """
        recover_at = time.monotonic() + RECOVER_SECONDS
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            for connection in self.connections:
                connection.expire()
            try:
                self.state.low_disk = self._is_disk_low()
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
                    self.state.metrics.observer_errors += 1
                    logger.exception("a guard of %s failed", name)

    def _recover(self) -> None:
        for name, monitor in list(self.registry.monitors.items()):
            try:
                report = monitor.recover()
            except (SightlineError, OSError):  # of one monitor: the others go on, and a later round tries again
                logger.exception("the log of %s cannot be recovered", name)
                continue
            self.state.metrics.recovered_events += report.events
            if report.sealed or report.damaged:
                logger.warning("%s: recovered %d events of killed writers", name, report.events)

    def _is_disk_low(self) -> bool:
        folder = self.registry.home.data
        return (
            shutil.disk_usage(folder if folder.is_dir() else self.registry.home.root).free
            < self.state.limits.min_free_bytes
        )


async def _answer(send: Any, status: int, content: bytes, extra: Mapping[str, str]) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(key.encode(), value.encode("latin-1", "replace")) for key, value in extra.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
