"""Values of decisions, metrics of one's own and areas of classes while labels are coming: corrected, or no number."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from sightline.home import Home
from sightline.judging import maturity, model_quality
from sightline.judging.frames import Work
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY = 70, 300
NOW = START + timedelta(days=DAYS)
LATER = NOW + timedelta(days=400)
LABELS = {"column": "label", "observed_at": "known", "expected_delay": "10d", "give_up_after": "60d"}
REFERENCE = {"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=5)).isoformat()}
MODULE = """
from metrics_py.registry import metric


@metric(name="share_right", task="custom", needs="rows", direction="none", range=(0, 1))
def share_right(rows):
    return ((rows["score"] >= 0.5) == rows["is_positive"]).mean()
"""


def times() -> list[datetime]:
    first = START.replace(tzinfo=None)
    return [first + timedelta(days=i // PER_DAY, seconds=250 * (i % PER_DAY)) for i in range(DAYS * PER_DAY)]


def bench_of(root: Path, made: pl.DataFrame, truth: np.ndarray, delay: np.ndarray, **sections: Any) -> Bench:
    ids = [f"p{i}" for i in range(len(made))]
    inferences = made.with_columns(prediction_id=pl.Series(ids), timestamp=pl.Series(times()))
    known = [at + timedelta(days=float(d)) for at, d in zip(times(), delay, strict=True)]
    labels = pl.DataFrame({"prediction_id": ids, "label": truth, "known": known})
    sections["model"] = {"id": "late", "task": sections.pop("task")}
    return Bench(spec_of(labels=LABELS, reference=REFERENCE, **sections), Home(root), inferences, labels)


def loans(root: Path) -> Bench:
    """Defaults are known late, the later the likelier nobody expected them."""
    rng = np.random.default_rng(91)
    n = DAYS * PER_DAY
    score = expit(-1 + 1.2 * rng.normal(size=n))
    truth = (rng.random(n) < score).astype(int)
    delay = rng.gamma(2, np.where(truth == 1, 3 + 9 * (1 - score), 2) / 2)
    root.mkdir(parents=True, exist_ok=True)
    (root / "metrics_of_loans.py").write_text(MODULE, encoding="utf-8")
    made = pl.DataFrame({"score": score, "amount": rng.gamma(4, 250, n)})
    return bench_of(
        root,
        made,
        truth,
        delay,
        task="binary_classification",
        columns={"score": "score", "features": {"amount": "numeric"}},
        value_matrix={"1": {"1": 40, "0": -10}, "0": {"1": -100, "0": 0}},
        quality={"windows": ["1d", "7d"]},
        metrics=[
            {"name": "loss", "sql": "case when is_positive then f_amount else 0 end", "needs_label": True},
            {"name": "share_right", "python": "metrics_of_loans:share_right", "needs_label": True},
        ],
    )


def claims(root: Path) -> Bench:
    """Large errors are known late."""
    rng = np.random.default_rng(92)
    n = DAYS * PER_DAY
    error = rng.normal(size=n) * np.exp(0.3 * rng.normal(size=n))
    delay = rng.exponential(2 + 4 * np.minimum(np.abs(error), 3))
    guess = 3 * rng.normal(size=n)
    return bench_of(
        root,
        pl.DataFrame({"prediction": guess}),
        guess - error,
        delay,
        task="regression",
        columns={"prediction": "prediction"},
        quality={"quantiles": [0.9]},
        metrics=[{"name": "label_size", "sql": "abs(label)", "needs_label": True}],
    )


def kinds(root: Path) -> Bench:
    """Of three classes `c` is known late, and late where its score is low."""
    rng = np.random.default_rng(93)
    n = DAYS * PER_DAY
    truth = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    raw = rng.normal(size=(n, 3)) + 1.3 * np.eye(3)[truth]
    p = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    delay = rng.exponential(np.where(truth == 2, 3 + 12 * (1 - p[:, 2]), 2.0))
    return bench_of(
        root,
        pl.DataFrame({"p_a": p[:, 0], "p_b": p[:, 1], "p_c": p[:, 2]}),
        np.array(["a", "b", "c"])[truth],
        delay,
        task="multiclass_classification",
        columns={"class_scores": {"a": "p_a", "b": "p_b", "c": "p_c"}},
        value_matrix={x: {y: float(3 * (x == y) - 2 * (y == "c" != x)) for y in "abc"} for x in "abc"},
        metrics=[{"name": "is_c", "sql": "case when label = 'c' then 1 else 0 end", "needs_label": True}],
    )


def judge(bench: Bench, labels: pl.DataFrame, now: datetime) -> pl.DataFrame:
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", labels)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    return judged(bench, now)


def judged(bench: Bench, now: datetime) -> pl.DataFrame:
    with connect(bench.paths, read_only=True) as con:
        found = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, now)).judgements
    return found.filter(segment="all", model_version="all", column="")


MAKERS = {"loans": loans, "claims": claims, "kinds": kinds}
CORRECTED = {
    "loans": ["business_value", "loss"],
    "claims": ["pinball_0.9"],
    "kinds": ["business_value", "is_c", "roc_auc_macro", "average_precision_macro", "accuracy"],
}


@pytest.fixture(scope="module", params=list(MAKERS))
def world(request, tmp_path_factory) -> tuple[str, Bench, pl.DataFrame]:
    """What is known now beside what all labels say."""
    make, root = MAKERS[request.param], tmp_path_factory.mktemp(request.param)
    early, late = make(root / "now"), make(root / "later")
    now = judge(early, early.labels.filter(pl.col("known") <= NOW.replace(tzinfo=None)), NOW)
    final = judge(late, late.labels, LATER).select("window_start", "metric", final="value")
    return request.param, early, now.join(final, on=["window_start", "metric"], how="left")


def test_provisional_values_are_corrected_and_hold_what_all_labels_say(world):
    name, _, found = world
    rows = found.filter(pl.col("metric").is_in(CORRECTED[name]), status="provisional")
    assert set(rows["metric"]) == set(CORRECTED[name])
    assert rows["final"].is_between(rows["ci_low"], rows["ci_high"]).mean() >= 0.93
    assert rows["naive_value"].is_not_null().all() and rows["reason"].str.contains("corrected for which").all()
    own = rows.filter(pl.col("metric").is_in(["loss", "is_c"]))
    assert own["reason"].str.ends_with("the delay does not depend on what it measures").all()
    off = pl.col("final").neg()
    bias = rows.group_by("metric").agg(
        ours=(pl.col("value") + off).mean().abs(), naive=(pl.col("naive_value") + off).mean().abs()
    )
    wrong = bias.filter(pl.col("metric").is_in(CORRECTED[name][:2]))
    assert (wrong["ours"] < wrong["naive"] / 3).all()


NOT_CORRECTED = {
    "loans": {"share_right": "a Python function sees rows", "business_value_total": "how many labels will come"},
    "claims": {"r2": "its labels vary", "mean_label": "its labels vary", "label_size": "size of the error alone"},
    "kinds": {"brier_skill": "it joins scores and losses", "business_value_total": "how many labels will come"},
}


def test_what_cannot_be_corrected_has_no_number_and_says_why(world):
    name, _, found = world
    for metric, why in NOT_CORRECTED[name].items():
        young = found.filter(pl.col("maturity").is_not_null(), metric=metric).filter(
            ~pl.col("status").is_in(["ok"]) & (pl.col("reason_code") != "heavy_tail")
        )
        assert len(young) > 8 and young["value"].null_count() == young["ci_low"].null_count() == len(young)
        assert set(young["status"]) == {"insufficient_data"}
        assert set(young["reason_code"]) <= {"not_identifiable", "labels_not_due"}
        told = young.filter(pl.col("maturity") > 0.6)
        assert len(told) > 5 and told["reason"].str.contains(why, literal=True).all()
        assert told["naive_value"].is_not_null().all()


def test_no_value_of_labels_that_come_first_is_ok(world):
    """Whatever is `ok` stands on 95 % of the labels of every kind of row, or on all that come."""
    name, bench, found = world
    with connect(bench.paths, read_only=True) as con:
        known = maturity.delays(bench.spec, con, NOW)
        late = maturity.immature(bench.spec, bench.keys, NOW, known)
        evidence = model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, NOW)).evidence
    assert 8 < len(late) < DAYS
    young = found.filter(pl.col("window_start").is_in(late), pl.col("metric") != "label_arrivals")
    assert set(young["status"]) <= {"provisional", "insufficient_data"}
    never = pl.col("statistic").is_in(list(NOT_CORRECTED[name]))
    own = pl.col("statistic").is_in(["loss", "is_c"])
    assert evidence.filter(pl.col("window_start").is_in(late), never | own).is_empty()
    assert name == "claims" or len(evidence.filter(own)) > 8


def test_a_total_is_ok_once_all_labels_are_in(world):
    """Of 96 % of the labels it would be 4 % short, however many there are."""
    name, _, found = world
    total = found.filter(metric="business_value_total")
    assert total.is_empty() == (name == "claims")
    ok = total.filter(status="ok")
    mature = found.filter(pl.col("maturity").is_not_null(), metric="business_value", status="ok")
    assert set(total.filter(pl.col("window_start").is_in(mature["window_start"].implode()))["status"]) <= {
        "insufficient_data"
    }
    assert ok["maturity"].is_null().all()
    assert (ok["value"] - ok["final"]).abs().max() is None or (ok["value"] / ok["final"] - 1).abs().max() < 0.05


def newcomers(root: Path) -> Bench:
    """Class `c` is there from the 40th day on, and takes 25 days to be known."""
    rng = np.random.default_rng(94)
    n = DAYS * PER_DAY
    is_new = (np.arange(n) >= 40 * PER_DAY) & (rng.random(n) < 0.2)
    truth = np.where(is_new, 2, rng.choice(2, n, p=[0.6, 0.4]))
    guess = np.where(rng.random(n) < 0.7, truth, rng.choice(2, n))
    names = np.array(["a", "b", "c"])
    return bench_of(
        root,
        pl.DataFrame({"guess": names[guess]}),
        names[truth],
        rng.exponential(np.where(truth == 2, 25.0, 1.0)),
        task="multiclass_classification",
        columns={"prediction": "guess"},
    )


def test_a_class_that_came_up_later_leaves_its_windows_without_a_value_until_its_delay_is_known(tmp_path):
    """No label of it is older than 30 days: that a fifth of them comes later still, nothing shows."""
    bench = newcomers(tmp_path)
    found = judge(bench, bench.labels.filter(pl.col("known") <= NOW.replace(tzinfo=None)), NOW)
    recall = found.filter(metric="recall_macro").sort("window_start")
    since = (START + timedelta(days=40)).replace(tzinfo=None)
    old, young = (recall.filter(side) for side in (pl.col("window_start") < since, pl.col("window_start") >= since))
    assert set(old["status"]) == {"ok"} and len(old) == 40
    assert young["value"].is_null().all() and set(young["status"]) == {"insufficient_data"}
    told = young.filter(reason_code="not_identifiable")
    assert len(told) > 15 and told["naive_value"].is_not_null().all()
    words = "labels of class c still come after 30 windows, as long ago as any is known"
    assert told["reason"].str.contains(words, literal=True).all()


def test_windows_of_an_earlier_release_have_no_value_that_is_not_corrected(tmp_path):
    """It kept no cells of them, or none of own metrics; sums over several days that hold one have no value, too."""
    bench = loans(tmp_path)
    before = judge(bench, bench.labels.filter(pl.col("known") <= NOW.replace(tzinfo=None)), NOW)
    day = before.filter(metric="loss", status="provisional")["window_start"].sort()[3]
    spans = pl.col("window_start").is_between(day, day + timedelta(days=6))
    for mart, metrics in (("custom_cells", ["loss"]), ("quality_cells", ["loss", "accuracy", "business_value"])):
        with connect(bench.paths) as con:
            con.sql(f"delete from marts.{mart} where window_start = ?", params=[day])
        found = judged(bench, NOW)
        for metric in metrics:
            row = found.filter(metric=metric, window_start=day).row(0, named=True)
            assert (row["value"], row["status"], row["reason_code"]) == (None, "insufficient_data", "not_identifiable")
            assert "an earlier release worked them up: `sightline backfill MONITOR FROM TO`" in row["reason"]
            assert row["naive_value"] is not None
            weeks = found.filter(spans, metric=f"{metric}@7d").filter(pl.col("reason_code") == "not_identifiable")
            assert len(weeks) >= 3 and weeks["value"].null_count() == len(weeks)
        others = found.filter(metric="loss").filter(pl.col("window_start") != day)
        kept = before.filter(metric="loss").filter(pl.col("window_start") != day)
        assert others["value"].to_list() == pytest.approx(kept["value"].to_list(), nan_ok=True)
