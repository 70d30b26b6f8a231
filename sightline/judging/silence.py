"""Monitors of which only positives are reported (`labels.silence: negative`): when silence may be taken for an answer.

A prediction of which nothing is heard is negative once `labels.give_up_after` has passed *and* reports were seen to
come in until then: a feed that has stopped makes no negatives. Before that the positives still to come are counted by
those of their kind that came (`metrics_py.quality.silence`), where it is known how late they come; else there is no
number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from metrics_py.quality.delay_law import DelayLaw
from metrics_py.quality.metrics import BY_TASK
from metrics_py.quality.silence import FEWEST_REPORTED
from sightline.judging.missing_labels import LabelShares
from sightline.results.learnt_delays import MIN_LABELS
from sightline.spec.model import MonitorSpec

NEVER = datetime.min.replace(tzinfo=UTC)
"""Up to when labels are known where none has come."""

SEASON = timedelta(days=7)
"""Reports that come in batches as far apart as this, or farther, tell by their times nothing of how late each is."""

FEWEST_ORDERED = 20
"""The same of the average precision, in which every positive counts several times at one place (ADR 14)."""

NOTHING_CAME = "no label has ever come: whether nothing is positive or nothing was reported, nobody can tell"
IN_BATCHES = "labels come in batches {} days apart: how many positives are still to be reported is not known"
NOT_LEARNT = (
    "positives are still being reported, and how late they come is not known yet: "
    f"that takes {MIN_LABELS} of them that were watched as they came"
)
FEW = "{} positives have been reported so far, and {} are needed: those to come cannot be counted by fewer"
IMPOSSIBLE = "by the {} positives that have been reported so far the value would lie beyond its range: they are too few"
CORRECTED = "corrected for those to come"
NOT_CORRECTED = "those to come count as negative here"


def usable(law: DelayLaw, silence: timedelta) -> bool:
    """Whether a law of positives tells how many are still to come.

    Parameters
    ----------
    law : DelayLaw
        Learnt from the reports of positives.
    silence : timedelta
        Usual longest time between two hours with reports.
    """
    return law.n_labels >= MIN_LABELS and silence < SEASON


def fewest() -> pl.Expr:
    """Positives that must have been reported before a metric is corrected: more for one that depends on their order."""
    of_order = pl.col("metric") == "average_precision"
    return pl.when(of_order).then(pl.lit(FEWEST_ORDERED)).otherwise(pl.lit(FEWEST_REPORTED))


def too_few(seen: pl.Expr) -> pl.Expr:
    """Why there is no number of a window in which `seen` positives have been reported, in words."""
    n = seen.fill_null(0).cast(pl.Int64)
    few, impossible = pl.format(FEW, n, fewest()), pl.format(IMPOSSIBLE, n)
    return pl.when(n < fewest()).then(few).otherwise(impossible)


def is_impossible(spec: MonitorSpec, value: str) -> pl.Expr:
    """Whether a corrected value lies beyond the range of its metric, as it may by chance where few rows decide it.

    Parameters
    ----------
    spec : MonitorSpec
    value : str
        Column with the corrected value, beside ``metric``.
    """
    ranges = {metric.name: metric.range for metric in BY_TASK[spec.model.task]}
    low, high = (
        pl.col("metric").replace_strict({name: float(r[i]) for name, r in ranges.items()}, default=end)
        for i, end in enumerate((-math.inf, math.inf))
    )
    return ((pl.col(value) < low) | (pl.col(value) > high)).fill_null(value=False)


def not_compared(counts: pl.DataFrame) -> LabelShares:
    """No window lacks labels for having few: fewer positives may be reported because there are fewer.

    Parameters
    ----------
    counts : DataFrame
        As of `sightline.judging.missing_labels.label_shares`.

    Returns
    -------
    LabelShares
        The share of predictions that were reported.

    Notes
    -----
    What the number of labels tells elsewhere two others tell here: up to when reports are known (a feed that is silent
    for longer than usual makes no window older), and `label_arrivals`, which says that fewer reports come than usual
    and leaves open why.
    """
    known = counts.filter(pl.col("n_predictions") > 0).sort("window_start")
    nothing = pl.lit(None, dtype=pl.Float64)
    return LabelShares(
        known.select(
            "window_start",
            share=pl.col("n_labelled") / pl.col("n_predictions"),
            expected=nothing,
            lacking=pl.lit(value=False),
        )
    )


def withheld(
    judged: pl.DataFrame,
    windows: Sequence[datetime],
    until: datetime,
    silence: timedelta,
    naive: str,
    not_learnt: str = NOT_LEARNT,
) -> pl.DataFrame:
    """Take the numbers of windows back of which nobody knows how many positives are still to come.

    Parameters
    ----------
    judged : DataFrame
        As of `metrics_py.quality.table.quality_table`, with the column `naive`.
    windows : sequence of datetime
        Windows (naive UTC) that are not given up.
    until : datetime
        Up to when labels are known.
    silence : timedelta
        Usual longest time between two hours with reports.
    naive : str
        Column that keeps the value.
    not_learnt : str
        What is said where reports come as usual.
    """
    waits = pl.col("window_start").is_in(list(windows))
    reason = NOTHING_CAME if until == NEVER else not_learnt
    if silence >= SEASON:
        reason = IN_BATCHES.format(round(silence / timedelta(days=1)))
    stays = pl.col("reason_code").is_in(["metric_failed", "too_few_rows", "no_rows"]).fill_null(value=False)
    told = {"status": "insufficient_data", "reason": reason, "reason_code": "not_identifiable"}
    numbers = ("value", "ci_low", "ci_high", "stabilised_value", "variance")
    return judged.with_columns(
        pl.when(waits).then("value").otherwise(naive).alias(naive),
        **{name: pl.when(waits).then(None).otherwise(name) for name in numbers},
        **{name: pl.when(waits & ~stays).then(pl.lit(text)).otherwise(name) for name, text in told.items()},
    )
