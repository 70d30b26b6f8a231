"""Judgements as of an earlier moment: what the labels that had arrived by then say, though all were loaded today."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.home import Home
from sightline.judging import model_quality
from sightline.judging.as_of import judgements_as_of
from sightline.judging.frames import Work
from sightline.results.judgements import append_judgements
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY = 4, 400
NOW = START + timedelta(days=60)
DAY = timedelta(days=1)


def history(root: Path) -> Bench:
    """Four days of predictions; a third of the labels comes each day after, and the first third is revised at last."""
    rng = np.random.default_rng(70)
    n = DAYS * PER_DAY
    made = [START.replace(tzinfo=None) + timedelta(days=i // PER_DAY, seconds=200 * (i % PER_DAY)) for i in range(n)]
    score = rng.random(n)
    inferences = pl.DataFrame(
        {"prediction_id": [f"p{i}" for i in range(n)], "timestamp": made, "score": score, "x": rng.normal(size=n)}
    )
    truth = (rng.random(n) < score).astype(int)
    known = [at.replace(hour=12, minute=0, second=0) + (1 + i % 3) * DAY for i, at in enumerate(made)]
    first = pl.DataFrame({"prediction_id": inferences["prediction_id"], "label": truth, "known": known})
    revised = first.filter(pl.int_range(n) % 3 == 0).with_columns(
        label=1 - pl.col("label"), known=pl.col("known") + 9 * DAY
    )
    spec = spec_of(
        model={"id": "late", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric"}},
        labels={"column": "label", "observed_at": "known", "expected_delay": "3d"},
        quality={"windows": ["1d", "2d"]},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + DAY).isoformat()},
    )
    return Bench(spec, Home(root), inferences, pl.concat([first, revised]))


def judged(bench: Bench, labels: pl.DataFrame, now) -> pl.DataFrame:
    """Quality of a bench that never had other labels."""
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", labels)
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    with connect(bench.paths, read_only=True) as con:
        return model_quality.judge(Work(bench.spec, bench.paths, con, bench.keys, {}, now)).judgements


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """All labels loaded at once, judged long after."""
    made = history(tmp_path_factory.mktemp("all"))
    rows = judged(made, made.labels, NOW).with_columns(monitor=pl.lit("late"), window_end=pl.col("window_start") + DAY)
    append_judgements(made.paths, "model_quality", rows, "run", NOW)
    return made


def test_it_is_what_a_monitor_without_the_later_labels_judges(bench: Bench, tmp_path: Path):
    at = START + timedelta(days=2.5)
    found = judgements_as_of(bench.spec, bench.paths, at)
    other = history(tmp_path)
    then = judged(other, other.labels.filter(pl.col("known") <= at.replace(tzinfo=None)), at)
    ended = then.filter(pl.col("window_start") + DAY <= at.replace(tzinfo=None))
    columns = ["window_start", "metric", "segment", "value", "ci_low", "ci_high", "n", "status", "reason"]
    key = ["window_start", "metric", "segment"]
    assert found["window_start"].n_unique() == 2 and "accuracy@2d" in set(found["metric"])
    assert_frame_equal(found.select(columns).sort(key), ended.select(columns).sort(key), rel_tol=1e-12)
    assert found["computed_at"].unique().to_list() == [at.replace(tzinfo=None)]
    assert not list(bench.paths.root.glob(".as-of-*"))


def test_of_windows_whose_labels_had_all_come_it_is_what_was_published(bench: Bench):
    found = judgements_as_of(bench.spec, bench.paths, START + 30 * DAY, start=START + DAY, end=START + 3 * DAY)
    starts = [(START + n * DAY).replace(tzinfo=None) for n in (1, 2)]
    assert found["window_start"].unique().sort().to_list() == starts
    assert found["revision"].to_list() == [0] * len(found)


def test_a_moment_before_any_window_had_ended_knows_nothing(bench: Bench):
    assert judgements_as_of(bench.spec, bench.paths, START + timedelta(hours=12)).is_empty()


def long_history(root: Path) -> Bench:
    """Forty days of predictions with labels after one to six days, positive ones later."""
    rng = np.random.default_rng(71)
    n_days, per_day = 40, 150
    n = n_days * per_day
    made = [START.replace(tzinfo=None) + timedelta(days=i // per_day, seconds=500 * (i % per_day)) for i in range(n)]
    score = rng.random(n)
    truth = (rng.random(n) < score).astype(int)
    waits = rng.uniform(1, np.where(truth == 1, 6, 3))
    known = [at + timedelta(days=wait) for at, wait in zip(made, waits.tolist(), strict=True)]
    ids = [f"p{i}" for i in range(n)]
    spec = spec_of(
        model={"id": "long", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric"}},
        labels={"column": "label", "observed_at": "known", "expected_delay": "3d", "give_up_after": "7d"},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + 9 * DAY).isoformat()},
    )
    inferences = pl.DataFrame({"prediction_id": ids, "timestamp": made, "score": score, "x": rng.normal(size=n)})
    return Bench(spec, Home(root), inferences, pl.DataFrame({"prediction_id": ids, "label": truth, "known": known}))


def test_delays_are_learnt_from_all_windows_before_whichever_are_asked_for(tmp_path: Path):
    at = START + 30 * DAY
    bench = long_history(tmp_path / "all")
    for kind in ("inferences", "labels"):
        bench.land(kind, "all", getattr(bench, kind))
    found = judgements_as_of(bench.spec, bench.paths, at, start=at - 5 * DAY)
    other = long_history(tmp_path / "then")
    other.inferences = other.inferences.filter(pl.col("timestamp") < at.replace(tzinfo=None))
    then = judged(other, other.labels.filter(pl.col("known") <= at.replace(tzinfo=None)), at)
    columns = ["window_start", "metric", "segment", "value", "ci_low", "ci_high", "n", "status", "reason"]
    key = ["window_start", "metric", "segment"]
    asked = then.filter(pl.col("window_start") >= (at - 5 * DAY).replace(tzinfo=None))
    assert_frame_equal(found.select(columns).sort(key), asked.select(columns).sort(key), rel_tol=1e-9)
    areas = found.filter(metric="roc_auc", segment="all").sort("window_start")
    assert areas["status"].to_list() == ["provisional"] * 2 + ["insufficient_data"] * 3
    assert areas["value"].is_not_null().to_list() == [True] * 2 + [False] * 3


def test_predictions_that_were_corrected_or_withdrawn_later_stand_as_they_did(tmp_path: Path):
    at = START + timedelta(days=8)
    bench = history(tmp_path / "all")
    bench.spec = bench.spec.model_copy(
        update={"columns": bench.spec.columns.model_copy(update={"observed_at": "revised"})}
    )
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels)
    early, late = (at + by * DAY for by in (-0.5, 0.5))
    gone = pl.DataFrame({"prediction_id": ["p1", "p2"], "withdrawn": True, "revised": [early, late]})
    fixed = bench.inferences.filter(pl.col("prediction_id").is_in(["p3", "p4"])).with_columns(
        score=pl.lit(0.99),
        timestamp=pl.col("timestamp") + DAY,
        supersedes=pl.lit(value=True),
        revised=pl.Series([early, late]),
    )
    bench.land("inferences", "gone", gone)
    bench.land("inferences", "fixed", fixed)
    found = judgements_as_of(bench.spec, bench.paths, at)
    other = history(tmp_path / "then")
    other.inferences = pl.concat(
        [
            other.inferences.filter(~pl.col("prediction_id").is_in(["p1", "p3"])),
            fixed.head(1).select(other.inferences.columns),
        ]
    )
    then = judged(other, other.labels.filter(pl.col("known") <= at.replace(tzinfo=None)), at)
    columns = ["window_start", "metric", "segment", "value", "ci_low", "ci_high", "n", "status", "reason"]
    key = ["window_start", "metric", "segment"]
    redone = found["window_start"].unique().sort().to_list()
    assert {(START + n * DAY).replace(tzinfo=None) for n in (0, 1)} <= {*redone}
    then = then.filter(pl.col("window_start").is_in(redone))
    assert_frame_equal(found.select(columns).sort(key), then.select(columns).sort(key), rel_tol=1e-12)
