"""``python -m demo.tickets``: write the tickets, materialize their days, and tell which changes were found."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, date, datetime, timedelta

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from demo import facts, report
from demo.calendar import Calendar
from demo.pipeline import orchestrate
from demo.tickets import monitor_file, world
from demo.tickets.monitor_file import MONITOR_ID
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec


@click.command()
def main() -> None:
    """Run sixteen weeks of generated support tickets through Sightline.

    They lie in SIGHTLINE_HOME (default: the working directory).
    """
    console, started = Console(), time.monotonic()
    home = Home.from_env()
    os.environ["SIGHTLINE_HOME"] = str(home.root)
    start = world.first_day(datetime.now(UTC).date())
    console.print(
        f"[bold]Generated support tickets[/bold], {start} to {start + timedelta(days=world.DAYS - 1)}: a classifier of "
        f"texts files them into four queues; nothing here was measured anywhere.",
        highlight=False,
    )
    answered = world.answered(world.generate(start))
    monitor_file.write(home, start, answered)
    spec = load_monitor(home.monitors / f"{MONITOR_ID}.yaml", home=home)
    console.print(f"  {answered.height - world.REFERENCE_ROWS:,} tickets in {world.DAYS} days land", highlight=False)
    orchestrate(home, spec, monitor_file.windows(start), lambda text: console.print(f"  {text}", highlight=False))
    print_score(console, home, spec, start)
    sightline = report.program()
    console.print(
        f"\nIn {time.monotonic() - started:.0f} s. Go on with:\n"
        f"  [bold]{sightline} ui[/bold]\n      Dagster and the dashboard: the column's page has the words that moved, "
        "the embedding's a map\n"
        f"  [bold]{sightline} incidents {MONITOR_ID}[/bold]\n      what would have paged somebody\n"
        f"  [bold]monitors/{MONITOR_ID}.yaml[/bold]\n      copy it for texts of your own",
        highlight=False,
    )


def print_score(console: Console, home: Home, spec: MonitorSpec, start: date) -> facts.Score:
    """What was put in and whether it was found, and incidents beside it.

    Raises
    ------
    SightlineError
        If nothing was published.
    """
    paths = home.monitor(MONITOR_ID)
    members = read_snapshot(paths, "incident_members")
    if members is None:
        raise SightlineError("there are no published incidents", where=str(paths.results), fix="run the demo again")
    last = start + timedelta(days=world.DAYS - 1)
    put_in = [change.fact(start) for change in world.CHANGES]
    found = facts.score(members, read_judgements(paths), Calendar(timedelta(0)), last, put_in)
    table = Table(title="What was put in, and when it was told", title_justify="left")
    for header in ("outcome", "put in on", "told on", "change", "told by"):
        table.add_column(header)
    for finding in found.findings:
        style = report.STYLES[finding.outcome]
        told = f"{finding.day}" if finding.day else ""
        table.add_row(f"[{style}]{finding.outcome}[/]", f"{finding.fact.first}", told, finding.fact.title, finding.by)
    console.print(table)
    allowed = spec.alerts.budget.incidents * (timedelta(days=world.DAYS) / spec.alerts.budget.per)
    console.print(
        f"Incidents in {world.DAYS} days: {found.n_incidents}, of which {found.unexplained.height} fall on days "
        f"without a change; the budget ({spec.alerts.budget}) allows {allowed:.1f}.",
        highlight=False,
    )
    for row in found.unexplained.iter_rows(named=True):
        console.print(f"  without a change: {row['day']}: {', '.join(row['stream'][:4])}", highlight=False)
    print_words(console, home, start)
    return found


def print_words(console: Console, home: Home, start: date) -> None:
    """The words that moved on a day of the new vocabulary."""
    day = start + timedelta(days=next(each.first for each in world.CHANGES if each.id == "vocabulary") + 1)
    file = home.monitor(MONITOR_ID).results / "words" / f"window={day}.parquet"
    if not file.exists():
        console.print(f"No words were published of {day}: {file} is missing.", highlight=False)
        return
    words = pl.read_parquet(file)
    moved = words.filter("is_moved").sort(pl.col("z").abs(), descending=True)["word"].head(8).to_list()
    console.print(f"Words that moved on {day}: {', '.join(moved) or 'none'}", highlight=False)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except SightlineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
