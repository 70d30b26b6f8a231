"""``sightline note MONITOR INCIDENT TEXT``: what is to be known of it."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.argument("text")
def command(monitor: str, incident: str, text: str) -> None:
    """Keep TEXT with INCIDENT of MONITOR, open or ended: `sightline incident` shows it in the timeline."""
    from sightline.alerts.actions import note

    row = note(Home.from_env(), monitor, incident, text)
    n = row["n_notes"]
    click.echo(f"{incident}: noted ({n} {'note' if n == 1 else 'notes'}).")
    echo_told(row)
