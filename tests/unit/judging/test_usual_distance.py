"""What is usual for a window is no drift: days that share one weather, of a window, a file and a rolling reference."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.drift.methods import drift_method
from metrics_py.drift.pair import ColumnPair
from metrics_py.profile.build import build_profile, count
from sightline.judging import drift
from sightline.judging.usual_distance import MOST_WINDOWS
from tests.support.marts import day, key, one, put

DAYS = 30
"""Of the reference."""
ROWS = 400
REFERENCES = {
    "window": {"kind": "window", "start": "2026-01-01", "end": "2026-01-31"},
    "file": {"kind": "file", "path": "reference.parquet"},
    "rolling": {"kind": "rolling", "length": "30d"},
}


def weather(rng: np.random.Generator, days: int, rows: int = ROWS) -> np.ndarray:
    """Rows of a day share its level: one day is far from all days together, shape (days, rows)."""
    return rng.normal(0, 0.6, size=(days, 1)) + rng.normal(0, 0.6, size=(days, rows))


def fill(con, profile, days: np.ndarray, first: int = 0, segment: str = "all") -> None:
    rows = [
        {
            "window_key": key(first + i),
            "window_start": day(first + i),
            "model_version": "v1",
            "segment": segment,
            "column_name": "age",
            "bin_id": bin_id,
            "n": int(n),
        }
        for i, values in enumerate(days)
        for bin_id, n in enumerate(count(profile, values))
        if n
    ]
    con.register("rows", pl.DataFrame(rows))
    con.execute("insert into marts.column_bins by name from rows")


def monitor(make_spec, kind: str, **reference: str):
    return make_spec(
        reference={**REFERENCES[kind], **reference}, **({} if kind == "window" else {"start": "2026-01-01"})
    )


@pytest.fixture
def year():
    return weather(np.random.default_rng(31), DAYS + 60)


@pytest.fixture
def profile(year):
    return build_profile(year[:DAYS].ravel(), "numeric", column="age", bins=16, rows_per_window=ROWS)


@pytest.mark.parametrize("reference", list(REFERENCES))
def test_an_ordinary_day_is_no_drift_and_says_what_is_usual(make_spec, con, profile, year, reference):
    spec = monitor(make_spec, reference)
    fill(con, profile, year)
    judged = drift.judge(spec, con, [key(i) for i in range(DAYS, DAYS + 60)], {"age": profile}).judgements
    psi = judged.filter(metric="psi", segment="all")
    assert (psi["ci_low"] > 0.1).mean() > 0.75, "most of these days are far from the reference"
    assert (psi["status"] == "warn").mean() <= 0.1, "one more ordinary day lies beyond k of them once in k + 1"
    told = psi.filter(reason_code="usual")
    assert len(told) > 40
    for row in told.to_dicts():
        assert row["status"] == "ok"
        assert "no more than is usual for a day, " in row["reason"]
        assert row["ci_high"] < row["bound_high"], "the bound is what the interval was compared with"


def test_a_day_beyond_all_of_them_is_drift(make_spec, con, profile, year):
    spec = monitor(make_spec, "window")
    fill(con, profile, year[:DAYS])
    fill(con, profile, np.full((1, ROWS), 60.0), first=40)
    row = one(drift.judge(spec, con, [key(40)], {"age": profile}).judgements, "psi", 40, "age")
    assert row["status"] == "warn" and row["reason_code"] == "drift"
    assert row["ci_low"] > row["bound_high"] > 1
    assert "all of the interval lies above what is usual for a day, " in row["reason"]


def test_the_limits_are_the_distances_of_each_day_from_the_others(make_spec, con, profile, year):
    spec = monitor(make_spec, "window")
    fill(con, profile, year[: DAYS + 1])
    row = one(drift.judge(spec, con, [key(DAYS)], {"age": profile}).judgements, "psi", DAYS, "age")
    counts = np.array([count(profile, values) for values in year[:DAYS]])
    effects = [
        float(
            drift_method("psi")
            .from_counts(
                ColumnPair(profile, (counts.sum(axis=0) - own)[None], own[None], design_effect=profile.design_effect)
            )
            .effect[0]
        )
        for own in counts
    ]
    assert row["bound_high"] == pytest.approx(max(effects))


def test_a_window_of_the_reference_does_not_tell_what_is_usual_for_itself(make_spec, con, profile, year):
    spec = monitor(make_spec, "window")
    strange = year[:DAYS].copy()
    strange[7] = 60.0
    fill(con, profile, strange)
    judged = drift.judge(spec, con, [key(7), key(8)], {"age": profile}).judgements
    own, other = (one(judged, "psi", i, "age") for i in (7, 8))
    assert own["bound_high"] < own["ci_low"] and own["status"] == "warn"
    assert other["bound_high"] > own["bound_high"]


def test_too_few_windows_tell_nothing_and_leave_the_tolerance(make_spec, con, profile, year):
    spec = monitor(make_spec, "window", end="2026-01-08")
    fill(con, profile, year[:7])
    fill(con, profile, year[40:41], first=40)
    row = one(drift.judge(spec, con, [key(40)], {"age": profile}).judgements, "psi", 40, "age")
    assert row["bound_high"] == pytest.approx(0.1)
    assert "above the tolerance of 0.1" in row["reason"]


def test_days_alike_leave_the_tolerance(make_spec, con):
    rng = np.random.default_rng(32)
    days = rng.normal(size=(DAYS + 1, ROWS))
    days[-1] += 1
    profile = build_profile(days[:DAYS].ravel(), "numeric", column="age", bins=16, rows_per_window=ROWS)
    fill(con, profile, days)
    row = one(
        drift.judge(monitor(make_spec, "window"), con, [key(DAYS)], {"age": profile}).judgements,
        "psi",
        DAYS,
        "age",
    )
    assert row["status"] == "warn" and row["bound_high"] < 0.2


def test_a_segment_has_windows_of_its_own(make_spec, con, profile, year):
    spec = monitor(make_spec, "window")
    for segment, days in (("all", year), ("plan=a", year[:, :200] / 10)):
        fill(con, profile, days[: DAYS + 1], segment=segment)
    judged = drift.judge(spec, con, [key(DAYS)], {"age": profile}).judgements.filter(metric="psi")
    bounds = dict(judged.select("segment", "bound_high").iter_rows())
    assert set(bounds) == {"all", "plan=a"} and bounds["plan=a"] != bounds["all"]


def test_a_rolling_reference_tells_the_same_day_by_day_and_at_once(make_spec, con, profile, year):
    spec = monitor(make_spec, "rolling")
    fill(con, profile, year)
    keys = [key(i) for i in range(36, 90, 9)]
    at_once = drift.judge(spec, con, keys, {"age": profile}).judgements
    by_day = pl.concat([drift.judge(spec, con, [each], {"age": profile}).judgements for each in keys])
    bounds = [each.filter(metric="psi").sort("window_start")["bound_high"].to_list() for each in (at_once, by_day)]
    assert bounds[0] == pytest.approx(bounds[1]) and len(set(bounds[0])) > 1


def test_a_long_reference_is_told_by_its_newest_windows(make_spec, con, profile):
    rng = np.random.default_rng(33)
    spec = monitor(make_spec, "window", end="2026-05-01")
    days = weather(rng, 121)
    fill(con, profile, days)
    put(con, "column_bins", 2, column_name="age", bin_id=0, n=50_000)
    assert 120 - MOST_WINDOWS > 2
    row = one(drift.judge(spec, con, [key(120)], {"age": profile}).judgements, "psi", 120, "age")
    assert row["bound_high"] < 20, "the odd third day is too old to count as ordinary"
