"""What a check says of a window, in sentences and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from metrics_py.alerting.changes import BACK
from metrics_py.wording import day, deviations, number
from sightline.alerts.stream_words import stream_words
from sightline.judging.published import IncidentMember, Judgement, StreamState
from sightline.judging.standing import member_of, standing
from sightline.spec.stretches import is_over_stretch, metric_words

SHOWN_STREAMS = 8
LATE_FROM, LATE_OF = 3, 14
"""In so many of the latest so many windows rows came late: then it is no accident."""
TOLD = ("usual", "estimated", "audited", "unvalidated", "arrivals", "never_labelled")
"""Reasons that are told of a value that is ok."""


def moved_words(warning: Sequence[StreamState]) -> str:
    """Where the streams that warn lie in this window."""
    told = [
        f"{stream_words(s.stream)} ({s.stream}) lies {deviations(s.distance, sign=True)} from what was expected"
        for s in warning
        if s.distance is not None
    ]
    return f" In this window {'; '.join(told[:3])}." if told else ""


def normal_now(
    streams: Sequence[StreamState], incidents: Mapping[str, list[IncidentMember]], start: datetime
) -> list[IncidentMember]:
    """The latest memberships of some streams that became the normal unasked, newest first."""
    names = {s.stream for s in streams}
    latest: dict[str, IncidentMember] = {}
    for member in (
        m for members in incidents.values() for m in members if m.stream in names and m.change_point < start
    ):
        known = latest.get(member.stream)
        if known is None or member.change_point > known.change_point:
            latest[member.stream] = member
    return sorted((m for m in latest.values() if m.is_normal_now(start)), key=lambda m: m.since, reverse=True)


def normal_words(member: IncidentMember) -> str:
    """Against which level a stream is judged since it became the normal unasked."""
    return f"{stream_words(member.stream)}: its level since {day(member.since)} (incident {member.incident_id})"


def newly_normal_words(normal: Sequence[IncidentMember], start: datetime) -> str:
    """That a level became the normal though nobody said what it was; told for as long as an incident is red."""
    fresh = [m for m in normal if m.ended_at and m.settle_after and start < m.ended_at + m.settle_after]
    if not fresh:
        return ""
    return (
        f" Judged against its level since {day(fresh[0].since)} from {day(fresh[0].ended_at)} on: it lasted, and "
        f"nobody said what incident {fresh[0].incident_id} was."
    )


def late_words(windows: Sequence[datetime], grew: frozenset[datetime]) -> str:
    """Whether rows keep coming after their windows have been judged, by the latest of some windows."""
    latest = sorted(windows)[-LATE_OF:]
    n = sum(window in grew for window in latest)
    if n < LATE_FROM:
        return ""
    return (
        f" Rows came after their window had been judged in {n} of the last {len(latest)}: `close_after` in the "
        "monitor's file says how long a window waits for them."
    )


def revised_words(streams: Sequence[StreamState]) -> str:
    """What was decided on other values than the window has today."""
    told = [
        stream_words(s.stream, s.display_then, s.display_now)
        for s in streams
        if (s.in_incident or s.warns) and s.display_then is not None and s.display_now is not None
    ]
    told = [words for words in told if " stays near " not in words]
    return f" Since the window was decided {'; '.join(told[:3])}." if told else ""


def _is_unclear_stretch(row: Judgement) -> bool:
    return is_over_stretch(row.reason) and row.reason_code == "unclear"


def why_not_red(members: list[StreamState], incidents: Mapping[str, list[IncidentMember]]) -> str:
    """Why a check with streams in an incident does not fail."""
    found = {standing(state, incidents): state for state in members}
    if "acknowledged" in found:
        return "the incident is acknowledged"
    if "answered" in found:
        return "somebody has said what it was (`sightline incidents`)"
    member = member_of(found["settled"], incidents) if "settled" in found else None
    if member is not None:
        since = member.known_at(found["settled"].window_start).settled_at
        return f"settled at a new level since {day(since)}, until somebody says what it was"
    if "withdrawn" in found and "near" not in found:
        return "of what was decided on this window nothing is left: it was withdrawn"
    if "near" not in found:
        return "this day is listed under alerts.holidays"
    return "in this window near its old level"


def facts_of(row: Judgement, strongest: StreamState | None) -> dict[str, Any]:
    """What a check rests on: the judgement that speaks for it, and the evidence of its strongest stream."""
    facts: dict[str, Any] = {"metric": row.metric}
    facts |= {name: fact for name, fact in (("value", row.value), ("n", row.n)) if fact is not None}
    if row.reference_value is not None:
        facts["reference"] = row.reference_value
    if row.ci_low is not None and row.ci_high is not None:
        facts["interval"] = f"[{number(row.ci_low)}, {number(row.ci_high)}]"
    bound = _bound(row)
    if bound:
        facts["bound"] = bound
    if strongest is not None:
        facts["evidence"] = evidence_words(strongest.evidence_days)
    if row.naive_value is not None:
        facts["naive value"] = row.naive_value
    if row.maturity is not None:
        facts["maturity"] = row.maturity
    if row.reason:
        facts["reason"] = row.reason
    return facts


def evidence_words(days: float) -> str:
    """Evidence as people read it; it is counted over all streams, to compare with the budget.

    Examples
    --------
    >>> evidence_words(412.3)
    'appears by chance at most once in 412 days, over all streams'
    """
    return f"appears by chance at most once in {days:,.0f} days, over all streams" if days >= 1 else "none"


def incident_facts(
    rejected: list[StreamState], incidents: Mapping[str, list[IncidentMember]], start: datetime
) -> dict[str, Any]:
    """What is known of the incident that streams of a check are in."""
    if not rejected:
        return {}
    incident = rejected[0].incident_id or ""
    members = incidents.get(incident, [])
    own = [m for m in members if m.stream in {s.stream for s in rejected}]
    facts: dict[str, Any] = {"incident": incident}
    if own:
        facts["evidence"] = evidence_words(max(m.evidence_days for m in own))
        first = _away_still(own, start)[0]
        facts["change point"] = f"{first.since:%Y-%m-%d %H:%M} UTC"
        facts["moved"] = first.words
        if first.effect is not None:
            facts["effect"] = (
                f"{deviations(first.effect, sign=True).removesuffix(' sd')} standard deviations of the days before"
            )
        facts |= _later_facts(own, members, start)
    others = [m.words for m in sorted(members, key=lambda m: m.rank) if m not in own]
    if others:
        rest = f" and {len(others) - SHOWN_STREAMS} more" if len(others) > SHOWN_STREAMS else ""
        facts["moved with it"] = "; ".join(others[:SHOWN_STREAMS]) + rest
    return facts


def _later_facts(own: list[IncidentMember], members: list[IncidentMember], start: datetime) -> dict[str, Any]:
    """What happened after the incident had opened.

    Streams of the check that joined it, and those that moved once more.
    """
    opened = min((m.joined_at for m in members if m.joined_at), default=None)
    joined = [m for m in own if opened and m.joined_at and m.joined_at > opened]
    again = [m for m in own if m.moved_again_at and m.moved_again_at <= start]
    facts: dict[str, Any] = {}
    if joined:
        facts["joined later"] = "; ".join(
            f"{m.stream} on {m.joined_at:%Y-%m-%d %H:%M}, changed {m.change_point:%Y-%m-%d %H:%M}" for m in joined
        )
    if again:
        facts["moved again"] = "; ".join(
            f"{m.stream} since {m.moved_again_at:%Y-%m-%d %H:%M}: "
            f"{deviations(m.moved_again_effect or 0.0, sign=True)} from the old level"
            for m in again
        )
    return facts


def _bound(row: Judgement) -> str:
    low, high = row.bound_low, row.bound_high
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    return f"at least {number(low)}" if low is not None else f"at most {number(high)}" if high is not None else ""


def text_of(
    row: Judgement,
    unit: str,
    rejected: list[StreamState],
    strongest: StreamState | None,
    hard: bool,
    incidents: Mapping[str, list[IncidentMember]],
) -> str:
    """The sentences of a check: the incident, then the value, its interval and its reference."""
    name = metric_words(row.metric)
    if row.status == "insufficient_data" and (not rejected or row.value is None) and not _is_unclear_stretch(row):
        told = capitalised(row.reason) if row.reason_code == "judged_later" else f"Not enough data: {row.reason}"
        return f"{_incident_words(row, rejected, incidents)}{told}."
    text = f"{name} {number(row.value)}"
    if row.ci_low is not None and row.ci_high is not None:
        text += f" [{number(row.ci_low)}, {number(row.ci_high)}]"
    if row.reference_value is not None:
        text += f", reference {number(row.reference_value)}"
    text += f" {unit}." if unit else "."
    is_pause = row.metric == "n_rows" and row.status == "ok"
    is_told = hard or is_pause or row.status in ("warn", "provisional") or row.reason_code in TOLD
    if row.reason and (is_told or is_over_stretch(row.reason)):
        text = f"{capitalised(row.reason)}. {text}"
    if rejected:
        text = _incident_words(row, rejected, incidents) + text
    elif strongest is not None and strongest.warns:
        text += f" Evidence {evidence_words(strongest.evidence_days)}."
    return text


def capitalised(words: str | None) -> str:
    """A sentence of words that may begin with a name."""
    return f"{words[0].upper()}{words[1:]}" if words else ""


def spike_words(spikes: list[StreamState]) -> str:
    """Which streams are too far out in this one window; the rule is the user's own (`alerts.spikes`)."""
    told = [
        f"{stream_words(s.stream)} ({s.stream}) lies {deviations(s.current_distance or 0.0, sign=True)} from what was "
        f"expected "
        f"(limit {s.spike_limit:g})"
        for s in sorted(spikes, key=lambda s: -abs(s.current_distance or 0.0))
    ]
    return f"Spike: {'; '.join(told)}. " if told else ""


def _away_still(members: Sequence[IncidentMember], start: datetime) -> list[IncidentMember]:
    """Members that had not returned to their old level by this window, in their order; all where all had."""

    def is_back(member: IncidentMember) -> bool:
        is_again = member.moved_again_at is not None and member.moved_again_at <= start
        return is_again and abs(member.moved_again_effect or 0.0) < BACK

    away = [member for member in members if not is_back(member)]
    return sorted(away or members, key=lambda member: member.rank)


def _incident_words(row: Judgement, rejected: list[StreamState], incidents: Mapping[str, list[IncidentMember]]) -> str:
    """Which incident the check is in, since when, and what its streams did later, as far as this window can know."""
    if not rejected:
        return ""
    own = {s.stream for s in rejected}
    members = [m for m in incidents.get(rejected[0].incident_id or "", []) if m.stream in own]
    ranked = _away_still(members, row.window_start)
    since = ranked[0].since if ranked else None
    later = [(m.moved_again_at, m.moved_again_effect or 0.0) for m in ranked if m.moved_again_at]
    later = [(moment, effect) for moment, effect in later if moment <= row.window_start]
    words = f" since {day(since)}" if since else ""
    if later:
        moment, effect = max(later, key=lambda moved: moved[0])
        is_back = abs(effect) < BACK
        words += f", {'back at its old level' if is_back else 'moved again'} since {day(moment)}"
    told = [m.words for m in ranked[:3]] or sorted(own)[:3]
    return f"In incident {rejected[0].incident_id}{words}: {'; '.join(told)}. "
