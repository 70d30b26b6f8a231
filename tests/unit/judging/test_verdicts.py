"""What a check says, from judgements and the engine's decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sightline.judging.drift import NO_REFERENCE
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState, spike_limit
from sightline.judging.verdicts import REMEDIES, verdicts
from sightline.spec import plan
from sightline.spec.judging_sections import Threshold
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck, family

DAY = datetime(2026, 1, 31)
DRIFT = PlannedCheck("drift", "drift__age", "", "age", "psi")
COLUMN = PlannedCheck("data_quality", "column__age", "", "age")
CONTRACT = PlannedCheck("data_quality", "contract__age", "", "age")
VOLUME = PlannedCheck("data_quality", "row_volume", "", metric="n_rows")
AUC = PlannedCheck("model_quality", "quality__roc_auc", "", metric="roc_auc")


def judged(metric: str, column: str = "", **values: Any) -> Judgement:
    return Judgement(**{"window_start": DAY, "column": column, "metric": metric, "value": 0.2, "n": 500} | values)


def stream(asset: str, statistic: str, column: str = "", **values: Any) -> StreamState:
    named = {"stream": f"{asset}/{column}/{statistic}", "asset": asset, "column": column, "statistic": statistic}
    state = {"window_start": DAY, "status": "ok", "in_incident": False, "adjusted_evidence_days": 0.4}
    return StreamState(**named | state | values)


def member(name: str, **values: Any) -> IncidentMember:
    facts = {"incident_id": "i1", "stream": name, "change_point": datetime(2026, 1, 29), "joined_at": None}
    facts |= {"evidence": 900.0, "evidence_days": 900.0, "level_before": 0.0, "level_after": 1.0, "effect": 4.2}
    return IncidentMember(**facts | values)


def verdict(check: PlannedCheck, judgements, streams=(), members=()):
    found = list(verdicts(check.asset, [check], Published(judgements, streams, members)))
    assert len(found) <= 1
    return found[0][2] if found else None


def test_a_check_moved_with_its_strongest_stream_and_not_before_the_incident():
    streams = [
        stream("drift", name, "age", in_incident=True, incident_id="i1", distance=5.0) for name in ("log_psi", "spread")
    ]
    psi = member("drift/age/log_psi", change_point=datetime(2026, 1, 17), began=datetime(2026, 1, 29))
    spread = member("drift/age/spread", change_point=datetime(2026, 1, 30), evidence=800.0)
    found = verdict(DRIFT, [judged("psi", "age")], streams, [psi, spread])
    assert found.text.startswith("In incident i1 since 2026-01-29: ")
    assert found.facts["change point"] == "2026-01-29 00:00 UTC"


def test_ok_below_everything():
    found = verdict(
        DRIFT, [judged("psi", "age", ci_low=0.01, ci_high=0.03, bound_high=0.1)], [stream("drift", "log_psi", "age")]
    )
    assert found.level == "ok"
    assert found.facts["interval"] == "[0.01, 0.03]"
    assert found.facts["bound"] == "at most 0.1"
    assert found.facts["n"] == 500
    assert "what to do" not in found.facts


def test_a_drift_beyond_its_tolerance_is_told_and_fails_nothing():
    found = verdict(DRIFT, [judged("psi", "age", status="warn", reason="higher by 0.9 sd")])
    assert (found.level, found.cause) == ("ok", "")
    assert found.text.startswith("Higher by 0.9 sd")


def test_a_rejected_stream_fails_with_evidence_effect_change_point_companions_and_a_remedy():
    mine, other = "drift/age/log_psi", "drift/income/log_psi"
    streams = [stream("drift", "log_psi", "age", in_incident=True, incident_id="i1", status="alert", stream=mine)]
    found = verdict(DRIFT, [judged("psi", "age")], streams, [member(mine), member(other)])
    assert (found.level, found.cause) == ("error", "incident")
    assert found.text.startswith(
        "In incident i1 since 2026-01-29: age: the distance from the reference (PSI) (drift/age/log_psi). "
    )
    assert found.facts["evidence"] == "appears by chance at most once in 900 days, over all streams"
    assert found.facts["change point"] == "2026-01-29 00:00 UTC"
    assert found.facts["effect"] == "+4.2 standard deviations of the days before"
    assert found.facts["moved with it"] == f"income: the distance from the reference (PSI) ({other})"
    assert found.facts["what to do"] == REMEDIES["drift"]


def inside(distance: float | None, **values: Any) -> StreamState:
    named = {"in_incident": True, "incident_id": "i1", "status": "muted", "distance": distance}
    return stream("drift", "log_psi", "age", **named | values)


@pytest.mark.parametrize(("effect", "distance", "level"), [(4.2, 2.2, "error"), (4.2, -2.2, "error"), (4.2, 2.0, "ok")])
def test_a_member_of_an_open_incident_fails_on_the_windows_on_which_it_is_away(effect, distance, level):
    own = member("drift/age/log_psi", effect=effect, joined_at=DAY, settle_after=timedelta(days=14))
    found = verdict(DRIFT, [judged("psi", "age")], [inside(distance)], [own])
    assert found.level == level
    assert ("Reported, not failed: in this window near its old level." in found.text) == (level == "ok")


def test_it_goes_on_failing_in_a_window_that_is_not_judged_yet():
    own = member("drift/age/log_psi", joined_at=DAY - timedelta(days=2), settle_after=timedelta(days=14))
    waiting = [inside(None, known_to=DAY - timedelta(days=1), warns=True)]
    published = Published([judged("psi", "age")], [], [own], waiting=waiting)
    [(_, _, found)] = verdicts("drift", [DRIFT], published)
    assert (found.level, found.cause) == ("error", "incident")
    assert found.text.endswith("Not judged yet after 2026-01-30: as before.")
    ended = [member("drift/age/log_psi", joined_at=DAY - timedelta(days=20), settle_after=timedelta(days=14))]
    [(_, _, settled)] = verdicts("drift", [DRIFT], Published([judged("psi", "age")], [], ended, waiting=waiting))
    assert settled.level == "ok"


def test_a_large_effect_is_away_from_three_deviations_on():
    own = member("drift/age/log_psi", effect=40.0, joined_at=DAY, settle_after=timedelta(days=14))
    levels = [verdict(DRIFT, [judged("psi", "age")], [inside(d)], [own]).level for d in (2.9, 3.1)]
    assert levels == ["ok", "error"]


def test_an_incident_fails_a_check_until_it_has_settled_and_again_where_it_moves_again():
    joined = DAY - timedelta(days=13)
    own = member("drift/age/log_psi", joined_at=joined, settle_after=timedelta(days=14))
    assert verdict(DRIFT, [judged("psi", "age")], [inside(4.0)], [own]).level == "error"
    settled = replace(own, joined_at=joined - timedelta(days=1))
    found = verdict(DRIFT, [judged("psi", "age")], [inside(4.0)], [settled])
    assert (found.level, found.cause) == ("ok", "")
    assert "settled at a new level since 2026-01-31, until somebody says what it was" in found.text
    assert found.facts["incident"] == "i1"
    again = replace(settled, moved_again_at=DAY, moved_again_effect=8.0)
    assert verdict(DRIFT, [judged("psi", "age")], [inside(8.0)], [again]).level == "error"
    later = replace(settled, moved_again_at=DAY + timedelta(days=1), moved_again_effect=8.0)
    assert verdict(DRIFT, [judged("psi", "age")], [inside(8.0)], [later]).level == "ok", "this window cannot know"


def thresholds(**limits: float) -> tuple[Threshold, ...]:
    return (Threshold(metric="psi", column="age", **limits),)


@pytest.mark.parametrize(
    ("limits", "level", "words"),
    [
        ({"fail_above": 0.1}, "error", "Psi 0.2 is above fail_above: 0.1. "),
        ({"warn_above": 0.1, "fail_above": 0.3}, "warn", "Psi 0.2 is above warn_above: 0.1. "),
        ({"fail_below": 0.3, "warn_below": 0.5}, "error", "Psi 0.2 is below fail_below: 0.3. "),
        ({"warn_below": 0.3}, "warn", "Psi 0.2 is below warn_below: 0.3. "),
        ({"fail_above": 0.2, "fail_below": 0.2}, "ok", ""),
    ],
)
def test_a_fixed_threshold_is_a_rule(limits, level, words):
    found = verdict(DRIFT, [judged("psi", "age", thresholds=thresholds(**limits))])
    assert (found.level, found.cause) == (level, "rule" if words else "")
    assert found.text.startswith(f"{words}psi 0.2")


def test_every_threshold_that_is_crossed_is_told():
    rows = [
        judged("contract_rate", "age", thresholds=(Threshold(metric="contract_rate", column="age", fail_above=0.1),)),
        judged("null_rate", "age", thresholds=(Threshold(metric="null_rate", column="age", fail_above=0.15),)),
    ]
    found = verdict(CONTRACT, rows)
    assert (found.level, found.cause) == ("error", "rule")
    assert "Contract rate 0.2 is above fail_above: 0.1. Null rate 0.2 is above fail_above: 0.15. " in found.text


def test_a_threshold_is_not_held_against_what_was_not_judged():
    row = judged(
        "psi", "age", status="insufficient_data", reason_code="too_few_rows", thresholds=thresholds(fail_above=0.1)
    )
    assert verdict(DRIFT, [row]) is None


def test_streams_of_other_columns_and_assets_do_not_matter():
    streams = [
        stream("drift", "log_psi", "income", in_incident=True, incident_id="i1"),
        stream("data_quality", "null_rate", "age", in_incident=True, incident_id="i1"),
    ]
    assert verdict(DRIFT, [judged("psi", "age")], streams).level == "ok"
    assert verdict(COLUMN, [judged("null_rate", "age")], streams, [member("x")]).level == "error"


def test_growing_evidence_warns():
    streams = [stream("drift", "log_psi", "age", status="warn", adjusted_evidence_days=40.0, warns=True, distance=2.5)]
    found = verdict(DRIFT, [judged("psi", "age")], streams)
    later = verdict(DRIFT, [judged("psi", "age")], [replace(streams[0], warns=False)])
    assert later.level == "ok", "it has been told"
    assert "once in 40 days" not in later.text and "40 days" in later.facts["evidence"], "a passed check tells no story"
    assert "(drift/age/log_psi) lies +2.5 sd from what was expected." in found.text
    assert (found.level, found.cause) == ("warn", "evidence")
    assert "once in 40 days" in found.text


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("no_reference", NO_REFERENCE),
        ("no_labels", "no labelled rows"),
        ("too_few_rows", "50 rows; 200 needed"),
        ("window_open", "the window is still open"),
        ("labels_not_due", "the labels are not due yet: no labelled rows"),
        ("too_few_rows", "37 labelled rows, 100 needed"),
    ],
)
def test_too_few_data_give_no_verdict(code, reason):
    assert verdict(AUC, [judged("roc_auc", status="insufficient_data", reason=reason, reason_code=code)]) is None


def test_a_metric_that_fails_warns_as_long_as_it_does():
    row = judged("roc_auc", status="insufficient_data", reason="the metric failed: x", reason_code="metric_failed")
    found = verdict(AUC, [row])
    assert (found.level, found.cause) == ("warn", "rule")
    assert found.text == "Not enough data: the metric failed: x."


def test_what_is_known_of_a_column_counts_even_if_one_rate_is_not():
    rows = [
        judged("null_rate", "age"),
        judged("unseen_rate", "age", status="insufficient_data", reason="3 rows, 20 needed"),
    ]
    assert verdict(COLUMN, rows).level == "ok"


class TestHardRules:
    def test_no_predictions_fail(self):
        found = verdict(
            VOLUME, [judged("n_rows", value=0.0, status="alert", reason="no predictions in a closed window")]
        )
        assert found.level == "error"
        assert found.text.startswith("No predictions in a closed window")
        assert "holidays" in found.facts["what to do"]

    def test_a_broken_contract_fails_the_contract_check(self):
        rows = [
            judged("contract_rate", "age", status="alert", reason="0.2 of the rows break the column's contract"),
            judged("null_rate", "age"),
        ]
        assert verdict(CONTRACT, rows).level == "error"

    def test_only_the_contract_check_knows_the_contract(self):
        rows = [judged("contract_rate", "age", status="alert", reason="x"), judged("null_rate", "age")]
        assert verdict(COLUMN, rows).level == "ok"

    def test_a_warning_about_missing_values_is_no_broken_contract(self):
        rows = [judged("contract_rate", "age", value=0.0), judged("null_rate", "age", status="warn", reason="above")]
        assert verdict(CONTRACT, rows).level == "ok"
        assert verdict(COLUMN, rows).level == "ok"

    def test_a_share_of_missing_values_above_the_limit_fails(self):
        found = verdict(
            CONTRACT, [judged("null_rate", "age", status="alert", reason="missing in 0.4 of the rows, 0.1 allowed")]
        )
        assert found.level == "error"


def test_every_family_of_checks_has_a_remedy(make_spec):
    spec = make_spec(
        columns={"score": "p", "status": "s", "latency_ms": "ms", "features": {"age": {"kind": "numeric", "min": 0}}},
        metrics=[{"name": "kpi", "sql": "1"}],
    )
    families = {family(check) for check in plan.checks(spec)} - {"contract"}
    assert families - {"open_incidents", "hard_rules", "coverage", "label_freshness"} <= set(REMEDIES)


def test_nothing_judged_is_no_verdict():
    assert verdict(DRIFT, []) is None


def test_a_silent_day_that_is_listed_as_a_pause_passes_and_says_so():
    reason = "no predictions on a day listed under alerts.holidays"
    found = verdict(VOLUME, [judged("n_rows", value=0.0, n=0, reason=reason)])
    assert (found.level, found.text) == ("ok", "No predictions on a day listed under alerts.holidays. n rows 0.")


def test_the_unit_stands_beside_the_value_and_among_the_facts():
    check = PlannedCheck("data_quality", "metric__refund", "", metric="refund", unit="EUR")
    found = verdict(check, [judged("refund", value=3.5, reference_value=3.0)])
    assert found.text == "refund 3.5, reference 3 EUR."
    assert found.facts["unit"] == "EUR"


def test_streams_that_joined_later_or_moved_again_have_their_own_dates():
    mine = "drift/age/log_psi"
    streams = [stream("drift", "log_psi", "age", in_incident=True, incident_id="i1", status="muted", stream=mine)]
    first = member("drift/income/log_psi", joined_at=datetime(2026, 1, 10), change_point=datetime(2026, 1, 9))
    own = member(
        mine,
        joined_at=datetime(2026, 1, 30),
        moved_again_at=datetime(2026, 1, 31),
        moved_again_effect=12.0,
    )
    found = verdict(DRIFT, [judged("psi", "age")], streams, [first, own])
    assert "since 2026-01-29, moved again since 2026-01-31" in found.text
    assert found.facts["joined later"] == f"{mine} on 2026-01-30 00:00, changed 2026-01-29 00:00"
    assert found.facts["moved again"] == f"{mine} since 2026-01-31 00:00: +12 sd from the old level"
    back = verdict(DRIFT, [judged("psi", "age")], streams, [first, replace(own, moved_again_effect=0.3)])
    assert ", back at its old level since 2026-01-31" in back.text
    before = verdict(DRIFT, [judged("psi", "age")], streams, [first, replace(own, moved_again_at=datetime(2026, 2, 1))])
    assert "moved again" not in before.text, "this window cannot know"
    assert "moved again" not in before.facts


def test_streams_that_opened_the_incident_come_first_whatever_the_evidence_of_those_that_joined():
    first, later = "drift/age/true_rate", "drift/age/log_psi"
    streams = [
        stream("drift", name.split("/")[2], "age", in_incident=True, incident_id="i1", status="muted", stream=name)
        for name in (first, later)
    ]
    opened = member(first, joined_at=datetime(2026, 1, 10), change_point=datetime(2026, 1, 9))
    joined = member(later, joined_at=datetime(2026, 1, 12), evidence=50_000.0)
    found = verdict(DRIFT, [judged("psi", "age")], streams, [joined, opened])
    assert found.text.index(first) < found.text.index(later)
    assert found.text.startswith("In incident i1 since 2026-01-09: ")
    assert first in found.facts["moved"]


def test_what_is_back_at_its_old_level_is_not_told_beside_what_moved_since():
    gone, new = "drift/age/location", "drift/age/log_psi"
    streams = [
        stream("drift", name.split("/")[2], "age", in_incident=True, incident_id="i1", status="muted", stream=name)
        for name in (gone, new)
    ]
    back = {"moved_again_at": datetime(2026, 1, 28), "moved_again_effect": 0.1}
    members = [member(gone, joined_at=datetime(2026, 1, 10), change_point=datetime(2026, 1, 9), **back)]
    members.append(member(new, joined_at=datetime(2026, 1, 30)))
    found = verdict(DRIFT, [judged("psi", "age")], streams, members)
    assert found.text.startswith("In incident i1 since 2026-01-29: age: the distance")
    assert "back at its old level" not in found.text
    assert gone not in found.text
    assert found.facts["change point"] == "2026-01-29 00:00 UTC"


def test_a_member_of_an_incident_without_a_value_says_why():
    streams = [stream("model_quality", "roc_auc", in_incident=True, incident_id="i1", stream="model_quality/roc_auc")]
    row = judged("roc_auc", value=None, n=0, status="insufficient_data", reason="no labelled rows")
    found = verdict(AUC, [row], streams, [member("model_quality/roc_auc")])
    assert found.level == "error"
    assert found.text.startswith("In incident i1 since 2026-01-29")
    assert found.text.endswith("Not enough data: no labelled rows.")


def test_a_spike_fails_its_own_window_only_and_says_by_whose_rule():
    spike = stream("drift", "location", "age", distance=-7.25, spike_limit=6.0)
    found = verdict(DRIFT, [judged("psi", "age")], [spike])
    assert found.level == "error"
    told = "Spike: age: the mean (drift/age/location) lies -7.2 sd from what was expected (limit 6). "
    assert found.text.startswith(told)
    assert found.facts["what to do"] == REMEDIES["drift"]
    for ordinary in (
        stream("drift", "location", "age", distance=5.9, spike_limit=6.0),
        stream("drift", "location", "age", distance=-7.25),
        stream("drift", "location", "age", distance=None, spike_limit=6.0),
    ):
        assert verdict(DRIFT, [judged("psi", "age")], [ordinary]).level == "ok"


def test_a_stream_in_an_incident_is_no_spike():
    away = stream("drift", "location", "age", distance=9.0, spike_limit=6.0, in_incident=True, incident_id="i1")
    found = verdict(DRIFT, [judged("psi", "age")], [away], [member("drift/age/location")])
    assert "Spike" not in found.text


def test_the_first_pattern_gives_the_limit():
    spec = MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "binary_classification"},
            "columns": {"score": "p", "features": {"age": "numeric"}},
            "reference": {"path": "r.parquet"},
            "alerts": {"spikes": {"drift/age/*": 4, "drift/*": 8}},
        }
    )
    assert spike_limit(spec, "drift/age/location") == 4
    assert spike_limit(spec, "drift/score/location") == 8
    assert spike_limit(spec, "data_quality//n_rows") is None


class TestNewNormal:
    """A level that became the normal though nobody said what it was."""

    ENDED = DAY - timedelta(days=3)

    def ended(self, **values):
        facts = {"ended_at": self.ENDED, "ended_by": "new normal", "settle_after": timedelta(days=14)}
        facts |= {"change_point": datetime(2025, 12, 16)}
        return member("drift/age/log_psi", **facts | values)

    def test_it_is_told_for_as_long_as_an_incident_is_red_and_stays_among_the_facts(self):
        now = verdict(DRIFT, [judged("psi", "age")], [stream("drift", "log_psi", "age")], [self.ended()])
        assert now.level == "ok"
        assert "Judged against its level since 2025-12-16 from 2026-01-28 on: it lasted, and nobody said" in now.text
        long_ago = self.ended(ended_at=DAY - timedelta(days=15))
        then = verdict(DRIFT, [judged("psi", "age")], [stream("drift", "log_psi", "age")], [long_ago])
        assert "nobody said" not in then.text
        assert then.facts["judged against"].endswith("its level since 2025-12-16 (incident i1)")

    @pytest.mark.parametrize("values", [{"ended_by": "user"}, {"ended_at": DAY + timedelta(days=1)}])
    def test_not_where_somebody_said_it_or_before(self, values):
        found = verdict(DRIFT, [judged("psi", "age")], [stream("drift", "log_psi", "age")], [self.ended(**values)])
        assert "judged against" not in found.facts
        assert "nobody said" not in found.text

    def test_not_once_a_later_incident_was_answered(self):
        later = self.ended(incident_id="i2", change_point=datetime(2026, 1, 28), ended_by="user", ended_at=DAY)
        found = verdict(DRIFT, [judged("psi", "age")], [stream("drift", "log_psi", "age")], [self.ended(), later])
        assert "judged against" not in found.facts


def test_a_rule_that_fails_does_not_say_that_it_does_not():
    away = stream("drift", "log_psi", "age", in_incident=True, incident_id="i1", distance=8.0)
    seen = member("drift/age/log_psi", joined_at=datetime(2026, 1, 29), acknowledged_from=datetime(2026, 1, 30))
    warned = verdict(DRIFT, [judged("psi", "age")], [away], [seen])
    assert warned.level == "warn" and "Warned, not failed: the incident is acknowledged." in warned.text
    limit = Threshold(metric="psi", column="age", fail_above=0.1)
    failed = verdict(DRIFT, [judged("psi", "age", thresholds=(limit,))], [away], [seen])
    assert (failed.level, failed.cause) == ("error", "rule")
    assert "not failed" not in failed.text


def test_a_rule_waits_where_a_value_may_still_move_and_says_so():
    limit = Threshold(metric="roc_auc", fail_below=0.55)
    facts = {"value": 0.54, "ci_low": 0.45, "status": "provisional", "reason": "labels come", "thresholds": (limit,)}
    found = verdict(AUC, [judged("roc_auc", ci_high=0.63, **facts)])
    assert found.level == "ok"
    assert "Roc auc 0.54 is below fail_below: 0.55, by a value that may still move: the rule waits." in found.text
    assert verdict(AUC, [judged("roc_auc", ci_high=0.5, **facts)]).level == "error"


def test_a_member_with_a_small_effect_is_not_away_at_its_old_level():
    small = member("drift/age/log_psi", effect=-0.0077, joined_at=datetime(2026, 1, 30))
    away = stream("drift", "log_psi", "age", in_incident=True, incident_id="i1")
    assert verdict(DRIFT, [judged("psi", "age")], [replace(away, distance=0.3)], [small]).level == "ok"
    assert verdict(DRIFT, [judged("psi", "age")], [replace(away, distance=1.4)], [small]).level == "error"


def test_a_listed_day_within_an_incident_is_not_red():
    off = stream("drift", "log_psi", "age", in_incident=True, incident_id="i1", distance=9.0, reason_code="holiday")
    found = verdict(DRIFT, [judged("psi", "age")], [off], [member("drift/age/log_psi")])
    assert found.level == "ok"
    assert "Reported, not failed: this day is listed under alerts.holidays." in found.text
