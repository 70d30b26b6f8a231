"""What a text is made of, counted in one pass over its code points: letters, digits, words, sentences, scripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

LETTER, DIGIT, UPPER, SPACE, MARK, JOINER, STOP, WIDE_STOP = (1 << bit for bit in range(8))
WORD = LETTER | DIGIT | MARK
"""Characters of words."""

BATCH_CHARACTERS = 2_000_000
"""Code points that are looked at together: some 30 MB of memory."""

SCRIPTS: dict[str, tuple[tuple[int, int], ...]] = {
    "Latin": ((0x41, 0x24F), (0x250, 0x2AF), (0x1D00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF), (0xFF21, 0xFF5A)),
    "Greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Cyrillic": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Armenian": ((0x530, 0x58F),),
    "Hebrew": ((0x590, 0x5FF), (0xFB1D, 0xFB4F)),
    "Arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFE)),
    "Devanagari": ((0x900, 0x97F), (0xA8E0, 0xA8FF)),
    "Bengali": ((0x980, 0x9FF),),
    "Gurmukhi": ((0xA00, 0xA7F),),
    "Gujarati": ((0xA80, 0xAFF),),
    "Tamil": ((0xB80, 0xBFF),),
    "Telugu": ((0xC00, 0xC7F),),
    "Kannada": ((0xC80, 0xCFF),),
    "Malayalam": ((0xD00, 0xD7F),),
    "Sinhala": ((0xD80, 0xDFF),),
    "Thai": ((0xE00, 0xE7F),),
    "Lao": ((0xE80, 0xEFF),),
    "Tibetan": ((0xF00, 0xFFF),),
    "Myanmar": ((0x1000, 0x109F), (0xAA60, 0xAA7F)),
    "Georgian": ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F)),
    "Ethiopic": ((0x1200, 0x139F), (0x2D80, 0x2DDF)),
    "Khmer": ((0x1780, 0x17FF),),
    "Mongolian": ((0x1800, 0x18AF),),
    "Hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)),
    "Kana": ((0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)),
    "Han": (
        *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),
        *((0xF900, 0xFAFF), (0x20000, 0x323AF)),
    ),
}  # fmt: skip
"""Blocks of the Unicode standard by script; letters outside of them are of script ``Other``."""

NAMES = (*SCRIPTS, "Other")
NO_LETTERS = "none"
"""Script of a text without letters."""

UNSPACED = tuple(NAMES.index(name) + 1 for name in ("Han", "Kana"))
"""Scripts that put no blanks between words: each character counts as one."""


@dataclass(frozen=True)
class Composition:
    """Counts per text.

    Attributes
    ----------
    characters, letters, digits, upper, spaces, others, non_ascii : ndarray of int64
        Code points; `others` are punctuation, signs and control characters, `upper` the letters in upper case.
    words, word_characters : ndarray of int64
        Runs of letters, digits and marks (an apostrophe between letters joins them), and their code points; each
        character of Han or kana is a word.
    sentences : ndarray of int64
        Runs of ``.``, ``!``, ``?`` or ``…`` before a blank or the end, and of the full-width signs anywhere; at least
        one where there is a word.
    script : list of str
        The script of most letters, ``none`` without letters.
    """

    characters: NDArray[np.int64]
    letters: NDArray[np.int64]
    digits: NDArray[np.int64]
    upper: NDArray[np.int64]
    spaces: NDArray[np.int64]
    others: NDArray[np.int64]
    non_ascii: NDArray[np.int64]
    words: NDArray[np.int64]
    word_characters: NDArray[np.int64]
    sentences: NDArray[np.int64]
    script: list[str]


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Flags and script number (1..; 0 none) of every code point."""
    flags, scripts = np.zeros(0x110000, np.uint8), np.zeros(0x110000, np.uint8)
    for point in (*range(0x32400), *range(0xE0000, 0xE0200)):
        category = unicodedata.category(chr(point))
        if category[0] == "L":
            flags[point] = LETTER | (UPPER if category in ("Lu", "Lt") else 0)
        elif category[0] == "N":
            flags[point] = DIGIT if category == "Nd" else MARK
        elif category[0] == "M":
            flags[point] = MARK
        elif category[0] == "Z" or chr(point).isspace():
            flags[point] = SPACE
    for sign in "'’":
        flags[ord(sign)] |= JOINER
    for sign in ".!?…؟۔।":
        flags[ord(sign)] |= STOP
    for sign in "。！？｡":
        flags[ord(sign)] |= WIDE_STOP
    for number, blocks in enumerate(SCRIPTS.values(), 1):
        for low, high in blocks:
            scripts[low : high + 1] = number
    scripts[(scripts == 0)] = len(NAMES)
    scripts[(flags & LETTER) == 0] = 0
    return flags, scripts


def composition(texts: pl.Series) -> Composition:
    """Count what texts are made of.

    Parameters
    ----------
    texts : polars.Series of String
        Without nulls.

    Returns
    -------
    Composition
        Arrays of shape (n,).

    Examples
    --------
    >>> found = composition(pl.Series(["Don't go. Now!", "你好", ""]))
    >>> found.words.tolist(), found.sentences.tolist(), found.script
    ([3, 2, 0], [2, 1, 0], ['Latin', 'Han', 'none'])
    """
    parts = [_count(batch) for batch in _batches(texts)]
    names = [name for name in Composition.__dataclass_fields__ if name != "script"]
    arrays = {name: np.concatenate([np.zeros(0, np.int64), *(part[0][name] for part in parts)]) for name in names}
    return Composition(**arrays, script=[word for part in parts for word in part[1]])


def _batches(texts: pl.Series) -> Iterator[pl.Series]:
    """Neighbouring rows with about `BATCH_CHARACTERS` together."""
    if not len(texts):
        return
    number = texts.str.len_chars().cast(pl.Int64).cum_sum() // BATCH_CHARACTERS
    edges = [0, *(number.diff().fill_null(0) != 0).arg_true().to_list(), len(texts)]
    for start, end in pairwise(edges):
        if end > start:
            yield texts[start:end]


def _count(texts: pl.Series) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    known, scripts_of = _tables()
    points = np.frombuffer(("\n".join(texts.to_list()) + "\n").encode("utf-32-le"), np.uint32)
    lengths = texts.str.len_chars().cast(pl.Int64).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])
    flags, scripts = known[points], scripts_of[points]

    def total(where: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.add.reduceat(where, starts, dtype=np.int64)

    after = np.append(flags[1:], np.uint8(SPACE))  # what follows each character, and what stands before it
    before = np.append(np.uint8(SPACE), flags[:-1])
    is_letter = (flags & LETTER) != 0
    is_joined = ((flags & JOINER) != 0) & ((before & LETTER) != 0) & ((after & LETTER) != 0)
    is_word = ((flags & WORD) != 0) | is_joined
    is_alone = np.isin(scripts, UNSPACED)
    was_word, was_alone = np.append(False, is_word[:-1]), np.append(False, is_alone[:-1])
    is_stop = ((flags & STOP) != 0) & ((after & SPACE) != 0)
    is_stop |= ((flags & WIDE_STOP) != 0) & ((after & (STOP | WIDE_STOP)) == 0)
    letters, digits, spaces = total(is_letter), total((flags & DIGIT) != 0), total((flags & SPACE) != 0) - 1
    words = total(is_word & (~was_word | is_alone | was_alone))
    counts = {
        "characters": lengths,
        "letters": letters,
        "digits": digits,
        "upper": total((flags & UPPER) != 0),
        "spaces": spaces,
        "others": total((flags & (WORD | SPACE)) == 0),
        "non_ascii": total(points > 127),
        "words": words,
        "word_characters": total(is_word),
        "sentences": np.maximum(total(is_stop), (words > 0).astype(np.int64)) * (words > 0),
    }
    present = np.unique(scripts[is_letter])
    if not len(present):
        return counts, [NO_LETTERS] * len(texts)
    by_script = np.stack([total(scripts == number) for number in present])
    names = [NAMES[int(number) - 1] for number in present]
    best = by_script.argmax(axis=0).tolist()
    return counts, [names[i] if n else NO_LETTERS for i, n in zip(best, letters.tolist(), strict=True)]
