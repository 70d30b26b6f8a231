"""A standalone cluster of Spark on loopback, from the pip package: a master and workers, each a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

SPARK = Path(pyspark.__file__).parent
START_S = 120.0


@dataclass
class Cluster:
    """Where it is, and its processes."""

    master: str
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def yaml(self) -> str:
        """`sightline.yaml` of a home on this cluster."""
        conf = {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.executor.memory": "700m",
            "spark.executor.cores": "1",
        }
        written = "\n".join(f"    {name}: '{value}'" for name, value in conf.items())
        return f"engine:\n  kind: spark\n  master: {self.master}\n  memory: 1g\n  conf:\n{written}\n"

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker of one core and wait until the master knows it."""
        name = f"worker-{len(self.processes)}"
        process = self.start(
            name, "worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "1g",
            "--webui-port", "0", "--work-dir", str(self.folder / name), self.master,
        )  # fmt: skip
        self.wait_for(name, r"Successfully registered with master")
        self.workers.append(process)
        return process

    def start(self, name: str, program: str, *args: str) -> subprocess.Popen[bytes]:
        """Start one of Spark's daemons; its words go to a file of its name."""
        variables = {
            **os.environ,
            "SPARK_HOME": str(SPARK),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "300m",
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{program}", *args],
                stdout=log, stderr=log, env=variables, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def wait_for(self, name: str, pattern: str) -> re.Match[str]:
        """Wait until a daemon has said it."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if found := re.search(pattern, (self.folder / f"{name}.log").read_text(errors="replace")):
                return found
            assert all(p.poll() is None for p in self.processes), (self.folder / f"{name}.log").read_text()[-2000:]
            time.sleep(0.1)
        raise AssertionError(f"{name} has not said {pattern!r}: {(self.folder / f'{name}.log').read_text()[-2000:]}")


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 a daemon with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@contextmanager
def spark_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A master and workers for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    cluster = Cluster(f"spark://127.0.0.1:{port}", folder)
    try:
        cluster.start("master", "master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        cluster.wait_for("master", r"New state: ALIVE")
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        for process in cluster.processes:
            kill(process)
