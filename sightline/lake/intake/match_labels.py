"""Which window a label belongs to, and whether it is news.

Labels are matched by prediction id, with the time hint first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from sightline.lake.intake.dedupe import are_distinct
from sightline.lake.store.ledger import Part
from sightline.lake.store.parts import window_key_expr, window_starts
from sightline.lake.store.schema import LABEL_SCHEMA, TIMESTAMP, row_of_revision
from sightline.spec.model import MonitorSpec

KEY = ("window_start", "prediction_id")
INDEX_COLUMNS = ("prediction_id", "window_start", "predicted_at")
NEAR, SEARCHED_FIRST = timedelta(days=2), timedelta(days=30)
TOLD = ("value", "before", "before_batch")
RETRACTED = "\0retracted"
"""Stands for the value of a revision that takes the label back; no class has the zero character in its name."""


@dataclass(frozen=True)
class Predictions:
    """The inference parts to look in: their windows, and how to find their bytes."""

    spec: MonitorSpec
    parts: Sequence[Part]
    file: Callable[[Part], Path]

    def keys(self) -> list[str]:
        """Windows that hold predictions, sorted."""
        return sorted({part.window_key for part in self.parts if part.window_key})

    def rows(self, keys: Sequence[str]) -> pl.LazyFrame:
        """`INDEX_COLUMNS` of the predictions in some windows."""
        wanted = set(keys)
        files = [self.file(part) for part in self.parts if part.window_key in wanted]
        if not files:
            return pl.LazyFrame(schema={name: LABEL_SCHEMA[name] for name in INDEX_COLUMNS})
        lazy = pl.scan_parquet(
            files, hive_partitioning=False, glob=False, missing_columns="insert", extra_columns="ignore"
        )
        return lazy.select(INDEX_COLUMNS)

    def find(self, labels: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
        """First prediction of each label in each of some windows.

        Ids are joined by their hashes and then compared: that costs a quarter of joining the texts.

        Parameters
        ----------
        labels : polars.DataFrame
            ``label`` (a number of each row's own), ``prediction_id``, and more.
        keys : sequence of str
            Windows.

        Returns
        -------
        polars.DataFrame
            The columns of `labels` but the id, ``found_window`` and ``found_at``.
        """
        wanted = labels.with_columns(hash=pl.col("prediction_id").hash())
        rows = self.rows(keys).select(
            pl.col("prediction_id").hash().alias("hash"),
            found_id="prediction_id",
            found_window="window_start",
            found_at="predicted_at",
        )
        pairs = wanted.join(rows.collect(), on="hash", how="inner")
        is_same = pairs["found_id"] == pairs["prediction_id"]
        found = pairs.drop("hash", "found_id", "prediction_id")
        if not is_same.all():
            found = found.filter(is_same)
        if found["label"].n_unique() == len(found):
            return found
        return found.sort("found_at").unique(["label", "found_window"], keep="first", maintain_order=True)


def match_labels(labels: pl.DataFrame, predictions: Predictions) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Find the window of each label's prediction.

    Windows are searched in four steps, each for what the one before has not found: the window of the hint; those up to
    `NEAR` before the truth was known; those between ``received_at - labels.give_up_after`` (`SEARCHED_FIRST` where it
    is not given) and ``received_at``; all others. An id that was predicted in several windows is given the latest
    prediction made before the truth was known; only where there is none in any window, the first one made after it.

    Parameters
    ----------
    labels : polars.DataFrame
        `LABEL_SCHEMA`, ``predicted_at`` is the hint or null.
    predictions : Predictions
        Where to look.

    Returns
    -------
    matched, unmatched : polars.DataFrame
        Matched rows carry the prediction's ``predicted_at`` and ``window_start``.
    """
    spec = predictions.spec
    hint = window_starts(pl.col("predicted_at"), spec)
    rest = labels.select("prediction_id", "observed_at", hint_window=hint).with_row_index("label")
    every = predictions.keys()
    matched: list[pl.DataFrame] = []
    late: list[pl.DataFrame] = []
    seen: set[str] = set()
    steps = (_near(labels, every, spec), False), (_recent(labels, every, spec), False), (every, False)
    for keys, by_hint in ((_hinted(rest, every, spec), True), *steps):
        fresh = keys if by_hint else [key for key in keys if key not in seen]
        if by_hint is False:
            seen.update(fresh)
        if rest.is_empty() or not fresh:
            continue
        candidates = rest.filter(pl.col("hint_window").is_not_null()) if by_hint else rest
        found = _choose(predictions.find(candidates, fresh), by_hint)
        if not by_hint:
            is_late = (found["found_at"] > found["observed_at"]).fill_null(False)
            late.append(found.filter(is_late))
            found = found.filter(~is_late)
        matched.append(found)
        rest = _without(rest, found)
    if late:
        # Nothing earlier was found anywhere: clocks differ, or the time of the truth has no hours
        fallback = pl.concat(late).sort("found_at").unique("label", keep="first", maintain_order=True)
        matched.append(fallback.join(rest.select("label"), on="label", how="semi"))
        rest = _without(rest, fallback)
    if not matched:
        return labels.clear(), labels.select(LABEL_SCHEMA.keys())
    hits = pl.concat(matched).sort("label")
    of_hits = labels if rest.is_empty() else labels[hits["label"]]
    told = of_hits.with_columns(hits["found_at"].alias("predicted_at"), hits["found_window"].alias("window_start"))
    return told.select(LABEL_SCHEMA.keys()), labels[rest["label"].sort()].select(LABEL_SCHEMA.keys())


def _without(labels: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    if len(found) == len(labels):
        return labels.clear()
    return labels.join(found.select("label"), on="label", how="anti") if len(found) else labels


def _hinted(labels: pl.DataFrame, every: list[str], spec: MonitorSpec) -> list[str]:
    hints = labels.select(window_key_expr(pl.col("hint_window").drop_nulls().unique(), spec)).to_series()
    return sorted(set(hints) & set(every))


def _near(labels: pl.DataFrame, every: list[str], spec: MonitorSpec) -> list[str]:
    """Windows that end with the last truth: a prediction found here, made before its truth, is the latest of all."""
    return _between(labels["observed_at"], NEAR, every, spec)


def _recent(labels: pl.DataFrame, every: list[str], spec: MonitorSpec) -> list[str]:
    reach = (spec.labels.give_up_after if spec.labels else None) or SEARCHED_FIRST
    return _between(labels["received_at"], reach, every, spec)


def _between(times: pl.Series, reach: timedelta, every: list[str], spec: MonitorSpec) -> list[str]:
    """Windows that begin between some time before the first of some times and the last one."""
    low, high = times.min(), times.max()
    if not isinstance(low, datetime) or not isinstance(high, datetime):
        return []
    first = spec.key(low - reach - spec.window)
    return [key for key in every if first <= key <= spec.key(high)]


def _choose(pairs: pl.DataFrame, by_hint: bool) -> pl.DataFrame:
    """One prediction per label: the latest made before the truth was known, else the first after it."""
    if by_hint:
        pairs = pairs.filter(pl.col("found_window") == pl.col("hint_window"))
    if pairs["label"].n_unique() == len(pairs):
        return pairs
    is_late = pl.col("found_at") > pl.col("observed_at")
    wait = (pl.col("found_at") - pl.col("observed_at")).abs()
    return pairs.sort(is_late, wait).unique("label", keep="first", maintain_order=True)


@dataclass(frozen=True)
class Revisions:
    """New label rows sorted into news and repetitions; ``conflicts`` are news that contradict the label before."""

    accepted: pl.DataFrame
    duplicates: pl.DataFrame
    conflicts: pl.DataFrame

    @classmethod
    def of_news(cls, new: pl.DataFrame) -> Revisions:
        """Labels of which each is the only one of its prediction."""
        none = new.clear().select(LABEL_SCHEMA.keys())
        nothing = none.with_columns(pl.lit(None, pl.String).alias(name) for name in TOLD)
        return cls(new.select(LABEL_SCHEMA.keys()), nothing, nothing)


def are_only(new: pl.DataFrame, existing: pl.DataFrame) -> bool:
    """Whether each of some labels is the only one of its prediction, as almost all are: nothing is to be compared."""
    return existing.is_empty() and are_distinct(new["prediction_id"])


def sort_revisions(new: pl.DataFrame, existing: pl.DataFrame) -> Revisions:
    """Keep what a label row adds to what is known of its prediction.

    Revisions stand in the order of `sightline.warehouse.current_labels`. A row repeats if the revision before it says
    the same, at the same ``observed_at`` or without a time of its own; if the one after it says the same at the same
    ``observed_at``, received later but loaded before; if its file said the same when it was read
    before (a file that grew or was touched is read again as a whole); or if the same value with the same
    ``observed_at`` was already there and another was observed later (a file loaded again under another name).
    Everything else is a revision of its own and is kept: 1, 0, 1 are three, and so are 1 and 1 observed later, for a 0
    that was observed between them may still arrive. Taking a label back is a revision with a value of its own.

    Parameters
    ----------
    new, existing : polars.DataFrame
        `LABEL_SCHEMA`, of the same windows, and ``source``: the path of the file, null where it is not known.

    Returns
    -------
    Revisions
        ``duplicates`` and ``conflicts`` carry ``before`` (the value of the revision before) and ``before_batch``.
    """
    value = pl.when(pl.col("is_retracted").fill_null(value=False)).then(pl.lit(RETRACTED))
    value = value.otherwise(pl.coalesce("label_class", pl.col("label_value").cast(pl.String)))
    known = existing.join(new.select(KEY), on=KEY, how="semi")
    # Almost all labels are the only one of their prediction: nothing is to be compared
    ids = new["prediction_id"]
    is_only = ids.is_in(known["prediction_id"].implode()).not_()
    is_only = is_only if are_distinct(ids) else is_only & ids.is_unique()
    only, new = new.filter(is_only), new.filter(~is_only)
    rows = pl.concat([known.with_columns(is_new=pl.lit(False)), new.with_columns(is_new=pl.lit(True))])
    rows = rows.with_columns(
        value=value,
        row_number=row_of_revision(pl.col("revision_order")),
        has_own_time=pl.col("observed_at") != pl.col("received_at"),
    )
    rows = rows.sort(*KEY, "observed_at", "received_at", "row_number", "value").with_columns(
        before=pl.col("value").shift(1).over(KEY),
        before_batch=pl.col("batch_id").shift(1).over(KEY),
        is_same_time=(pl.col("observed_at").shift(1).over(KEY) == pl.col("observed_at")) | ~pl.col("has_own_time"),
        came_after=pl.col("revision_order").shift(1).over(KEY) < pl.col("revision_order"),
        is_older_copy=(pl.col("value").shift(-1).over(KEY) == pl.col("value"))
        & (pl.col("observed_at").shift(-1).over(KEY) == pl.col("observed_at"))
        & (pl.col("revision_order").shift(-1).over(KEY) < pl.col("revision_order")),
    )
    rows = rows.sort(*KEY, "revision_order").with_columns(
        is_repeated=_is_read_again() | _is_loaded_again() | _is_told_again()
    )
    says_the_same = (pl.col("before") == pl.col("value")) & pl.col("is_same_time") & pl.col("came_after")
    says_the_same = says_the_same.fill_null(value=False) | pl.col("is_older_copy").fill_null(value=False)
    rows = rows.filter("is_new").with_columns(is_repeated=pl.col("is_repeated") | says_the_same)
    extra = [*LABEL_SCHEMA, *TOLD]
    fresh = rows.filter(~pl.col("is_repeated"))
    return Revisions(
        pl.concat([only.select(LABEL_SCHEMA.keys()), fresh.select(LABEL_SCHEMA.keys())]),
        rows.filter("is_repeated").select(extra),
        fresh.filter(pl.col("before") != pl.col("value")).select(extra),
    )


def _is_read_again() -> pl.Expr:
    """Rows whose file had the same value for the same prediction when another state of it was read before.

    The row at the same place in the file is compared; where that is new, the file's last one.
    """
    own_time = pl.when("has_own_time").then(pl.col("observed_at").cast(pl.String)).otherwise(pl.lit(""))
    value, batch = pl.concat_str("value", own_time, separator="@"), pl.col("batch_id")
    place, file = [*KEY, "source", "row_number"], [*KEY, "source"]
    same_row = (value.shift(1).over(place) == value) & (batch.shift(1).over(place) != batch)
    is_new_row = value.shift(1).over(place).is_null()
    same_file = (value.shift(1).over(file) == value) & (batch.shift(1).over(file) != batch)
    return pl.col("source").is_not_null() & (same_row | (is_new_row & same_file)).fill_null(False)


def _is_told_again() -> pl.Expr:
    """Rows without a time of their own that say what the row that arrived before, which has none either, says."""
    same = (pl.col("value").shift(1).over(KEY) == pl.col("value")) & ~pl.col("has_own_time").shift(1).over(KEY)
    return (same & ~pl.col("has_own_time")).fill_null(False)


def _is_loaded_again() -> pl.Expr:
    """Rows whose value with its ``observed_at`` is there already, older than what was observed since."""
    seen = pl.struct(*KEY, "value", "observed_at").is_first_distinct().not_()
    latest = pl.col("observed_at").shift(1).cum_max().over(KEY)
    return seen & (pl.col("observed_at") < latest).fill_null(False)


def no_labels() -> pl.DataFrame:
    """An empty label frame."""
    return pl.DataFrame(schema=LABEL_SCHEMA)


def hint_keys(hints: pl.Series, spec: MonitorSpec) -> set[str]:
    """Window keys of some times."""
    starts = (
        hints.cast(TIMESTAMP)
        .drop_nulls()
        .to_frame("t")
        .select(window_key_expr(window_starts(pl.col("t"), spec), spec).unique())
    )
    return set(starts.to_series())
