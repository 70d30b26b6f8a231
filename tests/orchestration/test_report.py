"""The asset `report`: a file per window that is kept, its summary in the materialization, part of the flows' jobs."""

from __future__ import annotations

import dagster as dg
import pytest

from orchestration import jobs
from orchestration.assets import report
from orchestration.monitor import Monitor
from sightline.reports.window.outputs import folder_of
from sightline.spec import plan
from sightline.spec.loader import find_monitor
from tests.support.published import HOSTILE, World, make_published


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    made = make_published(tmp_path_factory.mktemp("report") / "home")
    with (made.home.monitors / "churn.yaml").open("a", encoding="utf-8") as file:
        file.write("report: {keep: 5d}\n")
    return made


@pytest.fixture(scope="module")
def monitor(world) -> Monitor:
    models = {"immediate": (), "delayed": ()}
    return Monitor(find_monitor(world.home, "churn"), world.home, models)


def test_a_run_over_a_range_writes_what_is_kept_and_tells_each_window(world, monitor):
    first, last = (f"{world.day(k):%Y-%m-%d}" for k in (40, 59))
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([report.build(monitor)], instance=instance, tags=tags)
    assert done.success
    wanted = [f"{world.day(k):%Y-%m-%d}" for k in range(54, 60)]
    assert sorted(file.stem for file in folder_of(monitor.paths).glob("*.html")) == wanted
    told = {
        event.materialization.partition: event.materialization.metadata
        for event in done.get_asset_materialization_events()
        if "report" in event.materialization.metadata
    }
    assert sorted(told) == wanted
    summary = told[last]["report"].value
    assert "1 open incident" in summary and "roc\\_auc 0.61" in summary and HOSTILE not in summary
    assert (world.home.root / told[last]["kept in"].value).exists()


def test_it_belongs_to_the_flows_only_where_the_file_asks_for_it(monitor):
    key = monitor.key("report")
    assert all(key in jobs.asset_keys(monitor, flow) for flow in ("immediate", "delayed"))
    assert "report" in plan.assets(monitor.spec)
    without = Monitor(monitor.spec.model_copy(update={"report": None}), monitor.home, monitor.models)
    assert key not in jobs.asset_keys(without, "immediate") and "report" not in plan.assets(without.spec)
