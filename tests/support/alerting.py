"""Evidence of made-up streams for the tests of the alert engine."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from metrics_py.alerting import EngineConfig

START = datetime(2025, 1, 6)  # a Monday


def daily(**settings):
    return EngineConfig.from_budget(1, timedelta(days=90), **settings)


def day(k):
    return START + timedelta(days=int(k))


def log(values, names=None, **extra):
    """Evidence of shape (days, streams) as a frame; extra columns are broadcast or given per row."""
    values = np.asarray(values, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    days, streams = values.shape
    names = names or [f"s{k}" for k in range(streams)]
    frame = pl.DataFrame(
        {
            "stream": names * days,
            "window_start": [day(k) for k in range(days) for _ in range(streams)],
            "value": values.ravel(),
        }
    )
    return frame.with_columns(**extra)


def noise(days, streams=1, seed=1):
    return np.random.default_rng(seed).standard_normal((days, streams))


def shifted(days=200, at=100, by=5.0, streams=1, seed=1, until=None):
    values = noise(days, streams, seed)
    values[at:until] += by
    return values


# -- life cycle --------------------------------------------------------------------------------------------------------
