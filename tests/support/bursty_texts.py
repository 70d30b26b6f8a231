"""Texts whose words come in bursts: what a text says once it says several times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

N_WORDS = 5_000


def draw_texts(
    rng: np.random.Generator, n: int, *, boosted: Sequence[int] = (), by: float = 1.5, mean: int = 60
) -> pl.Series:
    """Texts of words ``w0``, ``w1``, ... with falling frequency; a word that is said is said 4 times on average.

    Words of `boosted` are `by` times as frequent.
    """
    weights = 1 / np.arange(10, N_WORDS + 10) ** 1.05
    weights[list(boosted)] *= by
    weights /= weights.sum()
    first = np.maximum(2, np.maximum(5, rng.poisson(mean, n)) // 4)
    words = rng.choice(N_WORDS, first.sum(), p=weights)
    times = rng.geometric(0.25, first.sum())
    edges = np.cumsum(first)[:-1]
    pairs = zip(np.split(words, edges), np.split(times, edges), strict=True)
    return pl.Series([" ".join(f"w{word}" for word in np.repeat(found, n)) for found, n in pairs])


def draw_authors(rng: np.random.Generator, n_authors: int, texts_each: int) -> tuple[pl.Series, pl.Series]:
    """Texts and their authors: each author has 15 words that most of their texts hold."""
    texts: list[str] = []
    authors: list[str] = []
    for author in range(n_authors):
        own = rng.choice(1_000, 15, replace=False)
        for _ in range(texts_each):
            texts.append(" ".join(f"w{word}" for word in own[rng.random(15) < 0.8]))
            authors.append(f"a{author}-{rng.integers(10**9)}" if texts_each == 1 else f"a{author}")
    return pl.Series(texts), pl.Series(authors)
