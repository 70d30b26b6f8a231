"""Dagster instances on each of the storages that Sightline has to work with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest

from tests.support import postgres

STORAGES = ("plain_sqlite", "batched_sqlite", "plain_postgres", "batched_postgres")
PG_URL = "SIGHTLINE_PG_URL"
SETTINGS = {
    "plain_sqlite": "",
    "batched_sqlite": """\
event_log_storage:
  module: orchestration.dagster_private.event_storage
  class: BatchedSqliteEventLogStorage
  config: {}
""",
    "plain_postgres": f"""\
storage:
  postgres:
    postgres_url: {{env: {PG_URL}}}
""",
    "batched_postgres": f"""\
storage:
  custom:
    module: orchestration.dagster_private.batched_postgres
    class: BatchedPostgresStorage
    config:
      postgres_url: {{env: {PG_URL}}}
""",
}
"""Storage -> what ``dagster.yaml`` says of it."""


def need_postgres() -> None:
    """Skip only where Debian's PostgreSQL is not installed."""
    if not postgres.BIN.is_dir():
        pytest.skip(f"needs {postgres.BIN}: apt-get install postgresql-15")


def new_database(server: postgres.Server, name: str) -> str:
    """An empty database; its URL."""
    server.execute(f'DROP DATABASE IF EXISTS "{name}"', f'CREATE DATABASE "{name}"')
    return url_of(server, name)


def url_of(server: postgres.Server, name: str, password: str = postgres.PASSWORD) -> str:
    """URL of a database; dagster-postgres brings psycopg2, and SQLAlchemy would look for its successor."""
    return f"postgresql+psycopg2://owner:{quote(password, safe='')}@127.0.0.1:{server.port}/{name}"


def write_settings(folder: Path, storage: str) -> None:
    """A ``dagster.yaml`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{SETTINGS[storage]}")


@contextmanager
def instance_on(storage: str, folder: Path, url: str = "") -> Iterator[dg.DagsterInstance]:
    """The instance of a folder whose ``dagster.yaml`` names a storage, as a process of its own would open it."""
    write_settings(folder, storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_EVENT_BATCH_SIZE", "")  # so that it is taken back in any case
        patch.delenv("DAGSTER_EVENT_BATCH_SIZE")
        patch.setenv("DAGSTER_HOME", os.fspath(folder))
        patch.setenv(PG_URL, url)
        with dg.DagsterInstance.get() as instance:
            yield instance
