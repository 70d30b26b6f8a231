"""What the pages read: monitors' files and published results, kept in memory until they change.

Nothing is read before a page asks for it, no lock is taken and no database is opened, so a writer never waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import polars as pl

from sightline.alerts.listing import listed
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.results.append_only import scan_folders
from sightline.results.evidence import read_evidence
from sightline.results.judgements import JUDGEMENT_SCHEMA, read_judgements
from sightline.results.marks import MARKS, read_marks
from sightline.results.snapshots import read_snapshot
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.loader import BrokenMonitor, load_monitors, monitor_files
from sightline.spec.model import MonitorSpec

ALL = "all"
MOST_BYTES = 128 * 1024 * 1024
"""Of frames that are kept."""
Found = TypeVar("Found")
State = tuple[tuple[str, int, int], ...]


class NotFoundError(SightlineError):
    """There is no such thing to show."""


@dataclass(frozen=True)
class Monitors:
    """The monitors of a home: those that can be read, and those that cannot with the reason."""

    specs: dict[str, MonitorSpec]
    broken: tuple[BrokenMonitor, ...]


class Library:
    """Published results of a home, for many readers at once.

    Parameters
    ----------
    home : Home
    most_bytes : int
        Memory of the frames that are kept; the longest unused go first.
    """

    def __init__(self, home: Home, most_bytes: int = MOST_BYTES) -> None:
        self.home = home
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[State, Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def monitors(self) -> Monitors:
        """All monitors, read again when a file has changed."""
        files = [*monitor_files(self.home), self.home.root / "alerts" / "teams.yaml"]

        def load() -> Monitors:
            specs, broken = load_monitors(self.home, freeze=False)
            return Monitors(dict(specs), tuple(broken))

        return self._through("monitors", _state(files), load)

    def spec(self, monitor: str) -> MonitorSpec:
        """A monitor.

        Raises
        ------
        KeyError
            There is none of this name, or its file has mistakes.
        """
        return self.monitors().specs[monitor]

    def paths(self, monitor: str) -> MonitorPaths:
        """Where a monitor's data are."""
        return self.home.monitor(monitor)

    def judgements(
        self,
        monitor: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        metric: str | None = None,
        column: str | None = None,
        asset: str | None = None,
        segment: str | None = ALL,
        version: str | None = ALL,
        latest: bool = True,
    ) -> pl.DataFrame:
        """Newest judgements of windows in ``[start, end)``, without withdrawn ones; None: any."""
        paths = self.paths(monitor)
        base = paths.results / "judgements"
        key = ("judgements", monitor, start, end, metric, column, asset, segment, version, latest)

        def load() -> pl.DataFrame:
            found = read_judgements(
                paths, metric, column, start, end, asset=asset, segment=segment, latest=latest
            ).filter(~is_withdrawn())
            return found if version is None else found.filter(pl.col("model_version") == version)

        return self._through(key, _folder_state(base / asset if asset else base), load)

    def names(self, monitor: str) -> pl.DataFrame:
        """What is judged: distinct ``metric, column, segment, model_version``."""
        paths = self.paths(monitor)
        columns = ["metric", "column", "segment", "model_version"]

        def load() -> pl.DataFrame:
            base = paths.results / "judgements"
            folders = sorted(f for f in base.iterdir() if f.is_dir()) if base.is_dir() else []
            found = scan_folders(
                folders, JUDGEMENT_SCHEMA, lambda lazy: lazy.filter(~is_withdrawn()).select(columns).unique()
            )
            return found.sort(columns)

        return self._through(("names", monitor), _folder_state(paths.results / "judgements"), load)

    def evidence(self, monitor: str) -> pl.DataFrame:
        """What the alert engine was given."""
        paths = self.paths(monitor)
        state = _folder_state(paths.results / "evidence")
        return self._through(("evidence", monitor), state, lambda: read_evidence(paths))

    def snapshot(self, monitor: str, name: str) -> pl.DataFrame | None:
        """A snapshot, or None before it was first written."""
        paths = self.paths(monitor)
        state = _state([paths.results / "snapshots" / f"{name}.parquet"])
        return self._through(("snapshot", monitor, name), state, lambda: read_snapshot(paths, name))

    def incidents(self, monitor: str) -> list[dict[str, Any]]:
        """Incidents with their members and what people said, newest first (`sightline.alerts.listing.listed`)."""
        spec, paths = self.spec(monitor), self.paths(monitor)
        snapshots = [paths.results / "snapshots" / f"{name}.parquet" for name in ("incidents", "incident_members")]
        state = _state([*snapshots, paths.results / "actions.jsonl"])
        return self._through(("incidents", monitor), state, lambda: listed(spec, paths))

    def marks(self, monitor: str) -> list[dict[str, Any]]:
        """Deployments and other things that were told (`sightline mark`), oldest first."""
        paths = self.paths(monitor)
        state = _state([paths.results / MARKS])
        return self._through(("marks", monitor), state, lambda: read_marks(paths).to_dicts())

    def newest_window(self, monitor: str) -> datetime | None:
        """Start of the newest window that was counted."""
        found = self.judgements(monitor, metric="n_rows", asset="data_quality")
        at = found["window_start"].max()
        return at if isinstance(at, datetime) else None

    def _through(self, key: Hashable, state: State, load: Callable[[], Found]) -> Found:
        """The kept value where the files are as they were, else a new one."""
        with self._lock:
            known = self._kept.get(key)
            if known is not None and known[0] == state:
                self._kept.move_to_end(key)
                return cast("Found", known[1])
        found = load()
        size = 2_000 + (int(found.estimated_size()) if isinstance(found, pl.DataFrame) else 8_000)
        with self._lock:
            replaced = self._kept.pop(key, None)
            self._bytes += size - (replaced[2] if replaced else 0)
            self._kept[key] = (state, found, size)
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                _, (_, _, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
        return found


def _state(files: list[Path]) -> State:
    """Name, time and size of files; those that are not there are left out."""
    found: list[tuple[str, int, int]] = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)


def _folder_state(folder: Path) -> State:
    return _state(sorted(folder.rglob("*.parquet"))) if folder.is_dir() else ()


def known_monitor(library: Library, monitor: str) -> MonitorSpec:
    """A monitor that a page is about.

    Raises
    ------
    SightlineError
        There is none of this name; or its file has mistakes, which are told.
    """
    monitors = library.monitors()
    if monitor in monitors.specs:
        return monitors.specs[monitor]
    for broken in monitors.broken:
        if broken.path.stem == monitor:
            raise SightlineError(str(broken.error), where=str(broken.path))
    raise NotFoundError(f"there is no monitor {monitor!r}", fix="see the overview for those there are")
