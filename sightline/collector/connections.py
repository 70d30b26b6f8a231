"""How many connections are open at a time, and what becomes of those beyond.

A connection costs a file descriptor and some memory from the moment it is accepted, whether its peer says anything or
not. Beyond the bound those on which nothing happens make room; where all are busy the new one gets a 503.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sightline.collector.limits import HTTPError, Limits
from sightline.collector.metrics import Gauges
from sightline.errors import SightlineError

if TYPE_CHECKING:
    from sightline.collector.connection import BoundedProtocol

logger = logging.getLogger(__name__)

BACKLOG = 256
"""Connections that the system keeps until they are accepted; asyncio may accept all of them before it tells of one."""

MAX_LEAVING = 128
"""Connections that have been refused, or closed for others, and are waited for until their peers know."""

OWN_FILES, MONITOR_FILES = 64, 8
"""Descriptors of the process itself and of each monitor: open segments, files of guards and tokens, folders."""

GROWTH_FILES = 1024
"""For monitors that come to be later."""

LEAST = 8
"""With room for fewer connections it is no use to start."""

LOOK_SECONDS = 0.1
"""So long nothing idle is looked for again where there was none: it costs a look at every connection."""

TELL_SECONDS = 60.0

FULL = {"retry-after": "1", "connection": "close"}


class Connections:
    """The connections of one collector; used by its event loop alone.

    Parameters
    ----------
    limits : Limits
        `max_connections` at most, and fewer where the process may not open as many files.
    monitors : callable
        The number of monitors.
    """

    def __init__(self, limits: Limits, monitors: Callable[[], int]) -> None:
        self._limits, self._monitors = limits, monitors
        self._served: set[BoundedProtocol] = set()
        self._leaving: dict[BoundedProtocol, None] = {}
        self._look_at = self._tell_at = 0.0
        self.refused = self.closed_idle = 0

    def __len__(self) -> int:
        """All that are open, those that are leaving too."""
        return len(self._served) + len(self._leaving)

    def __iter__(self) -> Iterator[BoundedProtocol]:
        """All that are open."""
        return iter((*self._served, *self._leaving))

    @property
    def limit(self) -> int:
        """How many may have a place now."""
        return max(1, min(self._limits.max_connections, open_files() - kept_files(self._monitors())))

    def prepare(self, monitors: int) -> None:
        """Let the process open as many files as it comes to need, as far as the system allows it.

        Parameters
        ----------
        monitors : int
            So many there are now.

        Raises
        ------
        SightlineError
            If hardly a connection could be served.
        """
        kept, most = kept_files(monitors), self._limits.max_connections
        files = raise_open_files(kept + most + GROWTH_FILES)
        if files < kept + min(LEAST, most):
            raise SightlineError(
                f"the process may open {files} files, and {kept} are kept for the log, monitors and new connections",
                fix=f"allow it {kept + most} (ulimit -n, or LimitNOFILE of its service)",
            )
        if files < kept + most:
            text = "%d connections at a time instead of %d: the process may open %d files only"
            logger.warning(text, files - kept, most, files)

    def admit(self, connection: BoundedProtocol, now: float) -> HTTPError | None:
        """Give a new connection a place; the answer to it where there is none.

        Parameters
        ----------
        connection : BoundedProtocol
            The new one.
        now : float
            The event loop's time in seconds.
        """
        limit = self.limit
        if len(self._served) >= limit:
            self._make_room(now, limit)
        if len(self._served) < limit:
            self._served.add(connection)
            return None
        self.refused += 1
        self._leave(connection)
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            logger.warning("%d connections are open: new ones are refused (%d so far)", limit, self.refused)
        return HTTPError(
            503, f"{limit} connections are open, and all are busy", "send again, over fewer connections", FULL
        )

    def discard(self, connection: BoundedProtocol) -> None:
        """It is closed."""
        self._served.discard(connection)
        self._leaving.pop(connection, None)

    def gauges(self) -> Gauges:
        """What `/metrics` tells."""
        name = "sightline_collector_connections"
        yield name, "Open connections that are served.", (), float(len(self._served))
        yield f"{name}_limit", "How many may be served at a time.", (), float(self.limit)
        yield f"{name}_refused_total", "Connections beyond the limit, answered with 503.", (), float(self.refused)
        text = "Idle connections closed to make room for new ones."
        yield f"{name}_closed_idle_total", text, (), float(self.closed_idle)

    def _make_room(self, now: float, limit: int) -> None:
        """Close what has been idle for a while: first those that never asked for anything, then the longest idle."""
        if now < self._look_at:
            return
        quiet = [(each.has_asked, since, each) for each in self._served if (since := each.idle_since()) is not None]
        idle = [one for one in quiet if now - one[1] >= self._limits.min_idle_seconds]
        for _, _, each in sorted(idle, key=lambda one: one[:2])[: 1 + max(0, len(self._served) - limit) + limit // 20]:
            self._served.discard(each)
            self.closed_idle += 1
            self._leave(each)
            each.leave()
        if not idle:
            self._look_at = now + LOOK_SECONDS

    def _leave(self, connection: BoundedProtocol) -> None:
        self._leaving[connection] = None
        if len(self._leaving) > MAX_LEAVING:
            oldest = next(iter(self._leaving))
            del self._leaving[oldest]  # it is closed at once: there is nothing left to wait for
            oldest.abort()


def kept_files(monitors: int) -> int:
    """Descriptors that are not for connections being served."""
    return OWN_FILES + BACKLOG + MAX_LEAVING + MONITOR_FILES * monitors


def open_files() -> int:
    """How many files the process may have open."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def raise_open_files(wanted: int) -> int:
    """Let the process open `wanted` files if the system allows it so many; how many it may open then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _number(soft) < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _number(hard)), hard))
    return open_files()


def _number(limit: int) -> int:
    return 1 << 30 if limit == resource.RLIM_INFINITY else limit
