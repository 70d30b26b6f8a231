"""`sightline ui`: prepares the home folder and starts Dagster beside this interpreter."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from sightline import dagster_setup
from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.results.snapshots import write_snapshot
from sightline.spec.docs import EXAMPLE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Home is an empty folder; instead of starting Dagster, record how it would have been started."""
    calls = []
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    return calls


def run(*arguments: str):
    return CliRunner().invoke(cli, ["ui", "--dashboard-port", "0", *arguments])


def test_empty_folder_opens_and_says_what_to_do(tmp_path, started):
    port = free_port()
    result = run("--port", str(port))
    assert result.exit_code == 0, result.output
    assert "There is no monitor" in result.stdout and "sightline init SAMPLE" in result.stdout
    assert f"http://127.0.0.1:{port}" in result.stdout
    [(program, arguments, environment)] = started
    assert Path(program) == Path(sys.executable).parent / "dagster" and os.access(program, os.X_OK)
    assert arguments[1:] == ["dev", "-w", arguments[3], "-h", "127.0.0.1", "-p", str(port)]
    assert Path(arguments[3]).name == "workspace.yaml" and Path(arguments[3]).is_file()
    assert environment["DAGSTER_HOME"] == str(tmp_path / "dagster_home")
    assert environment["SIGHTLINE_HOME"] == str(tmp_path)
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["DAGSTER_DISABLE_TELEMETRY"] == "1"
    assert environment["DBT_SEND_ANONYMOUS_USAGE_STATS"] == "False"
    assert "telemetry" in (tmp_path / "dagster_home" / "dagster.yaml").read_text()
    assert (tmp_path / "monitors").is_dir()


@pytest.mark.parametrize(
    ("monitors", "troubled", "page"),
    [
        ([], (), "/asset-groups"),
        (["churn"], (), "/asset-groups?expanded=global@global:churn"),
        (["churn", "price"], (), "/asset-groups"),
        (["churn", "price"], ("price",), "/asset-groups?expanded=global@global:price"),
        (
            ["churn", "price", "spam"],
            ("churn", "price", "spam"),
            "/asset-groups?expanded=global@global:churn,global@global:price",
        ),
    ],
)
def test_begins_with_the_lineage_and_opens_a_single_monitor_or_those_in_trouble(
    tmp_path, started, monitors, troubled, page
):
    (tmp_path / "monitors").mkdir()
    for name in monitors:
        (tmp_path / "monitors" / f"{name}.yaml").write_text(EXAMPLE.replace("id: flight_delay", f"id: {name}"))
        state = "open" if name in troubled else "closed"
        write_snapshot(Home(tmp_path).monitor(name), "incidents", pl.DataFrame({"status": [state]}))
    port = free_port()
    assert f"Dagster UI: http://127.0.0.1:{port}{page} (ready" in run("--port", str(port)).stdout


def test_own_files_win_and_settings_are_copied_once(tmp_path, started):
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    (tmp_path / "dagster.yaml").write_text("# own\n")
    assert run("--port", str(free_port())).exit_code == 0
    assert started[0][1][3] == str(tmp_path / "workspace.yaml")
    settings = tmp_path / "dagster_home" / "dagster.yaml"
    assert settings.read_text() == "# own\n"
    settings.write_text("# edited\n")
    assert run("--port", str(free_port())).exit_code == 0
    assert settings.read_text() == "# edited\n"


def test_broken_monitors_are_told_and_the_others_shown(tmp_path, started):
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "flight_delay.yaml").write_text(EXAMPLE)
    (tmp_path / "monitors" / "broken.yaml").write_text("modl: {}\n")
    result = run("--port", str(free_port()))
    assert result.exit_code == 0
    assert "Monitors: flight_delay" in result.stdout
    assert "Did you mean 'model'?" in result.stderr and "the others are shown" in result.stderr
    assert len(started) == 1


def test_taken_port(tmp_path, started):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        result = run("--port", str(holder.getsockname()[1]))
    assert isinstance(result.exception, SightlineError)
    assert "cannot listen" in str(result.exception) and "--port" in str(result.exception)
    assert not started


def test_bundled_files_of_a_wheel_win(tmp_path, monkeypatch):
    package = tmp_path / "sightline"
    (package / "_bundled").mkdir(parents=True)
    (package / "_bundled" / "workspace.yaml").write_text("bundled")
    monkeypatch.setattr(dagster_setup.sightline, "__file__", str(package / "__init__.py"))
    assert dagster_setup.bundled("workspace.yaml").read_text() == "bundled"
    with pytest.raises(SightlineError, match="missing from the installation"):
        dagster_setup.bundled("dagster.yaml")


def test_prepare_keeps_the_home_folder_tidy(tmp_path):
    home = Home(tmp_path)
    dagster_setup.prepare(home)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dagster_home", "data", "monitors"]
