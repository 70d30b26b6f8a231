"""What lies in a log: counts per kind, and whether every byte of it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sightline.errors import SightlineError
from sightline.log import segment as seg
from sightline.log.events import KINDS
from sightline.log.reader import DAMAGE, Rejection, Segment, read_segment
from sightline.log.recovery import is_live


@dataclass
class KindStats:
    """Numbers of one kind of segments; times are those of the events (of receipt where they have none)."""

    kind: str
    sealed: int = 0
    live: int = 0
    orphaned: int = 0
    events: int = 0
    unreadable: int = 0
    bytes: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


def log_stats(log: Path) -> list[KindStats]:
    """Count segments, events and bytes of a log folder, per kind.

    Parameters
    ----------
    log : Path
        The monitor's log folder (``MonitorPaths.log``).

    Returns
    -------
    list of KindStats
        ``live`` segments are being written, ``orphaned`` ones wait for recovery; the events of both count. Of a sealed
        segment only the footer is read, if that tells its times: `verify_segment` is what looks at every byte.
        ``unreadable`` is the number of events in damaged frames, as far as it is known, and of rows with wrong content,
        in the segments that were read as a whole.
    """
    return [_stats_of(log, kind) for kind in KINDS]


def _stats_of(log: Path, kind: str) -> KindStats:
    stats = KindStats(kind)
    for path in (*seg.list_sealed(log, kind), *seg.list_open(log, kind)):
        try:
            size = path.stat().st_size
            footer = seg.read_footer(path) if path.parent.name == seg.SEALED else None
            content = None if footer is not None and footer.min_at is not None else read_segment(path)
        except FileNotFoundError:
            continue  # sealed or removed while we look
        except SightlineError:
            stats.unreadable += 1
            continue
        if path.parent.name == seg.SEALED:
            stats.sealed += 1
        elif is_live(path):
            stats.live += 1
        else:
            stats.orphaned += 1
        stats.bytes += size
        if content is None and footer is not None:
            stats.events += footer.count
            moments = [moment for moment in (footer.min_at, footer.max_at) if moment is not None]
        else:
            assert content is not None
            stats.events += len(content.events)
            stats.unreadable += sum(r.count or 0 for r in content.rejections)
            moments = [event.at or event.received_at for event in content.events]
        if moments:
            stats.first_at = min(moments) if stats.first_at is None else min(stats.first_at, *moments)
            stats.last_at = max(moments) if stats.last_at is None else max(stats.last_at, *moments)
    return stats


@dataclass(frozen=True)
class Verification:
    """Result for one segment: its events, damage (bytes), rows with wrong content, or why it cannot be read at all."""

    path: Path
    events: int
    damage: tuple[Rejection, ...]
    bad_rows: tuple[Rejection, ...]
    error: str | None = None

    @property
    def is_sound(self) -> bool:
        """Every byte is as it was written."""
        return self.error is None and not self.damage


def verify_segment(path: Path) -> Verification:
    """Read one segment and check every checksum.

    A torn tail of a live open segment is no damage: it is being written.
    """
    try:
        content = read_segment(path)
    except SightlineError as error:
        return Verification(path, 0, (), (), error.what)
    found = lasting_rejections(content)
    damage = tuple(r for r in found if r.reason in DAMAGE)
    return Verification(path, len(content.events), damage, tuple(r for r in found if r.reason not in DAMAGE))


def lasting_rejections(content: Segment) -> list[Rejection]:
    """What cannot be read of a segment, without the torn tail of one that is being written."""
    is_growing = content.path.parent.name == seg.OPEN and is_live(content.path)
    return [r for r in content.rejections if not (is_growing and r.reason == "torn_tail")]
