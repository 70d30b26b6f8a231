"""The asset `retraining`: on request, beside the flows, with a check that warns where a retraining pays."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestration.assets import retraining
from orchestration.definitions import build
from orchestration.monitor import Monitor
from sightline.spec.loader import load_monitor
from tests.support.ageing import make, monitor, world
from tests.support.workshop import Workshop, write

RULES = {"cost": 300, "value_per_point": 100, "unit": "EUR", "estimator": "models_of_m:estimator", "max_fits": 18}


def run(root: Path, turn: float, **rules) -> dg.ExecuteInProcessResult:
    home, _, spec = make(root, world(turn), monitor(retraining={**RULES, **rules}))
    asset = retraining.build(Monitor(spec, home, {}))
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([asset], instance=instance, raise_on_error=False)


def test_it_warns_where_a_retraining_pays_and_keeps_the_advice(tmp_path):
    done = run(tmp_path, 0.018)
    assert done.success
    [check] = done.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.description == "Retrain now: it pays"
    [event] = done.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert "roc\\_auc falls by" in metadata["advice"].value
    assert metadata["state"].value == "pays"
    assert (tmp_path / metadata["kept in"].value).exists()


def test_it_passes_with_the_reason_where_nothing_can_be_said(tmp_path):
    done = run(tmp_path, 0.0)
    assert done.success
    [check] = done.get_asset_check_evaluations()
    assert check.passed
    assert str(check.description).startswith("Cannot say whether a retraining pays now: without a measurable decay")


def test_an_estimator_that_raises_fails_its_own_run_with_place_and_fix(tmp_path):
    done = run(tmp_path, 0.0, estimator="models_of_m:broken")
    assert not done.success
    [failure] = [event for event in done.all_events if event.event_type_value == "STEP_FAILURE"]
    told = str(failure.step_failure_data.user_failure_data.description)
    assert "retraining.estimator models_of_m:broken" in told
    assert "the matrix is singular" in told
    assert "fix: mend the estimator" in told


@pytest.fixture
def with_section(workshop: Workshop) -> Workshop:
    """The churn monitor asks for advice; the price monitor does not."""
    file = workshop.home.monitors / "churn.yaml"
    content = {**yaml.safe_load(file.read_text()), "retraining": {"cost": 10, "value_per_point": 1}}
    write(workshop.home, "churn", yaml.safe_dump(content, sort_keys=False))
    return workshop


def test_it_stands_in_the_lineage_and_in_no_job(with_section):
    before = Monitor(with_section.churn, with_section.home, {}).code_version
    spec = load_monitor(with_section.home.monitors / "churn.yaml", home=with_section.home)
    assert Monitor(spec, with_section.home, {}).code_version == before, "no other number depends on it"
    repository = build(with_section.home).get_repository_def()
    graph = repository.asset_graph
    key = dg.AssetKey(["churn", "retraining"])
    assert graph.get(key).parent_keys == {dg.AssetKey(["churn", name]) for name in ("inferences", "labels")}
    assert graph.get(key).partitions_def is None
    assert not graph.get(key).pools
    assert dg.AssetCheckKey(key, "retraining") in graph.asset_check_keys
    assert not graph.has(dg.AssetKey(["price", "retraining"]))
    for name in repository.job_names:
        if not name.startswith("__"):
            assert key not in repository.get_job(name).asset_layer.executable_asset_keys, name
