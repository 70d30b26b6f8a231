"""``sightline incident [MONITOR] INCIDENT``: all that is known of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from metrics_py.wording import day
from sightline.commands.incidents import as_text, echo_causes, echo_incident, echo_operations
from sightline.home import Home

COMMANDS = {
    "acknowledge": ("", "somebody is at it: its checks warn and do not fail"),
    "assign": (" PERSON", "whose it is"),
    "note": (" TEXT", "kept with it"),
    "accept": ("", "the new normal: baselines restart at the change point"),
    "fixed": (
        " --from A --to B",
        "mended: the windows from A to before B were bad (without: all since it began)",
    ),
    "split": (" STREAM...", "some of its streams have another cause"),
    "merge": (" OTHER", "it is the same as another open one"),
    "reopen": ("", "it is not over"),
}


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[MONITOR] INCIDENT")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(names: tuple[str, ...], form: str) -> None:
    """Tell all of one incident: its evidence, its streams in words, what happened and who said what, likely causes.

    MONITOR may be left out where only one monitor has an incident of this id.
    """
    from sightline.alerts.actions import incident

    *before, name = names
    if len(before) > 1:
        raise click.UsageError("name one incident, and its monitor before it")
    monitor = before[0] if before else None
    found = incident(Home.from_env(), monitor, name)
    if form == "json":
        click.echo(json.dumps(found, indent=2, default=as_text))
        return
    click.echo(f"{found['monitor']}: budget {found['budget']}")
    echo_incident(found)
    if found["causes"] is not None:
        echo_causes(found["causes"])
    if found["operations"]:
        click.echo("\n  operations then")
        echo_operations(found["operations"])
    click.echo("\n  what happened (UTC), decisions at the end of their window")
    for entry in found["timeline"]:
        told = entry["words"].replace("\n", "\n" + " " * 8)
        by = "" if entry["by"] == "sightline" else f"{entry['by']} "
        click.echo(f"    {day(entry['at'])}  {by}{told}")
    click.echo("\n  pages" + ("" if "://" in found["links"]["lineage"] else " (below the address of Dagster's UI)"))
    for name, address in found["links"].items():
        click.echo(f"    {name}: {address}")
    click.echo("\n  what you may say")
    for line in commands_of(found):
        click.echo(f"    {line}")


def commands_of(incident: dict[str, Any]) -> Iterator[str]:
    """Command lines by which something can be said of an incident."""
    lines = {
        action: f"sightline {action} {incident['monitor']} {incident['incident_id']}{COMMANDS[action][0]}"
        for action in incident["actions"]
    }
    width = max(map(len, lines.values()))
    for action, line in lines.items():
        yield f"{line:{width}}  # {COMMANDS[action][1]}"
