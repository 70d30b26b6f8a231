"""The life of an incident: its state, owner and timeline, from what the engine decided and what people said.

Pure functions of the published snapshots and of the actions, so that everybody who reads them is told the same. The
engine knows how an incident ended; a person may know better: a word on an ended incident changes what is told of it,
never a decision that was published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import polars as pl

from metrics_py.alerting.changes import BACK
from metrics_py.wording import day
from sightline.alerts.answers import ACKNOWLEDGE, ENDS, MERGE, MOVED, REOPEN, SPLIT
from sightline.alerts.stream_words import stream_words

ASSIGN, NOTE = "assign", "note"
State = Literal["open", "acknowledged", "reopened", "settled", "accepted", "fixed", "resolved", "new normal", "moved"]
OPEN_STATES: tuple[State, ...] = ("open", "acknowledged", "reopened", "settled")
STATES: tuple[State, ...] = (*OPEN_STATES, "accepted", "fixed", "resolved", "new normal", "moved")
SEVERITIES = ("error", "warn", "info")
ENDED_AS: dict[str, State] = {"accept": "accepted", "fixed": "fixed"}
NEW_NORMAL = "new normal"

Row = Mapping[str, Any]


def lives(
    incidents: pl.DataFrame, members: pl.DataFrame, actions: Sequence[Row], within: timedelta
) -> list[dict[str, Any]]:
    """Incidents with what became of them, newest first.

    Parameters
    ----------
    incidents, members : DataFrame
        The snapshots `incidents` and `incident_members`.
    actions : sequence of mapping
        As from `sightline.results.actions.read_actions`.
    within : timedelta
        A stream of an ended incident that moves again the same way so soon after its end reopens it.

    Returns
    -------
    list of dict
        The columns of `incidents`, and ``state`` (one of `STATES`), ``is_open``, ``severity`` (``error``: somebody is
        needed, ``warn``: somebody is at it, ``info``), ``owner``, ``assigned_by``, ``assigned_at``, ``ended_by`` (a
        person, or what the engine saw), ``ended_at``, ``reopened_at``, ``reopened_by``, ``reopens`` and ``reopened_as``
        (ids), ``n_notes``.
    """
    said: dict[str, list[Row]] = {}
    for action in actions:
        said.setdefault(action["incident"], []).append(action)
    before = reopened(incidents, members, within)
    after = {former: name for name, former in before.items()}
    found: dict[str, dict[str, Any]] = {}
    for row in incidents.sort("opened_at", "incident_id").iter_rows(named=True):
        name = row["incident_id"]
        life = {**row, **life_of(row, said.get(name, ())), "reopens": before.get(name), "reopened_as": after.get(name)}
        former = found.get(before.get(name, ""))
        if former is not None:
            life["owner"] = life["owner"] or former["owner"]
            if life["state"] == "open":
                life["state"] = "reopened"
        found[name] = life
    return list(reversed(found.values()))


def life_of(row: Row, said: Sequence[Row]) -> dict[str, Any]:
    """What became of one incident.

    Parameters
    ----------
    row : mapping
        A row of the snapshot `incidents`.
    said : sequence of mapping
        What people said of it, oldest first.

    Returns
    -------
    dict
        As of `lives`, without what other incidents say of it.
    """
    nobody: Row = {}
    owner = next((action for action in reversed(said) if action["kind"] == ASSIGN), nobody)
    at = max((n for n, action in enumerate(said) if action["kind"] == REOPEN), default=None)
    reopening = None if at is None else said[at]
    since = said if at is None else said[at + 1 :]
    ended: dict[str, Any] = {"ended_by": None, "ended_at": None}
    state: State = "open"
    if row["status"] == MOVED:
        state = "moved"
    elif row["status"] == "open" or (reopening is not None and _knew(reopening, row["closed_at"])):
        word = next((a for a in reversed(since) if a["kind"] in ENDS), None) if row["status"] != "open" else None
        if word is not None:
            state, ended = ENDED_AS[word["kind"]], {"ended_by": word.get("user"), "ended_at": _naive(word["at"])}
        elif row.get("settled_at") is not None:
            state = "settled"
        elif any(action["kind"] == ACKNOWLEDGE for action in since):
            state = "acknowledged"
        elif reopening is not None:
            state = "reopened"
    else:
        state = _engine_state(row)
        word = next((a for a in reversed(said) if a["kind"] in ENDS), None) if row["closed_by"] == "user" else None
        ended = {"ended_by": word.get("user") if word else row["closed_by"], "ended_at": row["closed_at"]}
    return {
        "state": state,
        "is_open": state in OPEN_STATES,
        "severity": "error" if state in ("open", "reopened") else "warn" if state == "acknowledged" else "info",
        "owner": owner.get("to"),
        "assigned_by": owner.get("user"),
        "assigned_at": _naive(owner["at"]) if owner else None,
        **ended,
        "reopened_at": None if reopening is None else _naive(reopening["at"]),
        "reopened_by": None if reopening is None else reopening.get("user"),
        "n_notes": sum(1 for action in said if action.get("note")),
    }


def _engine_state(row: Row) -> State:
    if row["closed_by"] == NEW_NORMAL:
        return "new normal"
    return {"accepted": "accepted", "fixed": "fixed"}.get(row["status"], "resolved")  # pyright: ignore[reportReturnType]


def _knew(action: Row, closed_at: datetime | None) -> bool:
    """Whether the end of an incident had been decided when somebody said something."""
    known = action.get("from_window")
    return closed_at is not None and known is not None and _naive(known) >= closed_at


def reopened(incidents: pl.DataFrame, members: pl.DataFrame, within: timedelta) -> dict[str, str]:
    """Incidents that are the same again as one that had ended: one of its streams moved the same way soon after.

    Parameters
    ----------
    incidents, members : DataFrame
        The snapshots `incidents` and `incident_members`.
    within : timedelta
        After its end.

    Returns
    -------
    dict of str to str
        Incident -> the one it reopens. One that was accepted, or has become the new normal, is not reopened: its level
        is the usual one.
    """
    ended = {
        row["incident_id"]: row["closed_at"]
        for row in incidents.iter_rows(named=True)
        if row["status"] in ("closed", "fixed") and row["closed_at"] is not None
    }
    own: dict[str, dict[str, bool]] = {}
    for member in members.filter(pl.col("status") != MOVED).iter_rows(named=True):
        own.setdefault(member["incident_id"], {})[member["stream"]] = _is_up(member)
    found: dict[str, str] = {}
    for row in incidents.filter(pl.col("split_from").is_null()).sort("opened_at", "incident_id").iter_rows(named=True):
        name, opened = row["incident_id"], row["opened_at"]
        same = [
            (closed, former)
            for former, closed in ended.items()
            if former != name and closed < opened <= closed + within and former not in found.values()
            if own.get(name, {}).items() & own.get(former, {}).items()
        ]
        if same:
            found[name] = max(same)[1]
    return found


def _is_up(member: Row) -> bool:
    effect = member["shift"] if member["effect"] is None else member["effect"]
    return bool(effect is not None and effect > 0)


# ---------------------------------------------------------------- timeline


def timeline(
    row: Row, members: Sequence[Row], said: Sequence[Row], window: timedelta, *, before: str | None = None
) -> list[dict[str, Any]]:
    """What happened to an incident, oldest first.

    Parameters
    ----------
    row : mapping
        A row of the snapshot `incidents`.
    members, said : sequence of mapping
        Its rows of the snapshot `incident_members`, and what people said of it.
    window : timedelta
        Length of one window.
    before : str, optional
        The incident that it reopens.

    Returns
    -------
    list of dict
        ``at`` (naive UTC; of a decision when its window ended, of a word when it was said), ``kind``, ``by`` (a person,
        or ``sightline``), ``words``, and ``stream`` or ``note`` where there is one.
    """
    found = [*_decided(row, members, window, before), *(_word(action) for action in said)]
    return sorted(found, key=lambda entry: entry["at"])


def _decided(row: Row, members: Sequence[Row], window: timedelta, before: str | None) -> Iterator[dict[str, Any]]:
    def entry(at: datetime, kind: str, words: str, **more: Any) -> dict[str, Any]:
        return {"at": at + window, "kind": kind, "by": "sightline", "words": words, **more}

    opened = row["opened_at"]
    origin = f", split from {row['split_from']}" if row.get("split_from") else ""
    again = f"; the same as {before} again" if before else ""
    yield entry(opened, "opened", f"opened: it began {day(row['change_point'])}{origin}{again}")
    for member in members:
        stream = member["stream"]
        words = stream_words(stream, *(member.get(f"display_{name}") for name in ("before", "after", "extreme")))
        kind = "joined" if member["joined_at"] > opened else "member"
        yield entry(
            member["joined_at"], kind, f"{'joined' if kind == 'joined' else 'began with'}: {words}", stream=stream
        )
        if member.get("moved_again_at") is not None:
            how = "back at its old level" if abs(member["moved_again_effect"]) < BACK else "moved again"
            yield entry(member["moved_again_at"], "moved again", f"{how}: {words}", stream=stream)
        if member["ended_at"] is not None and member["ended_by"] != "user":
            how = "taken for the new normal" if member["ended_by"] == NEW_NORMAL else "recovered"
            yield entry(member["ended_at"], "left", f"{how}: {words}", stream=stream)
    if row.get("settled_at") is not None:
        yield entry(row["settled_at"], "settled", "settled: no check fails for it any more, say what it was")
    if row["closed_at"] is not None and row["closed_by"] != "user":
        normal = "the new normal: it stayed there, and nobody said what it was"
        how = normal if row["closed_by"] == NEW_NORMAL else "resolved by itself"
        yield entry(row["closed_at"], "ended", how)


def _word(action: Row) -> dict[str, Any]:
    """An action as an entry of the timeline."""
    names: dict[str, str] = {
        ACKNOWLEDGE: "acknowledged",
        "accept": "accepted as the new normal",
        "fixed": "fixed",
        ASSIGN: f"assigned to {action.get('to')}",
        NOTE: "noted",
        REOPEN: "reopened",
        MERGE: f"merged into {action.get('into')}",
        SPLIT: f"split: {', '.join(map(str, action.get('streams') or ()))}",
    }
    told = names.get(action["kind"], str(action["kind"]))
    if action.get("bad_to"):
        since = day(_naive(action["bad_from"])) if action.get("bad_from") else "its beginning"
        told += f": bad from {since} to before {day(_naive(action['bad_to']))}"
    words = f"{told}: {action['note']}" if action.get("note") else told
    more = {"note": action["note"]} if action.get("note") else {}
    at, by = _naive(action["at"]), action.get("user") or "unknown"
    return {"at": at, "kind": action["kind"], "by": by, "words": words, **more}


def _naive(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)
