"""What is judged of texts beside their descriptors: words and copies."""

from __future__ import annotations

from sightline.spec.model import MonitorSpec

TEXT_METRICS = (
    "word_distance",
    "unknown_word_share",
    "duplicate_text_rate",
    "near_duplicate_text_rate",
    "reference_copy_rate",
    "moved_words",
)
LEAST_PUBLISHED = 5
"""Words in fewer texts of a window are not published: they may be names of persons."""
MOST_EXAMPLES = 30
"""Words that moved of which an example is shown."""


def text_columns(spec: MonitorSpec) -> list[str]:
    """Text columns whose drift is judged."""
    return [name for name, feature in spec.columns.features.items() if feature.kind == "text" and feature.drift]
