"""Estimated errors of a regression from the marts: the reference's windows teach, and its file does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.estimation.dle import ASSUMED
from sightline.judging import estimated_quality, estimators
from sightline.judging.frames import Work
from sightline.spec import plan
from sightline.warehouse import reference as frozen
from tests.support.errors import draw_errors, error_bins, prediction_bins, profile_of

FIRST = datetime(2026, 1, 5)
DAYS, PER_DAY, EFFECT = 50, 600, 0.15
MODEL = {"id": "price", "task": "regression"}
LABELS = {"column": "y", "expected_delay": "2d", "give_up_after": "10d"}
WINDOW = {"kind": "window", "start": FIRST.isoformat() + "Z", "end": (FIRST + timedelta(days=30)).isoformat() + "Z"}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def days() -> list[tuple[np.ndarray, np.ndarray]]:
    """Days whose errors are larger or smaller as a whole."""
    return [draw_errors(np.random.default_rng([91, k]), PER_DAY, effect=EFFECT) for k in range(DAYS)]


@pytest.fixture(scope="module")
def profile(days):
    return profile_of(np.concatenate([predictions for predictions, _ in days[:30]]))


@pytest.fixture
def marts(con, days, profile):
    for k, (predictions, labels) in enumerate(days):
        start = FIRST + timedelta(days=k)
        keys = {"window_key": f"{start:%Y-%m-%d}", "model_version": "unversioned", "segment": "all"}
        counted = prediction_bins(profile, predictions, **keys)
        for mart, frame in (
            ("prediction_bins", counted),
            ("error_bins", error_bins(profile, predictions, labels, **keys)),
        ):
            rows = frame.with_columns(window_start=pl.lit(start))  # noqa: F841 (DuckDB reads it by its name)
            con.execute(f"insert into marts.{mart} by name select * from rows")
    return con


def judge(spec, home, con, profile, numbers: range, now: datetime = NOW) -> pl.DataFrame:
    keys = [f"{FIRST + timedelta(days=k):%Y-%m-%d}" for k in numbers]
    work = Work(spec, home.monitor(spec.id), con, keys, {"@prediction": profile}, now)
    found = estimated_quality.judge(work)
    assert found.evidence.is_empty(), "estimates call nobody"
    return found.judgements.sort("metric", "window_start")


@pytest.fixture
def spec(make_spec):
    return make_spec(model=MODEL, columns={"prediction": "p"}, labels=LABELS, reference=WINDOW)


def test_the_interval_knows_how_much_single_days_differ(spec, home, marts, profile, days):
    told = judge(spec, home, marts, profile, range(30, DAYS))
    assert set(told["metric"]) == {"estimated_mae", "estimated_rmse"} and set(told["status"]) <= {"ok", "warn"}
    assert set(told["n"]) == {PER_DAY}
    assert told.filter(status="ok")["reason"].unique().to_list() == [ASSUMED]
    mae = told.filter(metric="estimated_mae")
    final = pl.Series([np.abs(p - y).mean() for p, y in days[30:]])
    assert final.is_between(mae["ci_low"], mae["ci_high"]).sum() >= 18
    alone = 1.96 * np.sqrt(0.45 / PER_DAY)
    assert ((mae["ci_high"] - mae["ci_low"]) / 2).min() > 2 * alone, "far more than independent errors would say"


def test_before_the_labels_of_the_reference_are_due_nothing_is_known(spec, home, marts, profile):
    told = judge(spec, home, marts, profile, range(2), FIRST.replace(tzinfo=UTC) + timedelta(days=2))
    assert set(told["reason"]) == {estimators.RegressionEstimator.not_known}
    assert set(told["reason_code"]) == {"no_labels"} and told["value"].null_count() == len(told) == 4


@pytest.mark.parametrize("release", ["this one", "an earlier one"])
def test_a_file_teaches_unless_it_was_frozen_before_errors_were_counted(make_spec, home, marts, profile, days, release):
    spec = make_spec(
        model=MODEL,
        columns={"prediction": "p"},
        labels=LABELS,
        reference={"kind": "file", "path": "r.parquet"},
        start=FIRST.isoformat() + "Z",
    )
    predictions, labels = (np.concatenate([day[i] for day in days[:30]]) for i in (0, 1))
    bins = error_bins(profile, predictions, labels, segment="all")
    quality = {"error_bins": bins} if release == "this one" else {"quality_sums": bins}
    paths = home.monitor(spec.id)
    known = frozen.ReferenceProfile(
        id="",
        kind="file",
        source="file r.parquet",
        start=None,
        end=None,
        n_rows=len(labels),
        n_windows=0,
        n_rejected=0,
        created_at=NOW,
        columns={"@prediction": profile},
        segments=pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String}),
        quality=quality,
    )
    frozen._write(paths, replace(known, id=frozen._content_id(known.columns, known.segments)))
    told = judge(spec, home, marts, profile, range(2))
    if release == "this one":
        assert set(told["status"]) == {"ok"}
        assert set(told["reason"]) == {f"{ASSUMED}; {estimated_quality.ALIKE}"}
    else:
        assert set(told["reason"]) == {estimated_quality.FROZEN_BEFORE} and told["value"].null_count() == 4


def test_the_checks_name_what_is_assumed(spec):
    assert plan.estimated_metrics(spec) == ["mae", "rmse"] and plan.audited_metric(spec) == "mae"
    checks = {check.name: check.description for check in plan.checks(spec)}
    words = "Estimated mae, before labels; assumes errors at each predicted value as large as in the reference."
    assert checks["estimate__mae"] == words
    assert "estimate__r2" not in checks and "quality__estimation_error_mae" in checks
    assert estimators.marts_of(spec) == ("prediction_bins", "error_bins")
