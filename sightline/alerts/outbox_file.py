"""The file of the outbox: its tables, transactions, and what may be looked at."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, Self, cast

from sightline.alerts.changes import Change
from sightline.errors import SightlineError
from sightline.home import Home

SCHEMA = """
CREATE TABLE changes (
    id TEXT PRIMARY KEY, monitor TEXT NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL, added_at REAL NOT NULL,
    is_routed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX unrouted ON changes (is_routed) WHERE is_routed = 0;
CREATE TABLE known (id TEXT PRIMARY KEY, monitor TEXT NOT NULL, told_by TEXT NOT NULL) STRICT;
CREATE INDEX known_monitor ON known (monitor);
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, change_id TEXT NOT NULL REFERENCES changes (id), channel TEXT NOT NULL,
    line TEXT, state TEXT NOT NULL, due_at REAL NOT NULL, held_for TEXT, message TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, tried_at REAL, owner TEXT, lease_until REAL, sent_at REAL,
    error TEXT, UNIQUE (change_id, channel)
) STRICT;
CREATE INDEX waiting ON deliveries (channel, state, due_at);
CREATE INDEX together ON deliveries (message) WHERE message IS NOT NULL;
CREATE INDEX in_line ON deliveries (channel, line, seq) WHERE state IN ('queued', 'failed', 'sending');
CREATE TABLE channels (
    name TEXT PRIMARY KEY, failures INTEGER NOT NULL, since REAL NOT NULL, open_at REAL NOT NULL
) STRICT;
CREATE TABLE cursors (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
STATES = ("queued", "held", "sending", "failed", "sent", "dead")


class OutboxFile:
    """The outbox of a home as a file; use it as a context, in one thread.

    Parameters
    ----------
    home : Home

    Raises
    ------
    SightlineError
        The file cannot be opened, or is no database.
    """

    def __init__(self, home: Home) -> None:
        self.file = home.data / "alerts" / "outbox.db"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._told():
            self._db = sqlite3.connect(self.file, timeout=30, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in filter(str.strip, SCHEMA.split(";")):
                        self._db.execute(statement)
                    self._db.execute("PRAGMA user_version = 1")
        if version > 1:
            self._db.close()
            fix = "use the release that wrote it, or a newer one"
            raise SightlineError("the outbox was written by a newer Sightline", where=str(self.file), fix=fix)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            fix = "see whether the disk is full or the file damaged; moved away, what is open is told anew"
            raise SightlineError(f"the outbox cannot be used: {error}", where=str(self.file), fix=fix) from error

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._told():
            return self._db.execute(query, values).fetchall()

    def counts(self) -> dict[str, int]:
        """Number of deliveries per state, and ``unrouted`` changes."""
        found = {row[0]: row[1] for row in self._rows("SELECT state, count(*) FROM deliveries GROUP BY 1")}
        unrouted = self._rows("SELECT count(*) FROM changes WHERE is_routed = 0")[0][0]
        return {"unrouted": unrouted, **{state: found.get(state, 0) for state in STATES}}

    def listed(
        self, *, states: Sequence[str] = (), channel: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Deliveries, newest first, with what their change says."""
        rows = self._rows(
            "SELECT channel, state, attempts, due_at, tried_at, sent_at, error, held_for, message, content, added_at"
            " FROM deliveries JOIN changes ON change_id = id WHERE (? OR state IN (SELECT value FROM json_each(?))) AND"
            " (? OR channel = ?) ORDER BY seq DESC LIMIT ?",
            *(not states, json.dumps(list(states)), channel is None, channel, limit),
        )
        return [_listed(row) for row in rows]

    def resting(self, now: float) -> dict[str, float]:
        """Channels that are down -> when they are tried again (seconds since 1970)."""
        return {row[0]: row[1] for row in self._rows("SELECT name, open_at FROM channels WHERE open_at > ?", now)}


_TOLD = ("channel", "state", "attempts", "due_at", "tried_at", "sent_at", "error", "held_for")


def _listed(row: sqlite3.Row) -> dict[str, Any]:
    change = unpacked(row["content"])
    told = {name: row[name] for name in _TOLD}
    return {
        "change": change.id,
        "monitor": change.monitor,
        "incident": change.incident,
        "kind": change.kind,
        "severity": change.severity,
        "what": change.facts.get("what", ""),
        "added_at": row["added_at"],
        **told,
        "message": row["message"],
    }


def as_line(change: Change) -> dict[str, Any]:
    """A change as an object of JSON, for files and programs."""
    told = {name: value for name, value in asdict(change).items() if name not in ("covers", "to")}
    return {**told, "at": change.at.isoformat(), "assets": list(change.assets)}


def packed(change: Change) -> str:
    """A change as JSON; numbers that JSON lacks and lone surrogates do not get in."""
    return json.dumps({**asdict(change), "at": change.at.isoformat()}, default=str)


def unpacked(text: str) -> Change:
    """Inverse of `packed`."""
    data = cast("dict[str, Any]", json.loads(text))
    for name in ("assets", "covers", "to"):
        data[name] = tuple(data[name])
    data["at"] = datetime.fromisoformat(data["at"])
    return Change(**data)
