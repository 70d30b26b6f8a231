"""``sightline registry MONITOR``: look at the model registry once."""

from __future__ import annotations

import click

from sightline.home import Home
from sightline.spec.loader import find_monitor


@click.command()
@click.argument("monitor")
def command(monitor: str) -> None:
    """Fetch evaluation sets of new versions from MONITOR's model registry, and tell it the verdicts that it lacks.

    Dagster's sensor does the same every minute. Exit code 2 if the registry is down or a version cannot be fetched.
    """
    from sightline.registries.build import registry_of
    from sightline.registries.sync import sync

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    with registry_of(spec, home) as registry:
        for line in sync(spec, home.monitor(spec.id), registry) or ["nothing to do"]:
            click.echo(line)
