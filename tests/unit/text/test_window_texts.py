"""Counts of words, vocabulary and streams of windows, against scikit-learn and hand counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import sem
from sklearn.feature_extraction.text import CountVectorizer

from metrics_py.multivariate.gauge import Gauge
from metrics_py.text import word_counts
from metrics_py.text.copies import copies, joined
from metrics_py.text.window_texts import fit_texts, text_streams
from metrics_py.text.word_counts import read_texts
from metrics_py.text.words import words_of
from tests.support.bursty_texts import draw_texts


def test_document_frequencies_are_those_of_scikit_learn():
    texts = draw_texts(np.random.default_rng(621), 400)
    vectorizer = CountVectorizer(binary=True, token_pattern=r"(?u)\b\w+\b")
    expected = np.asarray(vectorizer.fit_transform(texts.to_list()).sum(axis=0)).ravel()
    found = dict(read_texts(texts)[0].words.select("word", "n").iter_rows())
    assert found == dict(zip(vectorizer.get_feature_names_out(), expected.tolist(), strict=True))


def test_unknown_words_are_counted_per_text():
    """The mean over texts of the share of words outside of the vocabulary of scikit-learn."""
    rng = np.random.default_rng(622)
    old, new = draw_texts(rng, 60, mean=20), draw_texts(rng, 300)
    counts, marks = read_texts(old)
    model = fit_texts([], [counts], [marks], old)
    known = set(CountVectorizer(token_pattern=r"(?u)\b\w+\b").fit(old.to_list()).vocabulary_)
    expected = np.mean([np.mean([word not in known for word in text.split()]) for text in new.to_list()])
    sums = model.window(*read_texts(new))
    assert float(sums["n_unknown"] / sums["n_spelled"]) == pytest.approx(expected, abs=1e-12)
    assert expected > 0.1


def test_the_variance_of_unknown_words_is_that_of_a_mean():
    """The standard error that SciPy gives for the texts' shares, with 3/8 of a word, on the scale of the arcsine."""
    rng = np.random.default_rng(624)
    old, new = draw_texts(rng, 60, mean=20), draw_texts(rng, 300)
    counts, marks = read_texts(old)
    model = fit_texts([], [counts], [marks], old)
    known = set(counts.words["word"])
    shares = np.array([np.mean([word not in known for word in text.split()]) for text in new.to_list()])
    step = 0.375 * np.mean([1 / len(text.split()) for text in new.to_list()])
    sums = model.window(*read_texts(new, model.vocabulary.knows))
    _, stream, *_ = text_streams(model, ["d"], [sums])
    mean = (shares.sum() + step) / (300 + 2 * step)
    error = np.sqrt(sem(shares) ** 2 + step**2 / 0.375 / 300**2) * 300 / (300 + 2 * step)
    assert stream.value.tolist() == pytest.approx([np.arcsin(np.sqrt(mean))])
    assert np.sqrt(stream.variance).tolist() == pytest.approx([error / (2 * np.sqrt(mean * (1 - mean)))])
    assert error == pytest.approx(sem(shares), rel=0.01)
    parts = [read_texts(part, model.vocabulary.knows) for part in (new[:100], new[100:])]
    both = model.window(parts[0][0] + parts[1][0], joined([marks for _, marks in parts]))
    assert {name: float(both[name]) for name in ("unknown_squares", "word_steps", "n_unknown")} == pytest.approx(
        {name: float(sums[name]) for name in ("unknown_squares", "word_steps", "n_unknown")}
    )


def test_sums_without_squares_have_the_variance_of_a_rate():
    """As they were kept before: a mean of shares is never less certain."""
    rng = np.random.default_rng(625)
    old, new = draw_texts(rng, 60, mean=20), draw_texts(rng, 300)
    counts, marks = read_texts(old)
    model = fit_texts([], [counts], [marks], old)
    before, now = (model.window(*read_texts(new, knows)) for knows in (None, model.vocabulary.knows))
    _, wide, *_ = text_streams(model, ["d"], [before])
    _, narrow, *_ = text_streams(model, ["d"], [now])
    assert wide.variance.tolist() == [1 / 1200]
    assert narrow.variance[0] < wide.variance[0] / 5
    assert wide.display.tolist() == narrow.display.tolist()


@pytest.mark.parametrize(("rate", "burst"), [(0.15, 4), (0.05, 1), (0.0005, 1)])
def test_quiet_windows_are_beyond_a_bound_as_often_as_it_says(rate: float, burst: int):
    """Unknown words that come in bursts, and so few that windows have a handful of them."""
    rng = np.random.default_rng(626)
    windows, n = 2_000, 300
    words = rng.integers(20, 61, (windows, n))
    shares = burst * rng.binomial(words // burst, rate) / words
    steps = (1 / words).mean(axis=1)
    size = np.full(windows, float(n))
    stream = Gauge(size, 200, 1.0, "texts").mean_share("x", shares.sum(axis=1), (shares**2).sum(axis=1), steps, size)
    z = (stream.value - np.arcsin(np.sqrt(shares.mean()))) / np.sqrt(stream.variance)
    assert 0.035 <= (np.abs(z) > 1.96).mean() <= 0.065
    assert (np.abs(z) > 3.5).mean() <= 0.002
    assert z.std() == pytest.approx(1, abs=0.06)


def test_a_first_unknown_word_is_no_news_and_a_smaller_window_neither():
    n, words = np.array([400.0, 200.0, 400.0]), 40
    total = np.array([0.0, 0.0, 1 / words])
    stream = Gauge(n, 200, 1.0, "texts").mean_share("x", total, total / words, np.full(3, 1 / words), n)
    assert np.abs(stream.value - stream.value[0]).max() < 1.2 * np.sqrt(stream.variance[0])
    assert (stream.variance > 0).all() and stream.display[0] == 0


def test_a_window_of_the_reference_is_compared_with_the_others():
    days = [pl.Series(["common words of all"] * 40 + [f"only{k} common"] * 10) for k in range(3)]
    read = [read_texts(day) for day in days]
    model = fit_texts(["a", "b", "c"], [counts for counts, _ in read], [marks for _, marks in read], pl.concat(days))
    assert model.sums.windows["n_unknown"].tolist() == pytest.approx([5.0, 5.0, 5.0])
    assert model.sums.windows["n_repeated"].tolist() == [40.0, 40.0, 40.0]
    distance, unknown, *_ = text_streams(model, ["a", "d"], [model.window(*read[0], 0), model.window(*read[0])])
    assert distance.reason[0] == "50 texts with words in the window, 200 needed: judge longer windows"
    assert unknown.n.tolist() == [50.0, 50.0]


def test_numbers_are_no_words_of_the_vocabulary():
    old = pl.Series(["order shipped"] * 60)
    counts, marks = read_texts(old)
    sums = fit_texts([], [counts], [marks], old).window(*read_texts(pl.Series(["order 123", "456", "new order"])))
    assert {name: float(sums[name]) for name in ("n", "n_spelled", "n_unknown")} == {
        "n": 3, "n_spelled": 2, "n_unknown": 0.5,
    }  # fmt: skip


def test_parts_add_up_and_stay_bounded(monkeypatch: pytest.MonkeyPatch):
    texts = draw_texts(np.random.default_rng(623), 200)
    whole = read_texts(texts)[0]
    parts = read_texts(texts[:80])[0] + read_texts(texts[80:])[0]
    assert parts.words.select("word", "n").equals(whole.words.select("word", "n"))
    assert np.allclose(parts.words["mass"], whole.words["mass"])
    monkeypatch.setattr(word_counts, "BATCH_CHARACTERS", 5_000)
    again, marks = read_texts(texts)
    assert again.words.select("word", "n").equals(whole.words.select("word", "n"))
    assert (marks.exact == read_texts(texts)[1].exact).all() and len(marks) == 200
    monkeypatch.setattr(word_counts, "MAX_WORDS", 50)
    bounded = read_texts(texts[:80])[0] + read_texts(texts[80:])[0]
    assert bounded.words.height == 50
    lost = whole.words.join(bounded.words, on="word", how="anti")
    assert lost["n"].max() <= bounded.n_missing


HOSTILE = {
    "ten megabytes": "word " * 2_000_000,
    "one word of ten megabytes": "x" * 10_000_000,
    "unique words": " ".join(f"t{i}" for i in range(100_000)),
    "control characters": "".join(map(chr, range(32))) + " a\x00b \x7f",
    "right to left": "\u202eשלום עולם\u202c abc",
    "zalgo": "Z" + "\u0351" * 5_000 + "a lgo",
    "line separators": "a\u2028b\u2029c\x85d",
    "replacement": "\ufffd \ufffe \U0010ffff",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_read_like_any_other(name: str):
    calm = pl.Series([f"calm words number{i}" for i in range(60)])
    texts = pl.concat([calm, pl.Series([HOSTILE[name]])])
    counts, marks = read_texts(calm)
    model = fit_texts([], [counts], [marks], calm)
    found, now = read_texts(texts)
    assert found.n_given == 61
    assert found.words.height < 10_100  # of 20,000 characters
    assert found.words["word"].str.len_chars().max() <= 40
    sums = model.window(found, now)
    assert float(sums["n_spelled"]) - 1 <= 60 and 0 <= float(sums["n_unknown"]) <= 1.0001


@given(st.lists(st.text(max_size=60), max_size=12))
@settings(deadline=None, max_examples=60)
def test_whatever_is_written_is_counted(texts: list[str]):
    held = [text.encode("utf-8", "replace").decode() for text in texts]
    counts, marks = read_texts(pl.Series(held, dtype=pl.String))
    words = words_of(pl.Series(held, dtype=pl.String)).to_list()
    assert counts.n == len(marks) == sum(map(bool, words))
    expected = Counter(word for each in words for word in set(each))
    assert dict(counts.words.select("word", "n").iter_rows()) == expected
    assert counts.words["mass"].sum() == pytest.approx(counts.n_spelled)
    assert copies(marks).n_copies == counts.n - len(set(marks.exact.tolist()))


def test_a_reference_of_a_single_word_is_one():
    old = pl.Series(["yes"] * 60)
    counts, marks = read_texts(old)
    model = fit_texts([], [counts], [marks], old)
    new = pl.Series(["yes"] * 150 + ["no"] * 50)
    distance, unknown, *_ = text_streams(model, ["d"], [model.window(*read_texts(new, model.vocabulary.knows))])
    assert unknown.display.tolist() == [0.25]
    assert distance.display[0] > 0


def test_nothing_to_read():
    counts, marks = read_texts(pl.Series([None, "", "!"], dtype=pl.String))
    assert (counts.n_given, counts.n, counts.words.height, len(marks)) == (2, 0, 0, 0)
    with pytest.raises(ValueError, match="0 texts with words in the reference: pass at least 50"):
        fit_texts([], [counts], [marks], pl.Series([], dtype=pl.String))
