"""A PostgreSQL server of Debian's in a folder of its own, run by a user that is not root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

BIN = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "Ge'heim & $ecret/42"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Server:
    """A running server; `owner` may do everything, `reader` reads what it is granted."""

    folder: Path
    port: int

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        options += " -c max_prepared_transactions=5"
        run(self.folder, "pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        run(self.folder, "pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    @property
    def pid(self) -> int:
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def freeze(self, signum: int = signal.SIGSTOP) -> None:
        """Stop the postmaster, so that connections are taken but never answered; SIGCONT lets it go on."""
        os.kill(self.pid, signum)

    def connect(self, user: str = "owner", database: str = "postgres") -> Any:
        return psycopg2.connect(host="127.0.0.1", port=self.port, user=user, password=PASSWORD, dbname=database)

    def execute(self, *statements: str) -> None:
        connection = self.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.close()


def run(folder: Path, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs as the user that owns the folder."""
    as_user = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*as_user, str(BIN / program), *arguments],
        cwd=folder,
        capture_output=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (folder / "log").read_text() if (folder / "log").exists() else program


@contextmanager
def server(base: Path) -> Iterator[Server]:
    """A server with the users `owner` and `reader`, gone afterwards.

    Parameters
    ----------
    base : Path
        A folder that everybody may enter.
    """
    folder = base / f"pg-{free_port()}"
    folder.mkdir()
    (folder / "password").write_text(PASSWORD)
    if os.getuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")
    run(folder, "initdb", "-D", "data", "-U", "owner", "-A", "scram-sha-256", "--pwfile=password", "-N")
    found = Server(folder, free_port())
    found.start()
    try:
        quoted = PASSWORD.replace("'", "''")
        found.execute(f"CREATE USER reader PASSWORD '{quoted}'")
        yield found
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            found.freeze(signal.SIGCONT)
            found.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(true: Any, seconds: float = 30.0) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
