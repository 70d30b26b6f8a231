"""Where data comes from: each source is a list of batches.

Landing folders, sealed log segments, Parquet globs, DuckDB tables, and what was fetched from elsewhere.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from metrics_py.comparison.folders import fixed_part, is_hidden
from metrics_py.comparison.text_files import FORMATS, format_of
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.fetch.run import named
from sightline.lake.fetch.spool import open_spool, still_there
from sightline.lake.store.ledger import open_ledger
from sightline.log.events import REJECTED
from sightline.log.recovery import recover
from sightline.log.segment import SegmentName, list_sealed
from sightline.spec.data_sections import Source
from sightline.spec.model import MonitorSpec

KINDS = ("inferences", "labels")
UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")
UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Batch:
    """One file, segment or table as it is now.

    Attributes
    ----------
    batch_id : str
        Hash of kind, path and signature: a changed file is another batch.
    kind : str
        ``inferences``, ``labels``, or ``rejected`` (rows the collector refused; loaded with the inferences).
    path : str
        Relative to the home folder where it lies below it; a DuckDB table is ``file.duckdb::table``.
    format : str
        ``parquet, csv, ndjson, segment, duckdb`` or ``unsupported``.
    signature : str
        Size and modification time; sealed segments never change, there the size alone.
    size : int
        Bytes.
    received_at : datetime
        Modification time, for segments the time in their name (UTC, aware).
    flaw : str
        Why it must not even be opened; empty if it may.
    copy : str
        Of what was fetched: the file that holds it, relative to the home folder; `path` says where it came from.
    """

    batch_id: str
    kind: str
    path: str
    format: str
    signature: str
    size: int
    received_at: datetime
    flaw: str = ""
    copy: str = ""

    def file(self, home: Home) -> Path:
        """The file on disk."""
        return home.root / (self.copy or self.path.partition("::")[0])

    @property
    def table(self) -> str:
        """Name of the table in a DuckDB file."""
        return self.path.partition("::")[2]


def path_text(home: Home, file: Path) -> str:
    """A file's path, relative to the home folder where it lies below it; bytes that are no UTF-8 as their numbers."""
    path = file.relative_to(home.root).as_posix() if file.is_relative_to(home.root) else file.as_posix()
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _batch(
    home: Home,
    kind: str,
    file: Path,
    form: str,
    *,
    table: str = "",
    received_at: datetime | None = None,
    flaw: str = "",
) -> Batch | None:
    try:
        found = file.lstat() if flaw else file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        flaw, found = flaw or f"it cannot be opened: {error.strerror}", file.lstat()
    if not flaw and not stat.S_ISREG(found.st_mode):
        flaw = "it is no regular file"
    path = path_text(home, file)
    if not flaw and any("\ud800" <= sign <= "\udfff" for sign in os.fspath(file)):
        flaw = "its name is no UTF-8: rename it"
    path = f"{path}::{table}" if table else path
    signature = str(found.st_size) if form == "segment" else f"{found.st_size}:{found.st_mtime_ns}"
    digest = hashlib.md5(f"{kind}\0{path}\0{signature}".encode(), usedforsecurity=False).hexdigest()
    moment = received_at or datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC)
    return Batch(digest, kind, path, UNSUPPORTED if flaw else form, signature, found.st_size, moment, flaw)


def same_now(batch: Batch, home: Home) -> bool:
    """Whether a file is there still as it was when its batch was listed."""
    if batch.copy:
        return batch.file(home).exists()  # never changed, but removed when a newer state has come
    found = _batch(home, batch.kind, batch.file(home), batch.format)
    return found is not None and found.signature == batch.signature


def _landed(home: Home, kind: str, folder: Path) -> Iterator[Batch]:
    """What lies in a landing folder; links that lead out of it, pipes and the like are listed with their flaw."""
    for file in _dropped(folder):
        batch = _batch(home, kind, file, format_of(file.name) or UNSUPPORTED, flaw=_flaw_of_link(folder, file))
        if batch:
            yield batch


def _dropped(folder: Path) -> Iterator[Path]:
    """Files of a landing folder that are not hidden or unfinished, and links to folders."""
    if not folder.is_dir():
        return
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in (*files, *links):
            if not is_hidden(name) and not name.lower().endswith(UNFINISHED):
                yield Path(parent) / name


def _flaw_of_link(folder: Path, file: Path) -> str:
    if not file.is_symlink():
        return ""
    target = Path(os.path.realpath(file))
    if not target.is_relative_to(Path(os.path.realpath(folder))):
        return "it is a link that leads out of the landing folder: move or copy the file itself"
    return "it is a link to a folder" if target.is_dir() else ""


def lies_there(home: Home, path: str) -> bool:
    """Whether the file of a batch's path is still there, or what it was fetched from."""
    if "://" in path:
        return still_there(home.data, path)
    file = home.root / path.partition("::")[0]
    if os.path.lexists(file):
        return True
    folder = next(parent for parent in file.parents if parent.is_dir())
    return "\\x" in path and any(path_text(home, found) == path for found in _dropped(folder))


def _segments(home: Home, paths: MonitorPaths, kind: str) -> Iterator[Batch]:
    for file in list_sealed(paths.log, kind):
        name = SegmentName.parse(file.name)
        batch = _batch(home, kind, file, "segment", received_at=name.stamp if name else None)
        if batch:
            yield batch


def _sourced(home: Home, kind: str, source: Source | None) -> Iterator[Batch]:
    if source is None:
        return
    if source.parquet:
        named = home.root / fixed_part(source.parquet)
        for name in glob.iglob(source.parquet, root_dir=home.root, recursive=True):  # noqa: PTH207 (may be absolute)
            file = home.root / name
            found = file.relative_to(named).parts if file.is_relative_to(named) else (file.name,)
            if file.is_file() and not any(map(is_hidden, found)) and not file.name.lower().endswith(UNFINISHED):
                batch = _batch(home, kind, file, "parquet")
                if batch:
                    yield batch
    if source.duckdb:
        batch = _batch(home, kind, home.root / source.duckdb, "duckdb", table=source.table or "")
        if batch is None:
            raise SightlineError(
                f"there is no DuckDB file {source.duckdb}",
                where=f"sources.{kind}.duckdb",
                fix=f"create it below {home.root}, or mend the path in the monitor's YAML",
            )
        yield batch


def _fetched(home: Home, paths: MonitorPaths, kind: str, source: Source | None) -> Iterator[Batch]:
    """What was fetched from a source; a copy that somebody took away is listed with that flaw."""
    found = named(kind, source)
    if found is None:
        return
    with open_spool(paths, create=False) as spool:
        files = spool.files(found.source)
    for one in files:
        digest = hashlib.md5(f"{kind}\0{one.origin}\0{one.signature}".encode(), usedforsecurity=False).hexdigest()
        copy = paths.root / one.file
        flaw = "" if copy.exists() else f"its copy {one.file} is gone: `sightline sources` tells how to fetch it again"
        if not flaw and one.format == UNSUPPORTED:
            flaw = f"no Parquet, CSV or NDJSON file by its name ({', '.join(sorted(FORMATS))})"
        named_copy = copy.relative_to(home.root).as_posix() if copy.is_relative_to(home.root) else copy.as_posix()
        yield Batch(
            digest, kind, one.origin, one.format, one.signature, one.size, one.received_at, flaw, copy=named_copy
        )


def list_batches(
    spec: MonitorSpec, paths: MonitorPaths, kind: str, home: Home, *, seal_orphans: bool = True
) -> list[Batch]:
    """Everything there is to load, loaded or not, oldest first.

    Parameters
    ----------
    spec : MonitorSpec
        `sources` names data outside the home's landing folders and log.
    paths : MonitorPaths
        Folders of the monitor.
    kind : str
        ``inferences`` or ``labels``.
    home : Home
        Relative paths of `sources` start here.
    seal_orphans : bool
        First seal what killed processes left open (a client that logs without a collector).

    Returns
    -------
    list of Batch
        Sorted by time of receipt, then path. Hidden files and unfinished ones (``.tmp``, ``.part``) are left out.
    """
    if kind not in KINDS:
        raise SightlineError(f"unknown kind of data {kind!r}", fix=f"one of {', '.join(KINDS)}")
    landing = paths.landing_inferences if kind == "inferences" else paths.landing_labels
    source = spec.sources.inferences if kind == "inferences" else spec.sources.labels
    if seal_orphans:
        recover(paths.log)
    found = [*_landed(home, kind, landing), *_segments(home, paths, kind), *_sourced(home, kind, source)]
    found += _fetched(home, paths, kind, source)
    if kind == "inferences":
        found += _segments(home, paths, REJECTED)
    unique = {batch.batch_id: batch for batch in found}
    return sorted(unique.values(), key=lambda batch: (batch.received_at, batch.path))


def mapping_mark(spec: MonitorSpec) -> str:
    """Changes when the spec maps columns differently: refused batches are then tried again."""
    text = spec.columns.model_dump_json() + (spec.labels.model_dump_json() if spec.labels else "")
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def pending(spec: MonitorSpec, paths: MonitorPaths, kind: str, home: Home) -> list[Batch]:
    """Batches to load: not in the ledger, superseded, or refused under another column mapping.

    Parameters and order are those of `list_batches`. A file that could not be read is tried again only when it changes.
    """
    batches = list_batches(spec, paths, kind, home)
    with open_ledger(paths.ledger, create=False) as ledger:
        known = {**ledger.loaded(kind), **(ledger.loaded(REJECTED) if kind == "inferences" else {})}
    return _not_loaded(batches, known, mapping_mark(spec))


def _not_loaded(batches: Sequence[Batch], known: dict[str, tuple[str, str]], mark: str) -> list[Batch]:
    return [
        b
        for b in batches
        if (found := known.get(b.batch_id)) is None
        or found[0] == "superseded"
        or (found[0] == "refused" and found[1] != mark)
    ]
