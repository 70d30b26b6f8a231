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
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--version", required=True, help="What the candidate is called.")
@click.option("--champion", help="Model version in production to compare with; default: the one with the most rows.")
@click.option("--against", type=click.Path(path_type=Path), help="Compare with this scored file instead of production.")
@click.option("--live", is_flag=True, help="The version answers in production beside another one: no FILE.")
@click.option(
    "--training",
    type=click.Path(path_type=Path),
    help="What the candidate was trained on: rows in both sets make the verdict doubtful.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "junit", "html", "markdown"]),
    default="table",
    show_default=True,
)
@click.option("--keep", is_flag=True, help="Keep it beside the evaluations of Dagster: the dashboard shows it.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file; default: standard output."
)
@click.pass_context
def command(
    context: click.Context,
    monitor: str,
    file: Path | None,
    version: str,
    champion: str | None,
    against: Path | None,
    live: bool,
    training: Path | None,
    form: str,
    keep: bool,
    out: Path | None,
) -> None:
    """Judge FILE, a scored and labelled evaluation set of a candidate of MONITOR, against the champion.

    Rows that production has scored too (by prediction id) are compared row by row, else the candidate's rows with those
    of the newest windows whose labels are due. The primary metric and all guardrails (`evaluation` in the monitor's
    file) must not lose more than their margins.

    With --live the version is one of the log (shadow, canary, A/B): it is compared with the one that ran on the same
    days, by intervals that hold at every look, so that one may look daily.

    Exit code: 0 superior or not inferior, 1 inferior or it cannot be told, 2 a mistake in the call or a file.
    """
    if champion is not None and against is not None:
        raise click.UsageError("give --champion or --against, not both")
    if live and (file is not None or against is not None or form == "html"):
        raise click.UsageError("--live compares versions of the log: without FILE, --against, --format html")
    if not live and file is None:
        raise click.UsageError("name FILE, the scored evaluation set; or --live for a version that runs in production")
    home = Home.from_env()
    spec = find_monitor(home, monitor)
    now: datetime = utc_now()
    from sightline.evaluation.landed import publish

    if live:
        from sightline.evaluation import live_render
        from sightline.evaluation.live import evaluate_live

        beside = evaluate_live(spec, home.monitor(spec.id), version, now=now, champion=champion, training=training)
        shapes = {"json": live_render.to_json, "junit": live_render.to_junit, "markdown": live_render.to_markdown}
        if keep:
            publish(home.monitor(spec.id), version, live_render.to_json(beside), now)
        _write(shapes.get(form, live_render.to_table)(beside), out)
        context.exit(0 if beside.verdict.may_promote else 1)
    assert file is not None
    from sightline.evaluation import page, render
    from sightline.evaluation.run import evaluate
    from sightline.version_names import check_version

    check_version(version, "--version")
    found = evaluate(
        spec, home.monitor(spec.id), file, version, now=now, champion=champion, against=against, training=training
    )
    if keep:
        file = publish(home.monitor(spec.id), version, render.to_json(found), now)
        replace_file(file.with_suffix(".html"), page.to_html(found))
    told = {"json": render.to_json, "junit": render.to_junit, "html": page.to_html, "markdown": render.to_markdown}
    _write(told.get(form, render.to_table)(found), out)
    context.exit(0 if found.verdict.may_promote else 1)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text)
    else:
        replace_file(out, f"{text}\n")
