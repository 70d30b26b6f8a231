"""Streams as sentences: every statistic the product watches has words of its own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.drift.daily_statistics import column_streams
from metrics_py.profile.build import build_profile, count
from sightline.alerts.stream_words import STATISTICS, stream_words


@pytest.mark.parametrize(
    ("stream", "before", "after", "words"),
    [
        ("data_quality/dewp/null_rate", 0.0, 0.031, "dewp: the share of missing values rose from 0 % to 3.1 %"),
        ("data_quality/n_rows", 12_345.0, 9.0, "the number of predictions fell from 12,345 to 9"),
        ("data_quality/latency_p95_ms", 80.0, 250.5, "the latency that 5 % of calls exceed rose from 80 to 250.5 ms"),
        ("model_quality/f1", 0.5, 0.5, "F1 stays near 0.5"),
        ("model_quality/mean_refund", 1.0, 2.0, "mean refund rose from 1 to 2"),
        ("model_quality/@label/positive_rate", 0.2, 0.1, "the label: the share of positives fell from 20 % to 10 %"),
        ("drift/visib/atom_rate:10", None, 0.4, "visib: the share of rows at exactly 10"),
    ],
)
def test_words(stream, before, after, words):
    assert stream_words(stream, before, after) == words


def test_every_statistic_of_a_column_has_words():
    rng = np.random.default_rng(41)
    tables = {
        "numeric": pl.Series(np.where(rng.random(3000) < 0.4, 0.0, rng.normal(size=3000))),
        "categorical": pl.Series(rng.choice(list("abcdef"), 3000)),
    }
    for kind, values in tables.items():
        profile = build_profile(values, kind, column="x", bins=16, rows_per_window=300)
        for stream in column_streams(profile, count(profile, values)[None], min_rows=30):
            assert stream.statistic in STATISTICS or stream.statistic.startswith("atom_rate:"), stream.statistic
