"""A user's SQL metrics on Spark, and dbt's unit tests."""

from __future__ import annotations

import json

import polars as pl
import pytest

from orchestration.resources import PROJECT_DIR, ensure_manifest
from sightline.engines import engine_of, spark
from tests.spark.homes import assert_same, backfill, home_of, marts, published
from tests.spark.small import LOCAL, small


@pytest.mark.long
@pytest.mark.full
def test_metrics_that_spark_does_not_know_or_knows_otherwise_are_left_out_and_the_others_go_on(tmp_path):
    bench = small(tmp_path / "world")
    here, there = home_of(tmp_path / "duckdb", [bench]), home_of(tmp_path / "spark", [bench], LOCAL)
    for home in (here, there):
        backfill(home, "small")
    tables = marts(here, "small")
    left_out = pl.col("metric").is_in(["likeness", "by_hash"])
    assert tables["custom_input_sums"].filter(left_out).height > 0
    for name in ("custom_input_sums", "custom_sums"):
        tables[name] = tables[name].filter(~left_out)
    assert {"magnitude", "weighed"} <= set(tables["custom_input_sums"]["metric"]) | set(tables["custom_sums"]["metric"])
    assert_same(tables, marts(there, "small"))
    judged = published(there, "small", "judgements").filter(left_out)
    assert set(judged["status"]) == {"insufficient_data"}
    told = dict(judged.select("metric", "reason").unique().iter_rows())
    assert "Spark has no such expression" in told["likeness"] and "jaro_similarity" in told["likeness"].lower()
    assert "Spark gives it other values than DuckDB" in told["by_hash"]


@pytest.mark.long
@pytest.mark.full
def test_dbts_unit_tests_pass_on_spark(tmp_path):
    bench = small(tmp_path)
    (tmp_path / "sightline.yaml").write_text(LOCAL)
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    bench.control()
    manifest = json.loads(ensure_manifest(bench.home).read_text())
    built = spark.build(
        bench.spec, bench.paths, engine_of(bench.home), ["build", "--quiet"], project=PROJECT_DIR, manifest=manifest
    )
    assert built.error is None, built.error
    tested = [e["data"] for e in built.events if e["info"]["name"] == "LogTestResult"]
    units = {d["node_info"]["node_name"] for d in tested if d["node_info"]["resource_type"] == "unit_test"}
    assert units == {node["name"] for node in manifest["unit_tests"].values()} and units
    assert {d["status"].lower() for d in tested} == {"pass"}
