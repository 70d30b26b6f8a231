"""The user's own assets under `upstream:`: in the lineage, and what Dagster knows of them published."""

from __future__ import annotations

import dagster as dg
import pytest

from orchestration import upstream
from orchestration.assets import ingest
from orchestration.monitor import Monitor
from sightline.results.upstream import read_upstream


@pytest.fixture
def monitor(home, make_spec):
    return Monitor(make_spec(upstream=["warehouse/orders", "clock"]), home, {})


def orders(version: str) -> dg.AssetsDefinition:
    @dg.asset(key=["warehouse", "orders"], code_version=version)
    def made() -> int:
        return 1

    return made


def test_inferences_follow_them_in_the_lineage(monitor):
    inferences, labels = (ingest.build(monitor, kind) for kind in ("inferences", "labels"))
    own = inferences.asset_deps[dg.AssetKey(["churn", "inferences"])]
    assert own == {dg.AssetKey(["warehouse", "orders"]), dg.AssetKey(["clock"])}
    assert labels.asset_deps[dg.AssetKey(["churn", "labels"])] == {dg.AssetKey(["churn", "inferences"])}


def test_their_code_versions_are_published_once_each(monitor):
    with dg.DagsterInstance.ephemeral() as instance:
        for version in ("1", "1", "2"):
            assert dg.materialize([orders(version)], instance=instance).success
        upstream.observe(instance, monitor)
        found = upstream.observe(instance, monitor)
    assert found.equals(read_upstream(monitor.paths))
    assert found["asset"].unique().to_list() == ["warehouse/orders"]
    assert found["code_version"].to_list() == ["1", "1", "2"]
    assert found["data_version"].n_unique() == 2  # without inputs it follows from the code
    assert found["materialized_at"].is_sorted()


def test_a_monitor_without_any_publishes_nothing(home, make_spec):
    with dg.DagsterInstance.ephemeral() as instance:
        assert upstream.observe(instance, Monitor(make_spec(), home, {})).is_empty()
    assert not (home.monitor("churn").results / "snapshots").exists()


def test_neither_upstream_nor_importance_outdates_what_is_computed(home, make_spec):
    plain = Monitor(make_spec(), home, {}).code_version
    assert Monitor(make_spec(upstream=["clock"], importance={"age": 1}), home, {}).code_version == plain
