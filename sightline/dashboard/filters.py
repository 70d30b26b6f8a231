"""How numbers and moments are written in templates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from metrics_py.wording import day
from sightline.dashboard.charts.chart import shown
from sightline.dashboard.meanings import column_words


def percent(value: float | None, digits: int = 3) -> str:
    """A share in percent; an en dash where there is none.

    Examples
    --------
    >>> percent(0.12345), percent(None)
    ('12.3 %', '–')
    """
    return "–" if value is None else f"{100 * value:.{digits}g} %"


def count(value: float | None) -> str:
    """A number of things, with thousands apart.

    Examples
    --------
    >>> count(1234567.0), count(None)
    ('1,234,567', '–')
    """
    return "–" if value is None else f"{value:,.0f}"


def words(text: object) -> str:
    """A name with underscores as words."""
    return str(text).replace("_", " ")


def minute(moment: datetime | None) -> str:
    """A moment to the minute (UTC)."""
    return "–" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


FILTERS: dict[str, Callable[..., Any]] = {
    "column": column_words,
    "count": count,
    "day": day,
    "minute": minute,
    "number": shown,
    "percent": percent,
    "words": words,
}
