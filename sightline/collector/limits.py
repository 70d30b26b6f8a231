"""What one request may cost, and reading a body within that."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zstandard

GZIP_WINDOW = 31
ZSTD_STEP_BYTES = 1024
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of the collector; those of single rows stand in `sightline.collector.formats.native`."""

    max_body_bytes: int = 8 * 1024 * 1024
    max_decompressed_bytes: int = 32 * 1024 * 1024
    max_rows: int = 10_000
    body_timeout_seconds: float = 30.0
    max_in_flight: int = 1024
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


async def read_body(headers: Mapping[str, str], receive: Callable[[], Awaitable[Any]], limits: Limits) -> bytes:
    """Receive a request body within the limits.

    Raises
    ------
    HTTPError
        400 (the client went away), 408, 413.
    """
    try:
        async with asyncio.timeout(limits.body_timeout_seconds):
            return await _read_body(headers, receive, limits.max_body_bytes)
    except TimeoutError:
        raise too_slow(limits.body_timeout_seconds) from None


async def _read_body(headers: Mapping[str, str], receive: Callable[[], Awaitable[Any]], limit: int) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPError(400, "the client went away")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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
    pieces: list[bytes] = []
    size = 0
    while body:
        member = zlib.decompressobj(GZIP_WINDOW)
        try:
            piece = member.decompress(body, limit - size + 1)
        except zlib.error as error:
            raise HTTPError(400, f"the gzip data are damaged: {error}") from error
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise too_large(limit, "decompressed ")
        if not member.eof:
            raise HTTPError(400, "the gzip data end too early")
        body = member.unused_data
    return b"".join(pieces)


def _unzstd(body: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = offset = 0
    while offset < len(body):
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


def too_large(limit: int, what: str = "") -> HTTPError:
    """The answer to more than `limit` bytes."""
    return HTTPError(
        413, f"the {what}body is larger than {limit} bytes", "send fewer rows per request", {"connection": "close"}
    )


def too_slow(seconds: float) -> HTTPError:
    """The answer to a body that did not arrive in time."""
    return HTTPError(408, f"the body did not arrive within {seconds:g} s", headers={"connection": "close"})
