"""``python -m demo``: train the model, replay its year, materialize it, and tell what was found."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from demo import causes, deliveries, facts, late_labels, model, report, retraining
from demo.calendar import Calendar
from demo.dashboard_file import write_dashboard
from demo.monitor_file import MONITOR_ID, write_monitor
from demo.pipeline import orchestrate
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import load_monitor

CACHE = "_demo"
"""Folder below data/ for what may be used again: the scored year."""


@click.command()
@click.option("--as-recorded", is_flag=True, help="Keep the dates of 2013 (Dagster's plots will be empty).")
@click.option("--log-only", is_flag=True, help="Stop after the replay: write the log and the landing folder only.")
def main(as_recorded: bool, log_only: bool) -> None:
    """Replay a year of flights out of New York through Sightline.

    It lies in SIGHTLINE_HOME (default: the working directory).
    """
    console = Console()
    home = Home.from_env()
    os.environ["SIGHTLINE_HOME"] = str(home.root)
    calendar = Calendar.as_recorded() if as_recorded else Calendar.before(datetime.now(UTC).date())
    console.print(report.replay_line(calendar), highlight=False)
    with _step(console, "Model: features, training on odd days of January and February, scores") as note:
        scored, cached = model.score_year(home.data / CACHE)
        note("scores of an earlier run used again" if cached else f"{scored.height:,} flights scored out of sample")
        later = retraining.later_versions(scored.drop("score", "version"))
        note(f"{' and '.join(retraining.RETRAININGS)} trained later: shadows for {retraining.SHADOW_DAYS} days each")
    with _step(console, "Monitor: reference rows and monitors/flight_delay.yaml") as note:
        had_data = deliveries.start_clean(home)
        year, shadows = (deliveries.shifted(rows, calendar) for rows in (scored, later))
        deliveries.write_reference(home, year)
        spec = load_monitor(write_monitor(home, calendar), home=home)
        write_dashboard(home)
        note("started clean: what an earlier demo made was removed" if had_data else "nothing to remove")
    windows = deliveries.history_windows(calendar)
    logged = _replay(console, home, year, shadows, calendar, len(windows))
    if not log_only:
        with _step(
            console, f"Dagster: {len(windows)} windows in one ranged run (intake, dbt, judgements, alerts, checks)"
        ) as note:
            orchestrate(home, spec, windows, note)
    generated = late_labels.generate(calendar)
    with _step(console, f"Monitor: {late_labels.WEEKS} weeks of generated bookings, labels days to weeks late") as note:
        late_labels.write(home, calendar, generated)
        late = load_monitor(home.monitors / f"{late_labels.MONITOR_ID}.yaml", home=home)
        if not log_only:
            orchestrate(home, late, late_labels.windows(calendar), note)
    landed = deliveries.land_last_days(home, year, calendar)
    deliveries.finish(home, deliveries.Replayed(*logged, *landed, calendar.offset.days))
    if not log_only:
        _tell(console, home, calendar)
        with _step(
            console, "When to retrain: the estimator of the monitor's file, trained at past moments on its lake"
        ):
            retraining.print_advice(console, home, spec)
        with _step(console, "Shadows: later versions on the same flights, by intervals that hold at every daily look"):
            retraining.print_shadows(console, home, spec, calendar)
        late_labels.print_table(console, home, late, late_labels.compared(home, calendar, generated))
    report.print_next(console, calendar)


def _replay(
    console: Console, home: Home, year: pl.DataFrame, shadows: pl.DataFrame, calendar: Calendar, n_days: int
) -> tuple[int, int]:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("days"),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Log: predictions at departure, labels at landing", total=n_days)
        logged = deliveries.replay_history(home, year, calendar, lambda day: progress.advance(task), shadows=shadows)
    console.print(f"  {logged[0]:,} predictions and {logged[1]:,} labels in sealed segments", highlight=False)
    return logged


def _tell(console: Console, home: Home, calendar: Calendar) -> None:
    paths = home.monitor(MONITOR_ID)
    members = read_snapshot(paths, "incident_members")
    if members is None:
        raise SightlineError("there are no published incidents", where=str(paths.results), fix="run the demo again")
    last_loaded = calendar.first_landing_day - timedelta(days=1)
    score = facts.score(members, read_judgements(paths), calendar, last_loaded)
    report.print_score(console, score, calendar, load_monitor(home.monitors / f"{MONITOR_ID}.yaml", home=home))
    found = read_snapshot(paths, "incident_causes")
    if found is not None:
        report.print_causes(console, causes.named(score.findings, members, found, calendar))


@contextmanager
def _step(console: Console, title: str) -> Iterator[Callable[[str], None]]:
    """A headline, a spinner while something works, lines as it has something to say, and its time."""
    started = time.monotonic()
    console.print(f"[bold]{title}[/bold]", highlight=False)
    with console.status("working"):
        yield lambda text: console.print(f"  {text}", highlight=False)
    console.print(f"  [green]done[/green] in {time.monotonic() - started:.0f} s", highlight=False)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except SightlineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
