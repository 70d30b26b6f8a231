"""``sightline fixed MONITOR INCIDENT``: the cause is mended."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from sightline.home import Home


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
@click.argument("incident")
@click.option("--at", callback=_moment, help="When it was mended (UTC; default now).")
@click.option("--note", default="", help="Kept with the action.")
def command(monitor: str, incident: str, at: datetime | None, note: str) -> None:
    """Say that the cause of INCIDENT of MONITOR is mended.

    The windows since the change point never teach the baselines.
    """
    from sightline.alerts.actions import act

    row = act(Home.from_env(), monitor, incident, "fixed", at=at, note=note)
    n = row["n_streams"]
    of = "1 stream" if n == 1 else f"{n} streams"
    click.echo(f"{incident}: {row['status']}. The windows since the change point stay out of the baselines of {of}.")
