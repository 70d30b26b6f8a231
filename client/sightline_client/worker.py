"""The thread between the request path and the destination.

Bounded queue in, batches out, spool and backoff in between.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import sys
import threading
import time
from collections import deque
from typing import Any, Callable

from sightline_client.errors import Unavailable
from sightline_client.rows import Row
from sightline_client.spool import Spool
from sightline_client.transports import KINDS, HttpTransport, PathTransport

logger = logging.getLogger("sightline_client")

FIRST_BACKOFF_SECONDS = 0.25
MAX_BACKOFF_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 300.0
REPLAY_SECONDS = 0.2
"""How long one round may replay before the queue is looked after again."""

ORPHAN_CHECK_SECONDS = 30.0
MAX_EVENT_BYTES = 32 * 1024 * 1024
"""No collector takes a larger one, and no frame of a segment has room for one."""

YIELD_EVENTS = 16
"""After encoding so many events the thread lets the others run: a request waits for about 0.2 ms of encoding at most.
"""

Batch = tuple[str, list[bytes]]


class Ticket:
    """Placed in the queue behind events: done when all of them are settled."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = threading.Event()


class Counters:
    """Numbers of events, changed by the worker's thread alone.

    Each event it takes becomes sent, spooled, refused or dropped.
    """

    def __init__(self) -> None:
        self.sent = self.spooled = self.refused = self.dropped = 0
        self.replayed = self.refused_later = self.duplicate = self.rejected = self.failures = 0


class Worker:
    """Takes entries from `queue`, encodes them, and delivers them in order.

    Parameters
    ----------
    transport : HttpTransport or PathTransport
        Destination.
    spool : Spool or None
        Where events wait while the destination is away; None: in memory, within the queue's bound.
    encode : callable
        Queue entry -> list of ``(kind, JSON bytes)``, or None if that is impossible; must not raise.
    batch_size : int
        Events per batch at most.
    interval : float
        Seconds after which also a small batch goes out.
    exit_timeout : float
        Seconds the end of the process may wait for what is queued.
    """

    def __init__(
        self,
        transport: HttpTransport | PathTransport,
        spool: Spool | None,
        encode: Callable[[Any], list[Row] | None],
        batch_size: int,
        interval: float,
        exit_timeout: float,
    ) -> None:
        self.transport, self.spool, self.encode = transport, spool, encode
        self.batch_size, self.interval, self.exit_timeout = batch_size, interval, exit_timeout
        self._reset()

    def _reset(self) -> None:
        self.queue: deque[Any] = deque()
        self.wake = threading.Event()
        self.counters = Counters()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = self._has_told = False
        self._tickets_put = self._tickets_taken = 0
        self._held: list[Batch] = []
        self._in_hand: list[Batch] = []
        self._held_tickets: list[Ticket] = []
        self._attempts = 0
        self._next_attempt = 0.0
        self._next_orphan_check = 0.0

    def forget_after_fork(self) -> None:
        """In a forked child: the parent's thread, queue, connection and files are not ours."""
        self._reset()
        self.transport.forget()
        if self.spool is not None:
            self.spool.forget()

    @property
    def is_running(self) -> bool:
        """Whether the thread has been started in this process."""
        return self._thread is not None

    @property
    def waiting(self) -> int:
        """Events that are neither delivered nor spooled."""
        in_memory = [*self._held, *self._in_hand]
        return sum(len(rows) for _, rows in in_memory) + len(self.queue) - (self._tickets_put - self._tickets_taken)

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._lock:
            if self._thread is None:
                _arrange_exit()
                self._thread = threading.Thread(target=self._run, name="sightline-client", daemon=True)
                self._thread.start()
                _running.add(self)

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything queued so far is delivered or spooled.

        Returns False if that was not so after `timeout` seconds.
        """
        if self._thread is None or not self._thread.is_alive():
            return self.waiting == 0
        ticket = Ticket()
        with self._lock:
            self._tickets_put += 1
            self.queue.append(ticket)
        self.wake.set()
        return ticket.done.wait(timeout)

    def ask_to_end(self) -> None:
        """Let the thread deliver or spool what is queued and then end; do not wait for it."""
        self._stopping = True
        self.wake.set()

    def end(self, timeout: float) -> None:
        """Deliver or spool what is queued and end the thread.

        If it hangs in a connection for `timeout` seconds, spool the rest here.
        """
        self.ask_to_end()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                self.rescue()
        if self.waiting and not self._has_told:
            self._has_told = True  # the end of the process comes here again
            logger.warning("%d events were not delivered before the end and are lost", self.waiting)

    def rescue(self) -> None:
        """Spool what the thread has not delivered (some of it twice).

        This is for the end of the process, when the thread hangs in a connection.
        """
        if self.spool is None:
            return
        spool = Spool(self.spool.folder, self.spool.monitor, self.spool.max_bytes)
        batches, _ = self._take(len(self.queue))
        dropped = self.counters.dropped
        try:
            for kind, rows in [*self._in_hand, *self._held, *batches]:
                if spool.append(kind, rows):
                    self.counters.spooled += len(rows)
                else:
                    self.counters.dropped += len(rows)
            self._in_hand, self._held = [], []
            spool.seal()
        except OSError as error:
            logger.warning("cannot write the spool at the end: %s", error)
        if self.counters.dropped > dropped:
            logger.warning("the spool is full: %d events are lost", self.counters.dropped - dropped)

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not (self._stopping and not self.queue and not self._held):
                self.wake.wait(self._pause())
                self.wake.clear()
                self._round()
        except Exception:  # a defect in here must never reach the application; what is not delivered counts as waiting
            logger.exception("the logging thread has ended: events are not delivered any more")
        finally:
            if self.spool is not None:
                self.spool.seal()
            self.transport.close()
            _running.discard(self)

    def _pause(self) -> float:
        if self._held:
            return max(0.0, self._next_attempt - time.monotonic())
        if self._stopping:
            return 0.0
        if self.spool is not None and self.spool.has_own_backlog:
            return min(self.interval, max(0.0, self._next_attempt - time.monotonic()))
        return self.interval

    def _round(self) -> None:
        self.transport.tick()
        self._replay_if_due()
        self._retry_held()
        is_first = True
        while self.queue and not self._held and (is_first or self._is_urgent() or len(self.queue) >= self.batch_size):
            is_first = False
            self._in_hand, tickets = self._take(self.batch_size)
            while self._in_hand:
                self._deliver(*self._in_hand[0])
                self._in_hand.pop(0)
            if self._held:
                self._held_tickets += tickets
            else:
                _finish(tickets)
            self._replay_if_due()

    def _is_urgent(self) -> bool:
        return self._stopping or self._tickets_put != self._tickets_taken

    def _take(self, size: int) -> tuple[list[Batch], list[Ticket]]:
        """One batch per kind from the front of the queue, and the tickets that are due when these are settled."""
        rows: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
        tickets: list[Ticket] = []
        count = 0
        while self.queue and (count < size or isinstance(self.queue[0], Ticket)):
            entry = self.queue.popleft()
            if isinstance(entry, Ticket):
                self._tickets_taken += 1
                tickets.append(entry)
                continue
            encoded = self.encode(entry)
            count += 1
            if encoded is None:
                self.counters.dropped += 1
                continue
            for kind, row in encoded:
                if len(row) <= MAX_EVENT_BYTES:
                    rows[kind].append(row)
                else:
                    self.counters.refused += 1
                    self._keep_refused(kind, [(row, f"the event has {len(row)} bytes; at most {MAX_EVENT_BYTES}")])
            if count % YIELD_EVENTS == 0:
                time.sleep(0)
        return [(kind, batch) for kind, batch in rows.items() if batch], tickets

    # ---- delivery ----------------------------------------------------------------------------------------------------

    def _deliver(self, kind: str, rows: list[bytes]) -> None:
        if self._held:
            self._held.append((kind, rows))
            return
        is_away = time.monotonic() < self._next_attempt
        if not is_away and not (self.spool is not None and self.spool.has_own_backlog):
            try:
                refused = self._send(kind, rows)
                self.counters.sent += len(rows) - refused
                self.counters.refused += refused
                return
            except Unavailable as error:
                self._back_off(error)
        if not self._to_spool(kind, rows):
            self._held.append((kind, rows))

    def _send(self, kind: str, rows: list[bytes]) -> int:
        """Send a batch; returns how many of its rows the collector will never take."""
        outcome = self.transport.send(kind, rows)
        self.counters.duplicate += outcome.duplicate
        self.counters.rejected += outcome.rejected
        if self._attempts:
            logger.warning("events are delivered again after %d failures", self._attempts)
        self._attempts, self._next_attempt = 0, 0.0
        self._keep_refused(kind, [(rows[number], reason) for number, reason in outcome.refused.items()])
        return len(outcome.refused)

    def _send_spooled(self, kind: str, rows: list[bytes]) -> None:
        refused = self._send(kind, rows)
        self.counters.replayed += len(rows) - refused
        self.counters.refused_later += refused

    def _keep_refused(self, kind: str, refused: list[tuple[bytes, str]]) -> None:
        """Set aside what can never be sent, so that it holds up nothing and its sender can look at it."""
        if not refused:
            return
        kept = None
        if self.spool is not None:
            try:
                kept = self.spool.set_aside(kind, refused)
            except OSError as error:
                logger.warning("refused events cannot be written down: %s", error)
        where = f"they are kept in {kept}" if kept else "they are lost"
        logger.error("%d events were refused for good, %s: %s", len(refused), where, refused[0][1])

    def _back_off(self, error: Exception) -> None:
        self._attempts += 1
        self.counters.failures += 1
        limit = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(self._attempts, 10))
        delay = max(0.05, random.uniform(0.0, limit))  # noqa: S311 (spreads retries, guards nothing)
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            delay = min(MAX_RETRY_AFTER_SECONDS, max(delay, asked))
        self._next_attempt = time.monotonic() + delay
        if self._attempts == 1:
            where = "on disk" if self.spool is not None else "in memory"
            logger.warning("events cannot be delivered and wait %s: %s", where, error)

    def _to_spool(self, kind: str, rows: list[bytes]) -> bool:
        if self.spool is None:
            return False
        try:
            if not self.spool.append(kind, rows):
                return False
        except OSError as error:
            self._back_off(Unavailable(f"cannot write the spool: {error}"))
            return False
        self.counters.spooled += len(rows)
        return True

    def _retry_held(self) -> None:
        if not self._held or (time.monotonic() < self._next_attempt and not self._stopping):
            return
        held, self._held = self._held, []
        for kind, rows in held:
            self._deliver(kind, rows)
        if not self._held:
            _finish(self._held_tickets)
            self._held_tickets = []

    def _replay_if_due(self) -> None:
        now = time.monotonic()
        if self.spool is None or now < self._next_attempt:
            return
        if not self.spool.has_own_backlog:
            if now < self._next_orphan_check or self._stopping:
                return
            self._next_orphan_check = now + ORPHAN_CHECK_SECONDS
            if not self.spool.has_segments:
                return
        deadline = now + REPLAY_SECONDS
        try:
            if not self.spool.replay(self._send_spooled, lambda: time.monotonic() >= deadline):
                self._next_orphan_check = 0.0
        except Unavailable as error:
            self._back_off(error)
        except OSError as error:
            self._back_off(Unavailable(f"cannot read the spool: {error}"))


def _finish(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.done.set()


_running: set[Worker] = set()
"""Workers whose thread runs: they outlive a client that nobody refers to any more, until their queue is empty."""

_exit_arranged_for = 0


def _arrange_exit() -> None:
    """Flush at the end of this process.

    Children of multiprocessing do not run atexit in all versions, but its finalizers.
    """
    global _exit_arranged_for  # noqa: PLW0603 (once per process, also in forked ones)
    if _exit_arranged_for == os.getpid():
        return
    _exit_arranged_for = os.getpid()
    atexit.register(_end_all)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _end_all, exitpriority=100)


def _end_all() -> None:
    for worker in list(_running):
        worker.end(worker.exit_timeout)


def forget_all_after_fork() -> None:
    """In a forked child none of the parent's threads run."""
    _running.clear()
