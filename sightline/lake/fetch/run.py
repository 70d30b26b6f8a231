"""Fetch what is new in a source: bounded in rows and time, one process at a time, errors that name place and fix."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

from sightline.durable import exclusive_if_free
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.fetch.reading import Needs, Piece, Reader, scrubbed
from sightline.lake.fetch.spool import FetchedFile, Spool, open_spool, put
from sightline.lake.store.ledger import open_ledger
from sightline.spec.data_sections import Source, remotes
from sightline.spec.source_sections import S3, Delta, Iceberg, Kafka, Postgres, Remote

LOOK_SECONDS = 15.0
"""One look at a source reads on for so long; the rest is for the next one."""
LOOK_ROWS = 1_000_000
GLANCE_SECONDS = 5.0
FAILING_GLANCE_SECONDS = 0.5
"""A sensor waits so long for a look, and for one at a source that could not be read before."""
ANSWER_SECONDS = 40.0
"""A source that is silent for longer does not answer; `SIGHTLINE_SOURCE_SECONDS` changes it."""

SILENT_FIX = "see whether the server is up and reachable, and whether a query on it hangs or lacks an index"
HELD_AT_MOST = timedelta(hours=1)
"""What was fetched of a backlog that does not end is loaded after so long."""

NO_IDENTITY: dict[type[Remote], set[str]] = {
    Postgres: {"password_env", "user", "sslmode", "overlap", "overlap_rows"},
    Delta: {"store"},
    Kafka: {"key", "start", "group", "properties", "properties_env"},
    Iceberg: {"properties_env"},
    S3: {"region", "access_key_env", "secret_key_env", "session_token_env", "anonymous"},
}
"""Keys that may change without the source becoming another one."""


@dataclass(frozen=True)
class Named:
    """A source of one side of a monitor."""

    source: str
    side: str
    key: str
    remote: Remote


@dataclass(frozen=True)
class Fetched:
    """What one look at a source brought.

    Attributes
    ----------
    n_files, n_rows : int
        New files, and their rows where they are known.
    is_done : bool
        Nothing more was there.
    is_busy : bool
        Another process is at it.
    problem : SightlineError or None
        Why it could not be read on.
    """

    n_files: int = 0
    n_rows: int = 0
    is_done: bool = True
    is_busy: bool = False
    problem: SightlineError | None = None


def named(side: str, source: Source | None) -> Named | None:
    """The source of one side that is to be fetched; None if there is none."""
    for key, remote in remotes(source).items() if source else ():
        identity = remote.model_dump(mode="json", exclude=NO_IDENTITY[type(remote)])
        digest = hashlib.sha256(json.dumps([side, key, identity], sort_keys=True).encode()).hexdigest()[:12]
        return Named(f"{side}-{key}-{digest}", side, key, remote)
    return None


def open_reader(found: Named, monitor: str, home: Home, needs: Needs) -> Reader:
    """The reader of a source; its package is imported now.

    Raises
    ------
    SightlineError
        A package or a secret is missing.
    """
    remote = found.remote
    where = f"{monitor}: sources.{found.side}.{found.key}"
    if isinstance(remote, Postgres):
        from sightline.lake.fetch.postgres import PostgresReader

        return PostgresReader(remote, where, needs)
    if isinstance(remote, S3):
        from sightline.lake.fetch.objects import ObjectReader

        return ObjectReader(remote, where)
    if isinstance(remote, Delta):
        from sightline.lake.fetch.delta import DeltaReader

        return DeltaReader(remote, where, home, needs)
    if isinstance(remote, Iceberg):
        from sightline.lake.fetch.iceberg import IcebergReader

        return IcebergReader(remote, where, home, needs)
    from sightline.lake.fetch.kafka import KafkaReader

    return KafkaReader(remote, monitor, where)


@dataclass(frozen=True)
class _Look:
    """A look that goes on in a thread."""

    work: _Work
    thread: threading.Thread
    since: float = field(default_factory=time.monotonic)

    @property
    def waited(self) -> float:
        return time.monotonic() - self.since


_looks: dict[tuple[str, str], _Look] = {}


def fetch(
    found: Named,
    monitor: str,
    paths: MonitorPaths,
    home: Home,
    needs: Needs,
    *,
    waits: bool = True,
    opened: Callable[[], Reader] | None = None,
) -> Fetched:
    """Read a source on from where it stands.

    It is read in a thread of its own: one that does not answer holds nobody up, and what it brings later counts.

    Parameters
    ----------
    found : Named
    monitor : str
        Its id.
    paths, home
        Its folders.
    needs : callable
        As of `open_reader`.
    waits : bool
        Wait for an answer as long as a source may take. Otherwise only for a moment, since sensors are looked at one
        after the other: what comes later is told by the next call.
    opened : callable, optional
        Makes the reader; default `open_reader`.

    Returns
    -------
    Fetched
        Errors of the source are in it, and in the manifest; it raises only what is wrong with the manifest itself.
    """
    where = f"{monitor}: sources.{found.side}.{found.key}"
    key = (str(paths.root), found.source)
    known = _known_problem(paths, found)
    look = _looks.get(key)
    if look is None or not look.thread.is_alive():
        work = _Work(found, paths, where, opened or (lambda: open_reader(found, monitor, home, needs)))
        look = _looks[key] = _Look(work, threading.Thread(target=work.run, name=found.source, daemon=True))
        look.thread.start()
    glance = GLANCE_SECONDS if known is None else FAILING_GLANCE_SECONDS
    look.thread.join(max((_patience() if waits else glance) - look.waited, min(glance, _patience())))
    if not look.thread.is_alive():
        _looks.pop(key, None)
        if look.work.failure is not None:
            raise look.work.failure
        return look.work.done
    waited = look.waited
    if waited < _patience():
        return Fetched(is_done=False, problem=known)
    problem = SightlineError(
        f"no answer for {waited:.0f} s",
        where=where,
        fix=f"{SILENT_FIX}; what it sends later is taken all the same",
    )
    with open_spool(paths) as spool:
        spool.failed(found.source, found.side, where, problem, datetime.now(UTC))
    return Fetched(is_done=False, problem=problem)


def _known_problem(paths: MonitorPaths, found: Named) -> SightlineError | None:
    with open_spool(paths, create=False) as spool:
        state = spool.state(found.source)
    return state.error if state else None


def columns_of(found: Named, reader: Reader, monitor: str) -> dict[str, str]:
    """Columns that a source has now, and their types.

    Raises
    ------
    SightlineError
        It cannot be read, or does not answer.
    """
    where = f"{monitor}: sources.{found.side}.{found.key}"
    done: list[dict[str, str] | SightlineError] = []

    def work() -> None:
        try:
            done.append(reader.columns())
        except SightlineError as error:
            done.append(_without_secrets(error, where, reader))
        except Exception as error:  # as in `fetch`
            done.append(_told(error, where, reader))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_patience())
    if not done:
        raise SightlineError(f"no answer for {_patience():.0f} s", where=f"{where} ({reader.place})", fix=SILENT_FIX)
    if isinstance(done[0], SightlineError):
        raise done[0]
    return done[0]


def _loaded(spool: Spool, found: Named) -> list[Mapping[str, Any]]:
    """Notes of the fetched files up to the first one that the lake's ledger does not list."""
    with open_ledger(spool.paths.ledger, create=False) as ledger:
        sql = "SELECT path FROM batches WHERE kind = ? AND path LIKE '%://%#%'"
        known = {path for (path,) in ledger.con.execute(sql, [found.side])}
    files = takewhile(lambda file: file.origin in known, spool.files(found.source))
    return [file.note for file in files]


def _patience() -> float:
    return float(os.environ.get("SIGHTLINE_SOURCE_SECONDS", ANSWER_SECONDS))


def _without_secrets(error: SightlineError, where: str, reader: Reader | None) -> SightlineError:
    hidden = tuple(reader.secrets) if reader else ()
    return SightlineError(
        scrubbed(error.what, hidden),
        where=scrubbed(error.where or where, hidden),
        fix=scrubbed(error.fix or "", hidden),
    )


def _told(error: Exception, where: str, reader: Reader | None) -> SightlineError:
    """A library's words, without secrets."""
    text = " ".join(scrubbed(f"{type(error).__name__}: {error}", reader.secrets if reader else ()).split())
    fix = "see whether the server is up, the names in the monitor's file are right and its user may read there"
    return SightlineError(text[:600], where=f"{where} ({reader.place})" if reader else where, fix=fix)


class _Work:
    """One look at a source, in a thread."""

    def __init__(
        self,
        found: Named,
        paths: MonitorPaths,
        where: str,
        opened: Callable[[], Reader],
    ) -> None:
        self.found, self.paths, self.where, self.opened = found, paths, where, opened
        self.until = time.monotonic() + LOOK_SECONDS
        self.number = 1
        self.done = Fetched()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Fetch; what is wrong with the source is kept in the manifest."""
        try:
            lock = self.paths.fetched / f".{self.found.source}.lock"
            with exclusive_if_free(lock) as is_held:
                if not is_held:
                    self.done = Fetched(is_done=False, is_busy=True)
                    return
                with open_spool(self.paths) as spool:
                    self._fetch(spool)
        except BaseException as error:  # of the manifest, the disk: told where the look was asked for
            self.failure = error

    def _fetch(self, spool: Spool) -> None:
        found = self.found
        reader: Reader | None = None
        n_files = n_rows = 0
        is_done = True
        problem: SightlineError | None = None
        try:
            reader = self.opened()
            known = spool.begin(found.source, found.side, reader.place)
            spool.remove_orphans(found.source)
            self.number = spool.next_number()
            held: list[FetchedFile] = []
            counts = Counter[str]()
            reader.known = spool.signatures(found.source)
            reader.loaded = _loaded(spool, found)
            pieces = reader.read(known.state)
            try:
                for piece in pieces:
                    counts.update(piece.counts)
                    if piece.write is not None and (file := self._put(spool, piece, piece.write)) is not None:
                        held.append(file)
                        n_files, n_rows = n_files + 1, n_rows + piece.n_rows
                        counts.update({"files": 1, "rows": piece.n_rows})
                    if piece.state is None:
                        continue
                    spool.commit(found.source, held, piece.state, counts, datetime.now(UTC))
                    held, counts = [], Counter[str]()
                    if time.monotonic() > self.until or n_rows >= LOOK_ROWS:
                        is_done = False
                        break
            finally:
                pieces.close()
        except SightlineError as error:
            problem = error
        except OSError as error:
            if error.filename is not None and str(error.filename).startswith(str(self.paths.root)):
                raise
            problem = _told(error, self.where, reader)
        except Exception as error:  # a library's words: the source is to blame, and stops no other
            problem = _told(error, self.where, reader)
        if reader is not None and reader.present is not None:
            spool.present(found.source, reader.present)
        spool.release(found.source, None if is_done and problem is None else datetime.now(UTC) - HELD_AT_MOST)
        if problem is None:
            spool.answered(found.source, datetime.now(UTC))
        else:
            problem = _without_secrets(problem, self.where, reader)
            place = reader.place if reader else self.where
            spool.failed(found.source, found.side, place, problem, datetime.now(UTC))
        self.done = Fetched(n_files, n_rows, is_done and problem is None, problem=problem)

    def _put(self, spool: Spool, piece: Piece, write: Callable[[Path], object]) -> FetchedFile | None:
        token = secrets.token_hex(6)
        tail = re.sub(r"[^A-Za-z0-9._=-]", "_", piece.name)[-80:]
        done = put(spool, self.found.source, f"{token}-{tail}", write)
        if done is None:
            return None
        file, size = done
        origin, unique = piece.origin, piece.signature
        if not unique:
            origin, unique = f"{origin}#{self.number:06d}", token
            self.number += 1
        moment = piece.received_at or datetime.now(UTC)
        relative = Path(file).relative_to(self.paths.root).as_posix()
        told = size if piece.size is None else piece.size
        return FetchedFile(origin, f"{told}:{unique}", piece.format, relative, size, moment, dict(piece.note))
