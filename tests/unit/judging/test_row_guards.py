"""The check `row_guards` of `inferences`: what the collector's guards wrote, window by window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.monitor import Monitor
from sightline.collector.guard_log import GuardDesk
from sightline.judging.board import evaluate
from sightline.log.events import InferenceEvent
from sightline.spec import plan

TODAY = datetime(2026, 3, 2, tzinfo=UTC)
KEY = "2026-03-02"


def event(at: datetime, **features: object) -> InferenceEvent:
    return InferenceEvent(id=f"{at}", at=at, score=0.5, features=features)


@pytest.fixture
def monitor(make_spec, home) -> Monitor:
    columns = {"score": "p", "features": {"age": {"kind": "numeric", "min": 0, "max": 130}, "plan": "categorical"}}
    return Monitor(make_spec(columns=columns), home, {})


@pytest.fixture
def desk(monitor) -> GuardDesk:
    return GuardDesk(monitor.spec, monitor.paths)


def check(monitor: Monitor):
    [found] = [c for c in plan.checks(monitor.spec) if c.name == "row_guards"]
    return found


def verdicts(monitor: Monitor, *keys: str):
    found = evaluate(monitor.spec, monitor.paths, "inferences", [check(monitor)], keys)
    return {key: verdict for _, key, verdict in found}


def test_it_fails_and_stops_nothing(monitor):
    planned = check(monitor)
    assert (planned.asset, planned.blocking) == ("inferences", False)


def test_without_events_it_passes_and_says_why(monitor):
    found = verdicts(monitor, KEY)[KEY]
    assert (found.level, found.facts["n"], found.facts["reason"]) == ("ok", 0, "no events through the collector")
    assert found.text.startswith("No events through the collector")


def test_sound_events_pass_with_their_number(monitor, desk):
    desk.tick(TODAY)
    desk.observe([event(TODAY, age=40, plan="a")] * 7, TODAY)
    desk.tick(TODAY + timedelta(minutes=1))
    desk.observe([event(TODAY, age=40, plan="a")] * 5, TODAY + timedelta(minutes=1))
    desk.close(TODAY + timedelta(minutes=1, seconds=30))
    found = verdicts(monitor, KEY)[KEY]
    assert (found.level, found.facts["value"], found.facts["n"]) == ("ok", 0, 12)
    assert "violations" not in found.facts


def test_a_broken_rule_fails_the_windows_in_which_it_was_broken(monitor, desk):
    for day, ages in enumerate(([200, 300, 40], [40], ["old"])):
        now = TODAY + timedelta(days=day, hours=3)
        desk.tick(now)
        desk.observe([event(now, age=age, plan=None, more=1) for age in ages], now)
        desk.tick(now + timedelta(minutes=1))
    found = verdicts(monitor, KEY, "2026-03-03", "2026-03-04", "2026-03-05")
    assert [v.level for v in found.values()] == ["error", "ok", "error", "ok"]
    assert [(v.facts["value"], v.facts["n"]) for v in found.values()] == [(2, 3), (0, 1), (1, 1), (0, 0)]
    assert found[KEY].facts["violations"].rows == (
        ("age", "out_of_contract", "hard", 2, 1, "02 03:00", "02 03:00", "200"),
        ("more", "unknown_column", "counted", 3, 1, "02 03:00", "02 03:00", ""),
        ("plan", "missing", "rate", 3, 1, "02 03:00", "02 03:00", ""),
    )
    assert "out_of_contract in age: 2" in found[KEY].text and "Mend the sender" in found[KEY].facts["what to do"]


def test_the_alert_stands_for_a_minute_that_still_runs_and_is_not_counted_twice(monitor, desk):
    now = TODAY + timedelta(hours=3, seconds=20)
    desk.tick(now)
    desk.observe([event(now, age=-1), event(now, age=1)], now)
    running = verdicts(monitor, KEY)[KEY]
    assert (running.level, running.facts["value"], running.facts["n"]) == ("error", 1, 2)
    desk.observe([event(now, age=-1)], now + timedelta(seconds=10))  # the same alert: no second line
    desk.tick(now + timedelta(minutes=1))
    over = verdicts(monitor, KEY)[KEY]
    assert (over.level, over.facts["value"], over.facts["n"]) == ("error", 2, 3)


def test_a_rate_that_left_its_level_warns_once_its_alert_is_opened(monitor, desk):
    now = TODAY + timedelta(hours=5)
    alert = desk.guards.soft_alert(now, "plan", "missing", 30, 40, 200_000.0)
    desk._write([alert])
    desk._write(desk.guards.close_quiet(now + timedelta(days=1)))  # closed the day after: that is no alert
    found = verdicts(monitor, KEY, "2026-03-03")
    assert [v.level for v in found.values()] == ["warn", "ok"]
    assert "missing in column 'plan': 30 of 40 events" in found[KEY].text


def test_many_columns_do_not_make_the_table_endless(make_spec, home):
    features = {f"f{i:03}": {"kind": "numeric", "max": 1} for i in range(50)}
    monitor = Monitor(make_spec(columns={"score": "p", "features": features}), home, {})
    GuardDesk(monitor.spec, monitor.paths).observe([event(TODAY, **dict.fromkeys(features, 2))], TODAY)
    found = verdicts(monitor, KEY)[KEY]
    rows = found.facts["violations"].rows
    assert len(rows) == 30 + 1 and rows[-1][:4] == ("20 more", "", "", 20)
    assert found.text.endswith("and 47 more).")
