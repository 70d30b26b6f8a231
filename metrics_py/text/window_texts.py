"""Texts of a window against the reference's: unknown words, copies, the distance of their words.

Texts of one day share that day, so none of these is judged by its texts: each is a stream, compared with its own past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import MIN_ROWS, Stream
from metrics_py.intervals import ROUNDING
from metrics_py.multivariate.gauge import THE_WINDOW, Gauge, usual_rows
from metrics_py.multivariate.random_features import NullLaw, null_law
from metrics_py.multivariate.window_sums import ReferenceSums, Sums, reference_sums, stacked
from metrics_py.text.copies import NO_WINDOW, Fingerprints, HashArray, IntArray, KnownTexts, copies, known_texts
from metrics_py.text.word_counts import WordCounts, merged
from metrics_py.text.words import words_of

FloatArray = NDArray[np.float64]

MOST_VOCABULARY = 200_000
"""Words of the reference's vocabulary, those in most texts."""
MOST_COMMON = 2_000
"""Words whose frequency the distance is made of."""
MOST_COUNTED = 20_000
"""Words whose counts in each window of the reference are kept: they say how days differ."""
MOST_KNOWN_TEXTS = 50_000
MOST_COPIES = 100_000
"""Texts of a window among which copies are looked for; a draw of more would hide pairs."""
MIN_REFERENCE = 50
LAW_TEXTS = 3_000
FLOOR = 0.01
"""Words that are rarer do not weigh more."""
RATES = ("unknown_word_share", "duplicate_text_rate", "near_duplicate_text_rate", "reference_copy_rate")
TEXT_STREAMS = ("word_distance", *RATES)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words of the reference.

    Attributes
    ----------
    hashes : ndarray of uint64, shape (v,)
        Sorted.
    window : ndarray of int64, shape (v,)
        Number of the only window with the word, `NO_WINDOW` where several have it or there are no windows.
    """

    hashes: HashArray
    window: IntArray

    def knows(self, hashes: HashArray, window: int = NO_WINDOW) -> NDArray[np.bool_]:
        """Which words the reference knows.

        Parameters
        ----------
        hashes : ndarray of uint64, shape (n,)
            Of words (`metrics_py.text.copies.hashes_of`).
        window : int, optional
            Number of the window they are of, where it is of the reference: words that it alone has are then unknown.

        Returns
        -------
        ndarray of bool, shape (n,)
            In their order.
        """
        if not len(self.hashes):
            return np.zeros(len(hashes), dtype=np.bool_)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return (self.hashes[place] == hashes) & ((self.window[place] != window) | (window == NO_WINDOW))

    def unknown(self, counts: WordCounts, window: int = NO_WINDOW) -> float:
        """Sum over the texts of the share of their words that the reference does not know.

        Parameters
        ----------
        counts : WordCounts
            Of a window.
        window : int, optional
            As of `knows`.

        Returns
        -------
        float
            From 0 to the texts with a word that has a letter; words without letters (numbers) count for nothing.
        """
        known = self.knows(counts.words["hash"].to_numpy(), window)
        left = counts.n_spelled - float(counts.words["mass"].to_numpy()[known].sum())
        return left if left > ROUNDING * counts.n_spelled else 0.0


@dataclass(frozen=True, eq=False)
class WordModel:
    """What is frozen of the reference's texts.

    Attributes
    ----------
    vocabulary : Vocabulary
        All its words, bounded.
    texts : KnownTexts
        Distinct texts, bounded.
    words : tuple of str
        The words in most texts, at most `MOST_COUNTED`, the commonest first.
    counts : ndarray of int64, shape (K, w)
        In how many texts of each window each of `words` stands; one row where there are no windows.
    n_missing : int
        A word that is not among `words` stands in at most so many texts of the reference.
    weights : ndarray, shape (c,)
        Of the first c words in the distance.
    law : NullLaw
        What the distance is without any change.
    sums : ReferenceSums
        As of `WordModel.window`.
    """

    vocabulary: Vocabulary
    texts: KnownTexts
    words: tuple[str, ...]
    counts: IntArray
    n_missing: int
    weights: FloatArray
    law: NullLaw
    sums: ReferenceSums

    def window(self, counts: WordCounts, marks: Fingerprints, window: int = NO_WINDOW) -> dict[str, FloatArray]:
        """Sums of one window; they merge, but for copies of a text of another window.

        Parameters
        ----------
        counts : WordCounts
            As `metrics_py.text.word_counts.read_texts` gives them.
        marks : Fingerprints
            Of the same texts, from there too.
        window : int, optional
            Its number, where it is of the reference.

        Returns
        -------
        dict of str to ndarray
            ``n_given``, ``n``, ``n_spelled`` (texts, those with words, those with words of letters), ``n_unknown`` (sum
            of the shares of unknown words), ``n_looked`` (texts among which copies were looked for), ``n_copies``,
            ``n_near``, ``n_repeated``, and ``present``: texts with each of the commonest words. Where the texts were
            read with `Vocabulary.knows`: ``unknown_squares`` and ``word_steps`` (`WordCounts.squares`, `steps`).
        """
        held = copies(marks)
        numbers = {
            "n_given": counts.n_given,
            "n": counts.n,
            "n_spelled": counts.n_spelled,
            "n_unknown": self.vocabulary.unknown(counts, window),
            "n_looked": held.n,
            "n_copies": held.n_copies,
            "n_near": held.n_near,
            "n_repeated": self.texts.n_repeated(marks, window),
        }
        if counts.squares is not None:
            numbers |= {"unknown_squares": counts.squares, "word_steps": counts.steps}
        present = _counts_of(counts, self.words[: len(self.weights)]).astype(float)
        return {name: np.array(float(number)) for name, number in numbers.items()} | {"present": present}


def _counts_of(counts: WordCounts, words: Sequence[str]) -> IntArray:
    asked = pl.DataFrame({"word": list(words)}, schema={"word": pl.String})
    return asked.join(counts.words, on="word", how="left", maintain_order="left")["n"].fill_null(0).to_numpy()


def fit_texts(
    keys: Sequence[str], counts: Sequence[WordCounts], marks: Sequence[Fingerprints], sample: pl.Series
) -> WordModel:
    """Freeze the reference's texts.

    Parameters
    ----------
    keys : sequence of str
        Names of its windows; none where it has no windows.
    counts, marks : sequence
        Of the texts of each window, else of all (`metrics_py.text.word_counts.read_texts`).
    sample : polars.Series of String
        Texts of all of the reference, in an order that has nothing to do with their content; some thousand are enough.

    Returns
    -------
    WordModel
        Frozen.

    Raises
    ------
    ValueError
        If there are fewer than 50 texts with words.
    """
    whole = merged(list(counts))
    if whole.n < MIN_REFERENCE:
        raise ValueError(f"fit_texts: {whole.n} texts with words in the reference: pass at least {MIN_REFERENCE}")
    ranked = whole.words.sort(["n", "word"], descending=[True, False])
    words = tuple(ranked["word"].head(MOST_COUNTED).to_list())
    by_window = np.stack([_counts_of(part, words) for part in counts])
    rest = int(ranked["n"][MOST_COUNTED]) if ranked.height > MOST_COUNTED else 0
    common = words[:MOST_COMMON]
    share = by_window[:, : len(common)].sum(axis=0) / whole.n
    weights = 1 / np.maximum(share * (1 - share), FLOOR)
    model = WordModel(
        _vocabulary(ranked.head(MOST_VOCABULARY), counts, has_windows=bool(keys)),
        known_texts(list(marks), MOST_KNOWN_TEXTS, has_windows=bool(keys)),
        words,
        by_window,
        rest + whole.n_missing,
        weights,
        null_law(_presence(sample.head(LAW_TEXTS), common) * np.sqrt(weights)),
        ReferenceSums((), {}, {}),
    )
    windows = [
        model.window(part, found, k if keys else NO_WINDOW)
        for k, (part, found) in enumerate(zip(counts, marks, strict=True))
    ]
    return replace(model, sums=reference_sums(keys, windows))


def _vocabulary(ranked: pl.DataFrame, counts: Sequence[WordCounts], *, has_windows: bool) -> Vocabulary:
    held = pl.concat([part.words.select("hash", k=pl.lit(k, dtype=pl.Int64)) for k, part in enumerate(counts)])
    alone = held.group_by("hash").agg(pl.col("k").min().alias("first"), pl.col("k").max().alias("last"))
    only = pl.when(pl.col("first") == pl.col("last")).then("first").otherwise(NO_WINDOW)
    found = ranked.select("hash").join(alone.select("hash", window=only), on="hash").sort("hash")
    window = found["window"].to_numpy() if has_windows else np.full(found.height, NO_WINDOW)
    return Vocabulary(found["hash"].to_numpy(), window.astype(np.int64))


def _presence(texts: pl.Series, words: Sequence[str]) -> FloatArray:
    """Which of some words each text has; texts without a word are left out."""
    held = words_of(texts.drop_nulls())
    held = held.filter(held.list.len() > 0)
    pairs = pl.DataFrame({"word": held.list.unique()}).with_row_index("text").explode("word")
    place = pl.DataFrame({"word": list(words)}, schema={"word": pl.String}).with_row_index("place")
    pairs = pairs.join(place, on="word")
    found = np.zeros((len(held), len(words)))
    found[pairs["text"].to_numpy(), pairs["place"].to_numpy()] = 1
    return found


def text_streams(
    model: WordModel,
    keys: Sequence[str],
    windows: Sequence[Sums],
    *,
    min_rows: int = MIN_ROWS,
    design_effect: float = 1.0,
    period: str = THE_WINDOW,
) -> list[Stream]:
    """Statistics of windows against the reference, each without itself where it is of the reference.

    Parameters
    ----------
    model : WordModel
        The frozen reference.
    keys : sequence of str
        Names of T windows.
    windows : sequence of mapping
        Their sums (`WordModel.window`).
    min_rows : int, default 200
        Fewer effective texts with words: not enough data.
    design_effect : float, default 1
        Of texts that depend on each other.
    period : str, default 'the window'
        What the rows lie in, for the reasons.

    Returns
    -------
    list of Stream
        Those of `TEXT_STREAMS`.

    Notes
    -----
    ``word_distance``: the root of the weighted sum of squared differences of the shares of texts with each of the
    commonest words; each is divided by its variance in the reference. It is watched as
    `metrics_py.multivariate.steady.steady` of its square, and shown without what sampling alone gives to it.
    ``unknown_word_share``: mean share of a text's words (with letters) that the reference does not know, with the
    variance of a mean (`metrics_py.multivariate.gauge.Gauge.mean_share`); sums without squares have that of a rate,
    which no mean of shares exceeds. The rates of copies are of texts with words. All are watched as arcsines.
    """
    now, old = stacked(windows), model.sums.others(keys)
    n, m = np.maximum(now["n"], 1), np.maximum(old["n"], 1)
    gauge = Gauge(now["n"], min_rows, design_effect, "texts with words", period)
    unit = design_effect * (1 / n + 1 / m)
    usual = design_effect * (1 / usual_rows(model.sums, "n") + 1 / max(float(model.sums.whole["n"]), 1.0))
    moved = now["present"] / n[:, None] - old["present"] / m[:, None]
    streams = [gauge.distance("word_distance", (moved**2 * model.weights).sum(axis=1), model.law, unit, usual)]
    streams.append(_unknown_words(gauge, now))
    for name, events in zip(RATES[1:], ("n_copies", "n_near", "n_repeated"), strict=True):
        streams.append(gauge.rate(name, now[events], now["n_looked"]))
    return streams


def _unknown_words(gauge: Gauge, now: Sums) -> Stream:
    total, n = now["n_unknown"], now["n_spelled"]
    if "unknown_squares" not in now:
        return gauge.rate(RATES[0], total, n)
    return gauge.mean_share(RATES[0], total, now["unknown_squares"], now["word_steps"] / np.maximum(n, 1), n)
