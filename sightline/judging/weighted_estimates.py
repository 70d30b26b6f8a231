"""Quality before labels where inputs move: the reference's labelled rows, weighted to each window's inputs (PAPE)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from metrics_py.estimation import cbpe
from metrics_py.estimation.calibration import N_SCORE_BINS, Calibration
from metrics_py.estimation.density_ratio import FOLDS, DensityRatio, density_ratio
from metrics_py.estimation.pape import assumed, fit_weighted, not_told
from sightline.judging.estimators import BinaryEstimator, untold
from sightline.judging.frames import BY, Work
from sightline.judging.marts import ALL_VERSIONS
from sightline.spec.flows import unweighted_inputs
from sightline.warehouse.row_samples import window_rows

NOT_KEPT = "the lake holds {} labelled rows of the reference and {} rows of the window with scores: too few to weigh by"


def estimate(
    work: Work, estimator: BinaryEstimator, counts: pl.DataFrame, calibration: Calibration, labelled: pl.DataFrame
) -> pl.DataFrame:
    """Estimates of some windows, each by a calibration of its own.

    Parameters
    ----------
    work : Work
        Rows of the windows are read from the lake.
    estimator : BinaryEstimator
    counts : DataFrame
        Rows of the mart `score_bins`.
    calibration : Calibration
        Of all labelled rows of the reference.
    labelled : DataFrame
        A sample of them with their inputs (`sightline.warehouse.row_samples.labelled_rows`).

    Returns
    -------
    DataFrame
        As of `sightline.judging.estimators.Estimator.estimate`. Segments and versions have the calibration of their
        whole window.
    """
    empty = estimator.estimate(counts.clear(), calibration)
    parts = [empty]
    for (key,), own in counts.group_by(["window_key"], maintain_order=True):
        parts += _window(work, estimator, str(key), own, calibration, labelled)
    return pl.concat(parts)


def _window(
    work: Work,
    estimator: BinaryEstimator,
    key: str,
    counts: pl.DataFrame,
    calibration: Calibration,
    labelled: pl.DataFrame,
) -> Iterator[pl.DataFrame]:
    spec = work.spec
    is_whole = (pl.col("segment") == "all") & (pl.col("model_version") == ALL_VERSIONS)
    most = counts.group_by(BY).agg(pl.col("n").sum())["n"].max()
    if int(most or 0) < spec.quality.min_labels or calibration.n.sum() < cbpe.MIN_REFERENCE:  # pyright: ignore
        yield estimator.estimate(counts, calibration)
        return
    rows = window_rows(work.con, spec, key)
    if min(len(rows), len(labelled)) < FOLDS:
        words = NOT_KEPT.format(len(labelled), len(rows))
        yield untold(estimator, counts, words, "too_few_rows")
        return
    ratio = density_ratio(
        _inputs(labelled),
        _inputs(rows),
        reference_fold=labelled["bucket"].cast(pl.Int64).to_numpy(),
        window_fold=rows["bucket"].cast(pl.Int64).to_numpy(),
    )
    reason = not_told(ratio)
    if reason is not None:
        yield untold(estimator, counts, *reason)
        return
    weighted = _weighted(calibration, labelled, ratio)
    left_out = unweighted_inputs(spec)
    for part, of_part in ((counts.filter(is_whole), False), (counts.filter(~is_whole), True)):
        yield estimator.estimate(part, weighted, assumed(ratio, left_out, of_part=of_part))


def _inputs(rows: pl.DataFrame) -> pl.DataFrame:
    """What rows are weighted by, under the names that a reason may tell."""
    inputs = {name: name.removeprefix("f_") for name in rows.columns if name.startswith("f_")}
    return rows.select("score", *inputs).rename({"score": "@score", **inputs})


def _weighted(calibration: Calibration, labelled: pl.DataFrame, ratio: DensityRatio) -> Calibration:
    if not ratio.is_moved:
        return calibration
    scores = labelled["score"].to_numpy()
    bins = np.clip(np.floor(scores * N_SCORE_BINS), 0, N_SCORE_BINS - 1).astype(np.int64)
    outcomes = labelled["is_positive"].to_numpy().astype(bool)
    return fit_weighted(calibration.rows, calibration.positives, bins, outcomes, ratio.weight)
