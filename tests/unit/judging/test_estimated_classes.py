"""Estimates of several classes from the marts: windows, segments, the reference of a file, and what is planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.estimation.multiclass import ASSUMED, ESTIMATED
from sightline.judging import estimated_quality, estimators
from sightline.judging.frames import Work
from sightline.spec import plan
from sightline.spec.flows import MOST_CLASSES, is_estimated
from tests.support.class_scores import NAMES, class_label_bins, class_score_bins, draw_classes

FIRST = datetime(2026, 1, 5)
DAYS, PER_DAY = 50, 800
LABELS = {"column": "y", "expected_delay": "2d", "give_up_after": "10d"}
WINDOW = {"kind": "window", "start": FIRST.isoformat() + "Z", "end": (FIRST + timedelta(days=30)).isoformat() + "Z"}
COLUMNS = {"class_scores": {name: f"p_{name}" for name in NAMES}, "features": {"age": "numeric"}}
TASK = {"id": "animal", "task": "multiclass_classification"}
VALUES = {p: {a: 2.0 if a == p else -1.0 for a in NAMES} for p in NAMES}


@pytest.fixture(scope="module")
def days() -> list[tuple[np.ndarray, np.ndarray]]:
    """Days that differ as a whole."""
    return [draw_classes(np.random.default_rng([78, k]), PER_DAY, effect=0.4) for k in range(DAYS)]


@pytest.fixture
def judged(con, home, make_spec, days):
    for k, (scores, classes) in enumerate(days):
        start = FIRST + timedelta(days=k)
        keys = {"window_key": f"{start:%Y-%m-%d}", "model_version": "unversioned", "segment": "all"}
        keys = {**keys, "window_start": start}
        for mart, frame in (
            ("class_score_bins", class_score_bins(scores, **keys)),
            ("class_label_bins", class_label_bins(scores, classes, **keys)),
        ):
            con.execute(f"insert into marts.{mart} by name select * from frame")
            assert len(frame)

    def judge(numbers: range, metrics: str = ".*", **more: object) -> pl.DataFrame:
        spec = make_spec(model=TASK, columns=COLUMNS, labels=LABELS, reference=WINDOW, **more)
        keys = [f"{FIRST + timedelta(days=k):%Y-%m-%d}" for k in numbers]
        work = Work(spec, home.monitor(spec.id), con, keys, {}, datetime(2026, 6, 1, tzinfo=UTC))
        found = estimated_quality.judge(work)
        assert found.evidence.is_empty(), "estimates call nobody"
        return found.judgements.filter(pl.col("metric").str.contains(metrics)).sort("window_start", "metric")

    return judge


def test_every_metric_is_estimated_with_intervals_that_know_of_the_days(judged, days):
    told = judged(range(30, DAYS))
    assert set(told["metric"]) == {f"estimated_{name}" for name in ESTIMATED}
    assert set(told["status"]) <= {"ok", "warn"} and set(told["n"]) == {PER_DAY}
    assert set(told["reason"].str.split("; ").list.last()) == {ASSUMED}
    accuracy = told.filter(metric="estimated_accuracy")
    final = pl.Series([(s.argmax(axis=1) == y).mean() for s, y in days[30:]])
    assert final.is_between(accuracy["ci_low"], accuracy["ci_high"]).sum() >= 16
    half = (accuracy["ci_high"] - accuracy["ci_low"]) / 2
    assert half.min() > 1.15 * 1.96 * np.sqrt(0.16 / PER_DAY), "more than independent rows would say"


def test_the_business_value_needs_a_matrix_of_all_classes(judged, days, make_spec):
    told = judged(range(30, 40), "business", value_matrix=VALUES)
    final = np.mean([np.where(s.argmax(axis=1) == y, 2.0, -1.0).mean() for s, y in days[30:40]])
    assert len(told) == 10 and told["value"].mean() == pytest.approx(final, abs=0.1)
    assert judged(range(30, 31), "business").is_empty()
    two = {p: dict.fromkeys(NAMES[:2], 1.0) for p in NAMES[:2]}
    assert judged(range(30, 31), "business", value_matrix=two).is_empty()
    spec = make_spec(model=TASK, columns=COLUMNS, labels=LABELS, reference=WINDOW, value_matrix=two)
    assert "business_value" not in plan.estimated_metrics(spec)


def test_a_monitor_of_several_classes_has_checks_an_audit_and_the_marts(make_spec):
    spec = make_spec(model=TASK, columns=COLUMNS, labels=LABELS, value_matrix=VALUES)
    assert is_estimated(spec) and estimators.marts_of(spec) == ("class_score_bins", "class_label_bins")
    assert {"accuracy", "f1_macro", "roc_auc_macro", "log_loss", "business_value"} <= set(plan.estimated_metrics(spec))
    assert plan.audited_metric(spec) == "roc_auc_macro"
    assert plan.assumption(spec) in ASSUMED
    names = {check.name for check in plan.checks(spec)}
    assert {"estimate__roc_auc_macro", "quality__estimation_error_roc_auc_macro"} <= names


@pytest.mark.parametrize(
    "columns", [{"prediction": "p"}, {"class_scores": {str(k): f"p{k}" for k in range(MOST_CLASSES + 1)}}]
)
def test_nothing_is_estimated_of_decisions_alone_or_of_very_many_classes(make_spec, columns):
    spec = make_spec(model=TASK, columns={**columns, "features": {"age": "numeric"}}, labels=LABELS)
    assert not is_estimated(spec) and plan.estimated_metrics(spec) == [] and plan.audited_metric(spec) is None
