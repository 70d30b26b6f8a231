"""What is counted of the words of a window: in how many texts each stands, and its share of the texts' words.

The counts merge, and are bounded: beyond `MAX_WORDS` the rarest words are left out, and it is known in how many texts
such a word may stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.text.copies import Fingerprints, HashArray, fingerprints, hashes_of, joined
from metrics_py.text.descriptors import MAX_CHARACTERS
from metrics_py.text.words import words_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_WORDS = 200_000
BATCH_CHARACTERS = 20_000_000
"""Characters that are looked at together: some 500 MB of memory."""


@dataclass(frozen=True, eq=False)
class WordCounts:
    """Words of n texts.

    Attributes
    ----------
    n_given : int
        Texts, empty ones and those without a word too.
    n : int
        Texts with a word.
    n_spelled : int
        Texts with a word that has a letter.
    words : polars.DataFrame
        ``word``, ``hash`` (`metrics_py.text.copies.hashes_of`), ``n`` (texts with it), ``mass``: sum over the texts of
        its share of their words with letters, 0 for a word without. Sorted by hash.
    n_missing : int
        A word that is not there stands in at most so many texts.
    steps : float
        Sum over the texts of the share that one word has of their words with letters.
    squares : float or None
        Sum over the texts of the squared share of unknown words; None where it was not asked which words are known.
    """

    n_given: int
    n: int
    n_spelled: int
    words: pl.DataFrame
    n_missing: int = 0
    steps: float = 0.0
    squares: float | None = None

    def __add__(self, other: WordCounts) -> WordCounts:
        """Counts of both together."""
        return merged([self, other])


SCHEMA = pl.Schema({"word": pl.String, "hash": pl.UInt64, "n": pl.Int64, "mass": pl.Float64})


def merged(parts: Sequence[WordCounts]) -> WordCounts:
    """Counts of several lots of texts together.

    Parameters
    ----------
    parts : sequence of WordCounts
        May be empty.

    Returns
    -------
    WordCounts
        Bounded again.
    """
    words = pl.concat([pl.DataFrame(schema=SCHEMA), *(part.words for part in parts)])
    if len(parts) > 1:
        words = words.group_by("hash").agg(pl.col("word").min(), pl.col("n").sum(), pl.col("mass").sum())
    words = words.select(SCHEMA.names()).sort(["n", "hash"], descending=[True, False])
    lost = int(words["n"][MAX_WORDS]) if words.height > MAX_WORDS else 0
    n_given, n, n_spelled, n_missing = (
        sum(getattr(part, name) for part in parts) for name in ("n_given", "n", "n_spelled", "n_missing")
    )
    squares = [part.squares for part in parts if part.squares is not None]
    return WordCounts(
        n_given,
        n,
        n_spelled,
        words.head(MAX_WORDS).sort("hash"),
        n_missing + lost,
        sum((part.steps for part in parts), 0.0),
        sum(squares) if squares and len(squares) == len(parts) else None,
    )


def read_texts(
    texts: pl.Series, knows: Callable[[HashArray], NDArray[np.bool_]] | None = None
) -> tuple[WordCounts, Fingerprints]:
    """Words and fingerprints of texts, in one pass.

    Parameters
    ----------
    texts : polars.Series of String
        Nulls are left out; of each text the first `MAX_CHARACTERS` characters count.
    knows : callable, optional
        Hashes of words -> which of them are known: how much texts differ in their share of unknown words cannot be told
        from the counts of words later.

    Returns
    -------
    WordCounts, Fingerprints
        The fingerprints are of the texts with a word, in their order.

    Examples
    --------
    >>> counts, marks = read_texts(pl.Series(["a b a", "B 7", "?", None]))
    >>> counts.n_given, counts.n, len(marks)
    (3, 2, 2)
    >>> counts.words.sort("word").select("word", "n", pl.col("mass").round(2)).rows()
    [('7', 1, 0.0), ('a', 1, 0.67), ('b', 2, 1.33)]
    """
    given = texts.drop_nulls().str.slice(0, MAX_CHARACTERS)
    parts = [_read(batch, knows) for batch in _batches(given)]
    counts = merged([counts for counts, _ in parts])
    if not parts and knows is not None:
        counts = replace(counts, squares=0.0)
    return counts, joined([marks for _, marks in parts])


def _batches(texts: pl.Series) -> Iterator[pl.Series]:
    number = texts.str.len_chars().cast(pl.Int64).cum_sum() // BATCH_CHARACTERS
    edges = [0, *(number.diff().fill_null(0) != 0).arg_true().to_list(), len(texts)]
    for start, end in pairwise(edges):
        if end > start:
            yield texts[start:end]


def _read(texts: pl.Series, knows: Callable[[HashArray], NDArray[np.bool_]] | None) -> tuple[WordCounts, Fingerprints]:
    held = words_of(texts)
    has_words = held.list.len() > 0
    texts, held = texts.filter(has_words), held.filter(has_words)
    n_words = held.list.len().cast(pl.Int64).to_numpy()
    flat = (
        pl.DataFrame({"word": held.explode()}) if len(held) else pl.DataFrame({"word": pl.Series([], dtype=pl.String)})
    )
    known = flat.unique().sort("word").with_columns(
        hash=pl.Series(hashes_of(flat.unique().sort("word")["word"].to_list()), dtype=pl.UInt64),
        is_spelled=pl.col("word").str.contains(r"\p{L}"),
    ).with_row_index("id")  # fmt: skip
    tokens = flat.join(known, on="word", how="left", maintain_order="left").select("id", "hash", "is_spelled")
    text = np.repeat(np.arange(len(n_words)), n_words)
    spelled = np.bincount(text, weights=tokens["is_spelled"].to_numpy(), minlength=len(n_words))
    step = np.divide(1.0, spelled, out=np.zeros(len(spelled)), where=spelled > 0)
    tokens = tokens.with_columns(text=pl.Series(text), weight=pl.Series(step[text]) * pl.col("is_spelled"))
    ids = tokens["id"].to_numpy()
    mass = np.bincount(ids, weights=tokens["weight"].to_numpy(), minlength=known.height)
    n = np.bincount(tokens.select("text", "id").unique()["id"].to_numpy(), minlength=known.height)
    words = known.select("word", "hash", n=pl.Series(n, dtype=pl.Int64), mass=pl.Series(mass, dtype=pl.Float64))
    squares: float | None = None
    if knows is not None:
        is_unknown = ~knows(known["hash"].to_numpy())
        unknown = np.bincount(text, weights=tokens["weight"].to_numpy() * is_unknown[ids], minlength=len(n_words))
        squares = float((unknown**2).sum())
    marks = fingerprints(texts, tokens["hash"].to_numpy(), n_words) if len(n_words) else joined([])
    n_spelled = int((spelled > 0).sum())
    return WordCounts(len(has_words), len(n_words), n_spelled, words, 0, float(step.sum()), squares), marks
