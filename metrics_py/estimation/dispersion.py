"""How much more the quality of single windows varies than independent outcomes do.

Rows of one window share its weather, its campaign, its entities: given their scores their outcomes still depend on each
other, and a window as a whole is better or worse than its scores say. How much so, the reference's own windows tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.calibration import N_SCORE_BINS, Calibration
from metrics_py.quality.binary_metrics import BINARY
from metrics_py.quality.definition import Aggregates, QualityMetric

FloatArray = NDArray[np.float64]

FEWEST_WINDOWS = 8
"""Reference windows that tell it."""

DRAWS = 40
SUMS = ("n", "sum_score", "sum_squared_score", "sum_log_loss_positive", "sum_log_loss_negative")
SEED = 20_260


def between_windows(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    calibration: Calibration,
    *,
    positive: str,
    min_rows: int,
    more: Sequence[QualityMetric] = (),
) -> Mapping[str, float] | None:
    """Variance of each metric between windows, beyond that of independent outcomes.

    Parameters
    ----------
    scores : DataFrame
        ``window_start, predicted_class, score_bin`` and the sums of the mart `score_bins`, of the reference's windows.
    labels : DataFrame
        ``window_start, score_bin, is_positive, n`` of their labelled rows (the mart `score_label_bins`).
    calibration : Calibration
        Learnt from these labels.
    positive : str
        Name of the positive class in ``predicted_class``.
    min_rows : int
        Windows with fewer labelled rows tell nothing, nor do those without scores (worked up by an earlier release).
    more : sequence of QualityMetric, optional
        Metrics of the decisions besides those of two classes.

    Returns
    -------
    mapping of metric name to variance, or None
        Not below 0. None with fewer than `FEWEST_WINDOWS` windows.

    Notes
    -----
    Mean over the windows of the squared difference of realised and expected metric, less the same of outcomes that are
    drawn independently with the calibration's probabilities (`DRAWS` per window, a fixed seed): a moment estimator of
    the variance of a random effect. Labelled rows of a score bin are taken to be decided as all rows of it were.

    References
    ----------
    DerSimonian & Laird (1986), Controlled Clinical Trials 7:177.
    """
    n, hits, parts = _dense(scores, labels, positive, min_rows)
    if len(n) < FEWEST_WINDOWS:
        return None
    p = calibration.probability @ calibration.weights
    rng = np.random.default_rng(SEED)
    drawn = rng.binomial(n[:, None].astype(np.int64), p, size=(len(n), DRAWS, N_SCORE_BINS)).astype(np.float64)
    outcomes = np.concatenate([(n * p)[:, None], hits[:, None], drawn], axis=1)
    at = _aggregates(outcomes, n[:, None], parts[:, :, None])
    found: dict[str, float] = {}
    for metric in (*BINARY, *more):
        with np.errstate(invalid="ignore", divide="ignore"):
            values = metric.value(at)
        off = (values[:, 1:] - values[:, :1]) ** 2
        known = np.isfinite(off).all(axis=1)
        if known.sum() >= FEWEST_WINDOWS:
            found[metric.name] = max(float(off[known, 0].mean() - off[known, 1:].mean()), 0.0)
    return found


def _dense(
    scores: pl.DataFrame, labels: pl.DataFrame, positive: str, min_rows: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labelled rows and positives, shape (windows, 256); per row of a bin what it adds, shape (5, windows, 256).

    The latter are the share that is decided positive, and the means of the sums.
    """
    windows = labels.group_by("window_start").agg(pl.col("n").sum()).filter(pl.col("n") >= min_rows)
    windows = windows.join(scores.select("window_start").unique(), on="window_start", how="semi")
    index = windows.sort("window_start").select("window_start").with_row_index("window")
    n, hits = np.zeros((2, len(index), N_SCORE_BINS))
    rows = labels.join(index, on="window_start").drop_nulls("score_bin")
    at = (rows["window"].to_numpy().astype(np.int64), rows["score_bin"].to_numpy().astype(np.int64))
    counts = rows["n"].to_numpy().astype(np.float64)
    np.add.at(n, at, counts)
    np.add.at(hits, at, counts * rows["is_positive"].to_numpy())
    sums = np.zeros((len(SUMS) + 1, len(index), N_SCORE_BINS))
    of_scores = scores.join(index, on="window_start")
    at = (of_scores["window"].to_numpy().astype(np.int64), of_scores["score_bin"].to_numpy().astype(np.int64))
    for i, name in enumerate(SUMS):
        np.add.at(sums[i], at, of_scores[name].to_numpy().astype(np.float64))
    decided = of_scores["n"].to_numpy().astype(np.float64) * (of_scores["predicted_class"] == positive).to_numpy()
    np.add.at(sums[-1], at, decided)
    means = sums[1:] / np.maximum(sums[0], 1.0)
    return n, hits, means


def _aggregates(hits: FloatArray, n: FloatArray, means: FloatArray) -> Aggregates:
    """What metrics read, with leading axes (windows, outcomes)."""
    score, squared, if_positive, if_negative, decided = means
    misses = n - hits
    confusion = np.stack(
        [
            np.stack([(misses * (1 - decided)).sum(axis=-1), (hits * (1 - decided)).sum(axis=-1)], axis=-1),
            np.stack([(misses * decided).sum(axis=-1), (hits * decided).sum(axis=-1)], axis=-1),
        ],
        axis=-2,
    )
    brier = hits * (squared - 2 * score + 1) + misses * squared
    rows = (n + 0 * hits).sum(axis=-1)
    return {
        "confusion": confusion,
        "positives": hits,
        "negatives": misses,
        "sum_log_loss": (hits * if_positive + misses * if_negative).sum(axis=-1),
        "sum_brier": brier.sum(axis=-1),
        "n_score": rows,
        "sum_label": hits.sum(axis=-1),
        "sum_score": (n * score + 0 * hits).sum(axis=-1),
    }
