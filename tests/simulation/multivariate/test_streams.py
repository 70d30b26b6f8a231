"""Acceptance 6: what the streams of several columns and of embeddings find through the alert engine, and how soon.

Every monitor has 100 ordinary streams besides, as of twenty columns. Days have effects of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import EngineConfig, replay
from metrics_py.drift.daily_statistics import Stream
from metrics_py.multivariate import embedding_distances, fit_embeddings, fit_joint, joint_distances
from metrics_py.multivariate.vectors import Vectors
from tests.support.measured import interval, record

SECTION = "Multivariate and embeddings"
REFERENCE, CALM, AFTER = 28, 14, 14
CHANGE = REFERENCE + CALM
BUDGET_DAYS = 90
ORDINARY = 100
D, ROWS = 20, 5000
CLASSIFIED = 600
NEVER = 10**6
FIRST = datetime(2026, 1, 5)
LOST = 0.74
RUNS = [6, pytest.param(60, marks=pytest.mark.full)]


def found_after(streams: Sequence[Stream], seed: list[int], change: int | None) -> tuple[int, int, set[str]]:
    """Days until the first of these streams is in an incident, number of incidents, and the streams of them.

    Incidents of the streams before the change count as such, not as the change found.
    """
    rng = np.random.default_rng(seed)
    days = len(streams[0].value)
    starts = [FIRST + timedelta(days=k) for k in range(days)]
    named = {f"@/{stream.statistic}": (stream.value, stream.variance) for stream in streams}
    named |= {f"o{k}": (rng.standard_normal(days), np.ones(days)) for k in range(ORDINARY)}
    frames = [
        pl.DataFrame({"window_start": starts, "value": v, "variance": w})
        .with_columns(stream=pl.lit(name))
        .fill_nan(None)
        for name, (v, w) in named.items()
    ]
    result = replay(pl.concat(frames), EngineConfig.from_budget(1, timedelta(days=BUDGET_DAYS)))
    members = result.members.filter(pl.col("stream").str.starts_with("@"))
    joined = members["joined_at"].drop_nulls().to_list()
    moved = [t for t in joined if change is not None and t >= starts[change]]
    delay = (min(moved) - starts[change]).days + 1 if moved and change is not None else NEVER
    return delay, members["incident_id"].n_unique(), set(members["stream"])


def table_of(rng: np.random.Generator, rho: float, rows: int = ROWS) -> dict[str, np.ndarray]:
    """Twenty columns with day effects on every mean; the first two are correlated by `rho`."""
    x = rng.standard_normal((rows, D))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    for k in range(2, 10):
        x[:, k] = 0.5 * x[:, k - 2] + np.sqrt(0.75) * x[:, k]
    x = x * np.exp(0.03 * rng.standard_normal(D)) + 0.05 * rng.standard_normal(D)
    return {f"c{k}": x[:, k] for k in range(D)}


def joint_streams(
    rng: np.random.Generator, days: int, rho: Callable[[int], float], rows: int = ROWS, domain_rows: int = 0
) -> list[Stream]:
    """Streams of all days; the first `REFERENCE` are the reference."""
    reference = [table_of(rng, rho(k), rows) for k in range(REFERENCE)]
    keys = [str(k) for k in range(REFERENCE)]
    sample = {name: np.concatenate([day[name][:700] for day in reference]) for name in reference[0]}
    model = fit_joint(sample, keys, reference, domain_rows=domain_rows)
    later = [model.window(table_of(rng, rho(k), rows)) for k in range(REFERENCE, days)]
    own = [{name: array[k] for name, array in model.sums.windows.items()} for k in range(REFERENCE)]
    return joint_distances(model, [str(k) for k in range(days)], [*own, *later]).streams


@pytest.mark.parametrize("runs", RUNS)
def test_the_loss_of_one_correlation_is_found(runs):
    """.74 to 0 with both marginal laws as they were, 20 columns, 5,000 rows a day: within 3 days."""
    delays, incidents = [], 0
    for run in range(runs):
        rng = np.random.default_rng([61, run])
        streams = joint_streams(rng, CHANGE + AFTER, lambda k: LOST if k < CHANGE else 0.0)
        delay, n, _ = found_after(streams, [62, run], CHANGE)
        delays.append(delay)
        incidents += n
    record(
        "multivariate-correlation-lost",
        "one correlation of 20 columns from .74 to 0, marginal laws unchanged, 5,000 rows a day: found within 3 days",
        {"median days": float(np.median(delays)), "longest": float(max(delays))},
        runs,
        SECTION,
    )
    assert max(delays) <= 3


@pytest.mark.parametrize("runs", RUNS)
def test_day_effects_alone_keep_the_budget(runs):
    """120 days a run, 1,000 rows a day; incidents with one of the three streams, of a budget of 1 per 90 days."""
    days, incidents = REFERENCE + 120, 0
    for run in range(runs):
        rng = np.random.default_rng([63, run])
        incidents += found_after(joint_streams(rng, days, lambda _: LOST, 1000), [64, run], None)[1]
    exposed = runs * (days - REFERENCE)
    per_budget = incidents / exposed * BUDGET_DAYS
    record(
        "multivariate-null",
        "incidents per 90 days with a stream of several columns, budget 1 per 90 days for all: at most 1",
        per_budget,
        runs,
        SECTION,
    )
    low, _ = interval(incidents, exposed)
    assert low * BUDGET_DAYS <= 1


def classifier_streams(rng: np.random.Generator, days: int, rho: Callable[[int], float]) -> list[Stream]:
    found = joint_streams(rng, days, rho, CLASSIFIED, domain_rows=2 * CLASSIFIED)
    return [stream for stream in found if stream.statistic == "domain_auc"]


@pytest.mark.parametrize("runs", [2, pytest.param(40, marks=pytest.mark.full)])
def test_a_classifier_as_a_stream(runs):
    """Alone, 600 rows a day: the loss of a correlation is found within 4 days; day effects keep the budget."""
    delays, incidents, days = [], 0, REFERENCE + 90
    for run in range(runs):
        lost = classifier_streams(
            np.random.default_rng([69, run]), CHANGE + AFTER, lambda k: LOST if k < CHANGE else 0.0
        )
        delays.append(found_after(lost, [70, run], CHANGE)[0])
        quiet = classifier_streams(np.random.default_rng([71, run]), days, lambda _: LOST)
        incidents += found_after(quiet, [72, run], None)[1]
    exposed = runs * (days - REFERENCE)
    record(
        "multivariate-classifier",
        "the classifier's area alone, 20 columns, 600 rows a day: a lost correlation within 4 days, and without a "
        "change at most 1 incident per 90 days",
        {
            "median days": float(np.median(delays)),
            "longest": float(max(delays)),
            "incidents per 90 days": incidents / exposed * BUDGET_DAYS,
        },
        runs,
        SECTION,
    )
    assert max(delays) <= 4
    assert interval(incidents, exposed)[0] * BUDGET_DAYS <= 1


# ---------------------------------------------------------------- embeddings

DIMENSION, VECTORS, LATENT = 96, 2000, 12


class Embedder:
    """Vectors of a low-dimensional content with noise, and a day's own topic mix."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.map = rng.standard_normal((LATENT, DIMENSION)) / np.sqrt(LATENT)
        self.other = rng.standard_normal((LATENT, DIMENSION)) / np.sqrt(LATENT)
        self.cluster = 3 * rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION) * 3
        self.offset = rng.standard_normal(DIMENSION)

    def day(self, kind: str = "") -> Vectors:
        rng = self.rng
        content = rng.standard_normal((VECTORS, LATENT)) + 0.1 * rng.standard_normal(LATENT)
        rows = content @ (self.other if kind == "model" else self.map) + 0.4 * rng.standard_normal((VECTORS, DIMENSION))
        rows += self.offset
        if kind == "cluster":
            hit = rng.random(VECTORS) < 0.02
            rows[hit] = self.cluster + self.offset + 0.2 * rng.standard_normal((int(hit.sum()), DIMENSION))
        return Vectors(rows.astype(np.float32), VECTORS, 0, 0, {DIMENSION: VECTORS})


def embedding_streams(rng: np.random.Generator, days: int, kind: Callable[[int], str]) -> list[Stream]:
    world = Embedder(rng)
    reference = [world.day() for _ in range(REFERENCE)]
    sample = np.concatenate([part.rows[:300] for part in reference])
    model = fit_embeddings(sample, [str(k) for k in range(REFERENCE)], reference, domain_rows=0)
    later = [model.window(world.day(kind(k))) for k in range(REFERENCE, days)]
    own = [{name: array[k] for name, array in model.sums.windows.items()} for k in range(REFERENCE)]
    return embedding_distances(model, [str(k) for k in range(days)], [*own, *later]).streams


@pytest.mark.parametrize(("kind", "half", "limit"), [("model", 1, 2), ("cluster", 3, 7)])
@pytest.mark.parametrize("runs", RUNS)
def test_changes_of_embeddings_are_found(kind, half, limit, runs):
    """Another embedding model of the same law of norms; and 2 % of the rows in a cluster of their own."""
    delays = []
    for run in range(runs):
        rng = np.random.default_rng([65, run, len(kind)])
        streams = embedding_streams(rng, CHANGE + AFTER, lambda k: kind if k >= CHANGE else "")
        delays.append(found_after(streams, [66, run], CHANGE)[0])
    record(
        f"embeddings-{kind}",
        f"{'another embedding model' if kind == 'model' else '2 % of the rows in a cluster of their own'}, "
        f"2,000 rows of 96 dimensions a day with day effects: half found within {half} days, all within {limit}",
        {"median days": float(np.median(delays)), "longest": float(max(delays))},
        runs,
        SECTION,
    )
    assert np.median(delays) <= half
    assert max(delays) <= limit


@pytest.mark.parametrize("runs", RUNS)
def test_day_effects_of_embeddings_keep_the_budget(runs):
    days, incidents = REFERENCE + 90, 0
    for run in range(runs):
        rng = np.random.default_rng([67, run])
        incidents += found_after(embedding_streams(rng, days, lambda _: ""), [68, run], None)[1]
    exposed = runs * (days - REFERENCE)
    record(
        "embeddings-null",
        "incidents per 90 days with a stream of one embedding column, budget 1 per 90 days for all: at most 1",
        incidents / exposed * BUDGET_DAYS,
        runs,
        SECTION,
    )
    low, _ = interval(incidents, exposed)
    assert low * BUDGET_DAYS <= 1
