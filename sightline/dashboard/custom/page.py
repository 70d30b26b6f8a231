"""A user's own page: its panels, each drawn by itself; a mistake in one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sightline.dashboard.charts.chart import Chart, shown
from sightline.dashboard.charts.drawn import rows_chart
from sightline.dashboard.custom import sandbox
from sightline.dashboard.custom.tables import files_of
from sightline.dashboard.library import ALL, Library, NotFoundError, state_of
from sightline.dashboard.meanings import column_words, direction
from sightline.dashboard.merging import GRANULARITIES
from sightline.dashboard.pages.column import distribution
from sightline.dashboard.pages.metric import metric_chart
from sightline.dashboard.pages.page import Page, Subject, shown_ranges, subject_of
from sightline.dashboard.pages.segments import compared
from sightline.dashboard.selection import Selection
from sightline.errors import SightlineError, nearest
from sightline.spec.dashboards import Panel, panel_place
from sightline.spec.loader import SUFFIXES

SCHEDULE = "daily"
"""By which the length is chosen where the address names none: a page may hold monitors of several schedules."""
HEIGHT = 260
Drawn = tuple[dict[str, Any], Chart | None]


def custom_page(library: Library, name: str, asked: Selection) -> Page:
    """A page of ``dashboards/``.

    Raises
    ------
    SightlineError
        There is none of this name, or its file has mistakes.
    """
    known = library.dashboards()
    for broken in known.broken:
        if broken.path.stem == name:
            raise SightlineError(str(broken.error), where=str(broken.path))
    if name not in known.pages:
        fix = nearest(name, known.pages) if known.pages else "write one: see docs/dashboard.md"
        raise NotFoundError(f"there is no page {name!r}", fix=fix)
    page = known.pages[name]
    chosen = asked.within(SCHEDULE, *_newest(library))
    charts: list[Chart] = []
    rows: list[dict[str, Any]] = []
    for r, row in enumerate(page.rows):
        panels: list[dict[str, Any]] = []
        for p, panel in enumerate(row.panels):
            told, chart = _panel(library, name, panel, chosen, (r, p))
            panels.append(told)
            charts += [chart] if chart is not None else []
        rows.append({"title": row.title, "panels": panels})
    data = {
        "page": name,
        "name": page.title,
        "description": page.description,
        "from": chosen.start,
        "to": chosen.end,
        "rows": rows,
    }
    view = {
        "tab": f"dashboards/{name}",
        **shown_ranges(SCHEDULE, lambda other: f"/dashboards/{name}{other.query()}", asked, chosen),
    }
    view["granularities"] = list(GRANULARITIES)
    return Page("custom.html", page.title, data, charts, view)


def _newest(library: Library) -> tuple[datetime | None, timedelta]:
    """The newest window of all monitors, and its length."""
    ends = [
        (at + spec.window, at, spec.window)
        for spec in library.monitors().specs.values()
        if (at := library.newest_window(spec.id)) is not None
    ]
    return max(ends)[1:] if ends else (None, timedelta(days=1))


def _panel(library: Library, page: str, panel: Panel, chosen: Selection, at: tuple[int, int]) -> Drawn:
    """What is told of a panel, and its picture; a mistake is told in its place."""
    name = f"panel-{at[0]}-{at[1]}"
    base: dict[str, Any] = {"kind": panel.kind, "title": panel.title, "chart": None, "error": None, "note": ""}
    try:
        told, chart = MAKERS[panel.kind](library, panel, chosen, name)
    except SightlineError as error:
        return {**base, "error": error.what, "fix": error.fix, "where": _place(library, page, panel, at)}, None
    return {**base, **told, "chart": None if chart is None else chart.name}, chart


def _place(library: Library, page: str, panel: Panel, at: tuple[int, int]) -> str:
    key = {"sql": "sql", "segments": "metric", "metric": "metric", "column": "column", "text": "text"}[panel.kind]
    for suffix in SUFFIXES:
        path = library.home.dashboards / f"{page}{suffix}"
        if path.is_file():
            return panel_place(path, *at, key).removeprefix(f"{library.home.root}/")
    return page


def _subject(library: Library, panel: Panel, chosen: Selection) -> Subject:
    own = Selection(chosen.start, chosen.end, panel.version or ALL, panel.segment or ALL, chosen.granularity)
    return subject_of(library, str(panel.monitor), own)


def _metric(library: Library, panel: Panel, chosen: Selection, name: str) -> Drawn:
    subject, metric, column = _subject(library, panel, chosen), str(panel.metric), panel.column or ""
    names = library.names(subject.spec.id)
    if names.filter(metric=metric, column=column).is_empty():
        fix = nearest(metric, sorted(names.filter(column=column)["metric"].unique()), most=12)
        raise SightlineError(
            f"{subject.spec.id} has no metric {metric!r}{f' of {column!r}' if column else ''}", fix=fix
        )
    words = f"{subject.spec.id}: {column_words(column)}, {metric}" if column else f"{subject.spec.id}: {metric}"
    words += "".join(f", {each}" for each in (panel.segment, panel.version) if each and each != ALL)
    chart = metric_chart(subject, metric, column, name, panel.title or words, HEIGHT)
    return {"link": subject.address("metric", subject.asked, metric=metric, column=column or None)}, chart


def _column(library: Library, panel: Panel, chosen: Selection, name: str) -> Drawn:
    subject, column = _subject(library, panel, chosen), str(panel.column)
    chart, note = distribution(
        subject, column, name, panel.title or f"{subject.spec.id}: {column_words(column)}, % of rows"
    )
    link = subject.address("column", subject.asked, column=column)
    return {"note": note, "link": link, "title": panel.title or f"{subject.spec.id}: {column_words(column)}"}, chart


def _segments(library: Library, panel: Panel, chosen: Selection, name: str) -> Drawn:
    del name
    subject, metric = _subject(library, panel, chosen), str(panel.metric)
    rows = subject.judgements(metric=metric, column="", segment=None)
    by = panel.by or next(iter(subject.spec.columns.segments), "")
    found = compared(rows, by, direction(subject.spec, metric)) if len(rows) else []
    told = [
        [row["segment"], row["shown"], row["shown_difference"], _verdict(row), str(row["windows"]), f"{row['n']:,}"]
        for row in found
    ]
    return {
        "title": panel.title or f"{subject.spec.id}: {metric} by {by}",
        "link": subject.address("segments", subject.asked, metric=metric, by=by),
        "columns": ["segment", metric, "difference", "beyond chance", "windows", "rows"],
        "rows": told,
        "is_cut": False,
    }, None


def _verdict(row: Mapping[str, Any]) -> str:
    if row["p_value"] is None:
        return "too few windows"
    if not row["is_different"]:
        return "no"
    return "differs" if row["is_worse"] is None else ("worse" if row["is_worse"] else "better")


def _text(library: Library, panel: Panel, chosen: Selection, name: str) -> Drawn:
    del library, chosen, name
    return {"paragraphs": [each.strip() for each in str(panel.text).split("\n\n") if each.strip()]}, None


def _sql(library: Library, panel: Panel, chosen: Selection, name: str) -> Drawn:
    assert chosen.start is not None and chosen.end is not None
    query = sandbox.read(str(panel.sql))
    specs = library.monitors().specs
    monitors = [library.paths(monitor) for monitor in specs]
    hidden = {monitor: library.masking.hidden(spec) for monitor, spec in specs.items()}
    files = [file for by in files_of(query.tables, monitors).values() for each in by.values() for file in each]
    start, end = chosen.start, chosen.end
    found = library.kept(
        ("sql", query, start, end, str(hidden)),
        state_of(files),
        lambda: sandbox.run(query, monitors, start, end, hidden=hidden),
    )
    return shown_rows(panel, found, name)


def shown_rows(panel: Panel, found: sandbox.Found, name: str) -> Drawn:
    """Rows of a query as its panel wants them.

    Raises
    ------
    SightlineError
        The panel names a column that the query does not have.
    """
    title, note = panel.title or "Query", f"the first {sandbox.MOST_ROWS:,} rows" if found.is_cut else ""
    if panel.show in ("line", "bar"):
        assert panel.x is not None
        chart = rows_chart(
            name, title, found.columns, found.rows, show=panel.show, x=panel.x, y=panel.y, unit=panel.unit or ""
        )
        return {"note": note}, chart
    if panel.show == "number":
        for column in panel.y:
            if column not in found.columns:
                raise SightlineError(f"the query has no column {column!r}", fix=nearest(column, found.columns))
        first = dict(zip(found.columns, found.rows[0], strict=True)) if found.rows else {}
        wanted = panel.y or found.columns
        return {
            "title": title,
            "numbers": [[each, _cell(first.get(each))] for each in wanted],
            "unit": panel.unit,
        }, None
    rows = [[_cell(value) for value in row] for row in found.rows]
    return {"title": title, "columns": list(found.columns), "rows": rows, "is_cut": found.is_cut, "note": note}, None


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return shown(float(value)) if isinstance(value, float) else str(value)


MAKERS: dict[str, Callable[[Library, Panel, Selection, str], Drawn]] = {
    "metric": _metric,
    "column": _column,
    "segments": _segments,
    "text": _text,
    "sql": _sql,
}
