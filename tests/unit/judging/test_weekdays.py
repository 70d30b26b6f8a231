"""Drift of a datetime column: a day is compared with the same weekdays of the reference, an hour with nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.profile.build import build_profile, count
from sightline.judging import drift
from sightline.judging.weekdays import lacks_weekdays, same_weekdays
from tests.support.marts import key, one, put

MONDAY = datetime(2026, 1, 5)


def times(rng, days, rows, first_hour=8):
    """Office hours, on the days given (counted from a Monday), each with its number of rows."""
    day = np.repeat(days, rows)
    hour = first_hour + np.minimum(rng.binomial(10, 0.4, len(day)), 10)
    return pl.Series("age", [MONDAY + timedelta(days=int(d), hours=int(h)) for d, h in zip(day, hour, strict=True)])


@pytest.fixture
def profile():
    return build_profile(times(np.random.default_rng(1), np.arange(56), 100), "datetime", column="age")


def judged(make_spec, con, profile, samples, **extra):
    spec = make_spec(columns={"score": "p", "features": {"age": "datetime"}}, **extra)
    for window, values in samples.items():
        for bin_id, n in enumerate(count(profile, values)):
            if n:
                put(con, "column_bins", window, column_name="age", bin_id=bin_id, n=int(n))
    return drift.judge(spec, con, [key(w) for w in samples], {"age": profile}).judgements


def test_a_day_is_compared_with_the_same_weekdays(make_spec, con, profile):
    rng = np.random.default_rng(2)
    samples = {
        20: times(rng, [3], 800),
        21: times(rng, [3, 4], [900, 60]),  # a few rows of the next day
        22: times(rng, [3], 800, first_hour=12),
        23: times(rng, np.arange(7), 200),
        24: times(rng, np.arange(7), [600, 600, 50, 50, 50, 50, 50]),  # all weekdays: then their shares count too
    }
    found = judged(make_spec, con, profile, samples)
    assert [one(found, "psi", w, "age")["status"] for w in samples] == ["ok", "ok", "warn", "ok", "warn"]


def test_an_hour_is_not_compared_and_the_reason_says_so(make_spec, con, profile):
    found = judged(make_spec, con, profile, {20: times(np.random.default_rng(3), [3], 800)}, schedule="hourly")
    row = one(found, "psi", 20, "age")
    assert (row["status"], row["reason"]) == ("insufficient_data", drift.WITHIN_A_DAY)


def test_no_row_of_the_reference_counts_twice(profile):
    reference = profile.n_reference[None]
    now = count(profile, times(np.random.default_rng(4), [0, 1], [300, 100]))[None]
    matched = same_weekdays(profile, reference, now)
    assert lacks_weekdays(profile, reference, now).all() and (matched <= reference).all()
    monday = [i for i, label in enumerate(profile.label) if label.startswith("Mon")]
    assert matched[0, monday].sum() == pytest.approx(0.75 * matched.sum(), rel=0.01)
    assert matched.sum() == pytest.approx(reference[0, monday].sum() / 0.75, rel=0.01)
    empty = np.zeros_like(now)
    assert (same_weekdays(profile, reference, empty) == reference).all()
