"""Types and constants that several sections of a monitor's file share."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    TypeAdapter,
    WithJsonSchema,
)

from sightline.spec.durations import format_duration, parse_duration

Task = Literal["binary_classification", "multiclass_classification", "regression", "ranking", "text_generation"]

NUMBER_TASKS: tuple[Task, ...] = ("regression", "ranking", "text_generation")
"""Tasks whose labels are numbers."""

FeatureKind = Literal["numeric", "categorical", "boolean", "datetime", "text", "embedding"]

Schedule = Literal["hourly", "daily", "weekly"]

CLOSE_AFTER = {"hourly": timedelta(minutes=10), "daily": timedelta(hours=1), "weekly": timedelta(hours=6)}

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhdw]\s*$", "examples": ["12h", "3d"]}),
]

Severity = Literal["warn", "error"]

Feedback = Literal["thumbs"] | tuple[float, float] | None
"""What the labels of answers are: thumbs, ratings of a range, any number."""

UNLEARNT = timedelta(days=1)
"""Labels are taken to be due after so long, until it is known when they come."""

WARN_SHARE = 0.75
"""Share of a deadline of freshness from which on it warns."""

ID_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
"""Ids of monitors."""

_DATETIME = TypeAdapter(datetime)


def parse_moment(value: object) -> object:
    """Read a date or ISO 8601 time as UTC; a number is refused (it would be read as seconds since 1970)."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    elif isinstance(value, str) and not value.strip().lstrip("+-").replace(".", "").isdigit():
        try:
            moment = _DATETIME.validate_python(value.strip())
        except ValueError:
            raise ValueError(f"{value!r} is no time: write 2026-01-31 or 2026-01-31T06:00:00Z") from None
    else:
        raise ValueError(f"{value!r} is no time: write 2026-01-31 or 2026-01-31T06:00:00Z")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}", "examples": ["2026-01-31"]}),
]
