"""What the published snapshots add for people: warnings told once, and since when an incident has settled."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from metrics_py.alerting import replay
from sightline.alerts import decisions
from tests.support.alerting import daily, day, log, noise


def streams(*course: tuple[str, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "stream": ["s"] * len(course),
            "window_start": [day(k) for k in range(len(course))],
            "status": [status for status, _ in course],
            "adjusted_evidence": [evidence for _, evidence in course],
        },
        schema_overrides={"adjusted_evidence": pl.Float64},
    )


def test_a_warning_is_told_once_until_the_evidence_has_fallen_back_to_chance():
    course = [("ok", 0.1), ("warn", 9.5), ("warn", 20.0), ("ok", 8.0), ("warn", 9.2), ("ok", 0.9), ("warn", 9.1)]
    found = decisions.with_warnings(streams(*course))
    assert found["warns"].to_list() == [False, True, False, False, False, False, True]


def test_a_warning_is_told_again_after_an_incident_and_streams_do_not_mix():
    course = [("warn", 9.5), ("alert", 100.0), ("muted", None), ("ok", 5.0), ("warn", 9.5)]
    one = streams(*course)
    found = decisions.with_warnings(pl.concat([one, one.with_columns(stream=pl.lit("t"))]))
    assert found["warns"].to_list() == [True, False, False, False, True] * 2


def test_streams_of_one_column_that_warn_one_after_the_other_are_one_piece_of_news():
    def named(name: str, *course: tuple[str, float | None]) -> pl.DataFrame:
        return streams(*course).with_columns(stream=pl.lit(name))

    early = [("warn", 9.5), ("ok", 0.5), ("ok", 0.5), ("ok", 0.5), ("warn", 9.5)]
    late = [("ok", 0.5), ("warn", 9.5), ("ok", 0.5), ("ok", 0.5), ("ok", 0.5)]
    lasting = [("ok", 0.5), ("ok", 0.5), ("warn", 9.5), ("warn", 20.0), ("warn", 30.0)]
    same = [("warn", 9.5), ("ok", 0.5), ("ok", 0.5), ("ok", 0.5), ("ok", 0.5)]
    rows = {
        "drift/a/b/skew": early,
        "drift/a/b/tails": late,
        "drift/a/b/spread": same,
        "drift/a/skew": late,
        "drift/c/skew": [*early[:4], ("ok", 0.5)],
        "drift/c/tails": lasting,
        "model_quality/roc_auc": early,
        "model_quality/f1": late,
    }
    found = decisions.with_warnings(
        pl.concat([named(name, *course) for name, course in rows.items()]), again_after=timedelta(days=4)
    )
    told = found.filter("warns").group_by("stream").agg(pl.col("window_start").sort())
    assert dict(told.iter_rows()) == {
        "drift/a/b/skew": [day(0), day(4)],
        "drift/a/b/spread": [day(0)],
        "drift/a/skew": [day(1)],
        "drift/c/skew": [day(0)],
        "drift/c/tails": [day(4)],  # delayed, not lost: it lasts
        "model_quality/roc_auc": [day(0), day(4)],
        "model_quality/f1": [day(1)],
    }
    assert found.columns[:4] == streams(*early).columns


def test_an_open_incident_has_settled_so_long_after_its_last_change():
    values = noise(120, seed=9)
    values[80:, 0] += 6.0
    found = replay(log(values), daily(new_normal_after=None))
    assert found.incidents["status"].to_list() == ["open"]
    changes = [*found.members["joined_at"], *found.members["moved_again_at"].drop_nulls()]
    assert decisions.with_settled(found, timedelta(days=60))["settled_at"].to_list() == [None], "not yet"
    settled = decisions.with_settled(found, timedelta(days=14))
    assert settled["settled_at"].to_list() == [max(changes) + timedelta(days=14)]


def test_an_incident_that_has_ended_has_not_settled():
    values = noise(140, seed=10)
    values[80:90, 0] += 8.0
    found = replay(log(values), daily())
    ended = decisions.with_settled(found, timedelta(days=1)).filter(pl.col("status") == "closed")
    assert len(ended) > 0 and ended["settled_at"].null_count() == len(ended)


def test_no_streams_no_incidents():
    found = replay(log(np.zeros((0, 1))), daily())
    assert decisions.with_settled(found, timedelta(days=1)).is_empty()


def test_a_level_that_was_called_mended_is_not_the_old_one():
    """Before the change point the windows of the former incident do not count."""
    n = 60
    seen = pl.DataFrame(
        {
            "stream": "s",
            "window_start": [day(k) for k in range(n)],
            "display_value": [0.02 if k < 50 else 0.2 for k in range(n)],
        }
    )
    member = pl.DataFrame({"stream": ["s"], "change_point": [day(57)], "joined_at": [day(59)]})
    calm = seen.filter(~pl.col("window_start").is_between(day(51), day(56)))
    found = decisions.with_levels(member, seen, timedelta(days=1), calm)
    assert found.select("display_before", "display_after").row(0) == (0.02, 0.2)
    every = seen.with_columns(display_value=pl.lit(0.2))
    assert decisions.with_levels(member, every, timedelta(days=1), every.head(0))["display_before"].to_list() == [0.2]
