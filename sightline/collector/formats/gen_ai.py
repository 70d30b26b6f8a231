"""Calls of language models as OpenTelemetry tells them: the GenAI semantic conventions, still in development.

Written after version `SEMANTIC_CONVENTIONS`. Earlier names of the same things (`EARLIER`) are read too, so that a newer
or an older instrumentation costs columns at most, never rows. What each attribute becomes:

``gen_ai.response.id`` (without it ``<trace id>:<span id>``) is the prediction id; ``gen_ai.response.model`` or
``gen_ai.request.model`` the version; ``gen_ai.conversation.id`` the entity; start and end of a span time and latency;
an error status or ``error.type`` the status. The last message of the user is the prompt, the first output message the
answer, ``gen_ai.retrieval.documents`` the documents; tokens and the first finish reason are what they are called.
An attribute that is called like a feature of the monitor is that feature. All others are left out.

Spans of other operations than `OPERATIONS` (agents, tools, embeddings) are no calls and are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from sightline.collector.formats import rows
from sightline.errors import SightlineError
from sightline.log.events import INFERENCES, LABELS
from sightline.narrowing import is_array, is_object
from sightline.spec.llm import LlmColumns
from sightline.spec.model import MonitorSpec

SEMANTIC_CONVENTIONS = "1.44.0"
OPERATIONS = ("chat", "text_completion", "generate_content")
DETAILS, EVALUATION = "gen_ai.client.inference.operation.details", "gen_ai.evaluation.result"
EVENTS = (DETAILS, EVALUATION)

EARLIER = {
    "gen_ai.usage.input_tokens": "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.output_tokens": "gen_ai.usage.completion_tokens",
    "gen_ai.input.messages": "gen_ai.prompt",
    "gen_ai.output.messages": "gen_ai.completion",
}
"""Attribute -> what it was called before."""


def is_call(attributes: Mapping[str, Any]) -> bool:
    """Whether a span is the call of a model that answers in text."""
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in OPERATIONS
    return "gen_ai.request.model" in attributes or "gen_ai.response.model" in attributes


def read_call(
    spec: MonitorSpec,
    attributes: Mapping[str, Any],
    trace: Mapping[str, str],
    at: datetime | None,
    *,
    latency_ms: float | None = None,
    failed: str | None = None,
    part: str | None = None,
) -> rows.Event | None:
    """The event of a call.

    Parameters
    ----------
    spec : MonitorSpec
        Names the columns.
    attributes : mapping of str to object
        Of the span or event.
    trace : mapping of str to str
        ``trace_id``, ``span_id`` and ``service.*``.
    at : datetime or None
        When it began.
    latency_ms : float, optional
        How long it took.
    failed : str, optional
        Why it failed, from the status of the span.
    part : {"request", "response"}, optional
        It is half of the call.

    Returns
    -------
    InferenceEvent, RejectedEvent or None
        None for a monitor without the section ``columns.llm``.
    """
    llm = spec.columns.llm
    if llm is None:
        return None
    known = {**attributes, **{new: attributes[old] for new, old in EARLIER.items()
                              if new not in attributes and old in attributes}}  # fmt: skip
    model = known.get("gen_ai.response.model") or known.get("gen_ai.request.model")
    event = rows.checked(
        INFERENCES,
        {
            "id": identity(known, trace),
            "at": at,
            "version": None if model is None else str(model),
            "entity": known.get("gen_ai.conversation.id"),
            "latency_ms": latency_ms,
            "status": known.get("error.type") or failed,
            "features": _features(spec, llm, known),
            "trace": dict(trace) or None,
            "source": "otlp",
        },
    )
    if part is not None and hasattr(event, "part"):
        event.part = part  # pyright: ignore[reportAttributeAccessIssue] (a rejected event has none)
    return event


def read_evaluation(
    spec: MonitorSpec, attributes: Mapping[str, Any], trace: Mapping[str, str], at: datetime | None
) -> rows.Event | None:
    """The label that an evaluation is: of the answer `gen_ai.response.id`, else of the call it hangs on.

    Returns
    -------
    LabelEvent, RejectedEvent or None
        None where the monitor has no labels, or the evaluation is not the one that ``labels.column`` names.

    Raises
    ------
    SightlineError
        It has neither a score nor a word.
    """
    labels, name = spec.labels, attributes.get("gen_ai.evaluation.name")
    if labels is None or (name is not None and str(name).strip().lower() != labels.column.strip().lower()):
        return None
    score, word = (attributes.get(f"gen_ai.evaluation.score.{key}") for key in ("value", "label"))
    by_word = spec.model.task != "text_generation" or labels.feedback == "thumbs"
    value = (word if word not in (None, "") else score) if by_word else score
    if value is None:
        fix = "set gen_ai.evaluation.score.value" + (", or gen_ai.evaluation.score.label" if by_word else "")
        raise SightlineError(f"the evaluation {name!r} has no score", where="gen_ai.evaluation.score", fix=fix)
    told = {"id": identity(attributes, trace), "value": value, "at": at, "source": "otlp"}
    return rows.checked(LABELS, told)


def identity(attributes: Mapping[str, Any], trace: Mapping[str, str]) -> str:
    """Id of the prediction.

    Raises
    ------
    SightlineError
        There is neither an id of the response nor one of a span.
    """
    given = attributes.get("gen_ai.response.id")
    if given not in (None, ""):
        return str(given)
    if "trace_id" in trace and "span_id" in trace:
        return f"{trace['trace_id']}:{trace['span_id']}"
    raise SightlineError("neither gen_ai.response.id nor the ids of a span", where="gen_ai.response.id")


def _features(spec: MonitorSpec, llm: LlmColumns, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the columns of the section ``llm`` are, then attributes that are called like a feature."""
    answers = messages(known.get("gen_ai.output.messages"))
    reasons: Any = known.get("gen_ai.response.finish_reasons")
    reason = reasons[0] if is_array(reasons) and reasons else reasons if isinstance(reasons, str) else None
    if reason is None and answers:
        reason = answers[0].get("finish_reason")
    asked = [message for message in messages(known.get("gen_ai.input.messages")) if message.get("role") == "user"]
    documents = known.get("gen_ai.retrieval.documents")
    found: dict[str, Any] = {
        "prompt": text_of(asked[-1]) if asked else None,
        "response": text_of(answers[0]) if answers else None,
        "documents": documents if documents is None or isinstance(documents, str) else _json(documents),
        "input_tokens": known.get("gen_ai.usage.input_tokens"),
        "output_tokens": known.get("gen_ai.usage.output_tokens"),
        "finish_reason": reason,
    }
    named = {name: found[role] for role, name in llm.named.items() if found.get(role) is not None}
    own = {name: known[name] for name in spec.columns.logged if name in known and name not in named}
    return {**named, **own}


def messages(given: Any) -> list[Mapping[str, Any]]:
    """Messages of an attribute: a list of objects, or its JSON; a text that is none is one message of the user's.

    Examples
    --------
    >>> messages('[{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]')[0]["role"]
    'user'
    >>> messages("Hi")
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(given, str):
        try:
            read = msgspec.json.decode(given.encode("utf-8", "surrogatepass"))
        except (ValueError, RecursionError):
            read = None
        given = read if is_array(read) or is_object(read) else [{"role": "user", "content": given}]
    if is_object(given):
        given = [given]
    return [message for message in given if is_object(message)] if is_array(given) else []


def text_of(message: Mapping[str, Any]) -> str | None:
    """Text of a message: its parts of text, else the JSON of what it has instead (calls of tools)."""
    parts: Any = message.get("parts", message.get("content"))
    if isinstance(parts, str):
        return parts
    if not is_array(parts):
        return None
    held = [part for part in parts if is_object(part)]
    texts = [part.get("content", part.get("text")) for part in held if part.get("type") == "text"]
    spoken = [text for text in texts if isinstance(text, str)]
    if spoken or not held:
        return "\n".join(spoken)
    return _json([part for part in held if part.get("type") != "reasoning"])


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()
