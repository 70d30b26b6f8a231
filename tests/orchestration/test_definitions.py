"""The code location: what two monitors create, as a golden file, and what a broken one does to the others (nothing)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.utils import is_valid_owner

from sightline.home import Home
from sightline.spec import plan, rules
from sightline.spec.model import MonitorSpec
from tests.support.workshop import Workshop, make_workshop, write

GOLDEN = Path(__file__).parent / "golden" / "definitions.json"
"""To accept a change on purpose: UPDATE_GOLDEN=1 python -m pytest tests/orchestration/test_definitions.py"""

MONITOR_MODELS = (
    "inferences",
    "labels",
    "reference",
    "data_quality",
    "drift",
    "estimated_quality",
    "model_quality",
    "alerts",
)


@pytest.fixture(scope="module")
def workshop_home(tmp_path_factory) -> Workshop:
    return make_workshop(tmp_path_factory.mktemp("definitions") / "home", days=2)


@pytest.fixture(scope="module")
def defs(workshop_home) -> dg.Definitions:
    from orchestration.definitions import build

    return build(workshop_home.home)


def described(defs: dg.Definitions) -> dict:
    """Everything with a name, as it is shown."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    nodes = [graph.get(key) for key in graph.get_all_asset_keys()]
    return {
        "assets": {
            node.key.to_user_string(): {
                "group": node.group_name,
                "owners": sorted(node.owners),
                "kinds": sorted(node.kinds),
                "pools": sorted(node.pools),
                "partitions": type(node.partitions_def).__name__ if node.partitions_def else None,
                "upstream": sorted(key.to_user_string() for key in node.parent_keys),
                "freshness": bool(node.freshness_policy),
            }
            for node in sorted(nodes, key=lambda node: node.key)
        },
        "checks": sorted(
            f"{key.asset_key.to_user_string()}:{key.name}" + (" (blocks)" if graph.get(key).blocking else "")
            for key in graph.asset_check_keys
        ),
        "jobs": sorted(name for name in repository.job_names if not name.startswith("__")),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
    }


def test_definitions_are_as_agreed(defs):
    dg.Definitions.validate_loadable(defs)
    found = described(defs)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_the_plan_that_validate_prints_is_what_is_built(workshop_home, defs):
    found = described(defs)
    for spec in (workshop_home.churn, workshop_home.price):
        planned = {f"{spec.id}/{check.asset}:{check.name}" for check in plan.checks(spec)}
        built = {name.removesuffix(" (blocks)") for name in found["checks"] if name.startswith(f"{spec.id}/")}
        assert planned <= built
        assert {f"{spec.id}/{name}" for name in plan.assets(spec)} <= set(found["assets"])
        assert set(plan.jobs(spec)) == {name for name in found["jobs"] if name.startswith(f"{spec.id}__")}
        assert set(plan.sensors(spec)) == {name for name in found["sensors"] if name.startswith(f"{spec.id}__")}
        models = {f"{spec.id}/{name}" for name in plan.dbt_models()}
        ephemeral = {f"{spec.id}/int_labels_current"}
        assert models - ephemeral <= set(found["assets"])


def test_assets_are_described_in_words_with_columns_and_owners(defs):
    graph = defs.get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert len(node.description) > 20, key
        assert node.tags["sightline/monitor"] == key.path[0]
        if key.path[1] in MONITOR_MODELS and key.path[1] not in ("reference", "alerts"):
            assert node.metadata["dagster/column_schema"].columns, key


def test_sensors_run_by_default_and_their_interval_can_be_set(workshop_home, monkeypatch):
    from orchestration.definitions import build

    monkeypatch.setenv("SIGHTLINE_SENSOR_SECONDS", "5")
    for sensor in build(workshop_home.home).get_repository_def().sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
        assert sensor.minimum_interval_seconds == 5


class TestBrokenMonitors:
    @pytest.fixture
    def broken(self, workshop_home, defs, tmp_path) -> Home:
        made = make_workshop(tmp_path / "home", days=2)
        shutil.copytree(workshop_home.home.root / ".sightline", made.home.root / ".sightline")  # the parsed manifest
        write(made.home, "broken", "version: 1\nmodel: {id: broken, taskk: regression}\nreference: {kind: window}\n")
        write(made.home, "no yaml!", "model: [")
        return made.home

    def test_are_shown_with_their_error_beside_the_others(self, broken):
        from orchestration.definitions import build

        graph = build(broken).get_repository_def().asset_graph
        keys = {key.to_user_string(): key for key in graph.get_all_asset_keys()}
        assert {"churn/drift", "price/drift", "broken_monitors/broken"} <= set(keys)
        text = graph.get(keys["broken_monitors/broken"]).description
        assert "broken.yaml" in text
        assert "unknown key 'taskk'" in text
        [other] = [key for key in keys if re.fullmatch(r"broken_monitors/no_yaml_\w+", key)]
        assert "no valid YAML" in graph.get(keys[other]).description

    def test_materializing_one_reads_the_file_again(self, broken):
        from orchestration.broken import broken_monitor
        from sightline.spec.loader import load_monitors

        _, found = load_monitors(broken)
        definitions = broken_monitor(broken, found[0])
        [asset] = definitions.assets
        assert not dg.materialize([asset], raise_on_error=False).success
        write(broken, "broken", (broken.monitors / "price.yaml").read_text().replace("id: price", "id: broken"))
        assert dg.materialize([asset]).success

    def test_one_that_cannot_be_built_is_shown_too(self, broken, monkeypatch):
        from orchestration import definitions, monitor_definitions

        make = monitor_definitions.monitor_definitions

        def fail(home, spec, manifest, *more):
            if spec.id == "price":
                raise RuntimeError("cannot be built")
            return make(home, spec, manifest, *more)

        monkeypatch.setattr(monitor_definitions, "monitor_definitions", fail)
        graph = definitions.build(broken).get_repository_def().asset_graph
        keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
        assert {"churn/drift", "broken_monitors/price"} <= keys
        assert "price/drift" not in keys


def test_an_empty_home_loads(workshop_home, defs, tmp_path):
    from orchestration.definitions import build

    shutil.copytree(workshop_home.home.root / ".sightline", tmp_path / ".sightline")
    defs = build(Home(tmp_path))
    dg.Definitions.validate_loadable(defs)
    assert not list(defs.get_repository_def().asset_graph.get_all_asset_keys())


def test_importing_the_code_location_does_not_import_what_only_runs_need(workshop_home):
    """`dagster dev` imports it in several processes: SciPy's statistics and scikit-learn have no business there."""
    code = (
        "import sys; import orchestration.definitions; print([m for m in ('scipy.stats', 'sklearn', 'pandas') if m "
        "in sys.modules])"
    )
    environment = {**os.environ, "SIGHTLINE_HOME": os.fspath(workshop_home.home.root)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "owner", ["ml@example.com", "team:ml", "a.b+c@x-y.example", "a@b.c", "ml@shop.technology", "x@y.zz"]
)
def test_an_owner_is_valid_where_dagster_takes_it(owner):
    given = MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": "regression", "owner": owner},
            "columns": {"prediction": "p", "features": {"x": "numeric"}},
            "reference": {"path": "r.parquet"},
        }
    )
    is_refused = any(problem.key_path == ("model", "owner") for problem in rules.problems(given))
    assert is_refused is not is_valid_owner(owner)
