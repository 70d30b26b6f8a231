"""``sightline reopen MONITOR INCIDENT``: it is not over."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.option("--note", default="", help="Kept with the action.")
def command(monitor: str, incident: str, note: str) -> None:
    """Say that INCIDENT of MONITOR is not over.

    What a person had ended goes on as if that had not been said. What had ended by itself is listed as open until
    somebody says what it was; its streams are judged as before.
    """
    from sightline.alerts.actions import reopen

    row = reopen(Home.from_env(), monitor, incident, note=note)
    on = "judged against their old level" if row["status"] == "open" else "judged as before"
    click.echo(f"{incident}: {row['state']}; its streams are {on}.")
    echo_told(row)
