"""Scores of a classifier with two classes, binned as the mart `score_bins` holds them."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit

WEIGHTS = np.array([1.0, 0.8, -0.5])


def draw(rng: np.random.Generator, n: int, *, shift: float = 0.0, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores and outcomes of n rows: `shift` moves an input, `slope` below 1 weakens what the inputs tell.

    The scores are overconfident: an estimator that believes them is wrong.
    """
    inputs = rng.normal(size=(n, 3))
    inputs[:, 0] += shift
    signal = inputs @ WEIGHTS - 1
    return expit(1.4 * signal), rng.random(n) < expit(slope * signal)


def score_bins(scores: np.ndarray, *, cut: float = 0.5, **keys: object) -> pl.DataFrame:
    """Rows of the mart, with `keys` as further columns."""
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    rows = pl.DataFrame(
        {
            "predicted_class": np.where(scores >= cut, "1", "0"),
            "score_bin": np.clip(np.floor(scores * 256), 0, 255).astype(np.int32),
            "n": 1,
            "sum_score": scores,
            "sum_squared_score": scores**2,
            "sum_log_loss_positive": -np.log(clipped),
            "sum_log_loss_negative": -np.log(1 - clipped),
        }
    )
    found = rows.group_by("predicted_class", "score_bin").agg(pl.all().sum())
    return found.with_columns(pl.lit(value).alias(name) for name, value in keys.items())


def label_bins(scores: np.ndarray, outcomes: np.ndarray) -> pl.DataFrame:
    """Rows of the mart `score_label_bins`, one per row of the data."""
    bins = np.clip(np.floor(scores * 256), 0, 255).astype(np.int32)
    return pl.DataFrame({"score_bin": bins, "is_positive": outcomes, "n": 1})


def clustered(rng: np.random.Generator, n: int, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores and outcomes of one window whose rows share an effect of this standard deviation on the logit scale."""
    signal = rng.normal(size=(n, 3)) @ WEIGHTS - 1
    return expit(1.4 * signal), rng.random(n) < expit(signal + effect * rng.normal())
