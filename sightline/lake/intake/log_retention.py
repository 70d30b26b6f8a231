"""Removing sealed segments that the lake has loaded; nothing else is ever removed from a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sightline.durable import sync_folder
from sightline.home import Home, MonitorPaths
from sightline.lake.intake.sources import list_batches
from sightline.lake.store.ledger import open_ledger
from sightline.log.inspect import verify_segment
from sightline.log.segment import sealed_folder
from sightline.spec.model import MonitorSpec


@dataclass
class CompactionReport:
    """What `compact_log` removed, and why it kept the rest."""

    removed: list[Path] = field(default_factory=list[Path])
    removed_bytes: int = 0
    young: int = 0
    not_loaded: int = 0
    damaged: list[Path] = field(default_factory=list[Path])


def compact_log(
    spec: MonitorSpec,
    paths: MonitorPaths,
    home: Home,
    older_than: timedelta,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> CompactionReport:
    """Remove sealed segments that the ledger knows as loaded and that are older than `older_than`.

    Parameters
    ----------
    spec, paths, home
        The monitor.
    older_than : timedelta
        Age by the time in the segment's name.
    now : datetime, optional
        Present time (aware).
    dry_run : bool
        Only report.

    Returns
    -------
    CompactionReport
        Segments that are young, not loaded (or refused by the intake), or damaged are kept.
    """
    report = CompactionReport()
    limit = (now or datetime.now(UTC)) - older_than
    batches = [
        b for kind in ("inferences", "labels") for b in list_batches(spec, paths, kind, home) if b.format == "segment"
    ]
    with open_ledger(paths.ledger, create=False) as ledger:
        loaded = {
            batch: status
            for kind in ("inferences", "labels", "rejected")
            for batch, (status, _) in ledger.loaded(kind).items()
        }
    for batch in batches:
        if batch.received_at >= limit:
            report.young += 1
        elif loaded.get(batch.batch_id) != "loaded":
            report.not_loaded += 1
        elif not verify_segment(batch.file(home)).is_sound:
            report.damaged.append(batch.file(home))
        else:
            report.removed.append(batch.file(home))
            report.removed_bytes += batch.size
    if not dry_run and report.removed:
        for path in report.removed:
            path.unlink(missing_ok=True)
        sync_folder(sealed_folder(paths.log))
    return report
