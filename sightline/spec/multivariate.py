"""What is judged of several columns at once, and of embeddings."""

from __future__ import annotations

from sightline.spec.model import MonitorSpec

JOINT = "@features"
"""The numeric features together, where a column is asked for."""
JOINT_KINDS = ("numeric", "boolean")
MOST_COLUMNS = 100
"""Of more columns the first ones are watched together: pairs grow with the square."""
JOINT_METRICS = ("correlation_distance", "rff_distance", "pca_error")
EMBEDDING_METRICS = (
    "rff_distance",
    "centroid_distance",
    "hotelling",
    "norm",
    "centroid_cosine",
    "wrong_dimension_rate",
    "zero_vector_rate",
    "duplicate_rate",
)


def joint_columns(spec: MonitorSpec) -> list[str]:
    """Features that are watched together; empty with fewer than two, or where the monitor's file leaves it out."""
    features = spec.columns.features.items()
    found = [name for name, feature in features if feature.kind in JOINT_KINDS and feature.drift]
    return found[:MOST_COLUMNS] if len(found) > 1 and spec.drift.multivariate else []


def embedding_columns(spec: MonitorSpec) -> list[str]:
    """Embeddings whose drift is judged."""
    features = spec.columns.features.items()
    return [name for name, feature in features if feature.kind == "embedding" and feature.drift]
