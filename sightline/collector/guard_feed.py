"""Shows inferences to the row guards, those of many small requests at once.

They are counted after their requests are answered.
"""

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
from sightline.spec.shadows import is_shadow

logger = logging.getLogger(__name__)

LOOK_EVENTS = 1000
"""So many events are looked at without a pause (a few milliseconds); then requests come first."""

TOGETHER = timedelta(seconds=1)
"""Requests that came in further apart are looked at apart."""


@dataclass(slots=True)
class Sighting:
    """The inferences of one request on their way past the guards: as events, or as what was found in them already."""

    monitor: ServedMonitor
    events: Sequence[InferenceEvent]
    received_at: datetime
    duplicates: int
    is_screened: bool = False
    findings: Any = None

    def goes_with(self, other: Sighting) -> bool:
        """Whether both may be shown as one batch.

        They must have come in at about the same time, and in the same window of any schedule.
        """
        ours, theirs = self.received_at, other.received_at
        is_near = self.monitor is other.monitor and ours.hour == theirs.hour and abs(ours - theirs) < TOGETHER
        return is_near and not self.is_screened


class GuardFeed:
    """Knows what the guards have not counted yet; used by the collector's event loop alone.

    Parameters
    ----------
    metrics : Metrics
        Counts the failures of guards.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: deque[Sighting] = deque()

    def begin(
        self, monitor: ServedMonitor, events: Sequence[InferenceEvent], received_at: datetime, duplicates: int
    ) -> Sighting:
        """Inferences were parsed.

        Batches are looked at now, while the processor's cache holds them; single events later, together.
        """
        sighting = Sighting(monitor, events, received_at, duplicates)
        if COLUMNS_FROM <= len(events) <= LOOK_EVENTS:
            self._screen(sighting)
        return sighting

    def add(self, sighting: Sighting) -> None:
        """They are on disk: their guards see and count them as soon as the answers at hand are given."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._look)
        self._waiting.append(sighting)

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
        sighting = self._waiting.popleft()
        if not sighting.is_screened:
            self._gather(sighting)
            self._screen(sighting)
        monitor = sighting.monitor
        if monitor.observer is not None and sighting.findings is not None:
            try:
                monitor.observer.apply(sighting.findings, sighting.received_at, sighting.duplicates)
            except Exception:
                self._note_defect(monitor)

    def _gather(self, sighting: Sighting) -> None:
        """Join those that wait behind it, or leave some for later, so that `LOOK_EVENTS` are looked at."""
        events = list(sighting.events)
        while self._waiting and len(events) < LOOK_EVENTS and self._waiting[0].goes_with(sighting):
            other = self._waiting.popleft()
            events += other.events
            sighting.duplicates += other.duplicates
        if len(events) > LOOK_EVENTS:
            self._waiting.appendleft(Sighting(sighting.monitor, events[LOOK_EVENTS:], sighting.received_at, 0))
        sighting.events = events[:LOOK_EVENTS]

    def _screen(self, sighting: Sighting) -> None:
        sighting.is_screened = True
        if sighting.monitor.observer is not None:
            try:
                events, at, spec = sighting.events, sighting.received_at, sighting.monitor.spec
                if spec.shadow_ends:
                    events = [event for event in events if not is_shadow(spec, event.version, event.at or at)]
                sighting.findings = sighting.monitor.observer.screen(events, at)
            except Exception:
                self._note_defect(sighting.monitor)
        sighting.events = ()

    def _note_defect(self, monitor: ServedMonitor) -> None:
        """A guard has failed. Events are logged and answered all the same."""
        self._metrics.observer_errors += 1
        logger.exception("a guard of %s failed on a batch", monitor.spec.id)
