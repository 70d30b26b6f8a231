"""SQL metrics without a result: the judgement says why."""

from __future__ import annotations

from datetime import datetime

import duckdb
import polars as pl

from sightline.judging import custom_sql
from sightline.spec.model import MonitorSpec

WAREHOUSE = duckdb.connect()
DAYS = [datetime(2026, 1, day) for day in (1, 2, 3)]


def spec_of(**options: object) -> MonitorSpec:
    names = {"good": "score", "mistaken": "no_such_column", "undefined": "score / 0"}
    return MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "binary_classification"},
            "columns": {"score": "p", "features": {"age": "numeric"}},
            "labels": {"column": "y"},
            "reference": {"kind": "window", "start": "2026-01-01", "end": "2026-01-03"},
            "metrics": [{"name": name, "sql": sql, **options} for name, sql in names.items()],
        }
    )


def results(*days: datetime) -> pl.DataFrame:
    """`good` has a result on these days."""
    rows = [{"window_start": d, "model_version": "all", "segment": "all", "metric": "good"} for d in days]
    return pl.DataFrame(rows, schema={**custom_sql.TABLE})


def rows_of(*counts: int) -> pl.DataFrame:
    return pl.DataFrame({"window_start": DAYS[: len(counts)], "n": counts})


def test_mistakes_and_undefined_values_are_told_for_every_window():
    found = custom_sql.without_value(WAREHOUSE, spec_of(), results(*DAYS[:2]), rows_of(30, 40), needs_label=False)
    assert found.select("window_start", "metric", "n").rows() == [
        (DAYS[0], "mistaken", 30),
        (DAYS[0], "undefined", 30),
        (DAYS[1], "mistaken", 40),
        (DAYS[1], "undefined", 40),
    ]
    reasons = dict(found.select("metric", "reason").rows())
    assert reasons["mistaken"].startswith("the metric failed: Binder Error") and "no_such_column" in reasons["mistaken"]
    assert reasons["undefined"] == "the metric is undefined in every row"
    assert set(found["status"]) == {"insufficient_data"} and found["value"].null_count() == 4


def test_without_labels_only_mistakes_are_told():
    found = custom_sql.without_value(WAREHOUSE, spec_of(needs_label=True), results(), rows_of(0), needs_label=True)
    assert found["metric"].to_list() == ["mistaken"]


def test_metrics_of_the_other_kind_are_left_alone():
    assert custom_sql.without_value(WAREHOUSE, spec_of(), results(), rows_of(5), needs_label=True).is_empty()


def test_what_the_engine_refused_is_told_with_its_reason():
    with duckdb.connect() as con:
        con.execute("create schema control")
        con.execute("create table control.refused_metrics(name varchar, reason varchar)")
        con.execute("insert into control.refused_metrics values ('good', 'it is unknown there')")
        found = custom_sql.without_value(con, spec_of(), results(), rows_of(30), needs_label=False)
    told = dict(found.select("metric", "reason").rows())
    assert told["good"].endswith("it is unknown there") and told["undefined"] == custom_sql.UNDEFINED
