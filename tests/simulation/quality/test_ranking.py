"""Ranking metrics of users with several queries: intervals hold the value of the process, equal models are equal."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.evaluation.differences import differences
from metrics_py.quality.queries import per_query
from metrics_py.quality.ranking_metrics import ORDERED
from metrics_py.quality.table import quality_table
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Metric intervals and comparisons"
SIZE, K, QUERIES_EACH = 8, 5, 4
MOST_MISSED, MOST_UNEQUAL = 0.08, 0.065
"""Of the 95 % interval, which should hold in 0.92 or more; two-sided tests at 5 %."""

CASES = {"all": (250, "all", 64), "segment": (120, "device=tv", 16)}
"""Users of a window, its segment, its buckets."""


def lists(rng: np.random.Generator, runs: int, users: int, models: int = 1) -> pl.DataFrame:
    """Queries of `runs` windows, scored by models that are equally good; users differ in how well they are known."""
    unit = np.repeat(np.arange(runs * users), rng.geometric(1 / QUERIES_EACH, runs * users))
    n, known = len(unit), rng.normal(0, 0.8, runs * users)[unit]
    liked = rng.normal(size=(n, SIZE))
    relevance = np.maximum(np.floor(liked + 0.7 * known[:, None]), 0)
    parts = []
    for model in range(models):
        noise = rng.normal(size=(n, SIZE)) * np.exp(0.6 * known)[:, None]
        score = np.round(2 * (liked + noise)) / 2
        rows = {
            "query": np.repeat(np.arange(n), SIZE),
            "score": score.ravel(),
            "relevance": relevance.ravel(),
        }
        found = per_query(pl.DataFrame(rows), k=K).with_columns(pl.col("query").cast(pl.Int64), model=model)
        parts.append(found)
    facts = pl.DataFrame({"query": np.arange(n), "run": unit // users, "user": unit})
    return pl.concat(parts).join(facts, on="query")


def sums(found: pl.DataFrame, rng: np.random.Generator, segment: str, buckets: int, unit: str) -> pl.DataFrame:
    """Sums by window and bucket of what is independent."""
    placed = pl.DataFrame({unit: found[unit].unique()})
    placed = placed.with_columns(bucket=pl.Series(rng.integers(0, buckets, len(placed)), dtype=pl.Int32))
    long = found.join(placed, on=unit).unpivot(on=ORDERED, index=["run", "model", "bucket"], variable_name="metric")
    added = long.group_by("run", "model", "bucket", "metric").agg(n=pl.len(), sum_value=pl.col("value").sum())
    return added.with_columns(segment=pl.lit(segment))


def long_run(seed: int) -> dict[str, float]:
    return lists(np.random.default_rng(seed), 1, 60_000).select(pl.col(ORDERED).mean()).row(0, named=True)


def judge_coverage(case: str, runs: int, seed: int) -> None:
    users, segment, buckets = CASES[case]
    rng = np.random.default_rng(seed)
    found, truth = lists(rng, runs, users), long_run(seed + 1)
    missed: dict[str, dict[str, int]] = {}
    for unit in ("user", "query"):
        table = quality_table(
            custom=sums(found, rng, segment, buckets, unit), task="ranking", by=["run", "segment"]
        ).filter(status="ok")
        lost = pl.col("metric").replace_strict(truth, return_dtype=pl.Float64)
        outside = table.filter(~lost.is_between("ci_low", "ci_high")).group_by("metric").len()
        assert len(table) == runs * len(ORDERED)
        missed[unit] = dict.fromkeys(ORDERED, 0) | dict(outside.iter_rows())
    measured = {f"{name}, holds": round(1 - missed["user"][name] / runs, 3) for name in ORDERED}
    measured["ndcg, holds if queries were taken for independent"] = round(1 - missed["query"]["ndcg"] / runs, 3)
    record(
        f"ranking_coverage_{case}",
        f"{users} users with {QUERIES_EACH} queries each on average, {buckets} buckets of users: the 95 % interval "
        "holds the value of endlessly many users in at least 0.92 of the windows",
        measured,
        runs,
        SECTION,
    )
    for name in ORDERED:
        check(missed["user"][name], runs, MOST_MISSED, f"{name}, {case}")
    if case == "all":
        assert missed["query"]["ndcg"] > missed["user"]["ndcg"]


def judge_equal_models(runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = lists(rng, runs, 250, models=2)
    custom = sums(found, rng, "all", 64, "user")
    unequal = dict.fromkeys(ORDERED, 0)
    for (_,), own in custom.group_by("run"):
        champion, challenger = ({"custom": own.filter(model=model)} for model in (0, 1))
        table = differences(champion, challenger, task="ranking").filter(status="ok")
        assert len(table) == len(ORDERED)
        for name, p_value in table.select("metric", "p_value").iter_rows():
            unequal[name] += p_value < 0.05
    record(
        "ranking_equal_models",
        "two models of equal quality on the same queries of 250 users: called unequal at 5 % in at most 6.5 %",
        {name: round(count / runs, 3) for name, count in unequal.items()},
        runs,
        SECTION,
    )
    for name, count in unequal.items():
        check(count, runs, MOST_UNEQUAL, name)


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_value_of_the_process(case):
    judge_coverage(case, 300, seed=41)


@pytest.mark.full
@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_value_of_the_process_in_full(case):
    judge_coverage(case, 2000, seed=42)


def test_equal_models_are_called_equal():
    judge_equal_models(300, seed=43)


@pytest.mark.full
def test_equal_models_are_called_equal_in_full():
    judge_equal_models(2000, seed=44)
