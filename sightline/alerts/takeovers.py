"""New model versions in the timeline of an incident near which they began to answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from metrics_py.wording import percent
from sightline.home import MonitorPaths
from sightline.results.judgements import read_judgements
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production

BEFORE, AFTER = 2, 1
"""Windows before an incident began, and after it opened, in which a new version is told beside it."""

LOOKED_AT = 60
"""Windows before these: a version that had not answered in them is new."""

ROWS, ALL = "n_rows", "all"
TOOK_OVER = 0.9
"""Share of the rows from then on with which a version has taken over."""


def new_versions(spec: MonitorSpec, paths: MonitorPaths, incident: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Versions that began to answer near an incident, as entries of its timeline.

    Parameters
    ----------
    spec, paths
        The monitor.
    incident : mapping
        A row of the snapshot `incidents`: ``change_point, opened_at``.

    Returns
    -------
    list of dict
        ``at`` (start of the version's first window, naive UTC), ``kind`` ('version'), ``by`` and ``words``; from the
        judgements by version, without opening the warehouse.
    """
    if spec.columns.model_version is None:
        return []
    window = spec.window
    near = (incident["change_point"] - BEFORE * window, incident["opened_at"] + (AFTER + 1) * window)
    since = near[0] - LOOKED_AT * window
    judged = read_judgements(paths, ROWS, asset="data_quality", segment=ALL, start=since, end=near[1])
    keyed = judged.with_columns(
        pl.col("model_version").cast(pl.String),
        window_key=pl.col("window_start").map_elements(spec.key, return_dtype=pl.String),
    )
    rows = keyed.filter(is_production(spec), pl.col("model_version") != ALL, pl.col("value") > 0)
    rows = rows.select("model_version", "window_start", n="value")
    if rows.is_empty():
        return []
    first_of_all = rows["window_start"].min()
    first = rows.group_by("model_version").agg(at=pl.col("window_start").min()).sort("at", "model_version")
    found: list[dict[str, Any]] = []
    for version, at in first.iter_rows():
        if near[0] <= at < near[1] and at != first_of_all:
            words = _words(rows, str(version), at, window)
            found.append({"at": at, "kind": "version", "by": "sightline", "words": words})
    return found


def _words(rows: pl.DataFrame, version: str, at: datetime, window: timedelta) -> str:
    """What a new version did to those before it: of the windows after its first, else of that one."""
    since = rows.filter(pl.col("window_start") > at)
    since = rows.filter(pl.col("window_start") == at) if since.is_empty() else since
    own, everything = (float(part["n"].cast(pl.Float64).sum()) for part in (since.filter(model_version=version), since))
    share = own / everything
    others = rows.filter(pl.col("window_start") < at, pl.col("model_version") != version)
    latest = others.filter(pl.col("window_start") >= at - 7 * window)
    before = (others if latest.is_empty() else latest).group_by("model_version").agg(pl.col("n").sum()).sort("n")
    if share >= TOOK_OVER:
        return f"version {version} took over from {before['model_version'][-1]}"
    return f"version {version} began to answer: {percent(share)} of the rows since"
