"""Ranking metrics against scikit-learn, against all orders of tied rows, and by hand."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score

from metrics_py import registry
from metrics_py.quality.metrics import quality_metric
from metrics_py.quality.ranking import NAMES, per_query, ranking_table


def queries(n=40, rows=12, seed=1, *, ties=False, graded=True):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n * rows)
    relevance = np.maximum(rng.integers(-3, 4, n * rows), 0)
    return pl.DataFrame(
        {
            "query": np.repeat(np.arange(n), rows),
            "score": np.round(score) if ties else score,
            "relevance": relevance if graded else np.minimum(relevance, 1),
        }
    )


def by_hand(relevance, k):
    """All metrics of one order."""
    relevant = np.array(relevance) > 0
    top, places = relevant[:k], np.arange(1, min(k, len(relevant)) + 1)
    discount = 1 / np.log2(places + 1)
    ideal = np.sort(relevance)[::-1][:k] @ discount
    first = np.flatnonzero(top)
    return np.array([
        np.array(relevance)[:k] @ discount / ideal,
        (np.cumsum(top) / places * top).sum() / min(relevant.sum(), k),
        1 / (first[0] + 1) if len(first) else 0.0,
        top.sum() / k,
        top.sum() / relevant.sum(),
        float(top.any()),
    ])  # fmt: skip


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_ndcg_is_that_of_scikit_learn(ties, k):
    rows = queries(ties=ties)
    found = dict(per_query(rows, k=k).select("query", "ndcg").rows())
    for (query,), part in rows.group_by("query"):
        if part["relevance"].max():
            expected = ndcg_score([part["relevance"].to_numpy()], [part["score"].to_numpy()], k=k)
            assert found[str(query)] == pytest.approx(expected, abs=1e-12)


def test_average_precision_over_all_places_is_that_of_scikit_learn():
    rows = queries(graded=False)
    found = dict(per_query(rows, k=12).select("query", "map").rows())
    for (query,), part in rows.group_by("query"):
        if part["relevance"].max():
            truth, score = part["relevance"].to_numpy(), part["score"].to_numpy()
            assert found[str(query)] == pytest.approx(average_precision_score(truth, score), abs=1e-12)
            assert found[str(query)] == pytest.approx(
                label_ranking_average_precision_score([truth], [score]), abs=1e-12
            )


@pytest.mark.parametrize("k", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("score", [[1, 1, 1, 1, 1], [3, 2, 2, 2, 1], [2, 2, 1, 1, 1], [5, 4, 3, 2, 1], [1, 1, 1, 1, 0]])
@pytest.mark.parametrize("relevance", [[1, 0, 0, 2, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 3, 0, 1, 1]])
def test_ties_are_the_mean_over_all_their_orders(score, relevance, k):
    orders = [p for p in permutations(range(5)) if all(score[a] >= score[b] for a, b in pairwise(p))]
    expected = np.mean([by_hand([relevance[i] for i in order], k) for order in orders], axis=0)
    found = per_query(pl.DataFrame({"query": ["q"] * 5, "score": score, "relevance": relevance}), k=k)
    assert found.select(NAMES).row(0) == pytest.approx(expected, abs=1e-12)


def test_queries_that_say_nothing_of_the_order_are_counted_and_left_out():
    """b: no relevant row; c: one row without a score, so one row; d: one row lacks its label; e: one row."""
    nan = float("nan")
    rows = pl.DataFrame(
        {
            "query": ["a", "a", "b", "b", None, "c", "c", "d", "d", "d", "e"],
            "score": [2.0, 1.0, 2.0, 1.0, 9.0, nan, 1.0, 3.0, 2.0, 1.0, 1.0],
            "relevance": [0, 1, 0, 0, 1, 1, 1, 1, None, 0, 1],
        }
    )
    found = {row["query"]: row for row in per_query(rows).to_dicts()}
    assert set(found) == {"a"}
    assert (found["a"]["mrr"], found["a"]["n_rows"]) == (0.5, 2)
    table = {row["metric"]: row for row in ranking_table(rows, min_queries=1).to_dicts()}
    assert {name: table[name]["n"] for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert (table["relevant_query_rate"]["value"], table["relevant_query_rate"]["n"]) == (0.5, 2)
    assert (table["complete_query_rate"]["value"], table["complete_query_rate"]["n"]) == (pytest.approx(2 / 3), 3)
    empty = ranking_table(rows.filter(query="b"))
    assert set(empty["status"]) == {"insufficient_data"}
    known = empty.filter(pl.col("value").is_not_null())
    assert sorted(known.select("metric", "value").rows()) == [
        ("complete_query_rate", 1.0),
        ("relevant_query_rate", 0.0),
    ]
    assert set(NAMES) < set(empty["metric"])


def test_queries_of_one_user_stand_in_one_bucket():
    """60 users whose queries are all alike: the interval is that of 60 queries, not of 600."""
    rng = np.random.default_rng(17)
    user = np.repeat(np.arange(60), 10)
    place = np.repeat(rng.integers(0, 5, 60), 10)
    rows = pl.concat(
        pl.DataFrame(
            {"query": [i] * 5, "entity": [u] * 5, "score": [5.0, 4, 3, 2, 1], "relevance": [j == p for j in range(5)]}
        )
        for i, (u, p) in enumerate(zip(user, place, strict=True))
    )
    wide, narrow = (
        ranking_table(each).row(by_predicate=pl.col("metric") == "mrr", named=True)
        for each in (rows, rows.drop("entity"))
    )
    assert wide["value"] == pytest.approx(narrow["value"])
    ratio = (wide["ci_high"] - wide["ci_low"]) / (narrow["ci_high"] - narrow["ci_low"])
    assert 2.2 < ratio < 4.5, ratio


def test_the_order_of_rows_and_an_increasing_transformation_change_nothing():
    rows = queries(ties=True)
    other = rows.sample(fraction=1, shuffle=True, seed=3).with_columns(score=pl.col("score").exp())
    a, b = (per_query(r).sort("query") for r in (rows, other))
    np.testing.assert_allclose(a.select(NAMES).to_numpy(), b.select(NAMES).to_numpy(), atol=1e-12)


def test_intervals_cover_the_mean_over_queries():
    """Coverage of the 95 % jackknife interval over queries, 200 repetitions; at least 181 by the binomial at 1e-3."""
    truth = per_query(queries(20_000, 8, seed=99))["ndcg"].mean()
    inside = 0
    for seed in range(200):
        table = ranking_table(queries(150, 8, seed=seed))
        row = table.row(by_predicate=pl.col("metric") == "ndcg", named=True)
        assert row["status"] == "ok"
        inside += row["ci_low"] <= truth <= row["ci_high"]
    assert inside >= 181


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_gives_the_mean_over_queries(name):
    rows = queries()
    entry = registry.get(name, "ranking")
    assert quality_metric(name, "ranking").direction == entry.direction
    assert entry.function(rows) == pytest.approx(per_query(rows)[name].mean())
    assert entry.direction == "higher_is_better"


def test_nonsense_is_refused():
    rows = queries(2, 3)
    with pytest.raises(ValueError, match="k=0"):
        per_query(rows, k=0)
    with pytest.raises(ValueError, match="no column 'relevance'"):
        per_query(rows.drop("relevance"))
    with pytest.raises(ValueError, match="negative"):
        per_query(rows.with_columns(relevance=pl.lit(-1)))


@pytest.mark.parametrize("second", [1, 3])
def test_intervals_of_two_queries_stay_in_their_range(second):
    """The relevant row is first of one query; of the other it is at `second`: equal queries are no certainty."""
    relevance = [1, 0, 0, *(int(place == second) for place in (1, 2, 3))]
    rows = pl.DataFrame({"query": ["a"] * 3 + ["b"] * 3, "score": [3.0, 2.0, 1.0] * 2, "relevance": relevance})
    for row in ranking_table(rows, min_queries=2).to_dicts():
        assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1, row
        assert row["ci_high"] - row["ci_low"] > 0.3, row
    told = ranking_table(rows)
    assert set(told["status"]) == {"insufficient_data"}
    assert set(told["reason"]) == {"2 queries, 100 needed"}


def test_queries_that_are_all_alike_are_as_uncertain_as_zeros_and_ones():
    from metrics_py.intervals import wilson

    n = 400
    rows = pl.DataFrame(
        {"query": [i for i in range(n) for _ in range(2)], "score": [2.0, 1.0] * n, "relevance": [0, 1] * n}
    )
    found = {row["metric"]: row for row in ranking_table(rows).to_dicts()}
    low, high = wilson(200, 400, degrees_of_freedom=63)
    assert (found["mrr"]["ci_low"], found["mrr"]["ci_high"]) == pytest.approx((float(low), float(high)), abs=1e-9)
