"""Names of all that a monitor creates in Dagster: pure functions of the spec, so `sightline validate` needs no Dagster.

Stable by construction: the name of a check depends on its column and on the other columns' names, never on their order.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from sightline.spec.model import MonitorSpec

SPECIAL_PREFIX = "@"
"""Judged columns that are no features: ``@score``, ``@prediction``, ``@label``, ``@class_score:<class>``."""

MAX_SLUG_LENGTH = 60


def asset_key(spec: MonitorSpec, name: str) -> list[str]:
    """Dagster asset key of one of the monitor's assets: ``[monitor id, name]``."""
    return [spec.id, name]


def group_name(spec: MonitorSpec) -> str:
    """Dagster group of the assets that a person looks at: one per monitor."""
    return spec.id


def tables_group_name(spec: MonitorSpec) -> str:
    """Dagster group of a monitor's dbt models, inside that of the monitor: the lineage shows it as one folded box."""
    return f"{spec.id}/dbt_models"


def pool_name(spec: MonitorSpec) -> str:
    """Dagster pool that lets one run at a time write the monitor's warehouse."""
    return f"sightline_{spec.id}"


def job_name(spec: MonitorSpec, flow: str) -> str:
    """Job of one flow (``immediate``, ``delayed``): ``<id>__<flow>``."""
    return f"{spec.id}__{flow}"


def sensor_name(spec: MonitorSpec, what: str) -> str:
    """Sensor that watches one kind of data (``inferences``, ``labels``): ``<id>__<what>``."""
    return f"{spec.id}__{what}"


def slug(column: str) -> str:
    """Lower-case ASCII letters, digits and single underscores made from a column name; may be empty.

    Examples
    --------
    >>> slug("Wind Speed (m/s)")
    'wind_speed_m_s'
    >>> slug("@class_score:on time")
    'class_score_on_time'
    """
    ascii_text = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_text.lower()).strip("_")[:MAX_SLUG_LENGTH].strip("_")


def digest(column: str) -> str:
    """Six hexadecimal digits of the SHA-256 of the name."""
    return hashlib.sha256(column.encode()).hexdigest()[:6]


def is_exact(column: str) -> bool:
    """Whether the slug is the column's own name (special columns: without their ``@``)."""
    return slug(column) == column.removeprefix(SPECIAL_PREFIX)


def check_slugs(columns: Iterable[str]) -> dict[str, str]:
    """Slug of every column, independent of their order.

    Names that are already valid keep theirs (special columns first); of all others only those without a rival do.

    Examples
    --------
    >>> check_slugs(["Wind Speed", "wind_speed"])["wind_speed"]
    'wind_speed'
    """
    names = sorted(set(columns))
    rank = {name: 2 if not is_exact(name) else 0 if name.startswith(SPECIAL_PREFIX) else 1 for name in names}
    best: dict[str, int] = {}
    rivals: dict[tuple[str, int], int] = {}
    for name in names:
        base = slug(name)
        best[base] = min(best.get(base, 2), rank[name])
        rivals[base, rank[name]] = rivals.get((base, rank[name]), 0) + 1
    result: dict[str, str] = {}
    for name in names:
        base = slug(name)
        plain = base and rank[name] == best[base] and rivals[base, rank[name]] == 1
        result[name] = base if plain else f"{base or 'column'}_{digest(name)}"
    return result


def check_name(family: str, column_slug: str | None = None) -> str:
    """Asset check name: ``<family>`` or ``<family>__<column slug>`` (``drift__carrier``)."""
    return f"{family}__{column_slug}" if column_slug else family
