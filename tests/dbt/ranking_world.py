"""A ranking monitor with everything that is awkward about queries."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sightline.home import Home
from tests.dbt.support import START, Bench, spec_of

DAYS, K = 3, 5
NAIVE = START.replace(tzinfo=None)


def rows_of(rng: np.random.Generator, n_queries: int = 240) -> pl.DataFrame:
    """Rows with their relevance (null: no label came): ties, grades, lists of one row and of none relevant."""
    parts: list[dict[str, Any]] = []
    for q in range(n_queries):
        size = int(rng.choice([1, 2, 3, 8, 20], p=[0.1, 0.1, 0.2, 0.3, 0.3]))
        version = "v2" if rng.random() < 0.4 else "v1"
        at = NAIVE + timedelta(days=int(rng.integers(0, DAYS)), hours=1 + 22 * float(rng.random()))
        relevance = np.maximum(rng.integers(-4, 4, size), 0).astype(float)
        score = relevance + rng.normal(0, 2, size)
        if rng.random() < 0.5:
            score = np.round(score)
        for i in range(size):
            parts.append(
                {
                    "prediction_id": f"p{q}-{i}",
                    "timestamp": at + timedelta(milliseconds=i),
                    "query": f"q{q}",
                    "user": f"u{q % 60}",
                    "version": version,
                    "score": None if rng.random() < 0.01 else float(score[i]),
                    "country": f"c{q % 3}",
                    "shelf": f"s{i % 2}",
                    "item": None if rng.random() < 0.02 else f"i{int(rng.exponential(12))}",
                    "label": None if rng.random() < 0.004 else relevance[i],
                }
            )
    return pl.DataFrame(parts, schema_overrides={"score": pl.Float64, "label": pl.Float64})


def bench_of(root: Path, rows: pl.DataFrame, **labels: Any) -> Bench:
    """The rows landed; labels are those that are not null."""
    spec = spec_of(
        model={"id": "shop_search", "task": "ranking"},
        columns={
            "score": "score",
            "query_id": "query",
            "entity_id": "user",
            "model_version": "version",
            "segments": ["country", "shelf"],
            "features": {"item": {"kind": "categorical", "drift": False}},
        },
        labels={"column": "label", **labels},
        quality={"k": K, "min_labels": 5, "item": "item"},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()},
    )
    bench = Bench(spec, Home(root), rows.drop("label"), rows.select("prediction_id", "label").drop_nulls())
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    return bench
