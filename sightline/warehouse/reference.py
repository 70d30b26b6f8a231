"""The frozen reference profile: bins, categories, segments and facts of every judged column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from sightline.spec.model import MonitorSpec


@dataclass(frozen=True)
class ColumnRole:
    """One judged column and where the lake keeps it."""

    column_name: str
    lake_column: str
    kind: str
    role: str


def column_roles(spec: MonitorSpec) -> list[ColumnRole]:
    """Judged columns in order: features, ``@score``, ``@prediction``, ``@class_score:<class>``, ``@label``."""
    columns = spec.columns
    is_number = spec.model.task in ("regression", "ranking")
    roles = [ColumnRole(name, f"f_{name}", feature.kind, "feature") for name, feature in columns.features.items()]
    if columns.score:
        roles.append(ColumnRole("@score", "score", "numeric", "score"))
    if columns.prediction and is_number:
        roles.append(ColumnRole("@prediction", "prediction", "numeric", "prediction"))
    elif columns.prediction:
        roles.append(ColumnRole("@prediction", "predicted_class", "categorical", "prediction"))
    roles += [ColumnRole(f"@class_score:{c}", f"p_{c}", "numeric", "class_score") for c in columns.class_scores]
    if spec.labels:
        label = ("label_value", "numeric") if is_number else ("label_class", "categorical")
        roles.append(ColumnRole("@label", *label, "label"))
    return roles


@dataclass(frozen=True)
class ReferenceProfile:
    """A frozen reference."""

    id: str
    bins: pl.DataFrame
    cuts: pl.DataFrame
    categories: pl.DataFrame
    segments: pl.DataFrame
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)


def cuts_of(bins: pl.DataFrame) -> pl.DataFrame:
    """Right ends of the elementary intervals of numeric bins, each with its bin; the last one is infinity."""
    rows: list[dict[str, Any]] = []
    numeric = bins.filter(pl.col("bin_kind").is_in(["interval", "atom", "below", "above"]))
    for (name,), part in numeric.group_by(["column_name"], maintain_order=True):
        rows += [{"column_name": name, "cut": cut, "bin_id": bin_id} for cut, bin_id in _cuts(part.to_dicts())]
    return pl.DataFrame(rows, schema={"column_name": pl.String, "cut": pl.Float64, "bin_id": pl.Int32})


def _cuts(bins: list[dict[str, Any]]) -> list[tuple[float, int]]:
    atoms = {float(b["lower"]): b["bin_id"] for b in bins if b["bin_kind"] == "atom"}
    spans = [
        (-np.inf if b["lower"] is None else b["lower"], np.inf if b["upper"] is None else b["upper"], b["bin_id"])
        for b in bins
        if b["bin_kind"] != "atom"
    ]
    ends = {float(e) for low, high, _ in spans for e in (low, high)} | {np.inf}
    ends |= {e for value in atoms for e in (value, float(np.nextafter(value, -np.inf)))}
    previous, found = -np.inf, []
    for end in sorted(ends - {-np.inf}):
        owners = [atoms[end]] if end in atoms else [b for low, high, b in spans if low <= previous and end <= high]
        found.append((end, owners[0]))
        previous = end
    return found
