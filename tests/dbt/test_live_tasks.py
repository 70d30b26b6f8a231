"""Live comparison of regression, several classes and ranking, by hours, weeks and days: numbers of the rows themselves.

The reference is scikit-learn on rows that weigh ``w / n``: the day's weight over the version's rows on that day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    ndcg_score,
    r2_score,
)

from metrics_py.evaluation.confidence_sequence import combined_error, interval_at, weights_of_days
from sightline.evaluation.by_version import versions
from sightline.evaluation.live import LiveEvaluation, evaluate_live
from sightline.home import Home
from sightline.spec.loader import load_monitor
from sightline.warehouse import build_reference, connect
from tests.dbt.support import START, Bench

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
NAIVE = START.replace(tzinfo=None)
CLASSES = ("bird", "cat", "dog")
K = 5


@dataclass(frozen=True)
class World:
    """A built monitor, its rows with the truth, and what counts as one day."""

    bench: Bench
    rows: pl.DataFrame
    length: timedelta

    @property
    def now(self):
        """When all labels are due."""
        return self.rows["ts"].max().replace(tzinfo=START.tzinfo) + timedelta(days=40)

    def live(self, version: str, **more: Any) -> LiveEvaluation:
        told = {"now": self.now, "champion": "base", "with_sections": False, **more}
        return evaluate_live(self.bench.spec, self.bench.paths, version, **told)

    def common(self, version: str, unit: str = "id") -> pl.DataFrame:
        """Rows of both versions on days that both have, with the day, and the weight of one `unit` (row, query)."""
        mine = self.rows.filter(pl.col("version").is_in(["base", version]))
        day = ((pl.col("ts") - NAIVE).dt.total_microseconds() // (self.length // timedelta(microseconds=1))).alias("d")
        mine = mine.with_columns(day)
        counts = mine.group_by("d", "version").agg(n=pl.col(unit).n_unique()).pivot("version", index="d", values="n")
        counts = counts.drop_nulls().sort("d")
        w = weights_of_days(counts["base"].to_numpy(), counts[version].to_numpy())
        each = counts.select("d", w=pl.Series(w / w.sum())).join(
            counts.unpivot(index="d", variable_name="version", value_name="n"), on="d"
        )
        return mine.join(each, on=["d", "version"]).with_columns(weight=pl.col("w") / pl.col("n"))


def built(root, monitor: Mapping[str, Any], rows: pl.DataFrame, length: timedelta) -> World:
    home = Home(root)
    home.monitors.mkdir()
    (home.monitors / "m.yaml").write_text(yaml.safe_dump({"model": {"id": "m"}, **monitor}), encoding="utf-8")
    spec = load_monitor(home.monitors / "m.yaml", home=home)
    known_at = rows["ts"].max().replace(tzinfo=START.tzinfo) + timedelta(days=8)
    made = Bench(spec, home, rows, rows)
    made.land("inferences", "all", rows.drop("y"), known_at)
    made.land("labels", "all", rows.select("id", "y").unique("id"), known_at)
    build_reference(spec, made.paths, home)
    made.control()
    made.build()
    return World(made, rows, length)


def row(found: LiveEvaluation, metric: str) -> dict[str, Any]:
    return found.table.filter(segment="all", metric=metric).row(0, named=True)


def both(frame: pl.DataFrame, version: str, value: Callable[[pl.DataFrame], float]) -> tuple[float, float]:
    """A metric of the weighed rows of champion and challenger."""
    return value(frame.filter(version="base")), value(frame.filter(version=version))


def close(found: dict[str, Any], expected: tuple[float, float]) -> None:
    np.testing.assert_allclose([found["champion"], found["challenger"]], expected, rtol=1e-9)
    np.testing.assert_allclose(found["difference"], expected[1] - expected[0], rtol=1e-7, atol=1e-12)


def buckets(world: World) -> pl.DataFrame:
    with connect(world.bench.paths, read_only=True) as con:
        found = con.sql("select prediction_id as id, model_version as version, bucket from raw.inferences").pl()
    return found.with_columns(pl.col("bucket").cast(pl.Int64))


def by_hand(frame: pl.DataFrame, version: str, value: str, finish: Callable[[Any], Any]) -> tuple[float, float, float]:
    """Difference and interval of ``finish(weighed mean)`` by leaving out days, buckets and cells of the rows."""
    starts = frame["d"].unique().sort()
    total, n = np.zeros((2, len(starts), 64)), np.zeros((2, len(starts), 64))
    at = (
        (frame["version"] == version).cast(pl.Int64).to_numpy(),
        starts.search_sorted(frame["d"]).to_numpy(),
        frame["bucket"].to_numpy(),
    )
    np.add.at(total, at, frame[value].to_numpy())
    np.add.at(n, at, 1.0)
    w = weights_of_days(*n.sum(axis=2))

    def difference(weights: FloatArray, a: FloatArray, m: FloatArray) -> float:
        means = [(weights * a[v] / m[v]).sum() / weights.sum() for v in (0, 1)]
        return float(finish(means[1]) - finish(means[0]))

    a, m = total.sum(axis=2), n.sum(axis=2)
    theta = difference(w, a, m)
    kept = [np.arange(len(starts)) != t for t in range(len(starts))]
    days = [difference(w[k], a[:, k], m[:, k]) for k in kept]
    used = np.flatnonzero((n > 0).any(axis=(0, 1)))
    of_buckets = [difference(w, a - total[..., b], m - n[..., b]) for b in used]
    cells: list[float] = []
    for t, b in np.argwhere((n > 0).any(axis=0)):
        without, rest = a.copy(), m.copy()
        without[:, t] -= total[:, t, b]
        rest[:, t] -= n[:, t, b]
        cells.append(difference(w, without, rest))
    parts = [(len(x) - 1) / len(x) * ((np.array(x) - np.mean(x)) ** 2).sum() for x in (days, of_buckets, cells)]
    low, high = interval_at(theta, combined_error(*parts), w.sum() ** 2 / (w**2).sum())
    return theta, float(low), float(high)


# ---------------------------------------------------------------- regression by hours, with silent days


@pytest.fixture(scope="module")
def hourly(tmp_path_factory) -> World:
    """Eleven days of hours: nobody answers on the fifth, the challenger falls silent on the seventh."""
    rng = np.random.default_rng(501)
    n_users, parts = 60, list[pl.DataFrame]()
    habit = rng.normal(0, 4, n_users)
    for version, noise in (("base", 3.0), ("better", 1.5), ("equal", 3.0)):
        for hour in range(11 * 24):
            day = hour // 24
            if day == 4 or (day == 6 and version != "base") or (hour % 24 == 3):  # nobody at three in the night
                continue
            n = int(rng.integers(3, 9)) if version == "base" else int(rng.integers(2, 5))
            user = rng.integers(0, n_users, n)
            y = 50 + habit[user] + rng.normal(0, 10, n) + 3 * np.sin(day)
            off = rng.standard_t(4, n) * noise + 0.4 * habit[user]
            parts.append(
                pl.DataFrame(
                    {
                        "id": [f"{version}-{hour}-{k}" for k in range(n)],
                        "ts": [NAIVE + timedelta(hours=hour, minutes=5 + 9 * k) for k in range(n)],
                        "version": [version] * n,
                        "user": [f"u{u}" for u in user],
                        "region": rng.choice(["north", "south"], n).tolist(),
                        "size": rng.normal(0, 1, n),
                        "p": y + off,
                        "y": y,
                    }
                )
            )
    columns = {
        **{"prediction_id": "id", "timestamp": "ts", "prediction": "p", "model_version": "version"},
        **{"entity_id": "user", "features": {"size": "numeric"}, "segments": ["region"]},
    }
    monitor = {
        "model": {"id": "m", "task": "regression"},
        "columns": columns,
        "schedule": "hourly",
        "labels": {"column": "y", "expected_delay": "1d", "give_up_after": "3d"},
        "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
        "evaluation": {"margin": 0.5, "guardrails": {"rmse": 0.5}, "segments": ["region=north"]},
        "quality": {"min_labels": 30},
    }
    return built(tmp_path_factory.mktemp("hourly"), monitor, pl.concat(parts), timedelta(days=1))


REGRESSION = {
    "mae": lambda f: mean_absolute_error(f["y"], f["p"], sample_weight=f["weight"]),
    "rmse": lambda f: mean_squared_error(f["y"], f["p"], sample_weight=f["weight"]) ** 0.5,
    "r2": lambda f: r2_score(f["y"], f["p"], sample_weight=f["weight"]),
    "mean_error": lambda f: float(np.average(f["p"] - f["y"], weights=f["weight"])),
}


@pytest.mark.parametrize("metric", REGRESSION)
def test_regression_by_hours_is_that_of_the_rows_by_days(hourly, metric):
    found, frame = hourly.live("better"), hourly.common("better")
    assert found.n_days == 9, "a day on which one is silent does not count, nor one on which both are"
    assert (found.unit, found.together.is_shadow) == ("day", False)
    close(row(found, metric), both(frame, "better", REGRESSION[metric]))


@pytest.mark.parametrize(("metric", "finish"), [("mae", float), ("rmse", np.sqrt)])
def test_its_interval_is_that_of_leaving_out_days_users_and_cells(hourly, metric, finish):
    frame = hourly.common("better").join(buckets(hourly), on=["id", "version"])
    off = pl.col("p") - pl.col("y")
    frame = frame.with_columns(off=off.abs() if metric == "mae" else off**2)
    own = row(hourly.live("better"), metric)
    expected = by_hand(frame, "better", "off", finish)
    np.testing.assert_allclose([own["difference"], own["ci_low"], own["ci_high"]], expected, rtol=1e-8)


def test_regression_has_its_verdicts(hourly):
    better, equal = hourly.live("better"), hourly.live("equal")
    assert better.verdict.outcome == "superior"
    assert {c.name for c in better.verdict.criteria} == {better.primary, "rmse", f"{better.primary} | region=north"}
    own = row(equal, equal.primary)
    assert own["ci_low"] < 0 < own["ci_high"]


def test_a_segment_is_that_of_its_rows(hourly):
    rows = hourly.rows.filter(region="north")
    frame = World(hourly.bench, rows, hourly.length).common("better")
    own = hourly.live("better").table.filter(segment="region=north", metric="mae").row(0, named=True)
    close(own, both(frame, "better", REGRESSION["mae"]))


def test_versions_by_hours_side_by_side(hourly):
    found = versions(hourly.bench.spec, hourly.bench.paths, now=hourly.now, against="base")
    for seen in found.seen:
        own = hourly.rows.filter(version=seen.version)
        assert (seen.n_rows, seen.n_windows) == (len(own), own["ts"].dt.truncate("1h").n_unique())
        quality = {each["metric"]: each["value"] for each in seen.quality}
        assert quality["mae"] == pytest.approx(mean_absolute_error(own["y"], own["p"]), rel=1e-9)
        assert quality["rmse"] == pytest.approx(mean_squared_error(own["y"], own["p"]) ** 0.5, rel=1e-9)
    pairs = {pair.version: pair for pair in found.pairs}
    assert (pairs["better"].n_days, pairs["better"].problem, found.unit) == (9, "", "day")
    assert pairs["better"].quality.filter(metric="mae").row(0, named=True) == row(hourly.live("better"), "mae")


# ---------------------------------------------------------------- several classes by weeks, a shadow


@pytest.fixture(scope="module")
def weekly(tmp_path_factory) -> World:
    """Nine weeks, of which the fourth is silent; a shadow of the same requests, and one that is worse."""
    rng = np.random.default_rng(502)
    weeks, n = [w for w in range(9) if w != 3], 160
    truth = rng.choice(len(CLASSES), (len(weeks), n), p=[0.5, 0.3, 0.2])
    base = np.eye(3)[truth] * 1.5 + rng.normal(0, 1, (len(weeks), n, 3))
    parts: list[pl.DataFrame] = []
    for version, sharper, noise in (("base", 1.0, 0.0), ("shadow", 1.8, 0.2), ("worse", 0.2, 0.6)):
        logit = base + (sharper - 1) * 1.5 * np.eye(3)[truth] + noise * rng.normal(size=base.shape)
        p = np.exp(logit) / np.exp(logit).sum(axis=2, keepdims=True)
        for i, week in enumerate(weeks):
            at = [NAIVE + timedelta(weeks=week, hours=float(h)) for h in np.linspace(1, 166, n)]
            parts.append(
                pl.DataFrame(
                    {
                        "id": [f"{week}-{k}" for k in range(n)],
                        "ts": at,
                        "version": [version] * n,
                        "user": [f"u{k % 50}" for k in range(n)],
                        "size": np.arange(n) % 7 + 0.5,
                        **{f"p_{name}": p[i, :, c] for c, name in enumerate(CLASSES)},
                        "y": [CLASSES[c] for c in truth[i]],
                    }
                )
            )
    columns = {
        **{"prediction_id": "id", "timestamp": "ts", "model_version": "version", "entity_id": "user"},
        "class_scores": {name: f"p_{name}" for name in CLASSES},
        "features": {"size": "numeric"},
    }
    monitor = {
        "model": {"id": "m", "task": "multiclass_classification"},
        "columns": columns,
        "schedule": "weekly",
        "shadows": ["shadow", "worse"],
        "labels": {"column": "y", "expected_delay": "1d", "give_up_after": "3d"},
        "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-19"},
        "evaluation": {"margin": 0.02},
        "quality": {"min_labels": 30},
    }
    return built(tmp_path_factory.mktemp("weekly"), monitor, pl.concat(parts), timedelta(weeks=1))


def decided(frame: pl.DataFrame) -> list[str]:
    return [CLASSES[c] for c in frame.select(f"p_{name}" for name in CLASSES).to_numpy().argmax(axis=1)]


SEVERAL = {
    "accuracy": lambda f: accuracy_score(f["y"], decided(f), sample_weight=f["weight"]),
    "f1_macro": lambda f: f1_score(f["y"], decided(f), average="macro", sample_weight=f["weight"]),
    "log_loss": lambda f: log_loss(
        f["y"], f.select(f"p_{name}" for name in CLASSES).to_numpy(), labels=CLASSES, sample_weight=f["weight"]
    ),
}


@pytest.mark.parametrize("metric", SEVERAL)
def test_several_classes_by_weeks_are_those_of_the_rows(weekly, metric):
    found = weekly.live("shadow")
    assert (found.unit, found.n_days, found.together.is_shadow) == ("week", 8, True)
    close(row(found, metric), both(weekly.common("shadow"), "shadow", SEVERAL[metric]))


def test_the_interval_of_a_shadow_is_that_of_its_pairs(weekly):
    frame = weekly.common("shadow").join(buckets(weekly), on=["id", "version"])
    frame = frame.with_columns(hit=(pl.Series(decided(frame)) == frame["y"]).cast(pl.Float64))
    own = row(weekly.live("shadow"), "accuracy")
    expected = by_hand(frame, "shadow", "hit", float)
    np.testing.assert_allclose([own["difference"], own["ci_low"], own["ci_high"]], expected, rtol=1e-8)


def test_several_classes_have_their_verdicts(weekly):
    assert weekly.live("shadow").verdict.outcome == "superior"
    assert weekly.live("worse").verdict.outcome == "inferior"


def test_six_weeks_are_too_few(weekly):
    early = evaluate_live(
        weekly.bench.spec, weekly.bench.paths, "shadow", now=START + timedelta(weeks=7, days=5), champion="base"
    )
    assert early.n_days == 6
    assert early.verdict.outcome == "cannot_tell"
    assert "6 weeks on which both ran, 7 needed" in row(early, "accuracy")["reason"]


def test_versions_of_several_classes_side_by_side(weekly):
    found = versions(weekly.bench.spec, weekly.bench.paths, now=weekly.now, against="base")
    assert [seen.role for seen in found.seen] == ["production", "shadow", "shadow"]
    for seen in found.seen:
        own = weekly.rows.filter(version=seen.version)
        quality = {each["metric"]: each["value"] for each in seen.quality}
        assert quality["accuracy"] == pytest.approx(accuracy_score(own["y"], decided(own)), rel=1e-12)
        assert quality["f1_macro"] == pytest.approx(f1_score(own["y"], decided(own), average="macro"), rel=1e-12)
    moved = {item.column: item.distance for item in next(p for p in found.pairs if p.version == "worse").moved}
    assert moved.get("size", 0.0) == pytest.approx(0.0, abs=1e-12)
    assert any(name.startswith("@") and distance > 0.05 for name, distance in moved.items())


# ---------------------------------------------------------------- ranking by days, queries of their own


@pytest.fixture(scope="module")
def ranked(tmp_path_factory) -> World:
    """Nine days of lists; every user is answered by one version, which has more or fewer lists from day to day."""
    rng = np.random.default_rng(503)
    parts: list[pl.DataFrame] = []
    for version, sharp in (("base", 0.4), ("better", 1.6), ("equal", 0.4)):
        for day in range(9):
            for q in range(int(rng.integers(30, 50))):
                size = int(rng.integers(2, 9))
                relevance = np.maximum(rng.integers(-2, 4, size), 0).astype(float)
                relevance[0] = max(relevance[0], 1.0)
                at = NAIVE + timedelta(days=day, minutes=5 + float(rng.integers(0, 1420)))
                parts.append(
                    pl.DataFrame(
                        {
                            "id": [f"{version}-{day}-{q}-{i}" for i in range(size)],
                            "ts": [at + timedelta(milliseconds=i) for i in range(size)],
                            "query": [f"{version}-{day}-{q}"] * size,
                            "version": [version] * size,
                            "user": [f"{version}{q % 20}"] * size,
                            "price": rng.normal(0, 1, size),
                            "p": sharp * relevance + rng.normal(0, 1, size),
                            "y": relevance,
                        }
                    )
                )
    columns = {
        **{"prediction_id": "id", "timestamp": "ts", "score": "p", "model_version": "version"},
        **{"entity_id": "user", "query_id": "query", "features": {"price": "numeric"}},
    }
    monitor = {
        "model": {"id": "m", "task": "ranking"},
        "columns": columns,
        "labels": {"column": "y", "expected_delay": "1d", "give_up_after": "3d"},
        "reference": {"kind": "window", "start": "2026-01-05", "end": "2026-01-07"},
        "evaluation": {"margin": 0.02},
        "quality": {"k": K, "min_labels": 30},
    }
    return built(tmp_path_factory.mktemp("ranked"), monitor, pl.concat(parts), timedelta(days=1))


def lists(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per query with its NDCG and reciprocal rank, by scikit-learn and by hand."""
    found: list[dict[str, Any]] = []
    for (query,), own in frame.group_by(["query"], maintain_order=True):
        y, p = own["y"].to_numpy(), own["p"].to_numpy()
        hits = np.flatnonzero(y[np.argsort(-p)] > 0)
        rank = 1 / (hits[0] + 1) if len(hits) and hits[0] < K else 0.0
        found.append({"query": query, "ndcg": ndcg_score([y], [p], k=K), "mrr": rank, **own.row(0, named=True)})
    return pl.DataFrame(found)


@pytest.mark.parametrize("metric", ["ndcg", "mrr"])
def test_ranking_is_that_of_the_queries(ranked, metric):
    frame = lists(ranked.common("better", "query"))
    found = ranked.live("better")
    close(row(found, metric), both(frame, "better", lambda f: float(np.average(f[metric], weights=f["weight"]))))
    assert row(found, metric)["n_challenger"] == len(frame.filter(version="better")), "queries, not rows"


def test_the_interval_of_a_ranking_is_that_of_its_queries(ranked):
    frame = ranked.common("better", "query").join(buckets(ranked), on=["id", "version"])
    own = row(ranked.live("better"), "ndcg")
    expected = by_hand(lists(frame), "better", "ndcg", float)
    np.testing.assert_allclose([own["difference"], own["ci_low"], own["ci_high"]], expected, rtol=1e-8)


def test_ranking_has_its_verdicts(ranked):
    assert ranked.live("better").verdict.outcome == "superior"
    own = row(ranked.live("equal"), "ndcg")
    assert own["ci_low"] < 0 < own["ci_high"]
