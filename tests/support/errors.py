"""Predictions of a regression and their errors, binned as the marts `prediction_bins` and `error_bins` hold them."""

from __future__ import annotations

import numpy as np
import polars as pl

from metrics_py.profile.build import build_profile
from metrics_py.profile.column_profile import ColumnProfile


def draw_errors(
    rng: np.random.Generator, n: int, *, shift: float = 0.0, scale: float = 1.0, tail: float = 0.0, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels of n rows: the larger a prediction, the larger its error.

    `shift` moves the predictions, `scale` makes all errors larger, `effect` those of the whole window by one common
    factor, `tail` gives them Student's t with so many degrees of freedom.
    """
    predictions = 50 + 10 * rng.normal(shift, 1, n)
    noise = rng.standard_t(tail, n) if tail else rng.normal(size=n)
    size = scale * np.exp(effect * rng.normal()) * np.exp(0.04 * (predictions - 50))
    return predictions, predictions + size * noise


def profile_of(predictions: np.ndarray, bins: int = 32) -> ColumnProfile:
    """Frozen bins of the predictions."""
    return build_profile(pl.Series(predictions), "numeric", column="@prediction", bins=bins)


def bins_of(profile: ColumnProfile, predictions: np.ndarray) -> np.ndarray:
    """Bin of each prediction."""
    ends, bins = profile.cuts()
    return bins[np.searchsorted(ends, predictions)]


def prediction_bins(profile: ColumnProfile, predictions: np.ndarray, **keys: object) -> pl.DataFrame:
    """Rows of `prediction_bins`."""
    rows = pl.DataFrame({"prediction_bin": bins_of(profile, predictions).astype(np.int32), "prediction": predictions})
    found = rows.group_by("prediction_bin").agg(n=pl.len().cast(pl.Int64), sum_prediction=pl.col("prediction").sum())
    return found.with_columns(pl.lit(value).alias(name) for name, value in keys.items())


def error_bins(profile: ColumnProfile, predictions: np.ndarray, labels: np.ndarray, **keys: object) -> pl.DataFrame:
    """Rows of `error_bins`."""
    bins, error = bins_of(profile, predictions).astype(np.int32), pl.col("error")
    found = (
        pl.DataFrame({"prediction_bin": bins, "prediction": predictions, "error": np.abs(predictions - labels)})
        .group_by("prediction_bin")
        .agg(
            n=pl.len().cast(pl.Int64),
            sum_prediction=pl.col("prediction").sum(),
            sum_abs_error=error.sum(),
            sum_squared_error=(error**2).sum(),
            sum_fourth_error=(error**4).sum(),
        )
    )
    return found.with_columns(pl.lit(value).alias(name) for name, value in keys.items())
