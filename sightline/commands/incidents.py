"""``sightline incidents MONITOR``: what the alert engine found, from published results (no Dagster, no warehouse)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click
import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.spec.loader import find_monitor
from sightline.warehouse.results import read_snapshot


@click.command()
@click.argument("monitor")
@click.option("--open", "only_open", is_flag=True, help="Open incidents only.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(monitor: str, only_open: bool, form: str) -> None:
    """List the incidents of MONITOR: when each began, which streams moved together, and how strong the evidence is.

    Evidence: this much appears by chance at most once in so many days, over all streams; the budget is what it is
    compared with.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    found = incidents(home.monitor(monitor))
    if only_open:
        found = [incident for incident in found if incident["status"] == "open"]
    if form == "json":
        click.echo(
            json.dumps(
                {"monitor": monitor, "budget": str(spec.alerts.budget), "incidents": found}, indent=2, default=_text
            )
        )
        return
    click.echo(
        f"{monitor}: {_count(len(found), 'incident')}; budget {spec.alerts.budget} (false ones, at most, expected)"
    )
    for incident in found:
        _print(incident)
    waiting = next((incident["incident_id"] for incident in found if incident["status"] == "open"), None)
    if waiting:
        click.echo("\nWhat you may say to an open one (streams that return to their level end by themselves):")
        click.echo(f"  sightline accept {monitor} {waiting}    # the new normal: baselines restart at the change point")
        click.echo(f"  sightline fixed {monitor} {waiting}     # mended: the bad windows leave the baseline")


def incidents(paths: MonitorPaths) -> list[dict[str, Any]]:
    """Incidents with their members, newest first; empty before the first alerts run.

    Returns
    -------
    list of dict
        The columns of the snapshot `incidents`, and `members`: those of `incident_members`.
    """
    found, members = read_snapshot(paths, "incidents"), read_snapshot(paths, "incident_members")
    if found is None or members is None:
        return []
    by_incident = {key: part.drop("incident_id").to_dicts() for (key,), part in members.group_by(["incident_id"])}
    rows = found.sort(pl.col("opened_at"), descending=True).to_dicts()
    return [
        {**row, "members": sorted(by_incident.get(row["incident_id"], []), key=lambda m: -m["evidence"])}
        for row in rows
    ]


def _print(incident: dict[str, Any]) -> None:
    ended = (
        f", {incident['status']} {_day(incident['closed_at'])} ({incident['closed_by']})"
        if incident["closed_at"]
        else ""
    )
    click.echo(f"\n{incident['incident_id']}  {incident['status']}")
    click.echo(f"  began {_day(incident['change_point'])}, opened {_day(incident['opened_at'])}{ended}")
    click.echo(
        f"  appears by chance at most once in {incident['evidence_days']:,.0f} days; {_count(incident['n_streams'], 'stream')}:"
    )
    for member in incident["members"]:
        effect = f"{member['effect']:+.2g} sd" if member["effect"] is not None else "new level"
        latest = member.get("latest_effect")
        now = f" (last window {latest:+.2g})" if latest is not None and member["status"] == "open" else ""
        click.echo(
            f"    {member['stream']:<44} since {_day(member['change_point'])}  {effect:>10}  {member['status']}{now}"
        )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _day(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    return f"{moment:%Y-%m-%d}" if moment.hour == 0 else f"{moment:%Y-%m-%d %H:%M}"


def _text(value: object) -> str:
    return value.isoformat() + "Z" if isinstance(value, datetime) else str(value)
