"""Running the collector with uvicorn."""

from __future__ import annotations

import gc
import ipaddress
import logging
import signal
import sys
from types import FrameType

import uvicorn

from sightline.alerts.delivery.courier import Courier
from sightline.clock import utc_now
from sightline.collector.app import Collector
from sightline.collector.auth import TokenFile
from sightline.collector.connection import BoundedProtocol
from sightline.collector.connections import BACKLOG
from sightline.collector.guard_log import GuardDesk
from sightline.collector.limits import Limits
from sightline.collector.monitors import Clock, MakeObserver, Observer, Registry
from sightline.collector.protocol import IngestProtocol
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.spec.loader import monitor_files
from sightline.spec.model import MonitorSpec

SWITCH_SECONDS = 0.0005
"""Threads change places this often, so that the commit thread need not wait 5 ms for the event loop."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


def make_guards(home: Home, *, is_delivering: bool) -> MakeObserver:
    """Guards for each monitor; one courier brings their alert lines to people."""
    courier = Courier(home) if is_delivering else None

    def make(spec: MonitorSpec, paths: MonitorPaths) -> Observer:
        return GuardDesk(spec, paths, courier.call if courier is not None else None)

    return make


def is_loopback(host: str) -> bool:
    """Whether this address reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_collector(
    home: Home,
    *,
    host: str = "127.0.0.1",
    limits: Limits | None = None,
    seal_seconds: float = 5.0,
    guards: bool = True,
    deliver: bool = False,
    clock: Clock = utc_now,
) -> Collector:
    """The ASGI application for a home folder; `clock` gives the time of reception, `deliver` sends what is due.

    Raises
    ------
    SightlineError
        If `host` is not loopback and no monitor has a token.
    """
    limits = limits or Limits()
    is_open = not is_loopback(host)
    if is_open:
        ids = [path.stem for path in monitor_files(home)]
        if not any(TokenFile(home.monitor(name)).has_tokens for name in ids):
            raise SightlineError(
                f"{host} can be reached from other machines, and no monitor has a token",
                fix="run `sightline token create MONITOR` first, or listen on 127.0.0.1",
            )
    registry = Registry(home, limits, seal_seconds, make_guards(home, is_delivering=deliver) if guards else None, clock)
    return Collector(
        registry, limits, require_tokens=is_open, allowed_hosts=None if is_open else LOOPBACK_HOSTS | {host.lower()}
    )


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def serve(collector: Collector, host: str, port: int, drain_seconds: int = 10, *, plain: bool = False) -> None:
    """Run until SIGTERM or SIGINT: then stop listening, answer what came in, seal the segments.

    `plain` leads all requests through ASGI.

    Raises
    ------
    SightlineError
        If the process may not open enough files to serve anybody.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what is loaded now lives to the end; requests leave hardly any cycles behind
    gc.set_threshold(20_000, 20, 50)
    # uvicorn drains on SIGTERM and then raises the signal again: that is a regular end. Before it listens, the process
    # just ends.
    signal.signal(signal.SIGTERM, _exit)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    collector.connections.prepare(len(monitor_files(collector.registry.home)))
    uvicorn.run(
        collector,
        host=host,
        port=port,
        http=BoundedProtocol if plain else IngestProtocol,
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=drain_seconds,
        backlog=BACKLOG,
    )
