"""Texts that repeat others, word for word or nearly: exact hashes, and MinHash signatures of runs of three words.

The work grows linearly with the texts: each is compared with two neighbours in every band of its signature, never with
all others. All texts of a window are looked at together as arrays: datasketch, the library for it, takes them one by
one in Python.

References
----------
Broder (1997), Compression and Complexity of Sequences: 21 (resemblance of texts by minima of hashes). Leskovec,
Rajaraman & Ullman (2020), Mining of Massive Datasets, 3.4 (bands).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
HashArray = NDArray[np.uint64]
SignatureArray = NDArray[np.uint32]

SHINGLE = 3
"""Words in a run; a shorter text is one run."""
SIGNATURE = 64
"""Minima kept of a text: the share that two texts have in common estimates how much they resemble each other, with a
standard error of 0.05 at `ALIKE`."""
BAND = 4
"""Minima of a band; two texts are compared where all of one band agree. Of pairs with a resemblance of 0.8 one in a
thousand is missed."""
ALIKE = 0.8
"""Nearly the same text: so large a share of the runs of either is in both (Jaccard)."""
NO_WINDOW = -1
"""In place of a window: none in particular."""


@lru_cache(maxsize=1)
def _multipliers() -> HashArray:
    rng = np.random.Generator(np.random.PCG64(20_251))
    return rng.integers(0, 2**63, SIGNATURE, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def hashes_of(words: list[str]) -> HashArray:
    """64 bits of each word or text, the same in every release and on every machine.

    Parameters
    ----------
    words : list of str
        Any.

    Returns
    -------
    ndarray of uint64, shape (n,)
        The first 8 bytes of BLAKE2b of UTF-8; lone surrogates count as they are.
    """
    digests = b"".join([blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest() for word in words])
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is kept of n texts with words, to find copies of them.

    Attributes
    ----------
    exact : ndarray of uint64, shape (n,)
        Hash of the text in lower case, each run of white space one blank.
    signature : ndarray of uint32, shape (n, 64)
        Minima of the hashes of its runs of words.
    """

    exact: HashArray
    signature: SignatureArray

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.exact)

    def __getitem__(self, rows: IntArray | NDArray[np.bool_]) -> Fingerprints:
        """Some of them."""
        return Fingerprints(self.exact[rows], self.signature[rows])


def joined(parts: list[Fingerprints]) -> Fingerprints:
    """Fingerprints of several lots of texts together.

    Parameters
    ----------
    parts : list of Fingerprints
        May be empty.

    Returns
    -------
    Fingerprints
        In the order of the parts.
    """
    exact: HashArray = np.concatenate([np.empty(0, np.uint64), *(part.exact for part in parts)])
    signatures: list[SignatureArray] = [np.empty((0, SIGNATURE), np.uint32), *(part.signature for part in parts)]
    return Fingerprints(exact, np.concatenate(signatures))


def fingerprints(texts: pl.Series, word_hashes: HashArray, n_words: IntArray) -> Fingerprints:
    """Fingerprints of texts whose words are known.

    Parameters
    ----------
    texts : polars.Series of String
        n texts, each with at least one word.
    word_hashes : ndarray of uint64
        Hashes of the words of all texts, one text behind the other.
    n_words : ndarray of int64, shape (n,)
        Words of each text, 1 or more.

    Returns
    -------
    Fingerprints
        In the order of the texts.
    """
    plain = texts.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    return Fingerprints(hashes_of(plain.to_list()), _signatures(word_hashes, n_words))


def _signatures(word_hashes: HashArray, n_words: IntArray) -> SignatureArray:
    starts = np.concatenate([[0], np.cumsum(n_words)[:-1]])
    multiplier = np.uint64(0x9E3779B97F4A7C15)
    runs = word_hashes.copy()
    left = np.repeat(starts + n_words, n_words) - np.arange(len(word_hashes))  # words from here to the text's end
    for step in range(1, SHINGLE):
        following = np.zeros_like(runs)
        following[:-step] = word_hashes[step:]
        following[left <= step] = 0
        runs = (runs ^ (runs >> np.uint64(29))) * multiplier + following
    runs ^= runs >> np.uint64(32)
    is_run = (left >= SHINGLE) | (np.repeat(n_words, n_words) == left)  # whole runs, and the first of every text
    offsets = np.concatenate([[0], np.cumsum(is_run)])[starts]
    runs = runs[is_run]
    found = np.empty((len(n_words), SIGNATURE), np.uint32)
    for k, factor in enumerate(_multipliers()):
        mixed = ((runs * factor) >> np.uint64(32)).astype(np.uint32)
        found[:, k] = np.minimum.reduceat(mixed, offsets)
    return found


def _bands(signature: SignatureArray) -> list[HashArray]:
    """One key per band of each text; equal keys are equal bands but for collisions of 64 bits."""
    multiplier = np.uint64(0x9E3779B97F4A7C15)
    keys: list[HashArray] = []
    for first in range(0, SIGNATURE, BAND):
        key = np.zeros(len(signature), np.uint64)
        for k in range(first, first + BAND):
            key = (key ^ (key >> np.uint64(31))) * multiplier + signature[:, k]
        keys.append(key)
    return keys


def resemblance(first: SignatureArray, second: SignatureArray) -> NDArray[np.float64]:
    """How much texts resemble each other: estimated share of their runs of three words that both have (Jaccard).

    Parameters
    ----------
    first, second : ndarray of uint32, shape (n, 64)
        Signatures.

    Returns
    -------
    ndarray, shape (n,)
        From 0 to 1.
    """
    return (first == second).mean(axis=1)


@dataclass(frozen=True)
class Copies:
    """How many texts repeat others.

    Attributes
    ----------
    n : int
        Texts with words.
    n_copies : int
        Of them those that repeat an earlier one word for word.
    n_near : int
        Those that are no copy, and nearly the same as another text.
    """

    n: int
    n_copies: int
    n_near: int


def copies(found: Fingerprints) -> Copies:
    """Texts that repeat another one of the same lot.

    Parameters
    ----------
    found : Fingerprints
        Of all texts.

    Returns
    -------
    Copies
        Of n texts that are all the same, n - 1 are copies; of two that are nearly the same, one is counted.
    """
    _, first = np.unique(found.exact, return_index=True)
    distinct = found[np.sort(first)]
    return Copies(len(found), len(found) - len(distinct), int(_repeats(distinct.signature).sum()))


def _repeats(signature: SignatureArray) -> NDArray[np.bool_]:
    """Which texts are nearly the same as one before: each is compared with its neighbour and the first of a band."""
    found = np.zeros(len(signature), dtype=np.bool_)
    for key in _bands(signature):
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        is_same = np.append(False, ordered[1:] == ordered[:-1])
        begins = np.maximum.accumulate(np.where(is_same, 0, np.arange(len(key))))
        places = np.flatnonzero(is_same)
        places = places[~found[order[places]]]
        for other in (places - 1, begins[places]):
            is_alike = resemblance(signature[order[places]], signature[order[other]]) >= ALIKE
            found[order[places[is_alike]]] = True
    return found


@dataclass(frozen=True, eq=False)
class KnownTexts:
    """Distinct texts of the reference.

    Attributes
    ----------
    texts : Fingerprints
        Sorted by `Fingerprints.exact`.
    window : ndarray of int64, shape (n,)
        Number of the only window that holds the text; `NO_WINDOW` where several do, or the reference has none.
    """

    texts: Fingerprints
    window: IntArray

    def n_repeated(self, found: Fingerprints, window: int = NO_WINDOW) -> int:
        """How many texts repeat one of the reference, word for word or nearly.

        Parameters
        ----------
        found : Fingerprints
            Of a window.
        window : int, optional
            The window's number, where it is of the reference: it is compared with the others.

        Returns
        -------
        int
            Copies within the window count each.
        """
        rows = np.flatnonzero(self.window != window) if window != NO_WINDOW else np.arange(len(self.texts))
        known = self.texts[rows]
        if not len(known) or not len(found):
            return 0
        place = np.minimum(np.searchsorted(known.exact, found.exact), len(known) - 1)
        is_known = known.exact[place] == found.exact
        for mine, others in zip(_bands(found.signature), _bands(known.signature), strict=True):
            order = np.argsort(others, kind="stable")
            ordered = others[order]
            open_rows = np.flatnonzero(~is_known)
            for side in ("left", "right"):
                at = np.searchsorted(ordered, mine[open_rows], side=side) - (side == "right")
                at = np.clip(at, 0, len(ordered) - 1)
                is_same = ordered[at] == mine[open_rows]
                candidates, partners = open_rows[is_same], order[at[is_same]]
                is_alike = resemblance(found.signature[candidates], known.signature[partners]) >= ALIKE
                is_known[candidates[is_alike]] = True
        return int(is_known.sum())


def known_texts(windows: list[Fingerprints], most: int, *, has_windows: bool = True) -> KnownTexts:
    """Distinct texts of some windows.

    Parameters
    ----------
    windows : list of Fingerprints
        Of the windows of the reference, or one of all its texts.
    most : int
        Texts to keep: those with the smallest hashes, which is as good as a draw by lot.
    has_windows : bool, default True
        False: a reference without windows.

    Returns
    -------
    KnownTexts
        At most `most` texts.
    """
    together = joined(windows)
    number = np.repeat(np.arange(len(windows)), [len(window) for window in windows])
    order = np.argsort(together.exact, kind="stable")
    exact, number = together.exact[order], number[order]
    _, first, n = np.unique(exact, return_index=True, return_counts=True)
    last = first + n - 1
    window = np.where((number[first] == number[last]) & has_windows, number[first], NO_WINDOW)
    return KnownTexts(together[order[first[:most]]], window[:most].astype(np.int64))
