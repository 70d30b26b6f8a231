"""``sightline evaluate MONITOR --version V FILE``: whether a candidate may take the champion's place."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from sightline.clock import utc_now
from sightline.durable import replace_file
from sightline.home import Home
from sightline.spec.loader import find_monitor


@click.command()
@click.argument("monitor")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--version", required=True, help="What the candidate is called.")
@click.option("--champion", help="Model version in production to compare with; default: the one with the most rows.")
@click.option("--against", type=click.Path(path_type=Path), help="Compare with this scored file instead of production.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "junit", "html", "markdown"]),
    default="table",
    show_default=True,
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file; default: standard output."
)
@click.pass_context
def command(
    context: click.Context,
    monitor: str,
    file: Path,
    version: str,
    champion: str | None,
    against: Path | None,
    form: str,
    out: Path | None,
) -> None:
    """Judge FILE, a scored and labelled evaluation set of a candidate of MONITOR, against the champion.

    Rows that production has scored too (by prediction id) are compared row by row, else the candidate's rows with those
    of the newest windows whose labels are due. The primary metric and all guardrails (`evaluation` in the monitor's
    file) must not lose more than their margins.

    Exit code: 0 superior or not inferior, 1 inferior or it cannot be told, 2 a mistake in the call or a file.
    """
    if champion is not None and against is not None:
        raise click.UsageError("give --champion or --against, not both")
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    now: datetime = utc_now()
    from sightline.evaluation import page, render
    from sightline.evaluation.run import evaluate

    found = evaluate(spec, home.monitor(spec.id), file, version, now=now, champion=champion, against=against)
    told = {"json": render.to_json, "junit": render.to_junit, "html": page.to_html, "markdown": render.to_markdown}
    text = told.get(form, render.to_table)(found)
    if out is None:
        click.echo(text)
    else:
        replace_file(out, f"{text}\n")
    context.exit(0 if found.verdict.may_promote else 1)
