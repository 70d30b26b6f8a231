"""``sightline rehearse MONITOR``: what a budget costs and buys, on the monitor's own history (no Dagster, no row)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metrics_py.wording import day, number, percent
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.budget import Budget, parse_budget
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec

if TYPE_CHECKING:
    from sightline.alerts.rehearsal.run import Delay, Price, Rehearsal

SHOWN = timedelta(days=90)


@click.command()
@click.argument("monitor")
@click.option("--budget", "budgets", multiple=True, metavar="'1 per 90d'", help="Budget to try; may be repeated.")
@click.option("--starts", default=12, show_default=True, type=click.IntRange(3, 200), help="Begins of each change.")
@click.option("--known", multiple=True, metavar="FROM:TO", help="Days in which something really changed; repeatable.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write the delays to this SVG file.")
def command(
    monitor: str, budgets: Sequence[str], starts: int, known: Sequence[str], form: str, picture: Path | None
) -> None:
    """Replay the history of MONITOR under several budgets: incidents by mistake, and days until a change is told.

    Changes of stated sizes are put into the aggregates of its own windows, at several begins and in another column each
    time. Without --budget: the monitor's own, one of 30 days and one of a year. What has been measured is kept: a
    rehearsal that was stopped goes on.
    """
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    tried = _budgets(spec, budgets)
    spans = [_span(text) for text in known]
    if picture is not None and not picture.resolve().parent.is_dir():
        fix = "make the folder, or name another one"
        raise SightlineError("the picture's folder does not exist", where=str(picture), fix=fix)
    from sightline.alerts.rehearsal.run import rehearse  # costs scipy and the warehouse

    with _Bar(hidden=form == "json") as bar:
        found = rehearse(spec, home.monitor(monitor), tried, n_starts=starts, known=spans, progress=bar.show)
    if picture is not None:
        from sightline.alerts.rehearsal.picture import picture as drawn

        picture.write_text(drawn(found), encoding="utf-8")
    click.echo(json.dumps(_told(spec, found), indent=2) if form == "json" else _table(spec, found))


class _Bar:
    """A progress bar where somebody looks."""

    def __init__(self, *, hidden: bool) -> None:
        self._bar: Any = None
        self._hidden = hidden

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def show(self, what: str, done: int, total: int) -> None:
        """Move on."""
        if self._hidden:
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=total,
                file=sys.stderr,
                item_show_func=lambda text: str(text or ""),
                hidden=not sys.stderr.isatty(),
            )
        self._bar.update(done - self._bar.pos, what)


def _budgets(spec: MonitorSpec, texts: Sequence[str]) -> list[Budget]:
    """Ascending by how seldom they allow a false incident."""
    try:
        found = [parse_budget(text) for text in texts]
    except ValueError as error:
        raise SightlineError(str(error), where="--budget", fix="write it as in the monitor's file") from None
    if not found:
        year = [Budget(1, timedelta(days=30)), Budget(1, timedelta(days=365))]
        found = [spec.alerts.budget, *year]
    unique = {budget.windows(spec.window): budget for budget in reversed(found)}
    seldom = next((budget for windows, budget in unique.items() if windows < 1), None)
    if seldom is not None:
        raise SightlineError(
            f"{seldom} allows more than one false incident per window ({spec.schedule})",
            where="--budget",
            fix="at most one per window can be promised",
        )
    return [unique[windows] for windows in sorted(unique)]


def _span(text: str) -> tuple[datetime, datetime]:
    begin, _, end = text.partition(":")
    try:
        first, last = date.fromisoformat(begin), date.fromisoformat(end or begin)
    except ValueError:
        raise SightlineError(
            f"{text!r} is no span of days", where="--known", fix="write 2026-03-01:2026-03-14"
        ) from None
    if last < first:
        raise SightlineError(f"{text!r} ends before it begins", where="--known", fix="write FROM:TO")
    return datetime.combine(first, time.min), datetime.combine(last, time.max)  # whole days, also of hourly windows


def _told(spec: MonitorSpec, found: Rehearsal) -> dict[str, Any]:
    return {
        "monitor": found.monitor,
        "budget": str(spec.alerts.budget),
        "first_window": found.first.isoformat() + "Z",
        "last_window": found.last.isoformat() + "Z",
        "known": [[begin.isoformat() + "Z", end.isoformat() + "Z"] for begin, end in found.known],
        "starts": [start.isoformat() + "Z" for start in found.starts],
        "horizon_days": found.horizon / timedelta(days=1),
        "false_alarms": [_price(each) for each in found.prices],
        "delays": [
            {
                "budget": str(each.budget),
                "kind": each.injection.kind,
                "size": each.injection.size,
                "words": each.injection.words,
                "median_days": each.median,
                "found": each.found,
                "days": list(each.days),
                "not_possible": each.n_not_possible,
            }
            for each in found.delays
        ],
    }


def _price(each: Price) -> dict[str, Any]:
    days = SHOWN / timedelta(days=1)
    low, high = each.history.interval(days)
    return {
        "budget": str(each.budget),
        "allowed_per_90d": each.budget.incidents * (SHOWN / each.budget.per),
        "incidents": each.history.incidents,
        "days": each.history.days,
        "per_90d": each.history.per(days) if each.history.days else None,
        "per_90d_low": low if each.history.days else None,
        "per_90d_high": high if each.history.days else None,
        "in_known_time": each.known,
    }


def _table(spec: MonitorSpec, found: Rehearsal) -> str:
    lines = [
        f"{found.monitor}: rehearsed on the windows from {day(found.first)} to {day(found.last)}, as if nobody had "
        "answered an incident",
        "",
        "Incidents while nothing is known to have changed (one that is real counts, too, where nobody answered it)",
        *_columns(
            [("budget", "allowed per 90d", "incidents", "in days", "per 90d (95 %)", "in time known as changed")]
            + [_price_row(spec, each) for each in found.prices]
        ),
    ]
    if not found.known:
        lines.append("  no time is known as changed: answer incidents, or give --known FROM:TO")
    horizon = found.horizon / timedelta(days=1)
    lines += [
        "",
        f"Days until a change is told: median of {len(found.starts)} begins, and how many were told within "
        f"{horizon:g} days",
    ]
    by_change: dict[str, list[Delay]] = {}
    for each in found.delays:
        by_change.setdefault(each.injection.words, []).append(each)
    heads = ("change", *(f"{price.budget}{_own(spec, price.budget)}" for price in found.prices))
    lines += _columns([heads, *((words, *map(_delay, own)) for words, own in by_change.items())])
    n_columns = "another column at each begin" if len(found.starts) > 1 else "one column"
    lines += [f"  {n_columns}; '-': fewer than half were told; * the monitor's budget"]
    return "\n".join(lines)


def _own(spec: MonitorSpec, budget: Budget) -> str:
    return " *" if budget == spec.alerts.budget else ""


def _price_row(spec: MonitorSpec, each: Price) -> tuple[str, ...]:
    told = _price(each)
    rate = "-"
    if told["per_90d"] is not None:
        rate = f"{number(told['per_90d'], 2)} ({number(told['per_90d_low'], 2)} to {number(told['per_90d_high'], 2)})"
    allowed = number(told["allowed_per_90d"], 2)
    return (
        f"{each.budget}{_own(spec, each.budget)}",
        allowed,
        str(each.history.incidents),
        f"{each.history.days:g}",
        rate,
        str(each.known),
    )


def _delay(each: Delay) -> str:
    if each.found is None:
        return "cannot be tried"
    median = "-" if each.median is None else number(each.median, 3)
    return f"{median:>5} ({percent(each.found)} of {len(each.days)})"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
