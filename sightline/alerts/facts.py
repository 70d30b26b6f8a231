"""An incident as facts that a message tells: what moved, since when, how large, how sure, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from metrics_py.wording import day, deviations
from sightline.alerts.stream_words import parts, stream_words
from sightline.spec.model import MonitorSpec

LEVELS = ("display_before", "display_after", "display_extreme")


def told_facts(spec: MonitorSpec, incident: Mapping[str, Any], members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of an incident, JSON-able.

    Parameters
    ----------
    spec : MonitorSpec
    incident : mapping
        A row of the snapshot `incidents`.
    members : sequence of mapping
        Result of `member_rows`.

    Returns
    -------
    dict
        ``what, since, opened, size, sure, budget, n_streams, main_asset, members, todo``; the members by `rank`.
    """
    name = incident["incident_id"]
    main = next((m for m in members if m["stream"] == incident["main_stream"]), members[0] if members else None)
    command = f"{spec.id} {name}"
    return {
        "what": main["words"] if main else stream_words(incident["main_stream"]),
        "since": _day(incident["change_point"]),
        "opened": _day(incident["opened_at"]),
        "size": main["size"] if main else "",
        "sure": f"appears by chance at most once in {incident['evidence_days']:,.0f} days",
        "budget": str(spec.alerts.budget),
        "n_streams": incident["n_streams"],
        "main_asset": parts(incident["main_stream"])[0],
        "members": list(members),
        "todo": [
            f"sightline acknowledge {command}  (somebody is at it)",
            f"sightline fixed {command}  (mended)",
            f"sightline accept {command}  (the new normal)",
        ],
    }


def rank(member: Mapping[str, Any]) -> tuple[datetime, float]:
    """Place among the members of an incident: those that opened it first, of one window the most evident.

    The evidence of one that joined later has gathered for longer, so it says nothing of which is the cause.

    Parameters
    ----------
    member : mapping
        A row of the snapshot `incident_members`.

    Returns
    -------
    tuple
        To sort by.
    """
    return member.get("joined_at") or datetime.min, -member["evidence"]


def member_rows(members: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Members in words, those that opened the incident first; each stream once.

    Parameters
    ----------
    members : sequence of mapping
        Rows of the snapshot `incident_members`.

    Returns
    -------
    list of dict
        ``stream, words, size``.
    """
    found: dict[str, dict[str, Any]] = {}
    for member in sorted(members, key=rank):
        words = stream_words(member["stream"], *(member.get(name) for name in LEVELS))
        size = deviations(member["effect"], sign=True) if member["effect"] is not None else "a new level"
        found.setdefault(member["stream"], {"stream": member["stream"], "words": words, "size": size})
    return list(found.values())


def ended_words(incident: Mapping[str, Any]) -> str:
    """How an incident ended without a person's word.

    Parameters
    ----------
    incident : mapping
        A row of the snapshot `incidents`.

    Returns
    -------
    str
    """
    when = _day(incident["closed_at"])
    if incident["closed_by"] == "new normal":
        return f"taken for the new normal on {when}: it stayed there, and nobody said what it was"
    return f"back to its old level on {when}"


def names_of(streams: Sequence[str]) -> tuple[str, ...]:
    """Assets of streams, sorted.

    Parameters
    ----------
    streams : sequence of str
        Names of streams.

    Returns
    -------
    tuple of str
    """
    return tuple(sorted({parts(stream)[0] for stream in streams}))


def _day(moment: datetime | None) -> str:
    return "" if moment is None else day(moment)
