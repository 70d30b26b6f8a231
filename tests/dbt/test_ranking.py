"""Ranking through the real marts: scikit-learn, all orders of ties, a published example and `sightline test` agree."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from metrics_py.quality.queries import ranking_sums
from metrics_py.quality.ranking_metrics import ORDERED
from sightline.cli import cli
from sightline.warehouse import build_reference, connect
from tests.dbt.ranking_world import DAYS, NAIVE, K, bench_of, rows_of
from tests.dbt.support import Bench

KEYS = ["window_key", "model_version", "segment"]
LIST = [*KEYS, "query_id"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Bench, pl.DataFrame]:
    rows = rows_of(np.random.default_rng(5))
    bench = bench_of(tmp_path_factory.mktemp("ranking"), rows)
    build_reference(bench.spec, bench.paths, bench.home)
    bench.control()
    bench.build()
    return bench, rows


def bucket_of(user: str) -> int:
    return hashlib.md5(user.encode()).digest()[0] % 64


def by_segment(bench: Bench, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as lists, once for the whole and once for their value of each segment column."""
    keyed = rows.with_columns(
        window_key=pl.Series([bench.spec.key(at) for at in rows["timestamp"]]),
        model_version="version",
        relevance="label",
        bucket=pl.Series([bucket_of(user) for user in rows["user"]], dtype=pl.Int32),
    )
    parts = [keyed.with_columns(segment=pl.lit("all"))]
    for name in ("country", "shelf"):
        parts.append(keyed.with_columns(segment=pl.lit(f"{name}=") + pl.col(name), bucket=pl.col("bucket") % 16))
    return pl.concat(parts)


def test_sums_of_every_segment_are_those_of_the_rows(world):
    bench, rows = world
    wanted = pl.concat(
        ranking_sums(part, k=K).with_columns(pl.lit(value).alias(name) for name, value in zip(KEYS, key, strict=True))
        for key, part in by_segment(bench, rows).group_by(KEYS)
    ).filter(pl.col("n") > 0)
    order = [*KEYS, "bucket", "metric"]
    found = bench.mart("custom_sums").select(*order, "n", "sum_value", "sum_value_sq")
    assert_frame_equal(
        found.sort(order), wanted.select(found.columns).sort(order), rel_tol=1e-9, abs_tol=1e-9, check_dtypes=False
    )
    lost = found.filter(metric="complete_query_rate", segment="all")
    assert 0 < lost["n"].sum() - lost["sum_value"].sum() < 20


def test_every_query_has_the_values_of_scikit_learn(world):
    bench, rows = world
    with connect(bench.paths, read_only=True) as con:
        queries = con.sql("select * from intermediate.int_queries_ranked where segment = 'all'").pl()
    found = {row["query_id"]: row for row in queries.to_dicts()}
    n_ties = n_judged = 0
    for (query,), part in rows.drop_nulls("score").group_by("query"):
        row = found[query]
        if part.height < 2 or part["label"].null_count() or not part["label"].max():
            assert row["ndcg"] is None and row["mrr"] is None, row
            continue
        truth, score = part["label"].to_numpy(), part["score"].to_numpy()
        assert row["ndcg"] == pytest.approx(ndcg_score([truth], [score], k=K), abs=1e-12)
        is_tied = len(set(score.tolist())) < len(score)
        n_ties, n_judged = n_ties + is_tied, n_judged + 1
        if not is_tied and part.height <= K:
            expected = label_ranking_average_precision_score([truth > 0], [score])
            assert row["map"] == pytest.approx(expected, abs=1e-12)
    assert n_judged > 100 and n_ties > 30
    assert found and bench.spec.quality.k == K


def test_the_marts_and_a_test_suite_say_the_same(world, tmp_path):
    """Every version of a window is a list of its own, and so are equal ids of other windows."""
    bench, rows = world
    table = rows.with_columns(pl.concat_str("query", "version", pl.col("timestamp").dt.date(), separator="/"))
    file, suite = tmp_path / "rows.parquet", tmp_path / "suite.yaml"
    table.write_parquet(file)
    roles = f"{{task: ranking, label: label, score: score, query: query, entity: user, k: {K}, min_labels: 5}}"
    marts = bench.mart("custom_sums").filter(segment="all").group_by("metric").agg(pl.col("n", "sum_value").sum())
    for name, n, total in marts.filter(pl.col("metric").is_in(ORDERED)).iter_rows():
        value = total / n
        suite.write_text(
            f"version: 1\nquality: {roles}\nchecks:\n"
            f"- {{metric: {name}, between: [{value - 1e-9:.12f}, {value + 1e-9:.12f}]}}\n"
        )
        done = CliRunner().invoke(cli, ["test", str(suite), str(file), str(file)])
        assert done.exit_code == 0, (name, value, done.output)


def test_a_published_example_through_the_marts(tmp_path):
    """Wikipedia, "Discounted cumulative gain": 3, 2, 3, 0, 1, 2 at the first places, documents of 3 and 2 behind them.

    There the DCG is 6.861, that of the best order 8.740 and the NDCG 0.785.
    """
    relevance = [3.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 2.0]
    rows = pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(8)],
            "timestamp": [NAIVE + timedelta(hours=1)] * 8,
            "query": ["q"] * 8,
            "user": ["u"] * 8,
            "version": ["v1"] * 8,
            "score": [8.0, 7, 6, 5, 4, 3, 2, 1],
            "country": ["c0"] * 8,
            "shelf": ["s0"] * 8,
            "item": ["i0"] * 8,
            "label": relevance,
        }
    )
    bench = bench_of(tmp_path, rows)
    spec = bench.spec
    bench.spec = spec.model_copy(update={"quality": spec.quality.model_copy(update={"k": 6})})
    bench.control()
    bench.build("--select", "+custom_sums")
    sums = {row["metric"]: row["sum_value"] for row in bench.mart("custom_sums").filter(segment="all").to_dicts()}
    assert sums["ndcg"] == pytest.approx(0.785, abs=5e-4)
    assert sums["ndcg"] == pytest.approx(6.861 / 8.740, abs=2e-4)
    assert sums["map"] == pytest.approx((1 + 1 + 1 + 4 / 5 + 5 / 6) / 6)
    assert (sums["mrr"], sums["hit_rate_at_k"]) == (1.0, 1.0)


def test_a_query_that_goes_on_after_midnight_counts_once_and_an_id_that_comes_again_twice(tmp_path):
    def rows_at(query: str, *minutes: float) -> list[dict[str, object]]:
        return [
            {
                "prediction_id": f"{query}-{m}",
                "timestamp": NAIVE + timedelta(minutes=m),
                "query": query,
                "user": query,
                "version": "v1",
                "score": -float(i),
                "country": "c0",
                "shelf": "s0",
                "item": "i0",
                "label": float(i == 1),
            }
            for i, m in enumerate(minutes)
        ]

    midnight = 24 * 60.0
    rows = pl.DataFrame(
        [
            *rows_at("across", midnight - 2, midnight - 1, midnight + 1, midnight + 2),
            *rows_at("again", 600, 601, midnight + 600, midnight + 601),
            *rows_at("late", midnight - 20, midnight - 19, midnight + 15, midnight + 16),
        ]
    )
    rows = rows.with_columns(label=pl.when(pl.col("score") == -3).then(1.0).otherwise("label"))
    bench = bench_of(tmp_path, rows)
    for keys in (["2026-01-05", "2026-01-06"], ["2026-01-06"]):
        bench.control(keys)
        bench.build("--select", "+custom_sums")
        counts = bench.mart("custom_sums").filter(segment="all", metric="complete_query_rate")
        assert dict(counts.group_by("window_key").agg(pl.col("n").sum()).iter_rows()) == {
            "2026-01-05": 3,
            "2026-01-06": 2,
        }


def test_silence_is_irrelevant_where_the_file_says_so(tmp_path):
    rows = rows_of(np.random.default_rng(8), 60)
    silent = rows.with_columns(label=pl.when(pl.col("label") > 0).then("label"))
    bench = bench_of(tmp_path, silent, silence="negative", give_up_after="7d")
    bench.control()
    bench.build("--select", "+custom_sums", "+label_bins", "+label_counts")
    told = rows.with_columns(pl.col("label").fill_null(0.0))
    found = bench.mart("custom_sums").filter(segment="all").group_by("metric").agg(pl.col("n", "sum_value").sum())
    lists = told.with_columns(pl.concat_str("query", "version", separator="/").alias("query"), relevance="label")
    wanted = ranking_sums(lists, k=K).group_by("metric").agg(pl.col("n", "sum_value").sum())
    assert_frame_equal(found.sort("metric"), wanted.sort("metric"), check_dtypes=False, rel_tol=1e-9)
    complete = found.filter(metric="complete_query_rate").row(0, named=True)
    assert complete["n"] == complete["sum_value"] > 30
    counts = bench.mart("label_counts").filter(segment="all")
    assert counts["n_labelled"].sum() == int((told["label"] > 0).sum())
    assert counts["window_key"].n_unique() == DAYS


def test_the_table_of_queries_of_another_task_is_empty(tmp_path):
    rows = rows_of(np.random.default_rng(9), 20)
    bench = bench_of(tmp_path, rows)
    model = bench.spec.model.model_copy(update={"task": "regression"})
    columns = bench.spec.columns.model_copy(update={"prediction": "score", "score": None})
    bench.spec = bench.spec.model_copy(update={"model": model, "columns": columns})
    bench.control()
    bench.build("--select", "+custom_sums")
    with connect(bench.paths, read_only=True) as con:
        [(n,)] = con.sql("select count(*) from intermediate.int_queries_ranked").fetchall()
    assert n == 0
    assert bench.mart("custom_sums").is_empty()


def test_what_is_recommended_is_measured_by_the_reference(world):
    """Means over the orders of ties, computed list by list; items that the reference never held have a novelty."""
    bench, rows = world
    days = rows.with_columns(day=pl.col("timestamp").dt.date())
    known = dict(days.filter(day=NAIVE.date()).drop_nulls("item")["item"].value_counts().iter_rows())
    total = sum(known.values())
    found = bench.mart("custom_input_sums")
    means = found.filter(segment="all").group_by("window_key", "model_version", "metric")
    means = means.agg(pl.col("n", "sum_value").sum()).with_columns(value=pl.col("sum_value") / pl.col("n"))
    value = {(key, version, name): (n, v) for key, version, name, n, _, v in means.iter_rows()}
    n_unseen = 0
    for (day, version), part in days.drop_nulls(["score", "item"]).group_by("day", "version"):
        popularity, novelty, shown = [], [], set()
        for _, rows_of_list in part.group_by("query"):
            own, weights = rows_of_list.sort("score", "prediction_id", descending=[True, False]), []
            for score in own["score"]:
                above, tied = (own["score"] > score).sum(), (own["score"] == score).sum()
                weights.append((min(above + tied, K) - min(above, K)) / tied)
            counts = np.array([known.get(item, 0) for item in own["item"]], dtype=float)
            n_unseen += int((counts == 0).sum())
            places = min(K, len(own))
            popularity.append(np.dot(weights, counts / total) / places)
            novelty.append(np.dot(weights, -np.log2((counts + 1) / (total + len(known) + 1))) / places)
            shown |= set(own["item"][:K]) & set(known)
        key = (str(day), version)
        assert value[(*key, "popularity_at_k")] == (len(popularity), pytest.approx(np.mean(popularity)))
        assert value[(*key, "novelty_at_k")] == (len(novelty), pytest.approx(np.mean(novelty)))
        assert value[(*key, "coverage_at_k")] == (len(known), pytest.approx(len(shown) / len(known)))
    assert n_unseen > 0
    shelves = found.filter(metric="coverage_at_k").group_by("window_key", "model_version", "segment")
    assert set(shelves.agg(pl.col("n").sum())["n"]) == {len(known)}
