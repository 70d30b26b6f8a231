"""Scores of several classes that are no probabilities: what the evaluation says of them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from metrics_py.quality.probabilities import improper_words, is_improper
from sightline.spec.model import MonitorSpec


def notes_of_improper(spec: MonitorSpec, frames: Sequence[pl.DataFrame]) -> list[str]:
    """How many rows of champion and challenger have class scores that do not sum to 1.

    Parameters
    ----------
    spec : MonitorSpec
    frames : sequence of DataFrame
        Labelled rows of champion and challenger.
    """
    columns = [f"p_{name}" for name in spec.columns.class_scores]
    if spec.model.task != "multiclass_classification" or not columns:
        return []
    each = [float(frame.select(is_improper(columns).sum()).item()) for frame in frames]
    counts: dict[str, float] = dict(zip(("champion", "challenger"), each, strict=True))
    if not any(counts.values()):
        return []
    return [f"{improper_words(counts)}; log loss and Brier score of such rows decide nothing, other metrics do"]
