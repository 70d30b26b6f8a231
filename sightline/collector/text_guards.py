"""Contracts on the descriptors of texts, checked as events come in: length, language, patterns, JSON.

A descriptor is computed by the code of the intake, for those with a contract only. Functions of the user's are left to
the intake: they may take any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sightline.collector.findings import MISSING, Findings
from sightline.spec.columns import Feature
from sightline.spec.model import MonitorSpec

if TYPE_CHECKING:
    from metrics_py.text.descriptors import OwnDescriptor


@dataclass(frozen=True)
class TextGuard:
    """Contracts on the descriptors of one column."""

    column: str
    descriptors: tuple[str | OwnDescriptor, ...]
    contracts: dict[str, Feature]
    """Descriptor -> the feature that it is."""

    def look(self, values: Sequence[Any], found: Findings) -> None:
        """Count what breaks a contract, under the feature's name (``review.characters``)."""
        import polars as pl

        from metrics_py.text.descriptors import describe

        texts = [value for value in values if value is not None and value is not MISSING]
        texts = [_text(value) for value in texts if not isinstance(value, list | dict)]
        if not texts:
            return
        for name, described in describe(pl.Series(texts, dtype=pl.String), self.descriptors).items():
            feature = self.contracts[name]
            for value in described.drop_nulls().to_list():
                rule = _broken(feature, value)
                if rule is not None:
                    found.add(f"{self.column}.{name}", rule, value)


def _text(value: Any) -> str:
    """As the intake keeps it; a half of a pair of surrogates is no text and is replaced."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _broken(feature: Feature, value: Any) -> str | None:
    if feature.allowed is not None:
        word = str(value).lower() if isinstance(value, bool) else str(value)
        return None if word in feature.allowed else "not_allowed"
    is_low = feature.min is not None and value < feature.min
    return "out_of_contract" if is_low or (feature.max is not None and value > feature.max) else None


def text_guards(spec: MonitorSpec) -> dict[str, TextGuard]:
    """Guards of the text columns that have a contract on a descriptor.

    Parameters
    ----------
    spec : MonitorSpec
        Contracts are those of its features.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for name, (column, entry) in spec.columns.derived.items():
        feature = spec.columns.features[name]
        has_contract = feature.allowed is not None or feature.min is not None or feature.max is not None
        if not has_contract or entry.python is not None:
            continue
        from metrics_py.text.descriptors import DESCRIPTORS, OwnDescriptor  # only monitors with texts pay for it

        own = OwnDescriptor(entry.name, regex=entry.regex, words=entry.words or ()) if entry.is_own else entry.name
        if isinstance(own, str) and not DESCRIPTORS[own].is_available:
            continue  # the intake tells it
        chosen.setdefault(column, {})[entry.name] = (own, feature)
    return {
        column: TextGuard(
            column, tuple(own for own, _ in entries.values()), {name: each for name, (_, each) in entries.items()}
        )
        for column, entries in chosen.items()
    }
