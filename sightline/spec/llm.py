"""The columns of a language model's calls, what is measured of each answer, and what people or judges say of it later.

Each measure is a feature of its own, called ``<response>.<measure>``, like the descriptors of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, Field

from sightline.errors import nearest
from sightline.narrowing import is_object
from sightline.spec.part import Part

if TYPE_CHECKING:
    from metrics_py.text.generation import Terms
    from sightline.spec.columns import Columns
    from sightline.spec.model import MonitorSpec
    from sightline.spec.yaml_lines import KeyPath

TEXT_ROLES = ("prompt", "response", "context", "documents")
ROLE_KINDS = {
    **dict.fromkeys(TEXT_ROLES, "text"),
    "input_tokens": "numeric",
    "output_tokens": "numeric",
    "finish_reason": "categorical",
}
"""Roles whose columns are features, and of which kind."""

SHORT = ("context", "documents")
"""Roles of which only the length is described, unless the file says otherwise."""


class Price(Part):
    """What a million tokens cost."""

    input: float = Field(ge=0, allow_inf_nan=False, description="Price of a million tokens of prompts.")
    output: float = Field(ge=0, allow_inf_nan=False, description="Price of a million tokens of answers.")


class AnswerFormat(Part):
    """The form that every answer has to have; one of the two."""

    regex: str | None = Field(
        default=None, min_length=1, description="Regular expression (Rust's, linear time) that matches somewhere."
    )
    json_schema: dict[str, Any] | None = Field(
        default=None, description="JSON schema, written here: the whole answer is a JSON document that fits it."
    )


class LlmColumns(Part):
    """Names of the columns of a language model's calls; those that are named become features."""

    response: str = Field(description="Text of the answer.")
    prompt: str | None = Field(default=None, description="Text of the question.")
    context: str | None = Field(default=None, description="Text that the answer is to rest on.")
    documents: str | None = Field(
        default=None, description="Retrieved documents: a list of texts or objects, or a JSON array as text."
    )
    input_tokens: str | None = Field(default=None, description="Tokens that went in.")
    output_tokens: str | None = Field(default=None, description="Tokens that came out.")
    finish_reason: str | None = Field(
        default=None, description="Why the answer ended (`stop`, `length`, `content_filter`)."
    )
    measures: tuple[str, ...] | None = Field(
        default=None,
        description="What is measured of each answer, every one a feature `<response>.<name>`: docs/llm.md. Default: "
        "all that the columns allow and that need no package.",
    )
    refusals: tuple[str, ...] = Field(
        default=(), description="Phrases by which your model refuses, besides those that are known (docs/llm.md)."
    )
    format: Literal["json"] | AnswerFormat | None = Field(
        default=None, description="The form that answers have to have: `json`, a regular expression or a JSON schema."
    )
    prices: dict[str, Price] = Field(
        default={},
        description="Pattern of model versions (`gpt-4o*`, `*`) -> price of a million tokens; the first that matches.",
    )
    otlp: Literal["spans", "events", "both"] = Field(
        default="spans",
        description="Which telemetry of OpenTelemetry holds the calls: spans, events, or spans with the texts in "
        "events (`both`: each call waits for the other half).",
    )

    @property
    def named(self) -> dict[str, str]:
        """Roles whose columns are features -> column."""
        return {role: name for role in ROLE_KINDS if (name := getattr(self, role)) is not None}


def with_answers(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Section ``columns`` as it stands in a file, with the columns of its ``llm`` as features.

    Parameters
    ----------
    columns : mapping of str to object
        A feature that stands there already keeps what is said of it.

    Returns
    -------
    dict of str to object
        Without the measures: see `with_measures`.
    """
    said = _said(columns.get("llm"))
    features: Any = columns.get("features") or {}
    if not said or not is_object(features):
        return dict(columns)
    added: dict[str, Any] = {}
    for role, kind in ROLE_KINDS.items():
        name = said.get(role)
        if not isinstance(name, str) or name in added:
            continue
        given = features.get(name)
        if given is None or given == {}:
            added[name] = {"kind": kind, "descriptors": ["characters"]} if role in SHORT else {"kind": kind}
        elif is_object(given) and given.get("kind") is None:
            added[name] = {**given, "kind": kind}
    return {**columns, "features": {**features, **added}}


def with_measures(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Section ``columns`` with the features that the measures of its answers are, behind all others."""
    said = _said(columns.get("llm"))
    features: Any = columns.get("features") or {}
    if not said or not is_object(features):
        return dict(columns)
    from metrics_py.text.generation import MEASURES  # costs NumPy

    found: dict[str, Any] = dict(features)
    for feature, measure in measured_of(said, columns.get("latency_ms")).items():
        kind, given = MEASURES[measure].kind, found.get(feature)
        if given is None or given == {}:
            found[feature] = {"kind": kind}
        elif is_object(given) and given.get("kind") is None:
            found[feature] = {**given, "kind": kind}
    return {**columns, "features": found}


def _said(given: object) -> Mapping[str, Any]:
    if isinstance(given, BaseModel):
        return given.model_dump(exclude_none=True)
    return given if is_object(given) else {}


def measured_of(said: Mapping[str, Any], latency_ms: object) -> dict[str, str]:
    """Feature -> measure, of a section ``llm`` as it stands in a file; names that are none are left out."""
    if not isinstance(said.get("response"), str):
        return {}
    from metrics_py.text.generation import MEASURES, allowed_measures  # costs NumPy

    given = said.get("measures")
    roles = _roles(said, latency_ms)
    entries = cast("Sequence[object]", given) if isinstance(given, list | tuple) else None
    wanted = None if entries is None else [name for name in entries if isinstance(name, str)]
    chosen = allowed_measures(roles) if wanted is None else [name for name in wanted if name in MEASURES]
    columns = {name: said.get(MEASURES[name].of) for name in chosen}
    return {f"{column}.{name}": name for name, column in columns.items() if isinstance(column, str)}


def _roles(said: Mapping[str, Any], latency_ms: object) -> frozenset[str]:
    named = {role for role in (*ROLE_KINDS, "format", "prices") if said.get(role)}
    return frozenset(named | ({"latency_ms"} if latency_ms else set[str]()))


def terms_of(llm: LlmColumns) -> Terms:
    """What the measures need to know besides the rows."""
    from metrics_py.text.generation import Terms

    form = llm.format
    prices = {pattern: (price.input, price.output) for pattern, price in llm.prices.items()}
    if isinstance(form, AnswerFormat):
        return Terms(llm.refusals, None, form.regex, form.json_schema, prices)
    return Terms(llm.refusals, form, None, None, prices)


def definition(llm: LlmColumns, measure: str) -> str:
    """What defines the values of a measure, besides its name, as stored data keep it; empty for most.

    Prices are left out: a new price counts from the next row on, and what a call cost on its day stays.
    """
    if measure == "is_refusal" and llm.refusals:
        return llm.model_dump_json(include={"refusals"})
    if measure == "is_valid_format":
        return llm.model_dump_json(include={"format"}, exclude_none=True)
    return ""


def mistakes(columns: Columns) -> Iterator[tuple[KeyPath, str, str]]:
    """Key path, what is wrong and the fix, of the section ``columns.llm``."""
    llm, path = columns.llm, ("columns", "llm")
    if llm is None:
        return
    seen: dict[str, str] = {}
    for role, name in llm.named.items():
        if name in seen:
            yield (*path, role), f"the column {name!r} is already columns.llm.{seen[name]}", "name another column"
        seen.setdefault(name, role)
        kind = columns.features[name].kind if name in columns.features else None
        if kind not in (None, ROLE_KINDS[role]):
            what = f"the feature {name!r} is {kind}, and columns.llm.{role} is {ROLE_KINDS[role]}"
            yield ("columns", "features", name, "kind"), what, f"write `kind: {ROLE_KINDS[role]}`, or leave it out"
    yield from _measures(columns, llm)
    yield from _format(llm)
    for index, phrase in enumerate(llm.refusals):
        if not phrase.strip():
            yield (*path, "refusals", index), "a phrase is empty", "remove it"


def _measures(columns: Columns, llm: LlmColumns) -> Iterator[tuple[KeyPath, str, str]]:
    from metrics_py.text.generation import INSTALL, MEASURES, lacking

    path: KeyPath = ("columns", "llm", "measures")
    roles = _roles(llm.model_dump(exclude_none=True), columns.latency_ms)
    for index, name in enumerate(llm.measures or ()):
        if name not in MEASURES:
            yield (*path, index), f"{name!r} is no measure of answers", nearest(name, list(MEASURES))
            continue
        if name in (llm.measures or ())[:index]:
            yield (*path, index), f"the measure {name!r} stands here a second time", "name it once"
        for lost in lacking(name, roles):
            where = "columns.latency_ms" if lost == "latency_ms" else f"columns.llm.{lost}"
            yield (*path, index), f"the measure {name!r} needs {lost}", f"name {where}, or remove the measure"
        if not MEASURES[name].is_available:
            what = f"the measure {name!r} needs the package {MEASURES[name].package}, which is not installed"
            yield (*path, index), what, INSTALL
    for feature, measure in columns.measured.items():
        if feature in columns.derived:
            what = f"{feature!r} is a descriptor of the answer and a measure of it"
            yield ("columns", "features", feature), what, "give the descriptor another name"
        given, kind = columns.features[feature], MEASURES[measure].kind
        if given.kind != kind:
            what = f"{feature!r} is measured and {kind}, not {given.kind}"
            yield ("columns", "features", feature, "kind"), what, f"write `kind: {kind}`"
        if not given.nullable:
            what = f"{feature!r} is measured where it can be: whether it may be missing follows from its columns"
            yield ("columns", "features", feature, "nullable"), what, "remove it"


def _format(llm: LlmColumns) -> Iterator[tuple[KeyPath, str, str]]:
    form, path = llm.format, ("columns", "llm", "format")
    if not isinstance(form, AnswerFormat):
        return
    if (form.regex is None) == (form.json_schema is None):
        yield path, "a format is a regular expression or a JSON schema", "write `regex` or `json_schema`"
    if form.regex is not None:
        from sightline.spec.texts import pattern_mistakes

        yield from pattern_mistakes((*path, "regex"), form.regex)
    if form.json_schema is not None:
        from metrics_py.text.generation import INSTALL, schema_validator

        try:
            schema_validator(form.json_schema)
        except ModuleNotFoundError:
            yield (*path, "json_schema"), "JSON schemas need the package jsonschema-rs, which is not installed", INSTALL
        except ValueError as error:
            what = f"the JSON schema cannot be read: {str(error).splitlines()[0]}"
            yield (*path, "json_schema"), what, "mend it; references to other documents are not followed"


FEEDBACK_METRICS: dict[str, tuple[dict[str, Any], ...]] = {
    "thumbs": (
        {"name": "thumbs_up_rate", "sql": "label", "direction": "higher_is_better", "scale": "arcsine"},
    ),
    "rating": (
        {"name": "mean_rating", "sql": "label", "direction": "higher_is_better"},
        {"name": "low_rating_rate", "sql": "CASE WHEN label <= {low!r} THEN 1.0 ELSE 0.0 END",
         "direction": "lower_is_better", "scale": "arcsine"},
    ),
    "score": ({"name": "mean_score", "sql": "label", "direction": "higher_is_better"},),
}  # fmt: skip
"""What is judged of late feedback, by its kind; each a metric as the user could write it."""

THUMBS = {
    **dict.fromkeys(
        ("1", "true", "up", "thumbs_up", "thumbsup", "thumb_up", "like", "liked", "yes", "good", "positive", "pass",
         "👍", "+1"), 1.0,
    ),
    **dict.fromkeys(
        ("0", "-1", "false", "down", "thumbs_down", "thumbsdown", "thumb_down", "dislike", "disliked", "no", "bad",
         "negative", "fail", "👎"), 0.0,
    ),
}  # fmt: skip
"""Words for thumbs up and down, in lower case with underscores."""


def feedback_kind(given: object) -> str:
    """``thumbs``, ``rating`` (a range) or ``score`` (any number), of ``labels.feedback``."""
    return "thumbs" if given == "thumbs" else "score" if given is None else "rating"


def with_feedback(value: Mapping[str, Any]) -> dict[str, Any]:
    """A monitor's file as it stands, with the metrics of its feedback; those that the file names itself stay."""
    model, labels = value.get("model"), value.get("labels")
    task = model.get("task") if is_object(model) else getattr(model, "task", None)
    if task != "text_generation" or labels is None:
        return dict(value)
    given: Any = labels.get("feedback") if is_object(labels) else getattr(labels, "feedback", None)
    kind, low = feedback_kind(given), 0.0
    if kind == "rating":
        try:
            lowest, highest = map(float, given)
        except (TypeError, ValueError):
            return dict(value)  # refused where the field is read
        low = lowest + (highest - lowest) / 4
    metrics = value.get("metrics") or ()
    if not isinstance(metrics, list | tuple):
        return dict(value)
    metrics = cast("Sequence[Any]", metrics)
    taken = {entry.get("name") if is_object(entry) else getattr(entry, "name", None) for entry in metrics}
    added = [
        {**entry, "sql": entry["sql"].format(low=low), "needs_label": True}
        for entry in FEEDBACK_METRICS[kind]
        if entry["name"] not in taken
    ]
    return {**value, "metrics": [*metrics, *added]}


def feedback_mistakes(spec: MonitorSpec) -> Iterator[tuple[KeyPath, str, str]]:
    """What is wrong with ``labels.feedback``."""
    given = spec.labels.feedback if spec.labels is not None else None
    path: KeyPath = ("labels", "feedback")
    if given is not None and spec.model.task != "text_generation":
        yield path, f"labels.feedback has no meaning for {spec.model.task}", "remove it (it is for text_generation)"
    elif isinstance(given, tuple) and not given[0] < given[1]:
        yield path, "the lowest rating is not below the highest", "write e.g. `feedback: [1, 5]`"
