"""The audit of estimates: realised minus estimated, and what is said of estimators that miss too often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sightline.judging.estimate_audit import audit
from sightline.judging.estimate_record import LATEST
from sightline.judging.frames import conform
from sightline.results.judgements import append_judgements, read_judgements
from sightline.spec import plan

FIRST = datetime(2026, 1, 5)
HALF = 0.02


def rows(metric: str, values: np.ndarray, *, half: float = HALF, first: int = 0, **columns: object) -> pl.DataFrame:
    """Judgements of one metric, a window each."""
    starts = [FIRST + timedelta(days=first + k) for k in range(len(values))]
    frame = pl.DataFrame({"window_start": starts, "value": values}).with_columns(
        model_version=pl.lit("all"),
        segment=pl.lit("all"),
        column=pl.lit(""),
        metric=pl.lit(metric),
        ci_low=pl.col("value") - half,
        ci_high=pl.col("value") + half,
        n=pl.lit(500),
        status=pl.lit("ok"),
    )
    return conform(frame.with_columns(pl.lit(value).alias(name) for name, value in columns.items()))


@pytest.fixture
def spec(make_spec):
    return make_spec(
        columns={"score": "p", "features": {"age": "numeric"}}, labels={"column": "y", "expected_delay": "2d"}
    )


def test_realised_minus_estimated_with_the_interval_of_the_estimate_and_a_stream(home, spec, publish):
    assert plan.audited_metric(spec) == "roc_auc"
    publish("estimated_quality", rows("estimated_roc_auc", np.array([0.8, 0.81, 0.79])))
    found = audit(spec, home.monitor(spec.id), rows("roc_auc", np.array([0.79, 0.75, 0.8])))
    told = found.judgements.sort("window_start")
    assert set(told["metric"]) == {"estimation_error_roc_auc"}
    assert told["value"].to_list() == pytest.approx([-0.01, -0.06, 0.01])
    assert told["ci_low"].to_list() == pytest.approx([-0.03, -0.08, -0.01])
    assert told["reason"][1] == "realised 0.75 by the labels, estimated 0.81 before"
    assert set(told["status"]) == {"ok"}
    assert found.evidence["value"].to_list() == pytest.approx([-0.01, -0.06, 0.01])
    assert found.evidence["variance"].to_list() == pytest.approx([(HALF / 1.959964) ** 2] * 3)
    assert set(found.evidence["statistic"]) == {"estimation_error_roc_auc"}


def test_an_interval_that_ends_where_the_metric_does_gives_no_more_evidence_and_no_more_misses(home, spec, publish):
    """0.97 (0.90, 1.00), cut at 1: a value of 0.905 lies inside, and the standard error is that of the longer side."""
    estimate = rows("estimated_roc_auc", np.array([0.97, 0.97])).with_columns(ci_low=pl.lit(0.9), ci_high=pl.lit(1.0))
    publish("estimated_quality", estimate)
    found = audit(spec, home.monitor(spec.id), rows("roc_auc", np.array([0.905, 1.0])))
    told = found.judgements.sort("window_start")
    assert told["ci_low"].to_list() == pytest.approx([-0.095, 0.0])
    assert told["ci_high"].to_list() == pytest.approx([0.005, 0.1])
    assert found.evidence["variance"].to_list() == pytest.approx([(0.07 / 1.959964) ** 2] * 2)


def test_windows_whose_labels_are_still_coming_or_without_an_estimate_are_not_audited(home, spec, publish):
    publish("estimated_quality", rows("estimated_roc_auc", np.array([0.8, 0.8, 0.8])))
    young = rows("roc_auc", np.array([0.7]), first=2, status="provisional")
    late = rows("roc_auc", np.array([0.7]), first=5)
    known = rows("roc_auc", np.array([0.8, 0.8]))
    found = audit(spec, home.monitor(spec.id), pl.concat([known, young, late]))
    assert found.judgements["window_start"].to_list() == [FIRST, FIRST + timedelta(days=1)]
    nothing = audit(spec, home.monitor(spec.id), young)
    assert nothing.judgements.is_empty() and nothing.evidence.is_empty()


@pytest.mark.parametrize("lost", ["estimate", "realised"])
def test_an_audit_is_withdrawn_when_its_estimate_or_its_realised_value_is_no_longer_told(home, spec, publish, lost):
    paths, values = home.monitor(spec.id), np.array([0.8, 0.8])
    publish("estimated_quality", rows("estimated_roc_auc", values))
    publish("model_quality", audit(spec, paths, rows("roc_auc", values)).judgements)
    assert len(read_judgements(paths, "estimation_error_roc_auc", asset="model_quality")) == 2
    realised = rows("roc_auc", values[:1], status="provisional" if lost == "realised" else "ok")
    if lost == "estimate":
        gone = rows("estimated_roc_auc", values[:1], status="insufficient_data", reason="12 rows, 100 needed")
        publish("estimated_quality", gone.with_columns(pl.lit(None).alias(c) for c in ("value", "ci_low", "ci_high")))
    found = audit(spec, paths, realised)
    assert found.judgements.is_empty() and found.evidence.is_empty()
    publish("model_quality", found.judgements, found.scope(spec, [spec.key(FIRST)]))
    told = read_judgements(paths, "estimation_error_roc_auc", asset="model_quality").sort("window_start")
    assert told["status"].to_list() == ["insufficient_data", "ok"]
    assert told["value"].to_list() == [None, 0.0] and told["revision"].to_list() == [1, 0]
    assert told["reason_code"].to_list() == ["withdrawn", "audited"]
    again = audit(spec, paths, rows("roc_auc", np.full(3, 0.8)))
    assert set(again.judgements["status"]) <= {"ok", "insufficient_data"}


@pytest.mark.parametrize("at_once", [True, False])
def test_estimates_that_miss_too_often_are_told_to_be_unvalidated(home, spec, publish, at_once):
    """After 30 windows of which 5 % miss, the concept changes; window by window or all at once says the same."""
    paths, n = home.monitor(spec.id), 50
    publish("estimated_quality", rows("estimated_roc_auc", np.full(n, 0.8)))
    values = np.full(n, 0.805)
    values[[7, 20]] = 0.75
    values[36:] = 0.7
    if at_once:
        told = audit(spec, paths, rows("roc_auc", values)).judgements
    else:
        parts = []
        for k in range(n):
            part = audit(spec, paths, rows("roc_auc", values[k : k + 1], first=k)).judgements
            publish("model_quality", part)
            parts.append(part)
        told = pl.concat(parts)
    told = told.sort("window_start")
    assert set(told["status"][:39]) == {"ok"}, "two of 30 by chance, and the first few that miss"
    warned = told["status"].to_list().index("warn")
    assert 38 <= warned <= 41 and set(told["status"][warned:]) == {"warn"}
    assert told["reason_code"][warned] == "unvalidated"
    last = told["reason"][-1]
    assert last.startswith(f"the estimates are not validated: 15 of the last {LATEST} realised values lie outside")


def test_a_few_windows_condemn_no_estimator(home, spec, publish):
    publish("estimated_quality", rows("estimated_roc_auc", np.full(5, 0.8)))
    assert set(audit(spec, home.monitor(spec.id), rows("roc_auc", np.full(5, 0.7))).judgements["status"]) == {"ok"}


def test_a_regression_is_audited_by_its_mean_absolute_error(home, make_spec):
    spec = make_spec(
        model={"id": "price", "task": "regression"},
        columns={"prediction": "p"},
        labels={"column": "y", "expected_delay": "2d"},
    )
    paths = home.monitor(spec.id)
    window_end = pl.col("window_start") + pl.lit(spec.window, dtype=pl.Duration("us"))
    told = rows("estimated_mae", np.full(40, 3.0), half=0.3)
    told = told.with_columns(monitor=pl.lit(spec.id), window_end=window_end)
    append_judgements(paths, "estimated_quality", told, "run", datetime(2026, 6, 1, tzinfo=UTC))
    found = audit(spec, paths, rows("mae", np.repeat([3.1, 4.0], 20)))
    judged = found.judgements.sort("window_start")
    assert set(judged["metric"]) == {"estimation_error_mae"} == set(found.evidence["statistic"])
    assert judged["value"].to_list() == pytest.approx([0.1] * 20 + [1.0] * 20)
    assert judged["status"][0] == "ok" and judged["status"][-1] == "warn"
    assert judged["reason"][-1].startswith("the estimates are not validated: 20 of the last 30 realised values")


def test_tasks_without_estimates_have_no_audit(home, make_spec):
    spec = make_spec(
        model={"id": "find", "task": "ranking"},
        columns={"prediction": "p", "query_id": "q"},
        labels={"column": "y", "expected_delay": "2d"},
    )
    assert plan.audited_metric(spec) is None and plan.estimated_metrics(spec) == []
    assert audit(spec, home.monitor(spec.id), rows("mae", np.array([1.0]))).judgements.is_empty()
