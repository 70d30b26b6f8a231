"""Scores of a classifier with several classes, binned as `class_score_bins` and `class_label_bins` hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

NAMES = ("bird", "cat", "dog")
WEIGHTS = np.array([[1.2, -0.4, -0.8], [-0.5, 1.1, -0.6], [0.3, -0.7, 0.9]])
BASE = np.array([0.4, 0.0, -0.4])


def draw_classes(
    rng: np.random.Generator, n: int, *, shift: float = 0.0, slope: float = 1.0, effect: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores, shape (n, 3), and classes of rows: `shift` moves an input, `slope` below 1 weakens what inputs tell.

    All rows share an effect of standard deviation `effect` on the scale of the logits, of each class its own. The
    scores are overconfident: an estimator that believes them is wrong.
    """
    inputs = rng.normal(size=(n, 3))
    inputs[:, 0] += shift
    signal = inputs @ WEIGHTS + BASE
    truth = _softmax(slope * signal + effect * rng.normal(size=3))
    drawn = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return _softmax(1.5 * signal), np.minimum(drawn, 2)


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _rows(scores: np.ndarray, names: Sequence[str], decided: np.ndarray | None) -> pl.DataFrame:
    """One row per row and class."""
    chosen = np.array(names)[scores.argmax(axis=1)] if decided is None else decided
    flat = scores.ravel()
    return pl.DataFrame(
        {
            "predicted_class": np.repeat(chosen, len(names)),
            "class_name": np.tile(names, len(scores)),
            "score_bin": np.clip(np.floor(flat * 256), 0, 255).astype(np.int32),
            "n": 1,
            "sum_log_loss": -np.log(np.clip(flat, 1e-15, 1 - 1e-15)),
            "sum_score": flat,
            "sum_squared_score": flat**2,
        }
    )


def class_score_bins(
    scores: np.ndarray, *, names: Sequence[str] = NAMES, decided: np.ndarray | None = None, **keys: object
) -> pl.DataFrame:
    """Rows of the mart `class_score_bins`, with `keys` as further columns."""
    found = _rows(scores, names, decided).group_by("predicted_class", "class_name", "score_bin").agg(pl.all().sum())
    return found.with_columns(pl.lit(value).alias(name) for name, value in keys.items())


def class_label_bins(
    scores: np.ndarray,
    classes: np.ndarray,
    *,
    names: Sequence[str] = NAMES,
    decided: np.ndarray | None = None,
    **keys: object,
) -> pl.DataFrame:
    """Rows of the mart `class_label_bins`; `classes` are places in `names`, those beyond have no score."""
    actual = np.repeat(classes, len(names)) == np.tile(np.arange(len(names)), len(scores))
    by = ["predicted_class", "class_name", "score_bin", "is_positive"]
    found = _rows(scores, names, decided).with_columns(is_positive=actual).group_by(by).agg(pl.col("n").sum())
    return found.with_columns(pl.lit(value).alias(name) for name, value in keys.items())
