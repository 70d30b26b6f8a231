"""The real `dagster dev` on a home folder, as `sightline ui` starts it, and its GraphQL.

It is webserver, daemon and code server.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
START_SECONDS = 300
POLL_SECONDS = 0.5
LOADED = (
    "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"
)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where the UI is."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """One GraphQL query; errors are raised."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return found["data"]

    def wait(self, what: str, probe: Callable[[], Found | None], seconds: float = 180) -> Found:
        """The first thing that is found, or an error that says what was waited for."""
        deadline = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{self.log.read_text()[-3000:]}"
            time.sleep(POLL_SECONDS)


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[Server]:
    """`sightline ui` on a home folder, ready; stopped with all its processes at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "ui.log"
    variables = {**os.environ, "SIGHTLINE_HOME": str(home), "PYTHONPATH": str(ROOT), **environment}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "sightline.cli", "ui", "--port", str(port)],
            cwd=home,
            env=variables,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server(port, log)
        try:
            server.wait("the code location", lambda: _is_loaded(server, process), START_SECONDS)
            yield server
        finally:
            _stop(process)


def _is_loaded(server: Server, process: subprocess.Popen) -> bool:
    assert process.poll() is None, f"the server ended\n{server.log.read_text()[-3000:]}"
    try:
        [entry] = server.ask(LOADED)["workspaceOrError"]["locationEntries"]
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
        return False
    if entry["loadStatus"] != "LOADED":
        return False
    assert entry["locationOrLoadError"]["__typename"] == "RepositoryLocation", server.log.read_text()[-3000:]
    return True


def _stop(process: subprocess.Popen) -> None:
    """End the server's own process group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        try:
            process.wait(30)
            return
        except subprocess.TimeoutExpired:
            continue
