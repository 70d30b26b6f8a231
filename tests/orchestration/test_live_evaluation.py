"""Versions of the log in Dagster: one that runs beside another is a partition of `evaluation`, a replacement none."""

from __future__ import annotations

import os
from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from orchestration.assets.live_evaluation import TAG
from orchestration.definitions import build
from sightline.evaluation.landed import evaluations
from sightline.evaluation.running import running
from tests.support.dashboard import served
from tests.support.live_versions import NEW, NOW, OLD, START, make_home, requests, scored, spec_of

DAYS = 9
LAST = "9.0"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A better shadow for nine days; then another version takes the place of the old one."""
    noise = {OLD: 1.0, NEW: 0.2, LAST: 1.0}
    asked = requests(5, DAYS + 3, 300)
    old = scored(asked, OLD, noise, 6)
    at = (START + timedelta(days=DAYS, hours=12)).replace(tzinfo=None)
    old = old.with_columns(version=pl.when(pl.col("ts") >= at).then(pl.lit(LAST)).otherwise("version"))
    rows = pl.concat([old, scored(asked.filter(pl.col("day") < DAYS), NEW, noise, 7)])
    rules = {"margin": 0.02, "live": True}
    return make_home(tmp_path_factory.mktemp("live"), rows, evaluation=rules)


@pytest.fixture
def instance(home, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    with dg.DagsterInstance.from_config(str(home.dagster)) as found:
        yield found


def tick(home, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    sensor = build(home).get_repository_def().get_sensor_def("m__candidates")
    found = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(found, dg.SensorResult)
    return found


def test_the_sensor_asks_for_the_version_that_runs_beside_another_once_per_day_with_labels(home, instance):
    first = tick(home, instance, None)
    [request] = first.run_requests or []
    assert (request.partition_key, request.tags[TAG]) == (NEW, "2026-01-13")
    [added] = first.dynamic_partitions_requests or []
    assert list(added.partition_keys) == [NEW], "not the version that took the place of the old one"
    assert not tick(home, instance, first.cursor).run_requests
    spec, paths = spec_of(home), home.monitor("m")
    early = running(spec, paths, START + timedelta(days=6, hours=2))
    assert [(each.version, each.mark < "2026-01-11") for each in early] == [(NEW, True)]
    off = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"live": False})})
    assert running(off, paths, NOW) == []


def test_the_verdict_is_a_check_that_says_how_it_was_found(home, instance):
    instance.add_dynamic_partitions("m__candidates", [NEW, LAST, "7.7"])
    job = build(home).resolve_job_def("m__candidate")
    done = job.execute_in_process(instance=instance, partition_key=NEW, tags={TAG: "2026-01-13"})
    checks = {each.check_name: each for each in done.get_asset_check_evaluations()}
    promote = checks["promote"]
    assert promote.passed
    assert f"{NEW}: superior" in str(promote.description)
    assert f"Compared live with {OLD}; the verdict is valid at every look" in str(promote.description)
    assert promote.metadata["days on which both ran"].value == DAYS
    kept = evaluations(home.monitor("m"))[-1]
    assert (kept["version"], kept["how"], kept["may_promote"]) == (NEW, "live", True)
    with served(home) as client:
        [told] = client.get("/monitors/m/versions.json").json()["candidates"]
    assert (told["version"], told["champion"], told["outcome"], told["is_live"]) == (NEW, OLD, "superior", True)
    assert told["difference"] == kept["criteria"][0]["difference"] and told["set"] == "2026-01-05 to 2026-01-13"

    never = job.execute_in_process(instance=instance, partition_key=LAST, raise_on_error=False)
    [promote] = [each for each in never.get_asset_check_evaluations() if each.check_name == "promote"]
    assert not promote.passed
    assert "never ran in the same windows" in str(promote.description)

    missing = job.execute_in_process(instance=instance, partition_key="7.7", raise_on_error=False)
    assert not missing.success
    [promote] = [each for each in missing.get_asset_check_evaluations() if each.check_name == "promote"]
    assert not promote.passed
    assert "the log has no row of the version '7.7'" in str(promote.description)
