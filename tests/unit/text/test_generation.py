"""Measures of a language model's answers: each against a definition written out here, and hostile rows."""

from __future__ import annotations

import re
import time

import numpy as np
import polars as pl
import pytest

from metrics_py.text.generation import (
    MAX_FORMAT_CHARACTERS,
    MEASURES,
    Terms,
    allowed_measures,
    lacking,
    measure_answers,
    schema_validator,
)
from metrics_py.text.refusals import is_refusal_text

REFUSED = (
    "I'm sorry, but I can't assist with that request.", "I cannot provide medical advice.",
    "As an AI language model, I don't have opinions.", "Sorry, I can’t help with this.",
    "Unfortunately, I cannot answer this question.", "I'm not able to share that.", "I must decline to answer.",
    "That's not something I can help with.", "I apologize, but I cannot fulfill this request.",
    "Thank you for asking. I can't help with that.", "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Leider kann ich Ihnen dabei nicht helfen.", "Désolé, mais je ne peux pas vous aider.",
    "Lo siento, pero no puedo ayudarte con eso.", "Mi dispiace, ma non posso aiutarti.",
    "Desculpe, mas não posso ajudar com isso.", "Het spijt me, maar ik kan je daar niet mee helpen.",
)  # fmt: skip
ANSWERED = (
    "You can't return it after 30 days.", "I can help you with that.", "Sorry to hear about your order!",
    "I'm sorry for the delay, your parcel arrives tomorrow.", "Your order cannot be cancelled.",
    "Die Lieferung kann nicht geändert werden.", "I could help with that. First, open the page.",
    "That is something I can help with.", "If you cannot answer, call us. I suggest the shop.",
    "Je ne pense pas que ce soit vrai.", "No puedo esperar: ¡qué buena noticia!",
)  # fmt: skip


def measured(names: str | tuple[str, ...], terms: Terms | None = None, **columns: list[object]) -> list[object]:
    numbers = {"input_tokens", "output_tokens", "latency_ms"}
    dtypes = {
        name: pl.Float64 if name in numbers else pl.Boolean if name == "is_error" else pl.String for name in columns
    }
    rows = {name: pl.Series(name, values, dtype=dtypes[name]) for name, values in columns.items()}
    found = measure_answers(rows, (names,) if isinstance(names, str) else names, terms or Terms())
    return found[names if isinstance(names, str) else names[0]].to_list()


@pytest.mark.parametrize(("texts", "expected"), [(REFUSED, True), (ANSWERED, False)])
def test_refusals_are_told_by_their_wording_in_seven_languages(texts: tuple[str, ...], expected: bool):
    found = is_refusal_text(pl.Series(texts)).to_list()
    assert [text for text, value in zip(texts, found, strict=True) if value != expected] == []


def test_refusals_of_a_filter_of_the_users_and_of_no_text():
    found = measured(
        "is_refusal", Terms(refusals=("ask  a colleague",)),
        response=["Please ask a\nColleague.", "Done.", None, None, "  ", "I can't help with that."],
        finish_reason=["stop", "Content-Filter", "SAFETY", None, "stop", "stop"],
        is_error=[False, False, False, False, False, True],
    )  # fmt: skip
    assert found == [True, True, True, None, None, None]


def test_empty_answers_are_those_of_calls_that_succeeded_and_whose_text_was_logged():
    found = measured(
        "is_empty", response=["a", " \n", None, None, None], output_tokens=[5, 0, 0, 12, None],
        is_error=[False, False, False, False, True],
    )  # fmt: skip
    assert found == [False, True, True, None, None]


def test_truncated_answers_by_the_spellings_of_several_providers():
    reasons = ["length", "MAX_TOKENS", "max tokens", "model-length", "stop", "end_turn", None, ""]
    found = measured("is_truncated", response=["x"] * 8, finish_reason=reasons)
    assert found == [True, True, True, True, False, False, None, None]


def test_json_is_strict_and_a_schema_is_asked():
    texts = ['{"a": 1}', "[1]", "7", '{"a": NaN}', "```json\n{}\n```", '{"a": 1} thanks', "", None]
    assert measured("is_valid_format", Terms(format="json"), response=texts) == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "maximum": 5}}}
    assert measured(
        "is_valid_format", Terms(json_schema=schema), response=['{"a": 1}', '{"a": 9}', '{"b": 1}', "[]", "no"]
    ) == [True, False, False, False, False]


def test_a_schema_reads_nothing_from_elsewhere():
    with pytest.raises(ValueError, match="elsewhere"):
        schema_validator({"$ref": "https://example.com/schema.json"})
    with pytest.raises(ValueError):
        schema_validator({"type": "nothing"})


def test_cost_is_tokens_times_prices_of_the_first_pattern_that_matches():
    prices = {"gpt-4o-mini*": (0.15, 0.6), "gpt-4o*": (2.5, 10.0)}
    found = measured(
        "cost", Terms(prices=prices), response=["x"] * 5,
        model=["gpt-4o-mini-2024", "gpt-4o-2024-08-06", "other", None, "gpt-4o"],
        input_tokens=[1000, 1000, 1000, 1000, None], output_tokens=[500, 500, 500, 500, 1],
    )  # fmt: skip
    assert found == [pytest.approx(0.00045), pytest.approx(0.0075), None, None, None]


def test_latency_over_tokens_is_undefined_without_tokens():
    found = measured(
        "ms_per_token", response=["x"] * 4, latency_ms=[100, 100, None, 50], output_tokens=[20, 0, 5, None]
    )
    assert found == [5.0, None, None, None]


def test_overlap_is_the_share_of_the_answers_runs_of_three_words():
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(12)]
    answers = [" ".join(rng.choice(words, rng.integers(0, 40))) for _ in range(200)]
    sources = [" ".join(rng.choice(words, rng.integers(0, 200))) for _ in range(200)]

    def runs(text: str) -> set[tuple[str, ...]]:
        found = re.findall(r"\w+", text.lower())
        return set(zip(found, found[1:], found[2:], strict=False))

    expected = [
        len(runs(a) & runs(s)) / len(runs(a)) if runs(a) else None for a, s in zip(answers, sources, strict=True)
    ]
    found = measured("prompt_overlap", response=answers, prompt=sources)
    assert [v is None for v in found] == [v is None for v in expected]
    known = [(a, b) for a, b in zip(found, expected, strict=True) if b is not None]
    assert np.allclose(*zip(*known, strict=True), atol=1e-12)
    # what stands in the context or in a document counts, and Han is read by characters
    both = measured(
        "context_overlap", response=["a b c d"] * 3, context=["a b c", None, ""], documents=["b c d", "", None]
    )
    assert both == [1.0, None, None]
    assert measured("prompt_overlap", response=["我们不能退货"], prompt=["我们不能"]) == [0.5]


def test_documents_are_counted_whatever_their_form():
    given = ['["a","b"]', '[{"id": 1}]', "[]", "one text", "", None, "[broken"]
    assert measured("count", response=["x"] * 7, documents=given) == [2, 1, 0, 1, 0, None, 1]


def test_a_switch_of_language_is_told_where_both_are_known():
    english, german = "How long may I return the shoes that I bought last week?", "Sie können die Schuhe zurückgeben."
    found = measured(
        "switches_language", prompt=[english, english, "?", None], response=[german, english, german, german]
    )
    assert found == [True, False, None, None]


def test_measures_follow_from_the_columns():
    assert allowed_measures(frozenset({"response"})) == ("is_empty", "is_refusal")
    assert "switches_language" not in allowed_measures(frozenset({"response", "prompt"})), "it needs a package"
    assert lacking("cost", frozenset({"input_tokens"})) == ("output_tokens", "prices")
    assert lacking("context_overlap", frozenset({"documents"})) == ()


@pytest.mark.parametrize("n", [0, 1, 3])
def test_no_rows_and_missing_values_have_the_types_of_all_others(n: int):
    texts = ("response", "prompt", "context", "documents", "finish_reason", "model")
    rows = {name: pl.Series(name, [None] * n, dtype=pl.String) for name in texts}
    rows |= {
        name: pl.Series(name, [None] * n, dtype=pl.Float64) for name in ("input_tokens", "output_tokens", "latency_ms")
    }
    rows["is_error"] = pl.Series("is_error", [None] * n, dtype=pl.Boolean)
    found = measure_answers(rows, tuple(MEASURES), Terms(format="json", prices={"*": (1, 1)}))
    assert {name: values.dtype == (pl.Float64 if MEASURES[name].kind == "numeric" else pl.Boolean)
            for name, values in found.items()} == dict.fromkeys(MEASURES, True)  # fmt: skip
    assert all(len(values) == n for values in found.values())


def test_hostile_texts_take_a_bounded_time_and_one_measure_stops_no_other():
    hostile = ["a" * 3_000_000, "[" * 500_000, '{"a":' * 200_000, "\x00\u202e" * 1000, "I " * 500_000, "é́̂" * 50_000]
    rows = {name: pl.Series(name, hostile) for name in ("response", "prompt", "context", "documents")}
    started = time.process_time()
    found = measure_answers(rows, ("is_refusal", "is_valid_format", "context_overlap", "count"), Terms(format="json"))
    assert time.process_time() - started < 20
    assert found["is_valid_format"].to_list()[:2] == [None, False] and len(hostile[0]) > MAX_FORMAT_CHARACTERS
    failed: dict[str, str] = {}
    broken = {"response": pl.Series(["a"]), "finish_reason": pl.Series([["no", "text"]])}
    found = measure_answers(broken, ("is_truncated", "is_empty"), Terms(), failed)
    assert found["is_truncated"].to_list() == [None] and found["is_empty"].to_list() == [False]
    assert list(failed) == ["is_truncated"]
