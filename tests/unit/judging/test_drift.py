"""Drift judgements from hand-made bins: the whole, segments, a rolling reference, few rows, evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest

from metrics_py.drift.effects import psi_effect
from metrics_py.drift.exact_distances import ks_distance
from metrics_py.drift.methods import drift_method
from metrics_py.drift.rare_bins import coarsen
from metrics_py.profile.build import build_profile, count
from sightline.judging import board, drift
from tests.support.marts import key, one, put


class TestDrift:
    @pytest.fixture
    def profile(self):
        return build_profile(
            np.random.default_rng(4).normal(size=4000), "numeric", column="age", bins=16, rows_per_window=400
        )

    def fill(self, con, profile, samples: Mapping[int, np.ndarray], segment: str = "all") -> None:
        for window, values in samples.items():
            for bin_id, n in enumerate(count(profile, values)):
                if n:
                    put(con, "column_bins", window, column_name="age", bin_id=bin_id, n=int(n), segment=segment)

    def test_the_whole_is_compared_with_the_frozen_profile(self, spec, con, profile):
        rng = np.random.default_rng(5)
        samples = {20: rng.normal(size=500), 21: rng.normal(0.8, 1, 500)}
        self.fill(con, profile, samples)
        judged = drift.judge(spec, con, [key(20), key(21)], {"age": profile}).judgements
        for window, values in samples.items():
            before, now = coarsen(
                profile.merged(profile.n_reference)[None], profile.merged(count(profile, values))[None], is_ordered=True
            )
            effect = psi_effect(before, now)
            row = one(judged, "psi", window, "age")
            assert row["value"] == pytest.approx(float(effect.debiased[0]))
            assert row["ci_low"] <= row["value"] <= row["ci_high"]
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((float(effect.ci_low[0]), float(effect.ci_high[0])))
        assert [one(judged, "psi", w, "age")["status"] for w in samples] == ["ok", "warn"]
        assert one(judged, "psi", 21, "age")["reason"].startswith("higher by 0.7")

    def test_a_column_named_after_the_reference_was_frozen_is_told(self, make_spec, con, profile):
        kinds = {"age": "numeric", "income": "numeric", "note": "text"}
        spec = make_spec(columns={"score": "p", "features": kinds})
        self.fill(con, profile, {20: np.random.default_rng(5).normal(size=500)})
        judged = drift.judge(spec, con, [key(20)], {"age": profile}).judgements
        told = one(judged, "psi", 20, "income")
        assert told["reason"] == drift.CAME_LATER
        assert told["reason_code"] in board.LOUD, "the check `coverage` warns at once"
        assert judged.filter(column="note").is_empty()

    @pytest.mark.parametrize("method", ["psi", "js_distance", "hellinger", "kl_divergence", "js_divergence"])
    def test_another_distance_may_decide_and_agrees(self, make_spec, con, profile, method):
        spec = make_spec(columns={"score": "p", "features": {"age": "numeric"}}, drift={"method": method})
        rng = np.random.default_rng(8)
        self.fill(con, profile, {20: rng.normal(size=4000), 21: rng.normal(0.7, 1, 4000)})
        judged = drift.judge(spec, con, [key(20), key(21)], {"age": profile}).judgements
        still, moved = (one(judged, method, window, "age") for window in (20, 21))
        assert (still["status"], moved["status"]) == ("ok", "warn")
        assert moved["ci_low"] > moved["bound_high"] > still["ci_high"] and moved["reason_code"] == "drift"
        decided = drift_method(method)
        assert moved["bound_high"] == pytest.approx(decided.tolerance(0.1))
        assert {row["status"] for row in judged.filter(pl.col("metric") != method).to_dicts()} <= {"ok"}

    def test_the_limits_of_ks_hold_the_exact_distance(self, spec, con):
        rng = np.random.default_rng(15)

        def mixed(rows, share):
            return np.where(rng.random(rows) < share, 0.0, rng.normal(0.02, 1, rows))

        old = mixed(3000, 0.9)
        profile = build_profile(old, "numeric", column="age", bins=8, rows_per_window=400)
        samples = {20 + i: mixed(60, share) for i, share in enumerate((0.9, 0.6, 0.2, 0.0))}
        self.fill(con, profile, samples)
        judged = drift.judge(spec, con, [key(w) for w in samples], {"age": profile}).judgements
        for window, values in samples.items():
            low, high = (one(judged, f"ks_at_{end}", window, "age")["value"] for end in ("least", "most"))
            assert low - 1e-12 <= ks_distance(old, values) <= high + 1e-12

    def test_a_segment_is_compared_with_itself_in_the_reference(self, spec, con, profile):
        rng = np.random.default_rng(6)
        odd = {w: rng.normal(2, 1, 300) for w in range(10)}
        self.fill(con, profile, odd, "plan=odd")
        self.fill(con, profile, {20: rng.normal(2, 1, 300)}, "plan=odd")
        judged = drift.judge(spec, con, [key(20)], {"age": profile}).judgements
        assert one(judged, "psi", 20, "age", "plan=odd")["status"] == "ok"

    def test_a_segment_that_the_reference_does_not_have(self, spec, con, profile):
        self.fill(con, profile, {20: np.zeros(300)}, "plan=new")
        row = one(drift.judge(spec, con, [key(20)], {"age": profile}).judgements, "psi", 20, "age", "plan=new")
        assert (row["status"], row["reason"]) == ("insufficient_data", drift.NO_REFERENCE)

    def test_rolling(self, make_spec, con, profile):
        spec = make_spec(reference={"kind": "rolling", "length": "5d"}, start="2026-01-01")
        rng = np.random.default_rng(7)
        samples = {w: rng.normal(0.0 if w < 10 else 1.0, 1, 400) for w in range(20)}
        self.fill(con, profile, samples)
        judged = drift.judge(spec, con, [key(w) for w in range(20)], {"age": profile}).judgements
        assert one(judged, "psi", 10, "age")["status"] == "warn"
        assert one(judged, "psi", 19, "age")["status"] == "ok"
        before = np.sum([count(profile, samples[w]) for w in range(7, 12)], axis=0)
        a, b = coarsen(profile.merged(before)[None], profile.merged(count(profile, samples[12]))[None], is_ordered=True)
        assert one(judged, "psi", 12, "age")["value"] == pytest.approx(float(psi_effect(a, b).debiased[0]))
        assert one(judged, "psi", 0, "age")["reason"] == drift.NO_REFERENCE

    @pytest.mark.parametrize("method", ["psi", "js_distance", "hellinger", "kl_divergence", "js_divergence"])
    def test_every_point_lies_in_its_interval(self, make_spec, con, profile, method):
        spec = make_spec(columns={"score": "p", "features": {"age": "numeric"}}, drift={"method": method})
        rng = np.random.default_rng(9)
        samples = {w: rng.normal(0.02 * (w % 10), 1, 250) for w in range(40)}
        self.fill(con, profile, samples)
        judged = drift.judge(spec, con, [key(w) for w in samples], {"age": profile}).judgements
        known = judged.drop_nulls(["value", "ci_low", "ci_high"])
        assert len(known) >= 40
        assert known.filter((pl.col("value") < pl.col("ci_low")) | (pl.col("value") > pl.col("ci_high"))).is_empty()

    def test_few_rows_are_not_enough_and_not_a_pass(self, spec, con, profile):
        self.fill(con, profile, {20: np.zeros(50)})
        row = one(drift.judge(spec, con, [key(20)], {"age": profile}).judgements, "psi", 20, "age")
        assert (row["status"], row["reason"]) == ("insufficient_data", "50 rows; 200 needed")

    def test_evidence_is_of_the_whole_only_and_quality_rates_go_to_data_quality(self, spec, con, profile):
        rng = np.random.default_rng(8)
        self.fill(con, profile, {20: rng.normal(size=500)})
        self.fill(con, profile, {20: rng.normal(size=300)}, "plan=a")
        evidence = drift.judge(spec, con, [key(20)], {"age": profile}).evidence
        assert evidence.filter(pl.col("asset") == "data_quality")["statistic"].to_list() == [
            "null_rate",
            "out_of_range_rate",
        ]
        assert {"location", "spread", "skew", "tails", "log_psi"} <= set(
            evidence.filter(pl.col("asset") == "drift")["statistic"]
        )
        assert evidence["statistic"].is_unique().all()

    def test_a_column_with_drift_off_keeps_its_quality(self, make_spec, con, profile):
        spec = make_spec(columns={"score": "p", "features": {"age": {"kind": "numeric", "drift": False}}})
        self.fill(con, profile, {20: np.random.default_rng(9).normal(size=500)})
        found = drift.judge(spec, con, [key(20)], {"age": profile})
        assert found.judgements.is_empty()
        assert found.evidence["asset"].unique().to_list() == ["data_quality"]
