"""What a check says, from judgements and the engine's decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sightline.judging.drift import NO_REFERENCE
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState, spike_limit
from sightline.judging.verdicts import REMEDIES, family, verdicts
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck

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


def test_ok_below_everything():
    found = verdict(
        DRIFT, [judged("psi", "age", ci_low=0.01, ci_high=0.03, bound_high=0.1)], [stream("drift", "log_psi", "age")]
    )
    assert found.level == "ok"
    assert found.facts["interval"] == "[0.01, 0.03]"
    assert found.facts["bound"] == "at most 0.1"
    assert found.facts["n"] == 500
    assert "what to do" not in found.facts


def test_a_drift_beyond_its_tolerance_warns_and_does_not_fail():
    found = verdict(DRIFT, [judged("psi", "age", status="warn", reason="higher by 0.9 sd")])
    assert found.level == "warn"
    assert found.text.startswith("Higher by 0.9 sd")


def test_a_rejected_stream_fails_with_evidence_effect_change_point_companions_and_a_remedy():
    mine, other = "drift/age/log_psi", "drift/income/log_psi"
    streams = [stream("drift", "log_psi", "age", in_incident=True, incident_id="i1", status="alert", stream=mine)]
    found = verdict(DRIFT, [judged("psi", "age")], streams, [member(mine), member(other)])
    assert found.level == "error"
    assert found.text.startswith("In incident i1 since 2026-01-29")
    assert found.facts["evidence"] == "appears by chance at most once in 900 days, over all streams"
    assert found.facts["change point"] == "2026-01-29 00:00 UTC"
    assert found.facts["effect"] == "+4.2 standard deviations of the days before"
    assert found.facts["moved with it"] == other
    assert found.facts["what to do"] == REMEDIES["drift"]


def test_a_muted_member_of_an_open_incident_keeps_failing():
    streams = [stream("drift", "log_psi", "age", in_incident=True, incident_id="i1", status="muted")]
    assert verdict(DRIFT, [judged("psi", "age")], streams, [member("drift/age/log_psi")]).level == "error"


def test_streams_of_other_columns_and_assets_do_not_matter():
    streams = [
        stream("drift", "log_psi", "income", in_incident=True, incident_id="i1"),
        stream("data_quality", "null_rate", "age", in_incident=True, incident_id="i1"),
    ]
    assert verdict(DRIFT, [judged("psi", "age")], streams).level == "ok"
    assert verdict(COLUMN, [judged("null_rate", "age")], streams, [member("x")]).level == "error"


def test_growing_evidence_warns():
    streams = [stream("drift", "log_psi", "age", status="warn", adjusted_evidence_days=40.0)]
    found = verdict(DRIFT, [judged("psi", "age")], streams)
    assert found.level == "warn"
    assert "once in 40 days" in found.text


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("too_few_rows", "50 rows; 200 needed"),
        ("window_open", "the window is still open"),
        ("labels_not_due", "the labels are not due yet: no labelled rows"),
        ("too_few_rows", "37 labelled rows, 100 needed"),
    ],
)
def test_too_few_data_give_no_verdict(code, reason):
    assert verdict(AUC, [judged("roc_auc", status="insufficient_data", reason=reason, reason_code=code)]) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [("no_reference", NO_REFERENCE), ("no_labels", "no labelled rows"), ("metric_failed", "the metric failed: x")],
)
def test_data_that_should_be_there_warn(code, reason):
    found = verdict(AUC, [judged("roc_auc", status="insufficient_data", reason=reason, reason_code=code)])
    assert found.level == "warn"
    assert found.text == f"Not enough data: {reason}."


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
        assert verdict(COLUMN, rows).level == "warn"

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
    assert families <= set(REMEDIES)


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


def test_a_check_that_never_had_enough_data_warns_instead_of_staying_silent():
    """Fifteen rows a day, or one class only: no verdict for weeks must not look like a pass."""
    days = [DAY + timedelta(days=k) for k in range(6)]
    few = {"status": "insufficient_data", "reason": "16 rows; 200 needed"}
    rows = [judged("psi", "age", window_start=day, **(few if k != 1 else {})) for k, day in enumerate(days)]
    published = Published(rows, [], [])
    found = {start: verdict for _, start, verdict in verdicts("drift", [DRIFT], published, patience=3)}
    assert {start: verdict.level for start, verdict in found.items()} == {
        days[1]: "ok",
        days[4]: "warn",
        days[5]: "warn",
    }
    assert found[days[5]].text == "Not judged in 4 windows in a row, not enough data: 16 rows; 200 needed."
    assert "schedule" in found[days[5]].facts["what to do"]


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
    assert found.text.startswith("Spike: drift/age/location lies -7.2 sd from what was expected (limit 6). ")
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
