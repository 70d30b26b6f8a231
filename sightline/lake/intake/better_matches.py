"""Labels whose prediction came before a better one did: they move, so the order of delivery does not matter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from sightline.lake.intake.match_labels import Predictions
from sightline.lake.store.ledger import Part
from sightline.lake.store.parts import Staging, scan_parts, window_starts
from sightline.lake.store.schema import LABEL_SCHEMA
from sightline.spec.model import MonitorSpec

BETTER_THROUGH = "matched_tried_through"
"""Ledger number: newest batch of inferences that every matched label has been compared with."""

SLACK = timedelta(days=2)
"""A truth is not observed later than so long after its batch was loaded: a day of clock skew, and as much again."""


def unseen_inferences(staging: Staging, tried: int) -> list[Part]:
    """Inference parts that the matched labels were never compared with.

    Parameters
    ----------
    staging : Staging
    tried : int
        What holds for a ledger that does not know: through which batch the labels that wait have been compared.
    """
    return staging.live("inferences", after_seq=staging.ledger.get(BETTER_THROUGH, tried))


def better_matched(spec: MonitorSpec, staging: Staging, fresh: Sequence[Part]) -> pl.DataFrame:
    """Matched labels that belong to a prediction of some new parts rather than to theirs.

    Parameters
    ----------
    spec : MonitorSpec
    staging : Staging
    fresh : sequence of Part
        Inference parts.

    Returns
    -------
    polars.DataFrame
        `LABEL_SCHEMA`, as they are stored, and ``found_window``: a window that is better.
    """
    keys = sorted({part.window_key for part in fresh if part.window_key})
    parts = _within_reach(staging, keys[0]) if keys else []
    if not parts:
        return pl.DataFrame(schema={**LABEL_SCHEMA, "found_window": LABEL_SCHEMA["window_start"]})
    first = spec.window_start(keys[0]).replace(tzinfo=None)
    labels = scan_parts([staging.file(part) for part in parts], LABEL_SCHEMA)
    known = labels.filter((pl.col("observed_at") >= first) | (pl.col("predicted_at") >= first)).collect()
    wanted = known.select("prediction_id").with_row_index("label")
    new = Predictions(spec, fresh, staging.file).find(wanted, keys).sort("label", "found_at")
    pairs = pl.concat([known[new["label"]], new.drop("label")], how="horizontal")
    found = pairs.filter(pl.col("found_window") != pl.col("window_start"), _is_better(spec))
    return found.unique(["prediction_id", "revision_order"], keep="first", maintain_order=True).drop("found_at")


def _within_reach(staging: Staging, first_key: str) -> list[Part]:
    """Label parts that may hold a label of a prediction from `first_key` on, or a truth observed since."""
    since = staging.ledger.first_loaded_since(datetime.strptime(first_key[:10], "%Y-%m-%d") - SLACK)
    return [
        part
        for part in staging.live("labels")
        if (part.window_key or "") >= first_key or (since is not None and part.seq >= since)
    ]


def _is_better(spec: MonitorSpec) -> pl.Expr:
    """The rule of `match_labels`, for two predictions: the hint, then the latest before the truth, then the first."""
    at, found, observed = pl.col("predicted_at"), pl.col("found_at"), pl.col("observed_at")
    hinted = window_starts(pl.col("hinted_at"), spec)
    is_hinted = (hinted == pl.col("window_start")).fill_null(value=False)
    is_late = at > observed
    by_time = pl.when(found <= observed).then(is_late | (found > at)).otherwise(is_late & (found < at))
    return ~is_hinted & ((hinted == pl.col("found_window")).fill_null(value=False) | by_time)
