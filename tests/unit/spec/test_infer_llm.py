"""`init` finds the calls of a language model by the names of their columns, and what feedback is by its values."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from sightline.commands.init import render
from sightline.errors import SightlineError
from sightline.spec.infer import infer_monitor
from sightline.spec.infer_llm import feedback_of


def calls(**more: object) -> pl.DataFrame:
    n = 60
    at = [datetime(2026, 1, 1) + timedelta(hours=6 * i) for i in range(n)]
    texts = [f"this is answer number {i} to one of your many questions" for i in range(n)]
    columns = {"response_id": [f"r{i}" for i in range(n)], "created_at": at, "Prompt": texts, "answer": texts}
    return pl.DataFrame({**columns, "tokens_out": range(n), "finish_reason": ["stop"] * n, **more})


def test_prompt_and_answer_make_a_language_model_and_thumbs_its_label():
    draft = infer_monitor(calls(thumb=["up", "down", None] * 20))
    assert draft.task == "text_generation" and draft.roles["label"] == "thumb" and draft.feedback == "thumbs"
    assert draft.llm == {
        "prompt": "Prompt", "response": "answer", "output_tokens": "tokens_out", "finish_reason": "finish_reason",
    }  # fmt: skip
    assert not draft.features.keys() & set(draft.llm.values())


def test_a_sample_with_a_score_or_without_an_answer_is_none():
    assert infer_monitor(calls(score=[0.25, 0.5, 0.75] * 20), given={"score": "score"}).task == "binary_classification"
    with pytest.raises(SightlineError, match="answer of a language model"):
        infer_monitor(calls().drop("answer"), task="text_generation")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 5, 3], "[1, 5]"), ([1, 9], "[1, 10]"), ([True, False], "thumbs"), ([0.2, 0.7], None), (["fine"], None)],
)
def test_feedback_is_told_by_its_values(values: list[object], expected: str | None):
    assert feedback_of(pl.Series(values)) == expected


def test_the_model_and_the_conversation_of_a_call_are_its_version_and_its_entity():
    draft = infer_monitor(calls(model=["small-2"] * 60, conversation=[f"c{i // 3}" for i in range(60)]))
    assert (draft.roles["model_version"], draft.roles["entity_id"]) == ("model", "conversation")
    other = calls(model=["a", "b"] * 30).rename({"Prompt": "make", "answer": "notes"}).with_columns(score=pl.lit(0.5))
    assert "model_version" not in infer_monitor(other).roles, "a car's model is a feature"


def test_a_log_without_feedback_gets_a_line_that_says_what_may_come():
    text = render(infer_monitor(calls()), "assistant", None, "sample.parquet")
    assert "#   feedback: thumbs " in text
