"""The user's metrics written in SQL, where their marts hold nothing.

That is a mistake in the expression, or it is undefined in every row.

dbt aggregates them; the marts have rows only where a metric has values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl

from sightline.judging.custom_python import FAILED, TABLE
from sightline.judging.marts import ALL_VERSIONS
from sightline.spec.model import MonitorSpec
from sightline.user_metrics import sql_metrics

UNDEFINED = "the metric is undefined in every row"


def without_value(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, table: pl.DataFrame, rows: pl.DataFrame, *, needs_label: bool
) -> pl.DataFrame:
    """Say of each window of a SQL metric that has no result why.

    In shape `TABLE`, ``insufficient_data`` with the reason.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The warehouse.
    spec : MonitorSpec
        The monitor.
    table : DataFrame
        Results so far: ``window_start, model_version, segment, metric``.
    rows : DataFrame
        Rows that the metrics are about: ``window_start, n``; windows without predictions are left out, those without a
        label have 0.
    needs_label : bool
        Which metrics.
    """
    wanted = [m.name for m in spec.metrics if m.sql is not None and m.needs_label == needs_label]
    if not wanted:
        return pl.DataFrame(schema=TABLE)
    whole = table.filter(model_version=ALL_VERSIONS, segment="all").filter(pl.col("metric").is_in(wanted))
    known = set(whole.select("window_start", "metric").iter_rows())
    mistakes = sql_metrics.mistakes(spec)
    reasons = {name: f"{FAILED}: {mistakes[name].what}" if name in mistakes else None for name in wanted}
    reasons |= {name: f"{FAILED}: {reason}" for name, reason in _refused(con).items() if name in reasons}
    return pl.DataFrame(list(_gaps(rows, reasons, known)), schema=TABLE)


def _refused(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Metric -> why the engine of the aggregates could not compute it in the last run."""
    is_there = con.sql("select 1 from duckdb_tables() where schema_name = 'control' and table_name = 'refused_metrics'")
    return dict(con.sql("select name, reason from control.refused_metrics").fetchall()) if is_there.fetchall() else {}


def _gaps(rows: pl.DataFrame, reasons: dict[str, str | None], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for start, n in rows.select("window_start", "n").sort("window_start").iter_rows():
        for name, mistake in reasons.items():
            if (start, name) in known or (mistake is None and not n):
                continue
            yield {
                "window_start": start,
                "model_version": ALL_VERSIONS,
                "segment": "all",
                "metric": name,
                "status": "insufficient_data",
                "reason": mistake or UNDEFINED,
                "reason_code": "metric_failed" if mistake else "undefined",
                "n": n,
            }
