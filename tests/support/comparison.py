"""A table to compare with itself, shifted or not, and the states of the outcome."""

from __future__ import annotations

import numpy as np
import polars as pl


def frame(n=2000, seed=1, shift=0.0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "age": rng.normal(40 + 10 * shift, 10, n),
            "visits": rng.poisson(3, n),
            "plan": rng.choice(["free", "paid", "team"], n, p=[0.6 - shift / 4, 0.3 + shift / 4, 0.1]),
            "active": rng.random(n) < 0.7,
        }
    )


def states(result):
    return {(row["column"], row["metric"]): row["state"] for row in result.to_dicts()}
