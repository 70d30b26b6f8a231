"""HTTP for the requests that bring events: they are answered without a task, ASGI messages or a timer for each."""

from __future__ import annotations

from sightline.collector.connection import BoundedProtocol
from sightline.collector.limits import HTTPError
from sightline.collector.request_heads import END, KNOWN_HEAD_BYTES


class IngestProtocol(BoundedProtocol):
    """A connection on which plain POST requests to ingest paths go straight to an `Upload`.

    All others go to the ASGI application. Both ways lead through the same `Gate`, `Upload` and bounds. Senders repeat
    their heads byte for byte: one that the parser has read before is looked up, and its body taken by its length.
    """

    _text = b""
    """What the parser reads a head from, if that begins and ends in it."""
    _is_known = False
    """The head of the request that comes in was looked up: the parser knows nothing of it."""

    def parse_some(self) -> None:
        """Make something of what is kept."""
        if self._is_known:
            self._take_body()
            return
        if not (self._in_head or self._in_body):
            end = self._kept.find(END, 0, KNOWN_HEAD_BYTES) + len(END)
            self._text = self._kept[:end] if end >= len(END) else b""
            head = self.collector.heads.known(self._text)
            if head is not None and head.admission is not None:
                self._is_known, self._kept = True, self._kept[end:]
                self.note_head()
                self.begin_exchange(head.path, head.length or 0, head.admission, head.keep_alive)
                self._take_body()
                return
        super().parse_some()

    def _take_body(self) -> None:
        size = self._body_left
        piece, self._kept = (self._kept, b"") if len(self._kept) <= size else (self._kept[:size], self._kept[size:])
        if piece:
            self.on_body(piece)
        if not self._body_left:
            self._is_known = False
            self.on_message_complete()

    def begin_request(self) -> None:
        """The head of a request has been read."""
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            super().begin_request()
            return
        text, self._text = self._text, b""
        keep_alive = bool(self.parser.should_keep_alive())
        try:
            head = self.collector.heads.find(self.url, self.headers, keep_alive, text)
        except HTTPError as error:
            self.begin_exchange("", 0, error, keep_alive)
            return
        if head.admission is None:
            self.begin_asgi(head)
        else:
            self.begin_exchange(head.path, head.length or 0, head.admission, keep_alive)
