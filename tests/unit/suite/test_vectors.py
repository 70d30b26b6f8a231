"""A drafted suite bounds columns of vectors: fresh ones of the same law pass, others fail."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.suite.checks import run_suite
from metrics_py.suite.draft import draft_suite


def table(n: int, seed: int, shift: float = 0.0, other: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng([91, seed])
    rows = (rng.standard_normal((n, 12)) + shift).astype(np.float32).tolist()
    rows[:other] = [row[:5] for row in rows[:other]]
    return pl.DataFrame({"p": rng.random(n), "v": pl.Series(rows, dtype=pl.List(pl.Float32))})


@pytest.mark.parametrize(
    ("current", "failed"),
    [
        (table(700, 1), set()),
        (table(700, 2, shift=0.6), {"domain_auc"}),
        (table(700, 3, other=70), {"wrong_dimension_rate"}),
    ],
)
def test_vectors_are_bounded(current, failed):
    reference = table(1200, 0)
    suite = draft_suite(reference)
    found = run_suite(suite, reference, current).frame.filter(pl.col("column") == "v")
    assert {"domain_auc", "wrong_dimension_rate"} <= set(found["metric"])
    own = found.filter(pl.col("metric").is_in(["domain_auc", "wrong_dimension_rate"]))
    assert set(own.filter(pl.col("status") == "fail")["metric"]) == failed
