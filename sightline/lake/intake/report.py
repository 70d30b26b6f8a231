"""Counts of an intake: per batch for the ledger, in total for the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sightline.lake.intake.sources import Batch
from sightline.lake.store.ledger import BatchRow, utc_text


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
    waiting : int
        Labels of this and earlier intakes that wait for their prediction.
    quarantined_by_reason : dict of str to int
        Quarantine rows by reason.
    refused : list of (str, str, str)
        Files refused whole: path, reason and message.
    unfinished : list of str
        Paths of files that somebody is writing: they wait for the next intake.
    """

    batches: list[str] = field(default_factory=list[str])
    windows: dict[str, int] = field(default_factory=dict[str, int])
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    value_issues: int = 0
    unmatched: int = 0
    waiting: int = 0
    quarantined_by_reason: dict[str, int] = field(default_factory=dict[str, int])
    refused: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    unfinished: list[str] = field(default_factory=list[str])

    def add(self, tallies: Iterable[Tally], windows: Mapping[str, int]) -> None:
        """Add what one commit did."""
        for tally in tallies:
            self.batches.append(tally.batch.batch_id)
            self.accepted += tally.n_accepted
            self.duplicates += tally.n_duplicate
            self.rejected += tally.n_rejected
            self.value_issues += tally.n_value_issues
            self.unmatched += tally.n_unmatched
        for key, n in windows.items():
            self.windows[key] = self.windows.get(key, 0) + n

    def add_reasons(self, reasons: Iterable[tuple[str, int]]) -> None:
        """Add quarantine rows by reason."""
        for reason, n in reasons:
            self.quarantined_by_reason[reason] = self.quarantined_by_reason.get(reason, 0) + n


@dataclass
class Tally:
    """Counts of one batch."""

    batch: Batch
    seq: int
    status: str = "loaded"
    open_end: str = ""
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
        named = (b.batch_id, self.seq, b.kind, b.path, f"{b.signature}{self.open_end}", b.format, mark, self.status)
        return BatchRow(*named, *counts, utc_text(b.received_at), utc_text(now))
