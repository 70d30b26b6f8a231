"""``sightline fixed MONITOR INCIDENT``: the cause is mended."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from sightline.commands.incidents import echo_told
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
@click.option("--from", "start", callback=_moment, help="First bad moment (UTC; default: when the incident began).")
@click.option("--to", "end", callback=_moment, help="First good moment after it (UTC; default now).")
@click.option("--at", callback=_moment, help="When it was mended (UTC; default now).")
@click.option("--note", default="", help="Kept with the action.")
def command(
    monitor: str, incident: str, start: datetime | None, end: datetime | None, at: datetime | None, note: str
) -> None:
    """Say that the cause of INCIDENT of MONITOR is mended.

    The windows since the change point never teach the baselines. With --from and --to only the windows between them
    were bad: the others teach, and bad ones whose labels are still to come are not told again.
    """
    from sightline.alerts.actions import act

    row = act(Home.from_env(), monitor, incident, "fixed", at=at, note=note, start=start, end=end)
    echo_told(row)
    if row["state"] != "fixed" or row["status"] == "closed":
        click.echo(f"{incident}: {row['state']}; what you said is kept with it.")
        return
    n = row["n_streams"]
    of = "1 stream" if n == 1 else f"{n} streams"
    if start is not None or end is not None:
        click.echo(f"{incident}: {row['status']}. Only the windows you named stay out of the baselines of {of}.")
        return
    click.echo(f"{incident}: {row['status']}. The windows since the change point stay out of the baselines of {of}.")
