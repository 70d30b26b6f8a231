"""``sightline merge MONITOR INCIDENT INTO``: two incidents are one."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.argument("into")
@click.option("--note", default="", help="Kept with the action.")
def command(monitor: str, incident: str, into: str, note: str) -> None:
    """Say that INCIDENT of MONITOR is part of INTO: its open streams go on there, with what was said of them.

    INCIDENT stays in the list, as moved. No number and no alarm changes by it.
    """
    from sightline.alerts.actions import merge

    row = merge(Home.from_env(), monitor, incident, into, note=note)
    echo_told(row)
    click.echo(f"{incident}: moved to {into}, which has {row['n_streams']} streams now.")
