"""A monitor whose world turns: what explains the label moves from one input to another, so that models age."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from sightline.home import Home, MonitorPaths
from sightline.lake.intake.load import intake
from sightline.results.judgements import JUDGEMENT_SCHEMA, append_judgements
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, land, make_paths

DAYS, ROWS = 80, 150
MODEL = '''\
def estimator():
    """A logistic regression on the two numbers; the category is text."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]), (SimpleImputer(), ["x", "z"])
    )
    return make_pipeline(columns, LogisticRegression())


def broken():
    class Broken:
        def fit(self, x, y):
            raise RuntimeError("the matrix is singular")

    return Broken()


def on_text():
    """Text where the estimator wants numbers."""
    from sklearn.svm import LinearSVC

    return LinearSVC()


def scoreless():
    from sklearn.svm import LinearSVC

    made = estimator()
    made.steps[-1] = ("svc", LinearSVC())
    return made


def numbers():
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), LinearRegression())


no_function = 3
'''


def monitor(**changes: Any) -> dict[str, Any]:
    """The monitor file; `changes` are further sections, ``retraining`` among them."""
    return {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {
            "prediction_id": "id",
            "timestamp": "ts",
            "score": "p",
            "model_version": "version",
            "features": {"x": "numeric", "z": "numeric", "shop": "categorical"},
        },
        "labels": {"column": "y", "observed_at": "seen", "expected_delay": "2d", "give_up_after": "4d"},
        "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-12"},
        **changes,
    }


def world(turn: float, *, seed: int = 1, days: int = DAYS) -> pl.DataFrame:
    """Rows of `days` days; the weights turn by `turn` radians a day. Labels come a day and a half later.

    The model in service knows the weights of day 0.
    """
    rng = np.random.default_rng(seed)
    n = days * ROWS
    day = np.repeat(np.arange(days), ROWS)
    x, z = rng.normal(size=(2, n))
    angle = turn * day
    logit = 2.5 * (np.cos(angle) * x + np.sin(angle) * z) - 0.3
    at = [(START + timedelta(minutes=1440 / ROWS * i)).replace(tzinfo=None) for i in range(n)]
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(n)],
            "ts": at,
            "p": 1 / (1 + np.exp(-2.5 * x + 0.3)),
            "version": ["v1"] * n,
            "x": pl.Series(x).set(pl.Series(rng.random(n) < 0.02), None),
            "z": z,
            "shop": rng.choice(["north", "south"], n).tolist(),
            "y": (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
            "seen": [t + timedelta(hours=36) for t in at],
        }
    )


def make(root: Path, rows: pl.DataFrame, content: dict[str, Any]) -> tuple[Home, MonitorPaths, MonitorSpec]:
    """A home with the monitor, its estimators and its loaded lake."""
    home, paths = make_paths(root)
    home.monitors.mkdir(exist_ok=True)
    (root / "models_of_m.py").write_text(MODEL, encoding="utf-8")
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    arrived = START + timedelta(days=DAYS)
    labels = ["id", "y", *(["seen"] if "observed_at" in content["labels"] else [])]
    land(paths.landing_inferences, "all.parquet", rows.drop("y", "seen"), arrived)
    land(paths.landing_labels, "truth.parquet", rows.select(labels), arrived)
    spec = find_monitor(home, "m")
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    return home, paths, spec


def publish_versions(paths: MonitorPaths, values: dict[str, dict[int, float]], metric: str = "roc_auc") -> None:
    """Judgements of versions: name -> day -> value."""
    rows = [
        {
            "monitor": "m",
            "model_version": version,
            "window_start": day_start(day),
            "window_end": day_start(day + 1),
            "segment": "all",
            "column": "",
            "metric": metric,
            "value": value,
            "n": ROWS,
            "status": "ok",
        }
        for version, by_day in values.items()
        for day, value in by_day.items()
    ]
    names = [name for name in JUDGEMENT_SCHEMA if name not in ("revision", "computed_at", "run_id")]
    frame = pl.DataFrame(rows).with_columns(pl.lit(None).alias(name) for name in names if name not in rows[0])
    frame = frame.select(pl.col(name).cast(JUDGEMENT_SCHEMA[name]) for name in names)
    append_judgements(paths, "model_quality", frame, "run", START + timedelta(days=DAYS))


def day_start(day: int) -> datetime:
    """Naive UTC."""
    return (START + timedelta(days=day)).replace(tzinfo=None)
