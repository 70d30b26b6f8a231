"""``sightline mark MONITOR TEXT``: something was done that may move the model's world."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from sightline.home import Home
from sightline.results.marks import append_mark
from sightline.spec.loader import find_monitor


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """ISO 8601; without a zone it is UTC."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date or time: write 2026-01-31 or 2026-01-31T06:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@click.command()
@click.argument("monitor")
@click.argument("text")
@click.option("--at", callback=_moment, help="When it was done (UTC; default now).")
@click.option("--source", default="", help="Who says so, such as the pipeline that deploys.")
def command(monitor: str, text: str, at: datetime | None, source: str) -> None:
    """Mark that something was done to the model of MONITOR or its surroundings, such as "deployed 4.2".

    A mark near the beginning of an incident is listed among its likely causes.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    entry = append_mark(home.monitor(spec.id), text, at=at, source=source)
    click.echo(f"marked {spec.id} at {entry['at']}: {entry['text']}")
