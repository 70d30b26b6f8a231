"""States, owners, reopening and timelines, from snapshots and words alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from sightline.alerts import decisions, life
from sightline.alerts.listing import Wanted, each_once

DAY = timedelta(days=1)
JAN = datetime(2026, 1, 1)


def incident(
    name: str, opened: int, *, ended: int | None = None, how: str = "closed", by: str = "recovered", **more: Any
):
    closed = None if ended is None else JAN + ended * DAY
    row = {
        "incident_id": name, "opened_at": JAN + opened * DAY, "change_point": JAN + (opened - 1) * DAY,
        "status": "open" if ended is None else how, "closed_at": closed, "closed_by": None if ended is None else by,
        "split_from": None, "moved_to": None, "settled_at": None,
    }  # fmt: skip
    return {**row, **more}


def member(name: str, stream: str, joined: int, effect: float | None = 4.0, **more: Any):
    row = {
        "incident_id": name, "stream": stream, "joined_at": JAN + joined * DAY, "effect": effect,
        "shift": effect or 1.0,
        "status": "open", "ended_at": None, "ended_by": None, "moved_again_at": None, "moved_again_effect": None,
    }  # fmt: skip
    return {**row, **more}


def frames(incidents: list[dict[str, Any]], members: list[dict[str, Any]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    times = {"opened_at", "closed_at", "settled_at", "change_point"}
    schema = dict.fromkeys(times, pl.Datetime("us")) | dict.fromkeys(("closed_by", "split_from", "moved_to"), pl.String)
    return pl.DataFrame(incidents, schema_overrides=schema), pl.DataFrame(members)


def said(name: str, kind: str, day: float, user: str = "ann", known: int | None = None, **more: Any) -> dict[str, Any]:
    at = JAN + day * DAY
    through = JAN + (int(day) - 1 if known is None else known) * DAY
    return {"incident": name, "kind": kind, "at": f"{at.isoformat()}+00:00", "user": user,
            "from_window": f"{through.isoformat()}+00:00", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "words", "state", "severity"),
    [
        (incident("i", 5), [], "open", "error"),
        (incident("i", 5), [said("i", "acknowledge", 6)], "acknowledged", "warn"),
        (incident("i", 5, settled_at=JAN + 20 * DAY), [said("i", "acknowledge", 6)], "settled", "info"),
        (incident("i", 5, ended=9), [], "resolved", "info"),
        (incident("i", 5, ended=9, how="accepted", by="new normal"), [], "new normal", "info"),
        (incident("i", 5, ended=9, how="accepted", by="user"), [said("i", "accept", 9)], "accepted", "info"),
        (incident("i", 5, ended=9, how="fixed", by="user"), [said("i", "fixed", 9)], "fixed", "info"),
        (incident("i", 5, ended=9, how="moved", by="user"), [said("i", "reopen", 10)], "moved", "info"),
        (incident("i", 5, ended=9), [said("i", "reopen", 11)], "reopened", "error"),
        (incident("i", 5, ended=9), [said("i", "reopen", 11), said("i", "acknowledge", 12)], "acknowledged", "warn"),
        (incident("i", 5, ended=9), [said("i", "reopen", 11), said("i", "fixed", 12)], "fixed", "info"),
        (incident("i", 5), [said("i", "acknowledge", 6), said("i", "reopen", 8)], "reopened", "error"),
        # taken back, went on, and then recovered by itself: the word was said before that was known
        (incident("i", 5, ended=15), [said("i", "accept", 7), said("i", "reopen", 9)], "resolved", "info"),
    ],
)
def test_the_state_follows_from_the_engine_and_from_what_was_said_last(row, words, state, severity):
    found = life.life_of(row, words)
    assert (found["state"], found["severity"], found["is_open"]) == (state, severity, state in life.OPEN_STATES)


def test_the_last_one_assigned_owns_it_and_notes_are_counted():
    words = [
        said("i", "assign", 6, to="bob"),
        said("i", "note", 7, note="asked"),
        said("i", "assign", 8, "cat", to="dan"),
    ]
    found = life.life_of(incident("i", 5), words)
    assert (found["owner"], found["assigned_by"], found["n_notes"]) == ("dan", "cat", 1)


def test_a_stream_that_moves_the_same_way_soon_after_the_end_reopens_it_and_its_owner_keeps_it():
    rows = [incident("old", 5, ended=9), incident("new", 12), incident("other", 13)]
    streams = [member("old", "a", 5), member("new", "a", 12, 3.0), member("other", "b", 13)]
    found = {
        row["incident_id"]: row
        for row in life.lives(*frames(rows, streams), [said("old", "assign", 6, to="bob")], 14 * DAY)
    }
    assert (found["new"]["reopens"], found["new"]["state"], found["new"]["owner"]) == ("old", "reopened", "bob")
    assert (found["old"]["reopened_as"], found["old"]["state"]) == ("new", "resolved")
    assert (found["other"]["reopens"], found["other"]["owner"]) == (None, None)


@pytest.mark.parametrize(
    ("first", "effect", "opened"),
    [
        (incident("old", 5, ended=9), -4.0, 12),  # the other way
        (incident("old", 5, ended=9), 4.0, 24),  # too late
        (incident("old", 5, ended=9, how="accepted", by="user"), 4.0, 12),  # its level is the usual one
        (incident("old", 5), 4.0, 12),  # not over
    ],
)
def test_what_moves_otherwise_later_or_from_a_new_level_is_news(first, effect, opened):
    rows, streams = [first, incident("new", opened)], [member("old", "a", 5), member("new", "a", opened, effect)]
    assert life.reopened(*frames(rows, streams), 14 * DAY) == {}


def test_each_end_is_reopened_once_by_the_first_that_comes_back():
    rows = [incident("a", 5, ended=7), incident("b", 8, ended=10), incident("c", 12)]
    streams = [member(name, "s", day) for name, day in (("a", 5), ("b", 8), ("c", 12))]
    assert life.reopened(*frames(rows, streams), 14 * DAY) == {"b": "a", "c": "b"}


def test_the_timeline_tells_in_order_what_happened_and_who_said_what():
    row = incident("i", 5, ended=20)
    members = [
        member("i", "drift/age/location", 5, status="closed", ended_at=JAN + 20 * DAY, ended_by="recovered"),
        member("i", "drift/fare/location", 8, moved_again_at=JAN + 12 * DAY, moved_again_effect=0.2),
    ]
    words = [
        said("i", "acknowledge", 6.5, note="asked the feed's owner"),
        said("i", "assign", 7.5, to="bob"),
        said("i", "fixed", 15.5, "bob", bad_from="2026-01-05T00:00:00+00:00", bad_to="2026-01-08T00:00:00+00:00"),
    ]
    found = life.timeline(row, members, words, DAY, before="h")
    assert [(entry["kind"], entry["by"]) for entry in found] == [
        ("opened", "sightline"), ("member", "sightline"), ("acknowledge", "ann"), ("assign", "ann"),
        ("joined", "sightline"), ("moved again", "sightline"), ("fixed", "bob"),
        ("left", "sightline"), ("ended", "sightline"),
    ]  # fmt: skip
    text = "\n".join(entry["words"] for entry in found)
    assert (
        "the same as h again" in text and "assigned to bob" in text and "acknowledged: asked the feed's owner" in text
    )
    assert "bad from 2026-01-05 to before 2026-01-08" in text
    assert found == sorted(found, key=lambda entry: entry["at"])


def test_filters():
    row = {**life.life_of(incident("i", 5, ended=9), [said("i", "assign", 6, to="bob")]), "opened_at": JAN + 5 * DAY,
           "closed_at": JAN + 9 * DAY, "members": [{"stream": "drift/age/location"}]}  # fmt: skip
    held = [Wanted(), Wanted(owner="bob"), Wanted(states=("resolved",)), Wanted(severities=("info",)),
            Wanted(stream="drift/age/*"), Wanted(since=JAN + 9 * DAY), Wanted(until=JAN + 6 * DAY)]  # fmt: skip
    not_held = [Wanted(is_open=True), Wanted(owner=""), Wanted(owner="ann"), Wanted(states=("open", "fixed")),
                Wanted(severities=("error",)), Wanted(stream="age"), Wanted(since=JAN + 10 * DAY),
                Wanted(until=JAN + 5 * DAY)]  # fmt: skip
    assert all(wanted.holds(row) for wanted in held)
    assert not any(wanted.holds(row) for wanted in not_held)


def test_an_end_that_was_taken_back_is_not_for_the_engine():
    words = [
        said("i", "accept", 6),
        said("j", "fixed", 7),
        said("i", "reopen", 8),
        said("i", "fixed", 9),
        said("i", "note", 9),
    ]
    assert [(action["incident"], action["kind"]) for action in decisions.in_force(words)] == [
        ("j", "fixed"),
        ("i", "fixed"),
    ]


def test_a_stream_that_left_and_came_back_counts_once():
    members = [{"stream": name, "joined": k} for k, name in enumerate(("a", "b", "a", "c"))]
    assert [(m["stream"], m["joined"]) for m in each_once(members)] == [("a", 0), ("b", 1), ("c", 3)]
