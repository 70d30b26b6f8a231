"""Signed calls of a model registry over HTTP: each is a reason to look at the registry at once."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sightline.collector import signed_calls
from sightline.collector.admission import PREFIX, Gate
from sightline.collector.limits import HTTPError, Limits, media_type, read_body, too_large, unsupported
from sightline.collector.monitors import Registry, ServedMonitor
from sightline.errors import SightlineError
from sightline.spec.evaluation_sections import RegistryLink

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Calls that are being received."""
UNSIGNED = "no valid signature for this monitor"
FIX = "see docs/registries.md, and the collector's log"

Headers = Mapping[str, str]
Receive = Callable[[], Awaitable[Any]]


class RegistryDesk:
    """Answers signed calls: ``POST /v1/monitors/<id>/registry``.

    Whoever has not signed learns neither which monitors exist nor which have a registry; why a call was refused stands
    in the log.

    Parameters
    ----------
    registry : Registry
        The monitors.
    gate : Gate
        Checks hosts.
    limits : Limits
        How long a body may take.
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, registry: Registry, gate: Gate, limits: Limits, clock: Callable[[], float] = time.time) -> None:
        self._registry, self._gate, self._clock = registry, gate, clock
        self._limits = replace(limits, max_body_bytes=min(signed_calls.MAX_BODY_BYTES, limits.max_body_bytes))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="registry-calls")
        self._receiving = asyncio.Semaphore(AT_ONCE)

    async def answer(
        self, method: str, path: str, query: bytes, headers: Headers, receive: Receive
    ) -> tuple[int, Any, Headers]:
        """Status, content and further headers.

        Raises
        ------
        HTTPError
            For all that is not answered.
        """
        self._gate.check_host(headers)
        monitor_id, _, *rest = path[len(PREFIX) :].split("/")
        if rest:
            raise HTTPError(404, f"nothing is at {path}", f"POST {PREFIX}<monitor>/registry")
        if method != "POST":
            raise HTTPError(405, f"{method} is not allowed here", "send a POST", {"allow": "POST"})
        media = media_type(headers)
        if media != "application/json":  # no web page can send it unasked
            fix = "set Content-Type to application/json"
            raise unsupported(media, fix)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise HTTPError(415, "a compressed call is not supported", "send it as it was signed")
        body = await self._body(headers, receive)
        monitor, link, secret = self._secret(monitor_id)
        now = self._clock()
        try:
            call = signed_calls.check(headers, body, secret, now)
        except signed_calls.CallRefused as error:
            logger.warning("a call of the registry of %s was refused: %s", monitor.spec.id, error.what)
            raise HTTPError(401, UNSIGNED, FIX) from error
        try:
            why = signed_calls.reason_to_look(body, link, monitor.spec.id)
        except (ValueError, RecursionError) as error:
            raise HTTPError(422, f"the call cannot be read: {error}", FIX) from error
        try:
            is_new = await asyncio.get_running_loop().run_in_executor(
                self._writer, signed_calls.note, monitor.paths, call, why, now
            )
        except (OSError, SightlineError) as error:
            logger.exception("a call of the registry of %s cannot be kept", monitor.spec.id)
            raise HTTPError(503, "the call cannot be kept", FIX, {"retry-after": "30"}) from error
        if not is_new:
            raise HTTPError(409, "this call has come before", "send each delivery once")
        return 200, {"look": bool(why)}, {}

    def _secret(self, monitor_id: str) -> tuple[ServedMonitor, RegistryLink, str]:
        """The monitor, its registry and the secret of its webhook; 401 where one is missing."""
        monitor = self._registry.monitors.get(monitor_id)
        link = monitor.spec.registry if monitor is not None else None
        if monitor is None or link is None or link.webhook_secret_env is None:
            raise HTTPError(401, UNSIGNED, FIX)
        secret = os.environ.get(link.webhook_secret_env, "").strip()
        if not secret:
            what = "a call of the registry of %s was refused: %s is not set in the environment of the collector"
            logger.warning(what, monitor_id, link.webhook_secret_env)
            raise HTTPError(401, UNSIGNED, FIX)
        return monitor, link, secret

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        n_bytes = 0

        def take(piece: bytes) -> None:
            nonlocal n_bytes
            n_bytes += len(piece)
            if n_bytes > self._limits.max_body_bytes:
                raise too_large(self._limits.max_body_bytes)
            pieces.append(piece)

        async with self._receiving:
            await read_body(headers, receive, self._limits, take)
        return b"".join(pieces)
