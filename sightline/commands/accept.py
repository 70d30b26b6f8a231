"""``sightline accept MONITOR INCIDENT``: this is the new normal."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.option("--note", default="", help="Kept with the action.")
def command(monitor: str, incident: str, note: str) -> None:
    """Accept INCIDENT of MONITOR as the new normal: its streams' baselines start anew at their change points."""
    from sightline.alerts.actions import act

    row = act(Home.from_env(), monitor, incident, "accept", note=note)
    echo_told(row)
    if row["state"] != "accepted" or row["status"] == "closed":
        click.echo(f"{incident}: {row['state']}; what you said is kept with it.")
        return
    n = row["n_streams"]
    what = "baseline of 1 stream starts" if n == 1 else f"baselines of {n} streams start"
    click.echo(f"{incident}: {row['status']}. The {what} anew at the change point.")
