"""Vectors of texts: by a frozen model of hashed word frequencies that needs no download, or by a function.

The built-in model is latent semantic analysis: words fall into buckets by a checksum, weigh by how rare they are in the
reference, and are projected on the directions in which the reference's texts differ most.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.failures import AnswerError, told_failure
from metrics_py.multivariate.vectors import Matrix, Vectors, read_vectors
from metrics_py.scipy_functions import sparse_rows, truncated_svd

BUCKETS = 16_384
"""Buckets of words: of two words that share one either counts for both."""
MOST_DIRECTIONS = 64
MIN_TEXTS = 50
MOST_CHARACTERS = 4_000
"""Of a longer text only the beginning is read: time per row is bounded."""
BATCH = 256
GIVE_UP_AFTER = 3
"""A function that failed for so many batches in a row is not asked again in this window."""
WORD = r"[\p{L}\p{N}\p{M}--\p{Han}--\p{Hiragana}--\p{Katakana}]+|\p{Han}|\p{Hiragana}|\p{Katakana}"
"""A run of letters, digits and marks; each character of Han or kana by itself."""

Floats = NDArray[np.float32]
Function = Callable[[list[str]], Any]


@dataclass(frozen=True, eq=False)
class TextModel:
    """A frozen model of texts; both arrays are all there is of it.

    Attributes
    ----------
    idf : ndarray of float32, shape (buckets,)
        Weight of each bucket: ``1 + log((1 + n) / (1 + texts with it))`` in the n texts it was fitted on.
    basis : ndarray of float32, shape (buckets, k)
        Right singular vectors of those texts, the largest first; k <= 64.
    """

    idf: Floats
    basis: Floats

    def transform(self, texts: pl.Series) -> Matrix:
        """Vectors of texts.

        Parameters
        ----------
        texts : Series of String, shape (n,)
            Without nulls.

        Returns
        -------
        ndarray of float32, shape (n, k)
            At most of length 1, the shorter the less of a text the reference knows; zeros for one without words.
        """
        return np.asarray(_weighted(texts, self.idf) @ self.basis, dtype=np.float32)


def fit_texts(texts: pl.Series, directions: int = MOST_DIRECTIONS) -> TextModel:
    """Freeze a model of the reference's texts.

    Parameters
    ----------
    texts : Series of String, shape (n,)
        Without nulls; some thousand are enough.
    directions : int, default 64
        Numbers in a vector, at most; fewer where there are few texts or words.

    Returns
    -------
    TextModel
        The same texts in the same order give the same model.

    Raises
    ------
    ValueError
        If there are fewer than 50 texts with words, or all of them are the same.

    Notes
    -----
    Word counts are damped, ``1 + log(count)``, times the weight of the bucket, and scaled to length 1 per text. Words
    are lower-cased runs of letters and digits; their bucket is CRC-32 of their UTF-8 modulo 16,384, which is the same
    on every machine and in every release.

    References
    ----------
    Deerwester et al. (1990), Journal of the American Society for Information Science 41:391 (latent semantic analysis).
    Weinberger et al. (2009), Feature hashing for large scale multitask learning, ICML.

    Examples
    --------
    >>> old = pl.Series(["the bill was wrong", "where is my parcel", "parcel lost again"] * 30)
    >>> bill, parcel, other = fit_texts(old).transform(pl.Series(["wrong bill", "my parcel is lost", "zebra"]))
    >>> bool(bill @ parcel < 0.1), float(np.linalg.norm(other)) < 0.01
    (True, True)
    """
    buckets = _bucket_counts(texts)
    n = int((np.bincount(buckets.row, minlength=len(texts)) > 0).sum())
    if n < MIN_TEXTS:
        raise ValueError(f"fit_texts: {n} texts with words: pass at least {MIN_TEXTS}")
    frequency = np.bincount(buckets.bucket, minlength=BUCKETS)
    idf = (1 + np.log((1 + n) / (1 + frequency))).astype(np.float32)
    rows = _weighted(texts, idf, buckets)
    k = min(directions, n // 5, int((frequency > 0).sum()) - 1)
    if k < 1:
        raise ValueError("fit_texts: all texts have the same word: pass texts that differ")
    value, vector = truncated_svd(rows, k)
    kept = value > 1e-6 * value.max()
    basis = vector[:, kept]
    basis *= np.where(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    return TextModel(idf, basis.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Counts:
    """Text, bucket and count, where the count is not zero."""

    row: NDArray[np.int64]
    bucket: NDArray[np.int64]
    count: NDArray[np.float64]


def _bucket_counts(texts: pl.Series) -> _Counts:
    words = texts.str.slice(0, MOST_CHARACTERS).str.to_lowercase().str.extract_all(WORD)
    long = pl.DataFrame({"row": np.arange(len(texts)), "word": words}).explode("word").drop_nulls()
    distinct = long.select(pl.col("word").unique())
    codes = [zlib.crc32(word.encode()) % BUCKETS for word in distinct["word"].to_list()]
    coded = distinct.with_columns(bucket=pl.Series(codes, dtype=pl.Int64))
    counts = long.join(coded, on="word").group_by("row", "bucket").len().sort("row", "bucket")
    return _Counts(counts["row"].to_numpy(), counts["bucket"].to_numpy(), counts["len"].to_numpy().astype(float))


def _weighted(texts: pl.Series, idf: Floats, counts: _Counts | None = None) -> Any:
    """Sparse rows of length 1, shape (n, buckets)."""
    found = counts or _bucket_counts(texts)
    weight = (1 + np.log(found.count)) * idf[found.bucket]
    square = np.bincount(found.row, weights=weight**2, minlength=len(texts))
    return sparse_rows(weight / np.sqrt(square[found.row]), found.row, found.bucket, (len(texts), BUCKETS))


@dataclass(frozen=True, eq=False)
class Embedded:
    """What a function made of texts.

    Attributes
    ----------
    vectors : Vectors
        Those that fit. Texts without a vector count as not finite.
    failed : dict of str to int
        Why texts have no vector -> how many, the most frequent first.
    places : ndarray of int, shape (n,)
        Number of the text that each vector is of.
    """

    vectors: Vectors
    failed: Mapping[str, int]
    places: NDArray[np.int64]


def embed_texts(function: Function, texts: pl.Series, dimension: int | None = None, batch: int = BATCH) -> Embedded:
    """Ask a function for the vectors of texts, batch by batch; what fails is counted and left out.

    Parameters
    ----------
    function : callable
        Takes a list of texts and returns as many vectors: an array of shape (n, d), or lists of numbers.
    texts : Series of String, shape (n,)
        Null: no text, not counted.
    dimension : int, optional
        Expected length of a vector; default: that of most.
    batch : int, default 256
        Texts that the function is given at once.

    Returns
    -------
    Embedded
        Vectors, and why there are not more of them.

    Examples
    --------
    >>> found = embed_texts(lambda batch: [[len(text), 1.0] for text in batch], pl.Series(["a", None, "abc"]))
    >>> found.vectors.rows.tolist(), found.vectors.n_given
    ([[1.0, 1.0], [3.0, 1.0]], 2)
    """
    held, number = texts.drop_nulls(), np.flatnonzero(texts.is_not_null().to_numpy())
    parts, places = list[pl.Series](), list[NDArray[np.int64]]()
    failed: Counter[str] = Counter()
    row = 0
    for first in range(0, len(held), batch):
        asked = held.slice(first, batch).to_list()
        if row >= GIVE_UP_AFTER:
            failed[f"not asked after {GIVE_UP_AFTER} batches in a row that failed"] += len(asked)
            continue
        try:
            parts.append(_lists(function(asked), len(asked)))
            places.append(number[first : first + batch])
            row = 0
        except Exception as error:  # a function of the user's may raise anything: it is counted and stops nothing
            failed[told_failure(error)] += len(asked)
            row += 1
    lists = pl.concat(parts) if parts else pl.Series([], dtype=pl.List(pl.Float32))
    found = read_vectors(lists, dimension)
    n_failed = sum(failed.values())
    if found.n_not_finite:
        failed["a number that is missing, NaN or infinite"] += found.n_not_finite
    vectors = Vectors(
        found.rows, found.n_given + n_failed, found.n_wrong, found.n_not_finite + n_failed, found.dimensions
    )
    length = found.rows.shape[1]
    fits = lists.list.eval(pl.element().is_finite()).list.all() & (lists.list.len() == length)
    kept = np.concatenate(places)[fits.to_numpy()] if places else np.empty(0, dtype=np.int64)
    return Embedded(vectors, dict(failed.most_common()), kept)


def _lists(answer: object, n: int) -> pl.Series:
    """Whatever stands for n vectors, as lists; an answer of another shape is the function's mistake."""
    given = cast("list[object]", answer if isinstance(answer, list | tuple) else np.asarray(answer))
    rows = [np.asarray(row, dtype=np.float32).ravel() for row in given]
    if len(rows) != n:
        raise AnswerError(f"{len(rows)} vectors for {n} texts")
    return pl.Series([row.tolist() for row in rows], dtype=pl.List(pl.Float32))
