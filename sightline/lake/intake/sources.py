"""Where data comes from: each source is a list of batches.

Landing folders, sealed log segments, Parquet globs and DuckDB tables.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.store.ledger import open_ledger
from sightline.log.events import REJECTED
from sightline.log.recovery import recover
from sightline.log.segment import SegmentName, list_sealed
from sightline.spec.model import MonitorSpec, Source

KINDS = ("inferences", "labels")
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
COMPRESSIONS = (".gz", ".zst")
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
    """

    batch_id: str
    kind: str
    path: str
    format: str
    signature: str
    size: int
    received_at: datetime

    def file(self, home: Home) -> Path:
        """The file on disk."""
        return home.root / self.path.partition("::")[0]

    @property
    def table(self) -> str:
        """Name of the table in a DuckDB file."""
        return self.path.partition("::")[2]


def _batch(
    home: Home, kind: str, file: Path, form: str, *, table: str = "", received_at: datetime | None = None
) -> Batch | None:
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    path = file.relative_to(home.root).as_posix() if file.is_relative_to(home.root) else file.as_posix()
    path = f"{path}::{table}" if table else path
    signature = str(stat.st_size) if form == "segment" else f"{stat.st_size}:{stat.st_mtime_ns}"
    digest = hashlib.md5(f"{kind}\0{path}\0{signature}".encode(), usedforsecurity=False).hexdigest()
    moment = received_at or datetime.fromtimestamp(stat.st_mtime_ns / 1e9, UTC)
    return Batch(digest, kind, path, form, signature, stat.st_size, moment)


def format_of(name: str) -> str:
    """Format by file name; ``unsupported`` when there is none."""
    lowered = name.lower()
    for suffix in COMPRESSIONS:
        lowered = lowered.removesuffix(suffix)
    form = FORMATS.get(Path(lowered).suffix, UNSUPPORTED)
    return UNSUPPORTED if form == "parquet" and not name.lower().endswith((".parquet", ".pq")) else form


def _landed(home: Home, kind: str, folder: Path) -> Iterator[Batch]:
    if not folder.is_dir():
        return
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in files:
            if name.startswith((".", "_")) or name.lower().endswith(UNFINISHED):
                continue
            batch = _batch(home, kind, Path(parent) / name, format_of(name))
            if batch:
                yield batch


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
        for name in glob.iglob(source.parquet, root_dir=home.root, recursive=True):  # noqa: PTH207 (may be absolute)
            file = home.root / name
            if file.is_file() and not file.name.startswith((".", "_")) and not file.name.lower().endswith(UNFINISHED):
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
