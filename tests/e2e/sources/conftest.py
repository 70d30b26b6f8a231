"""One server for all tests of a kind of source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server."""
    with TemporaryDirectory(prefix="sightline-pg-") as folder:
        Path(folder).chmod(0o755)
        with postgres.server(Path(folder)) as found:
            yield found
