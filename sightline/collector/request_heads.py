"""Heads of requests that bring events.

They are parsed and admitted once, then looked up, because senders repeat them byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import httptools

from sightline.collector.admission import Admission, Gate, format_of, is_ingest
from sightline.collector.limits import HTTPError

KNOWN_HEADS = 1024
KNOWN_HEAD_BYTES = 4096
SPECIAL = frozenset(("transfer-encoding", "expect", "upgrade"))
"""A request with one of these headers has no plain body."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says: number of bytes of the body, format asked for, and why the request is let in (or not)."""

    length: int
    name: str
    keep_alive: bool
    admission: Admission | HTTPError


class Heads:
    """Reads heads and remembers those that were let in, for as long as monitor and tokens stay as they are."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._known: dict[bytes, Head] = {}

    def find(self, text: bytes) -> Head | None:
        """The head with these bytes (up to and with the empty line).

        Returns
        -------
        Head or None
            None if it is not that of a plain HTTP/1.1 POST with a ``Content-Length`` to an ingest path.
        """
        head = self._known.get(text)
        if head is not None and isinstance(head.admission, Admission) and self._gate.still_holds(head.admission):
            return head
        head, path = self._read(text)
        # `/` means the only monitor there is: that may change
        if head is not None and isinstance(head.admission, Admission) and path != "/" and len(text) <= KNOWN_HEAD_BYTES:
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[text] = head
        return head

    def _read(self, text: bytes) -> tuple[Head | None, str]:
        reader = _Reader()
        parser = httptools.HttpRequestParser(reader)
        try:
            parser.feed_data(text)
            path = unquote(httptools.parse_url(reader.url).path.decode("ascii"))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError):
            return None, ""
        method, headers = parser.get_method().decode("ascii"), reader.headers
        length = headers.get("content-length", "")
        is_plain = method == "POST" and parser.get_http_version() == "1.1" and length.isdigit()
        if not is_plain or not SPECIAL.isdisjoint(headers) or not is_ingest(method, path):
            return None, path
        try:
            admission = self._gate.admit(method, path, headers)
        except HTTPError as error:
            admission = error
        return Head(int(length), format_of(path), parser.should_keep_alive(), admission), path


class _Reader:
    """Collects what httptools finds."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
