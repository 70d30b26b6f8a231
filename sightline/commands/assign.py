"""``sightline assign MONITOR INCIDENT PERSON``: whose it is."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.argument("person")
@click.option("--note", default="", help="Kept with the action.")
def command(monitor: str, incident: str, person: str, note: str) -> None:
    """Say that PERSON (a name or an address) looks after INCIDENT of MONITOR, open or ended."""
    from sightline.alerts.actions import assign

    row = assign(Home.from_env(), monitor, incident, person, note=note)
    click.echo(f"{incident}: assigned to {row['owner']}.")
    echo_told(row)
