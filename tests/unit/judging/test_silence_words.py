"""Monitors of which only positives are reported: how many of them a correction needs, and what is said of fewer."""

from __future__ import annotations

import polars as pl

from sightline.judging.silence import fewest, too_few


def test_words_tell_how_many_positives_came_and_how_many_are_needed():
    rows = pl.DataFrame(
        {"metric": ["recall", "recall", "average_precision", "recall"], "seen": [4, 12, 12, None]},
        schema_overrides={"seen": pl.Int64},
    )
    found = rows.select(needed=fewest(), why=too_few(pl.col("seen")))
    assert found["needed"].to_list() == [10, 10, 20, 10]
    more = "positives have been reported so far, and {} are needed: those to come cannot be counted by fewer"
    assert found["why"].to_list() == [
        f"4 {more.format(10)}",
        "by the 12 positives that have been reported so far the value would lie beyond its range: they are too few",
        f"12 {more.format(20)}",
        f"0 {more.format(10)}",
    ]
