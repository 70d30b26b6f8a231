"""Corrections and withdrawals of predictions: which rows count, and what becomes of those that no longer do.

A prediction is logged once; a row that `supersedes` corrects it, one that is `withdrawn` takes it back. Both speak of
all rows with their prediction id and model version (a withdrawal without a version: of all versions), up to the window
in which a day after they became known lies: an id that is used again later is a prediction of its own. Of several
revisions the one that became known last counts; of those of one moment the one further down in its file if they have
no time of their own, a withdrawal before a correction, then the larger MD5 of what is said.

Nothing of this depends on the order of loading. Rows that do not count are kept, in the columns they had, below
``lake/replaced/window=KEY/``, and every revision below ``lake/revisions/``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import polars as pl

from sightline.lake.intake.dedupe import NOT_CONTENT, split_duplicates
from sightline.lake.store.parts import Staging, scan_parts
from sightline.lake.store.schema import QUARANTINE_SCHEMA, REVISION_SCHEMA, lake_schema
from sightline.lake.store.supersede import take_out
from sightline.spec.model import MonitorSpec

ROW = ["batch_id", "row_number", "prediction_id"]
"""What tells a stored row from all others; the id, for a call of several rows is one row of its segment."""
PLACE = [*ROW, "model_version", "predicted_at", "window_start"]
SAME = ["prediction_id", "model_version", "is_withdrawn", "content"]
REASON = "superseded_prediction"


def no_revisions() -> pl.DataFrame:
    """An empty frame of revisions."""
    return pl.DataFrame(schema=REVISION_SCHEMA)


def with_content(revisions: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Fill in what corrections say: the MD5 of the values of their rows."""
    told = rows.join(revisions.filter(~pl.col("is_withdrawn")).select(ROW), on=ROW, how="semi")
    if told.is_empty():
        return revisions
    names = [name for name in told.columns if name not in NOT_CONTENT]
    said = [
        hashlib.md5(msgspec.json.encode(row, enc_hook=str), usedforsecurity=False).hexdigest()
        for row in told.select(names).to_dicts()
    ]
    known = told.select(ROW).with_columns(said=pl.Series(said, dtype=pl.String)).unique(ROW, keep="first")
    joined = revisions.join(known, on=ROW, how="left", maintain_order="left")
    return joined.with_columns(content=pl.coalesce("said", "content")).select(REVISION_SCHEMA.keys())


def counting(rows: pl.DataFrame, revisions: pl.DataFrame) -> pl.DataFrame:
    """Which of some rows count.

    Parameters
    ----------
    rows : polars.DataFrame
        Columns `PLACE`, or more.
    revisions : polars.DataFrame
        `REVISION_SCHEMA`; all of these ids.

    Returns
    -------
    polars.DataFrame
        `rows` with ``counts``, and ``revision``: ``corrected`` or ``withdrawn``, by what the last revision says.
    """
    has_time = pl.col("observed_at") != pl.col("received_at")
    place = pl.when(has_time).then(0).otherwise("row_number")
    ranked = revisions.sort("observed_at", place, "is_withdrawn", "content", "batch_id").with_row_index("rank")
    told = ranked.select(
        "prediction_id", "rank", "reaches_until", "is_withdrawn",
        of_version="model_version", of_batch="batch_id", of_row="row_number",
    )  # fmt: skip
    numbered = rows.with_row_index("place")
    pairs = numbered.select("place", *PLACE).join(told, on="prediction_id", how="inner")
    pairs = pairs.filter(pl.col("of_version").is_null() | (pl.col("of_version") == pl.col("model_version")))
    is_own = (
        ~pl.col("is_withdrawn")
        & (pl.col("of_batch") == pl.col("batch_id"))
        & (pl.col("of_row") == pl.col("row_number"))
    )
    last = pairs.sort("rank").group_by("place", maintain_order=True).agg(
        is_correction=is_own.any(),
        is_last=is_own.last(),
        is_covered=(pl.col("window_start") <= pl.col("reaches_until").max()).first(),
        withdraws=pl.col("is_withdrawn").last(),
    )  # fmt: skip
    joined = numbered.join(last, on="place", how="left", maintain_order="left")
    counts = pl.when("is_correction").then("is_last").otherwise(~pl.col("is_covered")).fill_null(value=True)
    word = pl.when("withdraws").then(pl.lit("withdrawn")).otherwise(pl.lit("corrected"))
    return joined.with_columns(counts=counts, revision=word).drop(
        "place", "is_correction", "is_last", "is_covered", "withdraws"
    )


def found_rows(withdrawals: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of some withdrawals that speak of one of the rows."""
    pairs = withdrawals.join(rows.select("prediction_id", "window_start", version="model_version"), on="prediction_id")
    is_meant = pl.col("model_version").is_null() | (pl.col("model_version") == pl.col("version"))
    meant = pairs.filter(is_meant & (pl.col("window_start") <= pl.col("reaches_until")))
    return meant.select(REVISION_SCHEMA.keys()).unique(maintain_order=True)


@dataclass
class Placed:
    """What became of the rows and revisions of one flush; counts are by batch."""

    accepted: pl.DataFrame
    replaced: pl.DataFrame
    quarantine: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    duplicates: Counter[str] = field(default_factory=Counter[str])
    withdrawals: Counter[str] = field(default_factory=Counter[str])
    waiting: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])


class RevisionWork:
    """Places the inferences of one commit among the revisions, and the stored ones among new revisions."""

    def __init__(self, spec: MonitorSpec, staging: Staging) -> None:
        self.spec, self.staging = spec, staging
        self.left: set[str] = set()
        """Windows that rows were taken out of."""
        self.forgotten: list[pl.DataFrame] = []

    def place(self, frame: pl.DataFrame, news: pl.DataFrame, paths_of: Mapping[str, str], seq: int) -> Placed:
        """Sort new rows into those that count and those that are kept beside, and settle the stored ones anew.

        Parameters
        ----------
        frame : polars.DataFrame
            Canonical inferences in the order in which they arrived.
        news : polars.DataFrame
            The revisions among them, and withdrawals.
        paths_of : mapping of str to str
            Batch id -> path for the batches being loaded.
        seq : int
            Number of the newest batch.
        """
        known = self.known()
        if known.is_empty() and news.is_empty():
            split = split_duplicates(self.spec, frame, self.staging, paths_of)
            return Placed(split.accepted, frame.clear(), split.quarantine, Counter(split.duplicates_by_batch))
        fresh, repeats = self._sort(with_content(news, frame), known, paths_of)
        frame = frame.join(repeats, on=ROW, how="anti", maintain_order="left")
        corrections = frame.join(fresh.filter(~pl.col("is_withdrawn")), on=ROW, how="semi", maintain_order="left")
        plain = frame.join(corrections, on=ROW, how="anti", maintain_order="left")
        every = pl.concat([known, fresh])
        split = split_duplicates(
            self.spec, plain, self.staging, paths_of, ("inferences", "replaced"), every.filter(~pl.col("is_withdrawn"))
        )
        rows = pl.concat([split.accepted, corrections])
        concerned = rows.join(every, on="prediction_id", how="semi", maintain_order="left")
        stored, left = self.settle(fresh["prediction_id"], every, seq)
        judged = counting(concerned, every)
        gone = judged.filter(~pl.col("counts"))
        done = Placed(
            rows.join(gone, on=ROW, how="anti", maintain_order="left"),
            gone.select(frame.columns),
            [
                *split.quarantine,
                *_repeat_notes(repeats, paths_of),
                *self._notes(left, paths_of),
                *self._notes(gone, paths_of),
            ],
            Counter(split.duplicates_by_batch) + Counter(repeats["batch_id"].to_list()),
        )
        self._keep(fresh, known, pl.concat([stored, concerned.select(PLACE)]), seq, done)
        return done

    def forget(self, taken: Sequence[tuple[str | None, pl.DataFrame]]) -> None:
        """Note revisions that were taken out: the rows they spoke of are settled anew by `finish`."""
        self.forgotten += [rows.select(REVISION_SCHEMA.keys()) for _, rows in taken]

    def finish(self, paths_of: Mapping[str, str], seq: int) -> list[pl.DataFrame]:
        """Settle what forgotten revisions spoke of; notes of rows that no longer count."""
        if not self.forgotten:
            return []
        ids = pl.concat(self.forgotten)["prediction_id"]
        self.forgotten = []
        _, gone = self.settle(ids, self.known(), seq)
        return self._notes(gone, paths_of)

    def known(self) -> pl.DataFrame:
        """All revisions so far."""
        files = [self.staging.file(part) for part in self.staging.live("revisions")]
        return scan_parts(files, REVISION_SCHEMA).collect() if files else no_revisions()

    def _sort(
        self, news: pl.DataFrame, known: pl.DataFrame, paths_of: Mapping[str, str]
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """New revisions, and repetitions with ``is_reload``: their own file said so when it was read before."""
        if news.is_empty():
            return news, news.with_columns(is_reload=pl.lit(value=True))
        before = known.join(news, on="prediction_id", how="semi")
        batches = pl.concat([before["batch_id"], news["batch_id"]]).unique().to_list()
        paths = {**self.staging.ledger.batch_paths(batches), **paths_of}
        told = pl.concat([before.with_columns(is_new=pl.lit(False)), news.with_columns(is_new=pl.lit(True))])
        told = told.with_columns(
            source=pl.col("batch_id").replace_strict(
                list(paths), list(paths.values()), default=None, return_dtype=pl.String
            )
        )
        own_time = pl.when(pl.col("observed_at") != pl.col("received_at")).then("observed_at")
        place = [*SAME, "source", "row_number", own_time.alias("own_time")]
        is_reload = pl.col("source").is_not_null() & (
            pl.col("batch_id").shift(1).over(place).fill_null(pl.col("batch_id")) != pl.col("batch_id")
        )
        is_same = ~pl.struct(*SAME, "observed_at").is_first_distinct()
        told = told.with_columns(is_reload=is_reload, is_same=is_same).filter("is_new")
        is_repeat = pl.col("is_reload") | pl.col("is_same")
        names = [*REVISION_SCHEMA]
        return told.filter(~is_repeat).select(names), told.filter(is_repeat).select(*names, "is_reload")

    def settle(self, ids: pl.Series, revisions: pl.DataFrame, seq: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Move stored rows of some ids to where they belong now.

        Returns
        -------
        rows, gone : polars.DataFrame
            Columns `PLACE` of all stored rows of the ids, and of those that no longer count, with ``revision``.
        """
        live, beside = (self._stored(kind, ids) for kind in ("inferences", "replaced"))
        gone = counting(live, revisions).filter(~pl.col("counts"))
        back = counting(beside, revisions).filter("counts")
        for rows, source, target in ((gone, "inferences", "replaced"), (back, "replaced", "inferences")):
            if rows.is_empty():
                continue
            keys = {self.spec.key(start) for start in rows["window_start"].unique().to_list()}
            self.left |= keys
            for key, moved in take_out(self.staging, source, rows.select(ROW), keys, keep=False):
                self.staging.add(target, key, moved, seq)
                if target == "inferences" and key is not None:
                    counts = moved.group_by("batch_id").len().sort("batch_id")
                    self.staging.changes += [(target, key, batch_id, n) for batch_id, n in counts.iter_rows()]
        if len(back):
            told = back.select(ROW).with_columns(reason=pl.lit(REASON))
            take_out(self.staging, "quarantine", told, keep=False)
        return pl.concat([live, beside]), gone

    def _stored(self, kind: str, ids: pl.Series) -> pl.DataFrame:
        files = [self.staging.file(part) for part in self.staging.live(kind)]
        schema = {name: dtype for name, dtype in lake_schema(self.spec, kind).items() if name in PLACE}
        if not files or ids.is_empty():
            return pl.DataFrame(schema={name: schema[name] for name in PLACE})
        scan = pl.scan_parquet(
            files, hive_partitioning=False, glob=False, missing_columns="insert", extra_columns="ignore"
        )
        return scan.select(PLACE).join(ids.unique().to_frame().lazy(), on="prediction_id", how="semi").collect()

    def _keep(self, fresh: pl.DataFrame, known: pl.DataFrame, rows: pl.DataFrame, seq: int, done: Placed) -> None:
        """Stage new revisions, and tell which withdrawals wait for their prediction."""
        withdrawals = fresh.filter("is_withdrawn")
        found = found_rows(withdrawals, rows)
        waiting = withdrawals.join(found, on=ROW, how="anti")
        done.withdrawals = Counter(found["batch_id"].to_list())
        done.waiting = Counter(waiting["batch_id"].to_list())
        ended = found_rows(known.filter("is_waiting"), rows)
        if len(ended):
            take_out(self.staging, "revisions", ended.select(ROW), keep=False)
            done.found = Counter(ended["batch_id"].to_list())
        settled = fresh.join(waiting, on=ROW, how="anti", maintain_order="left")
        kept = pl.concat(
            [
                settled,
                ended.with_columns(is_waiting=pl.lit(value=False)),
                waiting.with_columns(is_waiting=pl.lit(value=True)),
            ]
        )
        if len(kept):
            self.staging.add("revisions", None, kept, seq)

    def _notes(self, gone: pl.DataFrame, paths_of: Mapping[str, str]) -> list[pl.DataFrame]:
        if gone.is_empty():
            return []
        paths = {**self.staging.ledger.batch_paths(gone["batch_id"].unique().to_list()), **paths_of}
        return [_notes(gone.with_columns(value=pl.col("revision")), paths, REASON, "note")]


def _repeat_notes(repeats: pl.DataFrame, paths: Mapping[str, str]) -> list[pl.DataFrame]:
    told = repeats.filter(~pl.col("is_reload"))
    if told.is_empty():
        return []
    word = pl.when("is_withdrawn").then(pl.lit("withdrawal")).otherwise(pl.lit("correction"))
    return [_notes(told.with_columns(value=word), paths, "duplicate", "row")]


def _notes(rows: pl.DataFrame, paths: Mapping[str, str], reason: str, severity: str) -> pl.DataFrame:
    source = pl.col("batch_id").replace_strict(list(paths), list(paths.values()), default=None, return_dtype=pl.String)
    told = rows.with_columns(kind=pl.lit("inferences"), source=source, reason=pl.lit(reason), severity=pl.lit(severity))
    return told.select(
        (pl.col(name) if name in told.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in QUARANTINE_SCHEMA.items()
    )
