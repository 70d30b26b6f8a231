"""``sightline versions MONITOR``: the model versions of the log side by side."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from metrics_py.wording import number, percent
from sightline.clock import utc_now
from sightline.commands.judgements import aligned, moment_option
from sightline.home import Home
from sightline.spec.loader import find_monitor

if TYPE_CHECKING:
    from sightline.evaluation.by_version import VersionPair, Versions

HEADS = ["metric", "before", "new", "difference (95 %, at every look)", "better is", "rows"]
SERVICE = {"error_rate": "lower", "latency_mean_ms": "lower"}


@click.command()
@click.argument("monitor")
@click.option("--against", help="Compare every version with this one; default: each with the one before it.")
@click.option("--from", "start", callback=moment_option, help="Windows from this day or moment on (UTC).")
@click.option("--to", "end", callback=moment_option, help="Windows before this day or moment (UTC).")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(monitor: str, against: str | None, start: datetime | None, end: datetime | None, form: str) -> None:
    """Show the model versions in the log of MONITOR side by side: rows, times, service, quality and what differs.

    Differences are of the days on which both ran, and of quality only of those whose labels are due: a version that
    took another one's place has none, it met other days. Intervals hold at every look.
    """
    from sightline.evaluation.by_version import versions

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    found = versions(spec, home.monitor(spec.id), now=utc_now(), start=start, end=end, against=against)
    if form == "json":
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False, default=_moment))
        return
    _print(found)


def _print(found: Versions) -> None:
    first, last = found.windows
    click.echo(f"{found.monitor}: {len(found.seen)} versions in the windows {first} to {last}")
    click.echo(_table_of_versions(found))
    for pair in found.pairs:
        click.echo(f"\n{pair.version} against {pair.against}: {_head(pair, found.unit)}")
        rows = _rows(pair, found.primary)
        if rows:
            click.echo(aligned(HEADS, rows, [False, True, True, False, False, True]))
        if pair.moved:
            told = ", ".join(f"{item.column} {percent(item.distance)}" for item in pair.moved)
            click.echo(f"moved most (share of the rows that would have to change their value): {told}")
        if pair.routed:
            click.echo(
                f"warning: they do not answer the same kind of rows, quality differs by that too: {pair.routed[0]}"
            )
        for note in pair.notes:
            click.echo(f"note: {note}")


def _table_of_versions(found: Versions) -> str:
    has_shadows = any(each.role != "production" for each in found.seen)
    names = ["version", *(["role"] if has_shadows else []), "first seen", "last seen", "windows", "rows", "share"]
    optional = {
        "error rate": [each.error_rate for each in found.seen],
        "latency ms": [each.latency_mean_ms for each in found.seen],
        "p95 ms": [each.latency_p95_ms for each in found.seen],
    }
    shown = {name: values for name, values in optional.items() if any(v is not None for v in values)}
    names += [*shown, *([f"{found.primary}, own due windows"] if found.primary else [])]
    rows: list[list[str]] = []
    for k, each in enumerate(found.seen):
        row = [
            each.version,
            *([each.role] if has_shadows else []),
            f"{each.first_at:%Y-%m-%d %H:%M}",
            f"{each.last_at:%Y-%m-%d %H:%M}",
            f"{each.n_windows:,}",
        ]
        row += [f"{each.n_rows:,}", percent(each.share)]
        row += [_cell(values[k], is_share=name == "error rate") for name, values in shown.items()]
        rows.append(row + ([_quality(each.quality, found.primary)] if found.primary else []))
    return aligned(names, rows, [name not in ("version", "role", "first seen", "last seen") for name in names])


def _cell(value: float | None, *, is_share: bool) -> str:
    if value is None:
        return "-"
    return percent(value) if is_share else f"{value:,.4g}"


def _quality(rows: list[dict[str, Any]], primary: str | None) -> str:
    own = next((row for row in rows if row["metric"] == primary), None)
    if own is None or own["value"] is None:
        return own["reason"] if own is not None else "no labels are due"
    if own["ci_low"] is None:
        return f"{own['value']:.4g} ({own['reason']})"
    return f"{own['value']:.4g} ({own['ci_low']:.3g} to {own['ci_high']:.3g})"


def _head(pair: VersionPair, unit: str) -> str:
    if not pair.n_days:
        return pair.problem
    how = "both answered the same requests" if pair.is_shadow else "each answered its own rows"
    told = f"{pair.n_days:,} {unit}{'s' if pair.n_days > 1 else ''} on which both ran, {how}"
    return f"{told}\nno comparison of quality: {pair.problem}" if pair.problem else told


def _rows(pair: VersionPair, primary: str | None) -> list[list[str]]:
    from sightline.evaluation.live_render import difference, spelled

    rows: list[list[str]] = []
    for name, of in pair.service.items():
        n = f"{of.n_champion:,} / {of.n_challenger:,}"
        told = spelled(of.difference, of.ci_low, of.ci_high, of.reason)
        rows.append([name, _number(of.champion), _number(of.challenger), told, SERVICE[name], n])
    for row in sorted(pair.quality.to_dicts(), key=lambda row: row["metric"] != primary):
        better = {"higher_is_better": "higher", "lower_is_better": "lower"}.get(row["direction"], "-")
        n = f"{row['n_champion']:,} / {row['n_challenger']:,}"
        rows.append([row["metric"], _number(row["champion"]), _number(row["challenger"]), difference(row), better, n])
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _moment(value: object) -> str:
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else str(value)
