"""Predictions and labels as they stood at an earlier moment: before corrections and withdrawals that came later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from sightline.home import MonitorPaths
from sightline.lake.intake.inference_revisions import ROW, counting
from sightline.lake.intake.label_revisions import WAITING
from sightline.lake.intake.match_labels import INDEX_COLUMNS, Predictions, match_labels
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.parts import scan_lake, window_key_expr
from sightline.spec.model import MonitorSpec


@dataclass(frozen=True)
class KnownThen:
    """What was known of the predictions that were revised since.

    Attributes
    ----------
    ids : polars.DataFrame
        ``prediction_id`` of these predictions; all that the lake holds of them is to be left out.
    inferences, labels : polars.DataFrame
        What stands in its place: the columns of the lake and ``window_key``.
    keys : set of str
        Windows that held other rows than now.
    """

    ids: pl.DataFrame
    inferences: pl.DataFrame
    labels: pl.DataFrame
    keys: set[str]


@dataclass(frozen=True)
class _Rows(Predictions):
    """Predictions of a frame in place of parts."""

    held: pl.DataFrame

    def keys(self) -> list[str]:
        return sorted({self.spec.key(start) for start in self.held["window_start"].unique().to_list()})

    def rows(self, keys: Sequence[str]) -> pl.LazyFrame:
        starts = [self.spec.window_start(key).replace(tzinfo=None) for key in keys]
        return self.held.lazy().filter(pl.col("window_start").is_in(starts)).select(INDEX_COLUMNS)


def known_then(spec: MonitorSpec, paths: MonitorPaths, at: datetime) -> KnownThen | None:
    """Predictions that were corrected or withdrawn after a moment, as they stood then.

    Parameters
    ----------
    spec, paths
        The monitor.
    at : datetime
        Naive UTC. A revision is known from its ``observed_at`` on.

    Returns
    -------
    KnownThen or None
        None where nothing was revised since. Their labels, all that have come until now, stand where these predictions
        did.
    """
    with open_ledger(paths.ledger, create=False) as ledger:
        if not ledger.parts("revisions"):
            return None
    revisions = scan_lake(spec, paths, "revisions").collect()
    is_later = pl.col("observed_at") > at
    later = revisions.filter(is_later)
    if later.is_empty():
        return None
    ids = later.select("prediction_id").unique()

    def of_ids(kind: str) -> pl.DataFrame:
        return scan_lake(spec, paths, kind).join(ids.lazy(), on="prediction_id", how="semi").collect()

    live = of_ids("inferences")
    rows = pl.concat([live, of_ids("replaced")]).join(later.filter(~pl.col("is_withdrawn")), on=ROW, how="anti")
    then = counting(rows, revisions.filter(~is_later)).filter("counts").drop("counts", "revision")
    told = pl.concat([of_ids("labels").with_columns(predicted_at="hinted_at"), *map(of_ids, WAITING)])
    labels = told.clear()
    if spec.labels is not None and len(told) and len(then):
        labels, _ = match_labels(
            told.sort("revision_order"), _Rows(spec, (), lambda part: paths.root / part.path, then)
        )
    gone, back = live.join(then, on=ROW, how="anti"), then.join(live, on=ROW, how="anti")
    starts = pl.concat([gone["window_start"], back["window_start"]]).unique().to_list()
    key = window_key_expr(pl.col("window_start"), spec).alias("window_key")
    return KnownThen(ids, then.with_columns(key), labels.with_columns(key), {spec.key(start) for start in starts})
