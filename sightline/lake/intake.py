"""Load what has arrived: batches -> canonical rows -> lake parts, quarantine and ledger, all or nothing per commit.

Small batches are loaded together (one part per window and commit), large ones chunk by chunk in one commit of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.lake import sources
from sightline.lake.compaction import compact_touched
from sightline.lake.dedupe import add_buckets, split_duplicates
from sightline.lake.ledger import BatchRow, Ledger, open_ledger, utc_text
from sightline.lake.normalize import Normalized, normalize
from sightline.lake.read import UnreadableError, read_chunks
from sightline.lake.relabel import LabelWork
from sightline.lake.segments import rejected_rows
from sightline.lake.sources import Batch, mapping_mark
from sightline.lake.store import Staging, lake_lock, quarantine_frame, recover, window_key_expr
from sightline.log.events import REJECTED
from sightline.spec.model import MonitorSpec

COMMIT_ROWS = 250_000
COMMIT_BATCHES = 512


@dataclass
class IntakeReport:
    """What one intake did.

    Attributes
    ----------
    batches : list of str
        Ids of the batches loaded or refused.
    windows : dict of str to int
        Window key -> rows added; 0 where only the quarantine grew.
    accepted, duplicates, rejected, value_issues, unmatched : int
        Rows; value issues count values.
    quarantined_by_reason : dict of str to int
        Quarantine rows by reason.
    """

    batches: list[str] = field(default_factory=list)
    windows: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    value_issues: int = 0
    unmatched: int = 0
    quarantined_by_reason: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """Counts of one batch."""

    batch: Batch
    seq: int
    status: str = "loaded"
    n_rows: int = 0
    n_accepted: int = 0
    n_duplicate: int = 0
    n_rejected: int = 0
    n_value_issues: int = 0
    n_unmatched: int = 0

    def row(self, mark: str, now: datetime) -> BatchRow:
        """The ledger's row."""
        b = self.batch
        counts = (
            self.n_rows,
            self.n_accepted,
            self.n_duplicate,
            self.n_rejected,
            self.n_value_issues,
            self.n_unmatched,
        )
        return BatchRow(
            b.batch_id,
            self.seq,
            b.kind,
            b.path,
            b.signature,
            b.format,
            mark,
            self.status,
            *counts,
            utc_text(b.received_at),
            utc_text(now),
        )


def intake(
    spec: MonitorSpec,
    paths: MonitorPaths,
    kind: str,
    home: Home,
    batches: Sequence[Batch] | None = None,
    now: datetime | None = None,
) -> IntakeReport:
    """Load batches of inferences or labels into the lake; what is loaded already is left out.

    Parameters
    ----------
    spec, paths, home
        The monitor and its folders.
    kind : str
        ``inferences`` or ``labels``. Labels that found no prediction earlier are tried again first.
    batches : sequence of Batch, optional
        From `list_batches`; default: all that are pending.
    now : datetime, optional
        Stamped on the ledger's rows; default the clock.

    Returns
    -------
    IntakeReport

    Raises
    ------
    SightlineError
        Another process is loading, or ledger and lake disagree. A bad file is no error: it is quarantined.
    """
    with lake_lock(paths), open_ledger(paths.ledger) as ledger:
        recover(paths, ledger)
        waiting = sources.pending(spec, paths, kind, home)
        if batches is not None:
            wanted = {batch.batch_id for batch in batches}
            waiting = [batch for batch in waiting if batch.batch_id in wanted]
        loader = _Loader(spec, paths, home, ledger, kind, now or datetime.now(UTC))
        loader.run(waiting)
        compact_touched(spec, paths, ledger, kind, loader.report.windows)
        return loader.report


class _Loader:
    """State of one intake: the open commit, its rows, and the report so far."""

    def __init__(
        self, spec: MonitorSpec, paths: MonitorPaths, home: Home, ledger: Ledger, kind: str, now: datetime
    ) -> None:
        self.spec, self.paths, self.home, self.ledger, self.kind, self.now = spec, paths, home, ledger, kind, now
        self.report = IntakeReport()
        self.mark = mapping_mark(spec)
        self.begin()

    def begin(self) -> None:
        """Open a new commit."""
        self.staging = Staging(self.paths, self.ledger)
        self.next_seq = self.ledger.next_seq()
        self.tallies: dict[str, Tally] = {}
        self.frames: list[pl.DataFrame] = []
        self.quarantine: list[pl.DataFrame] = []
        self.windows: Counter[str] = Counter()
        self.n_held = 0
        self.labels = LabelWork(self.spec, self.staging) if self.kind == "labels" else None

    def run(self, batches: Sequence[Batch]) -> None:
        """Load everything, commit by commit."""
        if self.labels:
            self._absorb(self.labels.retry(), rematched=True)
        for batch in batches:
            is_large = self._load_rejected(batch) if batch.kind == REJECTED else self._load(batch)
            if is_large or self.n_held >= COMMIT_ROWS or len(self.tallies) >= COMMIT_BATCHES:
                self.commit()
        self.commit()

    def _start(self, batch: Batch) -> Tally:
        tally = Tally(batch, self.next_seq)
        self.next_seq += 1
        self.tallies[batch.batch_id] = tally
        return tally

    def _load(self, batch: Batch) -> bool:
        """Load one batch; True if it was large and fills a commit of its own."""
        held: Normalized | None = None
        is_large = False
        try:
            for chunk in read_chunks(self.spec, batch, self.home):
                ready = normalize(self.spec, chunk)
                if held is None and not is_large:
                    held = ready
                    continue
                if held is not None:
                    self.commit()
                    self._start(batch)
                    self._put(batch, held)
                    held, is_large = None, True
                self._put(batch, ready)
                if self.n_held >= COMMIT_ROWS:
                    self.flush()
        except UnreadableError as error:
            if is_large:
                self.staging.abandon()
                self.begin()
            self._refuse(batch, error)
            return True
        if held is not None:
            self._start(batch)
            self._put(batch, held)
        return is_large

    def _put(self, batch: Batch, ready: Normalized) -> None:
        tally = self.tallies[batch.batch_id]
        tally.n_rows += ready.n_rows
        tally.n_rejected += ready.n_rejected
        tally.n_value_issues += ready.n_value_issues
        self.quarantine += ready.quarantine
        frame = ready.frame
        if self.kind == "labels":
            frame = frame.with_columns(pl.col("revision_order") + (tally.seq << 32))
        self.frames.append(frame)
        self.n_held += len(frame)

    def _refuse(self, batch: Batch, error: UnreadableError) -> None:
        tally = self._start(batch)
        tally.status, tally.n_rows, tally.n_rejected = "refused", error.n_rows, error.n_rows
        row = {
            "kind": batch.kind,
            "batch_id": batch.batch_id,
            "source": batch.path,
            "column": error.column,
            "reason": error.reason,
            "value": str(error)[:200],
            "severity": "row",
            "payload": str(error)[:4096],
            "received_at": batch.received_at.astimezone(UTC).replace(tzinfo=None),
        }
        self.quarantine.append(quarantine_frame([row]))

    def _load_rejected(self, batch: Batch) -> bool:
        try:
            rows, bad = rejected_rows(batch, self.home)
        except UnreadableError as error:
            self._refuse(batch, error)
            return False
        for row in rows:
            at = row["predicted_at"]
            if isinstance(at, datetime) and at >= self.spec.first_window.replace(tzinfo=None):
                row["window_start"] = self.spec.floor(at).replace(tzinfo=None)
        received = batch.received_at.astimezone(UTC).replace(tzinfo=None)
        base = {
            "kind": REJECTED,
            "batch_id": batch.batch_id,
            "source": batch.path,
            "severity": "row",
            "received_at": received,
        }
        rows += [
            {**base, "row_number": b.row_number, "reason": b.reason, "value": b.message[:200], "payload": b.payload}
            for b in bad
        ]
        tally = self._start(batch)
        tally.n_rows = tally.n_rejected = len(rows)
        if rows:
            self.quarantine.append(quarantine_frame(rows))
        return False

    def flush(self) -> None:
        """Write the rows held so far as hidden parts of the open commit."""
        frames = [frame for frame in self.frames if len(frame)]
        self.frames, self.n_held = [], 0
        if not frames:
            return
        frame = pl.concat(frames)
        if self.labels:
            self._absorb(self.labels.add(frame))
            return
        paths_of = {tally.batch.batch_id: tally.batch.path for tally in self.tallies.values()}
        split = split_duplicates(self.spec, add_buckets(frame), self.staging, paths_of)
        for batch_id, n in split.duplicates_by_batch.items():
            self.tallies[batch_id].n_duplicate += n
        self.quarantine += split.quarantine
        self._write("inferences", split.accepted)

    def _absorb(self, work: LabelWork, *, rematched: bool = False) -> None:
        """Take over what the label matching of one flush found."""
        done = work.take()
        for batch_id, n in done.duplicates_by_batch.items():
            if not rematched:
                self.tallies[batch_id].n_duplicate += n
            self.report.duplicates += n if rematched else 0
        for batch_id, n in done.unmatched_by_batch.items():
            self.tallies[batch_id].n_unmatched += n
        self.quarantine += done.quarantine
        self._write("labels", done.accepted)

    def _write(self, kind: str, frame: pl.DataFrame) -> None:
        seq = max((tally.seq for tally in self.tallies.values()), default=self.next_seq - 1)
        for (start,), rows in frame.partition_by("window_start", as_dict=True, maintain_order=True).items():
            key = self.spec.key(start)
            self.staging.add(kind, key, rows, seq)
            for batch_id, n in rows.group_by("batch_id").len().rows():
                self.staging.changes.append((kind, key, batch_id, n))
                if batch_id in self.tallies:
                    self.tallies[batch_id].n_accepted += n
                else:
                    self.report.accepted += n
            self.windows[key] += len(rows)

    def commit(self) -> None:
        """Flush, then make everything since the last commit exist."""
        self.flush()
        if self.labels:
            self.labels.finish(max((t.seq for t in self.tallies.values()), default=self.next_seq - 1))
        if self.quarantine:
            rows = pl.concat(self.quarantine)
            self.staging.add(
                "quarantine", None, rows, max((t.seq for t in self.tallies.values()), default=self.next_seq - 1)
            )
            for reason, n in rows.group_by("reason").len().rows():
                self.report.quarantined_by_reason[reason] = self.report.quarantined_by_reason.get(reason, 0) + n
            touched = rows.select(window_key_expr(pl.col("window_start").drop_nulls().unique(), self.spec)).to_series()
            for key in touched:
                self.windows[key] += 0
        self.staging.batches = [tally.row(self.mark, self.now) for tally in self.tallies.values()]
        self.staging.commit()
        self._count()
        self.begin()

    def _count(self) -> None:
        report = self.report
        for tally in self.tallies.values():
            report.batches.append(tally.batch.batch_id)
            report.accepted += tally.n_accepted
            report.duplicates += tally.n_duplicate
            report.rejected += tally.n_rejected
            report.value_issues += tally.n_value_issues
            report.unmatched += tally.n_unmatched
        for key, n in self.windows.items():
            report.windows[key] = report.windows.get(key, 0) + n
