"""Who is told, and when it waits."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from sightline.alerts.routing import channels_of, hold, quiet_until, unknown_names
from sightline.spec.routes import Routes, load_routes
from tests.support.outbox import fact, make_home

CHANNELS = "channels: {ops: {kind: webhook, url: env:A}, team: {kind: webhook, url: env:B}, f: {kind: file, path: x}}\n"


def routes(tmp_path, text: str) -> Routes:
    return load_routes(make_home(tmp_path, CHANNELS + text))


def test_without_a_file_everything_goes_to_the_record(tmp_path):
    assert channels_of(fact(1), load_routes(make_home(tmp_path)), ("ops",)) == ["record"]


@pytest.mark.parametrize(
    ("route", "change", "expected"),
    [
        ("{to: ops}", {}, ["ops"]),
        ("{to: [ops, team]}", {}, ["ops", "team"]),
        ("{to: ops, severities: [warn]}", {}, ["record"]),
        ("{to: ops, severities: [error]}", {}, ["ops"]),
        ("{to: ops, monitors: ['ch*']}", {}, ["ops"]),
        ("{to: ops, monitors: [other]}", {}, ["record"]),
        ("{to: ops, kinds: ['run_*']}", {}, ["ops"]),
        ("{to: ops, kinds: [opened]}", {}, ["record"]),
        ("{to: ops, owners: ['ops-*']}", {"owner": "ops-ml@example.com"}, ["ops"]),
        ("{to: ops, owners: [bob]}", {"owner": "eve"}, ["record"]),
        ("{to: ops, owners: [bob]}", {"owner": "eve", "facts": {"assignee": "bob"}}, ["ops"]),
        ("{to: ops, owners: [bob]}", {}, ["record"]),
        ("{to: ops, assets: [drift]}", {"assets": ["data_quality", "drift"]}, ["ops"]),
        ("{to: ops, assets: [drift]}", {"assets": ["model_quality"]}, ["record"]),
        ("{to: ops, assets: [drift]}", {}, ["record"]),
    ],
)
def test_conditions(tmp_path, route, change, expected):
    assert channels_of(fact(1, **change), routes(tmp_path, f"routes: [{route}]"), ()) == expected


def test_a_monitor_names_channels_and_routes(tmp_path):
    found = routes(tmp_path, "routes: [{to: team, name: nightly, monitors: [other], severities: [error]}]")
    assert channels_of(fact(1), found, ("ops", "bob", "nightly", "ops")) == ["ops", "team"]
    assert channels_of(fact(1, severity="info"), found, ("nightly",)) == ["record"]
    assert [name for name, _ in unknown_names(found, ("ops", "nightli"))] == ["nightli"]
    assert "nightly" in unknown_names(found, ("nightli",))[0][1]


def test_a_change_that_names_its_channels_goes_there(tmp_path):
    found = routes(tmp_path, "routes: [{to: team}]")
    assert channels_of(fact(1, to=["ops"]), found, ()) == ["ops"]
    assert channels_of(fact(1, to=["gone"]), found, ()) == ["record"]


QUIET = (
    'timezone: Europe/Berlin\nquiet_hours: {from: "22:00", to: "07:00", days: [sunday]}\nholidays: [2026-12-25]\n'
    "downtime: [{monitors: [churn], from: 2026-04-01T08:00, to: 2026-04-01T10:00, reason: upgrade}]"
)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-03T12:00", None),
        ("2026-03-03T21:59", None),
        ("2026-03-03T22:00", "2026-03-04T07:00"),
        ("2026-03-04T06:59", "2026-03-04T07:00"),
        ("2026-03-04T07:00", None),
        ("2026-03-07T23:00", "2026-03-09T07:00"),  # Saturday night, all of Sunday, and the night after it
        ("2026-03-28T22:30", "2026-03-30T07:00"),  # over the change to summer time
        ("2026-12-24T23:00", "2026-12-26T07:00"),
    ],
)
def test_quiet_hours(tmp_path, now, until):
    assert quiet_until(routes(tmp_path, QUIET), berlin(now)) == (None if until is None else berlin(until))


def test_what_is_urgent_is_told_in_quiet_hours(tmp_path):
    found, night = routes(tmp_path, QUIET), berlin("2026-03-03T23:00")
    assert hold(fact(1), found, night) is None
    held = hold(fact(1, "labels_overdue"), found, night)
    assert held is not None and held.until == berlin("2026-03-04T07:00") and held.reason == "quiet hours"


def test_a_downtime_holds_everything_of_its_monitors(tmp_path):
    found, during = routes(tmp_path, QUIET), berlin("2026-04-01T09:00")
    held = hold(fact(1), found, during)
    assert held is not None and held.until == berlin("2026-04-01T10:00")
    assert held.reason == "downtime until 2026-04-01 10:00: upgrade"
    assert hold(fact(1), found, berlin("2026-04-01T10:00")) is None
    assert hold(fact(1, "test"), found, during) is None


def test_always_quiet_ends_sometime(tmp_path):
    days = "monday, tuesday, wednesday, thursday, friday, saturday, sunday"
    until = quiet_until(routes(tmp_path, f"quiet_hours: {{days: [{days}]}}"), datetime(2026, 3, 3, tzinfo=UTC))
    assert until is not None and until > datetime(2026, 4, 1, tzinfo=UTC)
