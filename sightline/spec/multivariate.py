"""What is judged of several columns at once, and of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline.spec.model import MonitorSpec
    from sightline.spec.yaml_lines import KeyPath

JOINT = "@features"
"""The numeric features together, where a column is asked for."""
BUILTIN = "builtin"
OF_TEXT = ".embedding"
"""Ending of the column that the vectors of a text column are."""
JOINT_KINDS = ("numeric", "boolean")
MOST_COLUMNS = 100
"""Of more columns the first ones are watched together: pairs grow with the square."""
JOINT_METRICS = ("correlation_distance", "rff_distance", "pca_error", "domain_auc")
EMBEDDING_METRICS = (
    "rff_distance",
    "centroid_distance",
    "hotelling",
    "domain_auc",
    "norm",
    "centroid_cosine",
    "wrong_dimension_rate",
    "zero_vector_rate",
    "duplicate_rate",
    "no_vector_rate",
)


def joint_columns(spec: MonitorSpec) -> list[str]:
    """Features that are watched together; empty with fewer than two, or where the monitor's file leaves it out."""
    features = spec.columns.features.items()
    found = [name for name, feature in features if feature.kind in JOINT_KINDS and feature.drift]
    return found[:MOST_COLUMNS] if len(found) > 1 and spec.drift.multivariate else []


def embedding_columns(spec: MonitorSpec) -> list[str]:
    """Embeddings whose drift is judged: logged ones, and those of texts."""
    features = spec.columns.features.items()
    logged = [name for name, feature in features if feature.kind == "embedding" and feature.drift]
    return [*logged, *text_embeddings(spec)]


def text_embeddings(spec: MonitorSpec) -> dict[str, tuple[str, str]]:
    """Embeddings that are made of texts: name -> text column, and `BUILTIN` or ``module:function``."""
    features = spec.columns.features.items()
    return {
        f"{name}{OF_TEXT}": (name, feature.embedding)
        for name, feature in features
        if feature.kind == "text" and feature.embedding and feature.drift
    }


def mistakes(spec: MonitorSpec) -> Iterator[tuple[KeyPath, str, str]]:
    """Key path, what is wrong and the fix, of the embeddings of texts."""
    for name, feature in spec.columns.features.items():
        if feature.dimension is not None and feature.kind != "embedding":
            where: KeyPath = ("columns", "features", name, "dimension")
            yield where, f"`dimension` has no meaning for a feature of kind {feature.kind}", "remove it"
        if feature.embedding is None:
            continue
        path: KeyPath = ("columns", "features", name, "embedding")
        module, _, function = feature.embedding.partition(":")
        if feature.kind != "text":
            yield path, f"`embedding` has no meaning for a feature of kind {feature.kind}", "remove it"
        elif feature.embedding != BUILTIN and not (module and function):
            yield path, f"{feature.embedding!r} names no function", f"write `{BUILTIN}` or `module:function`"
        elif f"{name}{OF_TEXT}" in spec.columns.features:
            what = f"{name + OF_TEXT!r} is a feature already"
            yield path, what, "remove `embedding`, or give the feature or descriptor another name"
