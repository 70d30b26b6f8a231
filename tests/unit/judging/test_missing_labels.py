"""Which windows have fewer labels than is usual for their age."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.quality.delay_law import DelayLaw, fit
from sightline.judging.missing_labels import label_shares

START = datetime(2026, 1, 5)
WINDOWS, PER_WINDOW, GIVE_UP = 60, 400, 31.0


def law() -> DelayLaw:
    """A quarter of the labels comes in each of the first four windows."""
    windows = [START + timedelta(days=day) for day in range(WINDOWS)]
    arrivals = [(w, "yes", 0, 4 * d + 3, 100) for k, w in enumerate(windows) for d in range(4) if WINDOWS - k > d]
    names = ["window_start", "label_class", "score_group", "delay_bin", "n"]
    schema = {"window_start": pl.Datetime("us"), "label_class": pl.String, "score_group": pl.Int32}
    frame = pl.DataFrame(arrivals, schema=names, orient="row", schema_overrides=schema)
    ages = pl.DataFrame({"window_start": windows, "age": [float(WINDOWS - k) for k in range(WINDOWS)]})
    return fit(frame, ages)


def counts(labelled: np.ndarray) -> pl.DataFrame:
    n = len(labelled)
    return pl.DataFrame(
        {
            "window_start": [START + timedelta(days=day) for day in range(n)],
            "age": [float(n - day) for day in range(n)],
            "n_predictions": [PER_WINDOW] * n,
            "n_labelled": labelled.astype(int),
        }
    )


def usual(rate: float = 1.0) -> np.ndarray:
    ages = WINDOWS - np.arange(WINDOWS)
    return PER_WINDOW * rate * np.minimum(ages / 4, 1.0)


def days(found: pl.DataFrame) -> list[int]:
    lacking = label_shares(found, law(), GIVE_UP).lacking()
    return [(start - START).days for start in lacking]


@pytest.mark.parametrize("rate", [1.0, 0.9, 0.3, 0.0])
def test_what_is_usual_lacks_nothing(rate: float) -> None:
    rng = np.random.default_rng(1)
    assert days(counts(usual(rate))) == []
    assert days(counts(rng.binomial(PER_WINDOW, usual(rate) / PER_WINDOW))) == []


def test_windows_that_should_be_complete_and_young_ones_are_compared_with_what_is_usual_at_their_age() -> None:
    labelled = usual()
    labelled[[40, 50, 58]] *= [0.7, 0.8, 0.2]
    assert days(counts(labelled)) == [40, 50, 58]
    expected = label_shares(counts(labelled), law(), GIVE_UP).windows["expected"].to_list()
    assert expected[-4:] == pytest.approx([1.0, 0.75, 0.5, 0.25], abs=0.01)


def test_labels_that_are_waited_for_no_longer_are_not_missed() -> None:
    labelled = usual()
    labelled[[10, 35]] *= 0.5
    assert days(counts(labelled)) == [35]


def test_a_share_that_goes_up_and_down_is_usual() -> None:
    rng = np.random.default_rng(2)
    assert days(counts(usual() * rng.choice([0.5, 0.7, 0.9], WINDOWS))) == []


def test_nothing_is_usual_before_there_are_enough_complete_windows() -> None:
    labelled = usual()[-12:]
    labelled[3] *= 0.5
    assert days(counts(labelled)) == []


def test_without_a_law_the_older_half_tells_what_is_usual() -> None:
    """A history that was loaded at once: how late its labels came is not known, but that the newest lack some is."""
    found = label_shares(counts(usual()), None, GIVE_UP)
    assert found.lacking() == found.windows["window_start"].to_list()[-3:]
    complete = np.full(len(usual()), usual()[0])
    assert label_shares(counts(complete), None, GIVE_UP).lacking() == []
    assert label_shares(counts(usual()[-9:]), None, GIVE_UP).lacking() == [], "fewer than ten in the older half"
