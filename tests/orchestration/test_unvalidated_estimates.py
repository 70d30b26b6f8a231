"""Estimates whose audit fails: the labels of a history say that the concept has changed, and later that it had not."""

from __future__ import annotations

import polars as pl

from orchestration.backfill import materialize_range
from sightline.judging.estimate_record import BEGINS
from sightline.results.judgements import read_judgements
from tests.orchestration.test_backfill import evaluation, instance, states
from tests.support.workshop import DAYS, Workshop, churn_rows, land

__all__ = ["instance"]
CHANGED = 18
"""From this day on the labels are the wrong way round."""


def estimates(workshop: Workshop, **wanted: object) -> pl.DataFrame:
    found = read_judgements(workshop.home.monitor("churn"), asset="estimated_quality", **wanted)
    return found.filter(pl.col("status") != "insufficient_data")


def test_every_estimate_after_a_failed_audit_says_so_and_none_once_the_labels_are_corrected(workshop, instance):
    spec = workshop.churn
    before = estimates(workshop)
    assert "unvalidated" not in set(before["reason_code"]), "a good history"
    labels = churn_rows(spec.first_window)[1].filter(pl.col("day").is_between(CHANGED, DAYS - 3))
    land(workshop.home, "churn", "labels", "wrong", labels.with_columns(churned=1 - pl.col("churned")).drop("day"))
    materialize_range(workshop.home, spec, workshop.day(CHANGED), workshop.day(DAYS - 3), flows=["delayed"])

    audited = read_judgements(workshop.home.monitor("churn"), "estimation_error_roc_auc", segment="all")
    audited = audited.filter(pl.col("status") == "warn", model_version="all").sort("window_start")
    failed = audited["window_start"][0]
    found = estimates(workshop)
    later, earlier = (
        found.filter(is_later) for is_later in (pl.col("window_start") > failed, pl.col("window_start") <= failed)
    )
    assert set(later["reason_code"]) == {"unvalidated"} and set(later["status"]) == {"warn"}
    assert set(later["window_start"].dt.strftime("%Y-%m-%d")) >= {workshop.day(DAYS - 2), workshop.day(DAYS - 1)}
    assert later["reason"].str.starts_with(f"{BEGINS}the estimated roc auc held in ").all()
    assert later["reason"].str.contains("assumes P\\(y \\| score\\) as in the reference").all()
    assert later["segment"].n_unique() == 4 and later["metric"].n_unique() >= 8
    assert "unvalidated" not in set(earlier["reason_code"])
    assert found["value"].to_list() == before["value"].to_list()
    told = later.filter(metric="estimated_roc_auc", segment="all", model_version="all").sort("window_start")
    n_late = DAYS - 2 - CHANGED
    assert f"held in {30 - n_late} of the last 30 windows that labels tell of" in told["reason"][-1]

    # the daily path, for a window of its own, and its check
    materialize_range(workshop.home, spec, workshop.day(DAYS - 1), workshop.day(DAYS - 1), flows=["immediate"])
    assert estimates(workshop).equals(found)
    text = evaluation(instance, spec, "estimated_quality", "estimate__roc_auc", workshop.day(DAYS - 1)).description
    assert text is not None and text.startswith(
        f"Not validated: the estimated roc auc held in {30 - n_late} of the last"
    )
    assert states(instance, spec, "estimated_quality", "estimate__roc_auc")[workshop.day(DAYS - 1)] == "SUCCEEDED"

    land(workshop.home, "churn", "labels", "corrected", labels.drop("day"))
    materialize_range(workshop.home, spec, workshop.day(CHANGED), workshop.day(DAYS - 3), flows=["delayed"])
    content = [name for name in before.columns if name not in ("revision", "computed_at", "run_id")]
    key = ["window_start", "model_version", "segment", "metric"]
    assert estimates(workshop).select(content).sort(key).equals(before.select(content).sort(key))
