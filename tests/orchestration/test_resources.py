"""dbt as a resource: in this process, its manifest parsed only when stale."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import duckdb
import pytest

from orchestration import resources
from orchestration.dagster_private.in_process_dbt import InProcessDbt
from sightline.errors import SightlineError


def test_dbt_is_found_beside_this_python_without_its_folder_in_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert resources.DBT.exists()
    assert os.access(resources.DBT, os.X_OK)


@pytest.fixture
def project(tmp_path):
    """A dbt project of one model, in a folder that must not be written."""
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: sightline\nversion: '1.0'\nprofile: sightline\n")
    shutil.copy(resources.PROJECT_DIR / "profiles.yml", folder)
    (folder / "models" / "one.sql").write_text("select 1 as x")
    return folder


class TestManifest:
    @pytest.fixture
    def parses(self, monkeypatch):
        """Folders that were parsed; the parse itself only writes a file."""
        found = []

        def parse(project_dir, folder):
            found.append(project_dir)
            (folder / "manifest.json").write_text("{}")

        monkeypatch.setattr(resources, "_parse", parse)
        return found

    def test_parsed_once_then_reused(self, home, project, parses):
        first = resources.ensure_manifest(home, project)
        assert resources.ensure_manifest(home, project) == first
        assert len(parses) == 1

    def test_a_changed_new_or_removed_model_is_parsed_anew(self, home, project, parses):
        resources.ensure_manifest(home, project)
        (project / "models" / "one.sql").write_text("select 2 as x")
        resources.ensure_manifest(home, project)
        (project / "models" / "two.sql").write_text("select 3 as x")
        resources.ensure_manifest(home, project)
        (project / "models" / "one.sql").unlink()
        resources.ensure_manifest(home, project)
        assert len(parses) == 4

    def test_many_processes_parse_once(self, home, project, parses):
        threads = [threading.Thread(target=resources.ensure_manifest, args=(home, project)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(parses) == 1

    def test_a_killed_parse_is_done_again(self, home, project, parses):
        manifest = resources.ensure_manifest(home, project)
        manifest.with_name("manifest.stamp").unlink()
        resources.ensure_manifest(home, project)
        assert len(parses) == 2


def test_the_project_folder_may_be_read_only(home, project):
    for path in (project, project / "models"):
        path.chmod(0o555)
    before = sorted(project.rglob("*"))
    manifest = resources.ensure_manifest(home, project)
    assert '"model.sightline.one"' in manifest.read_text()
    assert sorted(project.rglob("*")) == before
    for path in (project, project / "models"):
        path.chmod(0o755)


def test_a_project_that_does_not_parse_is_told(home, project):
    (project / "models" / "one.sql").write_text("select {{ nonsense( }}")
    with pytest.raises(SightlineError, match="dbt cannot parse"):
        resources.ensure_manifest(home, project)


def test_environment_is_restored():
    before = dict(os.environ)
    with resources.environment({"SIGHTLINE_WAREHOUSE": "x", "PATH": "y"}):
        assert os.environ["SIGHTLINE_WAREHOUSE"] == "x"
    assert dict(os.environ) == before


class TestInProcess:
    @pytest.fixture
    def dbt(self, tmp_path, project, monkeypatch):
        """dbt over a project of one model, with a warehouse of its own."""
        monkeypatch.setenv("SIGHTLINE_WAREHOUSE", str(tmp_path / "warehouse.duckdb"))
        return InProcessDbt(project_dir=str(project))

    def test_events_are_told_and_the_warehouse_is_free_again(self, tmp_path, dbt):
        here = Path.cwd()
        for _ in range(2):  # a process runs dbt as often as it likes
            events, error = dbt.invoke(["run", "--quiet"], tmp_path / "target", tmp_path)
            assert error is None
            assert [event["info"]["name"] for event in events] == ["LogModelResult"]
            with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as con:
                assert con.sql("select x from one").fetchall() == [(1,)]
        assert Path.cwd() == here

    def test_a_failure_is_told_in_dbts_words(self, tmp_path, project, dbt):
        (project / "models" / "one.sql").write_text("select no_such_column")
        _, error = dbt.invoke(["run", "--quiet"], tmp_path / "target", tmp_path)
        assert "no_such_column" in str(error)

    def test_another_warehouse_in_the_same_process(self, tmp_path, dbt, monkeypatch):
        for name in ("a", "b"):
            monkeypatch.setenv("SIGHTLINE_WAREHOUSE", str(tmp_path / f"{name}.duckdb"))
            assert dbt.invoke(["run", "--quiet"], tmp_path / name, tmp_path)[1] is None
            with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as con:
                assert con.sql("select x from one").fetchall() == [(1,)]
