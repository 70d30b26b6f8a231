"""The very processes of the units, each of its own, on PostgreSQL: data come in, checks stand in the database, and
each of them is killed and started again as systemd would.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support import postgres
from tests.support.dagster_server import LOADED, Server
from tests.support.instances import need_postgres, new_database
from tests.support.units import DEPLOY, UNITS, command_of, environment_example
from tests.support.workshop import Workshop, churn_rows, make_workshop

pytestmark = pytest.mark.e2e

DAYS = 6
SECONDS = 420.0
RUNS = "{ runsOrError(limit: 200) { ... on Runs { results { runId status jobName tags { key value } } } } }"


class Site:
    """A home folder, its environment, and the units' processes on it."""

    def __init__(self, made: Workshop, database: postgres.Server, url: str) -> None:
        self.made, self.database, self.home = made, database, made.home
        ports = {name: str(postgres.free_port()) for name in ("CODE", "COLLECTOR", "UI", "DASHBOARD")}
        own = environment_example() | {f"SIGHTLINE_{name}_PORT": port for name, port in ports.items()}
        own |= {"SIGHTLINE_HOME": str(self.home.root), "DAGSTER_HOME": str(self.home.dagster)}
        own |= {"SIGHTLINE_POSTGRES_URL": url.replace("+psycopg2", ""), "SIGHTLINE_SENSOR_SECONDS": "1"}
        own["PATH"] = os.environ["PATH"]
        own["PYTHONPATH"] = str(DEPLOY.parent)
        self.variables, self.ports = own, {name: int(port) for name, port in ports.items()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.log = self.home.root / "units.log"
        self.ui = Server(self.ports["UI"], self.log)

    def start(self, unit: str) -> None:
        with self.log.open("ab") as out:
            self.processes[unit] = subprocess.Popen(
                command_of(unit, self.variables),
                cwd=self.home.root,
                env=self.variables,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, unit: str) -> None:
        """As a machine does that has no memory left: with the processes it has started, like systemd."""
        os.killpg(self.processes[unit].pid, signal.SIGKILL)
        self.processes[unit].wait(30)

    def wait(self, what: str, probe: Callable[[], Any]) -> Any:
        """Poll; what has ended is started again, as Restart=on-failure does."""
        deadline = time.monotonic() + SECONDS
        while not (found := self._try(probe)):
            for unit, process in self.processes.items():
                if process.poll() not in (None, 0):
                    self.start(unit)
            assert time.monotonic() < deadline, f"{what}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.5)
        return found

    @staticmethod
    def _try(probe: Callable[[], Any]) -> Any:
        try:
            return probe()
        except (urllib.error.URLError, ConnectionError, TimeoutError, AssertionError, ValueError, KeyError):
            return None

    def is_loaded(self) -> bool:
        [entry] = self.ui.ask(LOADED)["workspaceOrError"]["locationEntries"]
        return entry["loadStatus"] == "LOADED" and entry["locationOrLoadError"]["__typename"] == "RepositoryLocation"

    def finished(self) -> set[str]:
        """Runs that have succeeded."""
        runs = self.ui.ask(RUNS)["runsOrError"]["results"]
        return {run["runId"] for run in runs if run["status"] == "SUCCESS"}

    def one(self, query: str) -> Any:
        connection = self.database.connect(database="team")
        with connection.cursor() as cursor:
            cursor.execute(query)
            found = cursor.fetchone()
        connection.close()
        return found[0]

    def rows_loaded(self) -> int:
        """Rows of predictions in the lake."""
        files = list(self.home.monitor("churn").lake.glob("inferences/window=*/*.parquet"))
        return sum(pl.scan_parquet(file).select(pl.len()).collect().item() for file in files)

    def wait_for_rows(self, n: int, what: str) -> None:
        """Until so many rows are in the lake, by a run that has succeeded, and nothing is under way."""
        under_way = "SELECT count(*) FROM runs WHERE status IN ('QUEUED', 'STARTING', 'STARTED')"
        self.wait(what, lambda: self.rows_loaded() == n and self.finished() and not self.one(under_way))

    def send(self, ids: str, n: int) -> None:
        """Predictions of the newest closed day, by the collector."""
        at = (self.made.churn.first_window + timedelta(days=DAYS - 1, hours=3)).isoformat()
        row = {"at": at, "p": 0.4, "version": "v1", "user": "u", "status": "ok", "ms": 9.0, "age": 40.0}
        rows = [row | {"id": f"{ids}-{i}", "plan": "basic", "active": True} for i in range(n)]
        body = json.dumps(rows).encode()
        url = f"http://127.0.0.1:{self.ports['COLLECTOR']}/v1/monitors/churn/inferences"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["accepted"] == n


@pytest.fixture
def site() -> Iterator[Site]:
    need_postgres()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres.server(folder) as database:
            made = make_workshop(folder / "home", days=DAYS)
            (made.home.monitors / "price.yaml").unlink()
            made.home.dagster.mkdir()
            for file in ("dagster.yaml", "workspace.yaml"):
                shutil.copyfile(DEPLOY / file, made.home.dagster / file)
            site = Site(made, database, new_database(database, "team"))
            try:
                yield site
            finally:
                for unit, process in site.processes.items():
                    if process.poll() is None:
                        site.kill(unit)


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def test_checks_of_what_came_in_stand_in_the_database_whoever_is_killed(site):
    for unit in UNITS:
        site.start(unit)
    site.wait("the code location", site.is_loaded)
    n = len(churn_rows(site.made.churn.first_window, DAYS)[0])
    site.wait_for_rows(n, "the history")
    judged = "SELECT count(*) FROM asset_check_executions WHERE execution_status IN ('SUCCEEDED', 'FAILED')"
    partitions = "SELECT count(DISTINCT partition) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
    assert site.one(judged) > 0
    assert site.one(partitions) >= DAYS
    assert listens(site.ports["DASHBOARD"])

    for number, unit in enumerate(("code", "daemon", "webserver", "collector"), start=1):
        site.kill(unit)
        site.wait(f"{unit} again", lambda: site.is_loaded() and listens(site.ports["COLLECTOR"]))
        site.send(unit, 50)
        site.wait_for_rows(n + 50 * number, f"what came after {unit} was killed")

    n += 4 * 50 + 2 * 50
    site.send("database", 50)
    running = "SELECT count(*) FROM runs WHERE status = 'STARTED'"
    site.wait("a run", lambda: site.one(running) or site.rows_loaded() == n - 50)
    site.database.stop("immediate")
    site.send("while it was away", 50)  # the collector does not need the database
    site.database.start()
    site.wait_for_rows(n, "what came while the database was away")
    words = site.log.read_text()
    assert postgres.PASSWORD not in words
    assert site.variables["SIGHTLINE_POSTGRES_URL"] not in words
