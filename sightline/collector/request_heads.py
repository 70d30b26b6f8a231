"""Heads of requests: checked once, then looked up, because senders repeat them byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote

import httptools

from sightline.collector.admission import Admission, Gate, is_ingest
from sightline.collector.limits import HTTPError

KNOWN_HEADS = 1024
KNOWN_HEAD_BYTES = 4096
END = b"\r\n\r\n"
SPECIAL = frozenset(("transfer-encoding", "expect", "upgrade"))
"""A request with one of these headers has no plain body."""

SINGLE = frozenset(("host", "authorization", "content-type", "content-encoding"))
"""Headers that decide what may be done: of two, another server in front might have read the other one."""

Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says.

    ``length`` is the number of bytes of the body (None: the head does not say), ``admission`` why a plain upload is let
    in (or not); None where it is another kind of request.
    """

    path: str
    headers: Mapping[str, str]
    length: int | None
    admission: Admission | HTTPError | None = None
    keep_alive: bool = False


def read_head(url: bytes, fields: Fields) -> Head:
    """The head of a request with this target and these header fields (names in lower case).

    Raises
    ------
    HTTPError
        400: the target is no path, or a header that must be one is there twice.
    """
    try:
        raw: bytes | None = httptools.parse_url(url).path
        path = unquote(raw.decode("ascii")) if raw else ""
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        path = ""
    if not path.startswith("/"):
        raise HTTPError(400, "the target of the request is no path", "ask for /...", {"connection": "close"})
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
    if len(headers) < len(fields):
        names = [name.decode("latin-1") for name, _ in fields]
        for name in SINGLE:
            if names.count(name) > 1:
                raise HTTPError(400, f"the header {name} is there twice", "send it once", {"connection": "close"})
    length = headers.get("content-length", "")
    return Head(path, headers, int(length) if length.isdigit() else None)


class Heads:
    """Reads heads of POST requests and remembers those of uploads that were let in.

    They are remembered for as long as monitor and tokens stay as they are.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._known: dict[bytes, Head] = {}

    def known(self, text: bytes) -> Head | None:
        """The head that was parsed from exactly these bytes, if its sender would be let in again."""
        head = self._known.get(text)
        return head if head is not None and self._gate.still_holds(cast("Admission", head.admission)) else None

    def find(self, url: bytes, fields: Fields, keep_alive: bool, text: bytes = b"") -> Head:
        """The head of a POST, with its admission where it is a plain upload.

        Parameters
        ----------
        url : bytes
            Target.
        fields : sequence of (bytes, bytes)
            Names, in lower case, and values.
        keep_alive : bool
            Whether the connection goes on after it.
        text : bytes
            What it was parsed from, with the empty line; none if that is not known.

        Raises
        ------
        HTTPError
            As `read_head`.
        """
        head = read_head(url, fields)
        if head.length is None or not SPECIAL.isdisjoint(head.headers) or not is_ingest("POST", head.path):
            return head
        try:
            admission: Admission | HTTPError = self._gate.admit("POST", head.path, head.headers)
        except HTTPError as error:
            admission = error
        head = Head(head.path, head.headers, head.length, admission, keep_alive)
        # The text ends where the parser saw the end only if its lines are the fields. `/` means the only monitor there
        # is: that may change.
        is_text = text.count(b"\n") == text.count(b"\r\n") == len(fields) + 2
        if is_text and isinstance(admission, Admission) and head.path != "/":
            if len(self._known) >= KNOWN_HEADS:
                self._known.clear()
            self._known[text] = head
        return head
