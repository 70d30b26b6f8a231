"""The monitor's DuckDB file: opened briefly, one writer at a time."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

import duckdb

from sightline.errors import SightlineError
from sightline.home import MonitorPaths

LOCK_PATIENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
SETTINGS = {"TimeZone": "UTC", "preserve_insertion_order": False}


@contextmanager
def connect(
    paths: MonitorPaths, read_only: bool = False, *, patience_s: float = LOCK_PATIENCE_S
) -> Generator[duckdb.DuckDBPyConnection]:
    """Open the warehouse and close it again; keep it open only while using it.

    A process that holds the file for writing shuts every other process out, and a reader shuts out writers: such a lock
    is waited for. In one process, do not nest a read-only and a writing connection (DuckDB refuses it).

    Parameters
    ----------
    paths : MonitorPaths
        `paths.warehouse` is the file; it is created unless `read_only`.
    read_only : bool
        Allow other readers.
    patience_s : float
        Seconds to wait for a lock.

    Yields
    ------
    duckdb.DuckDBPyConnection
        Time zone UTC. ``con.sql(query, params=...).pl()`` gives Polars.

    Raises
    ------
    SightlineError
        The lock was held for longer, the file is damaged, or there is none to read.
    """
    if read_only and not paths.warehouse.exists():
        raise SightlineError(
            "there is no warehouse yet",
            where=str(paths.warehouse),
            fix="make it: `sightline backfill MONITOR`, or materialize the monitor's assets in the UI",
        )
    paths.warehouse.parent.mkdir(parents=True, exist_ok=True)
    con = _open(paths, read_only, patience_s)
    try:
        for name, value in SETTINGS.items():
            con.execute(f"SET {name} = ?", [value])
        yield con
    finally:
        con.close()


def _open(paths: MonitorPaths, read_only: bool, patience_s: float) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + patience_s
    pause = FIRST_PAUSE_S
    while True:
        try:
            return duckdb.connect(str(paths.warehouse), read_only=read_only)
        except (duckdb.IOException, duckdb.ConnectionException) as error:
            text = str(error)
            is_lock = "lock" in text.lower() or "different configuration" in text
            if not is_lock or time.monotonic() > deadline:
                raise SightlineError(
                    f"the warehouse cannot be opened: {text.splitlines()[0]}",
                    where=str(paths.warehouse),
                    fix="close the program that holds it (a notebook, another run), then start again"
                    if is_lock
                    else "restore it, or remove it: it is made again from the lake",
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
