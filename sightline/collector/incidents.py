"""Incidents over HTTP: what there is to read, and what may be said of one.

Reading takes milliseconds and goes on a thread. A word takes seconds of CPU, so it goes to a process of its own
(`sightline.alerts.acting`), one at a time for each monitor: events are taken meanwhile as ever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from sightline.alerts import listing
from sightline.alerts.acting import ALLOWED, Answer, Fields, Request, check
from sightline.alerts.life import SEVERITIES, STATES
from sightline.collector.admission import PREFIX, Gate
from sightline.collector.auth import ACT, READ, TokenRecord
from sightline.collector.limits import HTTPError, Limits, media_type, read_body
from sightline.collector.monitors import Registry, ServedMonitor
from sightline.errors import SightlineError, nearest

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_QUERY_BYTES, MAX_PARAMETERS = 4096, 30
MOST, DEFAULT_MOST = 1000, 100
"""Incidents in one answer."""
MAX_WAITING = 8
"""Words on one monitor's incidents that wait for each other."""
AT_ONCE = 2
"""Processes, over all monitors."""
ACT_SECONDS = 120.0
PARAMETERS = ("open", "status", "severity", "owner", "since", "until", "stream", "limit")

Headers = Mapping[str, str]
Receive = Callable[[], Awaitable[Any]]


class IncidentDesk:
    """Answers requests about incidents.

    Parameters
    ----------
    registry : Registry
        The monitors.
    gate : Gate
        Checks hosts.
    limits : Limits
        How long a body may take.
    """

    def __init__(self, registry: Registry, gate: Gate, limits: Limits) -> None:
        self._registry, self._gate = registry, gate
        self._limits = replace(limits, max_body_bytes=min(MAX_BODY_BYTES, limits.max_body_bytes))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="incidents")
        self._turn: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._processes = asyncio.Semaphore(AT_ONCE)

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
        incident, action = (*rest, "", "")[:2]
        allowed = "POST" if action else "GET"
        monitor, token = self._admit(monitor_id, headers, ACT if action else READ)
        if len(rest) > 2 or (rest and not incident):
            raise HTTPError(404, f"nothing is at {path}", f"ask for {PREFIX}<monitor>/incidents/<id>/<action>")
        if action and action not in ALLOWED:
            raise HTTPError(404, f"there is no action {action!r}", nearest(action, ALLOWED))
        if method != allowed:
            raise HTTPError(405, f"{method} is not allowed here", f"send a {allowed}", {"allow": allowed})
        if action and token is not None:
            fields = await self._fields(action, headers, receive)
            return await self._act(monitor, Request(
                str(self._registry.home.root), monitor.spec.id, incident, action, token.who, fields
            ))  # fmt: skip
        loop = asyncio.get_running_loop()
        wanted, most = _wanted(query)
        if incident:
            return 200, await loop.run_in_executor(self._reader, _whole, monitor, incident), {}
        return 200, await loop.run_in_executor(self._reader, _listed, monitor, wanted, most), {}

    def _admit(self, monitor_id: str, headers: Headers, right: str) -> tuple[ServedMonitor, TokenRecord | None]:
        """The monitor, if the request may do this. Words always need a token: it tells who speaks."""
        monitor = self._registry.monitors.get(monitor_id)
        token = None if monitor is None else monitor.tokens.record(headers.get("authorization", ""))
        is_closed = self._gate.require_tokens or (monitor is not None and (monitor.tokens.is_closed or right == ACT))
        if is_closed and token is None:
            fix = f"send `Authorization: Bearer <token>`; make one with `sightline token create MONITOR --for {right}`"
            raise HTTPError(401, "no valid token for this monitor", fix, {"www-authenticate": "Bearer"})
        if monitor is None:
            raise HTTPError(404, f"there is no monitor {monitor_id!r}", nearest(monitor_id, self._registry.monitors))
        if token is not None and token.scope not in ((ACT,) if right == ACT else (READ, ACT)):
            what = "say anything of incidents" if right == ACT else "read incidents"
            raise HTTPError(403, f"this token may not {what}", f"make one with `--for {right}`")
        return monitor, token

    async def _fields(self, action: str, headers: Headers, receive: Receive) -> Fields:
        pieces: list[bytes] = []
        size = 0

        def take(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > self._limits.max_body_bytes:
                raise HTTPError(413, f"the body is larger than {self._limits.max_body_bytes} bytes", "", CLOSE)
            pieces.append(piece)

        await read_body(headers, receive, self._limits, take)
        body = b"".join(pieces)
        media = media_type(headers)
        if (body and media != "application/json") or headers.get("content-encoding", "identity") != "identity":
            raise HTTPError(415, "the body is no plain JSON", "set Content-Type to application/json")
        try:
            fields = msgspec.json.decode(body or b"{}", type=Fields)
            check(action, fields)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPError(400, f"the body cannot be read: {error}", "see /openapi.json") from error
        except SightlineError as error:
            raise HTTPError(400, error.what, error.fix or "") from error
        return fields

    async def _act(self, monitor: ServedMonitor, request: Request) -> tuple[int, Any, Headers]:
        """One word at a time for each monitor."""
        name = monitor.spec.id
        if self._waiting.get(name, 0) >= MAX_WAITING:
            raise HTTPError(429, f"{MAX_WAITING} words on {name} wait already", "try again", {"retry-after": "10"})
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            async with self._turn.setdefault(name, asyncio.Lock()), self._processes:
                found = await _in_a_process(request)
        finally:
            self._waiting[name] -= 1
        return found.status, found.content, {}


CLOSE = {"connection": "close"}


async def _in_a_process(request: Request) -> Answer:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sightline.alerts.acting",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "SIGHTLINE_LOCK_SECONDS": str(ACT_SECONDS / 2)},
        start_new_session=True,  # a signal to the collector's group does not end it half-way
    )  # fmt: skip
    try:
        out, wrong = await asyncio.wait_for(process.communicate(msgspec.json.encode(request)), ACT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise _unsure(f"it took longer than {ACT_SECONDS:g} s") from None
    try:
        return msgspec.json.decode(out, type=Answer)
    except msgspec.DecodeError:
        logger.error("a word on %s failed: %s", request.incident, wrong.decode(errors="replace")[-4000:])
        raise _unsure("see the collector's log") from None


def _unsure(why: str) -> HTTPError:
    fix = "look at the incident's timeline: the word may have been kept; the next run publishes what follows"
    return HTTPError(503, f"what became of the word is not known: {why}", fix, {"retry-after": "30"})


def _wanted(query: bytes) -> tuple[listing.Wanted, int]:
    """Filters of a query."""
    if len(query) > MAX_QUERY_BYTES:
        raise HTTPError(400, f"the query is longer than {MAX_QUERY_BYTES} bytes")
    try:
        given = parse_qs(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError as error:
        raise HTTPError(400, f"the query cannot be read: {error}") from error
    if unknown := sorted(set(given) - set(PARAMETERS)):
        raise HTTPError(400, f"there is no parameter {unknown[0]!r}", nearest(unknown[0], PARAMETERS))
    single = {name: values[-1] for name, values in given.items()}
    limit = single.get("limit", str(DEFAULT_MOST))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= MOST):
        raise HTTPError(400, f"limit is a number from 1 to {MOST}")
    states = _one_of("status", given.get("status", []), STATES)
    severities = _one_of("severity", given.get("severity", []), SEVERITIES)
    is_open = _one_of("open", [single.get("open", "false")], ("true", "false")) == ("true",)
    since, until = (_moment(name, single.get(name)) for name in ("since", "until"))
    wanted = listing.Wanted(is_open, states, severities, single.get("owner"), since, until, single.get("stream"))
    return wanted, int(limit)


def _one_of(name: str, given: list[str], allowed: tuple[str, ...]) -> tuple[str, ...]:
    for value in given:
        if value not in allowed:
            raise HTTPError(400, f"{name} cannot be {value!r}", nearest(value, allowed))
    return tuple(given)


def _moment(name: str, text: str | None) -> datetime | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
        return None if moment is None else listing.naive(moment.replace(tzinfo=moment.tzinfo or UTC))
    except (ValueError, OverflowError):
        raise HTTPError(
            400, f"{name} is no date or time: {text!r}", "write 2026-01-31 or 2026-01-31T06:00:00Z"
        ) from None


def _listed(monitor: ServedMonitor, wanted: listing.Wanted, most: int) -> Any:
    found = listing.listed(monitor.spec, monitor.paths, wanted)
    shown = listing.jsonable(found[:most])
    return {
        "monitor": monitor.spec.id,
        "budget": str(monitor.spec.alerts.budget),
        "total": len(found),
        "incidents": shown,
        "operations": listing.jsonable(listing.operations(monitor.paths, wanted)),
    }


def _whole(monitor: ServedMonitor, incident: str) -> Any:
    try:
        return listing.jsonable(listing.whole(monitor.spec, monitor.paths, incident))
    except listing.UnknownIncidentError as error:
        raise HTTPError(404, error.what, error.fix or "") from error
