"""How many words are told falsely, of texts that did not change and beside words that did."""

from __future__ import annotations

import numpy as np
import pytest

from metrics_py.text.words import document_frequencies, moved_words
from tests.support.bursty_texts import draw_authors, draw_texts
from tests.support.measured import record

SECTION = "Words of texts"


def test_few_words_are_told_falsely():
    told(6, seed=871)


@pytest.mark.full
def test_few_words_are_told_falsely_in_full():
    told(50, seed=872)


def told(reports: int, seed: int) -> None:
    """Two sides of 3,000 and 2,000 bursty texts; then twenty words half as frequent again."""
    false, shares, hits = [], [], []
    for report in range(reports):
        rng = np.random.default_rng([seed, report])
        old = document_frequencies(draw_texts(rng, 3_000))
        false.append(moved_words(old, document_frequencies(draw_texts(rng, 2_000))).height)
        boosted = rng.choice(300, 20, replace=False).tolist()
        new = document_frequencies(draw_texts(rng, 2_000, boosted=boosted))
        found, true = set(moved_words(old, new)["word"]), {f"w{word}" for word in boosted}
        shares.append(len(found - true) / max(len(found), 1))
        hits.append(len(found & true))
    measured = {
        "false words per report, nothing moved": float(np.mean(false)),
        "false discovery rate, 20 of 5,000 words half as frequent again": float(np.mean(shares)),
        "of them found": float(np.mean(hits)),
    }
    slack = 3 / np.sqrt(reports)  # of a tenth of the size; the full one stands by itself
    assert measured["false words per report, nothing moved"] <= 0.3 + (slack * 0.6 if reports < 50 else 0)
    assert list(measured.values())[1] <= 0.15 + (slack * 0.2 if reports < 50 else 0)
    assert measured["of them found"] >= 1
    record("moved_words", "at most 0.3 false words per report and 0.15 false discoveries", measured, reports, SECTION)


def test_authors_are_counted_where_they_repeat():
    authors(6, seed=873)


@pytest.mark.full
def test_authors_are_counted_where_they_repeat_in_full():
    authors(50, seed=874)


def authors(reports: int, seed: int) -> None:
    """150 authors with ten texts each: texts would tell dozens of words, authors hardly any."""
    by_text, by_author = [], []
    for report in range(reports):
        rng = np.random.default_rng([seed, report])
        (old, old_authors), (new, new_authors) = (draw_authors(rng, 150, 10) for _ in range(2))
        by_text.append(moved_words(document_frequencies(old), document_frequencies(new)).height)
        sides = document_frequencies(old, old_authors), document_frequencies(new, new_authors)
        by_author.append(moved_words(*sides, min_texts=5).height)
    measured = {"counting authors": float(np.mean(by_author)), "counting texts": float(np.mean(by_text))}
    assert measured["counting authors"] <= (0.3 if reports >= 50 else 1)
    assert measured["counting texts"] > 20, "the case that authors are counted for"
    record("moved_words_authors", "at most 0.3 false words per report by authors", measured, reports, SECTION)
