"""Quality of the last 7 and 28 days of a monitor with 50 labels a day, through lake, marts and judge."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import expit
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from sightline.home import Home
from sightline.judging import maturity, model_quality
from sightline.judging.evidence import publishable
from sightline.judging.frames import JUDGED, Judged, Work
from sightline.results.judgements import append_judgements, read_judgements
from sightline.results.label_completion import provisional_windows, publish_provisional
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of

DAYS, PER_DAY = 90, 50
NOW = START + timedelta(days=DAYS)
LATER = NOW + timedelta(days=400)
SILENT = 41
"""A Sunday without any prediction."""
DAY = (pl.col("window_start") - START.replace(tzinfo=None)).dt.total_days()
COMPARED = ["window_start", "model_version", "segment", "metric"]


def bench_of(root: Path) -> Bench:
    """Positives are known late, the likelier the later; day 41, a Sunday, is without predictions."""
    rng = np.random.default_rng(301)
    day = np.repeat(np.arange(DAYS), PER_DAY)
    score = expit(-0.3 + 1.3 * rng.normal(size=len(day)))
    truth = (rng.random(len(day)) < score).astype(int)
    delay = rng.gamma(2, np.where(truth == 1, 2 + 4 * score, 1))
    at = [START.replace(tzinfo=None) + timedelta(days=float(d)) for d in day + rng.random(len(day))]
    known = [moment + timedelta(days=float(d)) for moment, d in zip(at, delay, strict=True)]
    made = pl.DataFrame(
        {
            "prediction_id": [f"s{i}" for i in range(len(day))],
            "timestamp": at,
            "score": score,
            "x": rng.normal(size=len(day)),
            "version": np.where(rng.random(len(day)) < day / DAYS, "v2", "v1"),
        }
    ).filter(pl.Series(day != SILENT))
    labels = pl.DataFrame({"prediction_id": [f"s{i}" for i in range(len(day))], "label": truth, "known": known})
    labels = labels.filter(pl.Series(day != SILENT))
    spec = spec_of(
        model={"id": "few", "task": "binary_classification"},
        columns={"score": "score", "features": {"x": "numeric"}, "model_version": "version"},
        labels={"column": "label", "observed_at": "known", "expected_delay": "10d", "give_up_after": "60d"},
        quality={"windows": ["1d", "7d", "28d"], "min_labels": 100},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=70)).isoformat()},
    )
    return Bench(spec, Home(root), made, labels)


def built(root: Path, labels_until: datetime) -> Bench:
    bench = bench_of(root)
    bench.land("inferences", "all", bench.inferences)
    bench.land("labels", "all", bench.labels.filter(pl.col("known") <= labels_until.replace(tzinfo=None)))
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    return bench


def judge(bench: Bench, keys: list[str], now: datetime) -> Judged:
    with connect(bench.paths, read_only=True) as con:
        return model_quality.judge(Work(bench.spec, bench.paths, con, keys, {}, now))


def publish(bench: Bench, rows: pl.DataFrame, now: datetime) -> int:
    rows = rows.with_columns(monitor=pl.lit(bench.spec.id), window_end=pl.col("window_start") + bench.spec.window)
    return append_judgements(bench.paths, "model_quality", rows, f"{now:%Y-%m-%d-%H}", now)


def day_of(start: datetime) -> int:
    return (start - START.replace(tzinfo=None)).days


def all_keys(bench: Bench) -> list[str]:
    return [bench.spec.key(START + timedelta(days=k)) for k in range(DAYS)]


def sliding(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("metric").str.contains("@", literal=True))


@pytest.fixture(scope="module")
def later(tmp_path_factory) -> tuple[Bench, Judged]:
    """All labels are in."""
    bench = built(tmp_path_factory.mktemp("later"), LATER)
    return bench, judge(bench, all_keys(bench), LATER)


@pytest.fixture(scope="module")
def early(tmp_path_factory) -> tuple[Bench, Judged]:
    """Labels are still coming."""
    bench = built(tmp_path_factory.mktemp("early"), NOW)
    return bench, judge(bench, all_keys(bench), NOW)


def rows_of(bench: Bench, last: int, n: int) -> pl.DataFrame:
    """Joined rows of the `n` days up to day `last`."""
    day = (pl.col("timestamp") - START.replace(tzinfo=None)).dt.total_days()
    return bench.inferences.filter(day.is_between(last - n + 1, last)).join(bench.labels, on="prediction_id")


@pytest.mark.parametrize("n", [7, 28])
@pytest.mark.parametrize("last", [27, SILENT, 60])
def test_it_is_the_quality_of_all_rows_of_these_days(later, last, n):
    bench, found = later
    rows = rows_of(bench, last, n)
    assert len(rows) == PER_DAY * (n - (last - n < SILENT <= last))
    truth, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    here = found.judgements.filter(last == DAY)
    told = {r["metric"]: r for r in here.filter(segment="all", model_version="all").iter_rows(named=True)}
    accuracy, auc = told[f"accuracy@{n}d"], told[f"roc_auc@{n}d"]
    assert accuracy["value"] == pytest.approx(accuracy_score(truth, score >= 0.5), abs=1e-12)
    assert told[f"f1@{n}d"]["value"] == pytest.approx(f1_score(truth, score >= 0.5), abs=1e-12)
    assert auc["value"] == pytest.approx(roc_auc_score(truth, score), abs=5e-3), "of binned scores"
    assert auc["ci_low"] < auc["value"] < auc["ci_high"] and (auc["n"], auc["status"]) == (len(rows), "ok")
    second = here.filter(segment="all", model_version="v2", metric=f"accuracy@{n}d").row(0, named=True)
    own = rows.filter(version="v2")
    assert second["value"] == pytest.approx(((own["score"] >= 0.5) == (own["label"] == 1)).mean(), abs=1e-12)
    if last != SILENT:
        assert told["roc_auc"]["reason"] == "50 labelled rows, 100 needed"


def test_only_whole_windows_are_told(later):
    _, found = later
    first = sliding(found.judgements).group_by("metric").agg(pl.col("window_start").min())
    days = {name: day_of(start) for name, start in first.iter_rows()}
    assert (days["roc_auc@7d"], days["roc_auc@28d"]) == (6, 27)
    assert "labelled_rate@7d" not in days and "label_arrivals@7d" not in days


def test_no_row_is_evidence_twice(later):
    """Values are there every day; the engine sees those of blocks that do not overlap, on Sundays."""
    _, found = later
    evidence = found.evidence.filter(pl.col("value").is_not_null())
    week = sorted(map(day_of, evidence.filter(statistic="roc_auc@7d")["window_start"]))
    month = sorted(map(day_of, evidence.filter(statistic="roc_auc@28d")["window_start"]))
    assert week == list(range(6, DAYS, 7)), "the silent Sunday ends a block like any other"
    assert month and {b - a for a, b in pairwise(month)} <= {28} and set(month) <= set(week)
    assert evidence.filter(statistic="roc_auc").is_empty(), "a day has too few labels"


def test_reference_and_bounds_come_from_blocks(later):
    _, found = later
    rows = found.judgements.filter(segment="all", model_version="all")
    week = rows.filter(metric="accuracy@7d").sort("window_start")
    blocks = week.filter(DAY % 7 == 6)
    inside = blocks.filter(DAY < 70)
    wanted = (inside["value"] * inside["n"]).sum() / inside["n"].sum()
    assert week["reference_value"].unique().to_list() == [pytest.approx(wanted)]
    assert week["bound_low"].null_count() == 0, "ten blocks lie in the reference"
    month = rows.filter(metric="accuracy@28d")
    assert month["reference_value"].null_count() == 0 and month["bound_low"].null_count() == len(month)


def test_labels_that_are_coming_are_completed_day_by_day(early, later):
    """The youngest day decides how mature it is; the corrected value is nearer to the final one than the naive one."""
    bench, found = early
    with connect(bench.paths, read_only=True) as con:
        known = maturity.delays(bench.spec, con, NOW)
    assert known.law is not None
    final = later[1].judgements.select(*COMPARED, final="value")
    rows = sliding(found.judgements).filter(segment="all", model_version="all").join(final, on=COMPARED)
    for metric in ("accuracy@7d", "roc_auc@7d", "brier@7d", "accuracy@28d", "roc_auc@28d"):
        told = rows.filter(metric=metric).sort("window_start")
        open_ = told.filter(status="provisional")
        assert len(open_) >= 8 and open_["reason"].str.contains("corrected for which come first").all()
        assert open_.filter(pl.col("final").is_between("ci_low", "ci_high")).height / len(open_) >= 0.9
        slowest = [known.slowest(bench.spec, NOW - timedelta(days=DAYS - day_of(s))) for s in open_["window_start"]]
        assert all(0.1 <= share < 0.999 for share in slowest)
    biased = rows.filter(metric="calibration_bias@7d", status="provisional")
    off = {name: (biased[name] - biased["final"]).mean() for name in ("value", "naive_value")}
    assert abs(off["value"]) < abs(off["naive_value"]) / 2
    youngest = rows.filter(DAY == DAYS - 1)
    assert youngest["value"].null_count() == len(youngest) > 0
    assert set(youngest["reason_code"]) <= {"labels_not_due", "not_identifiable"}


def test_day_by_day_and_at_once_give_the_same_numbers(tmp_path, early):
    """Each day judged when its run comes, in any order: the same judgements and the same evidence."""
    bench, at_once = built(tmp_path, NOW), early[1]
    keys = all_keys(bench)
    order = [*keys[:60], *keys[75:], *keys[60:75]]
    daily: list[Judged] = []
    for key in order:
        daily.append(judge(bench, [key], NOW))
        publish(bench, daily[-1].judgements, NOW)
    for _ in range(2):  # reference windows of the past are known to all
        for key in (keys[10], keys[30], keys[50], keys[-1]):
            publish(bench, judge(bench, [key], NOW).judgements, NOW)
    found = read_judgements(bench.paths, asset="model_quality").select(JUDGED.names())
    numbers = [*COMPARED, "column", "value", "ci_low", "ci_high", "n", "naive_value", "maturity"]
    mine, theirs = (sliding(rows).select(numbers).sort(COMPARED) for rows in (found, at_once.judgements))
    assert_frame_equal(mine, theirs, rel_tol=1e-9)
    own = pl.concat(
        [run.evidence.filter(pl.col("window_start") == day(key)) for key, run in zip(order, daily, strict=True)]
    )
    by = ["window_start", "statistic"]
    both = [publishable(bench.spec, e, keys, NOW, None, mature=True) for e in (own, at_once.evidence)]
    streams = [rows.filter(pl.col("statistic").str.contains("@\\d")).sort(by) for rows in both]
    assert len(streams[0]) > 20
    assert_frame_equal(*streams, rel_tol=1e-9)


def day(key: str) -> datetime:
    return datetime.fromisoformat(key)


def test_a_late_label_has_the_windows_that_hold_its_day_judged_again(tmp_path, later):
    bench, all_in = built(tmp_path, LATER), later[1]
    keys = all_keys(bench)
    assert publish(bench, all_in.judgements, LATER)
    assert not publish(bench, judge(bench, keys, LATER).judgements, LATER), "nothing new, no revision"
    fixed = bench.labels.filter(pl.col("prediction_id") == f"s{60 * PER_DAY}")
    late = fixed.with_columns(label=1 - pl.col("label"), known=pl.lit(LATER.replace(tzinfo=None)))
    bench.land("labels", "late", late)
    bench.control([keys[60]])
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    again = judge(bench, [keys[60]], LATER + timedelta(days=1))
    ends = sliding(again.judgements).group_by(pl.col("metric").str.extract(r"@(\d+)d").cast(pl.Int64).alias("n"))
    days = {n: sorted(map(day_of, starts)) for n, starts in ends.agg(pl.col("window_start").unique()).iter_rows()}
    assert days == {7: list(range(60, 67)), 28: list(range(60, 88))}
    assert set(again.judgements.filter(~pl.col("metric").str.contains("@"))["window_start"].map_elements(day_of)) == {
        60
    }
    assert publish(bench, again.judgements, LATER + timedelta(days=1))
    before = all_in.judgements.filter(metric="accuracy@28d").select(*COMPARED, before="value")
    now = read_judgements(bench.paths, metric="accuracy@28d").join(before, on=COMPARED)
    moved = now.filter(pl.col("model_version") == "all", (pl.col("value") - pl.col("before")).abs() > 1e-9)
    assert sorted(map(day_of, moved["window_start"])) == list(range(60, 88)) and set(moved["revision"]) == {1}
    decided = publishable(bench.spec, again.evidence, [keys[60]], LATER + timedelta(days=1), None, mature=True)
    assert set(decided["window_start"]) == {day(keys[60])}, "evidence is of the windows of the run alone"
    starts = [day(keys[60])]
    publish_provisional(bench.paths, again.judgements.filter(pl.col("window_start").is_in(starts)), starts)
    assert not set(provisional_windows(bench.paths)) - set(starts)
