"""Scored evaluation sets of candidates over HTTP: sent in parts, landed whole.

A set is one file (Parquet or NDJSON), cut into parts of `PART_BYTES`. Parts wait in a hidden folder beside the
candidates, where no evaluation looks; the last request puts them together, checks their hash, and renames the file into
the version's folder. A kill leaves parts, never half a set, and whoever sends again sends only the parts that lack.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from sightline.collector.admission import PREFIX, Gate
from sightline.collector.auth import EVALUATE
from sightline.collector.ingest import State
from sightline.collector.limits import HTTPError, decompress, media_type, read_body, too_large, unsupported
from sightline.collector.monitors import Registry, ServedMonitor
from sightline.durable import replace_file
from sightline.errors import nearest
from sightline.home import MonitorPaths
from sightline.version_names import FIX, TRAINING, flaw_of

logger = logging.getLogger(__name__)

PART_BYTES = 4 * 1024 * 1024
MAX_BYTES = 512 * 1024 * 1024
"""Of one evaluation set."""
MAX_UPLOADS = 8
"""Sets of one monitor that are half sent."""
STALE_SECONDS = 24 * 3600.0
"""A set that has not grown for so long makes room."""
AT_ONCE = 4
"""Parts that are being received."""
MAX_QUERY_BYTES, MAX_PARAMETERS = 2048, 10
FORMATS = ("parquet", "ndjson")
PARAMETERS = ("version", "sha256", "bytes", "format", "part")
UPLOADS = ".uploads"
NAME = "evaluation"

Headers = Mapping[str, str]
Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Sent:
    """What a request is about: a set by version, hash, size and format, and the number of one of its parts."""

    version: str
    sha256: str
    size: int
    form: str
    part: int | None

    @property
    def n_parts(self) -> int:
        """Parts of the set."""
        return -(-self.size // PART_BYTES)

    def part_size(self, part: int) -> int:
        """Bytes of one part."""
        return min(PART_BYTES, self.size - part * PART_BYTES)

    def folder(self, paths: MonitorPaths) -> Path:
        """Where its parts wait."""
        told = f"{self.version}\0{self.sha256}\0{self.size}\0{self.form}"
        return paths.landing_candidates / UPLOADS / hashlib.sha256(told.encode()).hexdigest()[:32]

    def file(self, paths: MonitorPaths) -> Path:
        """Where the set lands."""
        return paths.landing_candidates / self.version / f"{NAME}.{self.form}"


class CandidateDesk:
    """Answers requests about evaluation sets.

    ``GET`` tells which parts are there, ``POST`` with ``part`` brings one, ``POST`` without lands the set.

    Parameters
    ----------
    registry : Registry
        The monitors.
    gate : Gate
        Checks hosts.
    state : State
        Limits, and whether events are taken at all.
    """

    def __init__(self, registry: Registry, gate: Gate, state: State) -> None:
        self._registry, self._gate, self._state = registry, gate, state
        self._limits = replace(state.limits, max_body_bytes=min(PART_BYTES, state.limits.max_body_bytes))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="candidates")
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
        monitor = self._admit(monitor_id, headers)
        if rest:
            raise HTTPError(404, f"nothing is at {path}", f"ask for {PREFIX}<monitor>/candidates?version=...")
        if method not in ("GET", "POST"):
            raise HTTPError(405, f"{method} is not allowed here", "send a GET or POST", {"allow": "GET, POST"})
        sent = _sent(query)
        if method == "GET" and sent.part is None:
            return 200, await self._do(_progress, monitor.paths, sent), {}
        if method == "GET":
            raise HTTPError(400, "a part cannot be fetched", "leave `part` out: GET tells which parts are there")
        if (refusal := self._state.refusal()) is not None:
            raise refusal
        body = await self._body(headers, receive, 0 if sent.part is None else sent.part_size(sent.part))
        if sent.part is None:
            return 200, await self._do(_land, monitor.paths, sent), {}
        free = shutil.disk_usage(self._registry.home.root).free
        if free < 2 * sent.size + self._state.limits.min_free_bytes:
            what = f"{sent.size} bytes, twice while they are put together, do not fit on the disk"
            raise HTTPError(503, what, "make room", {"retry-after": "60"})
        return 200, await self._do(_keep_part, monitor.paths, sent, body), {}

    async def _do(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)
        except OSError as error:
            logger.exception("an evaluation set cannot be kept")
            what = f"the disk does not take it: {error.strerror}"
            raise HTTPError(503, what, "see the collector's log", {"retry-after": "30"}) from error

    def _admit(self, monitor_id: str, headers: Headers) -> ServedMonitor:
        """The monitor, if the request may bring candidates.

        The right is one of its own: whoever serves a model has the right to log, and must not be able to let a version
        of it pass.
        """
        monitor = self._registry.monitors.get(monitor_id)
        token = None if monitor is None else monitor.tokens.record(headers.get("authorization", ""))
        is_closed = self._gate.require_tokens or (monitor is not None and monitor.tokens.is_closed)
        if is_closed and token is None:
            fix = "send `Authorization: Bearer <token>`; make one with `sightline token create MONITOR --for evaluate`"
            raise HTTPError(401, "no valid token for this monitor", fix, {"www-authenticate": "Bearer"})
        if monitor is None:
            raise HTTPError(404, f"there is no monitor {monitor_id!r}", nearest(monitor_id, self._registry.monitors))
        if token is not None and token.scope != EVALUATE:
            raise HTTPError(403, "this token may not bring candidates", "make one with `--for evaluate`")
        return monitor

    async def _body(self, headers: Headers, receive: Receive, size: int) -> bytes:
        pieces: list[bytes] = []
        n_bytes = 0

        def take(piece: bytes) -> None:
            nonlocal n_bytes
            n_bytes += len(piece)
            if n_bytes > self._limits.max_body_bytes:
                raise too_large(self._limits.max_body_bytes)
            pieces.append(piece)

        media = media_type(headers)
        if size and media != "application/octet-stream":  # no web page can send it unasked
            fix = "set Content-Type to application/octet-stream"
            raise unsupported(media, fix)
        async with self._receiving:
            await read_body(headers, receive, self._limits, take)
            body = decompress(b"".join(pieces), headers.get("content-encoding", ""), PART_BYTES)
        if len(body) != size:
            raise HTTPError(400, f"the part has {len(body)} bytes, not {size}", f"cut the file into {PART_BYTES} bytes")
        return body


def _sent(query: bytes) -> Sent:
    """The parameters of a request."""
    if len(query) > MAX_QUERY_BYTES:
        raise HTTPError(400, f"the query is longer than {MAX_QUERY_BYTES} bytes")
    try:
        given = parse_qs(query.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError as error:
        raise HTTPError(400, f"the query cannot be read: {error}") from error
    if unknown := sorted(set(given) - set(PARAMETERS)):
        raise HTTPError(400, f"there is no parameter {unknown[0]!r}", nearest(unknown[0], PARAMETERS))
    if twice := [name for name, values in given.items() if len(values) > 1]:
        raise HTTPError(400, f"the parameter {twice[0]!r} is there twice", "give it once")
    found = {name: values[0] for name, values in given.items()}
    if lacking := [name for name in PARAMETERS[:4] if name not in found]:
        raise HTTPError(400, f"the parameter {lacking[0]!r} is missing", f"give {', '.join(PARAMETERS[:4])}")
    if flaw := flaw_of(found["version"]):
        raise HTTPError(400, f"{found['version'][:40]!r} cannot name a version: {flaw}", FIX)
    if not re.fullmatch(r"[0-9a-f]{64}", found["sha256"]):
        raise HTTPError(400, "sha256 is no hash", "64 hexadecimal digits, in lower case")
    if found["format"] not in FORMATS:
        raise HTTPError(400, f"there is no format {found['format']!r}", nearest(found["format"], FORMATS))
    size = _number("bytes", found["bytes"])
    if not size:
        raise HTTPError(400, "bytes is a number above 0")
    if size > MAX_BYTES:
        what = f"an evaluation set may have {MAX_BYTES} bytes, not {size}"
        raise HTTPError(413, what, "send fewer rows or columns, or put the file into landing/candidates/<version>/")
    sent = Sent(found["version"], found["sha256"], size, found["format"], None)
    if "part" not in found:
        return sent
    part = _number("part", found["part"])
    if part >= sent.n_parts:
        raise HTTPError(400, f"part is a number from 0 to {sent.n_parts - 1}")
    return replace(sent, part=part)


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise HTTPError(400, f"{name} is no number: {text[:20]!r}")
    return int(text)


def _progress(paths: MonitorPaths, sent: Sent) -> dict[str, Any]:
    """What is there of a set."""
    return {"part_bytes": PART_BYTES, "parts": _there(paths, sent), "landed": _is_landed(paths, sent)}


def _there(paths: MonitorPaths, sent: Sent) -> list[int]:
    folder = sent.folder(paths)
    sizes = {file.name: file.stat().st_size for file in folder.glob("[0-9]*")} if folder.is_dir() else {}
    return [part for part in range(sent.n_parts) if sizes.get(_part_name(part)) == sent.part_size(part)]


def _part_name(part: int) -> str:
    return f"{part:05d}"


def _is_landed(paths: MonitorPaths, sent: Sent) -> bool:
    """Whether exactly this set is what the version's folder holds."""
    file = sent.file(paths)
    if not file.is_file() or file.stat().st_size != sent.size or _others(file):
        return False
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == sent.sha256


def _others(file: Path) -> list[str]:
    """Files in the version's folder that no request has brought; a training set beside the set is welcome."""
    own = {f"{NAME}.{form}" for form in FORMATS}
    names = [each.name for each in file.parent.iterdir()] if file.parent.is_dir() else []
    return sorted(n for n in names if n not in own and n[0] not in "._" and n.partition(".")[0] != TRAINING)


def _keep_part(paths: MonitorPaths, sent: Sent, body: bytes) -> dict[str, Any]:
    """Keep a part durably; makes room for it first."""
    assert sent.part is not None
    folder = sent.folder(paths)
    if not folder.is_dir():
        _make_room(folder.parent)
    replace_file(folder / _part_name(sent.part), body)
    return {"part": sent.part, "bytes": len(body)}


def _make_room(uploads: Path) -> None:
    """Forget sets that nobody has gone on sending; refuse where too many are under way."""
    open_ones = 0
    for folder in uploads.iterdir() if uploads.is_dir() else ():
        if time.time() - folder.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(folder)
        else:
            open_ones += 1
    if open_ones >= MAX_UPLOADS:
        what = f"{MAX_UPLOADS} evaluation sets of this monitor are half sent"
        raise HTTPError(429, what, "finish one, or wait a day", {"retry-after": "600"})


def _land(paths: MonitorPaths, sent: Sent) -> dict[str, Any]:
    """Put a set together and rename it into the version's folder: all of it or nothing."""
    done = {"version": sent.version, "bytes": sent.size, "sha256": sent.sha256, "landed": True}
    folder, file = sent.folder(paths), sent.file(paths)
    if _is_landed(paths, sent):
        shutil.rmtree(folder, ignore_errors=True)
        return done
    lacking = sorted(set(range(sent.n_parts)) - set(_there(paths, sent)))
    if lacking:
        raise HTTPError(409, f"{len(lacking)} of {sent.n_parts} parts are missing, first {lacking[0]}", "send them")
    if others := _others(file):
        what = f"the folder of {sent.version!r} holds a file that was put there by hand: {others[0]!r}"
        raise HTTPError(409, what, "remove it, or send the set under another version")
    try:
        replace_file(file, lambda beside: _join(folder, sent, beside, file))
    except HTTPError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return done


def _join(folder: Path, sent: Sent, beside: Path, file: Path) -> None:
    digest = hashlib.sha256()
    with beside.open("wb") as out:
        for part in range(sent.n_parts):
            content = (folder / _part_name(part)).read_bytes()
            digest.update(content)
            out.write(content)
    if digest.hexdigest() != sent.sha256:
        raise HTTPError(422, "the parts together have another hash: none of them is kept", "send the set again")
    for form in FORMATS:  # of two files the folder would be the sum
        if form != sent.form:
            file.with_name(f"{NAME}.{form}").unlink(missing_ok=True)
