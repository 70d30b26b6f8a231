"""How a stream stands in a window: as part of an incident, away from its level or near it, and what people said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sightline.judging.published import IncidentMember, StreamState

Standing = Literal["open", "acknowledged", "answered", "settled", "near", "holiday", "withdrawn", ""]
AWAY = 3.0
"""Standard deviations from the old level from which a window of a member is away, or half of its effect if less."""
NEAR = 1.0
"""Within so many it never is, however small the effect."""


def standing(state: StreamState, incidents: Mapping[str, list[IncidentMember]]) -> Standing:
    """How a stream stands in this window.

    Parameters
    ----------
    state : StreamState
        Of one window.
    incidents : mapping of str to list of IncidentMember
        Members of each incident.

    Returns
    -------
    {'open', 'acknowledged', 'answered', 'settled', 'near', 'holiday', 'withdrawn', ''}
        Open and acknowledged: away from its level as part of an incident. Answered and settled: away, but somebody
        said what it was, or it has been so for long. Near: not away. Holiday: a listed day, which says nothing.
        Withdrawn: of what was decided nothing is left. Empty without an incident.
    """
    if not state.in_incident:
        return ""
    if state.is_gone or state.reason_code == "holiday":
        return "withdrawn" if state.is_gone else "holiday"
    member, at = member_of(state, incidents), state.window_start
    if member is None:
        return "open"
    if member.is_answered(at) or member.has_settled(at):
        return "answered" if member.is_answered(at) else "settled"
    if not is_away(state, incidents):
        return "near"
    return "acknowledged" if member.is_acknowledged(at) else "open"


def member_of(state: StreamState, incidents: Mapping[str, list[IncidentMember]]) -> IncidentMember | None:
    """The membership of a stream in the incident of its window: of several the latest that had begun by then."""
    own = [m for m in incidents.get(state.incident_id or "", []) if m.stream == state.stream]
    at = state.decided_at or state.window_start
    begun = [m for m in own if m.joined_at is None or m.joined_at <= at]
    return max(begun, key=lambda m: m.joined_at or m.change_point) if begun else next(iter(own), None)


def is_away(state: StreamState, incidents: Mapping[str, list[IncidentMember]]) -> bool:
    """Whether a member of an incident is away from its level in this window, as far as is known."""
    if state.is_gone:
        return False
    member = member_of(state, incidents)
    if member is None or state.current_distance is None:
        return True
    return abs(state.current_distance) >= min(AWAY, max(abs(member.effect or AWAY) / 2, NEAR))
