"""Sealing what a killed process left behind.

An open segment whose lock is free has lost its writer. Its whole frames are kept and sealed; a torn end is cut off and
kept in ``damaged/``. Segments of living writers are not touched, so that any process may recover at any time.
"""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sightline.durable import sync_folder
from sightline.errors import SightlineError
from sightline.log import segment as seg
from sightline.log.files import TEMPORARY_SUFFIX, write_all
from sightline.log.reader import Segment, read_segment

logger = logging.getLogger(__name__)


@dataclass
class RecoveryReport:
    """What `recover` did.

    Segments sealed, events in them, segments of living writers, bytes kept aside, and failures.
    """

    sealed: list[Path] = field(default_factory=list[Path])
    events: int = 0
    live: list[Path] = field(default_factory=list[Path])
    damaged: list[Path] = field(default_factory=list[Path])
    failed: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])


def recover(log: Path, now: datetime | None = None) -> RecoveryReport:
    """Seal every open segment of a log folder whose writer is dead.

    Parameters
    ----------
    log : Path
        The monitor's log folder (``MonitorPaths.log``); it need not exist.
    now : datetime, optional
        Time of sealing for the footers.

    Returns
    -------
    RecoveryReport
        A segment that cannot be sealed now (disk full) stays where it is and is listed in ``failed``.
    """
    report = RecoveryReport()
    folder = seg.open_folder(log)
    if not folder.is_dir():
        return report
    for path in seg.list_open(log):
        try:
            _recover_one(log, path, now or datetime.now(UTC), report)
        except (OSError, SightlineError) as error:
            logger.warning("cannot recover %s: %s", path, error)
            report.failed.append((path, str(error)))
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        _remove_if_dead(path)
    return report


def is_live(path: Path) -> bool:
    """Whether a living process writes this open segment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _recover_one(log: Path, path: Path, now: datetime, report: RecoveryReport) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # sealed in the meantime
    try:
        if not _lock(descriptor):
            report.live.append(path)
        elif _is_same_file(path, descriptor):
            _seal(log, path, descriptor, now, report)
    finally:
        os.close(descriptor)


def _is_same_file(path: Path, descriptor: int) -> bool:
    """The writer may have sealed the file between our `open` and our lock."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _seal(log: Path, path: Path, descriptor: int, now: datetime, report: RecoveryReport) -> None:
    try:
        content = read_segment(path)
    except seg.DamagedHeaderError:
        report.damaged.append(_move(path, seg.damaged_folder(log) / path.name))
        return
    torn = next((r for r in content.rejections if r.reason == "torn_tail"), None)
    if torn is not None:
        report.damaged.append(_keep_aside(log, path, torn.offset, torn.payload))
        os.ftruncate(descriptor, content.end)
    if not content.events and all(rejection is torn for rejection in content.rejections):
        path.unlink()
        return
    if content.footer is None:
        write_all(descriptor, seg.pack_footer(_footer(content, now, len(torn.payload) if torn else 0)))
    os.fsync(descriptor)
    target = _move(path, seg.sealed_folder(log) / path.name)
    report.sealed.append(target)
    report.events += len(content.events)
    logger.info(
        "recovered %s: %d events, %d torn bytes kept aside",
        target,
        len(content.events),
        len(torn.payload) if torn else 0,
    )


def _footer(content: Segment, now: datetime, torn_bytes: int) -> seg.SegmentFooter:
    moments = [event.at or event.received_at for event in content.events]
    rows = sum(1 for r in content.rejections if r.row is not None)
    return seg.SegmentFooter(
        count=len(content.events) + rows,
        min_at=min(moments, default=None),
        max_at=max(moments, default=None),
        sealed_at=now,
        recovered=True,
        torn_bytes=torn_bytes,
    )


def _keep_aside(log: Path, path: Path, offset: int, data: bytes) -> Path:
    folder = seg.damaged_folder(log)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.name}.{offset}.bin"
    temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    sync_folder(folder)
    return target


def _move(path: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    sync_folder(target.parent)
    sync_folder(path.parent)
    return target


def _remove_if_dead(path: Path) -> None:
    """A segment that never got its name holds no event. Young ones may be about to be locked by their writer."""
    try:
        age = datetime.now(UTC).timestamp() - path.stat().st_mtime
        if age > 3600 and not is_live(path):
            path.unlink()
    except FileNotFoundError:
        pass
