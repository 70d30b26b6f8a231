"""Row guards: hard rules alert at once, rates through evidence, and every count is written."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.alerts.delivery.courier import Courier
from sightline.collector.guard_log import GuardDesk, known_columns, read_alerts, read_counts, read_lines
from sightline.collector.guards import MAX_UNKNOWN, OTHER, KnownColumn, RateGuard, RowGuards
from sightline.home import MonitorPaths
from sightline.log.events import InferenceEvent
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_shadow
from tests.support.outbox import Receiver, make_home, webhook_routes

NOW = datetime(2026, 3, 2, 10, 0, 30, tzinfo=UTC)
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "score": "s",
            "features": {
                "age": {"kind": "numeric", "min": 0, "max": 120, "nullable": False},
                "plan": {"kind": "categorical", "allowed": ["free", "pro"]},
                "city": "categorical",
                "active": "boolean",
                "vector": "embedding",
            },
        },
        "reference": {"start": "2026-01-01", "end": "2026-02-01"},
    }
)
GOOD = {"age": 40, "plan": "free", "city": "Ulm", "active": True, "vector": [0.1, 0.2]}


def event(
    at: datetime | None = NOW, score: float | None = 0.5, part: str | None = None, **features: object
) -> InferenceEvent:
    return InferenceEvent(id="x", at=at, score=score, part=part, features={**GOOD, **features})


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"age": "41"}, {}),
        ({"age": None}, {("age", "missing_required"): 1}),
        ({"age": "old"}, {("age", "bad_type"): 1}),
        ({"age": True}, {("age", "bad_type"): 1}),
        ({"age": float("nan")}, {("age", "missing_required"): 1}),
        ({"age": 121}, {("age", "out_of_contract"): 1}),
        ({"age": 99}, {("age", "out_of_range"): 1}),
        ({"plan": "gold"}, {("plan", "not_allowed"): 1}),
        ({"city": "Mars"}, {("city", "unseen"): 1}),
        ({"city": ["Ulm"]}, {("city", "bad_type"): 1}),
        ({"active": "maybe"}, {("active", "bad_type"): 1}),
        ({"active": [1]}, {("active", "bad_type"): 1}),
        ({"vector": 3.0}, {("vector", "bad_type"): 1}),
        ({"colour": "red"}, {("colour", "unknown_column"): 1}),
        ({"score": 1.5}, {("@score", "out_of_contract"): 1}),
        ({"at": NOW - timedelta(days=3)}, {("@row", "stale"): 1}),
        ({"at": NOW + timedelta(hours=1)}, {("@row", "future"): 1}),
    ],
)
def test_each_rule(changed, expected):
    guards = RowGuards(SPEC, {"age": KnownColumn(18, 90), "city": KnownColumn(values=frozenset({"Ulm", "Köln"}))})
    guards.observe([event(**changed)], NOW)
    assert dict(guards.totals) == expected


def test_a_hard_rule_alerts_once_until_it_has_been_quiet():
    guards = RowGuards(SPEC)
    (first,) = guards.observe([event(age=-1), event(age=-2)], NOW)
    assert (first.column, first.rule, first.n, first.n_events, first.example) == ("age", "out_of_contract", 2, 2, "-1")
    assert "0.0 to 120.0" in first.message
    assert guards.observe([event(age=-1)], NOW + timedelta(minutes=5)) == []
    assert guards.close_quiet(NOW + timedelta(minutes=14)) == []
    (closed,) = guards.close_quiet(NOW + timedelta(minutes=15))
    assert (closed.state, closed.rule) == ("closed", "out_of_contract")
    assert len(guards.observe([event(age=-1)], NOW + timedelta(minutes=16))) == 1


def test_an_alert_that_stays_open_is_raised_anew_in_each_window():
    guards = RowGuards(SPEC)
    late = NOW.replace(hour=23, minute=58)
    assert len(guards.observe([event(at=late, age=-1)], late)) == 1
    assert guards.observe([event(at=late, age=-1)], late + timedelta(seconds=30)) == []
    assert len(guards.observe([event(at=late, age=-1)], late + timedelta(minutes=3))) == 1, (
        "the next day's check fails too"
    )
    assert guards.observe([event(at=late, age=-1)], late + timedelta(minutes=4)) == []


def test_invented_columns_are_counted_but_do_not_fill_the_memory():
    guards = RowGuards(SPEC)
    for i in range(0, 1000, 10):
        guards.observe([event(**{f"invented_{j}": 1}) for j in range(i, i + 10)], NOW)
    guards.observe([event(invented_3=1, invented_999=1)], NOW)
    assert len(guards.totals) == MAX_UNKNOWN + 1 == 101
    assert guards.totals["invented_3", "unknown_column"] == 2, "a known name keeps its own count"
    assert guards.totals[OTHER, "unknown_column"] == 900 + 1
    assert sum(guards.totals.values()) == 1002, "nothing is left out of the sum"


def test_a_response_half_has_no_features_to_judge():
    guards = RowGuards(SPEC)
    assert guards.observe([InferenceEvent(id="a", score=0.2, part="response")], NOW) == []
    assert not guards.totals and guards.n_events == 1


def minutes(desk: GuardDesk, first: int, last: int, unseen: float, rng: np.random.Generator) -> None:
    for minute in range(first, last):
        now = NOW + timedelta(minutes=minute)
        events = [event(at=now, city="Mars" if rng.random() < unseen else "Ulm") for _ in range(200)]
        desk.tick(now)
        desk.observe(events, now)


def test_a_rate_that_leaves_its_bound_alerts_within_minutes_and_a_steady_one_does_not(tmp_path):
    paths = MonitorPaths(tmp_path / "m")
    paths.reference.mkdir(parents=True)
    pl.DataFrame(
        {
            "column_name": ["city"] * 2,
            "bin_kind": ["category", "other"],
            "label": ["Ulm", "other"],
            "lower": [None, None],
            "upper": [None, None],
            "n_reference": [9, 0],
        }
    ).write_parquet(paths.reference / "profile.parquet")
    assert known_columns(paths)["city"].values == frozenset({"Ulm"})
    desk = GuardDesk(SPEC, paths)
    rng = np.random.default_rng(20260302)
    minutes(desk, 0, 200, 0.05, rng)
    assert desk.alerts == 0, "a rate at its own level must not alarm"
    minutes(desk, 200, 205, 0.40, rng)
    lines = read_lines(paths.guards / "alerts.ndjson")
    assert [(line["column"], line["rule"], line["state"]) for line in lines] == [("city", "unseen", "open")]
    assert datetime.fromisoformat(lines[0]["at"]) <= NOW + timedelta(minutes=204)
    assert lines[0]["evidence"] > 129_600  # minutes in the budget of 90 days


def test_counts_of_every_minute_are_written_and_a_torn_line_is_passed_over(tmp_path):
    desk = GuardDesk(SPEC, MonitorPaths(tmp_path / "m"))
    for second in range(0, 180, 20):
        now = NOW.replace(second=0) + timedelta(seconds=second)
        desk.tick(now)
        desk.observe([event(at=now, age=-1), event(at=now)], now)
    desk.close(NOW + timedelta(minutes=2, seconds=20))
    with (desk.paths.guards / "counts-2026-03-02.ndjson").open("ab") as file:
        file.write(b'{"minute": "2026-03')
    counts = read_counts(desk.paths, NOW.replace(second=0), NOW + timedelta(hours=1))
    assert counts["n"].to_list() == [3, 3, 3] and counts["n_events"].to_list() == [6, 6, 6]
    assert read_counts(desk.paths, NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)).height == 1


def test_a_reference_frozen_while_the_collector_runs_is_learnt(tmp_path):
    desk = GuardDesk(SPEC, MonitorPaths(tmp_path / "m"))
    desk.tick(NOW)
    desk.observe([event(city="Mars")], NOW)
    assert not desk.guards.totals
    desk.paths.reference.mkdir(parents=True)
    pl.DataFrame(
        {"column_name": ["city"], "bin_kind": ["category"], "label": ["Ulm"], "n_reference": [9]}
    ).write_parquet(desk.paths.reference / "profile.parquet")
    desk.tick(NOW + timedelta(seconds=1))
    desk.observe([event(city="Mars"), event(city="Ulm")], NOW)
    assert dict(desk.guards.totals) == {("city", "unseen"): 1}


def test_what_follows_a_torn_line_is_read(tmp_path):
    paths = MonitorPaths(tmp_path / "m")
    GuardDesk(SPEC, paths).observe([event(age=-1)], NOW)
    with (paths.guards / "alerts.ndjson").open("ab") as file:
        file.write(b'{"at": "2026-03')
    GuardDesk(SPEC, paths).observe([event(plan="gold")], NOW + timedelta(minutes=1))
    found = read_alerts(paths, NOW, NOW + timedelta(minutes=2))
    assert found["column"].to_list() == ["age", "plan"] and found["example"].to_list() == ["-1", "gold"]
    assert found["at"][1] == (NOW + timedelta(minutes=1)).replace(tzinfo=None)
    assert read_alerts(paths, NOW, NOW + timedelta(minutes=1))["column"].to_list() == ["age"]
    assert read_alerts(MonitorPaths(tmp_path / "none"), NOW, NOW + timedelta(days=1)).is_empty()


def test_alert_lines_are_delivered_within_seconds_and_tried_again(tmp_path):
    done = threading.Event()

    def answer(n, changes):
        if n == 2:
            done.set()
        return (503, False) if n == 1 else (200, True)

    with Receiver(answer) as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        desk = GuardDesk(SPEC, home.monitor("churn"), Courier(home, every=0.2).call)
        desk.observe([event(age=-1)], datetime.now(UTC))
        assert done.wait(30)
    (body,) = receiver.bodies
    assert body["changes"][0]["kind"] == "row_guard" and body["changes"][0]["facts"]["rule"] == "out_of_contract"


def test_a_rate_guard_without_events_says_nothing():
    assert RateGuard(SPEC).update(NOW, [], 0) == []


@pytest.mark.parametrize(
    ("shadows", "at", "seen"),
    [
        ((), "2026-01-10", 2),
        (("next",), "2026-01-10", 1),
        ({"next": datetime(2026, 1, 10, 15, tzinfo=UTC)}, "2026-01-10", 2),
        ({"next": datetime(2026, 1, 10, 15, tzinfo=UTC)}, "2026-01-09", 1),
    ],
)
def test_rows_of_a_shadow_are_not_guarded(shadows, at, seen):
    columns = {"model_version": "version"}
    spec = MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "binary_classification"},
            "columns": columns,
            "shadows": shadows,
            "reference": {"start": "2026-01-01", "end": "2026-01-05"},
        }
    )
    moment = datetime.fromisoformat(f"{at}T09:00:00+00:00")
    assert sum(not is_shadow(spec, version, moment) for version in ("base", "next")) == seen
