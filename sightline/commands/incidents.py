"""``sightline incidents [MONITOR]``: what the alert engine found, from published results (no Dagster, no warehouse)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from metrics_py.alerting.changes import BACK
from metrics_py.wording import deviations
from sightline.alerts.life import SEVERITIES, STATES
from sightline.alerts.listing import Wanted, listed, monitors, naive, operations
from sightline.alerts.unjudged import not_judged
from sightline.commands.judgements import moment_option
from sightline.home import Home
from sightline.spec.model import MonitorSpec

SHOWN_SILENT = 6


@click.command()
@click.argument("monitor", required=False)
@click.option("--open", "only_open", is_flag=True, help="Those that have not ended.")
@click.option("--status", "states", multiple=True, type=click.Choice(STATES), help="Only these; may be given again.")
@click.option("--severity", "severities", multiple=True, type=click.Choice(SEVERITIES),
              help="error: somebody is needed; warn: somebody is at it; info: all others.")  # fmt: skip
@click.option("--owner", help="Assigned to this person; '' means to nobody.")
@click.option("--since", callback=moment_option, help="Open on or after this day or moment (UTC).")
@click.option("--until", callback=moment_option, help="Opened before this day or moment (UTC).")
@click.option("--stream", help="With this stream as a member: a name, or a pattern with `*`.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    monitor: str | None,
    only_open: bool,
    states: tuple[str, ...],
    severities: tuple[str, ...],
    owner: str | None,
    since: datetime | None,
    until: datetime | None,
    stream: str | None,
    form: str,
) -> None:
    """List the incidents of MONITOR: when each began, which streams moved together, and how strong the evidence is.

    Without MONITOR one line for each incident of all monitors. Evidence: this much appears by chance at most once in so
    many days, over all streams; the budget is what it is compared with. `sightline incident` tells all of one.
    """
    home = Home.from_env()
    wanted = Wanted(only_open, states, severities, owner, naive(since), naive(until), stream)
    documents = [_document(home, spec, wanted) for spec in monitors(home, monitor)]
    if form == "json":
        content = documents[0] if monitor is not None else {"monitors": documents}
        click.echo(json.dumps(content, indent=2, default=as_text))
    elif monitor is not None:
        _echo_monitor(documents[0])
    else:
        _echo_all(documents)


def _document(home: Home, spec: MonitorSpec, wanted: Wanted) -> dict[str, Any]:
    paths = home.monitor(spec.id)
    n_streams, silent = not_judged(paths, spec)
    return {
        "monitor": spec.id,
        "budget": str(spec.alerts.budget),
        "notify": list(spec.alerts.notify),
        "incidents": listed(spec, paths, wanted),
        "operations": operations(paths, wanted),
        "streams": n_streams,
        "not_judged": silent,
    }


def _echo_all(documents: list[dict[str, Any]]) -> None:
    """One line per incident of all monitors, newest first."""
    found = sorted((i for d in documents for i in d["incidents"]), key=lambda i: i["opened_at"], reverse=True)
    click.echo(f"{_count(len(found), 'incident')} of {_count(len(documents), 'monitor')}")
    for document in documents:
        for fact in document["operations"]:
            if fact["is_failing"]:
                click.echo(f"{document['monitor']}: FAILING: {fact['words']}")
    if not found:
        return
    header = ("monitor", "incident", "state", "opened", "owner", "streams", "what")
    rows = [
        (
            i["monitor"],
            i["incident_id"],
            i["state"],
            _day(i["opened_at"]),
            i["owner"] or "-",
            str(i["n_streams"]),
            next((member["words"] for member in i["members"]), ""),
        )
        for i in found
    ]
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header) - 1)]
    for row in (header, *rows):
        click.echo("  ".join([*(f"{text:{w}}" for text, w in zip(row, widths, strict=False)), row[-1]]).rstrip())


def _echo_monitor(document: dict[str, Any]) -> None:
    monitor, found = document["monitor"], document["incidents"]
    click.echo(
        f"{monitor}: {_count(len(found), 'incident')}; budget {document['budget']} (false ones, at most, expected)"
    )
    if document["notify"]:
        click.echo(f"to be told: {', '.join(document['notify'])}")
    echo_operations([fact for fact in document["operations"] if fact["is_failing"]])
    for incident in found:
        echo_incident(incident)
    by_reason: dict[str, list[str]] = {}
    for row in document["not_judged"]:
        by_reason.setdefault(row["reason"], []).append(row["stream"])
    for reason, names in by_reason.items():
        rest = f" and {len(names) - SHOWN_SILENT} more" if len(names) > SHOWN_SILENT else ""
        click.echo(f"\nnot judged: {len(names)} of {_count(document['streams'], 'stream')}: {reason}")
        click.echo(f"  {', '.join(names[:SHOWN_SILENT])}{rest}")
    waiting = next((incident["incident_id"] for incident in found if incident["status"] == "open"), None)
    if waiting:
        click.echo("\nWhat you may say to an open one (streams that return to their level end by themselves):")
        click.echo(f"  sightline acknowledge {monitor} {waiting}  # somebody is at it: its checks warn and do not fail")
        click.echo(f"  sightline assign {monitor} {waiting} PERSON  # whose it is")
        click.echo(
            f"  sightline accept {monitor} {waiting}       # the new normal: baselines restart at the change point"
        )
        click.echo(f"  sightline fixed {monitor} {waiting}        # mended: the bad windows leave the baseline")
        click.echo(f"  sightline split {monitor} {waiting} STREAM...  # some of its streams have another cause")
        click.echo(f"  sightline merge {monitor} {waiting} OTHER  # it is the same as another open one")
        click.echo(f"All of one, with its timeline: sightline incident {monitor} {waiting}")


def echo_incident(incident: dict[str, Any]) -> None:
    """Print an incident and its members."""
    if incident.get("moved_to") and all(member["status"] == "moved" for member in incident["members"]):
        click.echo(f"\n{incident['incident_id']}  {_how_ended(incident)}: see there")
        return
    ended = f", {_how_ended(incident)}" if incident["closed_at"] else ""
    settled = incident.get("settled_at")
    told = f", settled since {_day(settled)}: no check fails for it any more, say what it was" if settled else ""
    state = "open" if incident["state"] == "settled" else incident["state"]
    click.echo(f"\n{incident['incident_id']}  {state}{told}")
    click.echo(f"  began {_day(incident['change_point'])}, opened {_day(incident['opened_at'])}{ended}")
    if incident["reopened_at"] is not None:
        click.echo(f"  reopened {_day(incident['reopened_at'])} by {incident['reopened_by']}")
    if incident["reopens"]:
        click.echo(f"  the same as {incident['reopens']} again, which had ended shortly before")
    if incident["reopened_as"]:
        click.echo(f"  came back as {incident['reopened_as']}")
    if incident["owner"]:
        click.echo(f"  owner {incident['owner']}")
    if incident.get("split_from"):
        click.echo(f"  split from {incident['split_from']} by a person")
    if incident.get("acknowledged_at"):
        note = f": {incident['acknowledged_note']}" if incident["acknowledged_note"] else ""
        click.echo(f"  acknowledged {_day(incident['acknowledged_at'])} by {incident['acknowledged_by']}{note}")
    click.echo(
        f"  appears by chance at most once in {incident['evidence_days']:,.0f} days; "
        f"{_count(incident['n_streams'], 'stream')}:"
    )
    for member in incident["members"]:
        click.echo(_member_line(member, incident["opened_at"], incident["change_point"]))


def echo_causes(causes: list[dict[str, Any]]) -> None:
    """Print likely causes, the likeliest first."""
    click.echo("\n  likely causes")
    for cause in causes:
        evidence = cause.get("evidence")
        click.echo(f"    {cause['words']}{f' ({evidence})' if evidence else ''}")


def echo_operations(facts: list[dict[str, Any]]) -> None:
    """Print operational facts, one line each."""
    for fact in facts:
        click.echo(f"{'FAILING' if fact['is_failing'] else 'well again'}: {fact['words']}")


def echo_told(incident: dict[str, Any]) -> None:
    """Tell on standard error what others said just before."""
    for words in incident["told"]:
        click.echo(f"note: {words}", err=True)


def _how_ended(incident: dict[str, Any]) -> str:
    """When and by whom, nobody where it has stayed away for so long that its level is the usual one by now."""
    day, by = _day(incident["closed_at"]), incident["closed_by"]
    if by == "new normal":
        return f"taken for the new normal on {day}: it stayed there, and nobody said what it was"
    status = f"moved to {incident['moved_to']}" if incident.get("moved_to") else incident["status"]
    return f"{status} {day} (by {'a person' if by == 'user' else 'itself: ' + by})"


def _member_line(member: dict[str, Any], opened_at: datetime, began: datetime) -> str:
    """One stream in words; below it since when, by how much, how it stands, what came later, and its name.

    As part of the incident it did not change before the incident did; its own most likely change point stands beside.
    """
    effect = deviations(member["effect"], sign=True) if member["effect"] is not None else "new level"
    later = [member["status"]]
    if member["joined_at"] > opened_at:
        later.append(f"joined {_day(member['joined_at'])}")
    if member.get("moved_again_at") is not None:
        now = member["moved_again_effect"]
        later.append(
            f"{'back' if abs(now) < BACK else 'moved again'} since {_day(member['moved_again_at'])} "
            f"({deviations(now, sign=True)})"
        )
    elif member.get("latest_effect") is not None and member["status"] == "open":
        later.append(f"last window {deviations(member['latest_effect'], sign=True)}")
    if member.get("moved_from"):
        later.append(f"was in {', '.join(member['moved_from'])}")
    since = _day(max(member["change_point"], began))
    if member["change_point"] < began:
        since += f" (by itself rather since {_day(member['change_point'])})"
    return f"    {member['words']}\n      since {since}, {effect}, {', '.join(later)}; {member['stream']}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _day(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return f"{moment:%Y-%m-%d}" if moment.hour == 0 else f"{moment:%Y-%m-%d %H:%M}"


def as_text(value: object) -> str:
    """A value as JSON text: moments in ISO 8601, UTC."""
    return f"{naive(value).isoformat()}Z" if isinstance(value, datetime) else str(value)
