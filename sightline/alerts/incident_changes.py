"""What is to be told of a monitor's incidents: opened, grown, said by a person, ended; each once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from sightline.alerts.changes import HISTORY, SEVERITIES, Change, change_id, in_utc
from sightline.alerts.facts import ended_words, member_rows, names_of, told_facts
from sightline.home import Home, MonitorPaths
from sightline.results.actions import read_actions
from sightline.results.snapshots import read_snapshot
from sightline.spec.model import MonitorSpec

SAID = {
    "acknowledge": "acknowledged",
    "assign": "assigned",
    "note": "noted",
    "accept": "accepted",
    "fixed": "fixed",
    "reopen": "reopened",
    "merge": "merged",
    "resolve": "recovered",
}
"""Kind of a person's action -> kind of change. Splitting is told by the incident that it makes."""

ENDINGS = {"recovered": "recovered", "new normal": "new_normal"}
"""By what an incident ended without a person's word -> kind of change."""

PASSED_SHOWN = 10
CAUSES, SHOWN_CAUSES = "incident_causes", 3
"""The snapshot of likely causes, and how many of them a message tells."""


def of_monitor(spec: MonitorSpec, paths: MonitorPaths) -> list[Change]:
    """What is to be told of a monitor's incidents, as they are published now.

    Call it after `sightline.alerts.decisions.run` and hand the result to `sightline.alerts.outbox.enqueue`.

    Parameters
    ----------
    spec : MonitorSpec
    paths : MonitorPaths
        Of the same monitor; what was told before is read from the outbox of its home.

    Returns
    -------
    list of Change
        Empty before the first alerts run, and where everything is told.
    """
    from sightline.alerts.outbox import Outbox

    incidents, members = read_snapshot(paths, "incidents"), read_snapshot(paths, "incident_members")
    if incidents is None or members is None:
        return []
    with Outbox(Home(paths.home)) as outbox:
        told = outbox.told(spec.id)
    return changes_of(spec, incidents, members, read_actions(paths), told, causes=published_causes(paths))


def published_causes(paths: MonitorPaths) -> dict[str, list[str]]:
    """Likely causes of each incident in words, the likeliest first; none where none was found or looked for."""
    found = read_snapshot(paths, CAUSES)
    if found is None or not {"incident_id", "rank", "kind", "words"} <= set(found.columns):
        return {}
    causes: dict[str, list[str]] = {}
    rows = found.filter(pl.col("kind") != "none").sort("incident_id", "rank").select("incident_id", "words")
    for incident, words in rows.iter_rows():
        causes.setdefault(incident, []).append(words)
    return {incident: words[:SHOWN_CAUSES] for incident, words in causes.items()}


def changes_of(
    spec: MonitorSpec,
    incidents: pl.DataFrame,
    members: pl.DataFrame,
    actions: Sequence[Mapping[str, Any]],
    told: Collection[str],
    causes: Mapping[str, Sequence[str]] | None = None,
) -> list[Change]:
    """What is new in a monitor's incidents.

    A first delivery tells what is open, in one change, and records the rest as known. Of an incident that is new and
    open one change tells all; those that are new and have ended already share one line. Members that joined since are
    told once.

    Parameters
    ----------
    spec : MonitorSpec
    incidents, members : DataFrame
        The snapshots `incidents` and `incident_members`.
    actions : sequence of mapping
        As from `sightline.results.actions.read_actions`.
    told : collection of str
        Ids that are known.
    causes : mapping, optional
        Incident -> its likely causes in words, as from `published_causes`.

    Returns
    -------
    list of Change
        In the order in which they happened.
    """
    lines = _timelines(spec, incidents, members, actions, causes or {})
    marker = Change(change_id(spec.id, None, HISTORY), spec.id, None, HISTORY, datetime.now(UTC), "info")
    if marker.id not in told:
        past = [change.id for is_open, line in lines for change in line if not is_open and change.id not in told]
        now_open = [line for is_open, line in lines if is_open and line[0].id not in told]
        found = [_whole(line) for line in now_open]
        return [replace(marker, covers=tuple(past)), *(found if len(found) < 2 else [_backlog(spec, found)])]
    found: list[Change] = []
    passed: list[list[Change]] = []
    for is_open, line in lines:
        if line[0].id not in told:
            if is_open:
                found.append(_whole(line))
            else:
                passed.append(line)
            continue
        found += _news([change for change in line if change.id not in told], is_open=is_open)
    if passed:
        found.append(_passed(spec, passed))
    return sorted(found, key=lambda change: change.at)


def _timelines(
    spec: MonitorSpec,
    incidents: pl.DataFrame,
    members: pl.DataFrame,
    actions: Sequence[Mapping[str, Any]],
    causes: Mapping[str, Sequence[str]],
) -> list[tuple[bool, list[Change]]]:
    """Whether an incident is open, and all that ever was to be told of it, oldest first; per incident."""
    from sightline.alerts.life import reopened  # costs scipy

    own: dict[str, list[dict[str, Any]]] = {}
    for member in members.iter_rows(named=True):
        own.setdefault(member["incident_id"], []).append(member)
    said: dict[str, list[Mapping[str, Any]]] = {}
    for action in actions:
        said.setdefault(action["incident"], []).append(action)
    before = reopened(incidents, members, spec.settle_windows * spec.window)
    found: list[tuple[bool, list[Change]]] = []
    for row in incidents.sort("opened_at", "incident_id").iter_rows(named=True):
        name = row["incident_id"]
        about = said.get(name, [])
        line = _timeline(spec, row, own.get(name, []), about, causes.get(name, ()))
        if name in before:
            line[0] = _again(line[0], before[name])
        found.append((_is_open(row, about), line))
    return found


def _again(first: Change, former: str) -> Change:
    """The opening of an incident that returns: under the id of an opening, so that it is told once whatever it is."""
    lines = [f"it is the same as {former} again, which had ended"]
    return replace(
        first,
        kind="reopened",
        severity=SEVERITIES["reopened"],
        facts={**first.facts, "reopens": former, "lines": lines},
    )


def _is_open(incident: Mapping[str, Any], said: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it goes on, for the engine or by the last word of a person."""
    words = [action["kind"] for action in said if action["kind"] in ("reopen", "accept", "fixed")]
    return incident["status"] == "open" or words[-1:] == ["reopen"]


def _timeline(
    spec: MonitorSpec,
    incident: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
    said: Sequence[Mapping[str, Any]],
    causes: Sequence[str],
) -> list[Change]:
    name, opened = incident["incident_id"], incident["opened_at"]
    told = {**told_facts(spec, incident, member_rows(members)), "causes": list(causes)}
    to = [action.get("to") for action in said if action["kind"] == "assign"]
    if to and to[-1]:
        told["assignee"] = to[-1]
    streams = [member["stream"] for member in members] or list(incident["streams"])

    def make(kind: str, at: datetime, says: str, **facts: Any) -> Change:
        key = change_id(spec.id, name, kind, says)
        about = {**told, **facts}
        return Change(
            key, spec.id, name, kind, in_utc(at), SEVERITIES[kind], names_of(streams), spec.model.owner, about
        )

    origin = incident.get("split_from")
    first = make("split", opened, "", split_from=origin) if origin else make("opened", opened, "")
    later: list[Change] = []
    for joined in sorted({m["joined_at"] for m in members if m["joined_at"] > opened and not m.get("moved_from")}):
        new = [m for m in members if m["joined_at"] == joined]
        later.append(make("grew", joined, joined.isoformat(), joined=member_rows(new)))
    for action in said:
        kind = SAID.get(action["kind"])
        if kind is not None:
            at = datetime.fromisoformat(action["at"])
            facts = {name: action.get(key) for name, key in _OF_ACTION.items() if action.get(key)}
            later.append(make(kind, at, at.astimezone(UTC).isoformat(), **facts))
    if incident.get("settled_at") is not None:
        later.append(make("settled", incident["settled_at"], incident["settled_at"].isoformat()))
    ending = ENDINGS.get(incident.get("closed_by") or "") if incident["status"] != "open" else None
    if ending is not None:
        closed = incident["closed_at"]
        later.append(make(ending, closed, closed.isoformat(), ended=ended_words(incident)))
    return [first, *later]


_OF_ACTION = {"by": "user", "note": "note", "assignee": "to", "into": "into"}


def _whole(line: Sequence[Change]) -> Change:
    """One change for an open incident of which nothing was told; where it has settled, that is what is told."""
    settled = next((change for change in line if change.kind == "settled"), None)
    if settled is not None:
        return replace(settled, covers=tuple(change.id for change in line if change is not settled))
    first, *later = line
    covered = tuple(change.id for change in later)
    by = next((change.facts for change in later if change.kind == "acknowledged"), None)
    known = {} if by is None else {"acknowledged_by": by.get("by", ""), "acknowledged_note": by.get("note", "")}
    return replace(first, covers=covered, facts={**first.facts, **known})


def _news(new: Sequence[Change], *, is_open: bool) -> list[Change]:
    """What is new of an incident that was told: growth once, and only while it is open."""
    grown = [change for change in new if change.kind == "grew"]
    others = [change for change in new if change.kind != "grew"]
    if not grown:
        return others
    covered = tuple(change.id for change in grown)
    if not is_open and others:
        return [*others[:-1], replace(others[-1], covers=covered)]
    joined = [member for change in grown for member in change.facts["joined"]]
    last = grown[-1]
    return [*others, replace(last, covers=covered[:-1], facts={**last.facts, "joined": joined})]


def _backlog(spec: MonitorSpec, found: Sequence[Change]) -> Change:
    """What is open when a monitor is told of for the first time."""
    n_settled = sum(change.kind == "settled" for change in found)
    what = f"{len(found)} incidents are open"
    if n_settled:
        some = "all" if n_settled == len(found) else str(n_settled)
        what += f", {some} of them settled: no check fails for them any more, say what they were"
    together = _together(spec, "backlog", what, found, [key for change in found for key in (change.id, *change.covers)])
    return together if n_settled < len(found) else replace(together, severity="info")


def _passed(spec: MonitorSpec, lines: Sequence[Sequence[Change]]) -> Change:
    """Incidents that opened and ended between two deliveries."""
    n = len(lines)
    what = f"{n} incident{'' if n == 1 else 's'} opened and ended between two deliveries (late data or a backfill)"
    return _together(spec, "passed", what, [line[-1] for line in lines], [c.id for line in lines for c in line])


def _together(spec: MonitorSpec, kind: str, what: str, found: Sequence[Change], covers: Sequence[str]) -> Change:
    key = change_id(spec.id, None, kind, "|".join(sorted(covers)))
    shown = {"what": "what", "since": "since", "how": "ended"}
    listed = [{"incident": c.incident, **{name: c.facts.get(key, "") for name, key in shown.items()}} for c in found]
    assets = tuple(sorted({asset for change in found for asset in change.assets}))
    at = max(change.at for change in found)
    todo = [f"sightline incidents {spec.id}"]
    facts = {"what": what, "incidents": listed[:PASSED_SHOWN], "n_incidents": len(listed), "todo": todo}
    return Change(key, spec.id, None, kind, at, SEVERITIES[kind], assets, spec.model.owner, facts, tuple(covers))
