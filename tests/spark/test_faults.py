"""Processes of the cluster, of the driver and of the run are killed; what is missing is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sightline.home import Home
from tests.spark.homes import ROOT, assert_same, backfill, environment, home_of, marts, sightline
from tests.spark.small import small
from tests.support.spark_cluster import Cluster, free_port, kill, spark_cluster

PATIENCE_S = 300.0


@contextmanager
def running_backfill(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    with (home.root / "backfill.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sightline.cli", "backfill", "small"],
            cwd=ROOT, env=environment(home), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


def in_the_middle(home: Home) -> bool:
    """Some table of the run is written, and more are to come."""
    return any((home.monitor("small").root / "spark").glob("small-*/warehouse/intermediate.db/*/_SUCCESS"))


def sessions(home: Home) -> list[int]:
    """Processes that drive Spark for this home, and their JVMs."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(home.root) in command and ("spark.session" in command or "java" in command):
            found.append(int(folder.name))
    return found


@pytest.mark.long
def test_a_killed_worker_changes_nothing(tmp_path):
    bench = small(tmp_path / "world")
    here = home_of(tmp_path / "duckdb", [bench])
    backfill(here, "small")
    with spark_cluster(tmp_path / "cluster", workers=2) as cluster:
        there = home_of(tmp_path / "spark", [bench], cluster.yaml)
        with running_backfill(there) as process:
            until(lambda: in_the_middle(there), process)
            kill(cluster.workers[0])
            cluster.processes.remove(cluster.workers[0])
            assert process.wait(PATIENCE_S) in (0, 1), (there.root / "backfill.log").read_text()
    tables = {name: t for name, t in marts(here, "small").items() if not name.startswith("custom_")}
    assert_same(tables, {name: t for name, t in marts(there, "small").items() if name in tables})


@pytest.mark.long
@pytest.mark.full
def test_a_killed_driver_publishes_nothing_and_a_killed_run_leaves_no_driver(tmp_path, cluster: Cluster):
    bench = small(tmp_path / "world")
    home = home_of(tmp_path / "spark", [bench], cluster.yaml)
    with running_backfill(home) as process:
        until(lambda: in_the_middle(home), process)
        for pid in sessions(home):
            os.kill(pid, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 2
    assert "before dbt had" in (home.root / "backfill.log").read_text()
    assert not marts(home, "small")
    with running_backfill(home) as process:
        until(lambda: in_the_middle(home), process)
        process.kill()
        process.wait()
        until(lambda: not sessions(home))
    assert not marts(home, "small")
    left = home.monitor("small").root / "spark"
    assert list(left.iterdir())
    backfill(home, "small")
    assert sum(map(len, marts(home, "small").values())) > 100
    assert not list(left.iterdir())


@pytest.mark.long
@pytest.mark.full
def test_a_cluster_without_a_worker_and_a_master_that_is_not_there_are_named_within_a_minute(tmp_path):
    bench = small(tmp_path / "world")
    with spark_cluster(tmp_path / "cluster", workers=0) as cluster:
        home = home_of(tmp_path / "spark", [bench], cluster.yaml + "  start_within: 45s\n")
        begun = time.monotonic()
        done = sightline(home, "doctor")
        assert time.monotonic() - begun < 60
        assert done.returncode == 1 and "no worker with the cores and memory asked for" in done.stdout, done.stdout
    absent = f"engine: {{kind: spark, master: 'spark://127.0.0.1:{free_port()}'}}\n"
    (home.root / "sightline.yaml").write_text(absent)
    begun = time.monotonic()
    done = sightline(home, "backfill", "small")
    assert time.monotonic() - begun < 60
    assert done.returncode == 2 and "the master does not answer" in done.stderr + done.stdout
    assert "engine.master" in done.stderr + done.stdout and not marts(home, "small")
