"""Delays that a monitor's file leaves open: learnt, kept, and filled in without touching what is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from metrics_py.quality.delay_law import fit
from sightline.results.learnt_delays import (
    LearntDelays,
    delay_warnings,
    delay_words,
    learnt_from,
    publish_delays,
    with_learnt_delays,
)
from sightline.spec.windows import closes_at, matures_at

DAY = timedelta(days=1)
KNOWN = LearntDelays(expected_delay=3 * DAY, give_up_after=12 * DAY, silence=timedelta(hours=9), n_labels=5_000)


def law_of(n_windows: int, delays: list[int], n_per_delay: int = 40):
    first = datetime(2026, 1, 1)
    rows = [
        {
            "window_start": first + i * DAY,
            "label_class": "positive",
            "score_group": 0,
            "delay_bin": 12 + d,
            "n": n_per_delay,
        }
        for i in range(n_windows)
        for d in delays
        if d < n_windows - i
    ]
    ages = pl.DataFrame(
        {
            "window_start": [first + i * DAY for i in range(n_windows)],
            "age": [float(n_windows - i) for i in range(n_windows)],
        }
    )
    return fit(pl.DataFrame(rows).cast({"score_group": pl.Int32, "n": pl.Int64}), ages)


def test_due_is_when_four_fifths_are_in_and_given_up_when_nearly_all_are():
    # A fifth each after 4, 5, 6, 7 and 8 days: 80 % are in at age 8, all at age 9
    learnt = learnt_from(law_of(60, [4, 5, 6, 7, 8]), timedelta(hours=9), DAY)
    assert learnt is not None
    assert (learnt.expected_delay, learnt.give_up_after, learnt.silence) == (7 * DAY, 8 * DAY, timedelta(hours=9))
    assert learnt.n_labels == 40 * sum(60 - d for d in (4, 5, 6, 7, 8))


def test_nothing_is_given_up_while_the_last_labels_are_still_to_be_seen():
    law = law_of(30, list(range(4, 60)))
    assert law.hides_a_tail
    learnt = learnt_from(law, timedelta(0), DAY)
    assert learnt is not None and learnt.give_up_after is None


def test_a_handful_of_labels_teaches_nothing():
    assert learnt_from(law_of(8, [4], n_per_delay=2), timedelta(0), DAY) is None


def test_what_is_left_open_is_filled_in_and_what_is_given_stands(make_spec, home):
    paths = home.monitor("churn")
    spec = make_spec(labels={"column": "churned"})
    assert with_learnt_delays(spec, paths) is spec, "nothing is known yet"
    assert matures_at(spec, "2026-01-05") == closes_at(spec, "2026-01-05") + DAY
    publish_delays(paths, KNOWN)
    publish_delays(paths, None)
    open_ = with_learnt_delays(spec, paths)
    assert open_.labels is not None
    assert (open_.labels.expected_delay, open_.labels.give_up_after) == (3 * DAY, 12 * DAY)
    assert open_.deadlines["labels"] == 3 * DAY
    given = make_spec(labels={"column": "churned", "expected_delay": "2d", "give_up_after": "5d"})
    assert with_learnt_delays(given, paths).labels == given.labels
    assert with_learnt_delays(given, paths).deadlines == given.deadlines
    half = make_spec(labels={"column": "churned", "give_up_after": "2d"})
    told = with_learnt_delays(half, paths).labels
    assert told is not None and (told.expected_delay, told.give_up_after) == (2 * DAY, 2 * DAY), "never due after"


def test_a_deadline_of_labels_follows_how_long_a_silence_is_usual(make_spec, home):
    paths = home.monitor("churn")
    publish_delays(paths, LearntDelays(3 * DAY, None, 7 * DAY, 5_000))
    weekly_batches = with_learnt_delays(make_spec(labels={"column": "churned"}), paths)
    assert weekly_batches.deadlines["labels"] == 15 * DAY
    own = make_spec(labels={"column": "churned"}, freshness={"labels": "4d"})
    assert with_learnt_delays(own, paths).deadlines["labels"] == 4 * DAY


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (
            {},
            [
                "until that is learnt taken to be due 1d after the end of their window, and none is given up",
                "expected_delay and give_up_after will be learnt from 200 labels that were watched as they came",
            ],
        ),
        (
            {"give_up_after": "45d", "silence": "negative"},
            [
                "until that is learnt taken to be due 1d after the end of their window, and given up after 45d",
                "expected_delay will be learnt from 200 labels that were watched as they came",
                "silence is negative: without a label by 45d after the end of its window a prediction counts as "
                "negative, if reports were seen to come in until then; younger windows count the positives to "
                "come by those that "
                "came",
            ],
        ),
        (
            {"expected_delay": "6h", "give_up_after": "2d"},
            ["due 6h after the end of their window, given up after 2d"],
        ),
    ],
)
def test_words_before_anything_is_known(make_spec, home, labels, wanted):
    assert delay_words(make_spec(labels={"column": "churned", **labels}), home.monitor("churn")) == wanted
    assert delay_words(make_spec(labels=None), home.monitor("churn")) == []


def test_words_say_what_is_given_and_what_is_learnt_and_warn_where_they_disagree(make_spec, home):
    paths = home.monitor("churn")
    publish_delays(paths, KNOWN)
    spec = make_spec(labels={"column": "churned", "give_up_after": "5d"})
    assert delay_words(spec, paths) == [
        "80 % of every kind of row are in 3d after their window's end, 99 % 12d after it (learnt from 5,000 labels)",
        "taken to be due after 3d, given up after 5d (give_up_after given by the file)",
    ]
    (warning,) = delay_warnings(spec, paths)
    assert "give_up_after 5d is shorter than labels take: they come for 12d until 99 % are in" in warning
    assert delay_warnings(make_spec(labels={"column": "churned", "give_up_after": "12d"}), paths) == []


def test_words_of_labels_without_a_known_end_say_that_it_is_to_be_learnt(make_spec, home):
    paths = home.monitor("churn")
    publish_delays(paths, replace(KNOWN, give_up_after=None))
    told = delay_words(make_spec(labels={"column": "churned"}), paths)
    assert "how late the last ones come is not known yet" in told[0]
    assert (
        told[1] == "taken to be due after 3d, none is given up until that is learnt (nothing of it given by the file)"
    )


def test_a_law_of_nothing_teaches_nothing():
    law = fit(
        pl.DataFrame(
            schema={
                "window_start": pl.Datetime("us"),
                "label_class": pl.String,
                "score_group": pl.Int32,
                "delay_bin": pl.Int64,
                "n": pl.Int64,
            }
        ),
        pl.DataFrame(schema={"window_start": pl.Datetime("us"), "age": pl.Float64}),
    )
    assert learnt_from(law, timedelta(0), DAY) is None
    assert law.n_labels == 0


def test_a_deadline_knows_the_longest_silence_that_is_usual_beside_a_delay_that_is_given(make_spec, home):
    paths = home.monitor("churn")
    publish_delays(paths, LearntDelays(3 * DAY, None, 7 * DAY, 5_000))
    given = make_spec(labels={"column": "churned", "expected_delay": "2d"})
    assert given.deadlines["labels"] == 4 * DAY
    assert with_learnt_delays(given, paths).deadlines["labels"] == 15 * DAY, "batches a week apart are not late"
