"""Descriptors: values by hand, own ones, what is undefined, and that hostile texts take bounded time."""

from __future__ import annotations

import time
from typing import Any

import polars as pl
import pytest

from metrics_py.text.descriptors import (
    DEFAULTS,
    DESCRIPTORS,
    DTYPES,
    MAX_CHARACTERS,
    OwnDescriptor,
    describe,
    is_json,
    kinds_of,
)
from metrics_py.text.lexicons import syllables


def value(name: str, text: str | None) -> object:
    return describe(pl.Series([text], dtype=pl.String), [name])[name].to_list()[0]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("characters", "née", 3),
        ("words", "one two", 2),
        ("sentences", "One. Two.", 2),
        ("word_length", "one three", 4),
        ("sentence_length", "One two. Three.", 1.5),
        ("distinct_word_share", "The the cat", 2 / 3),
        ("letter_share", "ab 1", 0.5),
        ("digit_share", "ab12", 0.5),
        ("upper_case_share", "AbcD", 0.5),
        ("whitespace_share", "a b ", 0.5),
        ("symbol_share", "a!b?", 0.5),
        ("non_ascii_share", "aé", 0.5),
        ("script", "привет", "Cyrillic"),
        ("language", "Das ist ein schöner Tag und wir gehen spazieren", "de"),
        ("language", "This is a lovely day and we go for a walk", "en"),
        ("language", "1234", "unknown"),
        ("reading_ease", "The cat sat.", 206.835 - 1.015 * 3 - 84.6),
        ("is_json", ' {"a": [1, 2]}', True),
        ("is_json", "[" * 5_000, False),
        ("is_json", "12", False),
        ("has_url", "www.example.org", True),
    ],
)
def test_values(name, text, expected):
    found = value(name, text)
    assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected


def test_sentiment_has_the_right_sign():
    assert value("sentiment", "I love this great phone") > 0.5
    assert value("sentiment", "terrible, I hate it") < -0.5
    assert value("sentiment", "the phone is on the table") == 0


def test_syllables_of_english_words():
    assert [syllables(word) for word in ("cat", "table", "computer")] == [1, 2, 3]


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_every_descriptor_keeps_its_type_and_the_rows(name):
    texts = pl.Series([None, "", "Some text.", None, " ", "12"], dtype=pl.String)
    found = describe(texts, [name])[name]
    assert found.dtype == DTYPES[DESCRIPTORS[name].kind] and len(found) == 6
    assert found.is_null()[[0, 3]].all()
    assert found[2] is not None


@pytest.mark.parametrize("name", [name for name in DESCRIPTORS if name.endswith("share") or name.endswith("length")])
def test_a_share_of_nothing_is_missing(name):
    assert value(name, "") is None


def test_what_stands_behind_nothing_needs_a_package():
    assert all(DESCRIPTORS[name].needs is None for name in DEFAULTS)
    assert all(descriptor.is_available for descriptor in DESCRIPTORS.values())


class TestOwn:
    texts = pl.Series(["Refund please", "MONEY  back!", "refunds", None, "ORD-12"])

    def test_words_are_whole_and_of_any_case(self):
        own = OwnDescriptor("r", words=("refund", "money back"))
        assert describe(self.texts, [own])["r"].to_list() == [True, True, False, None, False]

    def test_words_with_signs_are_taken_literally(self):
        own = OwnDescriptor("r", words=("c++", "a.b"))
        assert describe(pl.Series(["I like C++ much", "xc++", "axb", "(a.b)"]), [own])["r"].to_list() == [
            True,
            False,
            False,
            True,
        ]

    def test_regex(self):
        own = OwnDescriptor("o", regex="ORD-[0-9]+")
        assert describe(self.texts, [own])["o"].to_list() == [False, False, False, None, True]

    def test_function(self):
        own = OwnDescriptor("n", function=lambda texts: [len(text) for text in texts], kind="numeric")
        assert describe(self.texts, [own])["n"].to_list() == [13.0, 12.0, 7.0, None, 6.0]

    @pytest.mark.parametrize(
        ("function", "why"), [(lambda texts: [1], "1 values for 4 texts"), (lambda texts: 1 / 0, "ZeroDivisionError")]
    )
    def test_a_function_that_fails_is_told_and_null(self, function, why):
        failed: dict[str, str] = {}
        own = OwnDescriptor("n", function=function, kind="numeric")
        assert describe(self.texts, [own], failed)["n"].null_count() == 5
        assert why in failed["n"]
        with pytest.raises((ValueError, ZeroDivisionError)):
            describe(self.texts, [own])

    def test_a_failure_tells_no_text(self, tmp_path):
        file = tmp_path / "tone.py"
        file.write_text("def score(texts):\n    return [float(text) for text in texts]\n")
        space: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), space)
        failed: dict[str, str] = {}
        describe(pl.Series(["secret"]), [OwnDescriptor("n", function=space["score"], kind="numeric")], failed)
        assert failed == {"n": "ValueError in line 2 of tone.py"}
        describe(pl.Series(["x"]), [OwnDescriptor("n", function=lambda _: ["secret"], kind="numeric")], failed)
        assert "secret" not in failed["n"]

    def test_words_of_scripts_without_blanks(self):
        texts = pl.Series(["我要退款谢谢", "買iPhone了", "iPhones", "ขอคืนเงินครับ", "返金して", "退 款"])
        for word, row in (("退款", 0), ("iPhone", 1), ("คืนเงิน", 3), ("返金", 4)):
            found = describe(texts, [OwnDescriptor("w", words=(word,))])["w"].to_list()
            assert found == [k == row for k in range(len(texts))], word

    def test_a_pattern_that_explodes_elsewhere_takes_linear_time(self):
        bombs = pl.Series(["a" * 19_000 + "!", "a" * 10_000_000 + "!"])
        for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){12}$"):
            assert describe(bombs, [OwnDescriptor("b", regex=pattern)])["b"].to_list()[0] is False

    @pytest.mark.parametrize("text", ['{"a": NaN}', "[Infinity]", "[-Infinity]", "{'a': 1}", "[1,]", "[01]", "7"])
    def test_what_is_no_json(self, text: str):
        assert not is_json(text)

    def test_json_with_numbers_of_any_length(self):
        assert is_json("[" + "9" * 10_000 + ", 1e999, -0.5]")

    def test_kinds(self):
        assert kinds_of(["script", OwnDescriptor("n", words=("x",))]) == {"script": "categorical", "n": "boolean"}


HOSTILE = {
    "10 MB": "word " * 2_000_000,
    "control characters": "".join(map(chr, range(32))) * 600,
    "right to left": "\u202e\u2066שלום \u202cعالم" * 1_000,
    "zalgo": "Z\u0338\u0322\u0316\u034d\u0300\u0301" * 3_000,
    "unique tokens": " ".join(f"w{i}" for i in range(100_000)),
    "regex bomb": "a" * 20_000 + "!",
    "deep JSON": "[" * 100_000,
    "one long word": "x" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_take_bounded_time(name):
    """All descriptors and a pattern that hangs backtracking engines: less than 3 s of CPU for one row."""
    own = OwnDescriptor("bomb", regex="(a+)+$")
    describe(pl.Series(["warm up"]), [*DESCRIPTORS, own])
    start = time.process_time()
    found = describe(pl.Series([HOSTILE[name]]), [*DESCRIPTORS, own])
    assert time.process_time() - start < 3
    assert found["characters"][0] == len(HOSTILE[name])
    assert found["words"][0] <= MAX_CHARACTERS
