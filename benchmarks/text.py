"""CPU seconds of describing texts and counting their words: ``python -m benchmarks text --rows 100000``."""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import polars as pl

from metrics_py.text.descriptors import DEFAULTS, DESCRIPTORS, describe
from metrics_py.text.window_texts import fit_texts
from metrics_py.text.word_counts import read_texts
from metrics_py.text.words import document_frequencies, moved_words


def draw(rng: np.random.Generator, rows: int, words: int) -> pl.Series:
    """Texts of made-up words with the frequencies of a language: sentences of twelve words."""
    letters = np.array(list("aaabcdeeeefghiiijklmnnoooprrsssttuuvwyz"))
    known = np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(20_000)])
    ranks = np.minimum(rng.zipf(1.2, (rows, words)) - 1, len(known) - 1)
    texts: list[str] = []
    for row in ranks:
        chosen = known[row].tolist()
        parts = [" ".join(chosen[i : i + 12]).capitalize() + "." for i in range(0, words, 12)]
        texts.append(" ".join(parts))
    return pl.Series(texts)


def measured(what: str, function: object, *arguments: object) -> float:
    """Run something and print what it took."""
    start = time.process_time()
    function(*arguments)  # pyright: ignore[reportCallIssue]
    taken = time.process_time() - start
    print(f"  {what:<34} {taken:7.2f}")
    return taken


def main() -> None:
    """Print CPU seconds by descriptor, of the default ones, of all, and of the words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="texts")
    parser.add_argument("--words", type=int, default=100, help="words of a text")
    options = parser.parse_args()
    texts = draw(np.random.default_rng(1), options.rows, options.words)
    describe(texts.head(10), list(DESCRIPTORS))  # loads models and tables
    size = int(texts.str.len_bytes().sum()) / 1e6
    print(f"{options.rows:,} texts of {options.words} words, {size:.0f} MB; CPU seconds")
    for name in DESCRIPTORS:
        measured(name, describe, texts, [name])
    measured("the default ones together", describe, texts, DEFAULTS)
    measured("all together", describe, texts, list(DESCRIPTORS))
    half = len(texts) // 2
    measured("words that moved, of two halves", _words, texts[:half], texts[half:])
    model = fit_texts([], *([part] for part in read_texts(texts.head(20_000))), texts.head(3_000))
    measured("a window: words, unknown ones, copies", lambda: model.window(*read_texts(texts)))
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def _words(old: pl.Series, new: pl.Series) -> None:
    moved_words(document_frequencies(old), document_frequencies(new))


if __name__ == "__main__":
    main()
