"""``sightline split MONITOR INCIDENT STREAM...``: an incident is two."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
@click.option("--note", default="", help="Kept with the action.")
def command(monitor: str, incident: str, streams: tuple[str, ...], note: str) -> None:
    """Say that INCIDENT of MONITOR is two: each open STREAM (a name, or a pattern with `*`) becomes part of a new one.

    Both can then be accepted or fixed apart. No number and no alarm changes by it.
    """
    from sightline.alerts.actions import split

    row = split(Home.from_env(), monitor, incident, streams, note=note)
    echo_told(row)
    n = row["n_streams"]
    click.echo(f"{row['incident_id']}: split from {incident}, with {n} {'stream' if n == 1 else 'streams'}.")
