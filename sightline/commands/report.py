"""``sightline report MONITOR``: one window of a monitor as one file: what happened, since when, why, what to do."""

from __future__ import annotations

from pathlib import Path

import click

from sightline.home import Home
from sightline.spec.loader import find_monitor

FORMATS = ("html", "markdown", "json", "parquet")


@click.command()
@click.argument("monitor")
@click.option("--window", metavar="KEY", help="Which one, e.g. 2026-01-31; default: the newest.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file; default: html below the monitor's results, parquet here, others to standard output.",
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="html", show_default=True)
def command(monitor: str, window: str | None, out: Path | None, form: str) -> None:
    """Write what is known of one window of MONITOR: health, incidents with causes, quality, drift, data, labels.

    The HTML file holds everything that it shows: it can be sent around and opened without a network. Without --out it
    is kept as data/MONITOR/results/reports/KEY.html; those of old windows are removed (`report.keep`, 90 days).

    Exit code: 0 the report was made, whatever it says; 2 there is no such monitor or window.
    """
    from sightline.reports.files import write_report
    from sightline.reports.window import outputs
    from sightline.reports.window.collect import collect

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    found = collect(home, monitor, window)
    if out is None and form == "html":
        click.echo(outputs.publish(home.monitor(monitor), spec, found))
        return
    if out is None and form == "parquet":
        out = Path(f"{monitor}-{found.facts['window']}.parquet")
    content = outputs.SHAPES[form](found)
    if out is None:
        click.echo(content, nl=False)
    else:
        write_report(out, content)
        click.echo(f"wrote {out}", err=True)
