"""What is wrong with users' pages, before anybody opens one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from sightline.dashboard.custom import sandbox
from sightline.dashboard.custom.page import shown_rows
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.dashboards import Panel, dashboard_files, load_dashboard, panel_place, panels_of
from sightline.spec.model import MonitorSpec

ANY = datetime(2000, 1, 1)


def mistakes(home: Home, specs: Mapping[str, MonitorSpec]) -> Iterator[SightlineError]:
    """Every mistake of every page: keys, monitors, columns, and queries, which are asked of empty tables.

    Parameters
    ----------
    home : Home
        Its folder ``dashboards/`` is read.
    specs : mapping
        Monitors that have no mistakes, by id.
    """
    for path in dashboard_files(home):
        try:
            page = load_dashboard(path, specs)
        except SightlineError as error:
            yield error
            continue
        for r, p, panel in panels_of(page):
            if panel.kind == "sql":
                yield from _query(path, panel, r, p)


def _query(path: Path, panel: Panel, row: int, number: int) -> Iterator[SightlineError]:
    key = "sql"
    try:
        found = sandbox.run(sandbox.read(str(panel.sql)), [], ANY, ANY)
        key = "show"
        shown_rows(panel, found, "query")
    except SightlineError as error:
        yield SightlineError(error.what, where=panel_place(path, row, number, key), fix=error.fix)
