"""`sightline.MonitorComponent` in projects as `dg` lays them out, loaded by Dagster's own functions."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

import sightline
from orchestration.component import read_monitors, upstream_keys
from sightline.errors import SightlineError
from sightline.home import Home
from tests.support.dg_project import ROOT, variables, write_project

CHURN = "shop/defs/models/churn_monitor/churn.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Iterator[Path]:
    """The project of the page, importable."""
    write_project(tmp_path / "project")
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "project" / "dagster_home"))
    yield tmp_path / "project"
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def load(project: Path) -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=project / "shop")


def keys(defs: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}


def add_component(project: Path, name: str, monitor: str, text: str, home: str = "../../../sightline_home") -> None:
    folder = project / "shop" / "defs" / name
    folder.mkdir()
    (folder / f"{monitor}.yaml").write_text(text)
    attributes = f"attributes: {{monitors: {monitor}.yaml, home: {home}}}"
    (folder / "defs.yaml").write_text(f"type: sightline.MonitorComponent\n{attributes}\n")


def test_the_project_s_own_assets_are_upstream_and_sensors_and_jobs_are_there(project):
    defs = load(project)
    graph = defs.resolve_asset_graph()
    inferences, labels = (graph.get(dg.AssetKey(["churn", kind])) for kind in ("inferences", "labels"))
    assert inferences.parent_keys == {dg.AssetKey(["warehouse", "scores"])}
    assert labels.parent_keys == {dg.AssetKey(["churn", "inferences"]), dg.AssetKey(["warehouse", "outcomes"])}
    repository = defs.get_repository_def()
    assert repository.has_job("churn__backfill")
    assert {sensor.name.rpartition("_")[0] for sensor in repository.sensor_defs if "alerts" in sensor.name} == {
        "alerts__operations__churn"
    }


def test_several_components_live_in_one_project(project):
    text = (project / CHURN).read_text()
    add_component(project, "more", "upsell", text.replace("id: churn", "id: upsell"))
    found = keys(load(project))
    assert {"churn/alerts", "upsell/alerts", "warehouse/scores"} <= found


def test_a_file_with_a_mistake_is_shown_and_everything_else_loads(project):
    add_component(project, "more", "upsell", "version: 1\nmodel: {id: upsell, task: binary}\n")
    defs = load(project)
    assert {"broken_monitors/upsell", "churn/alerts", "warehouse/scores"} <= keys(defs)
    told = defs.resolve_asset_graph().get(dg.AssetKey(["broken_monitors", "upsell"])).description
    assert "upsell.yaml:2" in told
    assert "binary_classification" in told


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("{monitors: nothing.yaml, home: h}", "there is no such monitor file"),
        ("{monitors: churn_monitor/churn.yaml, home: h, upstream: {inference: [a]}}", "nothing lands for 'inference'"),
        ("{monitors: churn_monitor/churn.yaml, home: h, upstream: {labels: ['a//b']}}", "is no list of keys"),
    ],
)
def test_wrong_attributes_are_told_by_an_asset(project, attributes, words):
    (project / "shop/defs/models/defs.yaml").write_text(f"type: sightline.MonitorComponent\nattributes: {attributes}\n")
    defs = load(project)
    graph = defs.resolve_asset_graph()
    [broken] = [key for key in graph.get_all_asset_keys() if key.path[0] == "broken_monitors"]
    assert words in graph.get(broken).description
    assert "warehouse/scores" in keys(defs)


def test_an_unknown_attribute_is_refused_by_dagster_with_its_place(project):
    file = project / "shop/defs/models/defs.yaml"
    file.write_text(file.read_text().replace("home:", "house:"))
    with pytest.raises(Exception, match="Error while loading component") as caught:
        load(project)
    assert "house" in str(caught.value.__cause__)


def test_a_second_file_of_one_id_is_left_out(tmp_path):
    home = Home(tmp_path)
    write_project(tmp_path / "project")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copyfile(tmp_path / "project" / CHURN, tmp_path / name / "churn.yaml")
    specs, broken = read_monitors(home, tmp_path, ["*/churn.yaml"])
    assert list(specs) == ["churn"]
    assert "a second file" in broken[0].error.what


def test_a_key_that_the_project_has_itself_is_named(project):
    text = "\n\n@dg.asset(key=['churn', 'inferences'])\ndef mine() -> None: ...\n"
    file = project / "shop/defs/warehouse.py"
    file.write_text(file.read_text() + text)
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=r"churn.*inferences"):
        load(project).get_repository_def()


def test_two_components_with_one_monitor_are_refused_by_its_name(project):
    add_component(project, "again", "churn", (project / CHURN).read_text())
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="churn"):
        load(project).get_repository_def()


def test_groups_are_changed_by_what_every_component_has(project):
    file = project / "shop/defs/models/defs.yaml"
    file.write_text(
        file.read_text()
        + textwrap.dedent("""\
        post_processing:
          assets:
            - target: "group:churn"
              attributes: {group_name: monitoring}
        """)
    )
    graph = load(project).resolve_asset_graph()
    assert graph.get(dg.AssetKey(["churn", "alerts"])).group_name == "monitoring"


def test_it_is_built_alone_too(project):
    component = sightline.MonitorComponent(monitors=str(project / CHURN), home=str(project / "sightline_home"))
    assert "churn/alerts" in keys(dg.build_defs_for_component(component))


def test_dagster_s_own_sandbox_loads_it(project):
    with create_defs_folder_sandbox() as sandbox:
        attributes = {"monitors": str(project / CHURN), "home": str(project / "sightline_home")}
        path = sandbox.scaffold_component(
            component_cls=sightline.MonitorComponent,
            defs_yaml_contents={"type": "sightline.MonitorComponent", "attributes": attributes},
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            assert "churn/alerts" in keys(defs)


def test_the_user_s_own_warnings_stay(project):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        load(project)
        dg.asset(backfill_policy=dg.BackfillPolicy.single_run())(_mine)
    own = [one for one in told if issubclass(one.category, (dg.BetaWarning, dg.PreviewWarning))]
    assert [one for one in own if "backfill_policy" in str(one.message)]
    assert not [one for one in own if "orchestration" in one.filename]


def _mine() -> None:
    """An asset of a user's."""


UNCHANGED = """
import os, warnings
import dagster as dg
import dagster._grpc.server as server
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
def state():
    return (
        SqliteEventLogStorage.__dict__.copy(), server.DagsterApiServer.__dict__.copy(), dict(os.environ),
        list(warnings.filters), os.getcwd(), dg.DagsterInstance.__dict__.copy(),
    )
import sys
sys.path.insert(0, os.getcwd())
import numpy, polars, scipy.special, dagster_dbt  # these have effects of their own
before = state()
import pkgutil, importlib, orchestration
for module in pkgutil.walk_packages(orchestration.__path__, "orchestration."):
    if not module.name.endswith(("preloaded", "batched_postgres")):
        importlib.import_module(module.name)
defs = dg.load_from_defs_folder(path_within_project=__import__("pathlib").Path("shop"))
defs.get_repository_def()
after = state()
for a, b in zip(before, after):
    assert a == b, ([x for x in b if x not in a], [x for x in a if x not in b])
print("unchanged")
"""


def test_neither_importing_nor_loading_changes_the_process(project):
    done = subprocess.run(
        [sys.executable, "-c", UNCHANGED],
        cwd=project,
        env=variables(project, SIGHTLINE_HOME=str(project / "sightline_home")),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.strip().endswith("unchanged"), done.stderr[-3000:]


def test_importing_sightline_imports_no_dagster():
    code = "import sys, sightline; assert not {'dagster', 'orchestration'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_keys_of_upstream_assets_are_read():
    assert upstream_keys({"inferences": ["a/b", "c"]}) == {"inferences": ("a/b", "c")}
    with pytest.raises(SightlineError, match="labels"):
        upstream_keys({"label": ["a"]})


def test_dagster_finds_the_component_among_the_package_s_names():
    from dagster.components.core.package_entry import get_package_objects_in_module

    assert dict(get_package_objects_in_module(sightline))["MonitorComponent"] is sightline.MonitorComponent
