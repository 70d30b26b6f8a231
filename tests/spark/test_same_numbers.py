"""Three monitors on both engines, through Dagster: marts, judgements, evidence and checks."""

from __future__ import annotations

import pytest

from tests.dbt.worlds import binary_hourly, multiclass_daily, regression_weekly
from tests.spark.homes import assert_same, backfill, checks, home_of, marts, published
from tests.support.spark_cluster import Cluster

WORLDS = {"binary_hourly": binary_hourly, "multiclass_daily": multiclass_daily, "regression_weekly": regression_weekly}


FULL = pytest.mark.full
"""One world is enough for every run: a session of Spark over such small tables is half a minute of planning."""


@pytest.mark.long
@pytest.mark.parametrize(
    "world",
    ["binary_hourly", pytest.param("multiclass_daily", marks=FULL), pytest.param("regression_weekly", marks=FULL)],
)
def test_a_cluster_gives_the_numbers_of_duckdb(tmp_path, cluster: Cluster, world: str):
    bench = WORLDS[world](tmp_path / "world")
    here = home_of(tmp_path / "duckdb", [bench])
    there = home_of(tmp_path / "spark", [bench], cluster.yaml)
    for home in (here, there):
        backfill(home, world)
    tables = marts(here, world)
    assert sum(map(len, tables.values())) > 1_000
    assert_same(tables, marts(there, world))
    for kind in ("judgements", "evidence"):
        assert_same({kind: published(here, world, kind)}, {kind: published(there, world, kind)})
    assert checks(here, world) == checks(there, world)
