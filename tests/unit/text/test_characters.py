"""Counts of characters, words, sentences and scripts, by hand."""

from __future__ import annotations

import polars as pl
import pytest

from metrics_py.text.characters import BATCH_CHARACTERS, composition


def counts(text: str) -> dict[str, int | str]:
    found = composition(pl.Series([text]))
    names = [name for name in found.__dataclass_fields__ if name != "script"]
    return {name: int(getattr(found, name)[0]) for name in names} | {"script": found.script[0]}


def test_everything_of_one_text():
    assert counts("Don't pay 100 €! ÄB") == {
        "characters": 19,
        "letters": 9,
        "digits": 3,
        "upper": 3,
        "spaces": 4,
        "others": 3,  # apostrophe, euro, exclamation mark
        "non_ascii": 2,
        "words": 4,
        "word_characters": 13,  # Don't, pay, 100, ÄB
        "sentences": 1,
        "script": "Latin",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("...", 0),
        ("well-known", 2),
        ("it’s 'quoted'", 2),
        ("你好world", 3),
        ("こんにちは", 5),
        ("e\u0301te\u0301", 1),
        ("snake_case", 2),
        ("a\nb\tc", 3),
        ("Z\u0338\u0322\u0316a\u0334l\u0336", 1),
        ("'tis dogs'", 2),
    ],
)
def test_words(text, words):
    assert counts(text)["words"] == words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("!!!", 0),
        ("no end", 1),
        ("One. Two! Three?", 3),
        ("Wait... what?!", 2),
        ("3.14 is pi.", 1),
        ("今天。明天！", 2),
        ("One.\nTwo.", 2),
    ],
)
def test_sentences(text, sentences):
    assert counts(text)["sentences"] == sentences


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hallo", "Latin"),
        ("привет ok", "Cyrillic"),
        ("مرحبا", "Arabic"),
        ("שלום", "Hebrew"),
        ("नमस्ते", "Devanagari"),
        ("한국어", "Hangul"),
        ("ありがとう", "Kana"),
        ("漢字", "Han"),
        ("ᚠᚢᚦ", "Other"),
        ("12 !", "none"),
        ("\u202eabc", "Latin"),
    ],
)
def test_script_of_most_letters(text, script):
    assert counts(text)["script"] == script


def test_rows_do_not_lean_on_their_neighbours():
    """A word at the end of a row and one at the beginning of the next are two, and batches are cut between rows."""
    texts = ["ab", "cd", "", "x." * 3, "é" * (BATCH_CHARACTERS // 2), "ab cd", "z" * (BATCH_CHARACTERS + 1), "q r"] * 2
    found = composition(pl.Series(texts))
    alone = [counts(text) for text in texts]
    assert found.words.tolist() == [row["words"] for row in alone]
    assert found.letters.tolist() == [row["letters"] for row in alone]
    assert found.sentences.tolist() == [row["sentences"] for row in alone]
    assert found.script == [row["script"] for row in alone]


def test_no_rows():
    found = composition(pl.Series([], dtype=pl.String))
    assert len(found.words) == 0 and found.script == []
