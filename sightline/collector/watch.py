"""Shows logged inferences to the row guards: after their requests are answered, and those of many small requests at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sightline.collector.metrics import Metrics
from sightline.collector.monitors import ServedMonitor
from sightline.log.events import InferenceEvent

logger = logging.getLogger(__name__)

LOOK_EVENTS = 1000
"""So many events are looked at without a pause (a few milliseconds); then requests come first."""

TOGETHER = timedelta(seconds=1)
"""Requests that came in further apart are looked at apart."""


@dataclass(slots=True)
class _Arrival:
    monitor: ServedMonitor
    events: Sequence[InferenceEvent]
    received_at: datetime
    duplicates: int

    def goes_with(self, other: _Arrival) -> bool:
        """May both be shown as one batch? They came in at about the same time, and in the same window of any schedule."""
        ours, theirs = self.received_at, other.received_at
        return self.monitor is other.monitor and ours.hour == theirs.hour and abs(ours - theirs) < TOGETHER


class Watch:
    """Keeps what the guards have not seen yet; used by the collector's event loop alone.

    Parameters
    ----------
    metrics : Metrics
        Counts the failures of guards.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: deque[_Arrival] = deque()

    def add(
        self, monitor: ServedMonitor, events: Sequence[InferenceEvent], received_at: datetime, duplicates: int
    ) -> None:
        """Inferences of one request are on disk: the guards see them as soon as the answers at hand are given."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._look)
        self._waiting.append(_Arrival(monitor, events, received_at, duplicates))

    def finish(self) -> None:
        """Show everything that still waits."""
        while self._waiting:
            self._look_once()

    def _look(self) -> None:
        if self._waiting:
            self._look_once()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._look)

    def _look_once(self) -> None:
        first = self._waiting.popleft()
        events, duplicates = list(first.events), first.duplicates
        while self._waiting and len(events) < LOOK_EVENTS and self._waiting[0].goes_with(first):
            arrival = self._waiting.popleft()
            events += arrival.events
            duplicates += arrival.duplicates
        if len(events) > LOOK_EVENTS:
            self._waiting.appendleft(_Arrival(first.monitor, events[LOOK_EVENTS:], first.received_at, 0))
            del events[LOOK_EVENTS:]
        monitor = first.monitor
        if monitor.observer is not None:
            try:
                monitor.observer.observe(events, first.received_at, duplicates)
            except Exception:  # the events are logged and answered: a guard's defect must not stop the collector
                self._metrics.observer_errors += 1
                logger.exception("a guard of %s failed on a batch", monitor.spec.id)
