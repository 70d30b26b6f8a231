"""Load files again: what they brought before is superseded, so that a corrected file takes the place of a wrong one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sightline.errors import SightlineError, nearest
from sightline.home import Home, MonitorPaths
from sightline.lake.intake.growing import is_being_written, told
from sightline.lake.intake.holders import file_keys, holders, n_blocked
from sightline.lake.intake.label_revisions import TRIED_THROUGH, WAITING
from sightline.lake.intake.load import Loader, Place
from sightline.lake.intake.orphans import release_orphans
from sightline.lake.intake.report import IntakeReport
from sightline.lake.intake.sources import KINDS, Batch, list_batches
from sightline.lake.store.compaction import compact_touched
from sightline.lake.store.ledger import BatchRow, Ledger, ReloadRow, open_ledger, utc_text
from sightline.lake.store.parts import Staging, lake_lock, recover
from sightline.lake.store.supersede import take_out
from sightline.spec.model import MonitorSpec

SHOWN_FILES = 10
"""So many of a monitor's files are listed where an unknown one was named."""


@dataclass
class ReloadReport:
    """What a reload did.

    Attributes
    ----------
    files : dict of str to IntakeReport
        Kind of data -> what loading its files gave.
    superseded : Counter of (str, str)
        (kind, path of the file that had brought them) -> rows taken out.
    orphaned : int
        Labels whose prediction went; they wait for another one.
    windows : set of str
        Windows that changed.
    holders : list of str
        Other files that were loaded again because they hold rows that the given files no longer hold.
    blocked : int
        Predictions left out because another file brought others under the same ids: `replace` would take them.
    """

    files: dict[str, IntakeReport] = field(default_factory=dict[str, IntakeReport])
    superseded: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    orphaned: int = 0
    windows: set[str] = field(default_factory=set[str])
    holders: list[str] = field(default_factory=list[str])
    blocked: int = 0


def reload(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    files: Sequence[Path],
    *,
    replace: bool = False,
    now: datetime | None = None,
) -> ReloadReport:
    """Load files again in the place of the rows they brought before.

    Parameters
    ----------
    spec, paths, home
        The monitor and its folders.
    files : sequence of Path
        Files that the monitor reads: landed ones, those of its sources, sealed segments.
    replace : bool
        Predictions that other files brought under the same id, version and window are superseded as well.
    now : datetime, optional
        Stamped on the ledger's rows; default the clock.

    Returns
    -------
    ReloadReport
        Superseded rows are kept below ``lake/superseded_*``, what was known of their batches in the ledger's
        ``reloads``. Labels are matched anew to predictions that changed their window. A row that the file no longer
        holds and another loaded file does stays: that file is loaded again as well.

    Raises
    ------
    SightlineError
        The monitor reads no such file, or a file has no row that can be taken: nothing is changed then.
    """
    moment = now or datetime.now(UTC)
    found = _find(spec, paths, home, files)
    unfinished = [batch.path for batches in found.values() for batch in batches if is_being_written(batch, home)]
    if unfinished:
        what, fix = told(unfinished), "load it again when its last line has an end, or has not changed for ten seconds"
        raise SightlineError(what, where=str(home.root), fix=fix)
    report = ReloadReport()
    with lake_lock(paths), open_ledger(paths.ledger) as ledger:
        recover(paths, ledger)
        keys = {batch.batch_id: file_keys(spec, home, batch) for batches in found.values() for batch in batches}
        for kind, batches in found.items():
            loader = Loader(spec, paths, home, ledger, kind, moment)
            held = pl.concat([keys[batch.batch_id] for batch in batches])
            others = held if replace and kind == "inferences" else None
            also = holders(spec, paths, home, loader.staging, kind, batches, held)
            report.holders += [batch.path for batch in also]
            old = ledger.batches(kind, {batch.path for batch in (*batches, *also)})
            loader.places = _places(ledger, kind, old)
            _supersede(loader, old, others, moment, report)
            loader.run([*batches, *also])
            report.files[kind] = loader.report
            if kind == "inferences":
                report.blocked = n_blocked(spec, loader.staging, batches)
            report.windows |= set(loader.report.windows)
            compact_touched(spec, paths, ledger, kind, report.windows)
        if "inferences" in found and spec.labels:
            _match_anew(spec, paths, home, ledger, moment, report)
    return report


def _places(ledger: Ledger, kind: str, old: Sequence[BatchRow]) -> dict[str, Place]:
    """Path -> the first batch that its file ever was: its labels stay older than those that came after it."""
    before = [(row.path, json.loads(row.before)) for row in ledger.reloads() if row.kind == kind]
    known = [(batch.path, batch.seq, batch.received_at) for batch in old]
    known += [(path, int(batch["seq"]), str(batch["received_at"])) for path, batch in before]
    places: dict[str, Place] = {}
    for path, seq, received_at in sorted(known, key=lambda batch: -batch[1]):
        places[path] = Place(seq, datetime.fromisoformat(received_at).astimezone(UTC).replace(tzinfo=None))
    return places


def _find(spec: MonitorSpec, paths: MonitorPaths, home: Home, files: Sequence[Path]) -> dict[str, list[Batch]]:
    """The batches of some files by kind, inferences first."""
    kinds = KINDS if spec.labels else KINDS[:1]
    known = {kind: list_batches(spec, paths, kind, home) for kind in kinds}
    by_file = {batch.file(home).resolve(): (kind, batch) for kind, batches in known.items() for batch in batches}
    found: dict[str, list[Batch]] = {}
    for given in files:
        places = [given, home.root / given, paths.landing_inferences / given, paths.landing_labels / given]
        hits = [by_file[place.resolve()] for place in places if place.resolve() in by_file]
        hits += [found for found in by_file.values() if Path(found[1].path) == given]  # s3://bucket/key
        if not hits:
            names = [batch.path for batches in known.values() for batch in batches]
            fix = (
                nearest(str(given), names, most=SHOWN_FILES)
                if names
                else f"drop it into {paths.landing_inferences} first"
            )
            raise SightlineError(f"{spec.id} reads no file {str(given)!r}", where=str(home.root), fix=fix)
        kind, batch = hits[0]
        if given.is_file() and given.resolve() not in by_file:
            fix = f"copy it over {batch.path} first, or name that one"
            raise SightlineError(
                f"{str(given)!r} is another file than the one that was loaded", where=batch.path, fix=fix
            )
        if batch not in found.setdefault(kind, []):
            found[kind].append(batch)
    return {kind: found[kind] for kind in kinds if kind in found}


def _supersede(
    loader: Loader,
    old: Sequence[BatchRow],
    others: pl.DataFrame | None,
    now: datetime,
    report: ReloadReport,
) -> None:
    """Take out what earlier loads of the files brought, and with `others` the rows of these keys from elsewhere."""
    staging, ledger, kind = loader.staging, loader.ledger, loader.kind
    ids = [batch.batch_id for batch in old]
    is_old = pl.col("batch_id").is_in(ids)
    taken = take_out(staging, kind, is_old)
    if kind == "inferences":
        taken += take_out(staging, "replaced", is_old)
        loader.revisions.forget(take_out(staging, "revisions", is_old))
    for beside in ("quarantine", *WAITING) if kind == "labels" else ("quarantine", "halves"):
        take_out(staging, beside, is_old)
    if others is not None:
        taken += take_out(staging, kind, others) + take_out(staging, "replaced", others)
    counts = Counter[str]()
    for key, rows in taken:
        report.windows |= {key} if key else set()
        counts.update(dict(rows.group_by("batch_id").len().iter_rows()))
    paths = ledger.batch_paths(list(counts))
    for batch_id, n in counts.items():
        report.superseded[kind, paths.get(batch_id, batch_id)] += n
    for batch in old:
        known = ReloadRow(utc_text(now), kind, batch.path, batch.batch_id, counts[batch.batch_id], _told(batch))
        staging.reloads.append(known)
    staging.rematched += [(0, -n, n, batch_id) for batch_id, n in counts.items() if batch_id not in ids]


def _told(batch: BatchRow) -> str:
    return json.dumps(asdict(batch))


def _match_anew(
    spec: MonitorSpec, paths: MonitorPaths, home: Home, ledger: Ledger, now: datetime, report: ReloadReport
) -> None:
    """Let labels whose prediction is gone from their window wait, and match those that wait."""
    staging = Staging(paths, ledger)
    report.orphaned = release_orphans(staging, report.windows)
    staging.meta[TRIED_THROUGH] = 0
    staging.commit()
    loader = Loader(spec, paths, home, ledger, "labels", now)
    loader.run([])
    report.windows |= set(loader.report.windows)
