"""The monitors a collector serves: their specs, logs, recent ids, tokens and guards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from sightline.clock import utc_now
from sightline.collector.auth import TokenFile
from sightline.collector.dedupe import RecentIds
from sightline.collector.limits import Limits
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.log.events import INFERENCES, KINDS, LABELS, InferenceEvent
from sightline.log.recovery import RecoveryReport, recover
from sightline.log.writer import SegmentWriter
from sightline.spec.loader import BrokenMonitor, load_monitors, monitor_files
from sightline.spec.model import MonitorSpec

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """What looks at every logged inference: the row guards.

    First `screen`, then `apply`; the collector's event loop calls both.
    """

    def screen(self, events: Sequence[InferenceEvent], received_at: datetime) -> Any:
        """Look at inferences; nothing is counted yet."""

    def apply(self, findings: Any, received_at: datetime, duplicates: int = 0) -> None:
        """Count what `screen` found, when the events are on disk."""

    def tick(self, now: datetime) -> None:
        """Called about once a second."""

    def close(self, now: datetime) -> None:
        """Called when the collector stops or the monitor is removed."""

    def counts(self) -> Iterable[tuple[str, str, int]]:
        """(column, rule, number) of everything found so far, for ``/metrics``."""
        ...


MakeObserver = Callable[[MonitorSpec, MonitorPaths], Observer]
Clock = Callable[[], datetime]


class ServedMonitor:
    """One monitor with its open segments."""

    def __init__(
        self,
        spec: MonitorSpec,
        paths: MonitorPaths,
        limits: Limits,
        seal_seconds: float,
        observer: Observer | None,
        clock: Clock = utc_now,
    ) -> None:
        self.spec, self.paths, self.limits, self.observer, self.clock = spec, paths, limits, observer, clock
        self.tokens = TokenFile(paths)
        self.recent = {INFERENCES: RecentIds(), LABELS: RecentIds()}
        self.writers = {
            kind: SegmentWriter(
                paths.log, spec.id, kind, max_age_seconds=seal_seconds, max_pending_bytes=limits.max_pending_bytes
            )
            for kind in KINDS
        }

    def recover(self) -> RecoveryReport:
        """Seal what killed processes left open."""
        return recover(self.paths.log)

    def close(self) -> None:
        """Commit and seal everything."""
        for writer in self.writers.values():
            writer.close()
        if self.observer is not None:
            self.observer.close(datetime.now(UTC))


class Registry:
    """Monitors of a home folder by id, kept in step with its YAML files.

    Parameters
    ----------
    home : Home
        Folder with ``monitors/`` and ``data/``.
    limits : Limits
        Limits of the collector.
    seal_seconds : float
        Age at which segments are sealed.
    make_observer : callable, optional
        Makes the guards of a monitor.
    clock : callable, optional
        Gives the time of reception.
    """

    def __init__(
        self,
        home: Home,
        limits: Limits,
        seal_seconds: float = 5.0,
        make_observer: MakeObserver | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.clock = clock
        self.home, self.limits, self.seal_seconds, self.make_observer = home, limits, seal_seconds, make_observer
        self.monitors: dict[str, ServedMonitor] = {}
        self.broken: dict[str, BrokenMonitor] = {}
        self._signature: object = None

    def changed(self) -> bool:
        """Whether any monitor file has changed since the last `load`."""
        return self._sign() != self._signature

    def _sign(self) -> object:
        signature: list[tuple[str, int, int, int]] = []
        for path in monitor_files(self.home):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # removed at this moment: the next look sees it
            signature.append((path.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return signature

    def load(self) -> list[ServedMonitor]:
        """Read the monitor files. Returns monitors that are served no longer, for the caller to close.

        A file that became unreadable keeps its monitor as it was: events must not be lost to a typing mistake.
        """
        signature = self._sign()
        specs, broken = load_monitors(self.home)
        self.broken = {item.path.stem: item for item in broken}
        for item in broken:
            logger.error("monitor file %s is not served as it stands: %s", item.path, item.error)
        served: dict[str, ServedMonitor] = {}
        old: list[ServedMonitor] = []
        for name, monitor in self.monitors.items():
            if name in self.broken or (name in specs and specs[name] == monitor.spec):
                served[name] = monitor
            else:
                old.append(monitor)
        for name, spec in specs.items():
            if name not in served:
                try:
                    served[name] = self._serve(spec)
                except (SightlineError, OSError, ValueError) as error:
                    logger.exception("the monitor %s cannot be served; the others are", name)
                    self.broken[name] = BrokenMonitor(self.home.monitors / f"{name}.yaml", SightlineError(str(error)))
        self.monitors, self._signature = served, signature  # exchanged at once: requests are handled meanwhile
        return old

    def _serve(self, spec: MonitorSpec) -> ServedMonitor:
        paths = self.home.monitor(spec.id)
        observer = None
        if self.make_observer is not None:
            try:
                observer = self.make_observer(spec, paths)
            except (SightlineError, OSError, ValueError):
                logger.exception("the guards of %s cannot be set up; its events are logged without them", spec.id)
        return ServedMonitor(spec, paths, self.limits, self.seal_seconds, observer, self.clock)

    def close(self) -> None:
        """Seal everything."""
        for monitor in self.monitors.values():
            monitor.close()
