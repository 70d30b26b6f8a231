"""The year in time order, as a serving system would have logged it: predictions at scheduled departure, labels at landing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from demo.calendar import Calendar
from demo.data import FEATURES
from demo.model import is_reference
from demo.monitor import LABEL, MONITOR_ID, SCORE
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.log.events import InferenceEvent, LabelEvent
from sightline.log.writer import Commit, SegmentWriter

MARKER = "made_by_demo.json"
"""File in the monitor's data folder that tells: the demo made it, and may make it anew."""

HOUR = timedelta(hours=1)


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


def start_clean(home: Home) -> bool:
    """Remove what an earlier demo made of the monitor's data, and tell whether there was any.

    Raises
    ------
    SightlineError
        If the folder holds data that no demo made.
    """
    root = home.monitor(MONITOR_ID).root
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
    home: Home, year: pl.DataFrame, calendar: Calendar, on_day: Callable[[date], None] = lambda day: None
) -> tuple[int, int]:
    """Log everything before the last days: one sealed segment of inferences and one of labels per day, in time order.

    Parameters
    ----------
    home : Home
        Where the log lies.
    year : polars.DataFrame
        From `shifted`.
    calendar : Calendar
        Tells which days are left for the landing folder.
    on_day : callable
        Called with each day when it is sealed.

    Returns
    -------
    tuple of int
        Number of inferences and of labels.
    """
    paths = home.monitor(MONITOR_ID)
    end = datetime.combine(calendar.first_landing_day, datetime.min.time())
    history = year.filter(pl.col("scheduled_departure_at") < end)
    arrivals = year.filter(pl.col("landed_at") < end).sort("landed_at", "flight_id")
    clock = _Clock()
    with (
        SegmentWriter(paths.log, MONITOR_ID, "inferences", max_age_seconds=3600, clock=clock) as inferences,
        SegmentWriter(paths.log, MONITOR_ID, "labels", max_age_seconds=3600, clock=clock) as labels,
    ):
        departed = _by_hour(history, "scheduled_departure_at")
        landed = _by_hour(arrivals, "landed_at")
        for day, hours in _days(departed, landed):
            commits: list[Commit] = []
            for hour in hours:
                clock.now = hour.replace(tzinfo=UTC) + HOUR
                if hour in departed:
                    commits.append(inferences.submit(inference_events(departed[hour]), received_at=clock.now))
                if hour in landed:
                    commits.append(labels.submit(label_events(landed[hour]), received_at=clock.now))
            inferences.seal()
            labels.seal()
            for commit in commits:
                commit.wait()
            on_day(day)
    return history.height, arrivals.height


class _Clock:
    """The time of the replay, for the names of segments."""

    now = datetime(1970, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


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


def inference_events(rows: pl.DataFrame) -> list[InferenceEvent]:
    """Events of some flights, as the logging client builds them."""
    features = rows.select(pl.struct(FEATURES)).to_series().to_list()
    at = rows["scheduled_departure_at"].dt.replace_time_zone("UTC").to_list()
    columns = zip(rows["flight_id"], at, rows[SCORE], rows["version"], rows["tailnum"], features, strict=True)
    return [
        InferenceEvent(id=i, at=moment, score=score, version=version, entity=plane, features=values)
        for i, moment, score, version, plane, values in columns
    ]


def label_events(rows: pl.DataFrame) -> list[LabelEvent]:
    """Labels of flights that landed."""
    at = rows["landed_at"].dt.replace_time_zone("UTC").to_list()
    return [
        LabelEvent(id=i, value=v, at=moment) for i, v, moment in zip(rows["flight_id"], rows[LABEL], at, strict=True)
    ]


def land_last_days(home: Home, year: pl.DataFrame, calendar: Calendar) -> tuple[int, int]:
    """Put the last days into the landing folders, one file per day: Parquet for inferences, CSV for labels."""
    paths = home.monitor(MONITOR_ID)
    start = datetime.combine(calendar.first_landing_day, datetime.min.time())
    departed = year.filter(pl.col("scheduled_departure_at") >= start).drop(LABEL, "landed_at", "is_reference")
    landed = year.filter(pl.col("landed_at") >= start).sort("landed_at").select("flight_id", LABEL, "landed_at")
    for (day,), rows in departed.partition_by("day", as_dict=True, include_key=False, maintain_order=True).items():
        _land(paths, "inferences", f"{day}.parquet", rows.write_parquet)
    by_day = landed.with_columns(day=pl.col("landed_at").dt.date())
    for (day,), rows in by_day.partition_by("day", as_dict=True, include_key=False, maintain_order=True).items():
        _land(paths, "labels", f"{day}.csv", rows.write_csv)
    return departed.height, landed.height


def _land(paths: MonitorPaths, kind: str, name: str, write: Callable[[Path], object]) -> None:
    """Write under a name that intake ignores, then rename: nobody sees half a file."""
    folder = paths.landing_inferences if kind == "inferences" else paths.landing_labels
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.tmp"
    write(partial)
    partial.replace(folder / name)


def finish(home: Home, replayed: Replayed) -> None:
    """Note what was made, for the next run and for whoever asks."""
    (home.monitor(MONITOR_ID).root / MARKER).write_text(json.dumps(asdict(replayed), indent=1))


def history_windows(calendar: Calendar) -> list[str]:
    """Window keys of the replayed history."""
    n_days = (calendar.first_landing_day - calendar.first_day).days
    return [f"{calendar.first_day + timedelta(days=i)}" for i in range(n_days)]
