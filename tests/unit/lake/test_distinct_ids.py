"""Ids are told to be distinct exactly when they are."""

from __future__ import annotations

import polars as pl
import pytest

from sightline.lake.intake.dedupe import are_distinct


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], True),
        (["a"], True),
        (["a", "A", "a "], True),
        (["a", "b", "a"], False),
        ([None, "a"], True),
        ([None, None], False),
    ],
)
def test_distinct(ids: list[str | None], expected: bool):
    assert are_distinct(pl.Series(ids, dtype=pl.String)) is expected


def test_many_ids_of_which_two_are_equal():
    ids = pl.Series([f"id {i}" for i in range(300_000)])
    assert are_distinct(ids)
    assert not are_distinct(pl.concat([ids, ids.slice(17, 1)]))
