"""Empty marts, and a monitor with service columns."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from sightline.results.judgements import append_judgements
from tests.support.marts import create_marts


@pytest.fixture
def con():
    with duckdb.connect() as opened:
        create_marts(opened)
        yield opened


@pytest.fixture
def spec(make_spec):
    return make_spec(
        columns={
            "score": "p",
            "status": "s",
            "latency_ms": "ms",
            "model_version": "v",
            "features": {"age": {"kind": "numeric", "min": 0, "nullable": False}, "plan": {"kind": "categorical"}},
        },
        alerts={"max_null_rate": {"plan": 0.25}},
    )


@pytest.fixture
def publish(home, spec):
    """Writes judgements of an asset of the test's monitor, with the scope that they hold completely."""

    def write(asset: str, judged: pl.DataFrame, scope: pl.DataFrame | None = None) -> None:
        window_end = pl.col("window_start") + pl.lit(spec.window, dtype=pl.Duration("us"))
        told = judged.with_columns(monitor=pl.lit(spec.id), window_end=window_end)
        append_judgements(home.monitor(spec.id), asset, told, "run", datetime(2026, 6, 1, tzinfo=UTC), scope)

    return write
