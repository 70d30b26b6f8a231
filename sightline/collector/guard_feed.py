"""Shows inferences to the row guards, those of many small requests at once; counted they are after their requests are answered."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sightline.collector.metrics import Metrics
from sightline.collector.monitors import ServedMonitor
from sightline.collector.screening import COLUMNS_FROM
from sightline.log.events import InferenceEvent

logger = logging.getLogger(__name__)

LOOK_EVENTS = 1000
"""So many events are looked at without a pause (a few milliseconds); then requests come first."""

TOGETHER = timedelta(seconds=1)
"""Requests that came in further apart are looked at apart."""


@dataclass(slots=True)
class Sight:
    """The inferences of one request on their way past the guards: as events, or as what was found in them already."""

    monitor: ServedMonitor
    events: Sequence[InferenceEvent]
    received_at: datetime
    duplicates: int
    is_screened: bool = False
    findings: Any = None

    def goes_with(self, other: Sight) -> bool:
        """May both be shown as one batch? They came in at about the same time, and in the same window of any schedule."""
        ours, theirs = self.received_at, other.received_at
        is_near = self.monitor is other.monitor and ours.hour == theirs.hour and abs(ours - theirs) < TOGETHER
        return is_near and not self.is_screened


class Watch:
    """Knows what the guards have not counted yet; used by the collector's event loop alone.

    Parameters
    ----------
    metrics : Metrics
        Counts the failures of guards.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: deque[Sight] = deque()

    def begin(
        self, monitor: ServedMonitor, events: Sequence[InferenceEvent], received_at: datetime, duplicates: int
    ) -> Sight:
        """Inferences were parsed. Batches are looked at now, while the processor's cache holds them; single events later, together."""
        sight = Sight(monitor, events, received_at, duplicates)
        if COLUMNS_FROM <= len(events) <= LOOK_EVENTS:
            self._screen(sight)
        return sight

    def add(self, sight: Sight) -> None:
        """They are on disk: their guards see and count them as soon as the answers at hand are given."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._look)
        self._waiting.append(sight)

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
        sight = self._waiting.popleft()
        if not sight.is_screened:
            self._gather(sight)
            self._screen(sight)
        monitor = sight.monitor
        if monitor.observer is not None and sight.findings is not None:
            try:
                monitor.observer.apply(sight.findings, sight.received_at, sight.duplicates)
            except Exception:
                self._note_defect(monitor)

    def _gather(self, sight: Sight) -> None:
        """Join those that wait behind it, or leave some for later, so that `LOOK_EVENTS` are looked at."""
        events = list(sight.events)
        while self._waiting and len(events) < LOOK_EVENTS and self._waiting[0].goes_with(sight):
            other = self._waiting.popleft()
            events += other.events
            sight.duplicates += other.duplicates
        if len(events) > LOOK_EVENTS:
            self._waiting.appendleft(Sight(sight.monitor, events[LOOK_EVENTS:], sight.received_at, 0))
        sight.events = events[:LOOK_EVENTS]

    def _screen(self, sight: Sight) -> None:
        sight.is_screened = True
        if sight.monitor.observer is not None:
            try:
                sight.findings = sight.monitor.observer.screen(sight.events, sight.received_at)
            except Exception:
                self._note_defect(sight.monitor)
        sight.events = ()

    def _note_defect(self, monitor: ServedMonitor) -> None:
        """A guard has failed. Events are logged and answered all the same."""
        self._metrics.observer_errors += 1
        logger.exception("a guard of %s failed on a batch", monitor.spec.id)
