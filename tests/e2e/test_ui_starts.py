"""`sightline ui` with the real servers.

In a folder with nothing, and in one with a monitor made by `sightline init`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

pytestmark = pytest.mark.e2e
START_SECONDS = 240
QUERY = (
    "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename } } "
    "} } }"
)
ASSETS = "{ assetNodes { assetKey { path } groupName } }"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, query: str) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


@contextmanager
def running(home: Path) -> Iterator[int]:
    """`sightline ui` as a user starts it, stopped with all its processes at the end."""
    port = free_port()
    environment = {**os.environ, "SIGHTLINE_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    log = home / "ui.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sightline.cli", "ui", "--port", str(port), "--dashboard-port", "0"],
            cwd=home, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield port
        except BaseException:
            print(log.read_text()[-4000:])
            raise
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)


def loaded(port: int) -> dict:
    """The code location once it is loaded."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            [entry] = ask(port, QUERY)["workspaceOrError"]["locationEntries"]
            if entry["loadStatus"] == "LOADED":
                return entry
        except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
            pass
        assert time.monotonic() < deadline, "the UI did not come up"
        threading.Event().wait(0.5)


def dashboard_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            return b"There is no monitor yet" in answer.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def until(holds, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.2)


def test_the_dashboard_comes_and_goes_with_dagster(tmp_path):
    port, own = free_port(), free_port()
    environment = {**os.environ, "SIGHTLINE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "sightline.cli", "ui", "--port", str(port), "--dashboard-port", str(own)]
    with (tmp_path / "ui.log").open("w") as out:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            until(lambda: dashboard_answers(own), "the dashboard did not come up")
        finally:
            process.terminate()
            process.wait(60)
    until(lambda: not dashboard_answers(own), "the dashboard outlives Dagster")
    assert f"Dashboard: http://127.0.0.1:{own}/" in (tmp_path / "ui.log").read_text()


def test_empty_folder(tmp_path):
    with running(tmp_path) as port:
        entry = loaded(port)
        assert entry["name"] == "sightline"
        assert entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"
        assert ask(port, ASSETS)["assetNodes"] == []
    printed = (tmp_path / "ui.log").read_text()
    assert "There is no monitor" in printed
    assert "Warning" not in printed
    assert (tmp_path / "dagster_home" / "dagster.yaml").exists()


def test_folder_with_a_monitor_from_a_sample(tmp_path):
    n = 600
    start = datetime(2026, 1, 5)
    sample = pl.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "timestamp": [start + timedelta(hours=i) for i in range(n)],
            "score": [i % 100 / 100 for i in range(n)],
            "label": [i % 3 == 0 for i in range(n)],
            "Wind Speed": [float(i % 7) for i in range(n)],
            "select": ["a", "b"] * (n // 2),
        }
    )
    sample.write_parquet(tmp_path / "churn.parquet")
    environment = {**os.environ, "SIGHTLINE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "sightline.cli", "init", "churn.parquet"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    with running(tmp_path) as port:
        assert loaded(port)["locationOrLoadError"]["__typename"] == "RepositoryLocation"
        nodes = ask(port, ASSETS)["assetNodes"]
    paths = {tuple(node["assetKey"]["path"]) for node in nodes}
    assert {("churn", name) for name in ("inferences", "labels", "reference", "drift", "alerts")} <= paths
    assert {node["groupName"] for node in nodes} == {"churn", "churn/dbt_models"}
