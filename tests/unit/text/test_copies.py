"""Copies of texts, against sets of runs of words that are compared one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest

from metrics_py.text.copies import ALIKE, Copies, copies, hashes_of, known_texts, resemblance
from metrics_py.text.word_counts import read_texts
from metrics_py.text.words import words_of


def runs(text: str) -> set[tuple[str, ...]]:
    [words] = words_of(pl.Series([text])).to_list()
    return {tuple(words[i : i + 3]) for i in range(max(len(words) - 2, 1))}


def jaccard(a: str, b: str) -> float:
    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[str]]:
    """300 texts of 40 words, and each with some of its words replaced."""
    rng = np.random.default_rng(611)
    old = [" ".join(f"w{x}" for x in rng.integers(0, 5000, 40)) for _ in range(300)]
    new: list[str] = []
    for text in old:
        words = text.split()
        for place in rng.integers(0, 40, rng.integers(0, 6)):
            words[place] = f"other{place}"
        new.append(" ".join(words))
    return old, new


def test_signatures_estimate_jaccard(pairs):
    old, new = pairs
    first, second = (read_texts(pl.Series(texts))[1].signature for texts in (old, new))
    true = np.array([jaccard(a, b) for a, b in zip(old, new, strict=True)])
    error = resemblance(first, second) - true
    assert abs(error.mean()) < 0.01
    assert error.std() == pytest.approx(np.sqrt((true * (1 - true)).mean() / 64), rel=0.2)


def test_pairs_are_found_by_their_bands(pairs):
    """All texts compared with all others by the same estimate: as many are near an earlier one."""
    old, new = pairs
    texts = list(dict.fromkeys([*old, *new]))
    marks = read_texts(pl.Series(texts))[1]
    near = {
        j for i, j in combinations(range(len(texts)), 2) if (marks.signature[i] == marks.signature[j]).mean() >= ALIKE
    }
    assert len(near) > 30
    assert copies(marks) == Copies(len(texts), 0, len(near))
    clear = sum(jaccard(a, b) >= 0.9 and a != b for a, b in zip(old, new, strict=True))
    assert len(near) >= clear > 5


def test_copies_differ_by_case_and_white_space_alone():
    marks = read_texts(pl.Series(["Good  value", "good value", " GOOD\tvalue\n", "good, value", "ok", "OK", "?", ""]))[
        1
    ]
    assert copies(marks) == Copies(6, 3, 1)  # the comma is no copy, and all of its words are the same


def test_short_texts_are_near_only_where_they_have_the_same_words():
    marks = read_texts(pl.Series(["yes", "no", "yes please", "yes thanks"]))[1]
    assert copies(marks) == Copies(4, 0, 0)


def test_texts_of_the_reference_are_known_again(pairs):
    old, new = pairs
    known = known_texts([read_texts(pl.Series(old[:200]))[1], read_texts(pl.Series(old[150:]))[1]], 10**6)
    now = read_texts(pl.Series(new))[1]
    alike = [(a == b) or (now[[i]].signature == read_texts(pl.Series([a]))[1].signature).mean() >= ALIKE
             for i, (a, b) in enumerate(zip(old, new, strict=True))]  # fmt: skip
    assert known.n_repeated(now) == sum(alike)
    first = read_texts(pl.Series(old[:200]))[1]
    assert known.n_repeated(first) == 200
    assert known.n_repeated(first, window=0) == 50  # those that the other window has as well


def test_bounded_texts_are_a_draw(pairs):
    known = known_texts([read_texts(pl.Series(pairs[0]))[1]], 100, has_windows=False)
    assert len(known.texts) == 100
    assert known.n_repeated(read_texts(pl.Series(pairs[0]))[1]) == 100


def test_hashes_are_the_same_in_every_release():
    """The first eight bytes, as ``b2sum -l 64`` of GNU coreutils gives them."""
    assert hashes_of(["refund", ""]).tolist() == [15685397089556917362, 13020603013274838756]
