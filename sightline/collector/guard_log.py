"""Where guards write: an append-only alert log, and counts per minute.

`GuardDesk` ties them together.

Both files are NDJSON under ``data/<monitor>/guards/``; a torn last line (a killed
process) is passed over by the reader.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from metrics_py.profile.resolution import RESOLUTION
from sightline.collector.guards import GuardAlert, RateGuard, RowGuards
from sightline.collector.screening import Findings, KnownColumn
from sightline.home import MonitorPaths
from sightline.log.events import InferenceEvent
from sightline.spec.model import MonitorSpec

logger = logging.getLogger(__name__)
COUNTS_SCHEMA = {
    "minute": pl.Datetime("us"),
    "column": pl.String,
    "rule": pl.String,
    "n": pl.Int64,
    "n_events": pl.Int64,
}
ALERTS_SCHEMA = {
    "at": pl.Datetime("us"),
    "column": pl.String,
    "rule": pl.String,
    "state": pl.String,
    "n": pl.Int64,
    "n_events": pl.Int64,
    "message": pl.String,
    "example": pl.String,
    "evidence": pl.Float64,
}
_MINUTE = timedelta(minutes=1)


class GuardDesk:
    """The guards of one monitor with their files: what the collector calls.

    Parameters
    ----------
    spec : MonitorSpec
        The monitor.
    paths : MonitorPaths
        Where its files lie.
    told : callable, optional
        Called when alert lines were written: they are on disk, and may be delivered.
    """

    def __init__(self, spec: MonitorSpec, paths: MonitorPaths, told: Callable[[], object] | None = None) -> None:
        self.paths, self._told = paths, told
        self._profile = _signature(paths)
        self.guards = RowGuards(spec, known_columns(paths))
        self.rates = RateGuard(spec)
        self.alerts = 0

    def screen(self, events: Sequence[InferenceEvent], received_at: datetime) -> Findings:
        """Look at a batch without counting it yet."""
        return self.guards.screen(events, received_at)

    def apply(self, findings: Findings, received_at: datetime, duplicates: int = 0) -> None:
        """Count what was found in a batch; alerts of hard rules are written when this returns."""
        self._write(self.guards.apply(findings, received_at, duplicates))

    def observe(self, events: Sequence[InferenceEvent], received_at: datetime, duplicates: int = 0) -> None:
        """Look at a batch and count it."""
        self.apply(self.screen(events, received_at), received_at, duplicates)

    def counts(self) -> list[tuple[str, str, int]]:
        """(column, rule, number) of everything found so far."""
        return [(column, rule, number) for (column, rule), number in sorted(self.guards.totals.items())]

    def tick(self, now: datetime) -> None:
        """Close the minute if it is over: write its counts, judge its rates. Call about once a second.

        A reference that was frozen meanwhile is read.
        """
        finished = self.guards.close_minute(now)
        if finished is not None:
            rows, n_events = finished
            self._append(
                f"counts-{rows[0]['minute']:%Y-%m-%d}.ndjson",
                [{**row, "minute": row["minute"].isoformat()} for row in rows],
            )
            broken = self.rates.update(rows[0]["minute"], rows, n_events)
            alerts = [
                self.guards.soft_alert(now, column, rule, n, n_events, evidence) for column, rule, n, evidence in broken
            ]
            self._write([alert for alert in alerts if alert is not None])
        if (profile := _signature(self.paths)) != self._profile:
            self.guards.learn(known_columns(self.paths))
            self._profile = profile
        self._write(self.guards.close_quiet(now))

    def close(self, now: datetime) -> None:
        """Write the counts of the minute that still runs (the collector is stopping)."""
        self.tick(now.replace(second=0, microsecond=0).astimezone(UTC) + _MINUTE)

    def _write(self, alerts: Sequence[GuardAlert]) -> None:
        if not alerts:
            return
        lines = [{**asdict(alert), "at": alert.at.isoformat()} for alert in alerts]
        self._append("alerts.ndjson", lines)
        self.alerts += len(lines)
        for line in lines:
            logger.warning("guard: %s", line["message"])
        if self._told is not None:
            self._told()

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self.paths.guards.mkdir(parents=True, exist_ok=True)
        with (self.paths.guards / name).open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")  # ends the torn line of a killed process
            file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def _signature(paths: MonitorPaths) -> tuple[int, int, int] | None:
    """Tells one frozen profile from the next; None before there is one."""
    try:
        stat = (paths.reference / "profile.parquet").stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def known_columns(paths: MonitorPaths) -> dict[str, KnownColumn]:
    """Range and values per column from the frozen reference profile; empty before there is one."""
    profile = paths.reference / "profile.parquet"
    if not profile.is_file():
        return {}
    frame = pl.read_parquet(profile, glob=False)
    known: dict[str, KnownColumn] = {}
    for (name,), bins in frame.group_by("column_name"):
        kinds = bins["bin_kind"].to_list()
        if "category" in kinds:
            complete = bins.filter(pl.col("bin_kind") == "other")["n_reference"].sum() == 0
            values = frozenset(bins.filter(pl.col("bin_kind") == "category")["label"].to_list())
            known[str(name)] = KnownColumn(
                values=values if complete else None
            )  # with an `other` bin not every known value is listed
        elif "interval" in kinds or "atom" in kinds:
            known[str(name)] = _range_of(pl.concat([bins["lower"], bins["upper"]]).drop_nulls().unique().sort())
    return known


def _range_of(edges: pl.Series) -> KnownColumn:
    """Range of the reference; its ends as 32-bit floats are no values outside of it."""
    ends = edges.to_list()
    if not ends:
        return KnownColumn()
    low, high = float(ends[0]), float(ends[-1])
    room = (high - low) / 4 / max(len(ends) - 1, 1) if low < high else math.inf
    return KnownColumn(low=low - min(RESOLUTION * abs(low), room), high=high + min(RESOLUTION * abs(high), room))


def read_counts(paths: MonitorPaths, start: datetime, end: datetime) -> pl.DataFrame:
    """Guard counts of the minutes in [start, end), one row per minute, column and rule."""
    days = pl.datetime_range(
        start.replace(hour=0, minute=0, second=0, microsecond=0), end, "1d", eager=True, closed="left"
    ).to_list()
    rows: list[dict[str, Any]] = []
    for day in days:
        rows += read_lines(paths.guards / f"counts-{day:%Y-%m-%d}.ndjson")
    frame = pl.DataFrame(
        [{**row, "minute": _naive_utc(row["minute"])} for row in rows],
        schema=COUNTS_SCHEMA,
    )
    first, last = (moment.astimezone(UTC).replace(tzinfo=None) for moment in (start, end))
    return frame.filter((pl.col("minute") >= first) & (pl.col("minute") < last))


def read_alerts(paths: MonitorPaths, start: datetime, end: datetime) -> pl.DataFrame:
    """Alert lines written in [start, end), oldest first; `at` in UTC without a zone."""
    rows = [{**row, "at": _naive_utc(row["at"])} for row in read_lines(paths.guards / "alerts.ndjson")]
    frame = pl.DataFrame([{name: row.get(name) for name in ALERTS_SCHEMA} for row in rows], schema=ALERTS_SCHEMA)
    first, last = (moment.astimezone(UTC).replace(tzinfo=None) for moment in (start, end))
    return frame.filter((pl.col("at") >= first) & (pl.col("at") < last))


def _naive_utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of an NDJSON file; lines that a killed process tore are passed over."""
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        if not line:
            continue
        try:
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError:
            logger.warning("a torn line of %s is passed over", path.name)
    return found
