"""``sightline reload MONITOR FILE...``: a corrected file takes the place of what it brought before."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from metrics_py.wording import count
from sightline.home import Home


@click.command()
@click.argument("monitor")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Supersede predictions of other files under the same ids as well.")
def command(monitor: str, files: tuple[Path, ...], replace: bool) -> None:
    """Load FILES of MONITOR again, in the place of the rows they brought before.

    A row that another loaded file holds too stays. Superseded rows are kept in a history beside the lake and counted in
    the ledger. The sensors work the windows up again; from the shell it is `sightline backfill MONITOR`.
    """
    from sightline.lake.intake.reload import reload
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    report = reload(spec, home.monitor(spec.id), home, files, replace=replace)
    for (_, path), n in sorted(report.superseded.items()):
        click.echo(f"{path}: {count(n, 'rows')} superseded")
    for kind, done in report.files.items():
        left_out = [f"{done.duplicates} left out as known", f"{done.rejected} refused"]
        left_out += [f"{done.unmatched} wait for their prediction"] if done.unmatched else []
        click.echo(f"{kind}: {count(done.accepted, 'rows')} accepted, {', '.join(left_out)}")
        for reason, n in sorted(done.quarantined_by_reason.items()):
            click.echo(f"  quarantined: {reason} ({n})")
    for path in report.holders:
        click.echo(f"{path}: loaded again as well, it holds rows that these files no longer hold")
    if report.blocked:
        click.echo(
            f"inferences: {count(report.blocked, 'rows')} left out because other files brought others under the same "
            "ids; to put these in their place: "
            f"sightline reload {spec.id} --replace {' '.join(map(shlex.quote, map(str, files)))}"
        )
    for kind, done in report.files.items():
        gone = sum(n for (of, _), n in report.superseded.items() if of == kind) - done.accepted - done.unmatched
        if gone > 0:
            them = "it" if gone == 1 else "them"
            click.echo(f"{kind}: {count(gone, 'rows')} fewer than before: no other loaded file holds {them}")
    if report.orphaned:
        click.echo(f"labels: {report.orphaned} lost their prediction and wait for another one")
    keys = sorted(report.windows)
    span = f" ({keys[0]} to {keys[-1]})" if keys else ""
    windows, them = count(len(keys), "windows"), "it" if len(keys) == 1 else "them"
    click.echo(f"{windows} changed{span}: a running UI works {them} up again, or sightline backfill {spec.id}")
