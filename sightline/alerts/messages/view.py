"""A message as its templates see it: what, since when, how large, how sure, likely cause, what to do, links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import quote

from sightline.alerts.changes import Change
from sightline.alerts.messages.escaping import Safe, tame
from sightline.alerts.outbox import Message
from sightline.spec.routes import Links

HEADS = {
    "opened": "incident opened",
    "split": "incident split from another",
    "grew": "incident grew",
    "reopened": "incident reopened",
    "backlog": "open incidents",
    "passed": "incidents that are over",
    "row_guard": "rows break a rule",
    "row_guard_ended": "rows keep the rule again",
    "check_failed": "check failed",
    "check_recovered": "check passes again",
    "run_failed": "run failed",
    "run_recovered": "run succeeded again",
    "labels_overdue": "labels are overdue",
    "freshness": "data are overdue",
    "fresh_again": "data are fresh again",
    "daemon_silent": "the daemon is silent",
    "daemon_back": "the daemon is back",
    "delivery_failed": "a channel does not take messages",
    "acknowledged": "acknowledged",
    "assigned": "assigned",
    "noted": "note",
    "accepted": "accepted as the new normal",
    "fixed": "fixed",
    "merged": "merged into another incident",
    "settled": "settled: no check fails for it any more, say what it was",
    "recovered": "recovered",
    "new_normal": "taken for the new normal",
    "digest": "digest",
    "test": "specimen",
}
"""Kind of change -> how a message names it."""
NEWS = ("opened", "split", "grew", "reopened")
"""Kinds that ask for a cause and for something to do."""
ASKS = (*NEWS, "settled")
"""Kinds that somebody is to answer."""
NO_CAUSE = "no cause found yet"
SHOWN_WHOLE = 3
"""Up to so many changes of one message are told whole, of more each has a line."""
SHOWN_LINES = 25
SHOWN_MEMBERS = 8
MAX_TITLE = 140


@dataclass(frozen=True)
class Told:
    """One change in a message; texts are raw, the templates escape them.

    Attributes
    ----------
    head : str
        The kind in words.
    monitor, incident, severity, at, owner : str
        Empty where there is none.
    what, since, size, sure, by, note, ended, into : str
        Facts; empty where not known.
    budget : str
        What `sure` is compared with.
    members, joined, causes, todo, lines : list of str
        Streams in words, those that joined since, likely causes (`NO_CAUSE` where none is known of news), commands,
        further lines.
    n_more : int
        Members beyond those listed.
    links : list of (str, str)
        Label and address.
    """

    head: str
    monitor: str
    incident: str
    severity: str
    at: str
    owner: str
    what: str
    since: str
    size: str
    sure: str
    budget: str
    by: str
    note: str
    ended: str
    into: str
    members: list[str]
    joined: list[str]
    n_more: int
    causes: list[str]
    todo: list[str]
    lines: list[str]
    links: list[tuple[str, Safe]]


@dataclass(frozen=True)
class View:
    """A message; `key` is its idempotency key.

    Attributes
    ----------
    title : str
        One line.
    severity : str
        The highest of its changes.
    changes : list of Told
        Those that are told whole.
    lines : list of (str, str, str)
        Head, monitor and sentence of those that are told in a line.
    n, n_more : int
        Number of changes, and of those that are only counted.
    counts : list of (int, str)
        Number of changes by kind in words.
    held_for : str
        Why it comes late; empty if it does not.
    key : str
        Idempotency key.
    """

    title: str
    severity: str
    changes: list[Told]
    lines: list[tuple[str, str, str]]
    n: int
    n_more: int
    counts: list[tuple[int, str]]
    held_for: str
    key: str


def view(message: Message, links: Links) -> View:
    """What a template is given.

    Parameters
    ----------
    message : Message
    links : Links
        Of the routes.

    Returns
    -------
    View
    """
    changes = message.changes
    levels = [level for level in ("error", "warn", "info") if any(c.severity == level for c in changes)]
    counts = [(n, HEADS.get(kind, kind)) for kind, n in Counter(c.kind for c in changes).most_common()]
    is_whole = len(changes) <= SHOWN_WHOLE
    return View(
        title=_title(changes, levels[0], counts),
        severity=levels[0],
        changes=[told(change, links) for change in changes] if is_whole else [],
        lines=[] if is_whole else [_line(change) for change in _by_severity(changes)[:SHOWN_LINES]],
        n=len(changes),
        n_more=0 if is_whole else max(len(changes) - SHOWN_LINES, 0),
        counts=counts,
        held_for=message.held_for,
        key=message.id,
    )


def told(change: Change, links: Links) -> Told:
    """One change as a template sees it."""
    facts = change.facts
    members = [m["words"] for m in facts.get("members", ())]
    joined = [m["words"] for m in facts.get("joined", ())]
    causes = [_cause(cause) for cause in facts.get("causes", ())]
    is_news = change.kind in NEWS
    by = facts.get("by") or facts.get("acknowledged_by")
    return Told(
        head=HEADS.get(change.kind, change.kind),
        monitor=change.monitor,
        incident=change.incident or "",
        severity=change.severity,
        at=f"{change.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        owner=str(facts.get("assignee") or change.owner or ""),
        **{name: _text(facts.get(name)) for name in ("what", "since", "size", "sure", "budget", "ended", "into")},
        by="" if by is None else str(by),
        note=_text(facts.get("note") or facts.get("acknowledged_note")),
        members=members[:SHOWN_MEMBERS] if is_news else [],
        joined=joined[:SHOWN_MEMBERS],
        n_more=max(len(members) - SHOWN_MEMBERS, 0) if is_news else 0,
        causes=causes or ([NO_CAUSE] if is_news else []),
        todo=[str(each) for each in facts.get("todo", ())] if change.kind in ASKS or change.incident is None else [],
        lines=[*map(_listed, facts.get("incidents", ())), *map(str, facts.get("lines", ()))],
        links=links_of(change, links),
    )


def links_of(change: Change, links: Links) -> list[tuple[str, Safe]]:
    """Labels and addresses of the pages of a change: the lineage at its asset, its run, the dashboard."""
    found: list[tuple[str, Safe]] = []
    asset = change.facts.get("main_asset") or next(iter(change.assets), None)
    if links.dagster is not None:
        if asset and change.monitor:
            path = f"assets/{_quoted(change.monitor)}/{_quoted(asset)}?view=lineage"
            found.append(("lineage", _address(f"{links.dagster}/{path}")))
        if change.facts.get("run_id"):
            found.append(("run", _address(f"{links.dagster}/runs/{_quoted(change.facts['run_id'])}")))
    if links.dashboard is not None and change.monitor:
        page = links.dashboard.replace("{monitor}", _quoted(change.monitor))
        found.append(("dashboard", _address(page.replace("{incident}", _quoted(change.incident or "")))))
    return found


def _quoted(text: object) -> str:
    return quote(str(text).encode(errors="replace"), safe="")


def _address(url: str) -> Safe:
    """An address without a character that means something in Markdown or in Slack's mark-up."""
    return Safe(re.sub(r"[^\w\-./:?=%,;@+#&]", lambda found: quote(found[0]), url, flags=re.ASCII).replace("&", "%26"))


def _title(changes: Sequence[Change], level: str, counts: Sequence[tuple[int, str]]) -> str:
    if len(changes) == 1:
        change = changes[0]
        head = HEADS.get(change.kind, change.kind).partition(":")[0]
        name = f"{change.monitor}: " if change.monitor else ""
        text = f"[{level}] {name}{head}: {change.facts.get('what', '')}".rstrip(": ")
    else:
        monitors = sorted({change.monitor for change in changes if change.monitor})
        name = f"{monitors[0]}: " if len(monitors) == 1 else ""
        listed = ", ".join(f"{n} × {words.partition(':')[0]}" for n, words in counts[:4])
        text = f"[{level}] {name}{len(changes)} changes: {listed}"
    text = tame(text)
    return text if len(text) <= MAX_TITLE else text[: MAX_TITLE - 1] + "…"


def _by_severity(changes: Sequence[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: ("error", "warn", "info").index(change.severity))


def _line(change: Change) -> tuple[str, str, str]:
    name = " ".join(filter(None, [change.monitor, change.incident]))
    return HEADS.get(change.kind, change.kind).partition(":")[0], name, _text(change.facts.get("what"))


def _cause(cause: object) -> str:
    """A cause is a text, or a mapping with `words`."""
    return str(cause["words"] if isinstance(cause, Mapping) else cause)  # pyright: ignore[reportUnknownArgumentType]


def _listed(row: Mapping[str, Any]) -> str:
    parts = [row.get("incident"), row.get("what"), f"since {row['since']}" if row.get("since") else "", row.get("how")]
    return ", ".join(str(part) for part in parts if part)


def _text(value: object) -> str:
    return "" if value is None else str(value)
