"""A model whose score is wrong in an area of its inputs that windows move into, while P(y | inputs) stays."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit

WEIGHTS = np.array([1.0, 0.8, -0.5, 0.0])
LEVELS_OFF, BY = 0.5, 1.2
"""The first input adds to the log odds up to here; beyond it takes from them, which the model does not know."""


def draw_inputs(
    rng: np.random.Generator, n: int, shift: float = 0.0, *, by: float = BY
) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Inputs with the score (``@score``), scores and outcomes of n rows; the first input is moved by `shift` sd."""
    x = rng.normal(size=(n, len(WEIGHTS)))
    x[:, 0] += shift
    signal = x @ WEIGHTS - 1
    scores = expit(signal)
    outcomes = rng.random(n) < expit(signal - by * np.maximum(x[:, 0] - LEVELS_OFF, 0))
    frame = pl.DataFrame({f"x{i}": x[:, i] for i in range(len(WEIGHTS))}).with_columns(pl.Series("@score", scores))
    return frame, scores, outcomes
