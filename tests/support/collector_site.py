"""A collector in this process and a client that talks to it, for the tests of the collector."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from sightline.collector.server import make_collector
from sightline.home import Home
from sightline.log import segment as seg
from sightline.log.reader import read_segment
from sightline.spec.model import MonitorSpec

MONITOR = """\
version: 1
model: {{id: {name}, task: binary_classification}}
columns:
  prediction_id: flight
  score: p_late
  timestamp: departed_at
  features: {{distance: numeric, carrier: categorical}}
labels: {{column: late, observed_at: landed_at}}
reference: {{kind: window, start: 2026-01-01, end: 2026-02-01}}
"""
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "prediction_id": "flight",
            "score": "p_late",
            "timestamp": "departed_at",
            "features": {"distance": "numeric"},
        },
        "labels": {"column": "late", "observed_at": "landed_at"},
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)


def make_home(folder: Path) -> Home:
    """A home with the monitors `m` and `other`."""
    home = Home(folder)
    home.monitors.mkdir()
    for name in ("m", "other"):
        (home.monitors / f"{name}.yaml").write_text(MONITOR.format(name=name))
    return home


class Site:
    """A collector with its lifespan running, and a client that talks to it."""

    def __init__(self, collector: Any, web: httpx.AsyncClient) -> None:
        self.collector, self.web = collector, web

    async def post(self, path: str, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return await self.web.post(path, content=body, headers=sent)


@asynccontextmanager
async def lifespan(application: Any) -> AsyncIterator[None]:
    """An ASGI application between start and end, as a server keeps it."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(application({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, answers.put))
    await told.put({"type": "lifespan.startup"})
    assert await answers.get() == {"type": "lifespan.startup.complete"}
    try:
        yield
    finally:
        await told.put({"type": "lifespan.shutdown"})
        await life


def run(home: Home, talk: Callable[[Site], Any], **options: Any) -> Any:
    @asynccontextmanager
    async def site() -> AsyncIterator[Site]:
        collector = make_collector(home, **{"guards": False, **options})
        async with lifespan(collector):
            transport = httpx.ASGITransport(collector)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as web:
                yield Site(collector, web)

    async def main() -> Any:
        async with site() as running:
            return await talk(running)

    return asyncio.run(main())


def logged(home: Home, kind: str = "inferences", monitor: str = "m") -> list[Any]:
    log = home.monitor(monitor).log
    return [e for path in (*seg.list_sealed(log, kind), *seg.list_open(log, kind)) for e in read_segment(path).events]


EVENT = {
    "id": "a",
    "at": "2026-01-31T06:00:00+02:00",
    "version": "v1",
    "features": {"distance": 7, "carrier": "UA"},
    "score": 0.25,
}
INFER, LABEL = "/v1/monitors/m/inferences", "/v1/monitors/m/labels"
