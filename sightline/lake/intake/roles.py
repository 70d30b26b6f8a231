"""Which column of the user's data plays which part in the lake, and how it is converted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from sightline.spec.field_types import NUMBER_TASKS
from sightline.spec.model import MonitorSpec

ANSWERS = ("score", "prediction")
"""Roles that hold what the model answered, besides the probabilities of the classes."""


SUCCESS = ("ok", "200", "true", "")


def succeeded(status: pl.Series) -> pl.Series:
    """Which calls succeeded, by the text of their status; no status is success."""
    if status.null_count() == len(status):
        return status.is_null()
    return status.str.strip_chars().str.to_lowercase().is_in(SUCCESS).fill_null(True)


@dataclass(frozen=True)
class Role:
    """One lake column and where it comes from.

    Attributes
    ----------
    name : str
        Name in the lake (labels: ``label`` is the raw truth).
    column : str
        Name in the user's files.
    kind : str
        Feature kind that decides the conversion.
    required : bool
        A file without the column is refused as a whole.
    of_answer : bool
        The column holds what the model answered: a file of nothing but failed calls may lack it.
    instead : str or None
        A column that stands in for a required one: a file of nothing but retractions may lack the label, one of
        nothing but withdrawals all but the ids.
    is_optional : bool
        Its absence is not even noted.
    """

    name: str
    column: str
    kind: str
    required: bool = False
    is_optional: bool = False
    of_answer: bool = False
    instead: str | None = None

    def is_lacking(self, columns: Collection[str]) -> bool:
        """Whether a file with these columns is refused for this one."""
        return self.required and self.column not in columns and self.instead not in columns


def inference_roles(spec: MonitorSpec) -> list[Role]:
    """Roles of an inference file; columns the spec does not name are absent.

    What the spec names is required where a file without it would be counted wrongly for good: ids, times, what the
    model answered, weights, and features that are never missing.
    """
    columns, flags = spec.columns, revision_roles(spec)
    withdrawn = next((role.column for role in flags if role.name == "is_withdrawn"), None)
    found = [
        Role("prediction_id", columns.prediction_id, "text", required=True),
        Role("predicted_at", columns.timestamp, "datetime", required=True, instead=withdrawn),
    ]
    prediction = "numeric" if spec.model.task in NUMBER_TASKS else "categorical"
    named = {
        "model_version": (columns.model_version, "text"),
        "entity_id": (columns.entity_id, "text"),
        "query_id": (columns.query_id, "text"),
        "score": (columns.score, "numeric"),
        "prediction": (columns.prediction, prediction),
        "status": (columns.status, "text"),
        "latency_ms": (columns.latency_ms, "numeric"),
        "weight": (columns.weight, "numeric"),
    }
    found += [
        Role(name, column, kind, required=name in (*ANSWERS, "weight"), of_answer=name in ANSWERS, instead=withdrawn)
        for name, (column, kind) in named.items()
        if column
    ]
    found += [
        Role(f"p_{name}", column, "numeric", required=True, of_answer=True, instead=withdrawn)
        for name, column in columns.class_scores.items()
    ]
    found += [
        Role(f"f_{name}", name, feature.kind, required=not feature.nullable, instead=withdrawn)
        for name, feature in columns.logged.items()
    ]
    segments = [name for name in columns.segments if name not in columns.computed]
    found += [Role(f"g_{name}", name, "categorical", instead=withdrawn) for name in segments]
    return found + flags


def revision_roles(spec: MonitorSpec) -> list[Role]:
    """Roles that correct or withdraw an earlier prediction; a name that plays another part does not play this one."""
    columns = spec.columns
    named = (columns.prediction_id, columns.timestamp, columns.score, columns.prediction, columns.model_version)
    named += (columns.entity_id, columns.query_id, columns.status, columns.latency_ms, columns.weight)
    taken = {*named, *columns.class_scores.values(), *columns.features, *columns.segments}
    flags = (
        ("is_correction", columns.supersedes, "boolean"),
        ("is_withdrawn", columns.withdrawn, "boolean"),
        ("observed_at", columns.observed_at, "datetime"),
    )
    return [
        Role(name, column, kind, is_optional=True) for name, column, kind in flags if column and column not in taken
    ]


def label_roles(spec: MonitorSpec) -> list[Role]:
    """Roles of a label file."""
    labels = spec.labels
    if labels is None:
        return []
    kind = "numeric" if spec.model.task in NUMBER_TASKS else "categorical"
    retracted = labels.retracted if labels.retracted != labels.column else None
    found = [
        Role("prediction_id", labels.prediction_id or spec.columns.prediction_id, "text", required=True),
        Role("label", labels.column, kind, required=True, instead=retracted),
        Role("predicted_at", spec.columns.timestamp, "datetime", is_optional=True),
    ]
    if labels.observed_at:
        found.append(Role("observed_at", labels.observed_at, "datetime"))
    if retracted:
        found.append(Role("is_retracted", retracted, "boolean", is_optional=True))
    return found


def roles(spec: MonitorSpec, kind: str) -> list[Role]:
    """Roles of ``inferences`` or ``labels``."""
    return inference_roles(spec) if kind == "inferences" else label_roles(spec)
