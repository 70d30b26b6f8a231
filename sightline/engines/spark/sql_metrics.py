"""The user's metrics, written in DuckDB's SQL, in Spark's: translated, then compared with DuckDB over one window.

A translation may parse and mean something else (another rounding, another collation), so its values are not believed
before they have been seen to be the same.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

import duckdb
import polars as pl

from sightline.lake.store.schema import literal
from sightline.spec.field_types import NUMBER_TASKS
from sightline.spec.model import MonitorSpec
from sightline.warehouse.settings import negative_class

TOLERANCE = 1e-9
"""Of the sum of absolute values."""
TRANSLATED = "translated_metrics"
METRICS_VIEW = (
    f"create view control.custom_metrics as select * from control.{TRANSLATED} where name not in ({{refused}})"  # noqa: S608
)
"""What dbt reads: metrics that the session could bind; it fills in the others."""
INPUTS, LABELLED = "custom_input_sums", "custom_sums"


@dataclass(frozen=True)
class Translated:
    """The control table of SQL metrics for Spark.

    Attributes
    ----------
    metrics : DataFrame
        ``name, sql, needs_label`` of those that have a translation.
    refused : dict
        Metric -> why it cannot be computed on Spark.
    """

    metrics: pl.DataFrame
    refused: dict[str, str]


def in_spark(metrics: pl.DataFrame) -> Translated:
    """Translate the control table of SQL metrics.

    Parameters
    ----------
    metrics : DataFrame
        ``name, sql, needs_label``, expressions in DuckDB's SQL.
    """
    from sqlglot.errors import SqlglotError

    rows: list[dict[str, object]] = []
    refused: dict[str, str] = {}
    for row in metrics.iter_rows(named=True):
        try:
            rows.append({**row, "sql": _translated(row["sql"])})
        except SqlglotError as error:
            refused[row["name"]] = f"it has no translation into Spark SQL: {str(error).splitlines()[0]}"
    return Translated(pl.DataFrame(rows, schema=metrics.schema), refused)


def _translated(sql: str) -> str:
    import sqlglot
    from sqlglot.errors import ErrorLevel

    tree = sqlglot.parse_one(f"SELECT (\n{sql}\n)", read="duckdb")
    return tree.sql(dialect="spark", unsupported_level=ErrorLevel.RAISE, comments=False).removeprefix("SELECT ")


def probes(spec: MonitorSpec, metrics: pl.DataFrame) -> dict[str, str]:
    """Per metric a query over no rows, by which a session finds out whether it can bind the expression."""
    label = "label_value" if spec.model.task in NUMBER_TASKS else "label_class"
    nulls = "cast(null as string) as label_class, cast(null as double) as label_value"
    none = f"(select *, {nulls} from raw.inferences where false)"  # noqa: S608 (constants)
    labelled = f"(select *, {label} as label, cast(null as boolean) as is_positive from {none})"  # noqa: S608 (constants)
    tables = {True: labelled, False: "(select * from raw.inferences where false)"}
    return {
        row["name"]: f"select cast((\n{row['sql']}\n) as double) from {tables[row['needs_label']]}"  # noqa: S608
        for row in metrics.iter_rows(named=True)
    }


def differing(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, marts: set[str], refused: Container[str]
) -> Iterator[tuple[str, str, str]]:
    """SQL metrics whose values on Spark are not DuckDB's, over the smallest window of the run.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The warehouse, with the marts of the run.
    spec : MonitorSpec
        Its metrics.
    marts : set of str
        Which were loaded.
    refused : container of str
        Metrics that Spark was not asked for.

    Yields
    ------
    mart, metric, reason : str
    """
    windows = con.sql(
        "select window_key from raw.inferences where window_key in (select window_key from control.windows) "
        "group by all order by count(*), 1 limit 1"
    ).fetchall()
    if not windows:
        return
    [(key,)] = windows
    known = {name for (name,) in con.sql("select name from control.custom_metrics").fetchall() if name not in refused}
    for metric in spec.metrics:
        mart = LABELLED if metric.needs_label else INPUTS
        if metric.sql is None or metric.name not in known or mart not in marts:
            continue
        n, total, size = _on_duckdb(con, spec, metric.sql, key, needs_label=metric.needs_label)
        [(n_here, total_here)] = con.execute(
            f"select coalesce(sum(n), 0), coalesce(sum(sum_value), 0) from marts.{mart} "  # noqa: S608 (our own name)
            "where window_key = ? and metric = ? and segment = 'all'",
            [key, metric.name],
        ).fetchall()
        if int(n_here) != n or abs(total_here - total) > TOLERANCE * size:
            yield (
                mart,
                metric.name,
                (
                    f"Spark gives it other values than DuckDB: window {key} has {n:,} values that sum to {total:.12g}, "
                    f"there {int(n_here):,} to {total_here:.12g}; write it in words that mean the same in both"
                ),
            )


def _on_duckdb(
    con: duckdb.DuckDBPyConnection, spec: MonitorSpec, sql: str, key: str, *, needs_label: bool
) -> tuple[int, float, float]:
    """Number, sum and absolute sum of the finite values of one window."""
    rows = f"select * from raw.inferences where window_key = {literal(key)}"  # noqa: S608 (quoted)
    if needs_label:
        rows = _labelled(spec, rows, key)
    # the user's own expression, which sightline.user_metrics.sql_metrics has checked
    value = f"try(cast((\n{sql}\n) as double))"
    [(n, total, size)] = con.sql(
        f"select count(*), coalesce(sum(value), 0), coalesce(sum(abs(value)), 0) "  # noqa: S608 (see above)
        f"from (select {value} as value from ({rows})) where isfinite(value)"
    ).fetchall()
    return int(n), float(total), float(size)


def _labelled(spec: MonitorSpec, rows: str, key: str) -> str:
    """Rows joined to their labels, as `labelled_predictions` of the dbt project joins them."""
    silent = spec.is_silence_negative
    ranks = spec.model.task == "ranking"
    label_class = (
        f"coalesce(l.label_class, {literal(negative_class(spec))})" if silent and not ranks else "l.label_class"
    )
    label_value = "coalesce(l.label_value, 0e0)" if silent else "l.label_value"
    label = "label_value" if spec.model.task in NUMBER_TASKS else "label_class"
    return f"""
        select *, {label} as label, label_class = {literal(spec.positive_class)} as is_positive from (
            select i.*, {label_class} as label_class, {label_value} as label_value
            from ({rows}) as i
            {"left" if silent else "inner"} join
                (select * from raw.current_labels where window_key = {literal(key)}) as l
            on i.window_start = l.window_start and i.prediction_id = l.prediction_id
        )"""  # noqa: S608 (all quoted)
