"""The replay: dates, monitor file, log, landing folder, and what of it reaches the lake."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import polars as pl
import pytest

from demo import deliveries
from demo.calendar import LAST_DAY, Calendar
from demo.monitor_file import MONITOR_ID, monitor_text, write_monitor
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.log.reader import read_segment
from sightline.spec.loader import load_monitor

CALENDAR = Calendar.before(date(2026, 11, 24))


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    """Three days of January and the days around the end, a tenth of the flights, with an arbitrary score."""
    from demo.data import build_flights

    flights = build_flights()
    rows = flights.filter(pl.int_range(pl.len()) % 10 == 0)
    return rows.with_columns(score=pl.lit(0.25) + pl.col("distance") / 20_000, version=pl.lit("test"))


@pytest.mark.parametrize("today", [date(2026, 11, 24) + timedelta(days=i) for i in range(8)])
def test_the_year_ends_the_day_before_yesterday_or_nearest_before(today):
    calendar = Calendar.before(today)
    assert calendar.offset.days % 7 == 0
    assert timedelta(days=2) <= today - calendar.last_day < timedelta(days=9)
    assert calendar.last_day.weekday() == LAST_DAY.weekday()
    assert calendar.pause == [
        calendar.last_day + timedelta(days=i) for i in range(1, (today - calendar.last_day).days + 1)
    ]
    assert calendar.pause[-1] == today


def test_offset_is_pinned():
    assert CALENDAR.offset == timedelta(days=4704)
    assert (CALENDAR.first_day, CALENDAR.last_day) == (date(2025, 11, 18), date(2026, 11, 17))
    assert CALENDAR.first_landing_day == date(2026, 11, 11)
    assert CALENDAR.recorded(datetime(2026, 11, 17, 5)) == LAST_DAY
    assert CALENDAR.both(date(2026, 11, 17)) == "Tue 2026-11-17 (flown 2013-12-31)"
    assert Calendar.as_recorded().pause == []
    assert Calendar.as_recorded().both(LAST_DAY) == "Tue 2013-12-31"
    assert len(deliveries.history_windows(CALENDAR)) == 365 - 7
    assert deliveries.history_windows(CALENDAR)[0] == "2025-11-18"
    assert deliveries.history_windows(CALENDAR)[-1] == "2026-11-10"


def test_monitor_file_is_valid_and_every_line_that_matters_is_explained(tmp_path):
    spec = load_monitor(write_monitor(Home(tmp_path), CALENDAR))
    assert spec.id == MONITOR_ID
    assert spec.key(spec.first_window) == "2025-11-18"
    assert len(spec.columns.features) == 17
    assert (tmp_path / "schemas" / "monitor.schema.json").exists()
    text = monitor_text(CALENDAR)
    assert text.count("#") > 30
    assert max(map(len, text.splitlines())) <= 130


@pytest.fixture(scope="module")
def replayed(scored, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home"))
    deliveries.start_clean(home)
    spec = load_monitor(write_monitor(home, CALENDAR))
    year = deliveries.shifted(scored, CALENDAR)
    deliveries.write_reference(home, year)
    days: list[date] = []
    logged = deliveries.replay_history(home, year, CALENDAR, days.append)
    landed = deliveries.land_last_days(home, year, CALENDAR)
    deliveries.finish(home, deliveries.Replayed(*logged, *landed, CALENDAR.offset.days))
    return home, spec, year, days, logged, landed


def test_nothing_is_lost_between_log_and_landing(replayed):
    _, _, year, _, logged, landed = replayed
    assert logged[0] + landed[0] == year.height
    assert logged[1] + landed[1] == year["landed_at"].count()


def logged_events(home: Home, kind: str) -> list:
    """Events of all sealed segments, by the names of the segments."""
    folder = home.monitor(MONITOR_ID).log / "sealed"
    contents = [read_segment(path) for path in sorted(folder.glob(f"{kind}-*"))]
    assert contents and all(content.is_sound and not content.rejections for content in contents)
    return [event for content in contents for event in content.events]


def test_the_collector_sealed_everything_in_time_order(replayed):
    home, _, _, days, logged, _ = replayed
    for kind, expected in zip(("inferences", "labels"), logged, strict=True):
        events = logged_events(home, kind)
        assert len(events) == len({event.id for event in events}) == expected
        arrived = [event.received_at for event in events]
        assert arrived == sorted(arrived), "the replay's clock, hour by hour"
        assert len({moment.date() for moment in arrived}) >= 357
        assert {event.source for event in events} == {"native"}
    assert days == sorted(set(days)) and len(days) == 365 - 7
    root = home.monitor(MONITOR_ID).root
    assert not list((root / "log" / "open").glob("*"))
    assert not [path.name for path in root.iterdir() if path.name.startswith("replay_")], "the collector has ended"


def test_labels_are_logged_when_the_plane_has_landed(replayed):
    home, _, year, _, _, _ = replayed
    landed = dict(year.select("flight_id", "landed_at").iter_rows())
    for event in logged_events(home, "labels"):
        assert event.at.replace(tzinfo=None) == landed[event.id]
        assert timedelta(0) < event.received_at - event.at <= timedelta(hours=1)


def test_an_event_that_was_not_taken_is_told(scored, tmp_path):
    """Twice the same flights: the collector knows them already, and the replay does not pass that over."""
    home = Home(tmp_path)
    deliveries.start_clean(home)
    write_monitor(home, CALENDAR)
    year = deliveries.shifted(scored.head(20), CALENDAR)
    with pytest.raises(SightlineError, match=r"not every event of \d+ was taken by the collector: .*'duplicate': \d+"):
        deliveries.replay_history(home, pl.concat([year, year]), CALENDAR)
    assert not list((home.monitor(MONITOR_ID).log / "open").glob("*")), "it was drained all the same"


def test_landing_files_are_complete_and_of_two_formats(replayed):
    home, _, _, _, _, _ = replayed
    paths = home.monitor(MONITOR_ID)
    names = [path.name for path in sorted(paths.landing_inferences.iterdir())]
    assert names == [f"{CALENDAR.first_landing_day + timedelta(days=i)}.parquet" for i in range(7)]
    labels = sorted(paths.landing_labels.iterdir())
    assert {path.suffix for path in labels} == {".csv"}
    assert labels[0].stem == f"{CALENDAR.first_landing_day}"
    first = pl.read_parquet(paths.landing_inferences / names[0])
    assert "is_late" not in first.columns and "landed_at" not in first.columns


def test_everything_reaches_the_lake_once(replayed):
    home, spec, year, _, _, _ = replayed
    paths = home.monitor(MONITOR_ID)
    reports = [intake(spec, paths, kind, home) for kind in ("inferences", "labels")]
    for report, expected in zip(reports, (year.height, year["landed_at"].count()), strict=True):
        assert report.accepted == expected
        assert (report.duplicates, report.rejected, report.value_issues, report.unmatched) == (0, 0, 0, 0)
        assert len(report.windows) == 365
    assert not [reason for report in reports for reason in report.quarantined_by_reason]
    inferences = scan_lake(spec, paths, "inferences").collect()
    assert inferences["entity_id"].null_count() == year["tailnum"].null_count()
    assert inferences["f_pressure"].null_count() == year["pressure"].null_count()
    assert inferences["model_version"].unique().to_list() == ["test"]
    labels = scan_lake(spec, paths, "labels").collect()
    joined = labels.join(year, left_on="prediction_id", right_on="flight_id")
    assert (joined["label_value"] == joined["is_late"]).all()
    assert (joined["observed_at"] == joined["landed_at"]).all()
    again = [intake(spec, paths, kind, home).accepted for kind in ("inferences", "labels")]
    assert again == [0, 0]


def test_reference_rows_are_the_even_days(replayed):
    home, spec, _, _, _, _ = replayed
    rows = pl.read_parquet(home.root / str(spec.reference.path))
    days = rows["scheduled_departure_at"].dt.date().unique().to_list()
    recorded = [CALENDAR.recorded(day) for day in days]
    assert all(day.timetuple().tm_yday % 2 == 0 and day.month <= 2 for day in recorded)
    assert {*spec.columns.features, "p_late", "is_late"} <= set(rows.columns)


def test_running_again_starts_clean_but_never_on_data_of_others(tmp_path):
    home = Home(tmp_path)
    deliveries.start_clean(home)
    paths = home.monitor(MONITOR_ID)
    paths.lake.mkdir()
    deliveries.start_clean(home)
    assert not paths.lake.exists()
    (paths.root / deliveries.MARKER).unlink()
    paths.lake.mkdir()
    with pytest.raises(SightlineError, match="data that the demo did not make"):
        deliveries.start_clean(home)
    assert paths.lake.exists()


def test_marker_tells_what_was_made(replayed):
    home, _, _, _, logged, landed = replayed
    told = json.loads((home.monitor(MONITOR_ID).root / deliveries.MARKER).read_text())
    assert told == {
        "n_inferences": logged[0],
        "n_labels": logged[1],
        "n_landing_inferences": landed[0],
        "n_landing_labels": landed[1],
        "offset_days": 4704,
    }


def test_as_recorded_keeps_2013(scored):
    year = deliveries.shifted(scored.head(5), Calendar.as_recorded())
    assert year["scheduled_departure_at"].to_list() == scored.head(5)["scheduled_departure_at"].to_list()
