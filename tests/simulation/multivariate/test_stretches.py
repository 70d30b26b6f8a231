"""60 texts and vectors a day, judged over seven days: the budget, and how soon a change is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import replay
from metrics_py.drift.daily_statistics import Stream
from metrics_py.multivariate import embedding_distances, fit_embeddings
from metrics_py.multivariate.vectors import Vectors
from metrics_py.text.window_texts import fit_texts, text_streams
from metrics_py.text.word_counts import read_texts
from sightline.alerts import decisions
from sightline.judging.stretches import LEAST
from sightline.spec.model import MonitorSpec
from sightline.spec.stretches import STRETCHES
from tests.support.measured import interval, record

SECTION = "Multivariate and embeddings"
WEEK, DAY_ROWS, DIMENSION = STRETCHES["daily"], 60, 32
ROWS = WEEK.n * DAY_ROWS
REFERENCE, WARM, QUIET = 9, 12, 26
"""Weeks: of the reference, until streams may alarm, and looked at afterwards."""
ORDINARY, BUDGET_DAYS = 30, 90
FIRST = datetime(2026, 1, 11)
WORDS = np.array([f"w{k}" for k in range(600)])
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "binary_classification"},
        "columns": {"score": "p", "features": {"t": "text", "v": "embedding"}},
        "reference": {"path": "r.parquet"},
        "alerts": {"budget": f"1 per {BUDGET_DAYS}d"},
    }
)
RUNS = [3, pytest.param(40, marks=pytest.mark.full)]


def vectors(rng: np.random.Generator, moved: float) -> Vectors:
    """A week of seven days that each have a level of their own; `moved` standard deviations in every fourth number."""
    level = np.repeat(0.1 * rng.standard_normal((WEEK.n, DIMENSION)), DAY_ROWS, axis=0)
    rows = rng.standard_normal((ROWS, DIMENSION)) + level + moved * (np.arange(DIMENSION) % 4 == 0)
    return Vectors(rows.astype(np.float32), ROWS, 0, 0, {DIMENSION: ROWS})


def texts(rng: np.random.Generator, share: float) -> pl.Series:
    """A week of texts of fifteen words, whose days have topics; a `share` of them have three new words."""
    chance = 1 / np.arange(5, len(WORDS) + 5)
    found: list[str] = []
    for _ in range(WEEK.n):
        own = chance * np.exp(0.2 * rng.standard_normal(len(WORDS)))
        drawn = rng.choice(WORDS, (DAY_ROWS, 15), p=own / own.sum())
        found += [" ".join(words) for words in drawn]
    moved = rng.random(ROWS) < share
    return pl.Series([f"{text} refund parcel broken" if new else text for text, new in zip(found, moved, strict=True)])


def embedding_streams(rng: np.random.Generator, weeks: int, change: Callable[[int], float]) -> list[Stream]:
    before = [vectors(rng, 0.0) for _ in range(REFERENCE)]
    keys = [str(k) for k in range(weeks)]
    sample = np.concatenate([part.rows for part in before])
    model = fit_embeddings(sample, keys[:REFERENCE], before, domain_rows=0)
    later = [model.window(vectors(rng, change(k))) for k in range(REFERENCE, weeks)]
    own = [{name: array[k] for name, array in model.sums.windows.items()} for k in range(REFERENCE)]
    return embedding_distances(model, keys, [*own, *later], min_rows=round(LEAST * SPEC.drift.min_rows)).streams


def word_streams(rng: np.random.Generator, weeks: int, change: Callable[[int], float]) -> list[Stream]:
    before = [texts(rng, 0.0) for _ in range(REFERENCE)]
    keys = [str(k) for k in range(weeks)]
    read = [read_texts(part) for part in before]
    model = fit_texts(keys[:REFERENCE], [c for c, _ in read], [m for _, m in read], pl.concat(before))
    own = [model.window(*read_texts(part, model.vocabulary.knows), k) for k, part in enumerate(before)]
    later = [texts(rng, change(k)) for k in range(REFERENCE, weeks)]
    sums = [*own, *(model.window(*read_texts(part, model.vocabulary.knows)) for part in later)]
    return text_streams(model, keys, sums, min_rows=round(LEAST * SPEC.drift.min_rows))


def decided(rng: np.random.Generator, streams: Sequence[Stream], column: str) -> pl.DataFrame:
    """When streams of the column joined incidents, beside ordinary streams that are judged every day."""
    weeks = len(streams[0].value)
    days, ends = weeks * WEEK.n, [FIRST + k * timedelta(days=WEEK.n) for k in range(weeks)]
    starts = [FIRST - timedelta(days=WEEK.n - 1) + timedelta(days=k) for k in range(days)]
    rows = [(f"drift/{column}/{s.statistic}{WEEK.ending}", ends, s.value, s.variance, s.statistic) for s in streams]
    rows += [
        (f"drift/o{k}/location", starts, rng.standard_normal(days), np.ones(days), "location") for k in range(ORDINARY)
    ]
    frames = [
        pl.DataFrame({"window_start": at, "value": value, "variance": variance}).with_columns(
            stream=pl.lit(name), asset=pl.lit("drift"), column=pl.lit(name.split("/")[1]),
            statistic=pl.lit(name.rsplit("/", 1)[1]),
        )
        for name, at, value, variance, _ in rows
    ]  # fmt: skip
    log = decisions.log_of(SPEC, pl.concat(frames).fill_nan(None).with_columns(decided_at="window_start"))
    found = replay(log, decisions.config(SPEC)).members
    return found.filter(pl.col("stream").str.starts_with(f"drift/{column}/"))


MAKERS = {"v": embedding_streams, "t": word_streams}
WHAT = {"v": "vectors of 32 numbers", "t": "texts of 15 words"}
CHANGES = {
    "v": (0.5, "every fourth number by half a standard deviation"),
    "t": (0.2, "three new words in a fifth of the texts"),
}


def test_streams_over_a_stretch_have_the_tail_of_theirs_by_window():
    evidence = pl.DataFrame(
        {
            "stream": ["a", "b", "c"],
            "asset": "drift",
            "column": "v",
            "statistic": ["hotelling@7d", "hotelling", "skew@7d"],
        }
    )
    assert decisions.log_of(SPEC, evidence)["pool"].to_list() == [2, 2, 0]


@pytest.mark.parametrize("column", ["v", "t"])
@pytest.mark.parametrize("runs", RUNS)
def test_few_rows_a_day_keep_the_budget(runs: int, column: str):
    weeks, incidents = WARM + QUIET, 0
    for run in range(runs):
        rng = np.random.default_rng([91, run, ord(column)])
        incidents += decided(rng, MAKERS[column](rng, weeks, lambda _: 0.0), column)["incident_id"].n_unique()
    exposed = runs * QUIET * WEEK.n
    record(
        f"stretch-null-{column}",
        f"60 {WHAT[column]} a day over 7 days: incidents per 90 days, budget 1 per 90 days for all: at most 1",
        incidents / exposed * BUDGET_DAYS,
        runs,
        SECTION,
    )
    assert interval(incidents, exposed)[0] * BUDGET_DAYS <= 1


@pytest.mark.parametrize("column", ["v", "t"])
@pytest.mark.parametrize("runs", RUNS)
def test_a_change_of_few_rows_a_day_is_found_within_weeks(runs: int, column: str):
    """From a week on, four weeks after the warm-up."""
    at, (size, words) = WARM + 4, CHANGES[column]
    waited: list[float] = []
    for run in range(runs):
        rng = np.random.default_rng([92, run, ord(column)])
        members = decided(rng, MAKERS[column](rng, at + 6, lambda k: size if k >= at else 0.0), column)
        joined = members.filter(pl.col("joined_at") >= FIRST + at * timedelta(days=WEEK.n))["joined_at"].sort()
        waited.append((joined[0] - FIRST).days // WEEK.n - at + 1 if len(joined) else np.inf)
    record(
        f"stretch-change-{column}",
        f"60 {WHAT[column]} a day over 7 days, {words}: half found with the second week, all within 4",
        {"median weeks": float(np.median(waited)), "longest": float(np.max(waited))},
        runs,
        SECTION,
    )
    assert np.median(waited) <= 2
    assert np.max(waited) <= 4
