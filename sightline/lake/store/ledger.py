"""The ledger (SQLite, WAL): which batches are loaded, which lake parts count, and which windows changed.

One transaction per commit is the only point at which loaded data comes to exist: parts are written under hidden
names before it and made visible after it (`sightline.lake.store.parts`), so a process killed at any moment leaves
either all of a batch or nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.errors import CLOSED_FIX, FULL_FIX, SightlineError

SCHEMA = """
CREATE TABLE IF NOT EXISTS batches(
    batch_id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL, path TEXT NOT NULL,
    signature TEXT NOT NULL, format TEXT NOT NULL, mapping TEXT NOT NULL, status TEXT NOT NULL,
    n_rows INTEGER NOT NULL, n_accepted INTEGER NOT NULL, n_duplicate INTEGER NOT NULL, n_rejected INTEGER NOT NULL,
    n_value_issues INTEGER NOT NULL, n_unmatched INTEGER NOT NULL, received_at TEXT NOT NULL, loaded_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS window_changes(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, window_key TEXT NOT NULL, batch_id TEXT NOT NULL,
    n_rows INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS batches_of_path ON batches(path);
CREATE INDEX IF NOT EXISTS window_changes_of_kind ON window_changes(kind, seq);
CREATE TABLE IF NOT EXISTS parts(
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, window_key TEXT, state TEXT NOT NULL, n_rows INTEGER NOT NULL,
    fingerprint TEXT NOT NULL, seq INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS parts_of_window ON parts(kind, window_key);
CREATE INDEX IF NOT EXISTS parts_of_state ON parts(state) WHERE state <> 'live';
CREATE TABLE IF NOT EXISTS schemas(fingerprint TEXT PRIMARY KEY, columns TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reloads(
    number INTEGER PRIMARY KEY AUTOINCREMENT, reloaded_at TEXT NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL,
    batch_id TEXT NOT NULL, n_superseded INTEGER NOT NULL, before TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
SINGLE_LABELS = "CREATE TABLE IF NOT EXISTS single_labels(window_key TEXT PRIMARY KEY, parts TEXT NOT NULL)"
"""Windows in whose parts each prediction has one row of labels: no revision, no retraction. It holds of exactly these
parts, so a window that is not there, or has others now, may have more: so have all windows of older ledgers."""


@dataclass(frozen=True)
class Part:
    """One Parquet file below the monitor's root; ``state`` is staged, live or obsolete."""

    path: str
    kind: str
    window_key: str | None
    n_rows: int
    fingerprint: str
    seq: int
    state: str = "live"


@dataclass(frozen=True)
class BatchRow:
    """What became of one batch: ``n_rows = n_accepted + n_duplicate + n_rejected + n_unmatched``."""

    batch_id: str
    seq: int
    kind: str
    path: str
    signature: str
    format: str
    mapping: str
    status: str
    n_rows: int
    n_accepted: int
    n_duplicate: int
    n_rejected: int
    n_value_issues: int
    n_unmatched: int
    received_at: str
    loaded_at: str


@dataclass(frozen=True)
class ReloadRow:
    """One batch whose rows were superseded: how many of them, and its row in ``batches`` before as JSON."""

    reloaded_at: str
    kind: str
    path: str
    batch_id: str
    n_superseded: int
    before: str


def insert_named(table: str, row: type, verb: str = "INSERT") -> str:
    """SQL that inserts rows of a dataclass by the names of its fields."""
    names = [field.name for field in fields(row)]
    return f"{verb} INTO {table}({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"


def parts_mark(paths: Iterable[str]) -> str:
    """A digest of a set of parts, whatever their order."""
    return hashlib.sha256("\n".join(sorted(paths)).encode()).hexdigest()


class Ledger:
    """Access to the ledger of one monitor; open it with `open_ledger`."""

    def __init__(self, con: sqlite3.Connection, path: Path) -> None:
        self.con, self.path = con, path

    def loaded(self, kind: str) -> dict[str, tuple[str, str]]:
        """Batch id -> (status, mapping) of all batches of a kind."""
        rows = self.con.execute("SELECT batch_id, status, mapping FROM batches WHERE kind = ?", [kind])
        return {batch_id: (status, mapping) for batch_id, status, mapping in rows}

    def batch_paths(self, batch_ids: Sequence[str]) -> dict[str, str]:
        """Batch id -> path of its source."""
        rows = self.con.execute(
            "SELECT batch_id, path FROM batches WHERE batch_id IN (SELECT value FROM json_each(?))",
            [json.dumps(list(batch_ids))],
        )
        return dict(rows)

    def refused(self) -> dict[str, str]:
        """Batch id -> path of the batches that were refused and are the newest of their path."""
        sql = """SELECT batch_id, path FROM batches AS b WHERE status = 'refused' AND NOT EXISTS (
                 SELECT 1 FROM batches AS next WHERE next.path = b.path AND next.kind = b.kind AND next.seq > b.seq)"""
        return dict(self.con.execute(sql))

    def without_news(self, batch_ids: Sequence[str]) -> dict[str, str]:
        """Batch id -> path of those among some loaded batches of files of which no row was accepted or waits."""
        sql = """SELECT batch_id, path FROM batches WHERE batch_id IN (SELECT value FROM json_each(?))
                 AND status = 'loaded' AND format <> 'segment' AND n_accepted = 0 AND n_unmatched = 0"""
        return dict(self.con.execute(sql, [json.dumps(list(batch_ids))]))

    def batches(self, kind: str, paths: Iterable[str] | None = None) -> list[BatchRow]:
        """All batches of a kind in load order; of some paths only."""
        names = ", ".join(field.name for field in fields(BatchRow))
        wanted = "" if paths is None else "AND path IN (SELECT value FROM json_each(?))"
        given = [] if paths is None else [json.dumps(list(paths))]
        sql = f"SELECT {names} FROM batches WHERE kind = ? {wanted} ORDER BY seq"  # noqa: S608 (no text of others)
        return [BatchRow(*row) for row in self.con.execute(sql, [kind, *given])]

    def waiting_since(self, kind: str, moment: datetime) -> list[str]:
        """Ids of the batches that were loaded before a moment (UTC) and of which rows still wait."""
        sql = "SELECT batch_id FROM batches WHERE kind = ? AND n_unmatched > 0 AND loaded_at < ?"
        return [batch_id for (batch_id,) in self.con.execute(sql, [kind, utc_text(moment)])]

    def n_waiting(self, kind: str) -> int:
        """Rows of a kind that wait for their prediction."""
        sql = "SELECT coalesce(sum(n_unmatched), 0) FROM batches WHERE kind = ?"
        return self.con.execute(sql, [kind]).fetchone()[0]

    def reloads(self) -> list[ReloadRow]:
        """What was superseded so far, oldest first."""
        names = ", ".join(field.name for field in fields(ReloadRow))
        return [ReloadRow(*row) for row in self.con.execute(f"SELECT {names} FROM reloads ORDER BY number")]  # noqa: S608

    def next_seq(self) -> int:
        """Number of the next batch."""
        return self.con.execute("SELECT coalesce(max(seq), 0) + 1 FROM batches").fetchone()[0]

    def parts(self, kind: str, keys: Iterable[str] | None = None, after_seq: int | None = None) -> list[Part]:
        """Live parts of a kind, in load order; of some windows or batches after a sequence number only."""
        sql, params = (
            "SELECT path, kind, window_key, n_rows, fingerprint, seq, state FROM parts "
            "WHERE kind = ? AND state = 'live'",
            [kind],
        )
        if keys is not None:
            sql += " AND window_key IN (SELECT value FROM json_each(?))"
            params = [*params, json.dumps(list(keys))]
        if after_seq is not None:
            sql, params = sql + " AND seq > ?", [*params, after_seq]
        return [Part(*row) for row in self.con.execute(sql + " ORDER BY seq, path", params)]

    def newest(self, kind: str) -> int:
        """Sequence number of the newest batch among the live parts of a kind; 0 when there are none."""
        sql = "SELECT coalesce(max(seq), 0) FROM parts WHERE kind = ? AND state = 'live'"
        return self.con.execute(sql, [kind]).fetchone()[0]

    def window_keys(self, kind: str) -> list[str]:
        """Windows that hold data, sorted."""
        sql = (
            "SELECT DISTINCT window_key FROM parts "
            "WHERE kind = ? AND state = 'live' AND window_key IS NOT NULL ORDER BY 1"
        )
        return [key for (key,) in self.con.execute(sql, [kind])]

    def may_repeat_labels(self, keys: Iterable[str]) -> set[str]:
        """Those of some windows in which a prediction may have several rows of labels; none where that is known."""
        sql = "SELECT window_key, path FROM parts WHERE kind = 'labels' AND state <> 'obsolete'"
        paths: dict[str, list[str]] = {}
        known: dict[str, str] = {}
        self.con.execute("BEGIN")
        try:
            for key, path in self.con.execute(sql):
                paths.setdefault(key, []).append(path)
            if self.con.execute("SELECT 1 FROM sqlite_master WHERE name = 'single_labels'").fetchone():
                known = dict(self.con.execute("SELECT window_key, parts FROM single_labels"))
        finally:
            self.con.execute("COMMIT")
        return {key for key in keys if key in paths and known.get(key) != parts_mark(paths[key])}

    def unfinished(self) -> list[Part]:
        """Parts of commits whose renames or deletions a killed process left undone."""
        sql = "SELECT path, kind, window_key, n_rows, fingerprint, seq, state FROM parts WHERE state <> 'live'"
        return [Part(*row) for row in self.con.execute(sql)]

    def schemas(self, kind: str) -> dict[str, dict[str, str]]:
        """Fingerprint -> column types of the live parts of a kind."""
        sql = """SELECT fingerprint, columns FROM schemas
                 WHERE fingerprint IN (SELECT DISTINCT fingerprint FROM parts WHERE kind = ? AND state = 'live')"""
        return {name: json.loads(columns) for name, columns in self.con.execute(sql, [kind])}

    def windows_since(self, kind: str, seq: int) -> tuple[dict[str, int], int]:
        """Windows changed after a position, with their new rows, and the position now.

        It is a cursor for whoever follows along.
        """
        rows = self.con.execute(
            "SELECT window_key, sum(n_rows) FROM window_changes WHERE kind = ? AND seq > ? GROUP BY 1 ORDER BY 1",
            [kind, seq],
        ).fetchall()
        position = self.con.execute("SELECT coalesce(max(seq), 0) FROM window_changes").fetchone()[0]
        return dict(rows), position

    def facts(self) -> dict[str, Any]:
        """What the stored data were made with, by name."""
        return {name: json.loads(value) for name, value in self.con.execute("SELECT name, value FROM facts")}

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Keep some facts."""
        with self.transaction() as con:
            con.executemany(
                "INSERT OR REPLACE INTO facts(name, value) VALUES (?, ?)",
                [(name, json.dumps(value, sort_keys=True)) for name, value in facts.items()],
            )

    def get(self, key: str, default: int = 0) -> int:
        """A stored number; `default` when never set."""
        row = self.con.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
        return row[0] if row else default

    def first_loaded_since(self, moment: datetime) -> int | None:
        """Sequence number of the first batch that was loaded at a moment (UTC) or later; None when there is none."""
        sql = "SELECT min(seq) FROM batches WHERE loaded_at >= ?"
        return self.con.execute(sql, [utc_text(moment)]).fetchone()[0]

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All or nothing, durable on return.

        Raises
        ------
        SightlineError
            The disk takes nothing, the file is damaged, or another process holds the ledger.
        """
        try:
            self.con.execute("BEGIN IMMEDIATE")
            yield self.con
            self.con.execute("COMMIT")
        except BaseException as error:
            if self.con.in_transaction:  # a full disk may have ended it
                self.con.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError) and _is_of_the_file(error):
                raise _told(error, self.path) from error
            raise


@contextmanager
def open_ledger(path: Path, *, create: bool = True) -> Generator[Ledger]:
    """Open a monitor's ledger, creating its tables.

    Parameters
    ----------
    path : Path
        `MonitorPaths.ledger`.
    create : bool
        Make the file when it is absent; otherwise an empty ledger in memory stands for it (readers leave no trace).

    Yields
    ------
    Ledger

    Raises
    ------
    SightlineError
        The file is no SQLite database, or its disk takes nothing.
    """
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        con = sqlite3.connect(path if create or path.exists() else ":memory:", timeout=30, isolation_level=None)
    except sqlite3.DatabaseError as error:
        raise _told(error, path) from error
    try:
        try:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute("PRAGMA synchronous = FULL")
            if con.execute("SELECT count(*) FROM sqlite_master WHERE name = 'facts'").fetchone()[0] == 0:
                con.executescript(f"BEGIN;{SCHEMA}COMMIT;")
        except sqlite3.DatabaseError as error:
            raise _told(error, path) from error
        yield Ledger(con, path)
    finally:
        con.close()


def _is_of_the_file(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is to blame and not the statement: for that nobody is to remove a ledger."""
    kinds = ("CANTOPEN", "READONLY", "PERM", "FULL", "IOERR", "BUSY", "LOCKED", "CORRUPT", "NOTADB")
    return (getattr(error, "sqlite_errorname", "") or "").startswith(tuple(f"SQLITE_{kind}" for kind in kinds))


def _told(error: sqlite3.DatabaseError, path: Path) -> SightlineError:
    """What keeps a ledger from being used; only one that is damaged may be removed."""
    name = getattr(error, "sqlite_errorname", "") or ""
    fix = (
        "restore it from a backup, or remove it together with lake/ and quarantine/ beside it: "
        "everything is then loaded again"
    )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return SightlineError(f"the ledger cannot be opened for writing ({error})", where=str(path), fix=CLOSED_FIX)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return SightlineError(f"the ledger cannot be written ({error})", where=str(path), fix=FULL_FIX)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        fix = "another process holds it: wait for that one, then run this again"
        return SightlineError(f"the ledger is in use ({error})", where=str(path), fix=fix)
    return SightlineError(f"the ledger cannot be read ({error})", where=str(path), fix=fix)


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC, for the ledger's text columns."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")
