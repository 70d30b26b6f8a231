"""Addresses of pages, for those who link to them from elsewhere."""

from __future__ import annotations

import os
from datetime import timedelta
from urllib.parse import quote, urlencode, urlsplit

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.flows import INTAKE_ASSETS
from sightline.spec.model import MonitorSpec
from sightline.spec.plan import PlannedCheck
from sightline.spec.routes import load_routes

VARIABLE = "SIGHTLINE_DASHBOARD_URL"
"""Environment variable with the dashboard's address; `sightline ui` sets it for Dagster."""
PAGES = "/monitors/{monitor}"
BEFORE = 60
"""Windows before the one that is meant which the page shows."""


def dashboard_base(home: Home) -> str | None:
    """Where the dashboard is served: `VARIABLE`, else what stands before its pages in `links.dashboard`; or None.

    Parameters
    ----------
    home : Home
        Its `alerts/routes.yaml` is read; one with mistakes counts as none, since `sightline validate` tells of it.
    """
    given = os.environ.get(VARIABLE, "")
    if not given:
        try:
            linked = load_routes(home).links.dashboard or ""
        except SightlineError:
            return None
        before, found, _ = linked.partition(PAGES)
        given = before if found else ""
    parts = urlsplit(given)
    is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    return given.rstrip("/") if is_address else None


def page_of_check(base: str, spec: MonitorSpec, check: PlannedCheck, key: str) -> str:
    """The page that shows what a check judged in a window.

    Parameters
    ----------
    base : str
        `dashboard_base`.
    spec : MonitorSpec
    check : PlannedCheck
    key : str
        Of the window.

    Returns
    -------
    str
        The metric's, else the column's, else the one about data or the monitor; up to and with this window.
    """
    start = spec.window_start(key)
    query = {"from": _moment(start - BEFORE * spec.window, spec), "to": _moment(start + spec.window, spec)}
    page = ""
    if check.asset in INTAKE_ASSETS:
        page = "/health"
    elif check.metric is not None:
        page, query = "/metric", {"metric": check.metric, "column": check.column or "", **query}
    elif check.column is not None:
        page, query = "/column", {"column": check.column, **query}
    kept = urlencode({name: value for name, value in query.items() if value})
    return f"{base}/monitors/{quote(spec.id, safe='')}{page}?{kept}"


def _moment(at: object, spec: MonitorSpec) -> str:
    return f"{at:%Y-%m-%d}" if spec.window >= timedelta(days=1) else f"{at:%Y-%m-%dT%H:%M}"
