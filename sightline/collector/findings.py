"""What a batch of events breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from msgspec import UNSET

MISSING = UNSET
Counts = Counter[tuple[str, str]]

_no_counts = cast("Callable[[], Counts]", Counter)
_no_examples = cast("Callable[[], dict[tuple[str, str], Any]]", dict)


@dataclass
class Findings:
    """What a batch breaks: (column, rule) -> number and the first value, and its number of events."""

    n_events: int = 0
    counts: Counts = field(default_factory=_no_counts)
    examples: dict[tuple[str, str], Any] = field(default_factory=_no_examples)

    def add(self, column: str, rule: str, value: Any) -> None:
        """Count one value."""
        self.counts[column, rule] += 1
        if (column, rule) not in self.examples and value is not MISSING:
            self.examples[column, rule] = value
