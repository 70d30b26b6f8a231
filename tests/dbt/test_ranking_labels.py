"""Ranking while labels are coming, and where some never come: no number of a part of a list is called ok."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metrics_py.quality.queries import per_query
from metrics_py.quality.ranking_metrics import COMPLETE, ORDERED, RELEVANT
from sightline.home import Home
from sightline.judging import model_quality
from sightline.judging.frames import Work
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, QUERIES, SIZE = 30, 120, 6
DAY = timedelta(days=1)
NAIVE = START.replace(tzinfo=None)
OVER = START + (DAYS + 40) * DAY
JUDGED = (*ORDERED, RELEVANT)


def rows_of(seed: int) -> pl.DataFrame:
    """Rows with the moment at which their label is known: relevant ones within hours, others within five days."""
    rng = np.random.default_rng(seed)
    n = DAYS * QUERIES * SIZE
    query = np.repeat(np.arange(DAYS * QUERIES), SIZE)
    made = (query // QUERIES) * 86_400 + (rng.random(DAYS * QUERIES) * 86_000)[query]
    score = rng.normal(size=n)
    label = (score + rng.normal(size=n) > 1.0).astype(float)
    hours = np.where(label > 0, rng.exponential(3.0, n), 24 + 96 * rng.random(n))
    return pl.DataFrame(
        {
            "prediction_id": [f"p{i}" for i in range(n)],
            "timestamp": moments(made),
            "query": [f"q{q}" for q in query],
            "score": score,
            "label": label,
            "known": moments(made + 3600 * hours),
        }
    )


def moments(seconds: np.ndarray) -> pl.Series:
    return pl.Series((seconds * 1e6).astype(np.int64)).cast(pl.Duration("us")) + NAIVE


def bench_of(root: Path, rows: pl.DataFrame, labels: pl.DataFrame, **how: object) -> Bench:
    spec = spec_of(
        model={"id": "search", "task": "ranking"},
        columns={"score": "score", "query_id": "query"},
        labels={"column": "label", "observed_at": "known", **how},
        quality={"k": 5, "min_labels": 50, "windows": ["1d", "7d"]},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + 5 * DAY).isoformat()},
    )
    bench = Bench(spec, Home(root), rows.drop("label", "known"), labels.select("prediction_id", "label", "known"))
    bench.land("inferences", "all", bench.inferences)
    if len(labels):
        bench.land("labels", "all", bench.labels)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    return bench


def judge(bench: Bench, now: datetime) -> pl.DataFrame:
    with connect(bench.paths, read_only=True) as con:
        work = Work(bench.spec, bench.paths, con, bench.keys, {}, now)
        found = model_quality.judge(work).judgements
    return found.filter(segment="all", model_version="all", column="").sort("window_start")


def truth(rows: pl.DataFrame) -> dict[tuple[datetime, str], float]:
    own = per_query(rows.select("query", "score", relevance="label"), k=5)
    day = pl.col("timestamp").dt.truncate("1d")
    placed = own.join(rows.select("query", window_start=day).unique(), on="query")
    means = placed.group_by("window_start").agg(pl.col(ORDERED).mean()).unpivot(index="window_start")
    return {(start, name): value for start, name, value in means.iter_rows()}


def test_no_number_of_a_part_of_the_labels_is_ok(tmp_path):
    rows = rows_of(1)
    now = START + DAYS * DAY + timedelta(hours=2)
    came = rows.filter(pl.col("known") <= now.replace(tzinfo=None))
    judged = judge(bench_of(tmp_path, rows, came), now)
    final = truth(rows)
    found = judged.filter(pl.col("metric").is_in(ORDERED))
    mature = [row for row in found.to_dicts() if row["status"] == "ok"]
    for row in mature:
        expected = final[row["window_start"], row["metric"]]
        assert row["ci_low"] <= expected <= row["ci_high"], row
        assert row["value"] == pytest.approx(expected, abs=0.03), row
    assert len({row["window_start"] for row in mature}) > DAYS - 9
    young = found.filter(pl.col("window_start") >= NAIVE + (DAYS - 4) * DAY)
    assert len(young) == 4 * len(ORDERED)
    assert set(young["status"]) == {"insufficient_data"}
    assert young["value"].null_count() == len(young)
    assert all("lack the label" in why or "not corrected" in why for why in young["reason"]), set(young["reason"])
    sliding = judged.filter(metric="ndcg@7d").to_dicts()[-1]
    assert sliding["status"] == "insufficient_data"


def test_silence_is_an_answer_once_it_has_lasted_and_no_number_before(tmp_path):
    rows = rows_of(2)
    now = START + DAYS * DAY + timedelta(hours=2)
    clicks = rows.filter(pl.col("label") > 0, pl.col("known") <= now.replace(tzinfo=None))
    judged = judge(bench_of(tmp_path, rows, clicks, silence="negative", give_up_after="3d"), now)
    final = truth(rows)
    for row in judged.filter(pl.col("metric").is_in(ORDERED)).to_dicts():
        if row["window_start"] + 4 * DAY <= NAIVE + DAYS * DAY:
            assert row["status"] == "ok"
            assert row["value"] == pytest.approx(final[row["window_start"], row["metric"]], abs=1e-12)
        else:
            assert (row["status"], row["value"]) == ("insufficient_data", None)
            assert "give_up_after" in row["reason"]


@pytest.mark.parametrize(("share", "status"), [(0.015, "ok"), (0.2, "insufficient_data")])
def test_queries_that_lack_a_label_for_good_widen_the_interval_or_withhold_the_number(tmp_path, share, status):
    """Whatever the missing queries are, even all perfect or all worthless, the interval holds the value of all."""
    rows = rows_of(3)
    n = DAYS * QUERIES
    lost = pl.Series(np.random.default_rng(4).permutation(n) < share * n)
    rows = rows.with_columns(lost=lost.gather(np.repeat(np.arange(n), SIZE)))
    first = pl.int_range(pl.len()).over("query") == 0
    labels = rows.filter(~(pl.col("lost") & first))
    judged = judge(bench_of(tmp_path, rows, labels, give_up_after="6d", expected_delay="6d"), OVER)
    whole = judged.filter(metric=COMPLETE)
    assert whole["value"].mean() == pytest.approx(1 - share, abs=0.01)
    found = judged.filter(pl.col("metric").is_in(ORDERED))
    told = found.filter(pl.col("status") == status)
    assert len(told) > 0.9 * len(found), found["status"].value_counts()
    lacking = set(whole.filter(pl.col("value") < 1)["window_start"])
    assert len(lacking) > 15
    for row in told.to_dicts():
        assert ("lack the label of a row" in (row["reason"] or "")) == (row["window_start"] in lacking), row
    if status != "ok":
        assert told["value"].null_count() == len(told)
        return
    known, final = truth(rows.filter(~pl.col("lost"))), truth(rows)
    inside = 0
    for row in told.to_dicts():
        key = (row["window_start"], row["metric"])
        assert row["value"] == pytest.approx(known[key], abs=1e-12)
        inside += row["ci_low"] <= final[key] <= row["ci_high"]
    assert inside == len(told)
