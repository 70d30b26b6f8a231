"""The columns of a language model's calls in a sample of predictions, by their usual names."""

from __future__ import annotations

import re

import polars as pl

from sightline.spec.kinds import TEXT_TYPES
from sightline.spec.llm import THUMBS

NAMES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "user_message", "user_prompt", "input_text", "instruction"),
    "response": ("response", "answer", "completion", "generated_text", "output_text", "model_output", "reply"),
    "context": ("context", "retrieved_context"),
    "documents": ("documents", "retrieved_documents", "retrieved_contexts", "contexts", "chunks"),
    "input_tokens": ("input_tokens", "prompt_tokens", "tokens_in", "n_input_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "tokens_out", "n_output_tokens"),
    "finish_reason": ("finish_reason", "stop_reason"),
}
"""Role -> usual names, best first."""
FEEDBACK = (
    "thumb",
    "thumbs",
    "thumbs_up",
    "feedback",
    "user_feedback",
    "rating",
    "user_rating",
    "stars",
    "judge_score",
)
"""Usual names of what is said of an answer later."""
CALL_ROLES: dict[str, tuple[str, ...]] = {
    "model_version": ("model", "model_name", "response_model", "request_model"),
    "entity_id": (
        "conversation_id", "conversation", "thread_id", "thread", "chat_id", "chat", "dialogue_id", "session",
    ),
}  # fmt: skip
"""Usual names of roles that mean them in a log of calls alone."""
RANGES = ((1.0, 5.0), (1.0, 10.0))


def find_calls(sample: pl.DataFrame, task: str | None) -> dict[str, str]:
    """Role -> column, where the sample holds calls of a language model.

    Parameters
    ----------
    sample : polars.DataFrame
        Rows of predictions.
    task : str or None
        As told by the user: another task than ``text_generation`` has none.

    Returns
    -------
    dict of str to str
        Empty unless there is a text of an answer, and of a prompt where no task was told.
    """
    if task not in (None, "text_generation"):
        return {}
    plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in reversed(sample.columns)}
    found: dict[str, str] = {}
    for role, names in NAMES.items():
        column = next((plain[name] for name in names if name in plain and _fits(sample[plain[name]], role)), None)
        if column is not None:
            found[role] = column
    is_enough = "response" in found and (task is not None or "prompt" in found)
    return found if is_enough else {}


def find_feedback(sample: pl.DataFrame) -> str | None:
    """The column with what is said of an answer, by its name."""
    plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in reversed(sample.columns)}
    return next((plain[name] for name in FEEDBACK if name in plain), None)


def feedback_of(labels: pl.Series) -> str | None:
    """``labels.feedback`` as YAML; None for any number."""
    values = labels.drop_nulls().unique()
    if not len(values):
        return None
    words = {re.sub(r"[\s-]+", "_", str(value).strip().lower()).removesuffix(".0") for value in values.to_list()}
    if words <= THUMBS.keys():
        return "thumbs"
    if values.dtype.is_numeric():
        numbers = values.cast(pl.Float64)
        whole = bool((numbers == numbers.round()).all())
        fitting = [ends for ends in RANGES if whole and bool(numbers.is_between(*ends).all())]
        return f"[{fitting[0][0]:g}, {fitting[0][1]:g}]" if fitting else None
    return None


def _fits(column: pl.Series, role: str) -> bool:
    if role in ("input_tokens", "output_tokens"):
        return column.dtype.is_numeric()
    return column.dtype in TEXT_TYPES or (role == "documents" and isinstance(column.dtype, pl.List))
