"""Empty marts, and a monitor with service columns."""

from __future__ import annotations

import duckdb
import pytest

from tests.support.marts import MARTS


@pytest.fixture
def con():
    with duckdb.connect() as opened:
        opened.execute("create schema marts")
        for name, columns in MARTS.items():
            keys = "window_key varchar, window_start timestamp, model_version varchar, segment varchar"
            opened.execute(f"create table marts.{name} ({keys}, {', '.join(f'{c} {t}' for c, t in columns.items())})")
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
