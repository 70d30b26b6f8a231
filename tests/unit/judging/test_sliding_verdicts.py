"""What people see of quality over the last 7 and 28 days: words, and a check that stays red between two blocks."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from sightline.alerts import decisions
from sightline.judging.published import IncidentMember, Judgement, Published, StreamState, held
from sightline.judging.verdicts import verdicts
from sightline.spec.judging_sections import Threshold
from sightline.spec.plan import PlannedCheck

SUNDAY = datetime(2026, 2, 1)
CHECK = PlannedCheck("model_quality", "quality__roc_auc_28d", "", metric="roc_auc@28d")
STREAM = "model_quality/roc_auc@28d"


def day(k: int) -> datetime:
    return SUNDAY + timedelta(days=k)


def row(k: int, **values) -> Judgement:
    facts = {"window_start": day(k), "column": "", "metric": "roc_auc@28d", "value": 0.71, "n": 1400}
    return Judgement(**facts | {"ci_low": 0.69, "ci_high": 0.73} | values)


def state(k: int, **values) -> StreamState:
    named = {"stream": STREAM, "asset": "model_quality", "column": "", "statistic": "roc_auc@28d"}
    return StreamState(**named | {"window_start": day(k), "status": "ok", "in_incident": False} | values)


MEMBER = IncidentMember(
    incident_id="i1",
    stream=STREAM,
    change_point=day(-27),
    joined_at=day(0),
    evidence=900.0,
    evidence_days=900.0,
    level_before=1.5,
    level_after=0.9,
    effect=-6.0,
    display_before=0.82,
    display_after=0.71,
    settle_after=timedelta(days=14),
)


def told(rows: list[Judgement], streams: list[StreamState]) -> dict[datetime, tuple[str, str]]:
    found = verdicts("model_quality", [CHECK], Published(rows, streams, [MEMBER]))
    return {start: (verdict.level, verdict.text) for _, start, verdict in found}


def test_it_is_told_in_words():
    assert told([row(0)], [state(0)])[day(0)] == ("ok", "roc auc of the last 28 days 0.71 [0.69, 0.73].")
    short = row(
        0, value=0.7, ci_low=None, ci_high=None, status="insufficient_data", reason="60 labelled rows, 100 needed"
    )
    assert told([short], []) == {}
    crossed = row(0, thresholds=(Threshold(metric="roc_auc@28d", fail_below=0.8),))
    level, text = told([crossed], [state(0)])[day(0)]
    assert level == "error" and text.startswith("Roc auc of the last 28 days 0.71 is below fail_below: 0.8. ")


def test_between_two_blocks_its_incident_stays_open(make_spec):
    spec = make_spec(quality={"windows": ["28d"]})
    decided = {"stream": STREAM, "in_incident": True, "incident_id": "i1", "distance": -6.0, "status": "muted"}
    other = {"stream": "model_quality/roc_auc", "in_incident": False, "incident_id": None, "distance": 0.0}
    rows = [{**decided, "window_start": day(0)}, {**other, "status": "ok", "window_start": day(20)}]
    known = held(spec, pl.DataFrame(rows)).filter(stream=STREAM)
    assert known["window_start"].to_list() == [day(k) for k in range(21)], "no window that is not decided"
    own = {"asset": "model_quality", "column": "", "statistic": "roc_auc@28d"}
    streams = [StreamState(**own, **values) for values in known.to_dicts()]
    levels = {start: level for start, (level, _) in told([row(k) for k in range(21)], streams).items()}
    assert [levels[day(k)] for k in (0, 5, 13)] == ["error"] * 3
    assert levels[day(14)] == "ok", "settled"
    text = told([row(0)], [streams[0]])[day(0)][1]
    assert "ROC AUC of the last 28 days fell from 0.82 to 0.71 (model_quality/roc_auc@28d)" in text


@pytest.mark.parametrize("windows", [[], ["7d"]])
def test_streams_of_other_lengths_are_not_held(make_spec, windows):
    spec = make_spec(quality={"windows": windows})
    rows = [{"stream": STREAM, "in_incident": True, "window_start": day(0)}]
    assert len(held(spec, pl.DataFrame([*rows, {**rows[0], "stream": "x", "window_start": day(9)}]))) == 2


def test_the_credit_of_a_long_window_is_no_warning():
    """28 windows are credited at once: evidence of 28 says nothing, that of three values does."""
    rows = [(STREAM, 28.0), (STREAM, 60.0), (STREAM, 85.0), (STREAM, 88.0), (STREAM, 20.0), (STREAM, 86.0)]
    frame = pl.DataFrame(rows, schema=["stream", "adjusted_evidence"], orient="row").with_columns(
        status=pl.lit("warn"), window_start=pl.Series([day(k) for k in range(len(rows))])
    )
    found = decisions.with_warnings(frame, {"@28d": 28})
    assert found["warns"].to_list() == [False, False, True, False, False, True]
    assert found["status"].to_list() == ["ok", "ok", "warn", "warn", "ok", "warn"]
    daily = frame.with_columns(stream=pl.lit("model_quality/roc_auc"))
    assert decisions.with_warnings(daily, {"@28d": 28})["warns"].to_list() == [True, False, False, False, False, False]
