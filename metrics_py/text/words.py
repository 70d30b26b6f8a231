"""The words that became more or less frequent: in how many texts each stands, and which of them moved.

Counted are texts (or authors), never tokens: words come in bursts, one text holds a word five times, and tests that
take tokens as independent find hundreds of moved words in texts that did not change.

References
----------
Church & Gale (1995), Natural Language Engineering 1:163 (burstiness). Agresti (2013), Categorical Data Analysis, 3.1
and 3.5 (two proportions, the hypergeometric law). Benjamini & Hochberg (1995), JRSS B 57:289. Misra & Gries (1982),
Science of Computer Programming 2:143 (bounded counts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.multiple_testing import benjamini_hochberg
from metrics_py.scipy_functions import hypergeometric_tail, normal_tail
from metrics_py.text.descriptors import MAX_CHARACTERS

WORD = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}]|"
    r"[\p{L}\p{N}\p{M}--[\p{Han}\p{Hiragana}\p{Katakana}]]+(?:['’]\p{L}+)*"
)
"""A run of letters, digits and marks, an apostrophe within it; each character of Han or kana is one."""

MAX_WORD_LENGTH = 40
"""Longer words count as their beginning."""

MAX_WORDS = 200_000
"""Words of a count; the rarest are left out beyond."""

MIN_TEXTS = 30
"""Words in fewer texts of both sides together are not tested."""

FEW = 25
"""Below so many expected texts on a side the law is taken exactly: the normal one has too thin a tail there."""

Z_95 = 1.959963984540054

EXAMPLE_CHARACTERS = 80
"""Characters of an example around its word."""

SCHEMA = pl.Schema(
    {
        "word": pl.String,
        "n_reference": pl.Int64,
        "n_current": pl.Int64,
        "share_reference": pl.Float64,
        "share_current": pl.Float64,
        "difference": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "z": pl.Float64,
        "p_value": pl.Float64,
        "q_value": pl.Float64,
    }
)


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many texts each word stands.

    Attributes
    ----------
    n_units : int
        Texts, or authors, that were counted.
    counts : polars.DataFrame
        ``word`` and ``n``, the units with it; at most `MAX_WORDS`.
    n_missing : int
        A word that is not in `counts` stands in at most so many units.
    """

    n_units: int
    counts: pl.DataFrame
    n_missing: int = 0

    def __add__(self, other: DocumentFrequencies) -> DocumentFrequencies:
        """Counts of both together; of authors only where each is on one side alone."""
        joined = pl.concat([self.counts, other.counts]).group_by("word").agg(pl.col("n").sum())
        return _bounded(self.n_units + other.n_units, joined, self.n_missing + other.n_missing)


def _bounded(n_units: int, counts: pl.DataFrame, n_missing: int = 0) -> DocumentFrequencies:
    counts = counts.with_columns(pl.col("n").cast(pl.Int64)).sort(["n", "word"], descending=[True, False])
    lost = int(counts["n"][MAX_WORDS]) if counts.height > MAX_WORDS else 0
    return DocumentFrequencies(n_units, counts.head(MAX_WORDS), n_missing + lost)


def words_of(texts: pl.Series) -> pl.Series:
    """Words of each text in lower case.

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of List(String)
        Null where the text is; the first `MAX_CHARACTERS` characters count.

    Examples
    --------
    >>> words_of(pl.Series(["Don't re-use 你好"])).to_list()
    [["don't", 're', 'use', '你', '好']]
    """
    found = texts.str.slice(0, MAX_CHARACTERS).str.to_lowercase().str.extract_all(WORD)
    return found.list.eval(pl.element().str.slice(0, MAX_WORD_LENGTH))


def document_frequencies(texts: pl.Series, units: pl.Series | None = None) -> DocumentFrequencies:
    """Count in how many texts each word stands.

    Parameters
    ----------
    texts : polars.Series of String
        Nulls are left out.
    units : polars.Series, optional
        Author of each text: then it is in how many authors' texts a word stands, since the texts of one author
        resemble each other. A null is an author of its own.

    Returns
    -------
    DocumentFrequencies
        They can be added up.

    Examples
    --------
    >>> found = document_frequencies(pl.Series(["a b a", "b", None]))
    >>> found.n_units, found.counts.rows()
    (2, [('b', 2), ('a', 1)])
    """
    row = pl.int_range(len(texts), eager=True).cast(pl.String)
    unit = row if units is None else pl.select(pl.coalesce(pl.format("u{}", units.cast(pl.String)), row)).to_series()
    frame = pl.DataFrame({"unit": unit, "text": texts}).filter(pl.col("text").is_not_null())
    words = frame.select("unit", word=words_of(frame["text"]).list.unique()).explode("word", empty_as_null=True)
    words = words.filter(pl.col("word").is_not_null())
    if units is not None:
        words = words.unique(["unit", "word"])
    return _bounded(frame["unit"].n_unique(), words.group_by("word").agg(n=pl.len()))


def moved_words(
    reference: DocumentFrequencies,
    current: DocumentFrequencies,
    *,
    false_discovery_rate: float = 0.1,
    min_texts: int = MIN_TEXTS,
) -> pl.DataFrame:
    """Words that stand in a larger or smaller share of the texts than before.

    Parameters
    ----------
    reference, current : DocumentFrequencies
        Of either side.
    false_discovery_rate : float, default 0.1
        Share of false words among those told that is expected at most (Benjamini and Hochberg).
    min_texts : int, default 30
        Words in fewer texts of both together are not tested.

    Returns
    -------
    polars.DataFrame
        ``word``, ``n_reference``, ``n_current`` (texts with it), ``share_reference``, ``share_current``,
        ``difference`` of the shares with ``ci_low`` and ``ci_high`` (95 %), ``z``, ``p_value``, ``q_value``; the
        largest z first. Empty where nothing moved.

    Notes
    -----
    The test is that of two proportions with a common variance, and Fisher's where fewer than `FEW` texts are expected
    on a side. Texts (authors) are taken as independent: a word that all write about on one day moves.

    Examples
    --------
    >>> old = document_frequencies(pl.Series(["good"] * 500 + ["bad"] * 500))
    >>> new = document_frequencies(pl.Series(["good"] * 200 + ["bad"] * 400))
    >>> sorted(moved_words(old, new)["word"])
    ['bad', 'good']
    """
    found = compared_words(reference, current, min_texts=min_texts)
    moved = found.filter(pl.col("q_value") <= false_discovery_rate)
    return moved.sort([pl.col("z").abs(), pl.col("word")], descending=[True, False])


def compared_words(
    reference: DocumentFrequencies, current: DocumentFrequencies, *, min_texts: int = MIN_TEXTS
) -> pl.DataFrame:
    """Every word that is tested, moved or not.

    Parameters
    ----------
    reference, current : DocumentFrequencies
        Of either side.
    min_texts : int, default 30
        Words in fewer texts of both together are not tested.

    Returns
    -------
    polars.DataFrame
        The columns of `moved_words`, in no order.
    """
    both = reference.counts.rename({"n": "n_reference"}).join(
        current.counts.rename({"n": "n_current"}), on="word", how="full", coalesce=True
    )
    known = both.with_columns(pl.col("n_reference", "n_current").fill_null(0)).filter(
        (pl.col("n_reference") + pl.col("n_current") >= min_texts)
        & ((pl.col("n_reference") > 0) | (reference.n_missing == 0))  # else it may have been left out as too rare
        & ((pl.col("n_current") > 0) | (current.n_missing == 0))
    )
    if known.is_empty() or not reference.n_units or not current.n_units:
        return pl.DataFrame(schema=SCHEMA)
    a, b = known["n_reference"].to_numpy(), known["n_current"].to_numpy()
    z, p_values = _two_proportions(a, reference.n_units, b, current.n_units)
    low, high = _interval(a, reference.n_units, b, current.n_units)
    found = known.with_columns(
        share_reference=pl.Series(a / reference.n_units),
        share_current=pl.Series(b / current.n_units),
        difference=pl.Series(b / current.n_units - a / reference.n_units),
        ci_low=pl.Series(low),
        ci_high=pl.Series(high),
        z=pl.Series(z),
        p_value=pl.Series(p_values),
        q_value=pl.Series(benjamini_hochberg(p_values)),
    )
    return found.select(SCHEMA.names())


def _two_proportions(
    a: NDArray[np.int64], m: int, b: NDArray[np.int64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standardized difference and its two-sided p-value."""
    total = a + b
    pooled = total / (m + n)
    sd = np.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    z = np.divide(b / n - a / m, sd, out=np.zeros(len(a)), where=sd > 0)
    p_values = 2 * normal_tail(np.abs(z))
    rare = np.minimum(total, m + n - total) * (min(m, n) / (m + n)) < FEW
    if rare.any():
        more = hypergeometric_tail(b[rare].astype(float), m + n, n, total[rare])
        fewer = hypergeometric_tail(a[rare].astype(float), m + n, m, total[rare])
        p_values[rare] = np.minimum(2 * np.minimum(more, fewer), 1.0)
    return z, p_values


def _interval(
    a: NDArray[np.int64], m: int, b: NDArray[np.int64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of the difference of two shares (Agresti and Caffo: one text more with, one without, each side)."""
    p, q = (a + 1) / (m + 2), (b + 1) / (n + 2)
    half = Z_95 * np.sqrt(p * (1 - p) / (m + 2) + q * (1 - q) / (n + 2))
    return np.maximum(q - p - half, -1.0), np.minimum(q - p + half, 1.0)


def examples(texts: pl.Series, words: Sequence[str], n: int = 1) -> dict[str, list[str]]:
    """Pieces of texts around words.

    Parameters
    ----------
    texts : polars.Series of String
        Any.
    words : sequence of str
        As `words_of` gives them.
    n : int, default 1
        Most pieces of each word, of the first texts with it.

    Returns
    -------
    dict of str to list of str
        `EXAMPLE_CHARACTERS` characters at most, on one line.
    """
    return {word: [piece for _, piece in found] for word, found in example_rows(texts, words, n).items()}


def example_rows(texts: pl.Series, words: Sequence[str], n: int = 1) -> dict[str, list[tuple[int, str]]]:
    """As `examples`, with the number of the row before each piece.

    Parameters
    ----------
    texts : polars.Series of String
        Where they are looked for.
    words : sequence of str
        As `words_of` spells them.
    n : int, default 1
        Examples of each word, at most.

    Returns
    -------
    dict of str to list of (int, str)
        In the order of the rows.
    """
    held = words_of(texts)
    found: dict[str, list[tuple[int, str]]] = {}
    for word in words:
        rows = held.list.contains(word).fill_null(value=False).arg_true().head(n).to_list()
        found[word] = [(row, _around(texts[row], word)) for row in rows]
    return found


def _around(text: str, word: str) -> str:
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text[:MAX_CHARACTERS]).split())
    start = max(text.lower().find(word) - EXAMPLE_CHARACTERS // 3, 0)
    piece = text[start : start + EXAMPLE_CHARACTERS]
    return ("…" if start else "") + piece + ("…" if start + EXAMPLE_CHARACTERS < len(text) else "")
