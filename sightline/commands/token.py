"""`sightline token`: bearer tokens of the collector."""

from __future__ import annotations

import click

from sightline.home import Home


@click.group("token")
def command() -> None:
    """Make, list and revoke the collector's bearer tokens; only hashes are stored."""


@command.command("create")
@click.argument("monitor")
@click.option(
    "--scope",
    type=click.Choice(["write", "read", "replay"]),
    default="write",
    show_default=True,
    help="read: only /metrics; replay: also logged events with their own times of receipt.",
)
@click.option("--note", default="", help="What it is for.")
def create(monitor: str, scope: str, note: str) -> None:
    """Make a token for MONITOR and print it: it cannot be shown again."""
    from sightline.collector.auth import create_token
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    click.echo(create_token(home.monitor(spec.id), scope, note))


@command.command("list")
@click.argument("monitor")
def show(monitor: str) -> None:
    """List the tokens of MONITOR: id, scope, time, note."""
    from sightline.collector.auth import read_tokens
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    for record in read_tokens(home.monitor(spec.id)):
        click.echo(f"{record.id}  {record.scope:6}  {record.created_at:%Y-%m-%d %H:%M}Z  {record.note}")


@command.command("revoke")
@click.argument("monitor")
@click.argument("token_id", required=False)
@click.option("--open", "is_open", is_flag=True, help="Without its last token, let everybody on this machine write.")
def revoke(monitor: str, token_id: str | None, is_open: bool) -> None:
    """Revoke a token of MONITOR by its id (see `list`); a running collector notices within a second.

    When the last one is revoked, nobody may write to the monitor until a new one is made, or --open is said.
    """
    from sightline.collector.auth import open_monitor, read_tokens, revoke_token
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    paths = home.monitor(find_monitor(home, monitor).id)
    if token_id is None and not is_open:
        raise click.UsageError("name the token to revoke (see `sightline token list`)")
    if token_id is not None:
        revoke_token(paths, token_id)
        click.echo(f"revoked {token_id}")
    if is_open:
        open_monitor(paths)
        click.echo(f"{monitor} is open to everybody on this machine")
    elif not read_tokens(paths):
        click.echo(
            f"no token is left: nobody may write to {monitor} (`sightline token revoke {monitor} --open` opens it)"
        )
