"""Threads that wait for delivery (``sync=True``) share batches.

Whoever finds nobody sending sends for all that wait.
"""

from __future__ import annotations

import copy
import threading
from collections import deque

from sightline_client.errors import Refused, SightlineClientError
from sightline_client.transports import HttpTransport, Outcome, PathTransport

SHARED_ROWS = 100
"""Rows per batch at most: for so many the collector tells one by one why it rejected them."""


class _Call:
    """One event, and the thread that waits for it."""

    __slots__ = ("error", "is_settled", "kind", "row", "turn")

    def __init__(self, kind: str, row: bytes) -> None:
        self.kind, self.row = kind, row
        self.turn = threading.Event()
        self.is_settled = False
        self.error: BaseException | None = None


class SharedSender:
    """Sends rows over one transport, one batch at a time; any number of threads may call `send`.

    Parameters
    ----------
    transport : HttpTransport or PathTransport
        Destination.
    batch_size : int
        Rows per batch at most.
    """

    def __init__(self, transport: HttpTransport | PathTransport, batch_size: int) -> None:
        self._transport, self._batch_size = transport, min(batch_size, SHARED_ROWS)
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._is_sending = False

    @property
    def waiting(self) -> int:
        """Calls whose rows are in no batch yet."""
        return len(self._waiting)

    def send(self, kind: str, row: bytes) -> None:
        """Return when this row is durable, whatever becomes of those sent with it.

        Raises
        ------
        SightlineClientError
            It was not logged, or rejected.
        """
        call = _Call(kind, row)
        with self._lock:
            self._waiting.append(call)
            is_first, self._is_sending = not self._is_sending, True
        try:
            if not is_first:
                call.turn.wait()
            if not call.is_settled:
                self._send_for_all()
        finally:
            self._leave(call)
        if call.error is not None:
            raise copy.copy(call.error) from call.error  # an exception of its own for each thread

    def _send_for_all(self) -> None:
        """One batch of one kind from the front of the line; this thread's call is in it, for it is the first."""
        calls: list[_Call] = []
        try:
            with self._lock:
                kind = self._waiting[0].kind
                calls += [call for call in self._waiting if call.kind == kind][: self._batch_size]
                self._waiting = deque(call for call in self._waiting if call not in calls)
            self._deliver(kind, calls)
        finally:
            for call in calls:
                if not call.is_settled:  # the sending thread was interrupted
                    call.error, call.is_settled = SightlineClientError("the event may not have been logged"), True
            for call in calls:
                call.turn.set()
            with self._lock:
                self._pass_on()

    def _deliver(self, kind: str, calls: list[_Call]) -> None:
        outcome, failure = Outcome(0), None
        try:
            outcome = self._transport.send(kind, [call.row for call in calls])
        except SightlineClientError as error:
            failure = error
        except Exception as error:  # one type of error for the callers
            failure = SightlineClientError(f"the event was not logged: {error}")
        for number, call in enumerate(calls):
            if failure is not None:
                call.error = failure
            elif number in outcome.refused:
                call.error = Refused(outcome.refused[number])
            elif number in outcome.reasons or outcome.rejected == len(calls):
                reason = outcome.reasons.get(number, "the reason is in the quarantine")
                call.error = SightlineClientError(
                    f"the collector rejected the event, and keeps it in quarantine: {reason}"
                )
            call.is_settled = True

    def _pass_on(self) -> None:
        """Let the first one that waits send next (the lock is held)."""
        self._is_sending = bool(self._waiting)
        if self._waiting:
            self._waiting[0].turn.set()

    def _leave(self, call: _Call) -> None:
        """A thread that was interrupted while it waited leaves the line; if it was its turn, the next one sends."""
        with self._lock:
            if call in self._waiting:
                self._waiting.remove(call)
                if call.turn.is_set():
                    self._pass_on()
