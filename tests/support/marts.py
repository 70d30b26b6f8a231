"""Marts filled by hand for the tests of the judges: tables, rows, and one judgement out of many."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import polars as pl

FIRST = datetime(2026, 1, 1)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
MARTS: Mapping[str, Mapping[str, str]] = {
    "service_health": {"n_rows": "bigint", "n_errors": "bigint", "n_latency": "bigint", "sum_latency_ms": "double"},
    "latency_bins": {"bin": "integer", "n": "bigint"},
    "score_label_bins": {
        "bucket": "integer",
        "class_name": "varchar",
        "score_bin": "integer",
        "is_positive": "boolean",
        "n": "bigint",
        "sum_score": "double",
    },
    "score_bins": {
        "predicted_class": "varchar",
        "score_bin": "integer",
        "n": "bigint",
        **dict.fromkeys(("sum_score", "sum_squared_score", "sum_log_loss_positive", "sum_log_loss_negative"), "double"),
    },
    "class_score_bins": {
        **dict.fromkeys(("predicted_class", "class_name"), "varchar"),
        "score_bin": "integer",
        "n": "bigint",
        **dict.fromkeys(("sum_log_loss", "sum_score", "sum_squared_score"), "double"),
    },
    "class_label_bins": {
        **dict.fromkeys(("predicted_class", "class_name"), "varchar"),
        "score_bin": "integer",
        "is_positive": "boolean",
        "n": "bigint",
    },
    "prediction_bins": {"prediction_bin": "integer", "n": "bigint", "sum_prediction": "double"},
    "error_bins": {
        "prediction_bin": "integer",
        "n": "bigint",
        **dict.fromkeys(("sum_prediction", "sum_abs_error", "sum_squared_error", "sum_fourth_error"), "double"),
    },
    "rejections": {
        "kind": "varchar",
        "column_name": "varchar",
        "reason": "varchar",
        "severity": "varchar",
        "n": "bigint",
    },
    "column_moments": {
        "column_name": "varchar",
        **dict.fromkeys(("n_rows", "n_null", "n_not_finite", "n_contract", "n_true"), "bigint"),
        **dict.fromkeys(("sum_x", "sum_xx", "min_x", "max_x"), "double"),
    },
    "column_bins": {"column_name": "varchar", "bin_id": "integer", "n": "bigint"},
    "custom_input_sums": {
        "bucket": "integer",
        "metric": "varchar",
        "n": "bigint",
        "sum_value": "double",
        "sum_value_sq": "double",
    },
}


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def key(number: int) -> str:
    return f"{day(number):%Y-%m-%d}"


def create_marts(con: duckdb.DuckDBPyConnection) -> None:
    """Empty tables of the marts, where they are not there yet."""
    con.execute("create schema if not exists marts")
    for name, columns in MARTS.items():
        keys = "window_key varchar, window_start timestamp, model_version varchar, segment varchar"
        types = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        con.execute(f"create table if not exists marts.{name} ({keys}, {types})")


def put(
    con: duckdb.DuckDBPyConnection, mart: str, window: int, *, segment: str = "all", version: str = "v1", **values: Any
) -> None:
    row = {
        "window_key": key(window),
        "window_start": day(window),
        "model_version": version,
        "segment": segment,
        **values,
    }
    con.execute(f"insert into marts.{mart} by name select {', '.join(f'? as {c}' for c in row)}", list(row.values()))


def one(
    judged: pl.DataFrame, metric: str, window: int, column: str = "", segment: str = "all", version: str = "all"
) -> dict[str, Any]:
    found = judged.filter(
        pl.col("metric") == metric,
        pl.col("window_start") == day(window),
        pl.col("column") == column,
        pl.col("segment") == segment,
        pl.col("model_version") == version,
    )
    assert len(found) == 1, found
    return found.row(0, named=True)
