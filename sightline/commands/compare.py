"""``sightline compare``: how do two files differ? No set-up, no Dagster."""

from __future__ import annotations

import shutil
import sys

import click

from sightline.errors import SightlineError


def split_names(values: tuple[str, ...]) -> list[str] | None:
    """Names of a repeatable option; None when it was not given."""
    return list(values) or None


@click.command()
@click.argument("reference", type=click.Path())
@click.argument("current", type=click.Path())
@click.option("--by", metavar="COLUMN", help="Judge each value of this column by itself.")
@click.option(
    "--columns", "--column", multiple=True, metavar="COLUMN", help="Compare this column (repeat); default: all."
)
@click.option(
    "--metric", "--metrics", "metrics", multiple=True, metavar="NAME", help="Drift metric (repeat), e.g. psi, ks."
)
@click.option(
    "--entity", metavar="COLUMN", help="Rows of one entity (user, device) depend on each other; allow for it."
)
@click.option("--tolerance", type=float, default=0.1, show_default=True, help="PSI that still counts as no drift.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="COLUMN=KIND", help="Read a column as numeric, categorical, ... (repeat)."
)
@click.option(
    "--descriptor",
    "descriptors",
    multiple=True,
    metavar="NAME",
    help="Describe text columns by this (repeat), e.g. language; default: words, word_length, letter_share, ...",
)
@click.option(
    "--llm",
    "answers",
    multiple=True,
    metavar="ROLE=COLUMN",
    help="Columns of a language model's calls (repeat), e.g. response=answer: refusals, truncated answers, ...",
)
@click.option("--together", is_flag=True, help="Also compare the numeric columns together: correlations, a classifier.")
@click.option("--format", "shape", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True)
@click.option("--html", metavar="FILE", help="Write a page with a picture per column to this file, too.")
@click.option("--parquet", metavar="FILE", help="Write all rows to this Parquet file, too.")
@click.option(
    "--all", "everything", is_flag=True, help="Table: all rows; default: the first 40, one per stable column."
)
@click.pass_context
def command(
    context: click.Context,
    reference: str,
    current: str,
    by: str | None,
    columns: tuple[str, ...],
    metrics: tuple[str, ...],
    entity: str | None,
    tolerance: float,
    kinds: tuple[str, ...],
    together: bool,
    descriptors: tuple[str, ...],
    answers: tuple[str, ...],
    shape: str,
    html: str | None,
    parquet: str | None,
    everything: bool,
) -> None:
    """Compare CURRENT with REFERENCE column by column.

    Both are Parquet, CSV, TSV or NDJSON files, or globs or folders of them; .csv.gz and .csv.zst too.

    Columns of texts are compared by length, descriptors, unknown words and copies (docs/text.md), and the words that
    became more or less frequent are listed; with --llm answers are measured (docs/llm.md).

    Bins are frozen from the reference, every effect has a 95 % interval, and each verdict is drift, stable or unclear
    (too few rows to tell). Exit code: 0 no drift, 1 drift found, 2 a mistake in the call or a file without rows, 3 no
    column has enough data for a verdict.
    """
    from sightline.reports.comparison import columns_of, is_judged
    from sightline.reports.files import parquet_bytes, write_report
    from sightline.reports.notebook import compare

    try:
        result = compare(
            reference,
            current,
            metrics=split_names(metrics),
            columns=split_names(columns),
            by=by,
            entity=entity,
            tolerance=tolerance,
            kinds=dict(_kind(text) for text in kinds),
            together=together,
            descriptors=split_names(descriptors),
            answers=dict(_role(text) for text in answers),
        )
    except (TypeError, ValueError) as error:
        raise SightlineError(str(error)) from error
    for file, content in ((html, result.to_html), (parquet, lambda: parquet_bytes(result.frame))):
        if file is not None:
            write_report(file, content())
            click.echo(f"wrote {file}", err=True)
    if shape == "json":
        click.echo(result.to_json(indent=1))
    elif shape == "markdown":
        click.echo(result.to_markdown(), nl=False)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo(result.to_text(max_rows=None if everything else 40, width=width))
        if not together and result.frame.filter(kind="numeric")["column"].n_unique() > 1:
            click.echo("each column by itself; --together also compares the correlations of the numeric ones")
    context.exit(1 if result.drifted else 0 if is_judged(columns_of(result)) else 3)


def _kind(text: str) -> tuple[str, str]:
    column, sign, kind = text.rpartition("=")
    if not sign or not column:
        raise SightlineError(
            f"--kind {text}: no column and kind", fix="write --kind COLUMN=KIND, e.g. --kind zip=categorical"
        )
    return column, kind


def _role(text: str) -> tuple[str, str]:
    role, sign, column = text.partition("=")
    if not sign or not column:
        raise SightlineError(f"--llm {text}: no part and column", fix="write --llm ROLE=COLUMN, e.g. response=answer")
    return role, column
