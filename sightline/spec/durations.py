"""Durations (`12h`, `3d`) as users write them."""

from __future__ import annotations

import re
from datetime import timedelta

LONGEST = timedelta(days=36_525)
"""A century: beyond that, dates run out."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: object) -> timedelta:
    """Read ``90s, 15m, 12h, 3d, 2w``; raise `ValueError` for anything else."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", str(value))
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{value!r} is no duration: write a number and a unit (s, m, h, d, w), such as 12h or 3d")
    size = float(match[1]) * timedelta(**{UNITS[match[2]]: 1}).total_seconds()
    if size > LONGEST.total_seconds():
        raise ValueError(f"{value!r} is longer than {LONGEST.days} days: write a shorter duration")
    return timedelta(**{UNITS[match[2]]: float(match[1])})


def format_duration(value: timedelta) -> str:
    """The shortest exact spelling: ``timedelta(days=3)`` -> ``3d``."""
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
