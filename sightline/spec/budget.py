"""The alert budget (`1 per 90d`) as users write it, and what it means in windows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from sightline.spec.durations import format_duration, parse_duration


@dataclass(frozen=True)
class Budget:
    """Expected number of false incidents at most, over all streams of a monitor."""

    incidents: float
    per: timedelta

    def __str__(self) -> str:
        return f"{self.incidents:g} per {format_duration(self.per)}"

    def windows(self, window: timedelta) -> float:
        """Windows of this length per false incident; `sightline.alerts.decisions.config` gives it to the engine."""
        return self.per / window / self.incidents


def parse_budget(value: object) -> Budget:
    """Read ``1 per 90d``; raise `ValueError` for anything else."""
    if isinstance(value, Budget):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s+per\s+(\S+)\s*", str(value))
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{value!r} is no alert budget: write `1 per 90d` (false incidents at most, per duration)")
    return Budget(incidents=float(match[1]), per=parse_duration(match[2]))
