"""`sightline log`: look after a monitor's event log."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from sightline.home import Home


class _Duration(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] (no generic before click 8.4)
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        from sightline.spec.durations import parse_duration

        try:
            duration = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        assert isinstance(duration, timedelta)
        return duration


class _Moment(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] (no generic before click 8.4)
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from sightline.spec.field_types import parse_moment

        try:
            moment = parse_moment(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        assert isinstance(moment, datetime)
        return moment


KIND = click.Choice(["inferences", "labels"])


@click.group("log")
def command() -> None:
    """Look after the event log: stats, verify, recover, replay, compact."""


@command.command("stats")
@click.argument("monitor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(monitor: str, as_json: bool) -> None:
    """Count segments, events and bytes of MONITOR's log, and what the lake has not loaded yet."""
    import msgspec

    from sightline.lake.intake.sources import list_batches
    from sightline.lake.store.ledger import open_ledger
    from sightline.log.events import KINDS
    from sightline.log.inspect import log_stats
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    paths = home.monitor(spec.id)
    batches = [
        b for kind in ("inferences", "labels") for b in list_batches(spec, paths, kind, home, seal_orphans=False)
    ]
    with open_ledger(paths.ledger, create=False) as ledger:
        loaded = {batch for kind in KINDS for batch in ledger.loaded(kind)}
    waiting = [b for b in batches if b.format == "segment" and b.batch_id not in loaded]
    found = [
        {**msgspec.to_builtins(item), "not_loaded": sum(b.kind == item.kind for b in waiting)}
        for item in log_stats(paths.log)
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    columns = (
        "kind",
        "sealed",
        "not_loaded",
        "live",
        "orphaned",
        "events",
        "unreadable",
        "bytes",
        "first_at",
        "last_at",
    )
    rows = [columns, *(["" if item[name] is None else str(item[name])[:19] for name in columns] for item in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@command.command("verify")
@click.argument("monitor")
def verify(monitor: str) -> None:
    """Check every checksum in MONITOR's log; exit code 1 if a byte is not as it was written."""
    from sightline.log.inspect import verify_segment
    from sightline.log.segment import list_open, list_sealed
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    log = home.monitor(spec.id).log
    results = [verify_segment(path) for path in (*list_sealed(log), *list_open(log))]
    for result in results:
        for rejection in (*result.damage, *result.bad_rows):
            click.echo(f"{result.path}: offset {rejection.offset}: {rejection.reason}: {rejection.message}")
        if result.error:
            click.echo(f"{result.path}: {result.error}")
    damaged = sum(not result.is_sound for result in results)
    click.echo(f"{len(results)} segments, {sum(r.events for r in results)} events, {damaged} segments damaged")
    if damaged:
        sys.exit(1)


@command.command("recover")
@click.argument("monitor")
def recover_command(monitor: str) -> None:
    """Seal segments that killed processes left open; the collector and the intake do this by themselves."""
    from sightline.log.recovery import recover
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    report = recover(home.monitor(spec.id).log)
    for path in report.sealed:
        click.echo(f"sealed {path.name}")
    for path in report.damaged:
        click.echo(f"kept aside {path}")
    for path, reason in report.failed:
        click.echo(f"failed {path}: {reason}")
    click.echo(
        f"{len(report.sealed)} segments sealed, {report.events} events, {len(report.live)} segments being written"
    )
    if report.failed:
        sys.exit(1)


@command.command("replay")
@click.argument("monitor")
@click.option("--kind", type=KIND, default="inferences", show_default=True)
@click.option("--start", type=_Moment(), help="First moment (inclusive, UTC).")
@click.option("--end", type=_Moment(), help="Last moment (exclusive, UTC).")
@click.option("--include-open", is_flag=True, help="Also what is not sealed yet.")
@click.option("--url", help="POST to this collector instead of printing.")
@click.option("--token", envvar="SIGHTLINE_TOKEN", help="Bearer token of that collector.")
@click.option(
    "--home", "target", type=click.Path(file_okay=False, path_type=Path), help="Append to the log of this home."
)
@click.option("--as", "target_monitor", help="Name of the monitor there; default: the same.")
def replay(
    monitor: str,
    kind: str,
    start: datetime | None,
    end: datetime | None,
    include_open: bool,
    url: str | None,
    token: str | None,
    target: Path | None,
    target_monitor: str | None,
) -> None:
    """Print MONITOR's logged events as NDJSON, or send them to a collector (--url) or to another home (--home).

    What cannot be read is told on stderr and left out; the exit code is 1 then.
    """
    import msgspec

    from sightline.log.resend import logged_events, replay_to_home, replay_to_url, to_row
    from sightline.spec.loader import find_monitor

    if url and target:
        raise click.UsageError("give either --url or --home")
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    unreadable = 0

    def tell(message: str) -> None:
        nonlocal unreadable
        unreadable += 1
        click.echo(f"not replayed: {message}", err=True)

    log = home.monitor(spec.id).log
    events = logged_events(log, kind, start, end, include_open=include_open, on_unreadable=tell)
    name = target_monitor or spec.id
    if url:
        counts = replay_to_url(events, url, name, kind, token)
        if not counts.keeps_times:
            click.echo(
                "note: the collector counts the events as received now, since the token is not of scope replay "
                "(`sightline token create MONITOR --scope replay`)",
                err=True,
            )
        click.echo(f"{counts.accepted} accepted, {counts.duplicate} duplicate, {counts.rejected} rejected")
    elif target:
        click.echo(f"{replay_to_home(events, Home(target.resolve()), name, kind)} events appended")
    else:
        for event in events:
            click.echo(msgspec.json.encode(to_row(event), enc_hook=str))
    if unreadable:
        sys.exit(1)


@command.command("compact")
@click.argument("monitor")
@click.option("--older-than", type=_Duration(), default="7d", show_default=True, help="Age of segments that may go.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def compact(monitor: str, older_than: timedelta, dry_run: bool) -> None:
    """Remove sealed segments of MONITOR that the lake has loaded; damaged ones and those not loaded are kept."""
    from sightline.lake.intake.log_retention import compact_log
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    report = compact_log(spec, home.monitor(spec.id), home, older_than, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    click.echo(f"{verb} {len(report.removed)} segments, {report.removed_bytes} bytes")
    click.echo(f"kept: {report.young} young, {report.not_loaded} not loaded, {len(report.damaged)} damaged")
    for path in report.damaged:
        click.echo(f"damaged: {path}")
