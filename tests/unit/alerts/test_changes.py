"""What is told of incidents: each thing once, a history not at all, growth once per decision."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from metrics_py.alerting.tables import INCIDENTS_SCHEMA, MEMBERS_SCHEMA
from sightline.alerts.changes import SEVERITIES, change_id, operational
from sightline.alerts.incident_changes import changes_of, of_monitor
from sightline.alerts.outbox import Outbox, enqueue
from sightline.results.actions import append_action
from sightline.results.snapshots import write_snapshot
from sightline.spec.loader import find_monitor
from tests.support.outbox import AT, make_home

START = datetime(2026, 3, 2)
STREAM = "drift/age/location"


def day(n: int) -> datetime:
    return START + timedelta(days=n)


def incident(name: str, opened: int = 0, **more) -> dict:
    row = {"incident_id": name, "opened_at": day(opened), "change_point": day(opened - 1), "streams": [STREAM]}
    row |= {"n_streams": 1, "evidence": 900.0, "evidence_days": 900.0, "status": "open", "main_stream": STREAM}
    return {**row, "main_effect": 4.0, "settled_at": None, **more}


def ended(name: str, opened: int = 0, closed: int = 5, by: str = "recovered") -> dict:
    return incident(name, opened, status="closed", closed_at=day(closed), closed_by=by)


def member(name: str, stream: str = STREAM, joined: int = 0, **more) -> dict:
    row = {"incident_id": name, "stream": stream, "joined_at": day(joined), "change_point": day(joined - 1)}
    return {**row, "evidence": 900.0, "effect": 4.0, "status": "open", "moved_from": [], **more}


class World:
    """A monitor whose incidents change, and an outbox that knows what was told."""

    def __init__(self, folder):
        self.home = make_home(folder)
        self.spec = find_monitor(self.home, "churn")
        self.paths = self.home.monitor("churn")

    def publish(self, incidents, members=()):
        members = members or [member(row["incident_id"], joined=(row["opened_at"] - START).days) for row in incidents]
        schema = {**INCIDENTS_SCHEMA, "settled_at": pl.Datetime("us")}
        write_snapshot(self.paths, "incidents", pl.DataFrame(incidents, schema=schema))
        write_snapshot(self.paths, "incident_members", pl.DataFrame(list(members), schema=MEMBERS_SCHEMA))

    def tell(self) -> list:
        found = of_monitor(self.spec, self.paths)
        assert of_monitor(self.spec, self.paths) == found or found[0].kind == "history"
        enqueue(self.home, found)
        assert [c for c in of_monitor(self.spec, self.paths) if c.kind != "history"] == []
        return [change for change in found if change.kind != "history"]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def kinds(found) -> list[str]:
    return [change.kind for change in found]


def test_nothing_is_told_before_there_are_decisions(world):
    assert of_monitor(world.spec, world.paths) == []


def test_a_life_is_told_step_by_step(world):
    world.publish([])
    assert world.tell() == []
    world.publish([incident("a")])
    (change,) = world.tell()
    assert (change.kind, change.incident, change.severity, change.owner) == (
        "opened",
        "a",
        "error",
        "ops-ml@example.com",
    )
    assert change.facts["what"] == "age: the mean" and change.facts["since"] == "2026-03-01"
    assert "once in 900 days" in change.facts["sure"] and change.assets == ("drift",)
    grown = [member("a"), member("a", "drift/age/spread", 2), member("a", "data_quality/age/null_rate", 2)]
    world.publish([incident("a")], grown)
    (change,) = world.tell()
    assert change.kind == "grew" and len(change.facts["joined"]) == 2 and len(change.facts["members"]) == 3
    append_action(world.paths, {"kind": "acknowledge", "incident": "a", "user": "eve", "note": "looking"})
    (change,) = world.tell()
    assert (change.kind, change.facts["by"], change.facts["note"]) == ("acknowledged", "eve", "looking")
    append_action(world.paths, {"kind": "assign", "incident": "a", "user": "eve", "to": "bob"})
    (change,) = world.tell()
    assert (change.kind, change.facts["assignee"]) == ("assigned", "bob")
    world.publish([incident("a", settled_at=day(16))], grown)
    (change,) = world.tell()
    assert (change.kind, change.facts["assignee"]) == ("settled", "bob")
    world.publish([incident("a", status="closed", closed_at=day(20), closed_by="recovered")], grown)
    (change,) = world.tell()
    assert change.kind == "recovered" and "2026-03-22" in change.facts["ended"]


def test_what_a_person_ended_is_told_once(world):
    world.publish([incident("a")])
    world.tell()
    append_action(world.paths, {"kind": "fixed", "incident": "a", "user": "eve"})
    world.publish([incident("a", status="fixed", closed_at=day(3), closed_by="user")])
    assert kinds(world.tell()) == ["fixed"]
    append_action(world.paths, {"kind": "reopen", "incident": "a", "user": "bob"})
    (change,) = world.tell()
    assert (change.kind, change.severity) == ("reopened", "error")


def test_growth_of_several_days_is_told_once(world):
    world.publish([incident("a")])
    world.tell()
    members = [member("a"), *(member("a", f"drift/c{n}/location", n) for n in range(1, 6))]
    world.publish([incident("a")], members)
    (change,) = world.tell()
    assert change.kind == "grew" and len(change.facts["joined"]) == 5 and len(change.covers) == 4


def test_growth_before_the_end_is_not_told_after_it(world):
    world.publish([incident("a")])
    world.tell()
    world.publish([ended("a")], [member("a"), member("a", "drift/age/spread", 2)])
    assert kinds(world.tell()) == ["recovered"]


def test_an_old_history_tells_only_what_is_open(world):
    past = [ended(f"old{n}", opened=n * 10 - 300, closed=n * 10 - 295) for n in range(25)]
    world.publish([*past, incident("a"), incident("b", 1)])
    (change,) = world.tell()
    assert change.kind == "backlog" and change.facts["what"] == "2 incidents are open"
    assert [row["incident"] for row in change.facts["incidents"]] == ["a", "b"]
    world.publish([*past, ended("a"), incident("b", 1)])
    (change,) = world.tell()
    assert (change.kind, change.incident) == ("recovered", "a")


def test_one_that_is_open_in_an_old_history_is_told_whole(world):
    world.publish([ended("old", -30, -20), incident("a")])
    append_action(world.paths, {"kind": "acknowledge", "incident": "a", "user": "eve"})
    (change,) = world.tell()
    assert (change.kind, change.incident, change.facts["acknowledged_by"]) == ("opened", "a", "eve")


def test_a_history_whose_open_incidents_have_settled_calls_nobody(world):
    settled = [incident(name, n, settled_at=day(20)) for n, name in enumerate("ab")]
    world.publish([ended("old", -30, -20), *settled])
    (change,) = world.tell()
    assert (change.kind, change.severity) == ("backlog", "info")
    assert change.facts["what"].startswith("2 incidents are open, all of them settled: no check fails")


@pytest.mark.parametrize("history", [True, False])
def test_one_that_had_settled_before_it_was_told_is_told_as_settled(world, history):
    if not history:
        world.publish([])
        world.tell()
    world.publish([incident("a", settled_at=day(20))])
    (change,) = world.tell()
    assert (change.kind, change.severity, change.incident) == ("settled", "info", "a")
    joined = [member("a"), member("a", "drift/bmi/location", 25)]
    world.publish([incident("a", settled_at=day(20), n_streams=2)], joined)
    assert kinds(world.tell()) == ["grew"]


def test_one_that_is_open_beside_settled_ones_is_urgent(world):
    world.publish([incident("a", settled_at=day(20)), incident("b", 1)])
    (change,) = world.tell()
    assert (change.kind, change.severity) == ("backlog", "error")
    assert change.facts["what"].startswith("2 incidents are open, 1 of them settled")


def test_an_incident_that_returns_by_itself_is_told_as_reopened(world):
    world.publish([incident("a")])
    world.tell()
    world.publish([ended("a")])
    world.tell()
    world.publish([ended("a"), incident("b", 7)])
    (change,) = world.tell()
    assert (change.kind, change.incident, change.severity) == ("reopened", "b", "error")
    assert change.facts["reopens"] == "a" and change.facts["lines"] == ["it is the same as a again, which had ended"]
    far = world.spec.settle_windows + 6
    world.publish([ended("a"), ended("b", 7, 8), incident("c", far + 20)])
    assert [(change.kind, change.incident) for change in world.tell()] == [("recovered", "b"), ("opened", "c")]


def test_what_was_told_as_opened_is_not_told_again_as_reopened(world):
    world.publish([incident("b", 7)])
    world.tell()
    world.publish([ended("a"), incident("b", 7)])  # late data: there was one before
    assert kinds(world.tell()) == ["passed"]


def test_what_opened_and_ended_within_a_backfill_is_one_line(world):
    world.publish([])
    world.tell()
    world.publish([*(ended(f"i{n}", n, n + 3) for n in range(12)), incident("now", 20)])
    found = world.tell()
    assert sorted(kinds(found)) == ["passed", "reopened"]
    passed = next(change for change in found if change.kind == "passed")
    assert passed.facts["n_incidents"] == 12 and len(passed.facts["incidents"]) == 10 and passed.severity == "info"


def test_merging_and_splitting(world):
    world.publish([incident("a"), incident("b", 1)])
    world.tell()
    append_action(world.paths, {"kind": "merge", "incident": "b", "into": "a", "user": "eve"})
    moved = incident("b", 1, status="moved", moved_to="a", closed_at=day(2), closed_by="user")
    back = member("a", "drift/age/spread", 1, moved_from=["b"])
    world.publish([incident("a"), moved], [member("a"), back, member("b", "drift/age/spread", 1, status="moved")])
    (change,) = world.tell()
    assert (change.kind, change.incident, change.facts["into"]) == ("merged", "b", "a")
    append_action(world.paths, {"kind": "split", "incident": "a", "streams": ["drift/age/spread"], "user": "eve"})
    world.publish([incident("a"), moved, incident("c", 3, split_from="a")])
    (change,) = world.tell()
    assert (change.kind, change.incident, change.facts["split_from"]) == ("split", "c", "a")


def test_causes_are_told(world):
    world.publish([incident("a")])
    rows = {"incident_id": ["a", "a"], "rank": [2, 1], "kind": ["x", "y"], "words": ["snow", "the weather feed"]}
    write_snapshot(world.paths, "incident_causes", pl.DataFrame(rows))
    (change,) = world.tell()
    assert change.facts["causes"] == ["the weather feed", "snow"]


def test_ids_follow_from_what_is_said(world):
    rows = pl.DataFrame([incident("a"), ended("b", 1)], schema={**INCIDENTS_SCHEMA, "settled_at": pl.Datetime("us")})
    members = pl.DataFrame([member("a"), member("b", joined=1)], schema=MEMBERS_SCHEMA)
    first = changes_of(world.spec, rows, members, [], set())
    again = changes_of(world.spec, rows.reverse(), members.reverse(), [], set())
    assert [change.id for change in first] == [change.id for change in again]
    assert change_id("m", "a", "opened") != change_id("m", "a", "grew") != change_id("ma", "", "grew")


def test_two_daemons_that_look_at_once_tell_once(world):
    world.publish([])
    world.tell()
    world.publish([ended(f"i{n}", n, n + 3) for n in range(3)])
    first, second = (of_monitor(world.spec, world.paths) for _ in range(2))
    assert enqueue(world.home, first) == 1 and enqueue(world.home, second) == 0
    with Outbox(world.home) as outbox:
        assert len(outbox.unrouted()) == 1


def test_an_operational_change_says_what_it_is_of():
    change = operational("run_failed", monitor="m", subject="run 7", at=AT.replace(tzinfo=None), what="boom")
    assert (change.at, change.severity, change.facts["what"]) == (AT, "error", "boom")
    assert change.id == operational("run_failed", monitor="m", subject="run 7", at=AT, what="other words").id
    assert set(SEVERITIES.values()) == {"error", "warn", "info"}
    with pytest.raises(KeyError):
        operational("unheard_of", monitor="m", subject="x", at=AT, what="x")
