"""Windows without data are materialized without rows, by runs that bring some."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from orchestration.backfill import dagster_instance
from orchestration.silent_windows import NOTE
from sightline.clock import utc_now
from sightline.spec.windows import keys_between
from tests.support.workshop import DAYS


def test_no_partition_is_missing_and_the_latest_materialization_is_a_real_one(history):
    """The workshop's data end the day before yesterday; the labels two days before that."""
    spec = history.churn
    last = spec.key(utc_now() - timedelta(hours=1))  # the tests may run over midnight
    until_now = set(keys_between(spec, history.day(0), last))
    assert len(until_now) > DAYS
    with dagster_instance(history.home) as instance:
        for name in (
            "inferences",
            "labels",
            "data_quality",
            "drift",
            "estimated_quality",
            "model_quality",
            "alerts",
            "column_bins",
        ):
            key = dg.AssetKey([spec.id, name])
            assert until_now <= instance.get_materialized_partitions(key), name
            records = instance.fetch_materializations(key, limit=200).records
            notes = {r.partition_key for r in records if "note" in r.asset_materialization.metadata}
            assert notes and not notes & {history.day(n) for n in range(DAYS)}, name
            [latest] = instance.get_asset_records([key])
            assert "note" not in latest.asset_entry.last_materialization.asset_materialization.metadata, name
        silent = next(r for r in records if r.partition_key in notes)
        assert silent.asset_materialization.metadata["note"].value == NOTE


def test_a_run_that_loads_nothing_leaves_the_age_of_the_data_alone(history):
    """Only a run over windows of an asset reports its silent ones: without intake, `inferences` is not touched."""
    spec = history.churn
    with dagster_instance(history.home) as instance:
        runs = {run.run_id for run in instance.get_runs()}
        records = instance.fetch_materializations(dg.AssetKey([spec.id, "inferences"]), limit=200).records
    assert {r.run_id for r in records} <= runs and all(r.run_id for r in records)
