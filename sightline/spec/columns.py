"""Section ``columns``: what each column of the log is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)

from sightline.narrowing import is_object
from sightline.spec import llm
from sightline.spec.field_types import FeatureKind
from sightline.spec.llm import LlmColumns
from sightline.spec.part import Part


class TextDescriptor(Part):
    """A property of the texts of a column: a built-in one by name, or one of your own."""

    name: str = Field(
        min_length=1, max_length=60, description="The feature is called `<column>.<name>`; built-in ones: docs/text.md."
    )
    regex: str | None = Field(
        default=None, min_length=1, description="Boolean: does this regular expression (Rust's, linear time) match?"
    )
    words: tuple[str, ...] | None = Field(
        default=None, description="Boolean: does the text hold any of these words or phrases, whatever their case?"
    )
    python: str | None = Field(
        default=None,
        description="`module:function` that takes a list of texts and returns as many values; the module lies in the "
        "home folder or is installed.",
    )
    kind: Literal["numeric", "categorical", "boolean"] | None = Field(
        default=None, description="Kind of the values of `python`; default: boolean."
    )

    @property
    def is_own(self) -> bool:
        """Whether it is defined here."""
        return self.regex is not None or self.words is not None or self.python is not None


def expand_descriptor(value: object) -> object:
    """Shorthand ``words`` -> ``{name: words}``."""
    return {"name": value} if isinstance(value, str) else value


DescriptorEntry = Annotated[TextDescriptor, BeforeValidator(expand_descriptor)]


def truth_words(values: object) -> object:
    """``[true]`` -> ``["true"]``: as values of a boolean feature are written."""
    if not isinstance(values, list | tuple):
        return values
    return [str(value).lower() if isinstance(value, bool) else value for value in cast("Sequence[object]", values)]


class Feature(Part):
    """One model input and its contract."""

    kind: FeatureKind = Field(description="How the column is read and judged.")
    min: float | None = Field(default=None, description="Contract: smallest allowed value (numeric).")
    max: float | None = Field(default=None, description="Contract: largest allowed value (numeric).")
    allowed: Annotated[tuple[str, ...] | None, BeforeValidator(truth_words)] = Field(
        default=None, description="Contract: allowed values (categorical; boolean: `[true]`)."
    )
    nullable: bool = Field(default=True, description="Contract: may the value be missing?")
    drift: bool = Field(default=True, description="Judge drift of this column.")
    personal: bool = Field(
        default=False,
        description="Holds personal data: pages, examples, checks and causes do not show its values "
        "([dashboard.md](dashboard.md)).",
    )
    tolerance: float | None = Field(
        default=None, gt=0, description="PSI that is no drift yet; default: drift.tolerance."
    )
    descriptors: tuple[DescriptorEntry, ...] | None = Field(
        default=None,
        description="Text: what is computed of each text, every one a feature `<column>.<name>` of its own that is "
        "judged like any other. Default: characters, words, word_length, letter_share, digit_share, script.",
    )
    dimension: int | None = Field(
        default=None, ge=1, description="Contract: numbers in a vector (embedding), for the guards of the collector."
    )
    embedding: str | None = Field(
        default=None,
        description="Text: judge the texts as vectors too, in the column `<column>.embedding`: `builtin`, a model of "
        "word frequencies fitted on the reference, or `module:function` that takes a list of texts and returns as many "
        "vectors; the module lies in the home folder or is installed.",
    )


def expand_feature(value: object) -> object:
    """Shorthand ``distance: numeric`` -> ``distance: {kind: numeric}``."""
    return {"kind": value} if isinstance(value, str) else value


FeatureEntry = Annotated[Feature, BeforeValidator(expand_feature)]


class Columns(Part):
    """Names of the columns in the inference data."""

    prediction_id: str = Field(default="prediction_id", description="Identifies a prediction; labels refer to it.")
    timestamp: str = Field(
        default="timestamp", description="When the prediction was made (UTC unless it carries a zone)."
    )
    score: str | None = Field(
        default=None, description="P(positive) for binary classification, ranking score for ranking."
    )
    prediction: str | None = Field(default=None, description="Predicted class (classification) or value (regression).")
    class_scores: dict[str, str] = Field(
        default={}, description="Multiclass: class name -> column with its probability."
    )
    model_version: str | None = Field(default=None, description="Version of the model that answered.")
    entity_id: str | None = Field(
        default=None, description="User, account, plane...: rows of one entity are dependent (clustered)."
    )
    query_id: str | None = Field(
        default=None,
        description="Ranking: the query or session a row belongs to. One id is one list of ranked rows: an id that "
        "comes again in a later window is another list, unless its rows go on across the end of a window.",
    )
    status: str | None = Field(
        default=None, description="Outcome of the call: ok, 200, true and empty are success, all else an error."
    )
    latency_ms: str | None = Field(default=None, description="Latency of the call in milliseconds.")
    weight: str | None = Field(
        default=None,
        description="Weight of the row (1 / sampling fraction). It is kept and added up (`sum_weight`) and weighs "
        "nothing: metrics, rates and drift count each row once, and say so where weights differ (`unweighted`).",
    )
    supersedes: str | None = Field(
        default="supersedes",
        description="Column that is true where a row replaces the earlier ones with its prediction id and model "
        "version. Its absence is no mistake.",
    )
    withdrawn: str | None = Field(
        default="withdrawn",
        description="Column that is true where a row takes its prediction back; it needs nothing but the id then. Its "
        "absence is no mistake.",
    )
    observed_at: str | None = Field(
        default=None, description="Column with the time a correction or withdrawal was known; default: arrival."
    )
    features: dict[str, FeatureEntry] = Field(default={}, description="Inputs: name -> kind, or name -> contract.")
    segments: tuple[str, ...] = Field(
        default=(), description="Columns by whose values quality and drift are also reported."
    )
    llm: LlmColumns | None = Field(
        default=None, description="The columns of a language model's calls: what is measured of answers (docs/llm.md)."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_descriptors(cls, value: Any) -> Any:
        if not is_object(value):
            return value
        value = llm.with_answers(value)
        features = value.get("features")
        if not is_object(features):
            return value
        from sightline.spec.texts import with_descriptors

        return llm.with_measures({**value, "features": with_descriptors(features)})

    @property
    def derived(self) -> dict[str, tuple[str, TextDescriptor]]:
        """Features that are computed at intake: name -> text column and descriptor; no data hold them."""
        texts = {name: feature.descriptors for name, feature in self.features.items() if feature.kind == "text"}
        if not texts:
            return {}
        from metrics_py.text.descriptors import DEFAULTS

        defaults = tuple(TextDescriptor(name=name) for name in DEFAULTS)
        return {
            f"{column}.{entry.name}": (column, entry)
            for column, entries in texts.items()
            for entry in (defaults if entries is None else entries)
        }

    @property
    def measured(self) -> dict[str, str]:
        """Features that are computed of a language model's answers at intake -> measure."""
        if self.llm is None:
            return {}
        return llm.measured_of(self.llm.model_dump(exclude_none=True), self.latency_ms)

    @property
    def computed(self) -> frozenset[str]:
        """Features that no data hold: descriptors of texts and measures of answers."""
        return frozenset((*self.derived, *self.measured))

    @property
    def personal(self) -> frozenset[str]:
        """Features that hold personal data: their values are not shown."""
        return frozenset(name for name, feature in self.features.items() if feature.personal)

    def is_personal(self, name: str) -> bool:
        """Whether a feature, or one that is computed of it (``<feature>.<what>``), holds personal data."""
        personal = self.personal
        return name in personal or any(name.startswith(f"{each}.") for each in personal)

    @property
    def described(self) -> frozenset[str]:
        """Text columns that have descriptors, which are judged in their place."""
        return frozenset(column for column, _ in self.derived.values())

    @property
    def logged(self) -> dict[str, Feature]:
        """Features that data hold: all but the computed ones."""
        computed = self.computed
        return {name: feature for name, feature in self.features.items() if name not in computed}
