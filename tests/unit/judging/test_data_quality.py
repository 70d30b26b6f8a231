"""Judgements from hand-made aggregates: every number can be told beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom
from scipy.stats import t as student

from metrics_py.profile.build import build_profile, count
from sightline.judging import data_quality, frames, reference_bounds
from sightline.results.judgements import append_judgements
from tests.support.marts import FIRST, NOW, day, key, one, put


def judge(spec, home, con, windows, profiles=(), now=NOW):
    keys = [key(w) for w in windows]
    return data_quality.judge(frames.Work(spec, home.monitor("churn"), con, keys, dict(profiles), now))


class TestService:
    def test_volume_errors_and_versions_add_up(self, spec, home, con):
        put(con, "service_health", 0, n_rows=300, n_errors=30, n_latency=0, sum_latency_ms=0.0)
        put(con, "service_health", 0, version="v2", n_rows=100, n_errors=2, n_latency=0, sum_latency_ms=0.0)
        judged = judge(spec, home, con, [0]).judgements
        assert one(judged, "n_rows", 0)["value"] == 400
        assert one(judged, "n_rows", 0, version="v2")["value"] == 100
        rate = one(judged, "error_rate", 0)
        assert (rate["value"], rate["n"]) == (0.08, 400)
        assert rate["ci_low"] < 0.08 < rate["ci_high"]

    def test_a_closed_window_without_predictions_alarms_and_is_evidence(self, spec, home, con):
        put(con, "service_health", 0, n_rows=300, n_errors=0, n_latency=0, sum_latency_ms=0.0)
        found = judge(spec, home, con, [0, 1])
        assert one(found.judgements, "n_rows", 1)["status"] == "alert"
        evidence = found.evidence.filter(pl.col("statistic") == "n_rows").sort("window_start")
        assert evidence["value"].to_list() == pytest.approx([np.log(301), 0.0])

    def test_a_day_listed_as_holiday_may_be_silent(self, spec, home, con):
        holiday = spec.alerts.model_copy(update={"holidays": (day(1).date(),)})
        spec = spec.model_copy(update={"alerts": holiday})
        put(con, "service_health", 0, n_rows=300, n_errors=0, n_latency=0, sum_latency_ms=0.0)
        found = judge(spec, home, con, [0, 1, 2])
        paused = one(found.judgements, "n_rows", 1)
        assert (paused["status"], paused["value"]) == ("ok", 0)
        assert paused["reason"] == "no predictions on a day listed under alerts.holidays"
        assert one(found.judgements, "n_rows", 2)["status"] == "alert"

    def test_an_open_window_is_not_judged_by_its_volume(self, spec, home, con):
        put(con, "service_health", 1, n_rows=3, n_errors=0, n_latency=0, sum_latency_ms=0.0)
        found = judge(spec, home, con, [1, 2], now=datetime(2026, 1, 2, 12, tzinfo=UTC))
        assert one(found.judgements, "n_rows", 1)["reason_code"] == "window_open"
        assert set(found.judgements["window_start"]) == {day(1)}, "of an open window without rows nothing is known"
        assert found.evidence.filter(pl.col("statistic") == "n_rows")["value"].to_list() == [None]

    def test_latency_quantiles_are_exact_to_one_per_cent(self, spec, home, con):
        values = np.random.default_rng(1).lognormal(3, 1, 5000)
        put(con, "service_health", 0, n_rows=5000, n_errors=0, n_latency=5000, sum_latency_ms=float(values.sum()))
        bins, counts = np.unique(np.ceil(np.log(values) / np.log(1.02)), return_counts=True)
        for bin_id, n in zip(bins, counts, strict=True):
            put(con, "latency_bins", 0, bin=int(bin_id), n=int(n))
        judged = judge(spec, home, con, [0]).judgements
        for metric, level in (("latency_p50_ms", 0.5), ("latency_p95_ms", 0.95), ("latency_p99_ms", 0.99)):
            exact = np.quantile(values, level, method="inverted_cdf")
            assert one(judged, metric, 0)["value"] == pytest.approx(exact, rel=0.0101)
        assert one(judged, "latency_mean_ms", 0)["value"] == pytest.approx(values.mean())

    def test_refused_rows_count_against_all_that_came(self, spec, home, con):
        put(con, "service_health", 0, n_rows=90, n_errors=0, n_latency=0, sum_latency_ms=0.0)
        put(con, "rejections", 0, kind="inferences", column_name="", reason="missing_id", severity="row", n=10)
        put(con, "rejections", 0, kind="inferences", column_name="age", reason="bad_type", severity="value", n=50)
        put(con, "rejections", 0, kind="labels", column_name="", reason="bad_label", severity="row", n=50)
        assert one(judge(spec, home, con, [0]).judgements, "rejected_rate", 0)["value"] == 0.1


class TestColumns:
    @pytest.fixture
    def profiles(self):
        rng = np.random.default_rng(2)
        plan = rng.choice(["a", "b", "c"], 3000).tolist() + [f"rare{i}" for i in range(30)]
        return {
            "age": build_profile(rng.normal(40, 10, 3000), "numeric", column="age"),
            "plan": build_profile(plan, "categorical", column="plan"),
        }

    def moments(self, con, window: int, column: str, **values: Any) -> None:
        defaults = {"n_rows": 500, "n_null": 0, "n_not_finite": 0, "n_contract": 0, "n_true": None}
        numbers = {"sum_x": 20000.0, "sum_xx": 850000.0, "min_x": 10.0, "max_x": 70.0} if column == "age" else {}
        put(con, "column_moments", window, column_name=column, **{**defaults, **numbers, **values})

    @pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-9, 1.7e9])
    def test_a_constant_column_has_no_deviation(self, spec, home, con, profiles, value):
        x = np.full(300, value)
        window_sums = {"sum_x": float(x.sum()), "sum_xx": float((x**2).sum()), "min_x": value, "max_x": value}
        self.moments(con, 0, "age", n_rows=300, **window_sums)
        row = one(judge(spec, home, con, [0], profiles).judgements, "standard_deviation", 0, "age")
        assert (row["value"], row["status"]) == (0.0, "ok")

    def test_a_deviation_that_the_sums_cannot_tell_is_none(self, spec, home, con, profiles):
        """Second stamps of one minute: the squares need 62 bits, so their sum holds no trace of the deviation."""
        for window, start, status in ((0, 1.7e9, "insufficient_data"), (1, 1.7e4, "ok")):
            x = start + np.arange(300) % 60
            window_sums = {"sum_x": float(x.sum()), "sum_xx": float((x**2).sum())}
            window_sums |= {"min_x": float(x.min()), "max_x": float(x.max())}
            self.moments(con, window, "age", n_rows=300, **window_sums)
            row = one(judge(spec, home, con, [window], profiles).judgements, "standard_deviation", window, "age")
            assert row["status"] == status
            assert row["value"] == (None if status == "insufficient_data" else pytest.approx(x.std(ddof=1), rel=1e-5))

    def test_moments(self, spec, home, con, profiles):
        x = np.random.default_rng(3).normal(40, 10, 500)
        self.moments(
            con, 0, "age", sum_x=float(x.sum()), sum_xx=float((x**2).sum()), min_x=float(x.min()), max_x=float(x.max())
        )
        judged = judge(spec, home, con, [0], profiles).judgements
        assert one(judged, "mean", 0, "age")["value"] == pytest.approx(x.mean())
        assert one(judged, "standard_deviation", 0, "age")["value"] == pytest.approx(x.std(ddof=1))

    def test_a_broken_contract_alarms(self, spec, home, con, profiles):
        self.moments(con, 0, "age", n_contract=1)
        self.moments(con, 1, "age")
        judged = judge(spec, home, con, [0, 1], profiles).judgements
        assert one(judged, "contract_rate", 0, "age")["status"] == "alert"
        assert one(judged, "contract_rate", 0, "age")["bound_high"] == 0
        assert one(judged, "contract_rate", 1, "age")["status"] == "ok"

    def test_more_missing_than_allowed_alarms(self, spec, home, con, profiles):
        self.moments(con, 0, "plan", n_null=130)
        self.moments(con, 1, "plan", n_null=120)
        judged = judge(spec, home, con, [0, 1], profiles).judgements
        assert [one(judged, "null_rate", w, "plan")["status"] for w in (0, 1)] == ["alert", "ok"]
        assert one(judged, "null_rate", 0, "plan")["bound_high"] == 0.25

    def test_rates_from_bins(self, spec, home, con, profiles):
        plan, age = profiles["plan"], profiles["age"]
        self.moments(con, 0, "plan")
        self.moments(con, 0, "age")
        for bin_id, n in enumerate(count(plan, ["a"] * 400 + ["new"] * 40 + [None] * 60)):
            put(con, "column_bins", 0, column_name="plan", bin_id=bin_id, n=int(n))
        for bin_id, n in enumerate(count(age, [40.0] * 450 + [1e6] * 50)):
            put(con, "column_bins", 0, column_name="age", bin_id=bin_id, n=int(n))
        judged = judge(spec, home, con, [0], profiles).judgements
        unseen = one(judged, "unseen_rate", 0, "plan")
        assert unseen["value"] == pytest.approx(40 / 440)
        assert unseen["reference_value"] == pytest.approx(plan.expected_unseen)
        assert plan.expected_unseen == pytest.approx(30 / 3030)
        assert one(judged, "out_of_range_rate", 0, "age")["value"] == pytest.approx(0.1)

    def test_the_expected_share_of_new_categories_is_an_estimate(self):
        profiles = {"plan": build_profile(["a"] * 80 + list("bcdefghij"), "categorical", column="plan")}
        row = {"column": "plan", "metric": "unseen_rate", "value": 0.13, "status": "warn", "reason": "above its bound"}
        judged = frames.conform(pl.DataFrame([{**row, "ci_low": 0.12, "ci_high": 0.14, "bound_high": 0.05}]))
        expected, error = profiles["plan"].expected_unseen, profiles["plan"].expected_unseen_error
        assert expected < 0.12 and (0.13 - expected) < 1.96 * error
        told = data_quality._expected_unseen(judged, profiles)
        assert told["status"].to_list() == ["ok"]

    def test_a_few_values_beyond_the_range_of_a_sample_are_expected(self):
        """Simulated: of stable windows, one in 200 warns at most; a share ten times as large as chance does."""
        rng = np.random.default_rng(11)
        m, n, warned, runs = 5000, 500, 0, 2000
        profile = build_profile(rng.normal(size=m), "numeric", column="age", bins=8)
        low, high = rng.beta(1, m, runs), rng.beta(1, m, runs)  # what lies beyond either end of m values
        outside = rng.binomial(n, low + high)
        rows = [
            {"column": "age", "metric": "out_of_range_rate", "value": k / n, "n": n, "status": "warn" if k else "ok"}
            for k in [*outside.tolist(), 10]
        ]
        told = data_quality._expected_outside(frames.conform(pl.DataFrame(rows)), {"age": profile})
        assert (outside > 0).mean() > 0.1, "without the correction every sixth window warned"
        warned = (told["status"][:-1] == "warn").sum()
        assert warned <= 0.005 * runs + 3 * (0.005 * runs) ** 0.5
        assert told["status"][-1] == "warn"

    def test_a_column_that_stopped_varying_is_told(self, spec, home, con, profiles):
        self.moments(con, 0, "age", min_x=7.0, max_x=7.0)
        self.moments(con, 1, "age")
        judged = judge(spec, home, con, [0, 1], profiles).judgements
        assert one(judged, "is_constant", 0, "age")["status"] == "warn"
        assert one(judged, "is_constant", 1, "age")["status"] == "ok"


class TestBounds:
    """The predictive interval of one more window, from the reference's windows."""

    def judged(self, values: Mapping[int, float], metric: str = "error_rate") -> pl.DataFrame:
        rows = [
            {
                "window_start": day(w),
                "model_version": "all",
                "segment": "all",
                "column": "",
                "metric": metric,
                "value": v,
                "n": 100,
                "status": "ok",
            }
            for w, v in values.items()
        ]
        return frames.conform(pl.DataFrame(rows))

    def bounded(self, spec, home, values, side=1, metric="error_rate"):
        frame = reference_bounds.with_bounds(
            spec,
            home.monitor("churn"),
            "data_quality",
            self.judged(values, metric),
            {metric: side},
            {metric: (0.0, 1.0)},
        )
        return {(row["window_start"] - FIRST).days: row for row in frame.iter_rows(named=True)}

    @pytest.fixture
    def reference(self):
        return dict(enumerate([0.010, 0.012, 0.011, 0.009, 0.013, 0.010, 0.012, 0.011, 0.010, 0.012]))

    def test_interval(self, spec, home, reference):
        rows = self.bounded(spec, home, {**reference, 20: 0.2})
        values = np.array(list(reference.values()))
        half = values.std(ddof=1) * student.ppf(0.995, 9) * np.sqrt(1 + 1 / 10)
        assert rows[20]["bound_high"] == pytest.approx(values.mean() + half)
        assert rows[20]["reference_value"] == pytest.approx(values.mean())
        assert rows[20]["bound_low"] is None, "fewer errors are no worse"
        assert rows[20]["status"] == "warn"

    def test_only_the_worse_side_warns(self, spec, home, reference):
        assert self.bounded(spec, home, {**reference, 20: 0.2}, side=-1)[20]["status"] == "ok"
        assert self.bounded(spec, home, {**reference, 20: 0.0001}, side=-1)[20]["status"] == "warn"
        assert self.bounded(spec, home, {**reference, 20: 0.0001}, side=0)[20]["status"] == "warn"

    def test_few_reference_windows_give_no_bounds(self, spec, home, reference):
        few = {w: v for w, v in reference.items() if w < reference_bounds.MIN_REFERENCE_WINDOWS - 1}
        row = self.bounded(spec, home, {**few, 20: 0.9})[20]
        assert (row["bound_high"], row["status"]) == (None, "ok")

    def test_published_windows_of_the_reference_count_when_the_run_does_not_hold_them(self, spec, home, reference):
        whole = self.judged(reference).with_columns(
            monitor=pl.lit("churn"), window_end=pl.col("window_start") + timedelta(days=1)
        )
        append_judgements(home.monitor("churn"), "data_quality", whole, "r1", NOW)
        alone, together = self.bounded(spec, home, {20: 0.2})[20], self.bounded(spec, home, {**reference, 20: 0.2})[20]
        assert alone["bound_high"] == pytest.approx(together["bound_high"])

    def test_a_rolling_reference_is_the_windows_before(self, make_spec, home):
        spec = make_spec(reference={"kind": "rolling", "length": "10d"}, start="2026-01-01")
        values = {w: 0.01 + 0.001 * (w % 3) for w in range(12)} | {w: 0.05 + 0.001 * (w % 3) for w in range(12, 40)}
        rows = self.bounded(spec, home, values)
        assert rows[12]["status"] == "warn"
        assert rows[12]["reference_value"] == pytest.approx(np.mean([values[w] for w in range(2, 12)]))
        assert rows[39]["status"] == "ok", "the new level is the reference by now"


class TestReferenceFile:
    @pytest.fixture
    def built(self, make_spec, home):
        from sightline.warehouse import build_reference

        rng = np.random.default_rng(10)
        n = 2000
        p = rng.uniform(size=n)
        home.root.mkdir(exist_ok=True)
        frame = pl.DataFrame(
            {
                "prediction_id": [f"r{i}" for i in range(n)],
                "timestamp": [FIRST - timedelta(days=10) + timedelta(minutes=i) for i in range(n)],
                "p": p,
                "age": pl.Series(rng.normal(40, 10, n)).set(pl.Series(np.arange(n) < 100), None),
                "churned": (rng.uniform(size=n) < p).astype(int),
            }
        )
        frame.write_parquet(home.root / "reference.parquet")
        spec = make_spec(
            reference={"kind": "file", "path": "reference.parquet"}, start="2026-01-01", alerts={"warmup": 10}
        )
        build_reference(spec, home.monitor("churn"), home)
        return spec, frame

    def test_its_own_quality_and_missing_shares_are_the_reference(self, built, home):
        from sklearn.metrics import accuracy_score, roc_auc_score

        spec, frame = built
        quality = reference_bounds.file_values(spec, home.monitor("churn"), "model_quality")
        known = {
            row["metric"]: row["known"] for row in quality.filter(pl.col("segment") == "all").iter_rows(named=True)
        }
        assert known["accuracy"] == pytest.approx(accuracy_score(frame["churned"], frame["p"] >= 0.5))
        assert known["roc_auc"] == pytest.approx(roc_auc_score(frame["churned"], frame["p"]), abs=0.005)
        shares = reference_bounds.file_values(spec, home.monitor("churn"), "data_quality")
        assert shares.filter(pl.col("column") == "age", pl.col("metric") == "null_rate")["known"].to_list() == [0.05]

    def test_bounds_come_from_the_first_windows_of_the_history(self, built, home):
        spec, frame = built
        values = {w: 0.8 + 0.01 * (w % 3) for w in range(10)} | {20: 0.6}
        rows = [
            {
                "window_start": day(w),
                "model_version": "all",
                "segment": "all",
                "column": "",
                "metric": "accuracy",
                "value": v,
                "n": 100,
                "status": "ok",
            }
            for w, v in values.items()
        ]
        judged = frames.conform(pl.DataFrame(rows))
        found = reference_bounds.with_bounds(spec, home.monitor("churn"), "model_quality", judged, {"accuracy": -1}, {})
        last = found.filter(pl.col("window_start") == day(20)).row(0, named=True)
        inside = np.array([values[w] for w in range(10)])
        half = inside.std(ddof=1) * student.ppf(0.995, 9) * np.sqrt(1.1)
        assert last["bound_low"] == pytest.approx(inside.mean() - half)
        assert last["reference_value"] == pytest.approx(((frame["p"] >= 0.5) == (frame["churned"] == 1)).mean())
        assert last["status"] == "warn"


def test_the_expected_values_outside_a_sample_are_the_beta_binomial_quantile():
    rng = np.random.default_rng(82)
    n = np.concatenate([np.arange(1, 60), rng.integers(1, 3000, 200), [66_666]]).astype(float)
    m = np.concatenate([rng.integers(2, 50, 59), rng.integers(2, 20_000, 200), [466_662]]).astype(float)
    for level in (0.0001, 0.001, 0.3):
        expected = betabinom.isf(level, n.astype(int), 2, m - 1)
        np.testing.assert_array_equal(data_quality.most_outside(n, m, level), expected)
