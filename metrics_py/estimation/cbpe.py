"""Quality of a classifier with two classes before any label has come, from its scores and the reference's calibration.

Confidence-based performance estimation: a row of score s is positive with the probability that rows of this score had
in the reference. Every metric is evaluated on the expected counts. It assumes that this probability, P(y | score), has
not changed: a change of the concept it cannot see, whatever its interval says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.calibration import N_SCORE_BINS, Calibration
from metrics_py.quality.binary_metrics import BINARY
from metrics_py.quality.business_value import BUSINESS_VALUE
from metrics_py.quality.definition import Aggregates, QualityMetric
from metrics_py.reasons import ReasonCode

FloatArray = NDArray[np.float64]

ESTIMATED = (
    "roc_auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "log_loss",
    "brier",
)
"""Metrics that are estimated. Those of calibration are as in the reference by construction."""

ASSUMED = "estimated without labels: assumes P(y | score) as in the reference"
MOST_UNSEEN = 0.05
"""Share of rows beyond the reference's scores from which nothing is estimated."""

MIN_REFERENCE = 300
"""Labelled reference rows that a calibration needs."""

MIN_DECIDED = 50
"""Labelled reference rows with scores of those that are decided one way here, which metrics of one decision need."""

MOST_BLURRED = 0.3
"""Part of its range that score bins leave open, from which on a metric is not told."""

ONE_DECISION = ("precision", "recall", "specificity", "f1", "balanced_accuracy", BUSINESS_VALUE)

STEP = 1e-4
Z95 = 1.959964
AT_ONCE = 32
"""Groups that are evaluated together."""

SUMS = ("n", "sum_score", "sum_squared_score", "sum_log_loss_positive", "sum_log_loss_negative")
ESTIMATE_SCHEMA: Mapping[str, Any] = {
    "metric": pl.String,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "n": pl.Int64,
    "status": pl.String,
    "reason": pl.String,
    "reason_code": pl.String,
    "variance": pl.Float64,
}
"""Columns of every estimate, besides those of its groups."""


def estimate(
    scores: pl.DataFrame,
    calibration: Calibration,
    *,
    positive: str,
    min_rows: int,
    by: Sequence[str],
    more: Sequence[QualityMetric] = (),
    assumed: str = ASSUMED,
) -> pl.DataFrame:
    """Estimated quality with intervals for the realised value, one row per group and metric.

    Parameters
    ----------
    scores : DataFrame
        `by`, then ``predicted_class, score_bin, n, sum_score, sum_squared_score, sum_log_loss_positive,
        sum_log_loss_negative`` of all rows (the mart `score_bins`).
    calibration : Calibration
        Of the reference.
    positive : str
        Name of the positive class in ``predicted_class``.
    min_rows : int
        Fewer rows give ``insufficient_data``.
    by : sequence of str
        Key columns.
    more : sequence of QualityMetric, optional
        Metrics of the decisions besides `ESTIMATED`, such as `metrics_py.quality.business_value.business_value`.
    assumed : str, optional
        What is said of every value that is told: how it is estimated, and what that assumes.

    Returns
    -------
    DataFrame
        `by`, ``metric, value, ci_low, ci_high, n, status, reason, reason_code, variance``. The interval is one of
        95 % for the value that all labels will give; a value that is not told has none.

    Notes
    -----
    Two errors, with `N_b` rows of block b here and `n_b` in the reference, and G the derivative of the metric by its
    number of positives: which outcomes happen, ``sum_b G_b^2 N_b p_b (1 - p_b)``, and that of the calibration,
    ``sum_b G_b^2 N_b^2 p_b (1 - p_b) / n_b``. Outcomes are taken as independent given the score.

    The interval is widened by what 256 score bins leave open (`_blur`): areas by how far that of the scores themselves
    can be; metrics of decisions by which rows of a bin with both decisions are the positive ones; the log loss by how
    much likelier positive the higher scores of the lowest bin are, and the lower ones of the highest bin negative.

    References
    ----------
    Kivimaki, Bialek, Nurminen & Kuberski (2025), arXiv:2505.05295.
    """
    keys = list(by)
    groups = scores.select(keys).unique().sort(keys).with_row_index("_group")
    cells = scores.join(groups, on=keys, nulls_equal=True)
    metrics = [*(metric for metric in BINARY if metric.name in ESTIMATED), *more]
    rows: list[tuple[Any, ...]] = []
    for first, dense in _dense(cells, len(groups), positive):
        at = _aggregates(dense, calibration)
        n, unseen, decided = dense[0].sum(axis=(1, 2)), _unseen(dense[0], calibration), _decided(dense[0], calibration)
        error = _row_error(dense[0], calibration)
        for metric in metrics:
            below, above = _blur(metric, at, dense, calibration)
            columns = (*_intervals(metric, at, error, below, above), below + above)
            for k, (value, low, high, variance, blur) in enumerate(zip(*columns, strict=True)):
                known = int(calibration.n.sum())
                known_all = value if np.isfinite(low + high) else np.nan
                told = _state(metric, known_all, int(n[k]), unseen[k], known, min_rows) or _vague(
                    metric, blur, decided[k]
                )
                told = told or ("ok", assumed, "estimated")
                numbers = (value, low, high) if told[0] == "ok" else (None, None, None)
                row = (first + k, metric.name, *numbers, int(n[k]), *told, variance if told[0] == "ok" else None)
                rows.append(row)
    found = pl.DataFrame(rows, schema={"_group": pl.UInt32, **ESTIMATE_SCHEMA}, orient="row")
    return groups.join(found, on="_group").drop("_group").sort([*keys, "metric"])


def _dense(cells: pl.DataFrame, n_groups: int, positive: str) -> Iterator[tuple[int, FloatArray]]:
    """First group and its sums, shape (5, groups, 2, 256): decided negative and positive."""
    for first in range(0, n_groups, AT_ONCE):
        part = cells.filter(pl.col("_group").is_between(first, first + AT_ONCE - 1))
        dense = np.zeros((len(SUMS), min(AT_ONCE, n_groups - first), 2, N_SCORE_BINS))
        at = (
            part["_group"].to_numpy().astype(np.int64) - first,
            (part["predicted_class"] == positive).to_numpy().astype(np.int64),
            part["score_bin"].to_numpy().astype(np.int64),
        )
        for i, name in enumerate(SUMS):
            np.add.at(dense[i], at, part[name].to_numpy().astype(np.float64))
        yield first, dense


def _aggregates(dense: FloatArray, calibration: Calibration) -> Aggregates:
    """What metrics read, with leading axes (groups, 1 + blocks).

    The first is as expected; in each of the others the probability of one block is moved by `_steps`.
    """
    n, score, squared, if_positive, if_negative = (part[:, None] for part in dense)
    steps = _steps(calibration)
    moved = np.vstack([np.zeros(len(steps)), np.diag(steps)]) + calibration.probability
    p = (moved @ calibration.weights)[None, :, None, :]
    positives, negatives = n * p, n * (1 - p)
    decided = np.stack([negatives.sum(axis=-1), positives.sum(axis=-1)], axis=-1)
    brier = p * (squared - 2 * score + n) + (1 - p) * squared
    return {
        "confusion": decided,
        "positives": positives.sum(axis=-2),
        "negatives": negatives.sum(axis=-2),
        "sum_log_loss": (p * if_positive + (1 - p) * if_negative).sum(axis=(-2, -1)),
        "sum_brier": brier.sum(axis=(-2, -1)),
        "n_score": (n + 0 * p).sum(axis=(-2, -1)),
    }


def _steps(calibration: Calibration) -> FloatArray:
    return np.where(calibration.probability > 0.5, -STEP, STEP)


def _row_error(n: FloatArray, calibration: Calibration) -> FloatArray:
    """Variance of the share of positives of each block, of its rows and of the calibration, shape (groups, blocks)."""
    blocks = len(calibration.n)
    here = np.stack([np.bincount(calibration.block, row, blocks) for row in n.sum(axis=1)])
    return calibration.spread * (1 / np.maximum(here, 1.0) + 1 / calibration.n)


def _intervals(
    metric: QualityMetric, at: Aggregates, error: FloatArray, below: FloatArray, above: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Value, ends of the interval and variance, each of shape (groups,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = metric.value(at)
    value = values[:, 0]
    slopes = (values[:, 1:] - value[:, None]) / STEP
    variance = (slopes**2 * error).sum(axis=1)
    half = Z95 * np.sqrt(variance)
    least, most = metric.range
    return value, np.maximum(value - half - below, least), np.minimum(value + half + above, most), variance


def _blur(
    metric: QualityMetric, at: Aggregates, dense: FloatArray, calibration: Calibration
) -> tuple[FloatArray, FloatArray]:
    """How far below and above its value the metric can be for what is not known within score bins, by group."""
    n, _, _, if_positive, if_negative = dense
    p = calibration.probability @ calibration.weights
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric.binning is not None:
            below, above = (bound[:, 0] for bound in metric.binning({name: sums[:, :1] for name, sums in at.items()}))
        elif metric.needs == ("confusion",):
            below, above = _split(metric, n, p)
        elif metric.name == "log_loss":
            lowest = if_positive[..., 0] - n[..., 0] * np.log(N_SCORE_BINS)
            highest = if_negative[..., -1] - n[..., -1] * np.log(N_SCORE_BINS)
            more = np.maximum(lowest, 0) * p[0] + np.maximum(highest, 0) * (1 - p[-1])
            below, above = more.sum(axis=1) / n.sum(axis=(1, 2)), np.zeros(len(n))
        else:
            below, above = np.zeros(len(n)), np.zeros(len(n))
    return below, above


def _split(metric: QualityMetric, n: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distances to the least and the most that a metric of decisions can be, of `n` by decision and score bin.

    Business value may fall with the positives that are found: which end is the least is not said beforehand.
    """
    positives = n.sum(axis=1) * p
    expected = n[:, 1] * p
    values = [
        metric.value({"confusion": _confusion(n, positives, found)})
        for found in (expected, np.maximum(positives - n[:, 0], 0), np.minimum(positives, n[:, 1]))
    ]
    least, most = np.minimum(values[1], values[2]), np.maximum(values[1], values[2])
    return values[0] - least, most - values[0]


def _confusion(n: FloatArray, positives: FloatArray, found: FloatArray) -> FloatArray:
    """Decided by actual class, where `found` of the `positives` of each score bin are among those decided positive."""
    by_decision = np.stack([positives - found, found], axis=1).sum(axis=-1)
    return np.stack([n.sum(axis=-1) - by_decision, by_decision], axis=-1)


def _decided(n: FloatArray, calibration: Calibration) -> FloatArray:
    """Labelled reference rows with the scores that are decided negative and positive here; inf where none is.

    Of a score bin with both decisions each has its share; one without a row here is decided as the next lower one.
    """
    rows, bins = n.sum(axis=1), np.arange(N_SCORE_BINS)
    first = (rows > 0).argmax(axis=1)[:, None]
    like = np.maximum(np.maximum.accumulate(np.where(rows > 0, bins, 0), axis=1), first)
    share = np.take_along_axis(n / np.maximum(rows, 1.0)[:, None], like[:, None], axis=2)
    return np.where(n.sum(axis=-1) > 0, share @ calibration.rows, np.inf)


def _unseen(n: FloatArray, calibration: Calibration) -> FloatArray:
    """Share of the rows whose score lies beyond those of the reference, by group."""
    bins = np.arange(N_SCORE_BINS)
    seen = np.flatnonzero(calibration.rows)
    outside = (bins < seen[0]) | (bins > seen[-1])
    rows = n.sum(axis=1)
    return rows[:, outside].sum(axis=1) / np.maximum(rows.sum(axis=1), 1.0)


def _state(
    metric: QualityMetric, value: float, n: int, unseen: float, n_reference: int, min_rows: int
) -> tuple[str, str, ReasonCode] | None:
    """Status, reason and its code where there is no estimate: nothing is made of what the reference does not know."""
    if n < min_rows:
        return "insufficient_data", f"{n} rows, {min_rows} needed", "too_few_rows"
    if n_reference < MIN_REFERENCE:
        needed = f"{MIN_REFERENCE} needed to know the calibration"
        return "insufficient_data", f"{n_reference:,} labelled rows in the reference, {needed}", "too_few_rows"
    if not np.isfinite(value):
        return "insufficient_data", metric.undefined, "undefined"
    if unseen > MOST_UNSEEN:
        beyond = f"{100 * unseen:.3g} % of the scores lie beyond those of the reference"
        return "insufficient_data", beyond, "not_identifiable"
    return None


def _vague(metric: QualityMetric, blur: float, decided: FloatArray) -> tuple[str, str, ReasonCode] | None:
    """As `_state`, where the reference and the score bins do not tell this metric well enough."""
    if metric.name in ONE_DECISION and decided.min() < MIN_DECIDED:
        side = ("negative", "positive")[int(decided.argmin())]
        few = f"{decided.min():.0f} labelled reference rows have scores of those predicted {side}"
        return "insufficient_data", f"{few}, {MIN_DECIDED} needed", "too_few_rows"
    span = metric.range[1] - metric.range[0]
    if np.isfinite(span) and blur > MOST_BLURRED * span:
        wide = f"{N_SCORE_BINS} score bins are too wide for these scores and decisions"
        return "insufficient_data", f"{wide}: they leave open {blur:.2g} of the value", "not_identifiable"
    return None
