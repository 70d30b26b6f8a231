"""Texts, vectors and columns together of 60 rows a day: judged over seven days together."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.judging.frames import Judged
from sightline.judging.longer_windows import volume_warnings
from sightline.lake.store.progress import open_progress
from sightline.results.words import read_words
from sightline.spec.multivariate import JOINT
from tests.support.small_days import COLUMNS, DAYS, FIRST, NOW, ROWS, WINDOW, World, key


def of(judged: Judged, column: str, metric: str, k: int) -> dict:
    start = (FIRST + timedelta(days=k)).replace(tzinfo=None)
    found = judged.judgements.filter(column=column, metric=metric, window_start=start)
    assert len(found) == 1, found
    return found.row(0, named=True)


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(pl.col("window_start", "column", frame.columns[2], frame.columns[4]))


@pytest.fixture
def world(home, make_spec):
    return World(home, make_spec)


ALL = [key(k) for k in range(DAYS)]


def test_each_week_is_one_piece_of_evidence(world):
    [found] = world.judge(ALL)
    evidence = found.evidence
    assert set(evidence["statistic"].str.split("@").list.last()) == {"7d"}
    assert set(evidence["column"]) == {"note", "v", JOINT}
    ends = [(FIRST + timedelta(days=k)).replace(tzinfo=None) for k in range(6, DAYS, 7)]
    assert evidence["window_start"].unique().sort().to_list() == ends
    assert evidence["value"].null_count() == 0
    assert set(evidence["n"]) == {7 * ROWS}
    told = found.judgements.filter(pl.col("reason_code") != "judged_later")
    assert set(told["status"]) == {"ok"}


def test_it_is_what_weekly_windows_give(world, home, make_spec):
    """Of the same rows: models, streams, copies and words are those of a monitor with weekly windows."""
    [found] = world.judge(ALL)
    weekly = World(
        home,
        make_spec,
        schedule="weekly",
        drift={"min_rows": 50},
        model={"id": "weekly", "task": "binary_classification"},
    )
    [expected] = weekly.judge([key(k) for k in range(0, DAYS, 7)])
    monday = (pl.col("window_start") - pl.duration(days=6)).alias("window_start")
    stripped = found.evidence.with_columns(monday, pl.col("statistic").str.replace("@7d", ""))
    assert_frame_equal(
        stripped.sort("window_start", "column", "statistic"),
        expected.evidence.sort("window_start", "column", "statistic"),
    )
    by = ["window_start", "column", "metric"]
    numbers = [*by, "value", "n", "reference_value", "bound_low", "bound_high", "status"]
    judged = found.judgements.filter(pl.col("reason_code").ne_missing("judged_later")).with_columns(monday)
    assert_frame_equal(judged.sort(by).select(numbers), expected.judgements.sort(by).select(numbers))
    words = [read_words(w.paths, [key(k)]).drop("window_key", "model") for w, k in ((world, 13), (weekly, 7))]
    assert_frame_equal(*words)


def test_day_by_day_gives_what_all_at_once_gives(world):
    some = [key(k) for k in range(66, 79)]
    at_once, *by_day = world.judge(some, *([each] for each in some))
    for name in ("judgements", "evidence"):
        whole = pl.concat([getattr(found, name) for found in by_day])
        assert_frame_equal(ordered(whole), ordered(getattr(at_once, name)))


def test_the_days_between_say_how_much_has_come(world):
    [found] = world.judge([key(k) for k in range(63, 70)])
    third, last = of(found, "note", "word_distance", 65), of(found, "note", "word_distance", 69)
    assert (third["status"], third["reason_code"], third["n"]) == ("insufficient_data", "judged_later", 180)
    assert third["reason"] == "judged over 7 days, with the window of 2026-03-15: 180 texts since 2026-03-09"
    assert of(found, "v", "rff_distance", 65)["reason"].endswith("180 vectors since 2026-03-09")
    assert of(found, JOINT, "correlation_distance", 65)["reason"].endswith("180 rows since 2026-03-09")
    assert (last["n"], last["reason_code"]) == (420, "pooled")
    assert last["reason"] == "over 7 days (420 texts since 2026-03-09)"
    assert found.judgements.filter(window_start=(FIRST + timedelta(days=65)).replace(tzinfo=None)).height == 3


def test_a_change_is_told_with_its_week(home, make_spec):
    world = World(home, make_spec, changes=dict.fromkeys(range(77, 84), "all"))
    [found] = world.judge(ALL)
    row = of(found, "note", "word_distance", 83)
    assert row["reason"].startswith('over 7 days (420 texts since 2026-03-23): texts with "refund" 0 % -> 33 %')
    unknown = of(found, "note", "unknown_word_share", 83)
    assert (unknown["status"], unknown["value"]) == ("warn", pytest.approx(1 / 39))
    told = 'above what is usual for 7 days: texts with "refund" 33 %'
    assert unknown["reason"] == f"over 7 days (420 texts since 2026-03-23): {told}"
    assert of(found, "v", "centroid_distance", 83)["status"] == "warn"
    assert "correlation of a and b" in of(found, JOINT, "correlation_distance", 83)["reason"]
    assert of(found, "note", "moved_words", 76)["value"] == 0


def test_a_broken_contract_does_not_wait(home, make_spec):
    world = World(home, make_spec, changes={65: "dimension"})
    [found] = world.judge(ALL)
    row = of(found, "v", "wrong_dimension_rate", 65)
    assert (row["status"], row["value"], row["reason_code"]) == ("alert", 1.0, "broken_contract")
    assert row["reason"].startswith("60 of 60 vectors (100 %) have not the 4 numbers")
    week = of(found, "v", "wrong_dimension_rate", 69)
    assert week["value"] == pytest.approx(1 / 7)
    assert week["status"] == "warn", "of the week it is told, and no rule is broken on its last day"
    assert of(found, "v", "rff_distance", 69)["n"] == 360


def test_a_day_that_comes_again_brings_its_week_along(world):
    """Also what is judged by window: the last day of the week is judged again as a whole."""
    with open_progress(world.paths.ledger) as progress:
        progress.write_aggregated("immediate", ALL, 1, "a")
        progress.write_judged("immediate", "drift", ALL, NOW, "run")
    [found] = world.judge([key(65)], whole=True)
    sunday = (FIRST + timedelta(days=69)).replace(tzinfo=None)
    assert found.others["window_start"].to_list() == [sunday]
    both = found.judgements.filter(column="v", metric="rff_distance").sort("window_start")["reason_code"].to_list()
    assert both == ["judged_later", "pooled"]


def test_the_first_days_of_a_history_that_begins_within_a_week_are_waited_for(home, make_spec):
    world = World(home, make_spec, start="2026-01-07")
    [found] = world.judge([key(k) for k in range(2, 14)])
    assert of(found, "note", "word_distance", 6)["reason"] == (
        "judged over 7 days, from 2026-01-12 on: 300 texts since 2026-01-07"
    )
    assert of(found, "note", "word_distance", 13)["n"] == 420


def test_validate_warns_of_what_a_week_does_not_hold_either(world, home, make_spec):
    world.judge([key(0)])
    enough, few = (make_spec(columns=COLUMNS, reference=WINDOW, drift={"min_rows": n}) for n in (840, 841))
    assert not list(volume_warnings(enough, world.paths))
    [told] = volume_warnings(few, world.paths)
    assert told.startswith("60 rows in a day of the reference, drift.min_rows is 841: words and copies of texts")
