"""What the pages read: monitors' files and published results, kept in memory until they change.

Nothing is read before a page asks for it, no lock is taken and no database is opened, so a writer never waits.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import polars as pl

from sightline.alerts.listing import listed
from sightline.dashboard.masking import Masking, without_values
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.results.append_only import scan_folders
from sightline.results.evidence import read_evidence
from sightline.results.judgements import JUDGEMENT_SCHEMA, read_judgements
from sightline.results.marks import MARKS, read_marks
from sightline.results.snapshots import read_snapshot
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.dashboards import BrokenDashboard, Dashboard, dashboard_files, load_dashboards
from sightline.spec.loader import BrokenMonitor, load_monitors, monitor_files
from sightline.spec.model import MonitorSpec

ALL = "all"
MOST_BYTES = 128 * 1024 * 1024
"""Of frames that are kept."""
Found = TypeVar("Found")
State = tuple[tuple[str, int, int], ...]
_seen: ContextVar[dict[Hashable, State] | None] = ContextVar("seen", default=None)


class NotFoundError(SightlineError):
    """There is no such thing to show."""


@dataclass(frozen=True)
class Monitors:
    """The monitors of a home: those that can be read, and those that cannot with the reason."""

    specs: dict[str, MonitorSpec]
    broken: tuple[BrokenMonitor, ...]


@dataclass(frozen=True)
class Dashboards:
    """Users' own pages by name: those that can be read, and those that cannot with the reason."""

    pages: dict[str, Dashboard]
    broken: tuple[BrokenDashboard, ...]


class Library:
    """Published results of a home, for many readers at once.

    Parameters
    ----------
    home : Home
    most_bytes : int
        Memory of the frames that are kept; the longest unused go first.
    masking : Masking
        Whose values are shown.
    """

    def __init__(self, home: Home, most_bytes: int = MOST_BYTES, masking: Masking | None = None) -> None:
        self.home = home
        self.masking = masking or Masking()
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[State, Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def monitors(self) -> Monitors:
        """All monitors, read again when a file has changed."""

        def load() -> Monitors:
            specs, broken = load_monitors(self.home, freeze=False)
            return Monitors(dict(specs), tuple(broken))

        return self.kept("monitors", self._once("monitors", self._monitor_state), load)

    def dashboards(self) -> Dashboards:
        """Users' own pages, read again when a file has changed."""

        def load() -> Dashboards:
            pages, broken = load_dashboards(self.home)
            return Dashboards(pages, tuple(broken))

        state = self._once("dashboards", lambda: state_of(dashboard_files(self.home)))
        return self.kept("dashboards", state, load)

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
        spec = self.monitors().specs.get(monitor)
        hidden = () if spec is None else self.masking.hidden(spec)
        key = ("judgements", monitor, start, end, metric, column, asset, segment, version, latest, hidden)

        def load() -> pl.DataFrame:
            found = read_judgements(
                paths, metric, column, start, end, asset=asset, segment=segment, latest=latest
            ).filter(~is_withdrawn())
            found = found if version is None else found.filter(pl.col("model_version") == version)
            return without_values(found, hidden)

        return self.kept(key, self._state(base / asset if asset else base), load)

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

        return self.kept(("names", monitor), self._state(paths.results / "judgements"), load)

    def evidence(self, monitor: str) -> pl.DataFrame:
        """What the alert engine was given."""
        paths = self.paths(monitor)
        state = self._state(paths.results / "evidence")
        return self.kept(("evidence", monitor), state, lambda: read_evidence(paths))

    def snapshot(self, monitor: str, name: str) -> pl.DataFrame | None:
        """A snapshot, or None before it was first written."""
        paths = self.paths(monitor)
        state = state_of([paths.results / "snapshots" / f"{name}.parquet"])
        return self.kept(("snapshot", monitor, name), state, lambda: read_snapshot(paths, name))

    def incidents(self, monitor: str) -> list[dict[str, Any]]:
        """Incidents with their members and what people said, newest first (`sightline.alerts.listing.listed`)."""
        spec, paths = self.spec(monitor), self.paths(monitor)
        snapshots = [paths.results / "snapshots" / f"{name}.parquet" for name in ("incidents", "incident_members")]
        state = state_of([*snapshots, paths.results / "actions.jsonl"])
        return self.kept(("incidents", monitor), state, lambda: listed(spec, paths))

    def marks(self, monitor: str) -> list[dict[str, Any]]:
        """Deployments and other things that were told (`sightline mark`), oldest first."""
        paths = self.paths(monitor)
        state = state_of([paths.results / MARKS])
        return self.kept(("marks", monitor), state, lambda: read_marks(paths).to_dicts())

    def newest_window(self, monitor: str) -> datetime | None:
        """Start of the newest window that was counted."""
        folder = self.paths(monitor).results / "judgements" / "data_quality"
        whole = {"metric": "n_rows", "column": "", "segment": ALL, "model_version": ALL}
        kept = ["window_start", "window_end", "revision", "reason_code"]

        def load() -> datetime | None:
            found = scan_folders([folder], JUDGEMENT_SCHEMA, lambda lazy: lazy.filter(**whole).select(kept))
            latest = found.sort("revision").group_by("window_start", "window_end").last().filter(~is_withdrawn())
            at = latest["window_start"].max()
            return at if isinstance(at, datetime) else None

        return self.kept(("newest", monitor), self._state(folder), load)

    @contextmanager
    def together(self) -> Generator[None]:
        """What is asked for within is of one moment: whether files have changed is looked at once."""
        token = _seen.set({})
        try:
            yield
        finally:
            _seen.reset(token)

    def state(self, monitor: str) -> State:
        """Of all published files of a monitor, and of the monitors' own files."""
        results = self.paths(monitor).results
        own = self._once(("all", monitor), lambda: folder_state(results, ""))
        return (*self._once("monitors", self._monitor_state), *own)

    def _monitor_state(self) -> State:
        return state_of([*monitor_files(self.home), self.home.root / "alerts" / "teams.yaml"])

    def _state(self, folder: Path) -> State:
        return self._once(folder, lambda: folder_state(folder))

    def _once(self, key: Hashable, look: Callable[[], State]) -> State:
        seen = _seen.get()
        if seen is None:
            return look()
        if key not in seen:
            seen[key] = look()
        return seen[key]

    def kept(self, key: Hashable, state: State, load: Callable[[], Found]) -> Found:
        """The kept value where the files are as they were, else a new one.

        Parameters
        ----------
        key : hashable
            What is asked for.
        state : State
            Of the files it is made of (`state_of`).
        load : callable
            Makes it.
        """
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


def state_of(files: list[Path]) -> State:
    """Name, time and size of files; those that are not there are left out."""
    found: list[tuple[str, int, int]] = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(found)


def folder_state(folder: Path, suffix: str = ".parquet") -> State:
    """Name, time and size of the files in a folder and below whose names end in `suffix`."""
    found: list[tuple[str, int, int]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    for entry in entries:
        if entry.is_dir():
            found += folder_state(Path(entry.path), suffix)
        elif entry.name.endswith(suffix):
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            found.append((entry.path, status.st_mtime_ns, status.st_size))
    return tuple(found)


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
