"""Facts of assets upstream: each materialization once, old ones dropped."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from sightline.results.upstream import KEPT, SCHEMA, publish_upstream, read_upstream


def facts(*days: int) -> pl.DataFrame:
    start = datetime(2026, 1, 1)
    rows = [("warehouse/orders", "1", f"v{day}", "", start + timedelta(days=day), f"run{day}") for day in days]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_each_materialization_is_known_once_and_by_time(home):
    paths = home.monitor("churn")
    assert read_upstream(paths).is_empty()
    publish_upstream(paths, facts(1, 2))
    publish_upstream(paths, facts(2, 0))
    assert read_upstream(paths)["run_id"].to_list() == ["run0", "run1", "run2"]


def test_what_lies_far_before_the_latest_goes(home):
    paths = home.monitor("churn")
    publish_upstream(paths, facts(0, KEPT.days, KEPT.days + 1))
    assert read_upstream(paths)["run_id"].to_list() == [f"run{KEPT.days}", f"run{KEPT.days + 1}"]
