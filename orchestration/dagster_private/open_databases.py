"""SQLite files whose connection stays open, for an event log that opens them hundreds of times a run.

Dagster's SQLite event log makes an engine for every look and every event: it compiles each statement anew, and closing
the last connection copies the write-ahead log back and deletes it. One window of one monitor opens 800 of them, for 1
of its 10 CPU seconds and a third of its time. Held by tests/orchestration/dagster_private/test_open_databases.py.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import StaticPool

MAX_OPEN = 4
"""Files kept open: a run has two, its own log and the index; a web server looks into those of many runs."""


class OpenDatabases:
    """Engines by file, each with one connection; whoever uses one must keep others from it meanwhile."""

    def __init__(self) -> None:
        self._engines: OrderedDict[str, tuple[int, Engine]] = OrderedDict()

    def engine(self, path: str) -> Engine:
        """The engine of a file, which exists; a new one where another file has taken its place.

        Parameters
        ----------
        path : str
            An absolute path.
        """
        inode = Path(path).stat().st_ino
        known = self._engines.pop(path, None)
        if known is not None and known[0] != inode:
            known[1].dispose()
            known = None
        self._engines[path] = known or (inode, _new_engine(path))
        while len(self._engines) > MAX_OPEN:
            self._engines.popitem(last=False)[1][1].dispose()
        return self._engines[path][1]

    def close(self) -> None:
        """Close all of them."""
        while self._engines:
            self._engines.popitem()[1][1].dispose()


def _new_engine(path: str) -> Engine:
    arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    engine = create_engine(f"sqlite:///{path}", poolclass=StaticPool, connect_args=arguments)
    event.listen(engine, "connect", _write_back_seldom)
    return engine


def _write_back_seldom(connection: Any, _: object) -> None:
    """No flush to the disk at each commit: a power failure can lose the last events, and never breaks the file."""
    connection.execute("PRAGMA synchronous = NORMAL")
