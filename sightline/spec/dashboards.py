"""``dashboards/<name>.yaml``: a user's own pages, rows of panels; every mistake told with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.spec.loader import SUFFIXES, SpecError, read_part
from sightline.spec.model import MonitorSpec
from sightline.spec.part import Part
from sightline.spec.yaml_lines import Document

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
MOST_PANELS = 60
Kind = Literal["metric", "column", "segments", "text", "sql"]
NEEDED: dict[Kind, tuple[str, ...]] = {
    "metric": ("monitor", "metric"),
    "column": ("monitor", "column"),
    "segments": ("monitor", "metric"),
    "text": ("text",),
    "sql": ("sql",),
}
TAKEN: dict[Kind, tuple[str, ...]] = {
    "metric": ("monitor", "metric", "column", "segment", "version"),
    "column": ("monitor", "column"),
    "segments": ("monitor", "metric", "by", "version"),
    "text": ("text",),
    "sql": ("sql", "show", "x", "y", "unit"),
}
"""Keys of a panel by its kind, beside `kind` and `title`."""


class Panel(Part):
    """One picture, table or text of a page."""

    kind: Kind = Field(
        description="`metric` draws a metric over time; `column` the distribution of a column beside its reference; "
        "`segments` compares the segments of a column; `text` is words; `sql` shows what a query over the published "
        "tables gives."
    )
    title: str | None = Field(default=None, max_length=200, description="Heading; by default what the panel shows.")
    monitor: str | None = Field(default=None, description="Id of the monitor (metric, column, segments).")
    metric: str | None = Field(default=None, description="Name of the metric (metric, segments).")
    column: str | None = Field(default=None, description="Column (column; metric: of a metric about a column).")
    segment: str | None = Field(default=None, description="Segment such as `plan=basic` (metric); default all rows.")
    version: str | None = Field(default=None, description="Model version (metric, segments); default all.")
    by: str | None = Field(default=None, description="Column whose segments are compared; default the first.")
    text: str | None = Field(default=None, max_length=10_000, description="Paragraphs, an empty line between them.")
    sql: str | None = Field(default=None, max_length=20_000, description="One SELECT; `$from` and `$to` are filled in.")
    show: Literal["table", "line", "bar", "number"] | None = Field(
        default=None, description="How the rows of the query are shown; default `table`."
    )
    x: str | None = Field(default=None, description="Column of the query along the axis (line, bar).")
    y: tuple[str, ...] = Field(default=(), description="Columns of the query that are drawn (line, bar, number).")
    unit: str | None = Field(default=None, max_length=40, description="Beside the values (line, bar, number).")


class Row(Part):
    """Panels beside each other; below each other where there is no room."""

    title: str | None = Field(default=None, max_length=200, description="Heading of the row.")
    panels: tuple[Panel, ...] = Field(min_length=1, max_length=6, description="From left to right.")


class Dashboard(Part):
    """All of ``dashboards/<name>.yaml``."""

    version: Literal[1] = Field(default=1, description="Version of this file's format.")
    title: str = Field(max_length=200, description="Name of the page.")
    description: str | None = Field(default=None, max_length=2000, description="A sentence below the title.")
    rows: tuple[Row, ...] = Field(min_length=1, description="From top to bottom.")


@dataclass(frozen=True)
class BrokenDashboard:
    """A file that could not be read; the others go on."""

    path: Path
    error: SightlineError


def dashboard_files(home: Home) -> list[Path]:
    """The YAML files in ``dashboards/``, sorted; names that start with a dot or an underscore are left out."""
    folder = home.dashboards
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name[0] not in "._" and p.is_file())


def load_dashboards(home: Home) -> tuple[dict[str, Dashboard], list[BrokenDashboard]]:
    """All pages of a home by name, and the files that have mistakes."""
    found: dict[str, Dashboard] = {}
    broken: list[BrokenDashboard] = []
    for path in dashboard_files(home):
        try:
            if path.stem in found:
                what, fix = f"a second file describes the page {path.stem!r}", "keep one of .yaml and .yml"
                raise SightlineError(what, where=str(path), fix=fix)
            found[path.stem] = load_dashboard(path)
        except SightlineError as error:
            broken.append(BrokenDashboard(path, error))
    return found, broken


def load_dashboard(path: Path, specs: Mapping[str, MonitorSpec] | None = None) -> Dashboard:
    """Read one page.

    Parameters
    ----------
    path : Path
        ``dashboards/<name>.yaml``.
    specs : mapping, optional
        Monitors by id: panels of others, and of columns that a monitor does not have, are mistakes. Default: they are
        told where the page is shown.

    Raises
    ------
    SpecError
        With all mistakes of the file, each with its line.
    """
    document, page, found = read_part(path, Dashboard)
    if NAME.fullmatch(path.stem) is None:
        fix = "use lower-case letters, digits, _ and -: it stands in the page's address"
        found.append(SightlineError(f"{path.stem!r} is no name for a page", where=str(path), fix=fix))
    if page is not None:
        found += _problems(document, page, specs)
    if found or page is None:
        raise SpecError(found)
    return page


def panels_of(page: Dashboard) -> Iterator[tuple[int, int, Panel]]:
    """Every panel with the number of its row and its own."""
    for r, row in enumerate(page.rows):
        for p, panel in enumerate(row.panels):
            yield r, p, panel


def panel_place(path: Path, row: int, panel: int, key: str) -> str:
    """``file:line`` of a key of a panel."""
    return read_part(path, Dashboard)[0].where(("rows", row, "panels", panel, key))


def _problems(document: Document, page: Dashboard, specs: Mapping[str, MonitorSpec] | None) -> list[SightlineError]:
    """Rules between keys."""
    found: list[SightlineError] = []
    for r, p, panel in panels_of(page):
        base = ("rows", r, "panels", p)
        for key, what, fix in (*_misfits(panel), *_unknown(panel, specs)):
            found.append(SightlineError(what, where=document.where((*base, key)), fix=fix))
    if sum(len(row.panels) for row in page.rows) > MOST_PANELS:
        fix = "split it into two files"
        found.append(SightlineError(f"more than {MOST_PANELS} panels", where=document.where(("rows",)), fix=fix))
    return found


def _misfits(panel: Panel) -> Iterator[tuple[str, str, str | None]]:
    """(key, what, fix) of keys that a kind needs and lacks, or has no use for."""
    given = panel.model_fields_set - {"kind", "title"}
    for key in sorted(given - set(TAKEN[panel.kind])):
        yield key, f"a panel of kind {panel.kind} has no {key!r}", f"remove it; it takes {', '.join(TAKEN[panel.kind])}"
    for key in NEEDED[panel.kind]:
        if not getattr(panel, key):
            yield "kind", f"a panel of kind {panel.kind} needs `{key}`", f"add `{key}:`"
    if panel.kind != "sql":
        return
    show = panel.show or "table"
    if show in ("line", "bar") and not (panel.x and panel.y):
        yield "show", f"`show: {show}` needs `x` and `y`", "name columns of the query: `x: day`, `y: [value]`"
    if show in ("table", "number") and panel.x:
        yield "x", f"`show: {show}` has no axis", "remove `x`"
    if show == "table" and panel.y:
        yield "y", "a table shows all columns", "remove `y`, or write `show: line` or `show: bar`"


def _unknown(panel: Panel, specs: Mapping[str, MonitorSpec] | None) -> Iterator[tuple[str, str, str | None]]:
    """What no monitor has."""
    if specs is None or panel.kind in ("text", "sql") or panel.monitor is None:
        return
    spec = specs.get(panel.monitor)
    if spec is None:
        fix = nearest(panel.monitor, specs) if specs else "write one with `sightline init SAMPLE`"
        yield "monitor", f"there is no monitor {panel.monitor!r}", fix
        return
    columns = list(spec.columns.features)
    if panel.column and not panel.column.startswith("@") and panel.column not in columns:
        yield "column", f"{spec.id} has no column {panel.column!r}", nearest(panel.column, columns, most=8)
    if panel.by is not None and panel.by not in spec.columns.segments:
        yield "by", f"{spec.id} has no segments of {panel.by!r}", nearest(panel.by, spec.columns.segments)
    named = (panel.segment or "").partition("=")[0]
    if named and named != "all" and named not in spec.columns.segments:
        yield "segment", f"{spec.id} has no segments of {named!r}", nearest(named, spec.columns.segments)
