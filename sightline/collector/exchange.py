"""One request and its answer, without ASGI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from sightline.collector.admission import Admission, format_of
from sightline.collector.ingest import Upload, problem
from sightline.collector.limits import HTTPError, too_large

if TYPE_CHECKING:
    from sightline.collector.connection import BoundedProtocol


class Exchange:
    """A request that is answered without ASGI: an upload, or what is refused at its head.

    It has the attributes by which uvicorn's protocol knows a request and its answer.

    Parameters
    ----------
    protocol : BoundedProtocol
        Its connection.
    path : str
        What it asks for.
    length : int
        Bytes of its body, as far as they are known.
    what : Admission or HTTPError
        Why it is let in, or not.
    """

    __slots__ = (
        "_length", "_path", "_pieces", "_protocol", "_since", "_upload", "_what", "disconnected", "keep_alive",
        "more_body", "response_complete",
    )  # fmt: skip

    def __init__(
        self, protocol: BoundedProtocol, path: str, length: int, what: Admission | HTTPError, keep_alive: bool
    ) -> None:
        self._protocol, self._path, self._length, self._what = protocol, path, length, what
        self._pieces: list[bytes] = []
        self._upload: Upload | None = None
        self._since = protocol.loop.time()
        self.keep_alive, self.more_body = keep_alive, True
        self.response_complete = self.disconnected = False

    def start(self) -> None:
        """It is its turn."""
        state, what = self._protocol.collector.state, self._what
        refusal = what if isinstance(what, HTTPError) else state.refusal()
        if refusal is None and self._length > state.limits.max_body_bytes:
            refusal = too_large(state.limits.max_body_bytes)
        if refusal is not None:
            state.metrics.note(format_of(self._path), refusal.status, self._protocol.loop.time() - self._since)
            self.respond(refusal.status, problem(refusal), refusal.headers)
            return
        self._upload = Upload(state, cast("Admission", what), self.respond)
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            self.add(piece)
        if not self.more_body:
            self.complete()

    def add(self, piece: bytes) -> None:
        """Bytes of its body."""
        if self._upload is None:
            self._pieces.append(piece)  # of `STEP_BYTES` at most: the parser gets no more before its turn
            return
        try:
            self._upload.add(piece)
        except HTTPError as error:
            self._upload.fail(error)

    def complete(self) -> None:
        """Its body is here."""
        self.more_body = False
        if self._upload is not None and not self.response_complete:
            self._upload.complete()

    def time_out(self, error: HTTPError) -> None:
        """Its body has not come in time."""
        if self._upload is not None:
            self._upload.fail(error)

    def abandon(self) -> None:
        """The peer has gone; what it had sent whole is logged all the same."""
        self.disconnected = True
        if self._upload is not None and self.more_body and not self.response_complete:
            self._upload.abandon()

    def respond(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Answer."""
        self.response_complete = True
        if self.more_body and self._length > self._protocol.limits.max_drained_bytes:
            self.keep_alive = False
        self.keep_alive &= headers.get("connection") != "close"
        if not self.disconnected:
            self._protocol.answer(status, content, headers, self.keep_alive)
