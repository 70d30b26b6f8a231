"""Run workers are forked from a process that has imported Dagster and dbt, and runs a single thread.

Holds private API of the pinned Dagster. That a real server's runs go this way: tests/e2e/test_near_real_time.py.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from dagster._grpc.server import DagsterApiServer

from orchestration.dagster_private import warm_start

SLOW_TO_IMPORT = {"dagster_dbt", "dbt.cli.main", "dbt.adapters.duckdb", "dagster._grpc.server"}
THREADED = {"numpy", "polars", "orchestration.definitions"}


def tell(sender: Connection) -> None:
    """What a new process has, and how many threads the one it was forked from."""
    threads = len(list(Path(f"/proc/{os.getppid()}/task").iterdir()))
    sender.send((SLOW_TO_IMPORT - sys.modules.keys(), THREADED & sys.modules.keys(), threads))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the threads of another process in /proc")
def test_a_new_process_has_imported_what_is_slow_and_its_parent_has_one_thread(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    context = warm_start.context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=tell, args=(sender,))
    process.start()
    assert receiver.poll(120), "the process told nothing"
    missing, threaded, threads = receiver.recv()
    process.join(60)
    assert (missing, threaded, threads) == (set(), set(), 1)


def test_the_code_server_starts_runs_by_it_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    def start_run(self: Any, request: str) -> tuple[str, str]:
        return request, self._mp_ctx.get_start_method()

    monkeypatch.setattr(DagsterApiServer, "StartRun", start_run)
    monkeypatch.delenv(warm_start.SWITCH, raising=False)
    warm_start.install_if_asked()
    monkeypatch.setenv(warm_start.SWITCH, "0")
    warm_start.install_if_asked()
    assert DagsterApiServer.StartRun is start_run
    monkeypatch.setenv(warm_start.SWITCH, "1")
    warm_start.install_if_asked()
    warm = DagsterApiServer.StartRun
    warm_start.install_if_asked()
    assert DagsterApiServer.StartRun is warm
    server: Any = DagsterApiServer.__new__(DagsterApiServer)
    assert server.StartRun("a run") == ("a run", "forkserver")
