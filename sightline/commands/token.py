"""`sightline token`: bearer tokens of the collector."""

from __future__ import annotations

import click

from sightline.home import Home

PURPOSES = {"log": "write", "act": "act", "read": "read", "evaluate": "evaluate"}
"""What a token is for -> its scope."""


@click.group("token")
def command() -> None:
    """Make, list and revoke the collector's bearer tokens; only hashes are stored."""


@command.command("create")
@click.argument("monitor")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(list(PURPOSES)),
    help="log (the default): send events; read: /metrics and incidents; act: incidents, and what is said of them; "
    "evaluate: bring evaluation sets of candidates.",
)
@click.option(
    "--scope",
    type=click.Choice(["write", "read", "replay", "act", "evaluate"]),
    help="The same by its stored name; replay: also logged events with their own times of receipt.",
)
@click.option("--note", default="", help="What it is for; of one that acts: who says what it brings.")
def create(monitor: str, purpose: str | None, scope: str | None, note: str) -> None:
    """Make a token for MONITOR and print it: it cannot be shown again.

    A serving service gets one for `log`: it cannot read or accept incidents.
    """
    from sightline.collector.auth import create_token, read_tokens, tokens_path
    from sightline.spec.loader import find_monitor

    wanted = PURPOSES.get(purpose or "", scope or "write")
    if scope is not None and scope != wanted:
        raise click.UsageError(f"--for {purpose} and --scope {scope} are two things: give one")
    home = Home.from_env()
    paths = home.monitor(find_monitor(home, monitor).id)
    was_open = not tokens_path(paths).exists() and not read_tokens(paths)
    click.echo(create_token(paths, wanted, note))
    if was_open and wanted in ("read", "act", "evaluate"):
        fix = f"make one for it: sightline token create {monitor} --for log"
        click.echo(f"note: from now on logging to {monitor} needs a token as well; {fix}", err=True)


@command.command("list")
@click.argument("monitor")
def show(monitor: str) -> None:
    """List the tokens of MONITOR: id, scope, time, note."""
    from sightline.collector.auth import read_tokens
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    for record in read_tokens(home.monitor(spec.id)):
        click.echo(f"{record.id}  {record.scope:8}  {record.created_at:%Y-%m-%d %H:%M}Z  {record.note}")


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
