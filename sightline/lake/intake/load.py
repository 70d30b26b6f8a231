"""Load what has arrived: batches -> canonical rows -> lake parts, quarantine and ledger, all or nothing per commit.

Small batches are loaded together (one part per window and commit), large ones chunk by
chunk in one commit of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import polars as pl

from sightline.home import Home, MonitorPaths
from sightline.lake.intake import sources
from sightline.lake.intake.affected_windows import refused_windows
from sightline.lake.intake.chunks import Chunk, UnreadableError
from sightline.lake.intake.dedupe import add_buckets
from sightline.lake.intake.growing import cut_rows, has_changed, is_being_written, open_end, take_back
from sightline.lake.intake.inference_revisions import Placed, RevisionWork, no_revisions
from sightline.lake.intake.label_revisions import LabelWork
from sightline.lake.intake.normalize import Normalized, normalize
from sightline.lake.intake.orphans import rehome_orphans
from sightline.lake.intake.read import decoded
from sightline.lake.intake.report import IntakeReport, Tally
from sightline.lake.intake.request_response import HalfWork, HalvesDone, unpaired_notes
from sightline.lake.intake.reread import take_over
from sightline.lake.intake.segments import inference_chunk, rejected_rows
from sightline.lake.intake.sources import Batch, mapping_mark
from sightline.lake.store.compaction import compact_touched
from sightline.lake.store.ledger import Ledger, open_ledger
from sightline.lake.store.parts import Staging, lake_lock, quarantine_frame, recover, window_key_expr
from sightline.lake.store.schema import TIMESTAMP, revision_order
from sightline.lake.store.stored_spec import require_current
from sightline.log.events import REJECTED, InferenceEvent
from sightline.spec.model import MonitorSpec

COMMIT_ROWS = 250_000
COMMIT_BATCHES = 512


def intake(
    spec: MonitorSpec,
    paths: MonitorPaths,
    kind: str,
    home: Home,
    batches: Sequence[Batch] | None = None,
    now: datetime | None = None,
    windows: Sequence[str] = (),
    give_up_after: timedelta | None = None,
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
    windows : sequence of str
        Windows of the run that loads: a refused file whose times cannot be read is told in the current one, or in the
        last of these if the current one is none of them.
    give_up_after : timedelta, optional
        Labels without a prediction that were loaded so long ago are quarantined; default: what the spec says, and where
        it says nothing they wait.

    Returns
    -------
    IntakeReport

    Raises
    ------
    SightlineError
        Another process is loading, ledger and lake disagree, or the monitor's file says otherwise than when the data
        were stored. A bad file is no error: it is quarantined.
    """
    with lake_lock(paths), open_ledger(paths.ledger) as ledger:
        recover(paths, ledger)
        take_over(spec, paths, home, ledger, require_current(spec, paths, ledger))
        waiting = sources.pending(spec, paths, kind, home)
        unfinished = [batch.path for batch in waiting if is_being_written(batch, home)]
        waiting = [batch for batch in waiting if batch.path not in unfinished]
        if batches is not None:
            wanted = {batch.batch_id for batch in batches}
            waiting = [batch for batch in waiting if batch.batch_id in wanted]
        loader = Loader(spec, paths, home, ledger, kind, now or datetime.now(UTC), windows)
        loader.give_up_after = give_up_after or loader.give_up_after
        loader.report.unfinished += unfinished
        loader.run(waiting)
        compact_touched(spec, paths, ledger, kind, loader.report.windows)
        return loader.report


@dataclass(frozen=True)
class Place:
    """Number of a batch in the ledger, and when it was received (naive UTC)."""

    seq: int
    received_at: datetime


class Loader:
    """State of one intake: the open commit, its rows, and the report so far."""

    def __init__(
        self,
        spec: MonitorSpec,
        paths: MonitorPaths,
        home: Home,
        ledger: Ledger,
        kind: str,
        now: datetime,
        windows: Sequence[str] = (),
    ) -> None:
        self.spec, self.paths, self.home, self.ledger, self.kind, self.now = spec, paths, home, ledger, kind, now
        self.give_up_after = spec.labels.give_up_after if spec.labels else None
        current = spec.key(now)
        self.told_in = current if not windows or current in windows else max(windows)
        self.report = IntakeReport()
        self.places: dict[str, Place] = {}
        """Path -> the batch in whose place its labels stand among the revisions; default its own."""
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
        self.reasons: Counter[str] = Counter()
        self.labels = LabelWork(self.spec, self.staging) if self.kind == "labels" else None
        self.halves = HalfWork(self.staging)
        self.news: list[pl.DataFrame] = []
        self.revisions = RevisionWork(self.spec, self.staging)

    def run(self, batches: Sequence[Batch]) -> None:
        """Load everything, commit by commit."""
        if self.labels:
            self._absorb(self.labels.retry(), rematched=True)
        for batch in batches:
            is_large = self._load_rejected(batch) if batch.kind == REJECTED else self._load(batch)
            if is_large or self.n_held >= COMMIT_ROWS or len(self.tallies) >= COMMIT_BATCHES:
                self.commit()
        self.commit()
        self._give_up()

    def _give_up(self) -> None:
        """Give up labels that have waited for their prediction for too long, and tell how many still wait."""
        if self.labels is None:
            return
        if self.give_up_after is not None:
            late = self.labels.give_up(self.now - self.give_up_after, self._newest_seq())
            if len(late):
                self.quarantine.append(late)
                self.report.rejected += len(late)
                self.commit()
        self.report.waiting = self.ledger.n_waiting("labels")

    def _start(self, batch: Batch) -> Tally:
        tally = Tally(batch, self.next_seq)
        self.next_seq += 1
        self.tallies[batch.batch_id] = tally
        return tally

    def _load(self, batch: Batch) -> bool:
        """Load one batch; True if it was large and fills a commit of its own."""
        self._take_back(batch)
        held: tuple[Chunk, Normalized] | None = None
        is_large = False
        try:
            for chunk, ready in decoded(self.spec, batch, self.home):
                if held is None and not is_large:
                    held = chunk, ready
                    continue
                if held is not None:
                    self.commit()
                    self._start(batch).open_end = open_end(batch, self.home)
                    self._put(batch, *held)
                    held, is_large = None, True
                self._put(batch, chunk, ready)
                if self.n_held >= COMMIT_ROWS:
                    self.flush()
            failed = None
        except UnreadableError as error:
            failed = error
        is_unfinished = has_changed(batch, self.home)
        if failed or is_unfinished:
            if is_large:
                self.staging.abandon()
                self.begin()
            if is_unfinished:
                self.report.unfinished.append(batch.path)
            elif failed:
                self._refuse(batch, failed)
            return is_large or failed is not None
        if held is not None:
            self._start(batch).open_end = open_end(batch, self.home)
            self._put(batch, *held)
        return is_large

    def _take_back(self, batch: Batch) -> None:
        """Take out what an earlier load of a file that has grown since read of a line that was not all there."""
        if batch.format != "csv":
            return
        cut = cut_rows(batch, self.home, self.ledger.batches(self.kind, {batch.path}))
        if not cut:
            return
        self.commit()
        keys = {key for key, _ in take_back(self.staging, self.kind, cut) if key}
        self.windows.update(dict.fromkeys(keys, 0))
        if self.kind == "inferences":
            self.revisions.left |= keys

    def _put(self, batch: Batch, chunk: Chunk, ready: Normalized) -> None:
        self._take(batch, ready)
        if chunk.halves:
            self.tallies[batch.batch_id].n_rows += len(chunk.halves)
            done = self.halves.add(batch.batch_id, chunk.halves, batch.received_at)
            self.tallies[batch.batch_id].n_rows += done.n_more
            self._settle(done)
            self._whole(batch, done.events)

    def _settle(self, done: HalvesDone) -> None:
        """Count halves that began or ceased to wait."""
        for batch_id, n in done.waiting.items():
            self.tallies[batch_id].n_unmatched += n
        for batch_id, n in done.repeated.items():
            self.tallies[batch_id].n_duplicate += n
        for batch_id, n in done.paired.items():
            if batch_id in self.tallies:
                self.tallies[batch_id].n_unmatched -= n
                self.tallies[batch_id].n_accepted += n
            else:
                self.staging.rematched.append((n, n, 0, batch_id))
        for batch_id, n in done.late.items():
            if batch_id in self.tallies:
                self.tallies[batch_id].n_unmatched -= n
                self.tallies[batch_id].n_duplicate += n
            else:
                self.staging.rematched.append((n, 0, n, batch_id))

    def _whole(self, batch: Batch, events: Sequence[tuple[int, InferenceEvent]]) -> None:
        """Load joined halves as rows of the batch that completed them; the rows were counted as halves."""
        if events:
            chunk = inference_chunk(self.spec, batch, [e for _, e in events], [n for n, _ in events], [])
            self._take(batch, replace(normalize(self.spec, chunk), n_rows=0))

    def _expire(self) -> None:
        """Load halves that waited in vain as they are, as rows of the batch that made their time run out."""
        overdue = self.halves.overdue()
        if not overdue:
            return
        self.flush()
        done = self.halves.expire(overdue, self.spec)
        self._settle(done)
        if not done.expired:
            return
        batch = next(reversed(self.tallies.values())).batch
        events = [half.event for half in done.expired]
        chunk = inference_chunk(self.spec, batch, events, [half.row_number for half in done.expired], [])
        self._take(batch, normalize(self.spec, chunk))
        self.quarantine.append(unpaired_notes(done.expired, batch.path))

    def _take(self, batch: Batch, ready: Normalized) -> None:
        tally = self.tallies[batch.batch_id]
        tally.n_rows += ready.n_rows
        tally.n_rejected += ready.n_rejected
        tally.n_value_issues += ready.n_value_issues
        self.quarantine += ready.quarantine
        frame = ready.frame
        if self.kind == "labels":
            place = self.places.get(batch.path)
            frame = frame.with_columns(revision_order(place.seq if place else tally.seq, pl.col("revision_order")))
            if place is not None and batch.format != "segment":  # the log tells for each event when it was received
                frame = frame.with_columns(
                    observed_at=pl.when(pl.col("observed_at") == pl.col("received_at"))
                    .then(pl.lit(place.received_at, TIMESTAMP))
                    .otherwise("observed_at"),
                    received_at=pl.lit(place.received_at, TIMESTAMP),
                )
        self.frames.append(frame)
        if len(ready.revisions):
            self.news.append(ready.revisions)
        self.n_held += len(frame) + sum(map(len, ready.quarantine))

    def _refuse(self, batch: Batch, error: UnreadableError) -> None:
        tally = self._start(batch)
        tally.status, tally.n_rows, tally.n_rejected = "refused", error.n_rows, error.n_rows
        self.report.refused.append((batch.path, error.reason, str(error)))
        row: dict[str, object] = {
            "kind": batch.kind,
            "batch_id": batch.batch_id,
            "source": batch.path,
            "column": error.column,
            "reason": error.reason,
            "value": str(error)[:200],
            "severity": "file",
            "payload": str(error)[:4096],
            "received_at": batch.received_at.astimezone(UTC).replace(tzinfo=None),
        }
        keys = refused_windows(self.spec, batch, self.home) or {self.told_in}
        starts = [self.spec.window_start(key).replace(tzinfo=None) for key in sorted(keys)]
        self.quarantine.append(quarantine_frame([{**row, "window_start": start} for start in starts]))

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
        base: dict[str, object] = {
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
        if self.news and not frames:  # withdrawals alone
            frames = self.frames[:1]
        self.frames, self.n_held = [], 0
        if sum(map(len, self.quarantine)) >= COMMIT_ROWS:
            self._stage_quarantine()
        if not frames:
            return
        frame = pl.concat(frames)
        paths_of = {tally.batch.batch_id: tally.batch.path for tally in self.tallies.values()}
        if self.labels:
            self._absorb(self.labels.add(frame, paths_of))
            return
        news, self.news = pl.concat([no_revisions(), *self.news]), []
        self._settle_revisions(self.revisions.place(add_buckets(frame), news, paths_of, self._newest_seq()))

    def _settle_revisions(self, done: Placed) -> None:
        """Count and write what became of rows, corrections and withdrawals."""
        for batch_id, n in done.duplicates.items():
            self.tallies[batch_id].n_duplicate += n
        for batch_id, n in done.withdrawals.items():
            self.tallies[batch_id].n_accepted += n
        for batch_id, n in done.waiting.items():
            self.tallies[batch_id].n_unmatched += n
        for batch_id, n in done.found.items():
            if batch_id in self.tallies:
                self.tallies[batch_id].n_unmatched -= n
                self.tallies[batch_id].n_accepted += n
            else:
                self.staging.rematched.append((n, n, 0, batch_id))
        self.quarantine += done.quarantine
        self._write("inferences", done.accepted)
        seq = self._newest_seq()
        for start, rows in by_window(done.replaced):
            self.staging.add("replaced", self.spec.key(start), rows, seq)
            for batch_id, n in rows.group_by("batch_id").len().rows():
                self.tallies[batch_id].n_accepted += n

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
        seq = self._newest_seq()
        for start, rows in by_window(frame):
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
        self._expire()
        self.flush()
        newest = self._newest_seq()
        paths_of = {tally.batch.batch_id: tally.batch.path for tally in self.tallies.values()}
        self.quarantine += self.revisions.finish(paths_of, newest)
        if self.spec.labels is not None and self.revisions.left:
            rehome_orphans(self.spec, self.staging, self.revisions.left)
        self.windows.update(dict.fromkeys(self.revisions.left, 0))
        self.halves.finish(newest)
        if self.labels:
            self.labels.finish(newest)
        self._stage_quarantine()
        self.staging.batches = [tally.row(self.mark, self.now) for tally in self.tallies.values()]
        self.staging.commit()
        self.report.add(self.tallies.values(), self.windows)
        self.report.add_reasons(self.reasons.items())
        self.begin()

    def _stage_quarantine(self) -> None:
        """Write the quarantine rows held so far as a hidden part of the open commit."""
        if not self.quarantine:
            return
        rows, self.quarantine = pl.concat(self.quarantine), []
        self.staging.add("quarantine", None, rows, self._newest_seq())
        is_counted = (pl.col("severity") != "file") | pl.struct("severity", "batch_id").is_first_distinct()
        self.reasons.update(dict(rows.filter(is_counted).group_by("reason").len().rows()))
        self._touch(rows)

    def _newest_seq(self) -> int:
        return max((tally.seq for tally in self.tallies.values()), default=self.next_seq - 1)

    def _touch(self, rows: pl.DataFrame) -> None:
        """A window whose quarantine grew has changed, even if no row was added to it."""
        placed = rows.filter(pl.col("window_start").is_not_null())
        keys = placed.select("kind", "batch_id", key=window_key_expr(pl.col("window_start"), self.spec))
        known = {(kind, key) for kind, key, _, _ in self.staging.changes}
        for kind, batch_id, key in keys.unique(["kind", "key"], keep="first", maintain_order=True).rows():
            self.windows[key] += 0
            side = "labels" if kind == "labels" else "inferences"
            if (side, key) not in known:
                self.staging.changes.append((side, key, batch_id, 0))


def by_window(frame: pl.DataFrame) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """Rows of each window; without a copy where the windows follow one another, as they do in files of a day each."""
    starts = frame["window_start"]
    if not starts.is_sorted():
        for (start,), rows in frame.partition_by("window_start", as_dict=True, maintain_order=True).items():
            yield start, rows
        return
    first = 0
    for start, n in starts.rle().struct.unnest().select("value", "len").iter_rows():
        yield start, frame.slice(first, n)
        first += n
