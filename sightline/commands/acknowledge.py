"""``sightline acknowledge MONITOR INCIDENT``: somebody is at it."""

from __future__ import annotations

import click

from sightline.commands.incidents import echo_told
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("incident")
@click.option("--note", default="", help="Kept with the action and shown with the incident.")
def command(monitor: str, incident: str, note: str) -> None:
    """Say that somebody is at INCIDENT of MONITOR.

    Its checks warn, from the newest window on, where they would fail. Streams that join it later fail again.
    """
    from sightline.alerts.actions import act

    row = act(Home.from_env(), monitor, incident, "acknowledge", note=note)
    echo_told(row)
    if not row["is_open"]:
        click.echo(f"{incident}: {row['state']}; what you said is kept with it.")
        return
    said = f"{incident}: acknowledged by {row['acknowledged_by']}."
    if row["settled_at"] is not None:
        click.echo(
            f"{said} It had settled before: no check fails or warns for it. Say what it was (`sightline accept`)."
        )
        return
    n = row["n_streams"]
    of = "1 stream warn" if n == 1 else f"{n} streams warn"
    click.echo(f"{said} From the newest window on the checks of {of}.")
