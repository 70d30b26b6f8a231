"""The built-in model of texts against scikit-learn: weights by `TfidfTransformer`, directions by `TruncatedSVD`."""

from __future__ import annotations

import re
import zlib

import numpy as np
import polars as pl
import pytest
from scipy.sparse import lil_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

from metrics_py.multivariate.text_vectors import BUCKETS, embed_texts, fit_texts


def texts(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    words = [f"Wort{k}" for k in range(300)] + ["größer", "Ünder", "naïve", "42"]
    chance = 1 / np.arange(1, len(words) + 1)
    topics = [np.random.default_rng(t).permutation(chance) for t in range(4)]
    return [
        ", ".join(rng.choice(words, rng.integers(1, 40), p=topics[t] / topics[t].sum())) for t in rng.integers(0, 4, n)
    ]


def counts(given: list[str]):
    found = lil_array((len(given), BUCKETS))
    for row, text in enumerate(given):
        for word in re.findall(r"\w+", text.lower()):
            found[row, zlib.crc32(word.encode()) % BUCKETS] += 1
    return found.tocsr()


def test_weights_and_directions():
    old, new = texts(600, 1), texts(50, 2)
    model = fit_texts(pl.Series(old), 8)
    weigh = TfidfTransformer(sublinear_tf=True, smooth_idf=True, norm="l2").fit(counts(old))
    np.testing.assert_allclose(model.idf, weigh.idf_, rtol=1e-6)
    svd = TruncatedSVD(8, algorithm="arpack", random_state=0).fit(weigh.transform(counts(old)))
    expected = svd.transform(weigh.transform(counts(new)))
    found = model.transform(pl.Series(new))
    signs = np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=2e-5)


def test_the_model_is_the_same_again_and_whatever_the_batch():
    old, new = pl.Series(texts(200, 3)), pl.Series([*texts(30, 4), "", "???", "語語 語", "a" * 10**6])
    first, second = fit_texts(old), fit_texts(old)
    np.testing.assert_array_equal(first.basis, second.basis)
    whole = first.transform(new)
    parts = np.concatenate([first.transform(new[k : k + 1]) for k in range(len(new))])
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    assert not whole[30:32].any()
    assert np.linalg.norm(whole, axis=1).max() <= 1 + 1e-5


def test_too_few_or_equal_texts_are_refused():
    with pytest.raises(ValueError, match="40 texts with words: pass at least 50"):
        fit_texts(pl.Series([*texts(40, 5), *[""] * 30]))
    with pytest.raises(ValueError, match="all texts have the same word"):
        fit_texts(pl.Series(["same"] * 100))


def test_a_function_that_fails_in_parts_is_counted_and_its_rows_are_known():
    calls = []

    def function(batch: list[str]) -> object:
        calls.append(len(batch))
        if "bad" in batch:
            raise RuntimeError("no memory")
        return [[float(len(text)), 1.0] if text != "short" else [1.0] for text in batch]

    given = pl.Series(["a", None, "bad", "b", "cc", "short", "ddd", "nan"])
    found = embed_texts(function, given, batch=2)
    assert calls == [2, 2, 2, 1]
    [(told, n)] = found.failed.items()
    assert told.startswith("RuntimeError in line ") and n == 2
    assert (found.vectors.n_given, found.vectors.n_not_finite, found.vectors.n_wrong) == (7, 2, 1)
    assert [given[int(k)] for k in found.places] == ["b", "cc", "ddd", "nan"]
    assert found.vectors.rows[:, 0].tolist() == [1, 2, 3, 3]


def test_a_function_that_always_fails_is_not_asked_for_ever():
    calls = []

    def function(batch: list[str]) -> object:
        calls.append(batch)
        return np.zeros((1, 3))

    found = embed_texts(function, pl.Series(["x"] * 100), batch=10)
    assert len(calls) == 3
    assert found.failed == {
        "not asked after 3 batches in a row that failed": 70,
        "1 vectors for 10 texts": 30,
    }
    assert (len(found.vectors.rows), found.vectors.n_given) == (0, 100)
