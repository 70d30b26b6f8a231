"""Only positives are reported, late: bias and coverage of what young windows say, through lake, marts and judge."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from sightline.home import Home
from sightline.judging import model_quality
from sightline.judging.frames import Work
from sightline.warehouse import connect
from tests.dbt.support import START, Bench, spec_of
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Delayed labels"
DAYS, GIVE_UP = 90, 45
NOW = START + timedelta(days=DAYS)
LATER = NOW + timedelta(days=2 * GIVE_UP)
RATES = {0.01: (-6.2, 3000), 0.05: (-4.2, 2000), 0.2: (-2.1, 1000)}
"""Share of positives: their logit in the mean, and predictions a day."""

BALANCED = -1.0
"""Mean logit of the scores: of a model that was trained on as many positives as rare ones allow."""

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier", "positive_rate")
AGES = {"up to 7 d": (0, 7), "8 to 14 d": (8, 14), "15 to 44 d": (15, 44)}
MOST_BIAS, MOST_MISSED = 0.005, 0.05


def world(root: Path, rng: np.random.Generator, rate: float, *, has_cleared: bool) -> Bench:
    """Positives of a high score are reported first; of the negatives a tenth is cleared, as fast as it is looked at.

    Two are cleared long after: reports were still seen to come in.
    """
    logit, per_day = RATES[rate]
    n = DAYS * per_day
    signal = 1.9 * rng.normal(size=n)
    score = expit(BALANCED + signal)
    truth = rng.random(n) < expit(logit + signal)
    delay = np.where(truth, rng.exponential(3 + 12 * (1 - score)), rng.exponential(6, n)) + rng.random(n)
    is_said = np.where(truth, delay < GIVE_UP, has_cleared & (rng.random(n) < 0.1))
    start = START.replace(tzinfo=None)
    made = [start + timedelta(days=i // per_day, seconds=float(s)) for i, s in enumerate(86_400 * rng.random(n))]
    ids = [f"p{i}" for i in range(n)]
    known = [at + timedelta(days=float(d)) for at, d in zip(made, delay, strict=True)]
    labels = pl.DataFrame({"prediction_id": ids, "label": truth.astype(int), "known": known})
    still = pl.Series(ids).filter(pl.Series(~truth & ~is_said.astype(bool))).head(2)
    cleared = {
        "prediction_id": still,
        "label": [0, 0],
        "known": [(LATER - timedelta(days=k)).replace(tzinfo=None) for k in (0, 1)],
    }
    labels = pl.concat([labels.filter(pl.Series(is_said)), pl.DataFrame(cleared)], how="vertical_relaxed")
    threshold = float(np.quantile(score, 1 - rate))
    spec = spec_of(
        model={"id": "silent", "task": "binary_classification"},
        columns={"score": "score"},
        labels={"column": "label", "observed_at": "known", "give_up_after": f"{GIVE_UP}d", "silence": "negative"},
        quality={"threshold": threshold},
        reference={"kind": "window", "start": START.isoformat(), "end": (START + timedelta(days=5)).isoformat()},
    )
    made_frame = pl.DataFrame({"prediction_id": ids, "timestamp": made, "score": score})
    return Bench(spec, Home(root), made_frame, labels)


def judged(bench: Bench, now) -> pl.DataFrame:
    """Quality of the windows that are young now."""
    bench.control()
    bench.build("--select", "tag:delayed stg_inferences stg_quarantine")
    with connect(bench.paths, read_only=True) as con:
        work = Work(bench.spec, bench.paths, con, bench.keys[-GIVE_UP:], {}, now)
        found = model_quality.judge(work).judgements
    return found.filter(segment="all", model_version="all", column="").filter(pl.col("metric").is_in(METRICS))


def simulate(root: Path, rate: float, worlds: int, seed: int) -> pl.DataFrame:
    found: list[pl.DataFrame] = []
    for run in range(worlds):
        rng = np.random.default_rng([seed, run, int(1000 * rate)])
        bench = world(root / f"{rate}_{run}", rng, rate, has_cleared=run % 2 == 1)
        bench.land("inferences", "all", bench.inferences)
        is_early = pl.col("known") <= NOW.replace(tzinfo=None)
        bench.land("labels", "early", bench.labels.filter(is_early))
        now = judged(bench, NOW)
        bench.land("labels", "late", bench.labels.filter(~is_early))
        later = judged(bench, LATER)
        assert set(later["status"]) <= {"ok"}, "everything is known of windows that are given up"
        final = later.select("window_start", "metric", final="value")
        found.append(now.join(final, on=["window_start", "metric"]).with_columns(world=pl.lit(run)))
    age = DAYS - 1 - (pl.col("window_start") - START.replace(tzinfo=None)).dt.total_days()
    return pl.concat(found).with_columns(age=age)


def judge(root: Path, rate: float, worlds: int, seed: int) -> None:
    found = simulate(root, rate, worlds, seed)
    assert found.filter(pl.col("status") == "ok")["age"].min() > 14, "what is not complete is not called so"  # pyright: ignore
    told = found.filter(pl.col("status") == "provisional", pl.col("ci_low").is_not_null())
    measured: dict[str, object] = {"windows without a value": round(found["value"].null_count() / len(found), 3)}
    cases = [(name, metric, _case(told, ages, metric)) for name, ages in AGES.items() for metric in METRICS]
    cases = [(f"{name}, {metric}", rows) for name, metric, rows in cases if len(rows) >= 5]
    for case, rows in cases:
        measured |= {
            f"{case}, naive_bias": round(_mean(rows["naive_value"] - rows["final"]), 4),
            f"{case}, bias": round(_mean(rows["value"] - rows["final"]), 4),
            f"{case}, holds_final": round(_mean(rows["inside"]), 3),
        }
    record(
        f"silent_negatives_{rate:.0%}".rstrip("%"),
        f"{rate:.0%} positive, only these are reported, those of a high score first, and in half of the worlds a tenth "
        "of the negatives: the interval of a window that is not given up holds its final value in 0.95 to 1; bias at "
        "most 0.005 beyond its noise",
        measured,
        worlds,
        SECTION,
    )
    for case, rows in cases:
        check(int((~rows["inside"]).sum()), len(rows), MOST_MISSED, case)
        by_world = rows.group_by("world").agg(off=(pl.col("value") - pl.col("final")).mean())["off"]
        half = _mean(rows["ci_high"] - rows["ci_low"]) / 2 / 1.96  # all windows of a world share one law
        noise = 3 * (float(by_world.std() or half) if worlds > 5 else half) / np.sqrt(worlds)  # pyright: ignore
        assert abs(_mean(by_world)) <= MOST_BIAS + noise, case


def _case(told: pl.DataFrame, ages: tuple[int, int], metric: str) -> pl.DataFrame:
    rows = told.filter(pl.col("age").is_between(*ages), metric=metric)
    return rows.with_columns(inside=pl.col("final").is_between("ci_low", "ci_high"))


def _mean(values: pl.Series) -> float:
    return float(values.cast(pl.Float64).mean() or 0.0)  # pyright: ignore[reportArgumentType] (a number)


@pytest.mark.parametrize("rate", RATES)
def test_young_windows_hold_what_silence_says_at_last(tmp_path, rate):
    judge(tmp_path, rate, 1, seed=211)


@pytest.mark.full
@pytest.mark.parametrize("rate", RATES)
def test_young_windows_hold_what_silence_says_at_last_in_full(tmp_path, rate):
    judge(tmp_path, rate, 6, seed=212)
