"""Schema ``control``: what one dbt run works on, written before dbt starts.

The dbt project reads nothing else of the spec.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import polars as pl

from metrics_py.intervals import N_SEGMENT_BUCKETS
from metrics_py.profile.resolution import decision_threshold
from metrics_py.quality.probabilities import sum_tolerance
from sightline.arrow import to_arrow
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import shadow_until
from sightline.user_metrics import sql_metrics
from sightline.warehouse.items import SCHEMA as ITEMS
from sightline.warehouse.items import items
from sightline.warehouse.reference import ReferenceProfile, column_roles, load_reference
from sightline.warehouse.settings import negative_class

TABLES: dict[str, dict[str, Any]] = {
    "windows": {
        "window_key": pl.String,
        "window_start": pl.Datetime("us"),
        "window_end": pl.Datetime("us"),
        "may_repeat_labels": pl.Boolean,
    },
    "columns": {
        "position": pl.Int32,
        "column_name": pl.String,
        "lake_column": pl.String,
        "kind": pl.String,
        "role": pl.String,
        "min": pl.Float64,
        "max": pl.Float64,
        "allowed": pl.List(pl.String),
        "nullable": pl.Boolean,
        "cuts": pl.List(pl.Float64),
        "cut_bins": pl.List(pl.Int32),
    },
    "bins": {
        "column_name": pl.String,
        "bin_id": pl.Int32,
        "bin_kind": pl.String,
        "label": pl.String,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "n_reference": pl.Int64,
    },
    "cuts": {"column_name": pl.String, "cut": pl.Float64, "bin_id": pl.Int32},
    "categories": {"column_name": pl.String, "value": pl.String, "bin_id": pl.Int32},
    "segments": {"segment_column": pl.String, "value": pl.String},
    "items": ITEMS,
    "custom_metrics": {"name": pl.String, "sql": pl.String, "needs_label": pl.Boolean},
    "refused_metrics": {"name": pl.String, "reason": pl.String},
    "settings": {"key": pl.String, "value": pl.String},
}
"""Columns and types of the control tables; docs/tables.md describes them."""


def write_control(
    con: duckdb.DuckDBPyConnection,
    spec: MonitorSpec,
    reference: ReferenceProfile | MonitorPaths | None,
    windows: Sequence[str],
    may_repeat_labels: Collection[str] | None = None,
) -> str:
    """Replace the control tables in one transaction.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        A writing connection to the monitor's warehouse.
    spec : MonitorSpec
        The monitor.
    reference : ReferenceProfile, MonitorPaths or None
        Frozen bins, or the paths where they may lie; without any, columns have no bins yet and segments only ``all``.
    windows : sequence of str
        Keys of the windows that the run replaces in every mart.
    may_repeat_labels : collection of str, optional
        Those of them in which a prediction may have several rows of labels, as the ledger's `may_repeat_labels` says;
        default all.

    Returns
    -------
    str
        Token of the run: dbt's intermediate tables carry it, and marts refuse those of another run.

    Raises
    ------
    SightlineError
        A key is no window of the monitor's schedule, or the profile was made for other columns.
    """
    if isinstance(reference, MonitorPaths):
        reference = load_reference(reference)
    token = uuid.uuid4().hex
    rows = {
        "windows": _windows(spec, windows, windows if may_repeat_labels is None else may_repeat_labels),
        "columns": _columns(spec, reference),
        "custom_metrics": _custom_metrics(spec),
        "refused_metrics": [],  # filled by an engine that cannot compute one
        "settings": [
            {"key": key, "value": value}
            for key, value in {**_settings(spec, reference, token), **_ranking(spec, windows, reference)}.items()
        ],
    }
    frames = {name: pl.DataFrame(found, schema=TABLES[name]) for name, found in rows.items()}
    for name in ("bins", "cuts", "categories", "segments"):
        frames[name] = pl.DataFrame(schema=TABLES[name]) if reference is None else getattr(reference, name)
    con.execute("BEGIN")
    try:
        con.execute("CREATE SCHEMA IF NOT EXISTS control")
        frames["items"] = items(con, spec, reference)
        for name, schema in TABLES.items():
            frame = frames[name].select([pl.col(column).cast(dtype) for column, dtype in schema.items()])
            con.register("control_frame", to_arrow(frame))
            con.execute(
                f"CREATE OR REPLACE TABLE control.{name} AS SELECT * FROM control_frame"  # noqa: S608 (our own name)
            )
            con.unregister("control_frame")
        con.execute("COMMIT")
    except BaseException:
        con.execute("ROLLBACK")
        raise
    return token


def _windows(spec: MonitorSpec, keys: Sequence[str], may_repeat: Collection[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for key in sorted(set(keys)):
        try:
            start = spec.window_start(key)
        except ValueError:
            start = None
        if start is None or spec.key(start) != key:
            raise SightlineError(
                f"{key!r} is no window of a monitor with schedule {spec.schedule}",
                where=f"monitor {spec.id}",
                fix=f"write the start of a window, such as {spec.key(datetime.now(UTC))}",
            )
        start = start.replace(tzinfo=None)
        row = {"window_key": key, "window_start": start, "window_end": start + spec.window}
        rows.append({**row, "may_repeat_labels": key in may_repeat})
    return rows


def _columns(spec: MonitorSpec, reference: ReferenceProfile | None) -> list[dict[str, Any]]:
    cuts: dict[str, list[float]] = {}
    cut_bins: dict[str, list[int]] = {}
    if reference is not None:
        for (name,), part in reference.cuts.sort("column_name", "cut").group_by(["column_name"], maintain_order=True):
            cuts[str(name)] = part["cut"].to_list()[:-1]  # the last is infinity
            cut_bins[str(name)] = part["bin_id"].to_list()
    rows: list[dict[str, Any]] = []
    for position, role in enumerate(column_roles(spec)):
        feature = spec.columns.features.get(role.column_name) if role.role == "feature" else None
        rows.append(
            {
                "position": position,
                "column_name": role.column_name,
                "lake_column": role.lake_column,
                "kind": role.kind,
                "role": role.role,
                "min": feature.min if feature else None,
                "max": feature.max if feature else None,
                "allowed": list(feature.allowed) if feature and feature.allowed is not None else None,
                "nullable": feature.nullable if feature else True,
                "cuts": cuts.get(role.column_name, []),
                "cut_bins": cut_bins.get(role.column_name, []),
            }
        )
    return rows


def _custom_metrics(spec: MonitorSpec) -> list[dict[str, Any]]:
    """The user's metrics in SQL; one with a mistake would fail the mart of all of them, so it is left out."""
    broken = sql_metrics.mistakes(spec)
    return [
        {"name": metric.name, "sql": metric.sql, "needs_label": metric.needs_label}
        for metric in spec.metrics
        if metric.sql is not None and metric.name not in broken
    ]


def _settings(spec: MonitorSpec, reference: ReferenceProfile | None, token: str) -> dict[str, str]:
    facts = {
        "run_token": token,
        "monitor": spec.id,
        "task": spec.model.task,
        "schedule": spec.schedule,
        "window_seconds": repr(spec.window.total_seconds()),
        "threshold": repr(decision_threshold(spec.quality.threshold)),
        "positive": spec.positive_class,
        "negative": negative_class(spec),
        "silence": spec.labels.silence if spec.labels else "unknown",
        "score_classes": json.dumps(list(spec.columns.class_scores), ensure_ascii=False),
        "score_sum_tolerance": repr(sum_tolerance(len(spec.columns.class_scores))),
        "quantiles": json.dumps(list(spec.quality.quantiles)),
        "value_matrix": json.dumps(spec.value_matrix or {}, ensure_ascii=False),
        "error_scale": repr(_error_scale(reference)),
        "reference_id": reference.id if reference else "",
        "shadows": json.dumps(shadow_until(spec), ensure_ascii=False),
        "segment_buckets": str(N_SEGMENT_BUCKETS),
    }
    return facts


def _ranking(spec: MonitorSpec, windows: Sequence[str], reference: ReferenceProfile | None) -> dict[str, str]:
    """How many places count, sums of their discounts and reciprocals, and the windows before those of the run."""
    if spec.model.task != "ranking":
        return {}
    places = np.arange(1, spec.quality.k + 1)
    before = sorted({spec.key(spec.window_start(key) - spec.window) for key in windows})
    return {
        "ranking_k": str(spec.quality.k),
        "ranking_discounts": json.dumps(np.cumsum(1 / np.log2(places + 1.0)).tolist()),
        "ranking_places": json.dumps(np.cumsum(1 / places).tolist()),
        "windows_before": json.dumps(before),
        "ranking_item": "" if spec.quality.item is None or reference is None else f"f_{spec.quality.item}",
    }


def _error_scale(reference: ReferenceProfile | None) -> float:
    """Reference standard deviation of the label, the unit of a regression's error groups; 1 if unknown."""
    label = reference.columns.get("@label") if reference else None
    return float(label.scale) if label is not None and label.scale else 1.0
