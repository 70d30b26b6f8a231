"""Stored data brought in line with what the monitor's file says now."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from metrics_py.profile.values import read_classes
from sightline.durable import exclusive, sync_folder
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.lake.intake.chunks import UnreadableError
from sightline.lake.intake.label_revisions import TRIED_THROUGH, WAITING
from sightline.lake.intake.orphans import release_orphans
from sightline.lake.intake.read import decoded
from sightline.lake.intake.reload import reload
from sightline.lake.intake.reread import MIGRATED, changed_columns, reread, take_over
from sightline.lake.intake.sources import list_batches
from sightline.lake.store.ledger import Ledger, open_ledger
from sightline.lake.store.parts import Staging, lake_lock, recover
from sightline.lake.store.progress import open_progress
from sightline.lake.store.rewindow import rewindow
from sightline.lake.store.stored_spec import UNFINISHED, Change, changes, keep_facts
from sightline.lake.store.supersede import take_out
from sightline.spec.model import MonitorSpec

CLASSES = ("positive", "negative", "classes")
RELOADED = {
    "columns": ("inferences", "labels"),
    "start": ("inferences",),
    **dict.fromkeys(("labels", "observed_at", *CLASSES), ("labels",)),
}
"""Facts whose change needs the files again, and of which kinds of data."""
SINCE_REFERENCE = ("schedule", "columns", "features", *CLASSES, "silence", "reference", "labels")
"""Facts whose change lets the reference be frozen anew."""


@dataclass
class MigrationReport:
    """What a migration did.

    Attributes
    ----------
    changes : list of Change
        What the file says otherwise.
    repeated : int
        Predictions that share id, version and window with another one since windows are longer.
    gone : int
        Stored rows whose file is gone: what could not be read again stays as it was, converted to its new kind.
    reloaded, kept : list of str
        Files read again as a whole, and those that could not be.
    n_reloaded : Counter of str
        Kind of data -> number of files read again.
    archive : Path or None
        Where results and reference made under the old file lie.
    """

    changes: list[Change] = field(default_factory=list[Change])
    repeated: int = 0
    gone: int = 0
    reloaded: list[str] = field(default_factory=list[str])
    kept: list[str] = field(default_factory=list[str])
    n_reloaded: Counter[str] = field(default_factory=Counter[str])
    archive: Path | None = None


def migrate(spec: MonitorSpec, paths: MonitorPaths, home: Home, *, now: datetime | None = None) -> MigrationReport:
    """File stored data anew, as the monitor's file wants them now.

    Parameters
    ----------
    spec, paths, home
        The monitor.
    now : datetime, optional
        Names the archive; default the clock.

    Returns
    -------
    MigrationReport
        Windows are worked up again by the sensors or the backfill job. Results and reference that were made under the
        old file move to ``archive/<moment>/``.

    Raises
    ------
    SightlineError
        The task changed: that is another monitor.
    """
    moment = now or datetime.now(UTC)
    with lake_lock(paths), open_ledger(paths.ledger) as ledger:
        recover(paths, ledger)
        found = [change for change in changes(spec, paths, ledger) if change.name != UNFINISHED]
        begun: dict[str, Any] | None = ledger.facts().get(UNFINISHED)
        if any(change.name == "task" for change in found):
            raise SightlineError(
                "the task of a model cannot change",
                where=f"monitors/{spec.id}.yaml",
                fix="give the new model a file and an id of its own",
            )
        if begun is None and all(change.is_harmless for change in found):
            return MigrationReport(found, gone=take_over(spec, paths, home, ledger, found))
        earlier: list[str] = begun["names"] if begun else []
        stamp: str = begun["archive"] if begun else _stamp(moment)
        names = sorted({*earlier, *(change.name for change in found)})
        archive = paths.root / "archive" / stamp
        report = MigrationReport(found, archive=archive)
        ledger.write_facts({UNFINISHED: {"names": names, "archive": stamp}})
        _archive(paths, archive, names)
        _rewrite(spec, paths, home, ledger, found, names, report)
        keep_facts(spec, ledger)
    kinds = {kind for name in names for kind in RELOADED.get(name, ()) if kind == "inferences" or spec.labels}
    for kind in sorted(kinds):
        _reload_all(spec, paths, home, kind, moment, report)
    with open_ledger(paths.ledger) as ledger, ledger.transaction() as con:
        con.execute("DELETE FROM facts WHERE name = ?", [UNFINISHED])
    return report


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S")


def _rewrite(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    ledger: Ledger,
    found: Sequence[Change],
    names: Sequence[str],
    report: MigrationReport,
) -> None:
    """All that is made of what the lake holds, in one commit."""
    staging = Staging(paths, ledger)
    columns = changed_columns(found)
    if columns:
        report.gone = reread(spec, paths, home, staging, columns)
    if spec.labels and not set(CLASSES).isdisjoint(names):
        if spec.columns.prediction:  # classes that were none are in the files alone
            reread(spec, paths, home, staging, {"predicted_class"})
        _respell(spec, staging)
    if "schedule" in names:
        staging.changes.clear()
        report.repeated = rewindow(spec, staging)
        release_orphans(staging, {part.window_key for part in staging.live("labels") if part.window_key})
        staging.meta[TRIED_THROUGH] = 0
        with ledger.transaction() as con:  # a kill before the next commit leaves counts that it makes again
            con.execute("DELETE FROM window_changes")
    with open_progress(paths.ledger) as progress:
        progress.forget()
    staging.commit()


def _respell(spec: MonitorSpec, staging: Staging) -> None:
    """Spell stored classes and label values by other classes; labels that are none of them go to the history."""
    predictions, truths = ("inferences", "replaced"), ("labels", *WAITING)
    for kind in (*predictions, *truths):
        column = "predicted_class" if kind in predictions else "label_class"
        for part in staging.live(kind):
            frame = pl.read_parquet(staging.file(part), hive_partitioning=False, glob=False)
            classes, _, _ = read_classes(frame[column], spec.class_names)
            renewed = frame.with_columns(classes.alias(column))
            if column == "label_class" and "is_retracted" not in frame.columns:
                renewed = renewed.with_columns(is_retracted=pl.lit(value=False))
            if column == "label_class" and spec.model.task == "binary_classification":
                renewed = renewed.with_columns(label_value=(pl.col(column) == spec.positive_class).cast(pl.Float64))
            staging.replace(part)
            staging.add(kind, part.window_key, renewed, part.seq)
            if part.window_key is not None:
                staging.changes.append((kind, part.window_key, MIGRATED, 0))
    for kind in truths:
        for _, rows in take_out(
            staging, kind, pl.col("label_class").is_null() & ~pl.col("is_retracted").fill_null(False)
        ):
            if kind == "given_up":  # they are counted as refused already
                continue
            counts = rows.group_by("batch_id").len().iter_rows()
            staging.rematched += [
                (n, 0, n, batch_id) if kind == "unmatched" else (0, -n, n, batch_id) for batch_id, n in counts
            ]


def _archive(paths: MonitorPaths, archive: Path, names: Sequence[str]) -> None:
    """Move away what was made under the old file; what is moved already is left there."""
    moved = [paths.results / name for name in ("evidence", "snapshots", "checkpoint.json.gz", "actions.jsonl")]
    if set(names) & set(SINCE_REFERENCE):
        moved.append(paths.reference)
    if "schedule" in names:
        moved.append(paths.results / "judgements")
    for source in moved:
        target = archive / source.relative_to(paths.root)
        if source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
            sync_folder(target.parent)
    if "schedule" in names:
        with exclusive(paths.root / ".writer.lock"):
            paths.warehouse.unlink(missing_ok=True)


def _reload_all(
    spec: MonitorSpec, paths: MonitorPaths, home: Home, kind: str, now: datetime, report: MigrationReport
) -> None:
    """Read every file of a kind again that the file of now can read; the others stay as they were loaded."""
    with open_ledger(paths.ledger) as ledger:
        known = {batch.path for batch in ledger.batches(kind)}
    for batch in list_batches(spec, paths, kind, home):
        if batch.path not in known or batch.kind != kind:
            continue
        try:
            accepted = sum(len(ready.frame) for _, ready in decoded(spec, batch, home))
        except UnreadableError:
            accepted = 0
        if accepted:
            reload(spec, paths, home, [batch.file(home)], now=now)
            report.reloaded.append(batch.path)
            report.n_reloaded[kind] += 1
        else:
            report.kept.append(batch.path)
