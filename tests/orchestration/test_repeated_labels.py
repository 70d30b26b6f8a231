"""Labels that another process revises while dbt reads the lake: no prediction is counted twice."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from orchestration.assets import aggregates
from orchestration.backfill import materialize_range
from sightline.lake.intake.load import intake
from sightline.lake.store.ledger import open_ledger
from sightline.spec.flows import DELAYED
from sightline.warehouse import connect
from tests.support.workshop import DAYS, ROWS_PER_DAY, Workshop, churn_rows, land

DAY = DAYS - 2


def test_revisions_that_come_while_dbt_runs_are_not_counted_twice(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workshop.home.monitors / "price.yaml").unlink()
    spec, paths, key = workshop.churn, workshop.home.monitor("churn"), workshop.day(DAY)
    labels = churn_rows(spec.first_window)[1].filter(pl.col("day") == DAY).drop("day")
    land(workshop.home, "churn", "labels", "first", labels)
    intake(spec, paths, "labels", workshop.home)
    with open_ledger(paths.ledger) as ledger:
        assert not ledger.may_repeat_labels([key])
    run_dbt, flows = aggregates.run_dbt, []

    def after_another_intake(context: Any, monitor: Any, flow: str, *rest: Any) -> Any:
        if flow == DELAYED.name and flow not in flows:  # the control tables are written
            land(workshop.home, "churn", "labels", "revised", labels.with_columns(churned=1 - pl.col("churned")))
            intake(spec, paths, "labels", workshop.home)
        flows.append(flow)
        return run_dbt(context, monitor, flow, *rest)

    monkeypatch.setattr(aggregates, "run_dbt", after_another_intake)
    materialize_range(workshop.home, spec, key, key)
    assert sorted(flows) == ["delayed", "delayed", "immediate"]
    with connect(paths, read_only=True) as con:
        counts = con.sql(
            "SELECT n_labelled, n_revised FROM marts.label_counts WHERE window_key = ? AND segment = 'all'",
            params=[key],
        ).fetchall()
    assert counts == [(ROWS_PER_DAY, ROWS_PER_DAY)]
