"""What one request may cost, and reading a body within that."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zstandard

GZIP_WINDOW = 31
STEP_BYTES = 16 * 1024
MAX_MEMBERS = 1_000
"""Parts of a compressed body, each with a header of its own: one costs as much as a kilobyte, and may hold nothing."""
ZSTD_STEP_BYTES = 1024
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of the collector; those of single rows stand in `sightline.collector.formats.native`."""

    max_head_bytes: int = 32 * 1024
    max_body_bytes: int = 8 * 1024 * 1024
    max_decompressed_bytes: int = 32 * 1024 * 1024
    max_rows: int = 10_000
    max_drained_bytes: int = 64 * 1024 * 1024
    """Bytes of a refused body that are read and thrown away, so that its sender gets the answer."""
    max_held_bytes: int = 256 * 1024 * 1024
    """Of all bodies that are coming in or wait to be read."""
    head_timeout_seconds: float = 10.0
    body_timeout_seconds: float = 30.0
    max_in_flight: int = 1024
    max_connections: int = 1000
    """Fewer where the process may not open as many files: see `sightline.collector.connections`."""
    min_idle_seconds: float = 2.0
    """A connection that has been idle for so long may be closed for a new one when there are too many."""
    max_pending_bytes: int = 64 * 1024 * 1024
    min_free_bytes: int = 64 * 1024 * 1024
    """Less free disk space than this: refuse before the disk is full, so that segments can still be sealed."""


class HTTPError(Exception):
    """An answer other than 200.

    Parameters
    ----------
    status : int
        HTTP status.
    message, fix : str
        What is wrong and what to do about it.
    headers : dict, optional
        Further response headers.
    """

    def __init__(self, status: int, message: str, fix: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.fix, self.headers = status, message, fix, headers or {}


def media_type(headers: Mapping[str, str]) -> str:
    """What the body is said to be, without parameters, in lower case; empty where nothing is said."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def unsupported(media: str, fix: str) -> HTTPError:
    """The answer to a body of another type."""
    return HTTPError(415, f"Content-Type {media or 'is missing and'} is not supported", fix)


async def read_body(
    headers: Mapping[str, str], receive: Callable[[], Awaitable[Any]], limits: Limits, take: Callable[[bytes], None]
) -> None:
    """Receive a request body and hand its pieces to `take`, which raises where they become too much.

    Raises
    ------
    HTTPError
        400 (the client went away), 408, 413.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.max_body_bytes:
        raise too_large(limits.max_body_bytes)
    try:
        async with asyncio.timeout(limits.body_timeout_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HTTPError(400, "the client went away")
                take(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        raise too_slow(limits.body_timeout_seconds) from None


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo ``Content-Encoding`` (gzip, zstd, identity), never making more than `limit` bytes.

    Raises
    ------
    HTTPError
        400 (damaged), 413, 415 (another encoding).
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(body, limit)
    if encoding == "zstd":
        return _unzstd(body, limit)
    raise HTTPError(
        415, f"Content-Encoding {encoding!r} is not supported", "use gzip or zstd", {"accept-encoding": "gzip, zstd"}
    )


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members. Their input is given in steps, because what a member leaves over is copied each time."""
    pieces: list[bytes] = []
    size = position = members = 0
    while position < len(body):
        members = _count_member(members, "gzip members")
        member = zlib.decompressobj(GZIP_WINDOW)
        while not member.eof:
            step = member.unconsumed_tail or body[position : position + STEP_BYTES]
            if not step:
                raise HTTPError(400, "the gzip data end too early")
            if not member.unconsumed_tail:
                position += len(step)
            try:
                pieces.append(member.decompress(step, limit - size + 1))
            except zlib.error as error:
                raise HTTPError(400, f"the gzip data are damaged: {error}") from error
            size += len(pieces[-1])
            if size > limit:
                raise too_large(limit, "decompressed ")
        position -= len(member.unused_data)
    return b"".join(pieces)


def _unzstd(body: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = offset = frames = 0
    while offset < len(body):
        frames = _count_member(frames, "zstd frames")
        frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
        # In small steps, because what a step makes cannot be bounded otherwise; the claimed length of a frame proves
        # nothing.
        while offset < len(body) and not frame.eof:
            try:
                pieces.append(frame.decompress(body[offset : offset + ZSTD_STEP_BYTES]))
            except zstandard.ZstdError as error:
                raise HTTPError(400, f"the zstd data are damaged: {error}") from error
            offset += min(ZSTD_STEP_BYTES, len(body) - offset)
            size += len(pieces[-1])
            if size > limit:
                raise too_large(limit, "decompressed ")
        if not frame.eof:
            raise HTTPError(400, "the zstd data end too early")
        offset -= len(frame.unused_data)
    return b"".join(pieces)


def _count_member(number: int, what: str) -> int:
    if number >= MAX_MEMBERS:
        raise HTTPError(413, f"the body has more than {MAX_MEMBERS} {what}", "compress it as a whole")
    return number + 1


def too_large(limit: int, what: str = "") -> HTTPError:
    """The answer to more than `limit` bytes."""
    return HTTPError(
        413, f"the {what}body is larger than {limit} bytes", "send fewer rows per request", {"connection": "close"}
    )


def too_slow(seconds: float) -> HTTPError:
    """The answer to a body that did not arrive in time."""
    return HTTPError(408, f"the body did not arrive within {seconds:g} s", headers={"connection": "close"})
