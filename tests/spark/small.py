"""A monitor of two days and few columns: what is tried on Spark is not its numbers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from sightline.home import Home
from tests.dbt.support import START, Bench, spec_of

LOCAL = "engine: {kind: spark, master: 'local[2]', memory: 1g}\n"
METRICS = (
    {"name": "magnitude", "sql": "round(abs(f_x) * 2, 1)"},
    {"name": "likeness", "sql": "jaro_similarity(f_word, 'Odense')"},
    {"name": "by_hash", "sql": "hash(f_word) % 7"},
    {"name": "weighed", "sql": "case when is_positive then f_x else 0 end", "needs_label": True},
)
"""One that means the same, one that Spark does not know, one that it knows otherwise, one over labels."""


def small(root: Path) -> Bench:
    """Landed, not loaded."""
    rng = np.random.default_rng(31)
    n = 400
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": [START.replace(tzinfo=None) + timedelta(minutes=7 * i) for i in range(n)],
            "score": rng.random(n).round(3),
            "x": rng.normal(0, 3, n).round(3),
            "word": rng.choice(["Odense", "Aarhus", "Ribe", None], n),
        }
    )
    labels = inferences.select("prediction_id", label=(pl.col("score") > 0.5).cast(pl.Int64))
    spec = spec_of(
        model={"id": "small", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric", "word": "categorical"}},
        labels={"column": "label"},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()},
        metrics=list(METRICS),
    )
    bench = Bench(spec, Home(root), inferences, labels)
    for folder, frame in ((bench.paths.landing_inferences, inferences), (bench.paths.landing_labels, labels)):
        folder.mkdir(parents=True)
        frame.write_parquet(folder / "all.parquet")
    return bench
