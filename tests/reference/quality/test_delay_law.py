"""The law of label delays: right truncation, cells, hidden tails, histories that were loaded at once."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.quality.completed import weigh
from metrics_py.quality.delay_law import delay_start, fit, nearest_cells

FIRST = datetime(2026, 1, 1)


def bins(delay: np.ndarray) -> np.ndarray:
    return np.where(delay < 4, 4 * delay, 12 + delay).astype(np.int32)


def seen(delays: np.ndarray, classes: np.ndarray, groups: np.ndarray, now: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Arrivals until `now` of windows 0, 1, ...; all arrays of shape (windows, rows)."""
    n = len(delays)
    window = np.repeat(np.arange(n), delays.shape[1])
    rows = pl.DataFrame(
        {
            "window_start": pl.Series([FIRST + timedelta(days=k) for k in range(n)], dtype=pl.Datetime("us"))[window],
            "label_class": classes.ravel(),
            "score_group": groups.ravel().astype(np.int32),
            "delay_bin": bins(delays.ravel()),
        }
    ).filter(pl.Series(window + delays.ravel() <= now))
    ages = pl.DataFrame(
        {"window_start": [FIRST + timedelta(days=k) for k in range(n)], "age": [now - k for k in range(n)]},
        schema_overrides={"window_start": pl.Datetime("us"), "age": pl.Float64},
    )
    return rows.group_by(pl.all()).agg(n=pl.len()), ages


@pytest.fixture(scope="module")
def two_speeds():
    """Class a takes 3 windows on average, class b 10."""
    rng = np.random.default_rng(51)
    shape = (100, 300)
    classes = np.where(rng.random(shape) < 0.5, "a", "b")
    delays = rng.exponential(np.where(classes == "a", 3.0, 10.0))
    return seen(delays, classes, rng.integers(0, 4, shape), 100.0)


def test_the_share_that_has_come_is_free_of_what_has_not(two_speeds):
    law = fit(*two_speeds)
    mean = {"a": 3.0, "b": 10.0}
    for age in (1.0, 4.0, 10.0, 25.0):
        share, log_variance = law.completion(age)
        for row in law.cells.to_dicts():
            true = 1 - np.exp(-age / mean[row["label_class"]])
            error = np.sqrt(log_variance[row["cell"]])
            assert abs(np.log(share[row["cell"]] / true)) < 4 * error + 0.01
    assert law.mass.sum() == pytest.approx(1) and law.overdispersion < 1.3
    assert law.slowest(10.0) == law.completion(10.0)[0].min()


def test_late_windows_alone_would_have_been_believed(two_speeds):
    """The naive share, of all that has come, is far too high: young windows have no late labels yet."""
    arrivals, ages = two_speeds
    known = arrivals.filter(label_class="b")
    naive = known.filter(pl.col("delay_bin") < 22)["n"].sum() / known["n"].sum()
    law = fit(arrivals, ages)
    cells = law.cells.filter(label_class="b")["cell"].unique().to_numpy()
    assert naive > 1 - np.exp(-1) + 0.03
    assert law.completion(10.0)[0][cells].mean() == pytest.approx(1 - np.exp(-1), abs=0.02)


def test_a_tail_that_nobody_has_seen_is_hidden_until_labels_are_given_up():
    rng = np.random.default_rng(52)
    delays = rng.uniform(0, 60, (30, 400))
    arrivals, ages = seen(delays, np.full(delays.shape, "a"), np.zeros(delays.shape), 30.0)
    assert fit(arrivals, ages).hides_a_tail
    assert not fit(arrivals, ages, longest=20.0).hides_a_tail


def test_a_rare_class_decides_however_many_cells_it_is_cut_into():
    """Negatives are known at once; of positives, one in twenty, those of ten windows ago are not all in."""
    rng = np.random.default_rng(54)
    shape = (90, 1000)
    classes = np.where(rng.random(shape) < 0.05, "positive", "negative")
    delays = np.where(classes == "positive", rng.exponential(6.0, shape), rng.random(shape))
    law = fit(*seen(delays, classes, rng.integers(0, 32, shape), 90.0))
    cells = law.cells.filter(label_class="positive")["cell"].unique().to_numpy()
    assert len(cells) == 10 and (law.mass[cells] < 0.01).all(), "each holds less than one label in a hundred"
    assert law.decides.all() and not law.hides_a_tail
    assert law.slowest(10.0) < 1 - np.exp(-10 / 6) + 0.02 and law.slowest(60.0) > 0.99


def test_a_handful_of_labels_of_a_class_decides_nothing():
    rng = np.random.default_rng(55)
    shape = (60, 500)
    classes, delays = np.full(shape, "a", dtype=object), rng.random(shape)
    classes[5, :15], delays[5, :15] = "slip", 40.0
    law = fit(*seen(delays, classes, np.zeros(shape), 60.0))
    assert law.slowest(2.0) == 1.0 and not law.hides_a_tail


def test_a_thin_tail_is_no_hidden_one_and_a_thick_one_is():
    """After 60 windows 0.25 % of exponential delays of mean 10 are still to come, 5 % of those of mean 20."""
    rng = np.random.default_rng(56)
    for mean, hides in ((10.0, False), (20.0, True)):
        delays = rng.exponential(mean, (60, 300))
        law = fit(*seen(delays, np.full(delays.shape, "a"), rng.integers(0, 32, delays.shape), 60.0))
        assert law.hides_a_tail is hides


def test_a_history_that_was_loaded_at_once_teaches_nothing():
    rng = np.random.default_rng(53)
    live = rng.exponential(1.0, (60, 200))
    loaded = np.concatenate([np.repeat(40.0 - np.arange(40), 200).reshape(40, 200), live[40:]])
    arrivals, ages = seen(loaded, np.full(loaded.shape, "a"), np.zeros(loaded.shape), 60.0)
    law = fit(arrivals, ages)
    assert law.known_to <= 21
    assert law.completion(2.0)[0].min() == pytest.approx(1 - np.exp(-2), abs=0.03)


@pytest.mark.parametrize("minute", [0.02, 0.25, 0.55, 0.98])
def test_a_history_loaded_just_now_leaves_no_window_that_was_watched_at_whatever_minute_it_came(minute):
    now = 60 + minute
    delays = np.repeat(now - np.arange(60), 50).reshape(60, 50)
    law = fit(*seen(delays, np.full(delays.shape, "a"), np.zeros(delays.shape), now))
    assert law.n_cells == 0


def test_without_any_label_there_is_no_cell():
    none = pl.DataFrame(
        schema={"window_start": pl.Datetime("us"), "label_class": pl.String, "score_group": pl.Int32}
        | {"delay_bin": pl.Int32, "n": pl.UInt32}
    )
    ages = pl.DataFrame({"window_start": [FIRST], "age": [3.0]}, schema_overrides={"window_start": pl.Datetime("us")})
    law = fit(none, ages)
    assert law.n_cells == 0 and law.slowest(1.0) == 1.0 and not law.hides_a_tail


def test_bins_begin_where_the_one_before_ends():
    edges = delay_start(np.arange(40))
    delay = np.linspace(0, 17, 500)
    assert (np.diff(edges) > 0).all()
    assert (edges[bins(delay)] <= delay).all() and (delay < edges[bins(delay) + 1]).all()


def test_an_unknown_score_takes_the_nearest_cell_and_an_unknown_class_the_slowest_share(two_speeds):
    law = fit(*two_speeds)
    wanted = pl.DataFrame(
        {"label_class": ["a", "new"], "score_group": [31, 0]}, schema_overrides={"score_group": pl.Int32}
    )
    found = dict(nearest_cells(law, wanted).select("label_class", "cell").iter_rows())
    assert found == {"a": law.cells.filter(label_class="a", score_group=3)["cell"][0], "new": None}
    rows = wanted.with_columns(window_start=pl.lit(FIRST, pl.Datetime("us")), n=pl.lit(10), kind=pl.lit("cells"))
    ages = pl.DataFrame({"window_start": [FIRST], "age": [5.0]}, schema_overrides={"window_start": pl.Datetime("us")})
    weighed = weigh(rows, law, ages, ["window_start"])
    assert weighed["weight"].sum() == pytest.approx(2), "so many labels as there are"
    assert weighed.filter(label_class="new")["share"][0] <= weighed.filter(label_class="a")["share"][0]


def test_a_class_that_came_up_later_hides_its_tail_from_its_own_windows_alone():
    """After 40 windows a quarter of its labels is still to come: the other 80 windows show nothing of that."""
    rng = np.random.default_rng(57)
    shape = (120, 400)
    classes = np.where(rng.random(shape) < 0.1, "new", "a").astype(object)
    classes[:80] = "a"
    classes[3, :15] = "new"  # slips of the pen are no beginning
    delays = np.where(classes == "new", rng.exponential(30.0, shape), rng.random(shape))
    delays[3, :15] = 1.0
    law = fit(*seen(delays, classes, np.zeros(shape), 120.0))
    assert law.slowest(40.0) == pytest.approx(1, abs=0.02), "what comes later has not been seen"
    assert law.hidden_up_to == pytest.approx(40, abs=1) and law.hidden_class == "new"
    assert law.hides(1.0) and law.hides(39.0) and not law.hides(42.0)
    assert not fit(*seen(delays, classes, np.zeros(shape), 120.0), longest=20.0).hides_a_tail
    quick = np.where(classes == "new", rng.exponential(3.0, shape), rng.random(shape))
    assert not fit(*seen(quick, classes, np.zeros(shape), 120.0)).hides_a_tail
