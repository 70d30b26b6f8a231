"""What was fetched from where, and how far: files and a manifest (SQLite) below ``data/<monitor>/fetched/``.

A fetched file and the cursor behind it become true in one transaction. The file is written, synced and renamed before
it, so a process killed at any moment leaves a file nobody counts, which the next fetch removes, or both.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.durable import naming, sync_folder
from sightline.errors import SightlineError
from sightline.home import MonitorPaths

SCHEMA = """
CREATE TABLE IF NOT EXISTS sources(
    source TEXT PRIMARY KEY, side TEXT NOT NULL, place TEXT NOT NULL, state TEXT NOT NULL, counts TEXT NOT NULL,
    fetched_at TEXT, answered_at TEXT, problem TEXT, failing_since TEXT);
CREATE TABLE IF NOT EXISTS files(
    number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, origin TEXT NOT NULL, signature TEXT NOT NULL,
    format TEXT NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, received_at TEXT NOT NULL, note TEXT NOT NULL,
    fetched_at TEXT NOT NULL, is_ready INTEGER NOT NULL DEFAULT 0, is_gone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS files_of_source ON files(source, origin);
"""


@dataclass(frozen=True)
class FetchedFile:
    """One file of the spool.

    Attributes
    ----------
    origin : str
        Where it came from, without credentials: ``s3://bucket/key``, ``postgres://host:5432/db/table#000001``.
    signature : str
        Size, and what tells this state of the origin from others.
    format : str
        ``parquet``, ``csv``, ``ndjson`` or ``unsupported``.
    file : str
        Relative to the monitor's folder.
    size : int
        Bytes.
    received_at : datetime
        When it was fetched; of objects of a store when they were written (UTC, aware).
    note : dict
        What the reader wants to know of it later.
    """

    origin: str
    signature: str
    format: str
    file: str
    size: int
    received_at: datetime
    note: dict[str, Any]


@dataclass(frozen=True)
class SourceState:
    """How far a source was fetched, and how it is.

    Attributes
    ----------
    source : str
        Its id: a hash of what it names.
    side : str
        ``inferences`` or ``labels``.
    place : str
        Where it is, without credentials.
    state : dict
        The reader's cursor.
    counts : dict of str to int
        What was counted over all fetches: ``rows``, ``files`` and the reader's own words.
    fetched_at, answered_at : str or None
        Last time something came, and last time the source answered without an error (ISO 8601, UTC).
    problem : dict or None
        Why it cannot be read: ``what``, ``where``, ``fix``.
    failing_since : str or None
        Since when.
    """

    source: str
    side: str
    place: str
    state: dict[str, Any]
    counts: dict[str, int]
    fetched_at: str | None = None
    answered_at: str | None = None
    problem: dict[str, str] | None = None
    failing_since: str | None = None

    @property
    def error(self) -> SightlineError | None:
        """The problem as an error."""
        told = self.problem
        return SightlineError(told["what"], where=told["where"], fix=told["fix"]) if told else None


class Spool:
    """Files and manifest of one monitor; open it with `open_spool`."""

    def __init__(self, con: sqlite3.Connection, paths: MonitorPaths) -> None:
        self.con, self.paths = con, paths

    def states(self, side: str | None = None) -> list[SourceState]:
        """All sources that were ever looked at, of one side or both."""
        names = "source, side, place, state, counts, fetched_at, answered_at, problem, failing_since"
        sql = f"SELECT {names} FROM sources WHERE ? IS NULL OR side = ? ORDER BY rowid"  # noqa: S608 (our own words)
        return [
            SourceState(
                row[0], row[1], row[2], json.loads(row[3]), json.loads(row[4]), row[5], row[6], _loaded(row[7]), row[8]
            )
            for row in self.con.execute(sql, [side, side])
        ]

    def state(self, source: str) -> SourceState | None:
        """How a source is; None if it was never looked at."""
        return next((found for found in self.states() if found.source == source), None)

    def files(self, source: str) -> list[FetchedFile]:
        """The newest state of everything that may be loaded of a source, in the order in which it came."""
        sql = """SELECT origin, signature, format, file, size, received_at, note FROM files AS f
                 WHERE source = ? AND is_ready AND number = (SELECT max(number) FROM files AS g
                 WHERE g.source = f.source AND g.origin = f.origin AND g.is_ready) ORDER BY number"""
        return [
            FetchedFile(origin, signature, form, file, size, datetime.fromisoformat(moment), json.loads(note))
            for origin, signature, form, file, size, moment, note in self.con.execute(sql, [source])
        ]

    def signatures(self, source: str) -> dict[str, str]:
        """Origin -> signature of the newest state of everything fetched."""
        return dict(self.con.execute("SELECT origin, signature FROM files WHERE source = ? ORDER BY number", [source]))

    def next_number(self) -> int:
        """A number no file has had."""
        row = self.con.execute("SELECT seq FROM sqlite_sequence WHERE name = 'files'").fetchone()
        return (row[0] if row else 0) + 1

    def commit(
        self,
        source: str,
        files: Sequence[FetchedFile],
        state: Mapping[str, Any],
        counts: Mapping[str, int],
        now: datetime,
    ) -> None:
        """Count some files and move the cursor behind them: all or nothing, durable on return.

        Parameters
        ----------
        source : str
        files : sequence of FetchedFile
            They lie in their places and are synced.
        state : mapping
            The cursor behind them.
        counts : mapping of str to int
            Added to those of before.
        now : datetime
            Aware.
        """
        with self._transaction():
            known = self.state(source)
            total = dict(known.counts) if known else {}
            for name, n in counts.items():
                total[name] = total.get(name, 0) + n
            for file in files:
                self.con.execute(
                    "INSERT INTO files(source, origin, signature, format, file, size, received_at, note, fetched_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        *(source, file.origin, file.signature, file.format, file.file, file.size),
                        *(_text(file.received_at), json.dumps(file.note), _text(now)),
                    ],
                )
            self.con.execute(
                "UPDATE sources SET state = ?, counts = ?, fetched_at = coalesce(?, fetched_at) WHERE source = ?",
                [json.dumps(state), json.dumps(total), _text(now) if files else None, source],
            )

    def begin(self, source: str, side: str, place: str) -> SourceState:
        """Make a source known; its state as it is."""
        with self._transaction():
            sql = "INSERT OR IGNORE INTO sources(source, side, place, state, counts) VALUES (?, ?, ?, '{}', '{}')"
            self.con.execute(sql, [source, side, place])
        found = self.state(source)
        assert found is not None
        return found

    def answered(self, source: str, now: datetime) -> None:
        """The source was read to where it is, or as far as one look reads: it has no problem."""
        with self._transaction():
            sql = "UPDATE sources SET answered_at = ?, problem = NULL, failing_since = NULL WHERE source = ?"
            self.con.execute(sql, [_text(now), source])

    def failed(self, source: str, side: str, place: str, problem: SightlineError, now: datetime) -> None:
        """Keep why a source cannot be read."""
        told = {"what": problem.what, "where": problem.where or place, "fix": problem.fix or ""}
        with self._transaction():
            sql = "INSERT OR IGNORE INTO sources(source, side, place, state, counts) VALUES (?, ?, ?, '{}', '{}')"
            self.con.execute(sql, [source, side, place])
            sql = "UPDATE sources SET problem = ?, failing_since = coalesce(failing_since, ?) WHERE source = ?"
            self.con.execute(sql, [json.dumps(told), _text(now), source])

    def release(self, source: str, fetched_before: datetime | None = None) -> None:
        """Let what was fetched be loaded: a backlog is loaded as a whole, so that no window is judged by half of it.

        Parameters
        ----------
        source : str
        fetched_before : datetime, optional
            Only if the first of what waits was fetched before this moment.
        """
        sql = "SELECT min(fetched_at) FROM files WHERE source = ? AND NOT is_ready"
        first = self.con.execute(sql, [source]).fetchone()[0]
        if first is None or (fetched_before is not None and first >= _text(fetched_before)):
            return
        with self._transaction():
            self.con.execute("UPDATE files SET is_ready = 1 WHERE source = ? AND NOT is_ready", [source])

    def n_held(self, source: str) -> int:
        """Files of a backlog that is still being fetched."""
        return self.con.execute("SELECT count(*) FROM files WHERE source = ? AND NOT is_ready", [source]).fetchone()[0]

    def restart(self, source: str) -> None:
        """Forget the cursor: everything is fetched once more, and what is loaded already counts as known."""
        with self._transaction():
            sql = "UPDATE sources SET state = '{}', problem = NULL, failing_since = NULL WHERE source = ?"
            self.con.execute(sql, [source])

    def present(self, source: str, origins: Collection[str]) -> None:
        """Note which origins of a source are there still, of a kind whose origins can be taken away."""
        with self._transaction():
            sql = """UPDATE files SET is_gone = origin NOT IN (SELECT value FROM json_each(?)) WHERE source = ?
                     AND is_gone <> (origin NOT IN (SELECT value FROM json_each(?)))"""
            listed = json.dumps(list(origins))
            self.con.execute(sql, [listed, source, listed])

    def remove_orphans(self, source: str) -> None:
        """Remove what a killed fetch left behind, and states of an origin that newer ones replaced."""
        folder = self.folder(source)
        if not folder.is_dir():
            return
        sql = "SELECT file FROM files WHERE source = ? AND NOT is_ready"
        held = [file for (file,) in self.con.execute(sql, [source])]
        kept = {Path(file).name for file in (*held, *(file.file for file in self.files(source)))}
        for file in folder.iterdir():
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def folder(self, source: str) -> Path:
        """Where the files of a source lie."""
        return self.paths.fetched / source

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self.con.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.con.execute("COMMIT")
        except BaseException:
            if self.con.in_transaction:
                self.con.execute("ROLLBACK")
            raise


@contextmanager
def open_spool(paths: MonitorPaths, *, create: bool = True) -> Generator[Spool]:
    """Open a monitor's manifest.

    Parameters
    ----------
    paths : MonitorPaths
    create : bool
        Make it when it is absent; otherwise an empty one in memory stands for it.

    Yields
    ------
    Spool

    Raises
    ------
    SightlineError
        The file is no SQLite database, or its disk takes nothing.
    """
    file = paths.fetched / "manifest.sqlite"
    if create:
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        con = sqlite3.connect(file if create or file.exists() else ":memory:", timeout=30, isolation_level=None)
        try:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute("PRAGMA synchronous = FULL")
            if con.execute("SELECT count(*) FROM sqlite_master WHERE name = 'files'").fetchone()[0] == 0:
                con.executescript(f"BEGIN;{SCHEMA}COMMIT;")
            yield Spool(con, paths)
        finally:
            con.close()
    except sqlite3.DatabaseError as error:
        fix = (
            "restore it from a backup, or remove it together with the files beside it: everything is then fetched once "
            "more, and what is loaded already counts as known"
        )
        raise SightlineError(
            f"the manifest of fetched files cannot be used: {error}", where=str(file), fix=fix
        ) from error


def still_there(data: Path, origin: str) -> bool:
    """Whether an origin is known to some monitor's manifest, and was there when its source was last looked at.

    Parameters
    ----------
    data : Path
        Folder of the monitors' folders.
    origin : str
        As of `FetchedFile`.
    """
    for manifest in data.glob("*/fetched/manifest.sqlite"):
        with open_spool(MonitorPaths(manifest.parent.parent), create=False) as spool:
            sql = "SELECT 1 FROM files WHERE origin = ? AND is_gone = 0"
            if spool.con.execute(sql, [origin]).fetchone():
                return True
    return False


def put(spool: Spool, source: str, name: str, write: Callable[[Path], object]) -> tuple[Path, int] | None:
    """Write one file of a source under a name of its own, synced and renamed: no cursor knows it yet.

    Parameters
    ----------
    spool : Spool
    source : str
    name : str
        End of its name: the format is told by it.
    write : callable
        Writes the content to the path it is given, or returns False.

    Returns
    -------
    tuple or None
        The file, and its bytes; None if there was nothing to write.
    """
    folder = spool.folder(source)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}"
    beside = folder / f".{name}.tmp"
    if write(beside) is False:
        beside.unlink(missing_ok=True)
        return None
    with naming(beside):
        with beside.open("rb+") as handle:
            os.fsync(handle.fileno())
        beside.replace(target)
    sync_folder(folder)
    return target, target.stat().st_size


def _loaded(text: str | None) -> dict[str, str] | None:
    return json.loads(text) if text else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
