"""Windows, moments, durations, budgets and the spelling of classes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from metrics_py.class_names import class_text
from sightline.spec.budget import Budget, parse_budget
from sightline.spec.durations import format_duration, parse_duration
from sightline.spec.field_types import parse_moment
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import closes_at, matures_at


def spec(**changes) -> MonitorSpec:
    base = {
        "model": {"id": "m", "task": "regression"},
        "columns": {"prediction": "y"},
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
    return MonitorSpec.model_validate({**base, **changes})


@pytest.mark.parametrize(
    ("schedule", "moment", "start", "key"),
    [
        ("hourly", datetime(2026, 3, 1, 23, 59, 59, 999999, UTC), datetime(2026, 3, 1, 23, tzinfo=UTC),
         "2026-03-01-23"),
        ("daily", datetime(2026, 3, 1, 23, 59), datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01"),
        ("daily", datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 2, 28, tzinfo=UTC),
         "2026-02-28"),
        ("weekly", datetime(2026, 3, 1, 23, 59, tzinfo=UTC), datetime(2026, 2, 23, tzinfo=UTC), "2026-02-23"),
        ("weekly", datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02"),
    ],
)  # fmt: skip
def test_windows(schedule, moment, start, key):
    monitor = spec(schedule=schedule)
    assert monitor.floor(moment) == start
    assert monitor.key(moment) == key
    assert monitor.window_start(key) == start


@pytest.mark.parametrize("schedule", ["hourly", "daily", "weekly"])
def test_key_order_is_time_order(schedule):
    monitor = spec(schedule=schedule)
    moments = [datetime(2025, 12, 20, tzinfo=UTC) + timedelta(hours=7 * i) for i in range(300)]
    keys = [monitor.key(moment) for moment in moments]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T06:00:00Z", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        (" 2026-01-31 06:00 ", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("2026-01-31T06:00:00+02:00", datetime(2026, 1, 31, 4, tzinfo=UTC)),
        (date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31, 5), datetime(2026, 1, 31, 5, tzinfo=UTC)),
    ],
)
def test_moments(value, expected):
    assert parse_moment(value) == expected


@pytest.mark.parametrize("value", [2026, 20260131, "20260131", "1.5", "soon", "2026-02-30", None, True])
def test_no_moments(value):
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(value)


@pytest.mark.parametrize(
    ("text", "hours"), [("90s", 0.025), ("15m", 0.25), ("12h", 12), ("3d", 72), ("2w", 336), (" 1.5 h ", 1.5)]
)
def test_durations(text, hours):
    assert parse_duration(text) == timedelta(hours=hours)
    assert parse_duration(format_duration(parse_duration(text))) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["0d", "-1d", "d", "12", "1 day", "", None, "1e3d"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_budgets():
    assert parse_budget("2 per 30d") == Budget(2, timedelta(days=30))
    assert str(parse_budget(" 0.5 per 4w ")) == "0.5 per 28d"
    for text in ("1 in 90d", "0 per 90d", "1 per 90", "", None):
        with pytest.raises(ValueError, match="is no"):
            parse_budget(text)


@pytest.mark.parametrize(("schedule", "windows"), [("hourly", 2160), ("daily", 90), ("weekly", 90 / 7)])
def test_budget_in_windows(schedule, windows):
    monitor = spec(schedule=schedule)
    assert monitor.alerts.budget.windows(monitor.window) == pytest.approx(windows)
    twice = spec(schedule=schedule, alerts={"budget": "2 per 90d"}).alerts.budget
    assert twice.windows(monitor.window) == pytest.approx(windows / 2)


def test_deadlines_follow_schedule_and_label_delay():
    assert spec(schedule="hourly", labels={"expected_delay": "3d"}).deadlines["labels"] == timedelta(days=3, hours=2)
    assert "labels" not in spec().deadlines
    assert spec(freshness={"inferences": "5h"}).deadlines["inferences"] == timedelta(hours=5)


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "true"), (False, "false"), ("on time", "on time")]
)
def test_class_text(value, text):
    assert class_text(value) == text


def test_class_text_is_the_spelling_of_the_lake():
    from sightline.lake.intake.convert import canonical_text

    for value in (0, 1, 1.0, -3.0, 1.5, True, False, "1", "yes"):
        assert canonical_text(value) == class_text(value)


def test_instances_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        spec().schedule = "hourly"


def test_a_spec_can_be_written_as_json_and_read_again():
    one = spec(
        labels={"expected_delay": "90m"},
        alerts={"budget": "2 per 4w", "holidays": ["2026-12-25"]},
        start="2026-01-01T06:00Z",
    )
    assert MonitorSpec.model_validate(one.model_dump(mode="json")) == one


def test_a_window_waits_for_its_last_rows_as_long_as_the_file_says():
    assert closes_at(spec(schedule="daily"), "2026-03-01") == datetime(2026, 3, 2, 1, tzinfo=UTC)
    late = spec(schedule="daily", close_after="9h", labels={"column": "z", "expected_delay": "1d"})
    assert closes_at(late, "2026-03-01") == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert matures_at(late, "2026-03-01") == datetime(2026, 3, 3, 9, tzinfo=UTC)
    assert late.deadlines["inferences"] == timedelta(days=2), "freshness waits a day anyway"
    assert spec(schedule="daily", close_after="3d").deadlines["inferences"] == timedelta(days=4)
    assert spec(schedule="hourly", close_after="3h").deadlines["judgements"] == timedelta(hours=5)


@pytest.mark.parametrize("text", ["9999999w", "36526d"])
def test_a_duration_beyond_all_dates_is_refused(text):
    with pytest.raises(ValueError, match="longer than 36525 days"):
        parse_duration(text)
