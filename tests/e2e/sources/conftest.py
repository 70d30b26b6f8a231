"""One server for all tests of a kind of source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import kafka, object_store, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with TemporaryDirectory(prefix="sightline-pg-") as folder:
        Path(folder).chmod(0o755)
        with postgres.server(Path(folder)) as found:
            yield found


@pytest.fixture(scope="session")
def _store() -> Iterator[object_store.Store]:
    with object_store.running() as found:
        yield found


@pytest.fixture
def store(_store: object_store.Store, monkeypatch: pytest.MonkeyPatch) -> object_store.Store:
    """An S3-compatible store, and its keys in the environment."""
    monkeypatch.setenv("STORE_KEY", object_store.ACCESS)
    monkeypatch.setenv("STORE_SECRET", object_store.SECRET)
    return _store


@pytest.fixture(scope="session")
def broker() -> Iterator[kafka.Broker]:
    """A Kafka broker."""
    with kafka.running() as found:
        yield found
