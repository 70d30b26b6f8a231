"""The label side of an intake: match, sort into news and repetitions, keep what found no prediction for later.

Which revision then counts: `sightline.warehouse.current_labels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from sightline.lake.intake.better_matches import BETTER_THROUGH, better_matched, unseen_inferences
from sightline.lake.intake.match_labels import (
    RETRACTED,
    Predictions,
    Revisions,
    are_only,
    match_labels,
    no_labels,
    sort_revisions,
)
from sightline.lake.store.ledger import Part
from sightline.lake.store.parts import Staging, scan_parts, window_starts
from sightline.lake.store.schema import LABEL_SCHEMA, QUARANTINE_SCHEMA, row_of_revision
from sightline.lake.store.supersede import take_out
from sightline.spec.model import MonitorSpec

WAITING = ("unmatched", "given_up")
"""Kinds of labels without a prediction."""
GIVEN_UP = "unmatched_label"
LABEL_KEY = ["prediction_id", "batch_id", "revision_order"]

TRIED_THROUGH = "unmatched_tried_through"
"""Ledger number: newest batch of inferences that every unmatched label has been compared with."""

IS_EARLY = (pl.col("observed_at") < pl.col("predicted_at").dt.truncate("1d")) & (
    pl.col("observed_at") != pl.col("received_at")
)
"""Truths that were known on a day before that of their prediction: a clock, an id or a column is wrong. Times of the
same day are not told, since many have no hours."""


@dataclass
class LabelsDone:
    """What one flush of labels gave."""

    accepted: pl.DataFrame = field(default_factory=no_labels)
    quarantine: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    duplicates_by_batch: dict[str, int] = field(default_factory=dict[str, int])
    unmatched_by_batch: dict[str, int] = field(default_factory=dict[str, int])


def waiting_labels(spec: MonitorSpec, staging: Staging) -> tuple[pl.DataFrame, list[Part], list[Part]]:
    """Labels without a prediction, given up or not, their parts, and the inferences they were not compared with."""
    fresh = staging.live("inferences", after_seq=staging.ledger.get(TRIED_THROUGH))
    parts = [part for kind in WAITING for part in staging.live(kind)] if fresh else []
    return _labels_in(staging, parts), parts, fresh


def _labels_in(staging: Staging, parts: Sequence[Part]) -> pl.DataFrame:
    return scan_parts([staging.file(part) for part in parts], LABEL_SCHEMA).collect() if parts else no_labels()


def late_labels(staging: Staging, before: datetime) -> pl.DataFrame:
    """Labels that wait, of batches that were loaded before a moment (UTC)."""
    batches = staging.ledger.waiting_since("labels", before)
    waiting = _labels_in(staging, staging.live("unmatched") if batches else [])
    return waiting.filter(pl.col("batch_id").is_in(batches))


def told_in(spec: MonitorSpec) -> pl.Expr:
    """Start of the window in which a label without a prediction is told, null before the first one."""
    at = pl.coalesce("hinted_at", "received_at")
    return pl.when(at >= spec.first_window.replace(tzinfo=None)).then(window_starts(at, spec))


class LabelWork:
    """Matches the labels of one commit."""

    def __init__(self, spec: MonitorSpec, staging: Staging) -> None:
        self.spec, self.staging = spec, staging
        self.predictions = Predictions(spec, staging.live("inferences"), staging.file)
        self.unmatched: list[pl.DataFrame] = []
        self.done = LabelsDone()

    def take(self) -> LabelsDone:
        """Hand over what is done."""
        done, self.done = self.done, LabelsDone()
        return done

    def retry(self) -> LabelWork:
        """Compare the labels that wait, and those that have a prediction, with the inferences that came since."""
        waiting, parts, fresh = waiting_labels(self.spec, self.staging)
        moved = self._take_moved()
        self._compared()
        matched, _ = match_labels(waiting, Predictions(self.spec, fresh, self.staging.file))
        if len(matched):
            self._take_waiting(matched, parts)
        if matched.is_empty() and moved.is_empty():
            return self
        revisions = self._sort(pl.concat([matched, moved]))
        found = Counter(matched["batch_id"].to_list())
        repeated = Counter(revisions.duplicates["batch_id"].to_list())
        self.staging.rematched = [(n, n - repeated[batch], repeated[batch], batch) for batch, n in found.items()]
        self.staging.rematched += [(0, -n, n, batch) for batch, n in repeated.items() if batch not in found]
        return self

    def _take_waiting(self, matched: pl.DataFrame, parts: Sequence[Part]) -> None:
        """Take labels that found their prediction out of those without one; those given up no longer count so."""
        for kind in WAITING:
            mine = [part for part in parts if part.kind == kind]
            labels = _labels_in(self.staging, mine)
            found = labels.join(matched, on=LABEL_KEY, how="semi")
            if found.is_empty():
                continue
            rest = labels.join(matched, on=LABEL_KEY, how="anti", maintain_order="left")
            self.staging.obsolete += mine
            if kind == "unmatched":
                self.unmatched.append(rest)
                continue
            if len(rest):
                self.staging.add(kind, None, rest, max(part.seq for part in mine))
            self.staging.given_up += [(-n, -n, batch) for batch, n in Counter(found["batch_id"].to_list()).items()]
            told = found.select("prediction_id", "batch_id", row_number=row_of_revision(pl.col("revision_order")))
            told = told.with_columns(reason=pl.lit(GIVEN_UP))
            for _, rows in take_out(self.staging, "quarantine", told, keep=False):
                self._touch(rows)

    def _touch(self, told: pl.DataFrame) -> None:
        """The windows in which labels were told as given up have changed."""
        for start in told["window_start"].drop_nulls().unique().to_list():
            self.staging.changes.append(("labels", self.spec.key(start), told["batch_id"][0], 0))

    def give_up(self, before: datetime, seq: int) -> pl.DataFrame:
        """Give up labels of batches that were loaded before a moment and found no prediction.

        They are kept and compared with every prediction that comes, as those that wait are, and are told in the
        quarantine until then: in the window of their own prediction time, else in that in which they were received.

        Returns
        -------
        polars.DataFrame
            `QUARANTINE_SCHEMA`
        """
        late = late_labels(self.staging, before)
        if late.is_empty():
            return pl.DataFrame(schema=QUARANTINE_SCHEMA)
        take_out(self.staging, "unmatched", late.select(LABEL_KEY), keep=False)
        self.staging.add("given_up", None, late, seq)
        self.staging.given_up += [(n, n, batch) for batch, n in Counter(late["batch_id"].to_list()).items()]
        placed = late.with_columns(
            window_start=told_in(self.spec),
            value=pl.coalesce("label_class", pl.col("label_value").cast(pl.String)),
            before=pl.lit(None, pl.String),
        )
        paths = self.staging.ledger.batch_paths(late["batch_id"].unique().to_list())
        column = self.spec.labels.column if self.spec.labels else "label"
        notes = _label_notes(placed, GIVEN_UP, column, _paths(placed["batch_id"], paths))
        return notes.with_columns(severity=pl.lit("row"))

    def _take_moved(self) -> pl.DataFrame:
        """Take the labels that belong to a prediction that came since out of their windows, and match them anew."""
        fresh = unseen_inferences(self.staging, self.staging.ledger.get(TRIED_THROUGH))
        better = better_matched(self.spec, self.staging, fresh)
        if better.is_empty():
            return no_labels()
        keys = {self.spec.key(start) for start in better["window_start"].unique().to_list()}
        take_out(self.staging, "labels", better.select("prediction_id", "revision_order"), keys, keep=False)
        unplaced = better.select(LABEL_SCHEMA.keys()).with_columns(predicted_at="hinted_at")
        matched, rest = match_labels(unplaced, self.predictions)
        assert rest.is_empty(), "the prediction that a label had is still there"
        return matched

    def _compared(self) -> None:
        newest = self.staging.ledger.newest("inferences")
        self.staging.meta |= {TRIED_THROUGH: newest, BETTER_THROUGH: newest}

    def add(self, labels: pl.DataFrame, paths_of: Mapping[str, str]) -> LabelWork:
        """Match new labels (``predicted_at`` is the hint); `paths_of` tells the files of the batches being loaded."""
        self._compared()
        matched, rest = match_labels(labels, self.predictions)
        self._sort(matched, paths_of)
        if len(rest):
            self.unmatched.append(rest)
            self.done.unmatched_by_batch = dict(Counter(rest["batch_id"].to_list()))
        return self

    def finish(self, seq: int) -> None:
        """Stage the labels that still wait."""
        frames = [frame for frame in self.unmatched if len(frame)]
        if frames:
            self.staging.add("unmatched", None, pl.concat(frames), seq)
        self.unmatched = []

    def _sort(self, matched: pl.DataFrame, paths_of: Mapping[str, str] | None = None) -> Revisions:
        keys = [self.spec.key(start) for start in matched["window_start"].unique().to_list()]
        files = [self.staging.file(part) for part in self.staging.live("labels", keys)] if keys else []
        existing = scan_parts(files, LABEL_SCHEMA).collect()
        batches = pl.concat([matched["batch_id"], existing["batch_id"]]).unique().to_list()
        paths = {**self.staging.ledger.batch_paths(batches), **(paths_of or {})}
        if are_only(matched, existing):
            revisions = Revisions.of_news(matched)
        else:
            revisions = sort_revisions(*(_with_source(frame, paths) for frame in (matched, existing)))
        self.done.accepted = revisions.accepted
        self.done.duplicates_by_batch = dict(Counter(revisions.duplicates["batch_id"].to_list()))
        self._report(revisions)
        self._report_early(revisions.accepted, paths)
        return revisions

    def _report_early(self, accepted: pl.DataFrame, paths: dict[str, str]) -> None:
        early = accepted.filter(IS_EARLY)
        if early.is_empty():
            return
        told = early.with_columns(value=pl.col("observed_at").cast(pl.String), before=pl.lit(None, pl.String))
        name = (self.spec.labels.observed_at if self.spec.labels else None) or "observed_at"
        notes = _label_notes(told, "observed_before_prediction", name, _paths(early["batch_id"], paths))
        self.done.quarantine.append(notes)

    def _report(self, revisions: Revisions) -> None:
        column = self.spec.labels.column if self.spec.labels else "label"
        batches = {
            *revisions.duplicates["batch_id"],
            *revisions.duplicates["before_batch"],
            *revisions.conflicts["batch_id"],
        } - {None}
        paths = self.staging.ledger.batch_paths(sorted(batches))
        repeats = revisions.duplicates
        here, there = (_paths(repeats[name], paths) for name in ("batch_id", "before_batch"))
        is_reload = (here == there).fill_null(False) & (repeats["batch_id"] != repeats["before_batch"]).fill_null(False)
        is_retraction = pl.col("value") == RETRACTED
        for frame, reason in (
            (repeats.filter(~is_reload), "duplicate"),
            (revisions.conflicts.filter(~is_retraction), "conflicting_label"),
            (revisions.conflicts.filter(is_retraction), "retracted_label"),
        ):
            if len(frame):
                self.done.quarantine.append(_label_notes(frame, reason, column, _paths(frame["batch_id"], paths)))


def _with_source(labels: pl.DataFrame, paths: dict[str, str]) -> pl.DataFrame:
    return labels.with_columns(source=_paths(labels["batch_id"], paths))


def _paths(batches: pl.Series, paths: dict[str, str]) -> pl.Series:
    return batches.replace_strict(list(paths), list(paths.values()), default=None, return_dtype=pl.String)


def _label_notes(frame: pl.DataFrame, reason: str, column: str, source: pl.Series) -> pl.DataFrame:
    is_repeat = reason == "duplicate"
    before, now = (pl.col(name).str.strip_prefix("\0") for name in ("before", "value"))
    value = pl.format("{} -> {}", before, now) if reason in ("conflicting_label", "retracted_label") else now
    return frame.select(
        kind=pl.lit("labels"),
        batch_id="batch_id",
        source=source,
        row_number=row_of_revision(pl.col("revision_order")),
        prediction_id="prediction_id",
        predicted_at="predicted_at",
        window_start="window_start",
        column=pl.lit(column),
        reason=pl.lit(reason),
        value=value.str.slice(0, 200),
        severity=pl.lit("row" if is_repeat else "note"),
        payload=pl.lit(None, dtype=pl.String),
        received_at="received_at",
    ).select(QUARANTINE_SCHEMA.keys())
