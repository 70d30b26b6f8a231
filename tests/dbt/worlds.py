"""Three monitors that share nothing but the dbt project: task, schedule, kinds and awkward names differ."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from sightline.home import Home
from sightline.warehouse import build_reference
from tests.dbt.support import START, Bench, spec_of

NUMERIC = 'Wind "Speed"; (m/s)'
CATEGORY = "select"
JINJA = "{{ config('x') }} {% if %}"
SEGMENT = "it's; -- größe"


def _times(rng: np.random.Generator, n: int, hours: int) -> pl.Series:
    """Random moments; the very first and last of every window are hit."""
    micro = rng.integers(0, hours * 3_600_000_000, n)
    micro[:hours] = np.arange(hours) * 3_600_000_000
    micro[hours : 2 * hours] = (np.arange(hours) + 1) * 3_600_000_000 - 1
    return pl.Series(micro).cast(pl.Duration("us")) + START.replace(tzinfo=None)


def with_nulls(rng: np.random.Generator, values: np.ndarray, share: float) -> pl.Series:
    """The values, a share of them missing."""
    missing = rng.random(len(values)) < share
    return pl.Series([None if gone else value for value, gone in zip(values.tolist(), missing, strict=True)])


def binary_hourly(root: Path) -> Bench:
    """Binary, hourly, 8 hours, names with quotes, semicolons, keywords, unicode and Jinja.

    Scores are the only decision.
    """
    rng = np.random.default_rng(11)
    n = 4_000
    x = np.round(rng.normal(10, 3, n), 3)
    x[rng.random(n) < 0.3] = 0.0
    category = rng.choice(["a", "b's", 'c"d', "{{ e }}", "ü", ""], n, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])
    score = np.clip(rng.beta(2, 3, n), 0, 1)
    inferences = pl.DataFrame(
        {
            "id": [f"p-{i}" for i in range(n)],
            "order": _times(rng, n, 8),
            "version": rng.choice(["v1", "v'2"], n),
            "group": [f"e{i % 700}" for i in range(n)],
            "score": with_nulls(rng, score, 0.02),
            "status": rng.choice(["ok", "500", None], n, p=[0.8, 0.1, 0.1]),
            "ms": np.round(rng.lognormal(3, 1, n), 4),
            NUMERIC: with_nulls(rng, x, 0.05),
            CATEGORY: with_nulls(rng, category, 0.05),
            JINJA: with_nulls(rng, rng.random(n) < 0.4, 0.1),
            "When": pl.Series(rng.integers(0, 10**12, n)).cast(pl.Duration("us")) + START.replace(tzinfo=None),
            SEGMENT: with_nulls(rng, rng.choice([f"s{i}" for i in range(30)], n, p=np.arange(30, 0, -1) / 465), 0.03),
        }
    )
    labels = (
        pl.DataFrame(
            {"id": inferences["id"], "Y": np.where(rng.random(n) < score, "yes", "no"), "keep": rng.random(n) < 0.8}
        )
        .filter(pl.col("keep"))
        .drop("keep")
    )
    spec = spec_of(
        model={"id": "binary_hourly", "task": "binary_classification"},
        columns={
            "prediction_id": "id", "timestamp": "order", "score": "score", "model_version": "version",
            "entity_id": "group",
            "status": "status", "latency_ms": "ms",
            "features": {
                NUMERIC: {"kind": "numeric", "min": 0.0, "max": 15.0},
                CATEGORY: {"kind": "categorical", "allowed": ["a", "b's", 'c"d'], "nullable": False},
                JINJA: "boolean",
                "When": "datetime",
            },
            "segments": [SEGMENT, CATEGORY],
        },
        labels={"column": "Y", "positive": "yes"},
        schedule="hourly",
        quality={"threshold": 0.4},
        drift={"bins": 12},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(hours=4)).isoformat()},
        value_matrix={"yes": {"yes": 5.0, "no": -1.5}, "no": {"yes": -3.0, "no": 0.25}},
        metrics=[
            {"name": "mean_wind", "sql": f'"f_{NUMERIC.replace(chr(34), chr(34) * 2)}"'},
            {"name": "hit", "sql": "case when is_positive then score else 1 - score end", "needs_label": True},
        ],
    )  # fmt: skip
    return _loaded(Bench(spec, Home(root), inferences, labels))


def regression_weekly(root: Path) -> Bench:
    """Regression, weekly, three weeks, with text and embedding features, and a segment of many values."""
    rng = np.random.default_rng(12)
    n = 3_000
    y = rng.gamma(2, 10, n)
    inferences = pl.DataFrame(
        {
            "prediction_id": [f"r{i}" for i in range(n)],
            "timestamp": _times(rng, n, 24 * 21),
            "Preis €": with_nulls(rng, y + rng.normal(1, 4, n), 0.03),
            "Text": rng.choice(["short", "a longer text", "ünïcode"], n),
            "Vector": pl.Series([list(map(float, v)) for v in rng.normal(size=(n, 3))]),
            "Ort": rng.choice([f"o{i}" for i in range(25)], n),
            "w": rng.choice([1.0, 2.0], n),
        }
    )
    labels = pl.DataFrame({"prediction_id": inferences["prediction_id"], "label": y}).filter(
        pl.Series(rng.random(n) < 0.9)
    )
    spec = spec_of(
        model={"id": "regression_weekly", "task": "regression"},
        columns={
            "prediction": "Preis €",
            "weight": "w",
            "features": {"Text": {"kind": "text", "descriptors": []}, "Vector": "embedding"},
            "segments": ["Ort"],
        },
        labels={"column": "label"},
        schedule="weekly",
        quality={"quantiles": [0.5, 0.9]},
        drift={"bins": 8},
    )
    return _loaded(Bench(spec, Home(root), inferences, labels))


def multiclass_daily(root: Path) -> Bench:
    """Three classes with probabilities, daily, no segments, no version."""
    rng = np.random.default_rng(13)
    n = 3_000
    names = ["on time", "late", "o'clock"]
    p = rng.dirichlet([2, 1, 1], n)
    truth = np.array(names)[[rng.choice(3, p=row) for row in p]]
    inferences = pl.DataFrame(
        {"prediction_id": [f"m{i}" for i in range(n)], "timestamp": _times(rng, n, 24 * 4)}
        | {f"P {c}": p[:, i] for i, c in enumerate(names)}
    )
    labels = pl.DataFrame({"prediction_id": inferences["prediction_id"], "label": truth})
    spec = spec_of(
        model={"id": "multiclass_daily", "task": "multiclass_classification"},
        columns={"class_scores": {c: f"P {c}" for c in names}},
        labels={"column": "label"},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=2)).isoformat()},
    )
    return _loaded(Bench(spec, Home(root), inferences, labels))


def _loaded(bench: Bench) -> Bench:
    """Everything landed, the reference frozen, the marts built once."""
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    build_reference(bench.spec, bench.paths, bench.home)
    bench.control()
    bench.build()
    return bench
