"""Which evidence is published, under which name, and with which window it is decided."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import EngineConfig
from metrics_py.profile.build import build_profile, count
from metrics_py.quality.metrics import BY_TASK
from sightline.alerts import decisions
from sightline.alerts.stream_words import stream_words
from sightline.judging.evidence import column_evidence, publishable
from sightline.judging.frames import EVIDENCE
from sightline.judging.stretches import Stretches
from sightline.spec import plan

KEYS = ["2026-01-28", "2026-01-29", "2026-01-30"]


def evidence(*keys: str) -> pl.DataFrame:
    rows = [
        {
            "asset": "drift",
            "column": "age",
            "statistic": "log_psi",
            "window_start": datetime.fromisoformat(key),
            "value": 0.1,
        }
        for key in keys
    ]
    return pl.DataFrame([dict.fromkeys(EVIDENCE) | row for row in rows], schema=EVIDENCE)


def decided(frame: pl.DataFrame) -> dict[str, str]:
    return {key: f"{at:%Y-%m-%d}" for key, at in frame.select("window_key", "decided_at").iter_rows()}


def test_only_closed_windows_give_evidence(make_spec):
    now = datetime(2026, 1, 31, 0, 59, tzinfo=UTC)
    found = publishable(make_spec(), evidence(*KEYS), KEYS, now, None, mature=False)
    assert decided(found) == {"2026-01-28": "2026-01-28", "2026-01-29": "2026-01-29"}
    assert found["stream"].unique().to_list() == ["drift/age/log_psi"]


def test_labels_give_evidence_when_they_are_due_decided_with_that_window(make_spec):
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = publishable(make_spec(), evidence(*KEYS), KEYS, now, None, mature=True)
    assert decided(found) == {"2026-01-28": "2026-01-30", "2026-01-29": "2026-01-31"}


def test_late_evidence_is_decided_after_what_is_published(make_spec):
    now = datetime(2026, 2, 10, tzinfo=UTC)
    found = publishable(make_spec(), evidence(*KEYS), KEYS, now, datetime(2026, 1, 29), mature=False)
    assert decided(found) == {"2026-01-28": "2026-01-29", "2026-01-29": "2026-01-29", "2026-01-30": "2026-01-30"}


def test_a_stream_without_a_column_has_two_parts(make_spec):
    rows = evidence("2026-01-28").with_columns(
        column=pl.lit(""), asset=pl.lit("data_quality"), statistic=pl.lit("n_rows")
    )
    found = publishable(make_spec(), rows, KEYS, datetime(2026, 2, 10, tzinfo=UTC), None, mature=False)
    assert found["stream"].to_list() == ["data_quality/n_rows"]


class TestEngineSettings:
    def test_the_budget_becomes_the_threshold(self, make_spec):
        config = decisions.config(make_spec(alerts={"budget": "2 per 90d", "weights": {"drift/*": 3}, "warmup": 20}))
        assert config.threshold_windows == 45
        assert (config.taught, config.season, config.weight("drift/age/log_psi")) == (20, "weekday", 3)

    def test_weekly_and_hourly_windows_count_in_their_own_length(self, make_spec):
        assert decisions.config(
            make_spec(schedule="weekly", alerts={"budget": "1 per 90d"})
        ).threshold_windows == pytest.approx(90 / 7)
        assert (
            decisions.config(make_spec(schedule="hourly", alerts={"budget": "1 per 90d"})).threshold_windows == 90 * 24
        )

    @pytest.mark.parametrize("schedule", ["hourly", "daily", "weekly"])
    def test_the_warm_up_the_spec_tells_is_the_engine_s_own(self, make_spec, schedule):
        spec = make_spec(schedule=schedule)
        own = EngineConfig.from_budget(1, spec.alerts.budget.per, window=spec.window)
        assert spec.warmup_windows == own.warmup == decisions.config(spec).warmup
        assert decisions.config(spec).memory == own.memory

    def test_weight_zero_silences_a_stream(self, make_spec):
        spec = make_spec(alerts={"weights": {"drift/age/*": 0, "drift/*": 2}})
        assert decisions.is_silenced(spec, "drift/age/log_psi")
        assert not decisions.is_silenced(spec, "drift/income/log_psi")


@pytest.mark.parametrize("task", ["binary_classification", "multiclass_classification", "regression"])
def test_quality_checks_are_on_metrics_that_exist(make_spec, task):
    columns = {
        "binary_classification": {"score": "p", "features": {}},
        "multiclass_classification": {"prediction": "c", "class_scores": {"a": "pa", "b": "pb"}},
        "regression": {"prediction": "y"},
    }[task]
    spec = make_spec(model={"id": "m", "task": task}, columns=columns)
    known = {metric.name for metric in BY_TASK[task]} | {"labelled_rate", "label_arrivals"}
    assert {name for name in plan.quality_metrics(spec) if not name.startswith("pinball")} <= known


class TestDefaultWeights:
    """ADR 3: what costs money is heard first; the user's patterns come before the defaults."""

    def test_by_asset(self, make_spec):
        config = decisions.config(make_spec())
        assert [config.weight(f"{asset}/x") for asset in ("model_quality", "data_quality", "drift")] == [8, 3, 1]
        assert config.weight("model_quality/label_arrivals") == 1

    def test_the_spec_wins(self, make_spec):
        config = decisions.config(make_spec(alerts={"weights": {"*/age/*": 5, "drift/*": 2}}))
        assert config.weight("data_quality/age/null_rate") == 5
        assert config.weight("drift/income/log_psi") == 2
        assert config.weight("model_quality/roc_auc") == 8


def test_a_columns_data_quality_and_drift_are_groups_of_their_own():
    frame = pl.DataFrame({"asset": ["drift", "data_quality", "model_quality"], "column": ["age", "age", ""]})
    groups = frame.select(decisions.group_of(pl.col("asset"), pl.col("column"))).to_series().to_list()
    assert groups == ["drift/age", "data_quality/age", "model_quality/"]


@pytest.mark.parametrize("personal", [True, False])
def test_a_frequent_value_of_personal_data_names_no_stream(make_spec, personal):
    spec = make_spec(columns={"score": "p", "features": {"age": {"kind": "numeric", "personal": personal}}})
    values = np.concatenate([np.full(300, 4242.0), np.random.default_rng(7).normal(50, 9, 700)])
    profile = build_profile(values, "numeric", column="age")
    starts = pl.Series([datetime(2026, 1, 28)])
    counted = count(profile, values)
    bins = pl.DataFrame({"column_name": "age", "window_start": starts[0], "bin_id": range(len(counted)), "n": counted})
    bins = bins.with_columns(pl.col("n").cast(pl.Int64), pl.col("bin_id").cast(pl.Int64))
    frame = column_evidence(spec, bins, {"age": profile}, "drift", Stretches(spec))
    names = [name for name in frame["statistic"].unique() if name.startswith("atom_rate")]
    assert names == (["atom_rate:#1"] if personal else ["atom_rate:4242"])
    assert ("4242" in stream_words(f"drift/age/{names[0]}", 0.3, 0.1)) != personal
