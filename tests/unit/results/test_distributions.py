"""Rows per bin as they are published: once, replaced where they changed, by window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from sightline.results.distributions import append_distributions, read_distributions

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def frame(day: int, counts: list[int], column: str = "age") -> pl.DataFrame:
    at = datetime(2026, 2, day)
    return pl.DataFrame({"window_start": [at], "column": [column], "reference": ["r1"], "counts": [counts]})


def test_the_same_is_written_once_and_what_changed_replaces_it(home):
    paths = home.monitor("churn")
    assert append_distributions(paths, pl.concat([frame(1, [3, 4]), frame(2, [5, 6])]), "run", NOW) == 2
    assert append_distributions(paths, frame(1, [3, 4]), "again", NOW + timedelta(1)) == 0
    assert append_distributions(paths, frame(1, [3, 9]), "later", NOW + timedelta(2)) == 1
    assert append_distributions(paths, frame(1, [7], "other"), "later", NOW + timedelta(2)) == 1
    found = read_distributions(paths, "age", datetime(2026, 2, 1), datetime(2026, 2, 3))
    assert found["counts"].to_list() == [[3, 9], [5, 6]]


def test_the_end_is_not_included(home):
    paths = home.monitor("churn")
    append_distributions(paths, pl.concat([frame(k, [k]) for k in (1, 2, 3)]), "run", NOW)
    found = read_distributions(paths, "age", datetime(2026, 2, 2), datetime(2026, 2, 3))
    assert found["counts"].to_list() == [[2]]


def test_before_anything_is_written_there_is_nothing(home):
    found = read_distributions(home.monitor("churn"), "age", datetime(2026, 2, 2), datetime(2026, 2, 3))
    assert found.is_empty()


def test_many_appends_stay_few_files(home):
    paths = home.monitor("churn")
    for k in range(70):
        append_distributions(paths, frame(1 + k % 28, [k]), f"run{k}", NOW + timedelta(minutes=k))
    assert len(list((paths.results / "distributions").glob("*.parquet"))) < 64
    found = read_distributions(paths, "age", datetime(2026, 2, 1), datetime(2026, 3, 1))
    assert [counts[0] for counts in found["counts"].to_list()] == [*range(56, 70), *range(42, 56)]
