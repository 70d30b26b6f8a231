"""Durations (`12h`, `3d`) and alert budgets (`1 per 90d`) as users write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Budget:
    """Expected number of false incidents at most, over all streams of a monitor."""

    incidents: float
    per: timedelta

    def __str__(self) -> str:
        return f"{self.incidents:g} per {format_duration(self.per)}"


def parse_duration(value: object) -> timedelta:
    """Read ``90s, 15m, 12h, 3d, 2w``; raise `ValueError` for anything else."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", str(value))
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{value!r} is no duration: write a number and a unit (s, m, h, d, w), such as 12h or 3d")
    return timedelta(**{UNITS[match[2]]: float(match[1])})


def format_duration(value: timedelta) -> str:
    """The shortest exact spelling: ``timedelta(days=3)`` -> ``3d``."""
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def parse_budget(value: object) -> Budget:
    """Read ``1 per 90d``; raise `ValueError` for anything else."""
    if isinstance(value, Budget):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s+per\s+(\S+)\s*", str(value))
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{value!r} is no alert budget: write `1 per 90d` (false incidents at most, per duration)")
    return Budget(incidents=float(match[1]), per=parse_duration(match[2]))
