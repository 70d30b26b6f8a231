"""Candidates of a ranking model: paired on shared queries, whole lists only, beside an answer that knows nothing."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from metrics_py.quality.queries import per_query
from sightline.evaluation.run import evaluate
from sightline.lake.intake.load import intake
from sightline.spec.loader import find_monitor
from tests.support.lake import START, land, make_paths

QUERIES, SIZE = 600, 8
NOW = START + timedelta(days=60)
MONITOR = {
    "model": {"id": "m", "task": "ranking"},
    "columns": {"prediction_id": "id", "timestamp": "ts", "score": "p", "query_id": "q", "entity_id": "user"},
    "labels": {"column": "y", "silence": "negative", "give_up_after": "3d"},
    "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
}


def scored(noise: float, seed: int = 3, of: int = 1) -> pl.DataFrame:
    """The same lists at every noise; two queries of each user."""
    rng = np.random.default_rng(seed)
    n = QUERIES * SIZE
    query = np.repeat(np.arange(QUERIES), SIZE)
    liked = rng.normal(size=n)
    y = (liked + rng.normal(0, 0.5, n) > 1.0).astype(float)
    p = liked + noise * np.random.default_rng(seed + of).normal(size=n)
    return pl.DataFrame(
        {
            "id": [f"id-{i}" for i in range(n)],
            "ts": [(START + timedelta(minutes=19 * int(q))).replace(tzinfo=None) for q in query],
            "p": p,
            "q": [f"q{q}" for q in query],
            "user": [f"u{q // 2}" for q in query],
            "y": y,
        }
    )


@pytest.fixture
def production(tmp_path):
    """A monitor whose model has ranked eight days; clicks alone were reported."""
    home, paths = make_paths(tmp_path)
    home.monitors.mkdir(exist_ok=True)
    (home.monitors / "m.yaml").write_text(yaml.safe_dump(MONITOR))
    rows = scored(0.8)
    land(paths.landing_inferences, "all.parquet", rows.drop("y"), START + timedelta(days=9))
    clicks = rows.filter(pl.col("y") > 0).select("id", "y")
    land(paths.landing_labels, "clicks.parquet", clicks, START + timedelta(days=20))
    spec = find_monitor(home, "m")
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    return spec, paths


def means(rows: pl.DataFrame) -> dict[str, float]:
    own = per_query(rows.select(query="q", score="p", relevance="y"))
    return {name: float(own[name].mean()) for name in ("ndcg", "mrr", "map")}


def test_a_better_order_of_the_same_lists_is_superior_and_its_numbers_are_those_of_the_queries(production, tmp_path):
    spec, paths = production
    file = tmp_path / "new.parquet"
    scored(0.2).write_parquet(file)
    found = evaluate(spec, paths, file, "2", now=NOW)
    assert (found.primary, found.compared.how, found.verdict.outcome) == ("ndcg", "paired", "superior")
    table = {row["metric"]: row for row in found.table.filter(segment="all").to_dicts()}
    old, new = means(scored(0.8)), means(scored(0.2))
    for name in old:
        assert table[name]["champion"] == pytest.approx(old[name], abs=1e-12)
        assert table[name]["challenger"] == pytest.approx(new[name], abs=1e-12)
        assert table[name]["difference"] == pytest.approx(new[name] - old[name], abs=1e-12)
        assert table[name]["ci_low"] < new[name] - old[name] < table[name]["ci_high"]
    n = per_query(scored(0.8).select(query="q", score="p", relevance="y")).height
    assert table["ndcg"]["n_champion"] == table["ndcg"]["n_challenger"] == n < QUERIES
    tied = scored(0.2).with_columns(p=pl.lit(0.0))
    assert table["ndcg"]["trivial"] == pytest.approx(means(tied)["ndcg"], abs=1e-12)


def test_lists_that_are_not_whole_count_for_neither_model(production, tmp_path):
    """The candidate's file has one row of query q5 that production never saw."""
    spec, paths = production
    rows = scored(0.2)
    extra = rows.filter(q="q5").head(1).with_columns(id=pl.lit("new"), y=pl.lit(1.0), p=pl.lit(9.0))
    file = tmp_path / "new.parquet"
    pl.concat([rows, extra]).write_parquet(file)
    found = evaluate(spec, paths, file, "2", now=NOW)
    assert any("1 of 600 queries left out" in note for note in found.notes), found.notes
    n = per_query(rows.filter(pl.col("q") != "q5").select(query="q", score="p", relevance="y")).height
    row = found.table.filter(segment="all", metric="ndcg").row(0, named=True)
    assert row["n_champion"] == row["n_challenger"] == n


def test_other_queries_are_compared_unpaired(production, tmp_path):
    spec, paths = production
    other = scored(0.2, seed=11).with_columns(id=pl.lit("x") + pl.col("id"), q=pl.lit("x") + pl.col("q"))
    file = tmp_path / "other.parquet"
    other.write_parquet(file)
    found = evaluate(spec, paths, file, "2", now=NOW)
    row = found.table.filter(segment="all", metric="ndcg").row(0, named=True)
    assert found.compared.how == "unpaired"
    assert row["champion"] == pytest.approx(means(scored(0.8))["ndcg"], abs=1e-12)
    assert row["challenger"] == pytest.approx(means(other)["ndcg"], abs=1e-12)


def test_a_few_queries_leave_it_open_and_say_how_many_more(production, tmp_path):
    spec, paths = production
    rows = scored(0.8, of=2).filter(pl.col("q").is_in([f"q{i}" for i in range(150)]))
    file = tmp_path / "few.parquet"
    rows.write_parquet(file)
    found = evaluate(spec, paths, file, "2", now=NOW)
    assert found.compared.how == "paired"
    assert found.verdict.outcome == "cannot_tell"
    assert "more queries needed" in found.verdict.reason
