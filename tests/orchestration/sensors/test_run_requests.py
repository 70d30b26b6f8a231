"""The sensors' decisions, as a pure function: what starts, what waits, what is tried again, what is given up."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestration.sensors.run_requests import (
    MAX_OPEN,
    MAX_WINDOWS_PER_RUN,
    Cursor,
    open_batches,
    plan,
)
from orchestration.sensors.stale_windows import MAX_SILENCE, Listing, RunState, Taught, stale_windows
from sightline.lake.store.progress import Done

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
TODAY = "2026-02-01"


def listing(**changes) -> Listing:
    base = Listing(pending={}, changes={}, done={}, with_data=(), reference="r1", runs={}, now=NOW)
    return replace(base, **changes)


def done(position: int, at: datetime = NOW, reference: str = "r1") -> Done:
    return Done(position, at, reference)


def spans(decided) -> list[tuple[str, str]]:
    return [(request.first, request.last) for request in decided.requests]


@pytest.fixture
def spec(make_spec):
    return make_spec()


def test_requests_for_windows_of_another_schedule_are_forgotten(spec):
    asked = plan(spec, "immediate", Cursor(), listing(pending={"a": frozenset({"2026-01-30"})})).cursor
    assert asked.of(spec) == asked and asked.open
    for schedule in ("hourly", "weekly"):
        other = spec.model_copy(update={"schedule": schedule})
        assert asked.of(other) == Cursor()


class TestNewData:
    def test_one_request_per_contiguous_range(self, spec):
        known = {"2026-01-20": done(0)}
        pending = {"a": frozenset({"2026-01-30", TODAY}), "b": frozenset({"2026-01-31", "2026-01-20"})}
        decided = plan(spec, "immediate", Cursor(), listing(pending=pending, done=known))
        assert spans(decided) == [("2026-01-20", "2026-01-20"), ("2026-01-30", TODAY)]
        assert [request.batches for request in decided.requests] == [("b",), ("a", "b")]
        assert all(request.has_data for request in decided.requests)

    def test_a_batch_without_a_readable_row_is_loaded_with_the_current_window(self, spec):
        decided = plan(spec, "immediate", Cursor(), listing(pending={"broken": frozenset()}))
        assert spans(decided) == [(TODAY, TODAY)]
        assert open_batches(decided.cursor, {}) == {"broken"}
        assert open_batches(decided.cursor, {decided.requests[0].run_key: RunState.ACTIVE}) == {"broken"}
        assert open_batches(decided.cursor, {decided.requests[0].run_key: RunState.FAILED}) == set()

    def test_windows_before_the_first_and_after_now_are_not_requested(self, spec):
        decided = plan(
            spec, "immediate", Cursor(), listing(pending={"a": frozenset({"2025-12-31", "2026-02-02", "2026-01-31"})})
        )
        assert spans(decided) == [("2026-01-31", "2026-01-31")]

    def test_changes_the_latest_run_did_not_know(self, spec):
        seen = listing(changes={"2026-01-30": 7, "2026-01-31": 8}, done={"2026-01-30": done(7), "2026-01-31": done(5)})
        assert spans(plan(spec, "delayed", Cursor(), seen)) == [("2026-01-31", "2026-01-31")]

    def test_sparse_labels_are_one_run(self, spec):
        """A run costs as much as many windows.

        Those between are worked up along, whether due or not, but none under way.
        """
        sparse = {"2026-01-02", "2026-01-05", "2026-01-09", "2026-01-20"}
        seen = listing(pending={"a": frozenset(sparse)}, with_data={TODAY})
        decided = plan(spec, "delayed", Cursor(), seen)
        assert spans(decided) == [("2026-01-02", "2026-01-20")]
        assert plan(spec, "delayed", decided.cursor, seen).requests == decided.requests, "asked for again until it runs"
        every = [f"2026-01-{day:02d}" for day in range(1, 24)]
        due = replace(seen, with_data=every, done={key: done(0, at=NOW - timedelta(days=60)) for key in every})
        assert [(r.first, r.last, r.has_data) for r in plan(spec, "delayed", Cursor(), due).requests] == [
            ("2026-01-01", "2026-01-01", False),
            ("2026-01-02", "2026-01-20", True),
            ("2026-01-21", "2026-01-23", False),
        ]
        under_way = plan(spec, "delayed", Cursor(), replace(seen, pending={"b": frozenset({"2026-01-07"})}))
        more = replace(
            seen, done={key: done(0) for key in every}, runs={under_way.requests[0].run_key: RunState.ACTIVE}
        )
        assert spans(plan(spec, "delayed", under_way.cursor, more)) == [
            ("2026-01-02", "2026-01-05"),
            ("2026-01-09", "2026-01-20"),
        ]

    def test_labels_wait_for_the_first_predictions(self, spec):
        decided = plan(spec, "delayed", Cursor(), listing(pending={"a": frozenset()}))
        assert decided.requests == ()
        assert decided.reason == "labels wait: no predictions are loaded yet"

    def test_a_long_range_is_cut(self, make_spec):
        spec = make_spec(schedule="hourly")
        first = datetime(2026, 1, 2, tzinfo=UTC)
        keys = frozenset(spec.key(first + timedelta(hours=i)) for i in range(MAX_WINDOWS_PER_RUN + 1))
        decided = plan(spec, "immediate", Cursor(), listing(pending={"a": keys}))
        assert [r.first for r in decided.requests] == ["2026-01-02-00"]
        judged = {key: done(1) for key in sorted(keys)[:-1]}
        rest = listing(pending={"b": frozenset({max(keys)})}, done=judged)
        assert [r.first for r in plan(spec, "immediate", Cursor(), rest).requests] == ["2026-01-18-16"]

    def test_history_is_judged_in_its_order(self, spec):
        """The alert engine goes forward.

        Later windows wait for earlier ones that were never judged, also while those are tried again.
        """
        seen = listing(pending={"a": frozenset({"2026-01-02", "2026-01-03", "2026-01-20"})})
        first = plan(spec, "immediate", Cursor(), seen)
        assert spans(first) == [("2026-01-02", "2026-01-03")]
        [request] = first.requests
        again = plan(spec, "immediate", first.cursor, replace(seen, runs={request.run_key: RunState.FAILED}))
        assert spans(again) == [("2026-01-02", "2026-01-03")]
        assert again.requests[0].attempt == 2
        after = replace(seen, pending={"a": frozenset({"2026-01-20"})}, done={f"2026-01-0{d}": done(1) for d in (2, 3)})
        ended = replace(after, runs={again.requests[0].run_key: RunState.SUCCEEDED})
        assert spans(plan(spec, "immediate", again.cursor, ended)) == [("2026-01-20", "2026-01-20")]

    def test_silent_windows_between_others_go_along(self, make_spec):
        """A service that sleeps at night: a month of history is one run, not sixty."""
        spec = make_spec(schedule="hourly")
        first = datetime(2026, 1, 5, tzinfo=UTC)
        keys = {spec.key(first + timedelta(days=d, hours=h)) for d in range(10) for h in range(8, 18)}
        seen = listing(pending={"a": frozenset(keys)}, with_data=keys)
        found = plan(spec, "immediate", Cursor(), seen).requests
        assert [(r.first, r.last) for r in found] == [("2026-01-05-08", "2026-01-14-17")]

    def test_bounded_number_of_runs_at_a_time(self, spec):
        every_other = frozenset(f"2026-01-{day:02d}" for day in range(1, 31, 2))
        known = {key: done(0) for key in every_other}
        decided = plan(spec, "immediate", Cursor(), listing(pending={"a": every_other}, done=known))
        assert len(decided.requests) == MAX_OPEN


class TestUnderWay:
    def test_nothing_runs_twice_for_the_same_data(self, spec):
        seen = listing(pending={"a": frozenset({TODAY})})
        first = plan(spec, "immediate", Cursor(), seen)
        running = replace(seen, runs={first.requests[0].run_key: RunState.ACTIVE})
        second = plan(spec, "immediate", Cursor.load(first.cursor.dump()), running)
        assert second.requests == ()
        assert second.reason == f"under way: {TODAY}"
        after = listing(changes={TODAY: 1}, done={TODAY: done(1)}, runs={first.requests[0].run_key: RunState.SUCCEEDED})
        third = plan(spec, "immediate", second.cursor, after)
        assert (third.requests, third.cursor, third.reason) == ((), Cursor(), "nothing new")

    def test_a_crash_between_request_and_cursor_repeats_the_same_run_key(self, spec):
        seen = listing(pending={"a": frozenset({TODAY})})
        keys = {plan(spec, "immediate", Cursor(), seen).requests[0].run_key for _ in range(2)}
        assert len(keys) == 1

    def test_a_request_that_never_became_a_run_is_repeated_with_its_key(self, spec):
        seen = listing(pending={"a": frozenset({TODAY})})
        first = plan(spec, "immediate", Cursor(), seen)
        assert plan(spec, "immediate", first.cursor, seen).requests == first.requests

    def test_data_that_lands_during_a_run_is_taken_up_after_it(self, spec):
        first = plan(spec, "immediate", Cursor(), listing(pending={"a": frozenset({TODAY})}))
        key = first.requests[0].run_key
        more = listing(pending={"b": frozenset({TODAY})}, changes={TODAY: 1}, runs={key: RunState.ACTIVE})
        waiting = plan(spec, "immediate", first.cursor, more)
        assert waiting.requests == ()
        over = replace(more, done={TODAY: done(1)}, runs={key: RunState.SUCCEEDED})
        assert spans(plan(spec, "immediate", waiting.cursor, over)) == [(TODAY, TODAY)]

    def test_a_changed_file_is_a_new_batch(self, spec):
        first = plan(spec, "immediate", Cursor(), listing(pending={"file@1": frozenset({TODAY})}))
        over = {first.requests[0].run_key: RunState.SUCCEEDED}
        seen = listing(pending={"file@2": frozenset({TODAY})}, changes={TODAY: 1}, done={TODAY: done(1)}, runs=over)
        second = plan(spec, "immediate", first.cursor, seen)
        assert second.requests[0].batches == ("file@2",)
        assert second.requests[0].run_key != first.requests[0].run_key


class TestReasons:
    """What a sensor says when it starts nothing: "nothing new" only where nothing waits."""

    def test_labels_that_wait_for_inputs_to_be_judged(self, spec):
        seen = listing(
            pending={"a": frozenset({"2026-01-30", "2026-01-31"})},
            with_data={"2026-01-30", "2026-01-31"},
            inputs_wait={"2026-01-30"},
        )
        decided = plan(spec, "delayed", Cursor(), seen)
        assert decided.requests == ()
        assert decided.reason == (
            "labels of 2026-01-30 to 2026-01-31 wait until the inferences of 2026-01-30 are judged"
        )

    def test_windows_that_wait_for_an_earlier_run(self, spec):
        seen = listing(pending={"a": frozenset({"2026-01-02", "2026-01-20"})})
        first = plan(spec, "immediate", Cursor(), seen)
        assert spans(first) == [("2026-01-02", "2026-01-02")]
        running = replace(seen, runs={first.requests[0].run_key: RunState.ACTIVE})
        decided = plan(spec, "immediate", first.cursor, running)
        assert decided.requests == ()
        assert decided.reason == "under way: 2026-01-02; waiting for a run to end: 2026-01-20"

    def test_files_that_are_being_written(self, spec):
        decided = plan(spec, "immediate", Cursor(), listing(being_written=["data/m/landing/inferences/a.csv"]))
        assert decided.reason == "still being written, so not loaded yet: data/m/landing/inferences/a.csv"


class TestFailure:
    def test_three_attempts_then_given_up_until_something_changes(self, spec):
        seen = listing(pending={"a": frozenset({TODAY})})
        decided = plan(spec, "immediate", Cursor(), seen)
        for attempt in (1, 2, 3):
            assert [r.attempt for r in decided.requests] == [attempt]
            failed = {decided.requests[0].run_key: RunState.FAILED}
            decided = plan(spec, "immediate", Cursor.load(decided.cursor.dump()), replace(seen, runs=failed))
        assert decided.requests == ()
        assert f"given up: {TODAY} (failed 3 times" in decided.reason
        assert plan(spec, "immediate", decided.cursor, seen).requests == ()
        landed = listing(pending={"a": frozenset({TODAY}), "b": frozenset({TODAY})})
        assert [r.attempt for r in plan(spec, "immediate", decided.cursor, landed).requests] == [1]

    def test_a_failed_run_whose_work_was_done_by_hand_is_not_repeated(self, spec):
        first = plan(spec, "immediate", Cursor(), listing(pending={"a": frozenset({TODAY})}))
        by_hand = listing(changes={TODAY: 1}, done={TODAY: done(1)}, runs={first.requests[0].run_key: RunState.FAILED})
        assert plan(spec, "immediate", first.cursor, by_hand).requests == ()

    def test_a_run_that_succeeds_and_changes_nothing_is_not_repeated_for_ever(self, spec):
        seen = listing(pending={"a": frozenset({TODAY})})
        first = plan(spec, "immediate", Cursor(), seen)
        after = plan(
            spec, "immediate", first.cursor, replace(seen, runs={first.requests[0].run_key: RunState.SUCCEEDED})
        )
        assert after.requests == ()
        assert "ended, but changed nothing" in after.reason


class TestClock:
    def test_a_window_that_filled_while_open_is_judged_again_when_it_has_closed(self, spec):
        filled = datetime(2026, 1, 31, 20, tzinfo=UTC)
        seen = listing(changes={"2026-01-31": 4}, with_data={"2026-01-31"}, done={"2026-01-31": done(4, filled)})
        before = plan(spec, "immediate", Cursor(), replace(seen, now=datetime(2026, 2, 1, 0, 30, tzinfo=UTC)))
        after = plan(spec, "immediate", Cursor(), replace(seen, now=datetime(2026, 2, 1, 1, 0, tzinfo=UTC)))
        assert before.requests == ()
        assert spans(after) == [("2026-01-31", "2026-01-31")]
        assert not after.requests[0].has_data

    def test_closed_windows_without_any_data_are_judged_so_that_silence_alarms(self, spec):
        seen = listing(changes={"2026-01-28": 1}, with_data={"2026-01-28"}, done={"2026-01-28": done(1)})
        assert spans(plan(spec, "immediate", Cursor(), seen)) == [("2026-01-29", "2026-01-31")]

    def test_long_silence_is_left_to_freshness(self, spec):
        seen = listing(changes={"2026-01-02": 1}, with_data={"2026-01-02"}, done={"2026-01-02": done(1)})
        last = spec.window_start("2026-01-02") + MAX_SILENCE["daily"] * spec.window
        assert spans(plan(spec, "immediate", Cursor(), seen)) == [("2026-01-03", spec.key(last))]

    def test_labels_are_due_after_their_usual_delay(self, spec):
        data = {"2026-01-30", "2026-01-31"}
        decided = plan(spec, "delayed", Cursor(), listing(with_data=data))
        assert spans(decided) == [("2026-01-30", "2026-01-30")]  # 01-31 is due on 02-02 at 01:00

    def test_silent_windows_between_are_judged_where_sliding_windows_end_with_them(self, make_spec):
        days = {"2026-01-20", "2026-01-23"}
        seen = listing(changes=dict.fromkeys(days, 1), with_data=days, done={key: done(1) for key in days})
        assert spans(plan(make_spec(), "delayed", Cursor(), seen)) == []
        sliding = make_spec(quality={"windows": ["7d"]})
        assert spans(plan(sliding, "delayed", Cursor(), seen)) == [("2026-01-21", "2026-01-22")]

    def test_a_window_is_judged_again_once_its_labels_are_complete_as_far_as_is_learnt(self, spec):
        key, ripe = "2026-01-20", datetime(2026, 1, 30, tzinfo=UTC)
        at_due = done(3, datetime(2026, 1, 22, 1, tzinfo=UTC))
        seen = listing(changes={key: 3}, with_data={key}, done={key: at_due}, mature_after=timedelta(days=10), now=ripe)
        early = replace(seen, now=ripe - timedelta(minutes=1))
        assert spans(plan(spec, "delayed", Cursor(), early)) == []
        assert spans(plan(spec, "delayed", Cursor(), seen)) == [(key, key)]
        again = replace(seen, done={key: done(3, ripe)}, now=NOW)
        assert spans(plan(spec, "delayed", Cursor(), again)) == [], "once"
        assert spans(plan(spec, "immediate", Cursor(), seen)) != [(key, key)], "inputs do not wait for labels"

    def test_a_window_that_is_provisional_is_judged_again_once_its_labels_are_given_up(self, make_spec):
        spec = make_spec(labels={"column": "churned", "expected_delay": "1d", "give_up_after": "30d"})
        key, moment = "2026-01-20", datetime(2026, 2, 20, tzinfo=UTC)
        judged = done(3, datetime(2026, 1, 25, tzinfo=UTC))
        seen = listing(changes={key: 3}, with_data={key}, done={key: judged}, provisional={key}, now=moment)
        assert spans(plan(spec, "delayed", Cursor(), replace(seen, now=moment - timedelta(minutes=1)))) == []
        assert spans(plan(spec, "delayed", Cursor(), seen)) == [(key, key)]
        assert spans(plan(spec, "delayed", Cursor(), replace(seen, provisional=()))) == []
        again = replace(seen, done={key: done(3, moment)}, now=moment + timedelta(days=5))
        assert spans(plan(spec, "delayed", Cursor(), again)) == [], "once, whatever it says then"
        open_ = make_spec(labels={"column": "churned", "expected_delay": "1d"})
        assert spans(plan(open_, "delayed", Cursor(), seen)) == [], "nobody knows yet when"

    @pytest.mark.parametrize("flow", ["immediate", "delayed"])
    def test_the_newest_window_is_checked_again_when_somebody_has_said_something_of_an_incident(self, spec, flow):
        keys = ("2026-01-20", "2026-01-21")
        seen = listing(changes=dict.fromkeys(keys, 1), with_data=set(keys), done={key: done(1) for key in keys})
        seen = replace(seen, fed_at=NOW, now=NOW + timedelta(minutes=5))
        assert spans(plan(spec, flow, Cursor(), seen)) == []
        said = replace(seen, acted_at=NOW + timedelta(minutes=1))
        decided = plan(spec, flow, Cursor(), said)
        assert spans(decided) == [(keys[1], keys[1])] and not decided.requests[0].has_data
        checked = replace(said, done={key: done(1, said.now) for key in keys})
        assert spans(plan(spec, flow, Cursor(), checked)) == [], "once"
        before = replace(said, acted_at=NOW - timedelta(minutes=1))
        assert spans(plan(spec, flow, Cursor(), before)) == []

    def test_labels_that_are_complete_before_they_are_due_change_nothing(self, spec):
        data = {"2026-01-30", "2026-01-31"}
        decided = plan(spec, "delayed", Cursor(), listing(with_data=data, mature_after=timedelta(hours=6)))
        assert spans(decided) == [("2026-01-30", "2026-01-30")]

    def test_new_data_and_closing_are_separate_runs(self, spec):
        seen = listing(pending={"a": frozenset({TODAY})}, changes={"2026-01-31": 1}, with_data={"2026-01-31"})
        seen = replace(seen, done={"2026-01-31": done(1, datetime(2026, 1, 31, 12, tzinfo=UTC))})
        decided = plan(spec, "immediate", Cursor(), seen)
        assert [(r.first, r.has_data) for r in decided.requests] == [("2026-01-31", False), (TODAY, True)]


def test_a_new_reference_works_every_window_up_again(spec):
    old = {key: done(1) for key in ("2026-01-30", "2026-01-31")}
    seen = listing(changes=dict.fromkeys(old, 1), with_data=set(old), done=old, reference="r2")
    assert spans(plan(spec, "immediate", Cursor(), seen)) == [("2026-01-30", "2026-01-31")]


def test_a_window_without_an_estimate_is_asked_for_once_the_reference_has_labels(spec):
    old = {key: done(1, NOW) for key in ("2026-01-30", "2026-01-31")}
    seen = listing(changes=dict.fromkeys(old, 1), with_data=set(old), done=old)
    told = Taught(NOW - timedelta(days=5), 3)
    assert all(told.after(known) for known in old.values()) and not told.after(done(3)), "labels came later"
    assert Taught(NOW + timedelta(hours=1), 1).after(done(1)), "they were due later"
    assert spans(plan(spec, "immediate", Cursor(), replace(seen, taught=told))) == []
    lacks = replace(seen, taught=told, unestimated={"2026-01-30"})
    assert spans(plan(spec, "immediate", Cursor(), lacks)) == [("2026-01-30", "2026-01-30")]


@pytest.mark.parametrize("text", [None, "", "not json", "[]", json.dumps({"open": [{"first": 1}]})])
def test_an_unreadable_cursor_is_an_empty_one(text):
    assert Cursor.load(text) == Cursor()


class TestHistory:
    """Days of a history that is loaded long after it was made, every second one absent."""

    days = ("2026-01-03", "2026-01-05", "2026-01-07", "2026-01-09")

    def test_labels_wait_for_the_inputs_of_their_and_earlier_windows(self, spec):
        seen = {"with_data": self.days, "changes": dict.fromkeys(self.days, 1), "pending": {"y": frozenset(self.days)}}
        assert spans(plan(spec, "delayed", Cursor(), listing(**seen, inputs_wait=self.days))) == []
        later = plan(spec, "delayed", Cursor(), listing(**seen, inputs_wait=("2026-01-07",)))
        assert spans(later) == [("2026-01-03", "2026-01-05")]
        assert spans(plan(spec, "delayed", Cursor(), listing(**seen))) == [("2026-01-03", "2026-01-09")]

    def test_its_end_is_no_outage(self, spec):
        seen = listing(with_data=self.days, changes=dict.fromkeys(self.days, 1))
        keys = [("2026-01-03", "2026-01-09")]
        assert spans(plan(spec, "immediate", Cursor(), replace(seen, fed_at=NOW))) == keys
        weekly = spec.model_copy(update={"schedule": "weekly"})
        weeks = listing(with_data=["2026-01-05"], changes={"2026-01-05": 1}, fed_at=datetime(2026, 3, 1, tzinfo=UTC))
        weeks = replace(weeks, now=datetime(2026, 3, 2, tzinfo=UTC))
        assert spans(plan(weekly, "immediate", Cursor(), weeks)) == [("2026-01-05", "2026-01-05")]

    def test_silence_after_data_that_came_as_they_were_made_is_one(self, spec):
        seen = listing(with_data=self.days, changes=dict.fromkeys(self.days, 1))
        live = replace(seen, fed_at=datetime(2026, 1, 10, 3, tzinfo=UTC))
        found = set(stale_windows(spec, "immediate", live))
        assert {"2026-01-10", "2026-01-23"} <= found and "2026-01-24" not in found
