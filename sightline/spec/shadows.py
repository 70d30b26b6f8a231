"""Shadows: versions of the log that answer beside production without being used, so their rows are not production's.

Rows of all versions together (`all`) leave them out, by the functions here; rows by version have them.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from sightline.spec.model import MonitorSpec


def shadow_until(spec: MonitorSpec) -> dict[str, str | None]:
    """Version -> key of the window from which on it is production; None while it still is a shadow."""
    return {
        version: None if moment is None else spec.key(spec.floor(moment))
        for version, moment in spec.shadow_ends.items()
    }


def is_production(spec: MonitorSpec) -> pl.Expr:
    """Whether a row is production's, by ``model_version`` and ``window_key``."""
    found = pl.lit(True)
    for version, key in shadow_until(spec).items():
        is_other = pl.col("model_version").ne_missing(pl.lit(version))
        found &= is_other if key is None else is_other | (pl.col("window_key") >= key)
    return found


def production_sql(spec: MonitorSpec) -> str:
    """The same as a condition in SQL; ``true`` without shadows."""
    parts: list[str] = []
    for version, key in shadow_until(spec).items():
        is_other = f"model_version IS DISTINCT FROM {_text(version)}"
        parts.append(is_other if key is None else f"({is_other} OR window_key >= {_text(key)})")
    return " AND ".join(parts) or "true"


def is_shadow(spec: MonitorSpec, version: str | None, at: datetime) -> bool:
    """Whether an event is a shadow's: of a version at a moment (aware)."""
    ends = spec.shadow_ends
    if version not in ends:
        return False
    end = ends[version]
    return end is None or at < spec.floor(end)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
