"""Versions of the log that run beside an earlier one: candidates without a file, found in what is published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from sightline.home import MonitorPaths
from sightline.results.judgements import read_judgements
from sightline.results.learnt_delays import with_learnt_delays
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import settled_at

LEAST_WINDOWS = 3
"""Windows in which both have rows: where one version takes over from another it is one, or two."""

ROWS, ALL = "n_rows", "all"


@dataclass(frozen=True)
class Running:
    """A version that runs beside an earlier one.

    Attributes
    ----------
    version : str
    mark : str
        The newest window of both whose labels are due: changes as long as there is something new to be compared.
    """

    version: str
    mark: str


def running(spec: MonitorSpec, paths: MonitorPaths, now: datetime) -> list[Running]:
    """Versions that have rows in at least three windows in which one that appeared earlier has some, too, by name.

    Of versions that appeared in one window the one with more rows is the earlier.

    Parameters
    ----------
    spec, paths
        The monitor.
    now : datetime
        Decides which windows have all of their labels.

    Notes
    -----
    From the judgements by version, without opening the warehouse.
    """
    if not spec.evaluation.live or spec.columns.model_version is None:
        return []
    spec = with_learnt_delays(spec, paths)
    judged = read_judgements(paths, ROWS, asset="data_quality", segment=ALL)
    rows = judged.filter(pl.col("model_version") != ALL, pl.col("value") > 0).select(
        "model_version", "window_start", "value"
    )
    order = rows.group_by("model_version").agg(since=pl.col("window_start").min(), n=pl.col("value").sum())
    order = order.sort("since", "n", "model_version", descending=[False, True, False]).with_row_index("place")
    seen = rows.join(order.select("model_version", "place"), on="model_version")
    beside = seen.filter(pl.col("place") > pl.col("place").min().over("window_start"))
    found: list[Running] = []
    for (version,), own in beside.sort("window_start").group_by("model_version", maintain_order=True):
        keys = [spec.key(at.replace(tzinfo=UTC)) for at in own["window_start"]]
        due = [key for key in keys if settled_at(spec, key) <= now]
        if len(keys) >= LEAST_WINDOWS and due:
            found.append(Running(str(version), due[-1]))
    return sorted(found, key=lambda each: each.version)
