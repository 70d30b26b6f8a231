"""``sightline map MONITOR COLUMN``: rows of a window among rows of the reference, by their vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from sightline.errors import SightlineError, nearest
from sightline.home import Home

if TYPE_CHECKING:
    import polars as pl

    from sightline.spec.model import MonitorSpec

MOST_LISTED = 15


@click.command()
@click.argument("monitor")
@click.argument("column")
@click.option("--window", "key", metavar="KEY", help="The window, such as 2026-01-31; default: the newest with a map.")
@click.option(
    "--method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    show_default=True,
    help="umap needs the extra sightline[umap].",
)
@click.option("--rows", type=click.IntRange(3, 5000), help="Rows of either side; default 400.")
@click.option("--html", metavar="FILE", help="Write a page with the picture to this file, too.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    monitor: str,
    column: str,
    key: str | None,
    method: Literal["pca", "umap"],
    rows: int | None,
    html: str | None,
    form: str,
) -> None:
    """Show which rows of a window lie farthest from the reference, by the vectors in COLUMN, and their nearest ones.

    COLUMN is a feature of kind embedding, or `<column>.embedding` of texts. The map of the newest window is published
    with each run of `drift`; other windows, methods and sizes are computed now.
    """
    from sightline.spec.loader import find_monitor
    from sightline.spec.multivariate import embedding_columns

    home = Home.from_env()
    spec = find_monitor(home, monitor)
    known = embedding_columns(spec)
    if column not in known:
        fix = nearest(column, known) if known else "name a feature of kind embedding, or `embedding:` of a text column"
        raise SightlineError(f"{monitor} judges no vectors in {column!r}", fix=fix)
    found = _map(home, spec, column, key, method, rows)
    window = spec.key(found["window_start"][0])
    if html:
        from sightline.reports.embedding_map import map_html

        Path(html).write_text(map_html(monitor, column, window, found), encoding="utf-8")
    if form == "json":
        click.echo(json.dumps(found.to_dicts(), ensure_ascii=False, allow_nan=False, default=str))
        return
    _print(found, monitor, column, window)


def _map(
    home: Home, spec: MonitorSpec, column: str, key: str | None, method: Literal["pca", "umap"], rows: int | None
) -> pl.DataFrame:
    from sightline.results.embedding_maps import read_map
    from sightline.spec.windows import is_key

    paths = home.monitor(spec.id)
    if key is not None and not is_key(spec, key):
        raise SightlineError(
            f"{key!r} is no {spec.schedule} window of {spec.id}",
            where="--window",
            fix=f"write a window's start, such as {spec.key(spec.first_window)}",
        )
    published = read_map(paths, column, *([key, key] if key else []))
    if rows is None and method == "pca" and not published.is_empty():
        return published
    if key is None and published.is_empty():
        raise SightlineError(f"no window of {column} has a map yet", fix=f"sightline backfill {spec.id}")
    key = key or spec.key(published["window_start"][0])
    found = _computed(home, spec, column, key, method, rows)
    if found.is_empty():
        raise SightlineError(
            f"{column} has no vectors to draw in window {key}, or the reference has fewer than 3", where="--window"
        )
    return found


def _computed(
    home: Home, spec: MonitorSpec, column: str, key: str, method: Literal["pca", "umap"], rows: int | None
) -> pl.DataFrame:
    from sightline.judging.embedding_maps import map_frame
    from sightline.judging.text_vectors import TextVectors
    from sightline.warehouse import connect
    from sightline.warehouse.joint_reference import ensure_joint_reference

    paths = home.monitor(spec.id)
    with connect(paths, read_only=True) as con:
        reference = ensure_joint_reference(spec, paths, con, TextVectors(spec))
        if reference is None or column not in reference.embeddings:
            why = reference.lacking.get(column, ("", ""))[1] if reference else "the reference is not frozen yet"
            raise SightlineError(f"{column} has no map: {why}", fix=f"sightline backfill {spec.id}")
        try:
            return map_frame(spec, paths, con, reference, column, key, most=rows, method=method)
        except ModuleNotFoundError as error:
            raise SightlineError("a map by UMAP needs a package", fix="pip install 'sightline[umap]'") from error
        except ValueError as error:
            raise SightlineError(str(error).partition(": ")[2] or str(error), where="--rows") from error


def _print(found: pl.DataFrame, monitor: str, column: str, window: str) -> None:
    from sightline.dashboard.charts.embedding_map import map_chart

    chart = map_chart("map", column, found, window)
    if chart is None:
        return
    click.echo(f"{monitor}: {chart.title}\n{chart.summary}\n")
    for row in chart.rows[:MOST_LISTED]:
        click.echo(f"{row[1]:>8}  {row[0]}: {row[2]}\n{'':>8}  nearest {row[3]}: {row[4]}")
