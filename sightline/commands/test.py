"""``sightline test``: does a table meet a suite of bounds? Also writes a first suite from a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sightline.errors import SightlineError

if TYPE_CHECKING:
    from metrics_py.quality.rows import Roles
    from metrics_py.suite.result import SuiteResult


@click.command()
@click.argument("files", nargs=-1, type=click.Path(), metavar="SUITE REFERENCE CURRENT")
@click.option("--generate", is_flag=True, help="Print a suite for the one file given, the REFERENCE.")
@click.option(
    "--task", help="With --generate: binary_classification, multiclass_classification, regression or ranking."
)
@click.option("--label", metavar="COLUMN", help="With --generate: the truth; adds checks of model quality.")
@click.option("--score", metavar="COLUMN", help="With --generate: P(positive) (binary classification).")
@click.option("--prediction", metavar="COLUMN", help="With --generate: predicted class or value.")
@click.option("--positive", default="1", show_default=True, help="With --generate: the positive class.")
@click.option("--negative", multiple=True, help="With --generate: a negative class (repeat); default: all others.")
@click.option("--entity", metavar="COLUMN", help="With --generate: rows of one entity depend on each other.")
@click.option("--query", metavar="COLUMN", help="With --generate: rows that are ranked together (ranking).")
@click.option(
    "--format", "shape", type=click.Choice(["table", "json", "junit", "markdown"]), default="table", show_default=True
)
@click.option("--html", metavar="FILE", help="Write a page to this file, too: what failed first, with pictures.")
@click.option("--parquet", metavar="FILE", help="Write all rows to this Parquet file, too.")
@click.option("--only-bad", is_flag=True, help="Table: leave out what passed.")
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    generate: bool,
    task: str | None,
    label: str | None,
    score: str | None,
    prediction: str | None,
    positive: str,
    negative: tuple[str, ...],
    entity: str | None,
    query: str | None,
    shape: str,
    html: str | None,
    parquet: str | None,
    only_bad: bool,
) -> None:
    """Check the file CURRENT against SUITE (YAML); REFERENCE gives ranges, bins and the values of tolerances.

    \u0008
    sightline test suite.yaml reference.parquet current.parquet
    sightline test --generate reference.parquet --label y --score p > suite.yaml

    Exit code: 0 passed, 1 a check of severity error failed or could not be measured, 2 a
    mistake in the call or the suite.
    """
    try:
        if generate:
            _generate(files, _roles(task, label, score, prediction, positive, negative, entity, query))
            return
        if len(files) != 3:
            raise click.UsageError("give three files: SUITE REFERENCE CURRENT (or --generate REFERENCE)")
        from metrics_py.suite.checks import run_suite
        from sightline.suites import load_suite

        result = run_suite(load_suite(files[0]), files[1], files[2])
        _write(files, result, html, parquet)
    except (TypeError, ValueError) as error:
        raise SightlineError(str(error)) from error
    views = {"json": lambda: result.to_json(indent=1), "junit": lambda: result.to_junit(files[0])}
    if shape == "markdown":
        from sightline.reports.short import suite_markdown

        views["markdown"] = lambda: suite_markdown(result, files[0]).rstrip("\n")
    click.echo(views.get(shape, lambda: result.to_text(only_bad=only_bad))())
    context.exit(0 if result.passed else 1)


def _write(files: tuple[str, ...], result: SuiteResult, html: str | None, parquet: str | None) -> None:
    if html is None and parquet is None:
        return
    from sightline.reports.files import parquet_bytes, write_report
    from sightline.reports.suite import bins_of_failed, suite_html

    if html is not None:
        write_report(html, suite_html(result, bins_of_failed(result, files[1], files[2]), *files))
    if parquet is not None:
        write_report(parquet, parquet_bytes(result.frame))
    for file in filter(None, (html, parquet)):
        click.echo(f"wrote {file}", err=True)


def _generate(files: tuple[str, ...], roles: Roles | None) -> None:
    if len(files) != 1:
        raise click.UsageError("--generate takes one file, the REFERENCE")
    from metrics_py.comparison.tables import read_table
    from metrics_py.suite.draft import draft_suite
    from sightline.suites import dump_suite

    frame = read_table(files[0], "reference").frame
    suite = draft_suite(frame, roles)  # a column that does not fit its role is refused here, not on the first day
    click.echo(dump_suite(suite), nl=False)
    for note in suite.notes:
        click.echo(f"left out: {note}", err=True)


def _roles(
    task: str | None,
    label: str | None,
    score: str | None,
    prediction: str | None,
    positive: str,
    negative: tuple[str, ...],
    entity: str | None,
    query: str | None,
) -> Roles | None:
    if label is None:
        if score or prediction or task or query:
            raise click.UsageError("--score, --prediction, --query and --task need --label")
        return None
    from metrics_py.quality.rows import TASKS, Roles

    if task is None:
        if score is None:
            raise click.UsageError(f"--label needs --score (binary classification), or --task: {', '.join(TASKS)}")
        task = "binary_classification"
    if task not in TASKS:
        raise click.UsageError(f"--task {task} is unknown; one of {', '.join(TASKS)}")
    return Roles(
        task,
        label,
        score=score,
        prediction=prediction,
        positive=positive,
        negative=negative,
        entity=entity,
        query=query,
    )
