"""Open incidents merged and split by a person: history kept, no alarm added, no evidence moved."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import Engine, EngineConfig, Replay, replay

START = datetime(2025, 1, 6)
DAYS, FIRST, SECOND = 118, 80, 97
CONFIG = EngineConfig(threshold_windows=90, window=timedelta(days=1), warmup=28)
NAMES = ["drift/age/location", "drift/age/spread", "drift/plan/log_psi", "drift/price/location"]


def day(k: int) -> datetime:
    return START + timedelta(days=k)


def two_failures() -> pl.DataFrame:
    """Two streams move on one day, a third much later; the fourth never."""
    values = np.random.default_rng(331).normal(size=(DAYS, len(NAMES)))
    values[FIRST:, :2] += 7
    values[SECOND:, 2] += 7
    return pl.DataFrame(
        {
            "stream": NAMES * DAYS,
            "window_start": [day(d) for d in range(DAYS) for _ in NAMES],
            "value": values.ravel(),
            "group": NAMES * DAYS,
        }
    )


def said(*actions: dict) -> Replay:
    return replay(two_failures(), CONFIG, actions)


def ids(found: Replay) -> list[str]:
    return found.incidents["incident_id"].to_list()


def members(found: Replay, incident: str, status: str) -> set[str]:
    return set(found.members.filter(incident_id=incident, status=status)["stream"])


@pytest.fixture(scope="module")
def plain() -> Replay:
    found = said()
    assert found.incidents["n_streams"].to_list() == [2, 1]
    return found


def test_merged_incidents_are_one_and_the_other_says_where_it_went(plain):
    first, second = ids(plain)
    found = said({"action": "merge", "incident": second, "into": first, "at": day(110)})
    assert ids(found) == [first, second]
    assert found.incidents["status"].to_list() == ["open", "moved"]
    assert found.incidents["moved_to"].to_list() == [None, first]
    assert found.incidents["closed_by"].to_list() == [None, "user"]
    assert members(found, first, "open") == set(NAMES[:3])
    assert members(found, second, "moved") == {NAMES[2]}
    moved = found.members.filter(incident_id=first, stream=NAMES[2]).row(0, named=True)
    before = plain.members.filter(incident_id=second).row(0, named=True)
    assert moved["moved_from"] == [second]
    kept = ("joined_at", "change_point", "evidence", "level_before", "level_after", "effect")
    assert {name: moved[name] for name in kept} == {name: before[name] for name in kept}


def test_a_word_ends_all_that_was_merged(plain):
    first, second = ids(plain)
    merged = {"action": "merge", "incident": second, "into": first, "at": day(105)}
    found = said(merged, {"action": "accept", "incident": first, "at": day(110)})
    assert found.incidents["status"].to_list() == ["accepted", "moved"]
    assert members(found, first, "accepted") == set(NAMES[:3])
    late = found.streams.filter(pl.col("window_start") >= day(112))
    assert not late["muted"].any(), "all are judged again"


def test_a_split_incident_is_two_that_end_apart(plain):
    first, second = ids(plain)
    split = {"action": "split", "incident": first, "streams": [NAMES[1]], "at": day(100)}
    found = said(split)
    new = next(i for i in ids(found) if i not in (first, second))
    assert found.incidents.filter(incident_id=new)["split_from"].to_list() == [first]
    assert found.incidents.filter(incident_id=new)["opened_at"].to_list() == plain.incidents["opened_at"][:1].to_list()
    assert (members(found, first, "open"), members(found, first, "moved")) == ({NAMES[0]}, {NAMES[1]})
    assert members(found, new, "open") == {NAMES[1]}
    again = said(split, {"action": "fixed", "incident": new, "at": day(110)})
    states = dict(again.incidents.select("incident_id", "status").iter_rows())
    assert (states[first], states[new]) == ("open", "fixed")


def test_splitting_and_merging_back_leaves_one_open_incident(plain):
    first, second = ids(plain)
    split = {"action": "split", "incident": first, "streams": [NAMES[1]], "at": day(100)}
    new = next(i for i in ids(said(split)) if i not in (first, second))
    found = said(split, {"action": "merge", "incident": new, "into": first, "at": day(105)})
    assert members(found, first, "open") == set(NAMES[:2])
    back = found.members.filter(incident_id=first, stream=NAMES[1], status="open").row(0, named=True)
    assert back["moved_from"] == [first, new]
    ended = said(
        split,
        {"action": "merge", "incident": new, "into": first, "at": day(105)},
        {"action": "fixed", "incident": first, "at": day(110)},
    )
    assert dict(ended.incidents.select("incident_id", "status").iter_rows())[first] == "fixed"


def test_no_decision_on_any_window_changes(plain):
    first, second = ids(plain)
    decided = ["stream", "window_start", "evidence", "adjusted_evidence", "muted", "status"]
    for action in (
        {"action": "merge", "incident": second, "into": first, "at": day(105)},
        {"action": "split", "incident": first, "streams": [NAMES[0]], "at": day(100)},
    ):
        assert said(action).streams.select(decided).equals(plain.streams.select(decided), null_equal=True)


@pytest.mark.parametrize("streams", [[], NAMES[:2], ["drift/none/location"], [NAMES[2]]])
def test_nothing_happens_where_none_or_all_are_meant(plain, streams):
    found = said({"action": "split", "incident": ids(plain)[0], "streams": streams, "at": day(100)})
    assert found.incidents.equals(plain.incidents) and found.members.equals(plain.members)


def test_an_unknown_or_ended_incident_takes_none_in(plain):
    first, second = ids(plain)
    lost = {"action": "merge", "incident": second, "into": "2025-01-01-abcdef", "at": day(105)}
    assert said(lost).unapplied_actions == [lost]
    ended = {"action": "fixed", "incident": first, "at": day(100)}
    found = said(ended, {"action": "merge", "incident": second, "into": first, "at": day(105)})
    assert dict(found.incidents.select("incident_id", "status").iter_rows())[second] == "open"


def test_the_state_keeps_what_was_moved(plain):
    first, second = ids(plain)
    action = {"action": "merge", "incident": second, "into": first, "at": day(105)}
    found = said(action)
    again = Engine.from_state(json.loads(json.dumps(found.engine.to_state())), CONFIG)
    assert [i.to_dict() for i in again.incidents] == [i.to_dict() for i in found.engine.incidents]
    assert again.accept(first).status == "accepted"


def test_a_merged_incident_takes_in_streams_that_changed_with_it(plain):
    """The one that is left goes on as the one with the earlier change point."""
    first, second = ids(plain)
    found = said({"action": "merge", "incident": first, "into": second, "at": day(105)})
    row = found.incidents.filter(incident_id=second).row(0, named=True)
    assert row["change_point"] == plain.incidents["change_point"].min()
    assert row["n_streams"] == 3 and row["status"] == "open"
