"""The demo's last screen: what was found against what is documented, honestly."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.calendar import LANDING_DAYS, Calendar
from demo.causes import FIRST, Named
from demo.facts import Finding, Score
from demo.monitor_file import MONITOR_ID
from sightline.spec.model import MonitorSpec

TABLE_WIDTH = 120
"""Narrower terminals get a list instead of a table."""

STYLES = {
    "found": "green",
    "kept quiet": "green",
    "told": "green",
    "missed": "red",
    "false alarm": "red",
    "pending": "yellow",
}


def print_score(console: Console, score: Score, calendar: Calendar, spec: MonitorSpec) -> None:
    """Table of the documented facts, incidents that no fact explains, and the budget."""
    title = "What is documented to have happened, and what Sightline said"
    rows = [_row(finding, calendar) for finding in score.findings]
    if console.width >= TABLE_WIDTH:
        table = Table(title=title, title_justify="left", expand=True)
        for header, ratio in (("outcome", 3), ("replayed on", 4), ("flown on", 3), ("fact", 12), ("shown by", 12)):
            table.add_column(header, ratio=ratio)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        console.print(f"[bold]{title}[/bold]")
        for outcome, replayed, flown, fact, by in rows:
            console.print(f"{outcome}  {flown} ({replayed})", highlight=False)
            console.print(f"    {fact}" + (f"\n    [dim]{by}[/dim]" if by else ""), highlight=False)
    counts = [f"{score.count(outcome)} {outcome}" for outcome in STYLES]  # type: ignore[arg-type]
    console.print(f"Facts: {', '.join(counts)}.")
    budget = spec.alerts.budget
    span = calendar.first_landing_day - calendar.first_day
    allowed = budget.incidents * (span / budget.per)
    console.print(
        f"Incidents in {span.days} days: {score.n_incidents}, of which {score.unexplained.height} belong to no "
        f"documented fact; the budget ({budget}) allows {allowed:.1f} false ones."
    )
    for row in score.unexplained.iter_rows(named=True):
        streams = ", ".join(row["stream"][:4]) + (" ..." if len(row["stream"]) > 4 else "")
        console.print(f"  not documented: {calendar.both(row['day'])}: {streams}", highlight=False)


def print_causes(console: Console, named: Sequence[Named]) -> None:
    """Whether the incidents of the documented facts name their causes."""
    if not named:
        return
    right = sum(item.rank is not None for item in named)
    console.print(
        f"Likely causes: {right} of {len(named)} facts that an incident shows have their documented cause among its "
        f"first {FIRST}:"
    )
    for item in named:
        where = f"[green]no. {item.rank}[/]" if item.rank else "[red]not named, first is[/]"
        console.print(f"  {item.fact.id} ({item.documented}): {where}: {escape(item.words)}", highlight=False)


def _row(finding: Finding, calendar: Calendar) -> tuple[str, str, str, str, str]:
    """Outcome, replayed day, day of 2013, fact, and what showed it."""
    day = finding.day or calendar.replayed(finding.fact.first)
    by = finding.by or ("its files wait in the landing folder" if finding.outcome == "pending" else "")
    outcome = f"[{STYLES[finding.outcome]}]{finding.outcome}[/]"
    return outcome, f"{day:%a %Y-%m-%d}", f"{calendar.recorded(day)}", finding.fact.title, by


def program() -> str:
    """The command `sightline` as this shell can call it: by name if that is this environment's, else by its path."""
    own = Path(sys.executable).with_name("sightline")
    if not own.exists():
        return f"{sys.executable} -m sightline.cli"
    if shutil.which("sightline") == str(own):
        return "sightline"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)


def print_next(console: Console, calendar: Calendar) -> None:
    """How to look further."""
    sightline = program()
    first = calendar.first_landing_day
    first_april, last_april = (
        calendar.replayed(calendar.recorded(first).replace(month=4, day=day)) for day in (15, 30)
    )
    console.print(
        f"\nThe last {LANDING_DAYS} days ({calendar.both(first)} to {calendar.both(calendar.last_day)}) wait in "
        f"data/{MONITOR_ID}/landing/.\nOpen the UI, and the sensors load them before your eyes; "
        "the weather feed ends on the last one.",
        highlight=False,
    )
    if calendar.pause:
        console.print(
            f"Nobody flies after it: the {len(calendar.pause)} days to {calendar.pause[-1]} are listed as a pause "
            "under `alerts.holidays`.\nFrom the day after on, a day without predictions fails `row_volume` once it "
            "has closed, as for a service that fell silent.",
            highlight=False,
        )
    console.print("\nGo on with:", highlight=False)
    lines = [
        (
            f"{sightline} ui",
            "Dagster: the lineage, with failed checks where something happened; and the dashboard of both models at "
            "http://127.0.0.1:3001/",
        ),
        (
            f"{sightline} judgements {MONITOR_ID} --metric brier_skill --from {first_april} --to {last_april}",
            "concept drift",
        ),
        (
            f"{sightline} judgements {MONITOR_ID} --metric estimation_error_roc_auc --segment all --from {first_april} "
            f"--to {last_april}",
            "the same, as the audit of what was estimated before the labels came",
        ),
        (f"{sightline} incidents {MONITOR_ID}", "what would have paged somebody"),
        (f"{sightline} checks {MONITOR_ID}", "which checks failed or warned in which window, and how often"),
        (f"{sightline} retraining {MONITOR_ID} --backtest", "whether and when a retraining pays, and how it is known"),
        (f"{sightline} versions {MONITOR_ID}", "the shadows beside the model in service"),
        (f"{sightline} validate {MONITOR_ID}", "what the monitor's file creates"),
        (f"monitors/{MONITOR_ID}.yaml", "copy it for a model of your own"),
    ]
    for text, meaning in lines:
        console.print(f"  [bold]{text}[/bold]\n      {meaning}", highlight=False)


def replay_line(calendar: Calendar) -> str:
    """One line about the dates."""
    if calendar.offset == timedelta(0):
        return "Dates are as recorded (2013). Dagster's plots show the last 120 days only and will be empty."
    return (
        f"2013 is replayed {calendar.offset.days // 7} weeks later: {calendar.both(calendar.first_day)} "
        f"to {calendar.both(calendar.last_day)}."
    )
