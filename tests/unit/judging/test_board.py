"""The three checks of `alerts`: what is open, which rules are broken, what is not judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from sightline.judging.board import coverage, open_incidents
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState, not_judged_yet
from sightline.spec import plan
from sightline.spec.plan import PlannedCheck

FIRST = datetime(2026, 1, 5)
DRIFT = PlannedCheck("drift", "drift__age", "", "age", "psi")


def day(k: int) -> datetime:
    return FIRST + timedelta(days=k)


@pytest.fixture
def spec(make_spec):
    return make_spec(columns={"score": "p", "features": {"age": "numeric"}}, alerts={"warmup": 8})


def keys(spec, n: int) -> list[str]:
    return [spec.key(day(k).replace(tzinfo=UTC)) for k in range(n)]


def state(k: int, distance: float | None = 5.0, incident: str | None = "i1", name: str = "drift/age/location"):
    return StreamState(
        stream=name,
        asset="drift",
        column="age",
        statistic="location",
        window_start=day(k),
        status="muted" if incident else "ok",
        in_incident=incident is not None,
        incident_id=incident,
        distance=distance,
    )


def member(joined: int, name: str = "drift/age/location", incident: str = "i1", **values: Any) -> IncidentMember:
    facts = {"incident_id": incident, "stream": name, "change_point": day(joined - 1), "joined_at": day(joined)}
    facts |= {"evidence": 900.0, "evidence_days": 900.0, "level_before": 0.0, "level_after": 1.0, "effect": 6.0}
    return IncidentMember(**facts | values | {"settle_after": timedelta(days=3)})


class TestOpenIncidents:
    def test_red_while_a_member_is_away_and_green_when_it_has_settled(self, spec):
        published = Published([], [state(0, incident=None), *(state(k) for k in range(1, 6))], [member(1)])
        found = [verdict for _, verdict in open_incidents(spec, published, keys(spec, 6))]
        assert [v.level for v in found] == ["ok", "error", "error", "error", "ok", "ok"]
        assert found[0].text == "No incident is open."
        opened = found[1]
        assert opened.cause == "incident"
        told = "Incident i1 since 2026-01-05 (open, 1 of 1 streams away): age: the mean (drift/age/location)."
        assert opened.text == told
        assert "(settled, 1 of 1 streams away)" in found[4].text

    def test_a_window_near_the_old_level_is_green(self, spec):
        published = Published([], [state(1, distance=1.0)], [member(1)])
        [verdict] = [v for _, v in open_incidents(spec, published, keys(spec, 2))]
        assert (verdict.level, verdict.facts["open"], verdict.facts["waiting for a word"]) == ("ok", 0, 1)
        assert "near its old level in this window" in verdict.text

    def test_yellow_once_acknowledged_but_red_again_for_a_stream_that_joins_later(self, spec):
        late = "drift/age/spread"
        states = [*(state(k) for k in range(1, 5)), state(3, name=late), state(4, name=late)]
        members = [member(1, acknowledged_from=day(2), answered_from=day(4)), member(3, late, answered_from=day(4))]
        found = [v for _, v in open_incidents(spec, Published([], states, members), keys(spec, 5))]
        assert [v.level for v in found] == ["error", "warn", "error", "ok"]
        assert "(acknowledged, 1 of 1 streams away)" in found[1].text
        assert (found[1].facts["open"], found[1].facts["acknowledged"], found[1].cause) == (0, 1, "incident")
        assert "(open, 2 of 2 streams away)" in found[2].text
        assert "(answered, 2 of 2 streams away)" in found[3].text

    def test_red_too_while_a_member_waits_for_its_labels(self, spec):
        waiting = [replace(state(k, distance=None), known_to=day(1)) for k in (2, 3, 4)]
        others = [state(k, incident=None, name="drift/age/spread") for k in range(5)]
        published = Published([], [state(1), *others], [member(1)], waiting=waiting)
        found = [verdict for _, verdict in open_incidents(spec, published, keys(spec, 5))]
        assert [v.level for v in found] == ["ok", "error", "error", "error", "ok"]
        assert "(open, 1 not judged yet after 2026-01-06)" in found[2].text
        assert "(settled, 1 not judged yet after 2026-01-06)" in found[4].text

    def test_it_began_when_the_incident_did_whatever_single_streams_say(self, spec):
        published = Published([], [state(3)], [member(3, began=day(2), change_point=day(0))])
        [verdict] = [v for _, v in open_incidents(spec, published, keys(spec, 4))]
        assert verdict.text.startswith("Incident i1 since 2026-01-07")

    def test_the_newest_incident_comes_first_and_long_lists_are_cut(self, spec):
        names = [f"drift/age/s{k}" for k in range(8)]
        states = [*(state(2, name=name) for name in names), state(2, incident="i2", name="data_quality//n_rows")]
        members = [*(member(1, name) for name in names), member(2, "data_quality//n_rows", "i2")]
        [verdict] = [v for _, v in open_incidents(spec, Published([], states, members), keys(spec, 3))]
        assert verdict.text.startswith("Incident i2 since 2026-01-06")
        assert "age: s5 (drift/age/s5) and 2 more." in verdict.text
        assert verdict.facts["open"] == 2

    def test_a_window_that_was_not_decided_has_no_verdict(self, spec):
        assert list(open_incidents(spec, Published([], [], [member(1)]), keys(spec, 2))) == []


def test_members_of_incidents_wait_in_all_windows_after_their_last_one():
    names = {"late": 3, "back": 3, "ended": 2, "now": 5}
    rows = [
        {
            "stream": name,
            "window_start": day(k),
            "in_incident": name != "back",
            "incident_id": "i1" if name != "back" else None,
            "distance": 4.0,
        }
        for name, n in names.items()
        for k in range(n)
    ]
    ends = {"late": None, "back": None, "ended": day(3), "now": None}
    members = pl.DataFrame(
        [{"incident_id": "i1", "stream": name, "ended_at": at} for name, at in ends.items()],
        schema_overrides={"ended_at": pl.Datetime("us")},
    )
    found = not_judged_yet(pl.DataFrame(rows), members)
    told = [("ended", day(2), day(1)), ("late", day(3), day(2)), ("late", day(4), day(2))]
    assert sorted(found.select("stream", "window_start", "known_to").rows()) == told
    assert found["distance"].to_list() == [4.0] * 3, "as before"
    still_open = not_judged_yet(pl.DataFrame(rows), members, [day(4), day(5)])
    assert sorted(still_open.filter(stream="late")["window_start"]) == [day(3), day(4), day(5)]


def judged(k: int, code: str | None = None) -> Judgement:
    few = {"status": "insufficient_data", "reason": f"{k} rows; 200 needed", "reason_code": code, "value": None}
    return Judgement(**{"window_start": day(k), "column": "age", "metric": "psi", "value": 0.1} | (few if code else {}))


def covered(spec, rows: list[Judgement], n: int):
    return dict(coverage(spec, {"drift": [DRIFT]}, {"drift": Published(rows, [], [])}, keys(spec, n)))


class TestCoverage:
    def test_it_warns_once_when_a_check_has_not_been_judged_for_as_long_as_the_warmup(self, spec):
        found = list(covered(spec, [judged(k, "too_few_rows") for k in range(12)], 12).values())
        assert [v.level for v in found] == ["ok"] * 7 + ["warn"] + ["ok"] * 4
        assert found[0].text == "Nothing has ceased to be judged."
        assert found[7].text == "No longer judged: drift__age (too few rows)."
        assert found[8].text == "Not judged, as before: drift__age (too few rows)."
        assert "schedule" in found[8].facts["what to do"]

    def test_it_warns_again_for_another_reason(self, spec):
        rows = [judged(k, "too_few_rows" if k < 10 else "no_spread") for k in range(12)]
        assert [v.level for v in covered(spec, rows, 12).values()][7:] == ["warn", "ok", "ok", "warn", "ok"]

    @pytest.mark.parametrize("code", ["no_reference", "no_labels"])
    def test_what_should_be_there_is_told_at_once(self, spec, code):
        found = covered(spec, [judged(0), judged(1, code), judged(2, code), judged(3)], 4)
        assert [v.level for v in found.values()] == ["ok", "warn", "ok", "ok"]

    def test_it_starts_anew_once_the_check_was_judged(self, spec):
        rows = [judged(k, None if k == 4 else "too_few_rows") for k in range(12)]
        assert [v.level for v in covered(spec, rows, 12).values()] == ["ok"] * 12

    @pytest.mark.parametrize("pattern", ["age", "drift__*", "psi"])
    def test_what_is_known_is_left_out(self, make_spec, pattern):
        known = make_spec(
            columns={"score": "p", "features": {"age": "numeric"}}, alerts={"warmup": 8, "not_judged": [pattern]}
        )
        found = covered(known, [judged(k, "too_few_rows") for k in range(12)], 12)
        assert {v.text for v in found.values()} == {"Nothing has ceased to be judged."}

    def test_a_window_in_which_nothing_came_says_so(self, spec):
        volume = PlannedCheck("drift", "row_volume", "", metric="n_rows")
        facts = {"value": 0.0, "status": "alert", "reason": "none", "reason_code": "no_predictions"}
        silent = Judgement(window_start=day(0), column="", metric="n_rows", **facts)
        rows = [silent, replace(silent, window_start=day(1), value=70.0, status="ok", reason_code=None)]
        found = dict(coverage(spec, {"drift": [volume]}, {"drift": Published(rows, [], [])}, keys(spec, 2)))
        assert [v.text for v in found.values()] == [
            "Nothing came: there is only the volume to judge.",
            "Nothing has ceased to be judged.",
        ]

    def test_nothing_judged_is_no_verdict(self, spec):
        assert covered(spec, [], 3) == {}


def test_alerts_is_the_traffic_light(spec):
    names = [check.name for check in plan.checks(spec) if check.asset == "alerts"]
    assert names == ["open_incidents", "hard_rules", "coverage", "label_freshness"]
