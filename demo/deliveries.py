"""The year in time order, as a serving system would have logged it.

Predictions come at scheduled departure, labels at landing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
from sightline_client import Client

from demo.calendar import Calendar
from demo.collector import collecting
from demo.data import FEATURES
from demo.model import is_reference
from demo.monitor_file import LABEL, MONITOR_ID, SCORE
from sightline.durable import replace_file
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths

MARKER = "made_by_demo.json"
"""File in the monitor's data folder that tells: the demo made it, and may make it anew."""

HOUR = timedelta(hours=1)
FLUSH_SECONDS = 60.0


@dataclass(frozen=True)
class Replayed:
    """What a replay logged."""

    n_inferences: int
    n_labels: int
    n_landing_inferences: int
    n_landing_labels: int
    offset_days: int


def shifted(scored: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """The scored year at its replayed times, in the monitor's column names."""
    return scored.select(
        "flight_id",
        calendar.shift("scheduled_departure_at"),
        pl.col("score").alias(SCORE),
        "version",
        "tailnum",
        *FEATURES,
        pl.col("is_late").alias(LABEL),
        calendar.shift("landed_at"),
        calendar.shift("day"),
        is_reference().alias("is_reference"),
    )


def start_clean(home: Home, monitor: str = MONITOR_ID) -> bool:
    """Remove what an earlier demo made of a monitor's data, and tell whether there was any.

    Raises
    ------
    SightlineError
        If the folder holds data that no demo made.
    """
    root = home.monitor(monitor).root
    if root.exists() and any(root.iterdir()) and not (root / MARKER).exists():
        fix = "move it away, or remove it, or run the demo with another SIGHTLINE_HOME"
        raise SightlineError("the folder holds data that the demo did not make", where=str(root), fix=fix)
    had_data = (root / MARKER).exists()
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / MARKER).write_text("{}")
    return had_data


def write_reference(home: Home, year: pl.DataFrame) -> Path:
    """The reference rows as one Parquet file."""
    path = home.monitor(MONITOR_ID).root / "reference_rows.parquet"
    year.filter("is_reference").drop("is_reference", "day").write_parquet(path)
    return path


def replay_history(
    home: Home,
    year: pl.DataFrame,
    calendar: Calendar,
    on_day: Callable[[date], None] = lambda day: None,
    *,
    shadows: pl.DataFrame | None = None,
) -> tuple[int, int]:
    """Log everything before the last days through the logging client and a collector of its own, hour by hour.

    Parameters
    ----------
    home : Home
        Where the collector writes.
    year : polars.DataFrame
        From `shifted`.
    calendar : Calendar
        Tells which days are left for the landing folder.
    on_day : callable
        Called with each day when all of it is on disk.
    shadows : polars.DataFrame, optional
        From `shifted`: what other versions say of some of the flights, logged beside the first.

    Returns
    -------
    tuple of int
        Number of inferences and of labels.

    Raises
    ------
    SightlineError
        If the collector did not acknowledge every event.
    """
    end = datetime.combine(calendar.first_landing_day, datetime.min.time())
    said = year if shadows is None else pl.concat([year, shadows])
    history = said.filter(pl.col("scheduled_departure_at") < end)
    arrivals = year.filter(pl.col("landed_at") < end).sort("landed_at", "flight_id")
    departed = _by_hour(history, "scheduled_departure_at")
    landed = _by_hour(arrivals, "landed_at")
    with collecting(home, home.monitor(MONITOR_ID).root) as (url, clock):
        log = Client(MONITOR_ID, url=url, spool=False, queue_size=100_000, batch_size=5_000, interval=60)
        try:
            for day, hours in _days(departed, landed):
                for hour in hours:
                    clock.set(hour.replace(tzinfo=UTC) + HOUR)
                    if hour in departed:
                        log_predictions(log, departed[hour])
                    if hour in landed:
                        log_labels(log, landed[hour])
                    _settle(log)
                on_day(day)
        finally:
            log.close()
        _check(log.stats(), history.height + arrivals.height)
    return history.height, arrivals.height


def _settle(log: Client) -> None:
    """Wait until all of an hour is acknowledged, before the clock moves on."""
    if not log.flush(FLUSH_SECONDS):
        raise SightlineError("the collector of the replay does not answer", fix="run the demo again")


def _check(stats: Mapping[str, int], n_expected: int) -> None:
    counted = {name: stats[name] for name in ("sent", "rejected", "duplicate", "refused", "dropped", "errors")}
    if counted != {**dict.fromkeys(counted, 0), "sent": n_expected}:
        raise SightlineError(
            f"not every event of {n_expected:,} was taken by the collector: {counted}", fix="run the demo again"
        )


def _by_hour(rows: pl.DataFrame, column: str) -> dict[datetime, pl.DataFrame]:
    parts = rows.with_columns(pl.col(column).dt.truncate("1h").alias("_hour")).partition_by(
        "_hour", as_dict=True, include_key=False, maintain_order=True
    )
    return {hour: part for (hour,), part in parts.items()}


def _days(*parts: dict[datetime, pl.DataFrame]) -> Iterator[tuple[date, list[datetime]]]:
    hours = sorted(set().union(*parts))
    by_day: dict[date, list[datetime]] = {}
    for hour in hours:
        by_day.setdefault(hour.date(), []).append(hour)
    yield from by_day.items()


def log_predictions(log: Client, rows: pl.DataFrame) -> None:
    """Log some flights as the serving system does at their departure."""
    features = rows.select(pl.struct(FEATURES)).to_series().to_list()
    at = rows["scheduled_departure_at"].dt.replace_time_zone("UTC").to_list()
    columns = zip(rows["flight_id"], at, rows[SCORE], rows["version"], rows["tailnum"], features, strict=True)
    for i, moment, score, version, plane, values in columns:
        log.prediction(i, at=moment, score=score, version=version, entity=plane, features=values)


def log_labels(log: Client, rows: pl.DataFrame) -> None:
    """Log the outcome of some flights when they have landed."""
    at = rows["landed_at"].dt.replace_time_zone("UTC").to_list()
    for i, value, moment in zip(rows["flight_id"], rows[LABEL], at, strict=True):
        log.label(i, value, at=moment)


def land_last_days(home: Home, year: pl.DataFrame, calendar: Calendar) -> tuple[int, int]:
    """Put the last days into the landing folders, one file per day: Parquet for inferences, CSV for labels."""
    paths = home.monitor(MONITOR_ID)
    start = datetime.combine(calendar.first_landing_day, datetime.min.time())
    departed = year.filter(pl.col("scheduled_departure_at") >= start).drop(LABEL, "landed_at", "is_reference")
    landed = year.filter(pl.col("landed_at") >= start).sort("landed_at").select("flight_id", LABEL, "landed_at")
    for (day,), rows in departed.partition_by("day", as_dict=True, include_key=False, maintain_order=True).items():
        land(paths, "inferences", f"{day}.parquet", rows.write_parquet)
    by_day = landed.with_columns(day=pl.col("landed_at").dt.date())
    for (day,), rows in by_day.partition_by("day", as_dict=True, include_key=False, maintain_order=True).items():
        land(paths, "labels", f"{day}.csv", rows.write_csv)
    return departed.height, landed.height


def land(paths: MonitorPaths, kind: str, name: str, write: Callable[[Path], object]) -> None:
    """Write under a name that intake ignores, then rename: nobody sees half a file."""
    folder = paths.landing_inferences if kind == "inferences" else paths.landing_labels
    replace_file(folder / name, write)


def finish(home: Home, replayed: Replayed) -> None:
    """Note what was made, for the next run and for whoever asks."""
    (home.monitor(MONITOR_ID).root / MARKER).write_text(json.dumps(asdict(replayed), indent=1))


def history_windows(calendar: Calendar) -> list[str]:
    """Window keys of the replayed history."""
    n_days = (calendar.first_landing_day - calendar.first_day).days
    return [f"{calendar.first_day + timedelta(days=i)}" for i in range(n_days)]
