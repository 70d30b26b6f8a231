"""Document frequencies and moved words, against hand counts and SciPy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metrics_py.text import words
from metrics_py.text.words import DocumentFrequencies, document_frequencies, examples, moved_words, words_of


def counts(found: DocumentFrequencies) -> dict[str, int]:
    return dict(found.counts.rows())


def frequencies(n: int, **held: int) -> DocumentFrequencies:
    return DocumentFrequencies(
        n, pl.DataFrame({"word": list(held), "n": list(held.values())}, schema_overrides={"n": pl.Int64})
    )


def test_words():
    texts = pl.Series(["It's re-used, ISN’T it? ÀÉ 3x", "漢字 and かな", "", None])
    assert words_of(texts).to_list() == [
        ["it's", "re", "used", "isn’t", "it", "àé", "3x"],
        ["漢", "字", "and", "か", "な"],
        [],
        None,
    ]
    assert words_of(pl.Series(["x" * 100])).to_list() == [["x" * 40]]


def test_texts_are_counted_not_tokens():
    found = document_frequencies(pl.Series(["a a a b", "a", None, ""]))
    assert found.n_units == 3 and counts(found) == {"a": 2, "b": 1}


def test_authors_are_counted_once():
    found = document_frequencies(pl.Series(["a", "a b", "a", "a"]), pl.Series(["u", "u", "v", None]))
    assert found.n_units == 3 and counts(found) == {"a": 3, "b": 1}


def test_counts_add_up():
    texts = pl.Series(["a b", "b c", "c d e", "a"] * 3)
    assert counts(document_frequencies(texts[:5]) + document_frequencies(texts[5:])) == counts(
        document_frequencies(texts)
    )


def test_what_was_left_out_as_too_rare_is_not_told_as_moved(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(words, "MAX_WORDS", 2)
    old = document_frequencies(pl.Series(["a b", "a b", "c"] * 40))
    assert counts(old) == {"a": 80, "b": 80} and old.n_missing == 40
    new = frequencies(100, a=67, b=67, c=90)
    assert moved_words(old, new)["word"].to_list() == []  # `c` may have been in a third of the texts
    assert (old + old).n_missing == 80


def test_numbers_of_a_word_against_scipy():
    old, new = frequencies(1_000, often=300, rare=4, same=500), frequencies(500, often=220, rare=30, same=250)
    found = {row["word"]: row for row in moved_words(old, new, false_discovery_rate=1.0).to_dicts()}
    table = np.array([[300, 700], [220, 280]])
    expected = stats.chi2_contingency(table, correction=False)
    assert found["often"]["z"] ** 2 == pytest.approx(expected.statistic)
    assert found["often"]["p_value"] == pytest.approx(expected.pvalue)
    tail = stats.hypergeom.sf(29, 1_500, 34, 500)
    assert found["rare"]["p_value"] == pytest.approx(2 * tail)
    assert found["same"]["z"] == 0 and found["same"]["p_value"] == 1
    assert found["often"]["difference"] == pytest.approx(0.44 - 0.3)
    assert found["often"]["ci_low"] < 0.14 < found["often"]["ci_high"]
    assert moved_words(old, new)["word"].to_list() == ["rare", "often"]


def test_a_word_of_all_texts_and_one_of_few_are_not_told():
    assert moved_words(frequencies(100, all=100, few=0), frequencies(50, all=50, few=29)).height == 0


def test_nothing_to_compare():
    empty = document_frequencies(pl.Series([None, None], dtype=pl.String))
    assert empty.n_units == 0 and moved_words(empty, frequencies(100, a=90)).height == 0


def test_examples_are_short_and_on_one_line():
    texts = pl.Series(["no", "x " * 200 + "the\n\u202eWORD here" + " y" * 200, "word again"])
    found = examples(texts, ["word", "absent"], n=2)
    assert found["absent"] == []
    first, second = found["word"]
    assert "WORD here" in first and len(first) <= 82 and "\n" not in first and "\u202e" not in first
    assert second == "word again"
