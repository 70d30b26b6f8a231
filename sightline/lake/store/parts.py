"""Lake files: written hidden, committed by the ledger, then renamed.

What a killed process left behind is finished or removed.

Order of a commit: (1) every part and quarantine file is written as ``.<name>.tmp`` and synced, (2) one ledger
transaction lists them as ``staged`` together with the batches they hold and the parts they replace, (3) obsolete files
are removed and staged ones renamed. A kill before (2) leaves hidden files that `recover` removes; a kill after it
leaves renames that `recover` finishes.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from sightline.durable import exclusive, exclusive_if_free, naming, sync_folder
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.lake.store.ledger import (
    SINGLE_LABELS,
    BatchRow,
    Ledger,
    Part,
    ReloadRow,
    insert_named,
    open_ledger,
    parts_mark,
)
from sightline.lake.store.schema import QUARANTINE_SCHEMA, TIMESTAMP, duckdb_schema, fingerprint, lake_schema
from sightline.spec.model import MonitorSpec

LAKE_LOCK_SECONDS = 60.0


def lake_lock(paths: MonitorPaths) -> AbstractContextManager[None]:
    """Only one process at a time changes a monitor's lake.

    Raises
    ------
    SightlineError
        Another process held the lock for longer than `LAKE_LOCK_SECONDS`.
    """
    return exclusive(_lock_file(paths), LAKE_LOCK_SECONDS)


def _lock_file(paths: MonitorPaths) -> Path:
    return paths.root / ".lake.lock"


def write_synced(frame: pl.DataFrame, file: Path) -> None:
    """Write Parquet and sync it to disk; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with naming(file), file.open("wb") as handle:
        frame.write_parquet(handle, compression="zstd", compression_level=1, statistics=True)
        handle.flush()
        os.fsync(handle.fileno())


def hidden(file: Path) -> Path:
    """The name a file has before its commit; no glob of ``*.parquet`` sees it."""
    return file.with_name(f".{file.name}.tmp")


def _dirty_mark(paths: MonitorPaths) -> Path:
    """Exists while hidden files may lie about, so that a clean start need not search the lake for them."""
    return paths.root / ".lake.dirty"


def recover(paths: MonitorPaths, ledger: Ledger) -> int:
    """Finish the renames and deletions of committed work, remove what was never committed; call under `lake_lock`.

    Returns
    -------
    int
        Number of files renamed or removed.
    """
    repaired = _finish(paths, ledger, ledger.unfinished())
    if _dirty_mark(paths).exists():
        for folder in (paths.lake, paths.quarantine):
            for leftover in folder.rglob(".*.tmp") if folder.exists() else ():
                leftover.unlink()
                repaired += 1
        _dirty_mark(paths).unlink()
    if ledger.next_seq() == 1 and paths.lake.exists() and next(paths.lake.rglob("*.parquet"), None):
        raise SightlineError(
            "the lake holds data but the ledger that lists it is empty",
            where=str(paths.ledger),
            fix="restore the ledger from a backup, or remove lake/ and quarantine/: everything is then loaded again",
        )
    return repaired


def recover_if_needed(paths: MonitorPaths) -> None:
    """Before reading: finish what a killed process left.

    Or wait for the moment in which a living one makes its commit visible.

    Costs one indexed query when there is nothing to do.
    """
    if not paths.ledger.exists():
        return
    deadline = time.monotonic() + LAKE_LOCK_SECONDS
    with open_ledger(paths.ledger) as ledger:
        while ledger.unfinished():
            with exclusive_if_free(_lock_file(paths)) as is_held:
                if is_held:
                    recover(paths, ledger)
                    return
            if time.monotonic() > deadline:
                raise SightlineError("another process does not finish its commit", where=str(paths.root))
            time.sleep(0.02)


def _finish(paths: MonitorPaths, ledger: Ledger, parts: Sequence[Part]) -> int:
    if not parts:
        return 0
    folders: set[Path] = set()
    for part in sorted(parts, key=lambda p: p.state):  # "obsolete" before "staged"
        file = paths.root / part.path
        folders.add(file.parent)
        if part.state == "obsolete":
            file.unlink(missing_ok=True)
        elif hidden(file).exists():
            hidden(file).rename(file)
        elif not file.exists():
            raise SightlineError("a committed lake file is missing", where=str(file), fix="restore it from a backup")
    for folder in folders:
        if folder.exists():
            sync_folder(folder)
    with ledger.transaction() as con:
        con.execute("DELETE FROM parts WHERE state = 'obsolete'")
        con.execute("UPDATE parts SET state = 'live' WHERE state = 'staged'")
    return len(parts)


@dataclass
class Staging:
    """The files and ledger rows of one commit."""

    paths: MonitorPaths
    ledger: Ledger
    parts: list[Part] = field(default_factory=list[Part])
    obsolete: list[Part] = field(default_factory=list[Part])
    batches: list[BatchRow] = field(default_factory=list[BatchRow])
    changes: list[tuple[str, str, str, int]] = field(default_factory=list[tuple[str, str, str, int]])
    rematched: list[tuple[int, int, int, str]] = field(default_factory=list[tuple[int, int, int, str]])
    given_up: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    reloads: list[ReloadRow] = field(default_factory=list[ReloadRow])
    meta: dict[str, int] = field(default_factory=dict[str, int])
    schemas: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def add(self, kind: str, window_key: str | None, frame: pl.DataFrame, seq: int) -> Part:
        """Write one hidden part (kind inferences, labels, unmatched or quarantine); `seq` is the newest batch in it."""
        columns = duckdb_schema(dict(frame.schema))
        mark = fingerprint(columns)
        if not self.parts:
            _dirty_mark(self.paths).touch()
        folder = self.paths.quarantine if kind == "quarantine" else self.paths.lake / kind
        if window_key is not None:
            folder = folder / f"window={window_key}"
        file = folder / f"{seq:010d}-{secrets.token_hex(4)}-{mark}.parquet"
        write_synced(frame, hidden(file))
        part = Part(file.relative_to(self.paths.root).as_posix(), kind, window_key, len(frame), mark, seq, "staged")
        self.parts.append(part)
        self.schemas[mark] = columns
        return part

    def live(self, kind: str, keys: Iterable[str] | None = None, after_seq: int | None = None) -> list[Part]:
        """Committed and staged parts that are not replaced by this commit."""
        wanted = None if keys is None else set(keys)
        gone = {part.path for part in self.obsolete}
        staged = [p for p in self.parts if p.kind == kind and (wanted is None or p.window_key in wanted)]
        return [p for p in self.ledger.parts(kind, wanted, after_seq) if p.path not in gone] + staged

    def replace(self, part: Part) -> None:
        """Let a part no longer count; one of this very commit is removed."""
        if part.state == "staged":
            self.file(part).unlink()
            self.parts.remove(part)
        else:
            self.obsolete.append(part)

    def file(self, part: Part) -> Path:
        """Where a part's bytes are now."""
        file = self.paths.root / part.path
        return hidden(file) if part.state == "staged" else file

    def abandon(self) -> None:
        """Remove the hidden files of a commit that will not be."""
        for part in self.parts:
            self.file(part).unlink(missing_ok=True)
        _dirty_mark(self.paths).unlink(missing_ok=True)

    def commit(self) -> None:
        """Make everything staged exist, all or nothing."""
        counted = self.rematched or self.given_up or self.reloads
        if not (self.parts or self.obsolete or self.batches or self.meta or counted):
            return
        folders = {(self.paths.root / part.path).parent for part in self.parts}
        for folder in folders | {folder.parent for folder in folders}:
            sync_folder(folder)
        marks = self._single_labels()
        with self.ledger.transaction() as con:
            if marks:
                con.execute(SINGLE_LABELS)
                con.executemany("INSERT OR REPLACE INTO single_labels(window_key, parts) VALUES (?, ?)", marks)
            con.executemany(insert_named("reloads", ReloadRow), [asdict(row) for row in self.reloads])
            con.executemany(
                "UPDATE batches SET status = 'superseded' WHERE batch_id = ?", [(row.batch_id,) for row in self.reloads]
            )
            con.executemany(insert_named("batches", BatchRow, "INSERT OR REPLACE"), [asdict(b) for b in self.batches])
            con.executemany(insert_named("parts", Part), [asdict(part) for part in self.parts])
            con.executemany("UPDATE parts SET state = 'obsolete' WHERE path = ?", [(p.path,) for p in self.obsolete])
            con.executemany(
                "INSERT INTO window_changes(kind, window_key, batch_id, n_rows) VALUES (?,?,?,?)", self.changes
            )
            con.executemany(
                "UPDATE batches SET n_unmatched = n_unmatched - ?, n_accepted = n_accepted + ?, "
                "n_duplicate = n_duplicate + ? WHERE batch_id = ?",
                self.rematched,
            )
            con.executemany(
                "UPDATE batches SET n_unmatched = n_unmatched - ?, n_rejected = n_rejected + ? WHERE batch_id = ?",
                self.given_up,
            )
            con.executemany("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", list(self.meta.items()))
            con.executemany(
                "INSERT OR IGNORE INTO schemas(fingerprint, columns) VALUES (?, ?)",
                [(k, json.dumps(v)) for k, v in self.schemas.items()],
            )
        _finish(self.paths, self.ledger, self.ledger.unfinished())
        _dirty_mark(self.paths).unlink(missing_ok=True)

    def _single_labels(self) -> list[tuple[str, str]]:
        """Of the windows whose labels this commit changes, those with one row a prediction, and a mark of their parts.

        Whoever changes parts does it here, so nobody has to know which deliveries revise a label.
        """
        found: list[tuple[str, str]] = []
        for key in {p.window_key for p in (*self.parts, *self.obsolete) if p.kind == "labels" and p.window_key}:
            parts = self.live("labels", [key])
            if not parts:
                continue
            files = [self.file(part) for part in parts]
            ids = pl.scan_parquet(files, hive_partitioning=False, glob=False).select("prediction_id").collect()
            if ids.to_series().n_unique() == len(ids):
                found.append((key, parts_mark(part.path for part in parts)))
        return found


def scan_parts(files: Sequence[Path], schema: dict[str, pl.DataType]) -> pl.LazyFrame:
    """Parts as one lazy frame in the wanted schema: columns a part lacks are null, its others ignored.

    Values of a part written when a feature had another kind are cast; those that will not go become null.
    """
    current = fingerprint(duckdb_schema(schema))
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(file.name.removeprefix(".").removesuffix(".tmp").removesuffix(".parquet")[-8:], []).append(
            file
        )
    frames: list[pl.LazyFrame] = []
    for mark, members in groups.items():
        frame = pl.scan_parquet(members, hive_partitioning=False, glob=False)
        if mark != current:
            have = pl.read_parquet_schema(members[0])
            frame = frame.select(_as_wanted(name, dtype, have.get(name)) for name, dtype in schema.items())
        frames.append(frame)
    return pl.concat(frames) if frames else pl.LazyFrame(schema=schema)


def _as_wanted(name: str, dtype: pl.DataType, found: pl.DataType | None) -> pl.Expr:
    if found == dtype:
        return pl.col(name)
    castable = found is not None and not found.is_nested() and not dtype.is_nested()
    return pl.col(name).cast(dtype, strict=False) if castable else pl.lit(None, dtype=dtype).alias(name)


def scan_lake(spec: MonitorSpec, paths: MonitorPaths, kind: str, keys: Iterable[str] | None = None) -> pl.LazyFrame:
    """Committed rows of ``inferences``, ``labels`` or ``unmatched`` as a Polars lazy frame.

    Parameters
    ----------
    spec : MonitorSpec
        Decides the columns; parts written before a column existed give null.
    paths : MonitorPaths
        Folders of the monitor.
    kind : str
        ``inferences``, ``labels`` or ``unmatched``.
    keys : iterable of str, optional
        Window keys to read; default all.

    Returns
    -------
    polars.LazyFrame
        Columns of `sightline.lake.store.schema.lake_schema`, timestamps naive UTC.
    """
    recover_if_needed(paths)
    with open_ledger(paths.ledger, create=False) as ledger:
        files = [paths.root / part.path for part in ledger.parts(kind, keys)]
    return scan_parts(files, lake_schema(spec, kind))


def quarantine_frame(rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Quarantine rows, missing keys null."""
    return pl.DataFrame([{name: row.get(name) for name in QUARANTINE_SCHEMA} for row in rows], schema=QUARANTINE_SCHEMA)


def window_starts(times: pl.Expr, spec: MonitorSpec) -> pl.Expr:
    """Start of the window that holds a time (naive UTC); weeks start on Monday, as `MonitorSpec.floor`."""
    return times.dt.truncate({"hourly": "1h", "daily": "1d", "weekly": "1w"}[spec.schedule]).cast(TIMESTAMP)


def window_key_expr(starts: pl.Expr, spec: MonitorSpec) -> pl.Expr:
    """Window key of a window start, as `MonitorSpec.key`."""
    return starts.dt.strftime("%Y-%m-%d-%H" if spec.schedule == "hourly" else "%Y-%m-%d")
