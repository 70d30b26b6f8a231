"""``sightline migrate MONITOR``: stored data are filed as the monitor's file says now."""

from __future__ import annotations

import click

from sightline.home import Home


@click.command()
@click.argument("monitor")
def command(monitor: str) -> None:
    """File the stored data of MONITOR anew after its file has changed.

    Schedule: all rows move into the windows of now. Kinds: columns are read again. Ids, label column, earlier start:
    the files are loaded again. Positive class: labels are spelled anew. Reference: it is frozen anew. Results made
    under the old file move to archive/.
    """
    from sightline.lake.intake.migrate import migrate
    from sightline.spec.loader import find_monitor

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    report = migrate(spec, home.monitor(spec.id), home)
    if not report.changes and report.archive is None:
        click.echo(f"{spec.id}: the data were stored under this file: nothing to migrate")
        return
    for change in report.changes:
        click.echo(str(change))
    for n, what in (
        (
            report.repeated,
            "predictions share id, version and window with an earlier one now: left out, in the quarantine",
        ),
        (report.gone, "stored rows keep what was stored: their file is gone"),
        (report.n_reloaded["inferences"], "files of predictions loaded again"),
        (report.n_reloaded["labels"], "files of labels loaded again"),
        (
            len(report.kept),
            f"files cannot be read under the file of now and stay as they are: {', '.join(report.kept)}",
        ),
    ):
        if n:
            click.echo(f"{n} {what}")
    if report.archive:
        click.echo(f"results made under the old file: {report.archive}")
        click.echo(f"a running UI works all windows up again, or sightline backfill {spec.id}")
