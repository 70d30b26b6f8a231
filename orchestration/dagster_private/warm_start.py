"""Run workers that begin with Dagster and dbt imported.

Dagster's code server starts each run in a new interpreter, which imports for 3 of the 10 CPU seconds that one window of
one flow takes. Here it forks them from a process that has imported what starts no threads (numpy and Polars start some,
and forking those is unsound); what reads the monitors' files is imported by each run as before. That process starts
with the first run, holds about 190 MB, and ends with the code server. ``SIGHTLINE_WARM_START=1`` asks for it:
`sightline ui` and ``deploy/systemd`` set it for the code server they start, and no other process is changed.

Private API of dagster 1.13.27 (`DagsterApiServer`), pinned in pyproject.toml. Can go when Dagster lets one choose how
its code server starts processes. Held by tests/orchestration/dagster_private/test_warm_start.py.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import wraps
from typing import Any

SWITCH = "SIGHTLINE_WARM_START"
PRELOADED = "orchestration.dagster_private.preloaded"


def install_if_asked() -> None:
    """Let the code server in this process, if it is one, fork its runs; does nothing elsewhere or a second time."""
    server = sys.modules.get("dagster._grpc.server")
    if server is None or os.environ.get(SWITCH) != "1" or "forkserver" not in multiprocessing.get_all_start_methods():
        return
    start_run = server.DagsterApiServer.StartRun
    if getattr(start_run, "is_warm", False):
        return

    @wraps(start_run)
    def start_warm(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._mp_ctx = context()
        return start_run(self, *args, **kwargs)

    start_warm.is_warm = True  # pyright: ignore[reportFunctionMemberAccess]
    server.DagsterApiServer.StartRun = start_warm


def context() -> multiprocessing.context.ForkServerContext:
    """Where processes are forked from one that has imported `PRELOADED`."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([PRELOADED])
    return found
