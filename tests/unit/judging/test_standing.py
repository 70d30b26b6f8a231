"""How a stream stands in a window, where it was in its incident more than once, or moved again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sightline.judging.published import IncidentMember, StreamState
from sightline.judging.standing import standing
from sightline.judging.verdict_words import why_not_red

DAY = timedelta(days=1)
START = datetime(2026, 3, 2)


def state(k: int, **values) -> StreamState:
    named = {"stream": "drift/age/skew", "asset": "drift", "column": "age", "statistic": "skew"}
    facts = {"window_start": START + k * DAY, "decided_at": START + k * DAY, "status": "muted", "in_incident": True}
    return StreamState(**named | facts | {"incident_id": "i", "distance": 8.0} | values)


def member(joined: int, **values) -> IncidentMember:
    facts = {"incident_id": "i", "stream": "drift/age/skew", "change_point": START + joined * DAY, "evidence": 900.0}
    facts |= {"joined_at": START + joined * DAY, "evidence_days": 900.0, "level_before": 0.0, "level_after": 8.0}
    return IncidentMember(**facts | {"effect": 8.0, "settle_after": 5 * DAY} | values)


def test_a_stream_that_joins_its_incident_again_is_news():
    first = member(0, ended_at=START + 4 * DAY, acknowledged_from=START + 2 * DAY)
    both = {"i": [first, member(10)]}
    assert [standing(state(k), both) for k in (1, 3, 10, 14, 15)] == [
        "open",
        "acknowledged",
        "open",
        "open",
        "settled",
    ]


def test_labels_are_told_by_the_moment_they_were_decided():
    both = {"i": [member(0, ended_at=START + 4 * DAY), member(10)]}
    assert standing(state(7, decided_at=START + 11 * DAY), both) == "open"


def test_a_settled_level_is_dated_by_what_was_known():
    again = {"i": [member(0, moved_again_at=START + 20 * DAY, moved_again_effect=20.0)]}
    assert standing(state(8), again) == "settled"
    assert "since 2026-03-07" in why_not_red([state(8)], again)
    assert standing(state(21), again) == "open"
    assert "since 2026-03-27" in why_not_red([state(26)], again)
