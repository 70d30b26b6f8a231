"""Monitors whose logs have versions that run beside each other: A/B, canary, shadow, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from sightline.home import Home
from sightline.spec.loader import find_monitor
from sightline.spec.model import MonitorSpec
from tests.support.lake import land

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS, ROWS, USERS = 21, 500, 400
NOW = START + timedelta(days=90)
OLD, NEW = "4.1", "4.2"
Chosen = Callable[[np.random.Generator, pl.DataFrame], np.ndarray]
MONITOR: Mapping[str, Any] = {
    "model": {"id": "m", "task": "binary_classification"},
    "columns": {
        "prediction_id": "id",
        "timestamp": "ts",
        "score": "p",
        "model_version": "version",
        "entity_id": "user",
        "status": "status",
        "latency_ms": "ms",
        "features": {"age": "numeric", "plan": "categorical"},
        "segments": ["region"],
    },
    "labels": {"column": "y", "expected_delay": "1d", "give_up_after": "3d"},
    "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
    "evaluation": {"margin": 0.02},
}


def requests(seed: int, days: int = DAYS, rows: int = ROWS) -> pl.DataFrame:
    """What was asked, with the truth and what a good model sees of it: the days are not equally hard."""
    rng = np.random.default_rng(seed)
    n = days * rows
    day, user = np.repeat(np.arange(days), rows), rng.integers(0, USERS, n)
    habit, young = rng.normal(0, 0.6, USERS)[user], (rng.random(USERS) < 0.4)[user]
    truth = rng.random(n) < 1 / (1 + np.exp(0.6 - habit))
    hard = np.linspace(0.3, -0.3, days)[day] + rng.normal(0, 0.1, days)[day] + np.where(young, 0.5, 0.0)
    seconds = np.sort(rng.integers(0, 86_400, (days, rows)), axis=1).ravel()
    return pl.DataFrame(
        {
            "id": [f"r{k}" for k in range(n)],
            "ts": pl.Series([START.replace(tzinfo=None)]).extend_constant(START.replace(tzinfo=None), n - 1)
            + pl.Series(day * 86_400_000_000 + seconds * 1_000_000).cast(pl.Duration("us")),
            "day": day,
            "user": [f"u{u}" for u in user],
            "age": rng.normal(np.where(young, 25.0, 45.0), 4.0),
            "plan": rng.choice(["free", "paid"], n).tolist(),
            "region": rng.choice(["north", "south"], n).tolist(),
            "y": truth.astype(int),
            "seen": np.where(truth, 1.0, -1.0) * (1.2 - hard) + 0.3 * habit + rng.normal(0, 0.8, n),
        }
    )


def scored(asked: pl.DataFrame, version: str | np.ndarray, noise: Mapping[str, float], seed: int) -> pl.DataFrame:
    """The requests, answered by versions of which the one with more noise is worse."""
    rng = np.random.default_rng(seed)
    names = np.full(len(asked), version) if isinstance(version, str) else version
    size = np.array([noise[name] for name in names])
    logit = asked["seen"].to_numpy() + size * rng.normal(size=len(asked))
    return asked.with_columns(
        p=pl.Series(1 / (1 + np.exp(-1.5 * logit))),
        version=pl.Series(names.tolist()),
        status=pl.Series(np.where(rng.random(len(asked)) < 0.02, "error", "ok").tolist()),
        ms=pl.Series(rng.lognormal(3.0 + 0.2 * (names == NEW), 0.4)),
    )


def make_home(root: Path, answered: pl.DataFrame, labels: pl.DataFrame | None = None, **more: Any) -> Home:
    """Land the rows of all versions and their labels (default: of all rows), and work up all windows."""
    from orchestration.backfill import materialize_range

    home = Home(root)
    home.monitors.mkdir(parents=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump({**MONITOR, **more}), encoding="utf-8")
    spec = find_monitor(home, "m")
    add_rows(home, answered, labels)
    last = answered["ts"].max()
    assert isinstance(last, datetime)
    materialize_range(home, spec, spec.key(START), spec.key(last.replace(tzinfo=UTC)))
    return home


def add_rows(home: Home, answered: pl.DataFrame, labels: pl.DataFrame | None = None, name: str = "all") -> None:
    """Land rows of the log and labels."""
    paths = home.monitor("m")
    for folder in (paths.landing_inferences, paths.landing_labels):
        folder.mkdir(parents=True, exist_ok=True)
    known = answered.select("id", "y").unique("id") if labels is None else labels
    land(paths.landing_inferences, f"{name}.parquet", answered.drop("y", "seen", "day"), START + timedelta(days=50))
    land(paths.landing_labels, f"{name}.parquet", known.select("id", "y"), START + timedelta(days=50))


def spec_of(home: Home) -> MonitorSpec:
    return find_monitor(home, "m")


def ab(seed: int, noise: Mapping[str, float], share: float = 0.5, days: int = DAYS, rows: int = ROWS) -> pl.DataFrame:
    """Each user is answered by one version throughout."""
    asked = requests(seed, days, rows)
    mine = np.random.default_rng(seed + 1).random(USERS) < share
    names = np.where([mine[int(user[1:])] for user in asked["user"]], NEW, OLD)
    return scored(asked, names, noise, seed + 2)


def many_versions(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows and labels of a log in which versions run beside ``base`` for three weeks, each in its own way.

    ``shadow`` answers the same requests and is better, ``equal`` is an A/B test by users, ``worse`` one that loses,
    ``canary`` has few rows of the same users, ``routed`` gets young people only (who are harder), ``late`` has labels
    of two thirds of its rows, ``growing`` is as good and gets more rows while days get easier, and ``next`` takes the
    place of ``base`` at noon of the last day but six.
    """
    noise = {
        **dict.fromkeys(("base", "equal", "canary", "routed", "late", "growing", "next"), 1.0),
        "shadow": 0.3,
        "worse": 3.0,
    }
    parts = [scored(requests(seed, DAYS + 7), "base", noise, seed + 1)]
    parts.append(scored(parts[0].filter(pl.col("day") < DAYS), "shadow", noise, seed + 2))
    for k, (name, rows) in enumerate({"equal": 400, "worse": 400, "canary": 25, "routed": 400, "late": 400}.items()):
        asked = requests(seed + 10 * (k + 1), DAYS, 3 * rows if name == "routed" else rows)
        if name == "routed":
            asked = asked.filter(pl.col("age") < 36)
        own = asked.with_columns(pl.col("id") + name, user=pl.col("user") + name)
        parts.append(scored(own, name, noise, seed + 3 + k))
    asked = requests(seed + 90, DAYS, 600).with_columns(pl.col("id") + "g", user=pl.col("user") + "g")
    share = np.linspace(0.05, 1.0, DAYS)[asked["day"].to_numpy()]
    kept = np.random.default_rng(seed + 91).random(len(asked)) < share
    parts.append(scored(asked.filter(pl.Series(kept)), "growing", noise, seed + 92))
    at = (START + timedelta(days=DAYS, hours=12)).replace(tzinfo=None)
    took_over = (pl.col("version") == "base") & (pl.col("ts") >= at)
    rows = pl.concat(parts).with_columns(version=pl.when(took_over).then(pl.lit("next")).otherwise("version"))
    rng = np.random.default_rng(seed + 99)
    is_known = (rows["version"] != "late").to_numpy() | (rng.random(len(rows)) < 0.67)
    return rows, rows.filter(pl.Series(is_known)).select("id", "y").unique("id")
