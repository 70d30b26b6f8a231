"""``sightline judgements MONITOR``: the tidy table of published judgements, without Dagster or the warehouse."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import polars as pl

from sightline.dashboard.masking import Masking, without_values
from sightline.errors import SightlineError, nearest
from sightline.home import Home, MonitorPaths
from sightline.results.judgements import judgement_names, read_judgements
from sightline.spec.flows import JUDGED_ASSETS
from sightline.spec.loader import find_monitor

SHOWN = [
    "window_start",
    "segment",
    "model_version",
    "column",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "naive_value",
    "maturity",
    "n",
    "bound_low",
    "bound_high",
    "status",
    "reason",
]
SAME_ROW = ["window_start", "segment", "model_version", "column", "metric"]
REVISION = ["revision", "computed_at"]
"""Shown where a table holds more than one revision of a row."""


def moment_option(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """ISO 8601 date or time; without a zone it is UTC."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date or time: write 2026-01-31 or 2026-01-31T06:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@click.command()
@click.argument("monitor")
@click.option("--metric", help="Only this metric, such as psi or roc_auc.")
@click.option("--column", help="Only this column (a feature, @score, @prediction or @label).")
@click.option("--segment", help="Only this segment: all, or COLUMN=VALUE.")
@click.option("--asset", help=f"Only {', '.join(JUDGED_ASSETS[:-1])} or {JUDGED_ASSETS[-1]}.")
@click.option("--from", "start", callback=moment_option, help="Windows from this day or moment on (UTC).")
@click.option("--to", "end", callback=moment_option, help="Windows before this day or moment (UTC).")
@click.option(
    "--as-of", callback=moment_option, help="What labels that had arrived (were observed) by then say of quality."
)
@click.option(
    "--processed-by", callback=moment_option, help="What had been worked up by then: later revisions are left out."
)
@click.option("--revisions", is_flag=True, help="Every revision instead of the newest one.")
@click.option("--format", "form", type=click.Choice(["table", "json", "parquet"]), default="table", show_default=True)
@click.option("--show-personal", is_flag=True, help="Also values of columns that the monitor marks as personal.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file instead of standard output."
)
def command(
    monitor: str,
    metric: str | None,
    column: str | None,
    segment: str | None,
    asset: str | None,
    start: datetime | None,
    end: datetime | None,
    as_of: datetime | None,
    processed_by: datetime | None,
    revisions: bool,
    form: str,
    output: Path | None,
    show_personal: bool,
) -> None:
    """Print the judgements of MONITOR: one row per window, segment, version, column and metric.

    Values of columns that the monitor's file marks as personal (the smallest, the largest, what moved) are left out.
    """
    home = Home.from_env()
    paths = _paths(home, monitor)
    if output is not None and not output.parent.is_dir():
        raise SightlineError(
            f"there is no folder {output.parent}", where=f"--output {output}", fix="make it, or name another"
        )
    if as_of is not None:
        if revisions or processed_by is not None:
            raise click.UsageError("--as-of goes by when labels arrived: leave --processed-by and --revisions out")
        found = _as_of(home, monitor, as_of, start, end, asset=asset, metric=metric, column=column, segment=segment)
    else:
        found = read_judgements(
            paths, metric, column, start, end, processed_by, asset, latest=not revisions, segment=segment
        )
    found = found if show_personal else without_values(found, _personal(home, monitor))
    found = found.sort("window_start", "segment", "model_version", "column", "metric", "revision")
    if found.is_empty():
        _explain(paths, metric=metric, column=column, segment=segment, asset=asset)
    if form == "parquet":
        _write_parquet(found, output)
    else:
        _write_text(_as_json(found) if form == "json" else _as_table(found), output)


def _personal(home: Home, monitor: str) -> tuple[str, ...]:
    """Columns whose values are left out; of a monitor whose file is gone none is known."""
    if monitor not in {file.stem for file in home.monitors.glob("*.y*ml")}:
        return ()
    return Masking().hidden(find_monitor(home, monitor))


def _as_of(
    home: Home, monitor: str, as_of: datetime, start: datetime | None, end: datetime | None, **wanted: str | None
) -> pl.DataFrame:
    """What was known then, without looking at when it was worked up."""
    from sightline.judging.as_of import judgements_as_of

    found = judgements_as_of(find_monitor(home, monitor), home.monitor(monitor), as_of, start=start, end=end)
    return found.filter(pl.col(name) == value for name, value in wanted.items() if value is not None).drop("asset")


def _paths(home: Home, monitor: str) -> MonitorPaths:
    """Folders of a monitor that is declared or has results."""
    paths = home.monitor(monitor)
    if paths.results.is_dir():
        return paths
    known = {file.stem for file in home.monitors.glob("*.y*ml")} | {
        folder.name for folder in home.data.glob("*") if folder.is_dir()
    }
    if monitor in known:
        return paths
    fix = nearest(monitor, known) if known else f"put a monitor's YAML into {home.monitors}, or set SIGHTLINE_HOME"
    raise SightlineError(f"there is no monitor {monitor!r}", where=str(home.root), fix=fix)


def _explain(paths: MonitorPaths, **wanted: str | None) -> None:
    """Refuse a name that occurs in no judgement; an empty result for good names is only said."""
    names = judgement_names(paths)
    for name, value in wanted.items():
        if value is not None and names[name] and value not in names[name]:
            raise SightlineError(
                f"no judgement has the {name} {value!r}", where=str(paths.results), fix=nearest(value, names[name])
            )
    none_yet = f"no judgements yet: sightline backfill {paths.root.name}"
    click.echo("no judgement matches" if names["metric"] else none_yet, err=True)


def _as_json(found: pl.DataFrame) -> str:
    """A list of records, times in ISO 8601 with ``Z``."""
    times = [name for name, dtype in found.schema.items() if dtype == pl.Datetime]
    text = found.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
    return json.dumps(text.to_dicts(), ensure_ascii=False, indent=None, allow_nan=False)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}" if (value.hour, value.minute) == (0, 0) else f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def _as_table(found: pl.DataFrame) -> str:
    """Aligned columns; those that are empty throughout are left out."""
    names = [name for name in SHOWN if found[name].null_count() < len(found)] or SHOWN
    if found.select(pl.struct(SAME_ROW).is_duplicated().any()).item():
        names = [*names, *(name for name in REVISION if name in found.columns)]
    rows = [[_cell(value) for value in row] for row in found.select(names).iter_rows()]
    return aligned(names, rows, [found.schema[name].is_numeric() for name in names])


def aligned(names: Sequence[str], rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> str:
    """A table as text: names, a rule below them, one line per row.

    Parameters
    ----------
    names : sequence of str
        Heads of the columns.
    rows : sequence of sequence of str
        Cells.
    is_number : sequence of bool
        Which columns stand at the right.

    Examples
    --------
    >>> aligned(["n", "status"], [["12", "ok"], ["7", "alert"]], [True, False]).splitlines()
    [' n  status', '--  ------', '12  ok', ' 7  alert']
    """
    widths = [max(len(name), *(len(row[i]) for row in rows)) if rows else len(name) for i, name in enumerate(names)]
    lines = [_line(names, widths, is_number), "  ".join("-" * width for width in widths)]
    return "\n".join([*lines, *(_line(row, widths, is_number) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int], is_number: Sequence[bool]) -> str:
    parts = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, is_number, strict=True)
    ]
    return "  ".join(parts).rstrip()


def _write_text(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


def _write_parquet(found: pl.DataFrame, output: Path | None) -> None:
    if output is not None:
        found.write_parquet(output)
        return
    if sys.stdout.isatty():
        raise SightlineError(
            "Parquet is binary", fix="add --output FILE, or redirect: sightline judgements ... --format parquet > FILE"
        )
    packed = io.BytesIO()
    found.write_parquet(packed)
    sys.stdout.buffer.write(packed.getbuffer())  # a closed pipe is then an OSError, which click takes as the end
