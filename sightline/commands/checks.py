"""``sightline checks MONITOR``: what every check says of every window, from published results (no Dagster)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from sightline.commands.judgements import moment_option
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.store.ledger import open_ledger
from sightline.results.judgements import read_judgements
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import keys_between

LEVELS = ("error", "warn", "ok")


@click.command()
@click.argument("monitor")
@click.option("--from", "start", callback=moment_option, help="Windows from this day or moment on (UTC).")
@click.option("--to", "end", callback=moment_option, help="Windows before this day or moment (UTC).")
@click.option("--all", "show_all", is_flag=True, help="Also the checks that pass.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(monitor: str, start: datetime | None, end: datetime | None, show_all: bool, form: str) -> None:
    """Print what the checks of MONITOR say: those that fail (error) or warn, window by window, and how many.

    These are the verdicts that Dagster shows, made anew from what is published. A check without enough data for a
    verdict has none in that window; `coverage` tells of it.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    rows = verdict_rows(spec, home, start, end)
    summary = summarize(rows)
    shown = [row for row in rows if show_all or row["level"] != "ok"]
    if form == "json":
        click.echo(json.dumps({"monitor": monitor, "summary": summary, "checks": shown}, indent=2, default=str))
        return
    for row in shown:
        cause = f" ({row['cause']})" if row["cause"] else ""
        click.echo(f"{row['window']}  {row['level']:<5} {row['asset']}/{row['check']}{cause}: {row['text']}")
    _print_summary(summary)


def verdict_rows(spec: MonitorSpec, home: Home, start: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
    """Verdicts of all checks, by window, asset and check.

    Parameters
    ----------
    spec : MonitorSpec
    home : Home
    start, end : datetime, optional
        Windows from `start` on and before `end`. Default: all that hold data or were judged, and those between them.

    Returns
    -------
    list of dict
        ``window, asset, check, level, cause, text``.

    Raises
    ------
    SightlineError
        Nothing is loaded in these windows.
    """
    from sightline.judging import board  # costs scipy
    from sightline.spec import plan

    paths = home.monitor(spec.id)
    with open_ledger(paths.ledger, create=False) as ledger:
        filled = {*ledger.window_keys("inferences"), *ledger.window_keys("labels")}
    counted = read_judgements(paths, "n_rows", asset="data_quality", segment="all").filter(~is_withdrawn())
    silent = counted["window_start"].unique().to_list()
    known = sorted(filled | {spec.key(at) for at in silent})
    keys = [
        key
        for key in (keys_between(spec, known[0], known[-1]) if known else [])
        if (start is None or spec.window_start(key) >= start) and (end is None or spec.window_start(key) < end)
    ]
    if not keys:
        raise SightlineError(
            f"{spec.id} has no data in these windows",
            where=str(paths.root),
            fix="land files, or leave --from and --to out",
        )
    by_asset: dict[str, list[plan.PlannedCheck]] = {}
    for check in plan.checks(spec):
        by_asset.setdefault(check.asset, []).append(check)
    rows = [
        {
            "window": key,
            "asset": asset,
            "check": check.name,
            "level": verdict.level,
            "cause": verdict.cause,
            "text": verdict.text,
        }
        for asset, checks in by_asset.items()
        for check, key, verdict in board.evaluate(spec, paths, asset, checks, keys)
    ]
    return sorted(rows, key=lambda row: (row["window"], row["asset"], row["check"]))


def summarize(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Counts by level: of all verdicts, of those in windows without an open incident, and of windows by their worst.

    Parameters
    ----------
    rows : iterable of dict
        As from `verdict_rows`.

    Returns
    -------
    dict
        ``verdicts``, ``without_incident`` and ``windows``, each level -> number.
    """
    rows = list(rows)
    busy = {row["window"] for row in rows if row["check"] == "open_incidents" and row["level"] != "ok"}
    worst: dict[str, str] = {}
    for row in rows:
        before = worst.setdefault(row["window"], row["level"])
        worst[row["window"]] = min(before, row["level"], key=LEVELS.index)
    return {
        "verdicts": _counted(row["level"] for row in rows),
        "without_incident": _counted(row["level"] for row in rows if row["window"] not in busy),
        "windows": _counted(worst.values()),
    }


def _counted(levels: Iterable[str]) -> dict[str, int]:
    counts = Counter(levels)
    return {level: counts[level] for level in LEVELS}


def _print_summary(summary: dict[str, Any]) -> None:
    names = {
        "verdicts": "verdicts",
        "without_incident": "verdicts in windows without an open incident",
        "windows": "windows, by their worst verdict",
    }
    click.echo("")
    for name, text in names.items():
        counts = summary[name]
        total = sum(counts.values()) or 1
        parts = ", ".join(f"{counts[level]:,} {level} ({counts[level] / total:.1%})" for level in LEVELS)
        click.echo(f"{text}: {parts}")
