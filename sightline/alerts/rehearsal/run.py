"""The rehearsal of a monitor: its history replayed under several budgets, as it was and with changes put into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import sightline
from metrics_py.alerting import EngineConfig, replay
from metrics_py.alerting.engine import STATE_VERSION
from metrics_py.alerting.rehearsal import Rate, Start, alerts_after, starts_of
from sightline.alerts import decisions
from sightline.alerts.rehearsal.injections import Aggregates, Injection, planned, read_aggregates
from sightline.durable import exclusive
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.results.actions import read_actions
from sightline.results.evidence import read_evidence
from sightline.results.snapshots import read_snapshot
from sightline.spec.budget import Budget
from sightline.spec.model import MonitorSpec
from sightline.warehouse.connection import connect
from sightline.warehouse.reference import load_reference

HORIZON = {"hourly": 168, "daily": 60, "weekly": 16}
"""Windows that a change is watched for."""
SEED = 20
PRICE = ("incidents", "days", "known")
ANSWERS = ("acknowledge", "accept", "fixed")
Span = tuple[datetime, datetime]
Measured = Mapping[str, float | None]


@dataclass(frozen=True)
class Price:
    """What a budget costs: incidents while nothing is known to have changed.

    Parameters
    ----------
    budget : Budget
    history : Rate
        Incidents of the replayed history outside of what is known to be real.
    known : int
        Incidents inside of it.
    """

    budget: Budget
    history: Rate
    known: int


@dataclass(frozen=True)
class Delay:
    """How soon one change is told under one budget.

    Parameters
    ----------
    budget : Budget
    injection : Injection
    days : tuple of (float or None)
        One per start at which it could be tried: days from the begin of the change to the end of the window with which
        it was told; None where it was not within the horizon.
    n_not_possible : int
        Starts at which no stream of any target could alarm.
    """

    budget: Budget
    injection: Injection
    days: tuple[float | None, ...]
    n_not_possible: int

    @property
    def found(self) -> float | None:
        """Share of the starts at which it was told; None where it could not be tried."""
        return sum(day is not None for day in self.days) / len(self.days) if self.days else None

    @property
    def median(self) -> float | None:
        """Median of the days; None where it was told at less than half of the starts."""
        told = sorted(float("inf") if day is None else day for day in self.days)
        if not told:
            return None
        middle = float(np.median(told)) if len(told) % 2 or np.isfinite(told[len(told) // 2]) else float("inf")
        return middle if np.isfinite(middle) else None


@dataclass(frozen=True)
class Rehearsal:
    """Result of `rehearse`.

    Parameters
    ----------
    monitor : str
    first, last : datetime
        Windows of the history that could alarm.
    known : tuple of (datetime, datetime)
        Time in which something is known to have changed.
    starts : tuple of datetime
        Where changes began.
    horizon : timedelta
        How long each was watched.
    prices : tuple of Price
    delays : tuple of Delay
    """

    monitor: str
    first: datetime
    last: datetime
    known: tuple[Span, ...]
    starts: tuple[datetime, ...]
    horizon: timedelta
    prices: tuple[Price, ...]
    delays: tuple[Delay, ...]


Progress = Callable[[str, int, int], None]
"""Called with what is done, how many of the steps are done, and of how many."""


def rehearse(
    spec: MonitorSpec,
    paths: MonitorPaths,
    budgets: Sequence[Budget],
    *,
    n_starts: int = 12,
    known: Sequence[Span] = (),
    progress: Progress | None = None,
) -> Rehearsal:
    """Replay a monitor's history under several budgets, as it was and with changes put into it.

    Parameters
    ----------
    spec, paths
        The monitor; worked up windows are needed, nothing else: no row is read.
    budgets : sequence of Budget
    n_starts : int, default 12
        Windows, spread over the history, with which each change begins once.
    known : sequence of (datetime, datetime)
        Further time in which something really changed (naive UTC), beside incidents that somebody answered.
    progress : callable
        See `Progress`.

    Returns
    -------
    Rehearsal
        What has been found is kept in ``results/rehearsal/``: a rehearsal that was stopped goes on where it stood, as
        long as evidence, reference and settings are the same.

    Raises
    ------
    SightlineError
        There is no reference, or too short a history.
    """
    log = decisions.log_of(spec, read_evidence(paths))
    first, last, starts = _calendar(spec, log, n_starts)
    reference = load_reference(paths)
    if reference is None:
        where, fix = str(paths.reference), f"`sightline backfill {spec.id}` makes it"
        raise SightlineError(f"{spec.id} has no reference yet", where=where, fix=fix)
    with connect(paths, read_only=True) as con:
        world = read_aggregates(spec, paths, con, reference, log)
    spans = (*_answered(paths, last), *known)
    injections = [each for each in planned(spec, world.profiles) if world.targets(each)]
    total = len(budgets) * (1 + len(injections) * len(starts))
    prices: list[Price] = []
    delays: list[Delay] = []
    done, say = 0, progress or _silent
    with _kept(spec, paths, log, reference.id) as kept:
        for budget in budgets:
            config = _with_budget(spec, budget)
            say(f"budget {budget}: quiet time", done, total)
            prices.append(_price(spec, config, budget, log, first, spans, kept))
            done += 1
            trial = _Trial(spec, config, str(budget), world, starts, kept)
            for injection in injections:
                say(f"budget {budget}: {injection.words}", done, total)
                days = [trial.days(injection, n) for n in range(len(starts))]
                tried = tuple(None if day == _NEVER else day for day in days if day is not None)
                delays.append(Delay(budget, injection, tried, days.count(None)))
                done += len(starts)
    say("done", total, total)
    horizon = HORIZON[spec.schedule] * spec.window
    return Rehearsal(spec.id, first, last, spans, tuple(starts), horizon, tuple(prices), tuple(delays))


def _silent(what: str, done: int, total: int) -> None:
    """Nobody looks."""


def _with_budget(spec: MonitorSpec, budget: Budget) -> EngineConfig:
    alerts = spec.alerts.model_copy(update={"budget": budget})
    return decisions.config(spec.model_copy(update={"alerts": alerts}))


def _calendar(spec: MonitorSpec, log: pl.DataFrame, n_starts: int) -> tuple[datetime, datetime, list[datetime]]:
    """First and last window that may alarm, and where changes begin: evenly, each with a whole horizon after it."""
    horizon = HORIZON[spec.schedule]
    windows = log["window_start"].unique().sort()
    warmup = decisions.config(spec).taught
    needed = warmup + 8 + horizon
    if len(windows) < needed:
        raise SightlineError(
            f"the history of {spec.id} is too short to rehearse: {len(windows)} windows, {needed} needed "
            f"(a warm-up of {warmup}, {horizon} in which a change is watched)",
            fix=f"work up more windows: `sightline backfill {spec.id} FROM`",
        )
    first, last = windows[warmup], windows[-1]
    possible = windows.filter((windows >= windows[warmup + 7]) & (windows <= last - (horizon - 1) * spec.window))
    if possible.is_empty():
        raise SightlineError(
            f"the history of {spec.id} has no {horizon} windows on end after its warm-up",
            fix=f"work up more windows: `sightline backfill {spec.id} FROM`",
        )
    at = np.unique(np.linspace(0, len(possible) - 1, n_starts).round().astype(int))
    return first, last, possible.gather(at).to_list()


def _answered(paths: MonitorPaths, last: datetime) -> list[Span]:
    """From the change to the end of each incident that somebody answered: known to be real."""
    incidents = read_snapshot(paths, decisions.INCIDENTS)
    if incidents is None:
        return []
    answered = {action["incident"] for action in read_actions(paths) if action["kind"] in ANSWERS}
    rows = incidents.filter(pl.col("incident_id").is_in(answered)).select("change_point", "closed_at").iter_rows()
    return [(begin, end or last) for begin, end in rows]


def _price(
    spec: MonitorSpec,
    config: EngineConfig,
    budget: Budget,
    log: pl.DataFrame,
    first: datetime,
    known: Sequence[Span],
    kept: _Kept,
) -> Price:
    def measure() -> Measured:
        found = replay(log, config)
        decided = found.streams["decided_at"].unique().filter(found.streams["decided_at"].unique() >= first)
        is_known = [any(begin <= moment <= end for begin, end in known) for moment in decided]
        opened = [any(begin <= moment <= end for begin, end in known) for moment in found.incidents["opened_at"]]
        days = (len(decided) - sum(is_known)) * config.days_per_window
        return dict(zip(PRICE, (len(opened) - sum(opened), days, sum(opened)), strict=True))

    spans = [[begin.isoformat(), end.isoformat()] for begin, end in known]
    told = kept.get(json.dumps(["price", str(budget), spans]), measure)
    incidents, days, inside = (told[name] or 0.0 for name in PRICE)
    return Price(budget, Rate(int(incidents), days), int(inside))


_NEVER = -1.0


@dataclass
class _Trial:
    """One budget; engines are brought to the starts when the first change is tried."""

    spec: MonitorSpec
    config: EngineConfig
    budget: str
    world: Aggregates
    moments: Sequence[datetime]
    kept: _Kept
    _ready: list[tuple[Start, dict[str, datetime], frozenset[str]]] = field(default_factory=list[Any])

    def days(self, injection: Injection, n: int) -> float | None:
        """Days until a change that begins at a start is told; `_NEVER`, or None where it could not be."""
        key = json.dumps(["delay", self.budget, injection.kind, injection.size, n, self.moments[n].isoformat()])
        return self.kept.get(key, lambda: {"days": self._measure(injection, n)})["days"]

    def _measure(self, injection: Injection, n: int) -> float | None:
        start, usual, live = self._at(n)
        names = self.world.targets(injection)
        seed = int(hashlib.sha256(f"{injection.kind} {injection.size} {n}".encode()).hexdigest()[:12], 16)
        rng = np.random.default_rng([SEED, seed])
        for k in range(len(names)):  # another column at each start
            name = names[(n + k) % len(names)]
            log, streams = self.world.changed(injection, name, start.at, rng)
            if not streams & live:
                continue
            until = {stream: usual.get(stream, datetime.max) for stream in streams}
            alerts, _ = alerts_after(log, self.config, start, HORIZON[self.spec.schedule], until)
            told = [at for stream, at in alerts.items() if stream in until and at < until[stream]]
            return (min(told) + self.spec.window - start.at) / timedelta(days=1) if told else _NEVER
        return None

    def _at(self, n: int) -> tuple[Start, dict[str, datetime], frozenset[str]]:
        if not self._ready:
            horizon = HORIZON[self.spec.schedule]
            for start in starts_of(self.world.log, self.config, self.moments):
                self._ready.append((start, *alerts_after(self.world.log, self.config, start, horizon)))
        return self._ready[n]


@dataclass
class _Kept:
    """What has been measured, one line of JSON each, in a file named after all that it depends on."""

    file: Path
    found: dict[str, Measured]

    def get(self, key: str, measure: Callable[[], Measured]) -> Measured:
        """What was measured under a key, measured now if it was not."""
        if key not in self.found:
            self.found[key] = measure()
            with self.file.open("ab") as handle:
                handle.write(json.dumps([key, self.found[key]]).encode() + b"\n")
                handle.flush()
                os.fsync(handle.fileno())
        return self.found[key]


@contextmanager
def _kept(spec: MonitorSpec, paths: MonitorPaths, log: pl.DataFrame, reference: str) -> Generator[_Kept]:
    """One rehearsal of a monitor at a time; what depended on other evidence, settings or references is removed."""
    content = [
        sightline.__version__,
        str(STATE_VERSION),
        spec.model_dump_json(),
        reference,
        str(log.select("stream", "window_start", "decided_at", "value", "variance").hash_rows(seed=1).sum()),
        str(len(log)),
    ]
    folder = paths.results / "rehearsal"
    file = folder / f"{hashlib.sha256(chr(10).join(content).encode()).hexdigest()[:16]}.ndjson"
    with exclusive(folder / ".lock"):
        for other in folder.glob("*.ndjson"):
            if other != file:
                other.unlink()
        yield _Kept(file, dict(_lines(file)))


def _lines(file: Path) -> Iterator[tuple[str, Measured]]:
    """Whole lines of a file; one that was torn by a kill is measured again."""
    text = file.read_bytes() if file.exists() else b""
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) != len(text):
        with file.open("rb+") as handle:
            handle.truncate(len(whole))
    for line in whole.splitlines():
        key, found = json.loads(line)
        yield key, found
