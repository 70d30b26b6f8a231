"""Labels that never come, through lake, marts and judge: values with the bounds that hold whatever they would say."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import accuracy_score, precision_score, recall_score

from sightline.home import Home
from sightline.judging import model_quality
from sightline.judging.frames import Work
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY = 9, 400
WORDS = re.compile(r"between (\S+) and (\S+) whatever the (\S+) % of labels that never came would have said")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Bench, pl.DataFrame, pl.DataFrame]:
    """A fifth of the positives is cancelled: these have no label, which the model cannot know."""
    rng = np.random.default_rng(402)
    n = DAYS * PER_DAY
    score = expit(1.3 * rng.normal(size=n))
    truth = (rng.random(n) < score).astype(int)
    cancelled = (truth == 1) & (rng.random(n) < 0.2)
    at = [START.replace(tzinfo=None) + timedelta(days=i // PER_DAY, seconds=200 * (i % PER_DAY)) for i in range(n)]
    rows = pl.DataFrame(
        {"prediction_id": [f"n{i}" for i in range(n)], "timestamp": at, "score": score, "x": rng.normal(size=n)}
    )
    truths = rows.select("prediction_id", "timestamp", "score", label=pl.Series(truth), cancelled=pl.Series(cancelled))
    labels = truths.filter(~pl.col("cancelled")).select(
        "prediction_id", "label", known=pl.col("timestamp") + timedelta(days=1)
    )
    spec = spec_of(
        model={"id": "gone", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric"}},
        labels={"column": "label", "observed_at": "known", "expected_delay": "2d", "give_up_after": "5d"},
        quality={"windows": ["3d"]},
    )
    bench = Bench(spec, Home(Path(tmp_path_factory.mktemp("gone"))), rows, labels)
    bench.land("inferences", "all", rows)
    bench.land("labels", "all", labels)
    bench.control()
    bench.build()
    now = START + timedelta(days=DAYS + 2)
    with connect(bench.paths, read_only=True) as con:
        found = model_quality.judge(Work(spec, bench.paths, con, bench.keys, {}, now)).judgements
    return bench, found, truths.with_columns(day=pl.col("timestamp").dt.truncate("1d"))


def told(row: dict) -> tuple[float, float, float]:
    found = WORDS.search(row["reason"] or "")
    assert found is not None, row["reason"]
    low, high, share = (float(number) for number in found.groups())
    return low, high, share / 100


@pytest.mark.parametrize(("ending", "days"), [("", 1), ("@3d", 3)])
def test_the_bounds_hold_what_nobody_can_know(world, ending, days):
    _, found, truths = world
    last = (START + timedelta(days=4)).replace(tzinfo=None)
    rows = truths.filter(pl.col("day").is_between(last - timedelta(days=days - 1), last))
    y, d = rows["label"].to_numpy(), (rows["score"] >= 0.5).to_numpy()
    here = found.filter(pl.col("window_start") == last, segment="all", model_version="all")
    for metric, score in (("accuracy", accuracy_score), ("recall", recall_score), ("precision", precision_score)):
        row = here.filter(metric=metric + ending).row(0, named=True)
        low, high, share = told(row)
        assert low <= row["value"] <= high and low - 1e-3 <= score(y, d) <= high + 1e-3
        assert share == pytest.approx(rows["cancelled"].mean(), rel=0.06)
        assert (row["status"], row["reason_code"]) in {("ok", "never_labelled"), ("warn", "beyond_reference")}
    seen = rows.filter(~pl.col("cancelled"))
    right = (seen["label"] == (seen["score"] >= 0.5).cast(pl.Int64)).sum()
    low, high, _ = told(here.filter(metric="accuracy" + ending).row(0, named=True))
    assert low == pytest.approx(right / len(rows), abs=1e-3)
    assert high == pytest.approx((right + len(rows) - len(seen)) / len(rows), abs=1e-3)
    if not ending:
        rate = here.filter(metric="positive_rate").row(0, named=True)
        assert told(rate)[1] == pytest.approx(y.mean(), abs=1e-3), "all of them were positive"


def test_windows_whose_labels_are_waited_for_have_none(world):
    _, found, _ = world
    has = found.filter(pl.col("reason").str.contains("never came"))
    days = sorted({(start - START.replace(tzinfo=None)).days for start in has["window_start"]})
    assert days == list(range(6)), "given up after five days from their end on"
    assert set(has["metric"].str.split("@").list.first()) <= {
        "accuracy",
        "precision",
        "recall",
        "specificity",
        "f1",
        "positive_rate",
    }
