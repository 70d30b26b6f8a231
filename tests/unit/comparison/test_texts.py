"""`compare` describes text columns and lists the words that moved."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from metrics_py import compare

SENTENCE = "the item came in time and works as said but box was a bit dented so we called help they sent new one"
WORDS = SENTENCE.split()


def texts(rng: np.random.Generator, n: int, mean: int = 20, extra: str | None = None) -> list[str]:
    rows = [" ".join(rng.choice(WORDS, max(8, rng.poisson(mean)))) for _ in range(n)]
    return [f"{row} {extra}" if extra and rng.random() < 0.3 else row for row in rows]


@pytest.fixture
def tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(31)
    old = pl.DataFrame({"x": rng.normal(size=2_000), "review": texts(rng, 2_000)})
    new = pl.DataFrame({"x": rng.normal(size=1_000), "review": texts(rng, 1_000, mean=30, extra="refund 1234")})
    return old, new


def test_descriptors_are_columns_behind_their_text(tables):
    result = compare(*tables, metrics=["psi"])
    names = result.frame["column"].to_list()
    described = ["review.words", "review.word_length", "review.letter_share", "review.digit_share", "review.script"]
    assert names == ["x", "review", *described]
    states = dict(result.frame.select("column", "state").rows())
    assert states["x"] == states["review.script"] == "stable"
    assert states["review.words"] == states["review.digit_share"] == "drift"


def test_words_are_listed_with_an_example(tables):
    result = compare(*tables)
    assert {"refund", "1234"} <= set(result.words["word"])
    row = result.words.filter(pl.col("word") == "refund").to_dicts()[0]
    assert (
        row["column"] == "review"
        and row["share_reference"] == 0
        and row["share_current"] == pytest.approx(0.3, abs=0.05)
    )
    assert "refund" in row["example"]
    assert "words in more or fewer texts than before" in result.to_text()
    told = [row for row in json.loads(result.to_json()) if "words" in row]
    assert {row["column"] for row in told} == {"review"}


def test_quiet_texts_are_stable_and_tell_no_words(tables):
    old, _ = tables
    rng = np.random.default_rng(32)
    new = pl.DataFrame({"x": rng.normal(size=1_500), "review": texts(rng, 1_500)})
    result = compare(old, new)
    assert result.drifted == [] and result.words.height <= 1
    assert compare(old, new, words=False).words.is_empty()


def test_descriptors_can_be_chosen_and_a_kind_given(tables):
    old, new = (t.with_columns(short=pl.col("review").str.slice(0, 12)) for t in tables)
    result = compare(old, new, kinds={"short": "text"}, columns=["short", "short.language"], descriptors=["language"])
    assert result.frame["column"].unique(maintain_order=True).to_list() == ["short", "short.language"]
    with pytest.raises(ValueError, match="no descriptor 'lenght' of texts"):
        compare(old, new, descriptors=["lenght"])


def test_a_column_of_the_data_is_not_replaced(tables):
    old, new = (t.with_columns(pl.lit(1.0).alias("review.words")) for t in tables)
    result = compare(old, new, metrics=["psi"])
    assert dict(result.frame.select("column", "state").rows())["review.words"] != "drift"
