"""Statistics for model monitoring: pure functions on arrays, frames and mergeable aggregates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metrics_py.comparison.compare import compare
    from metrics_py.comparison.result import Comparison

__all__ = ["Comparison", "compare"]


def __getattr__(name: str) -> object:
    """Import the public names when they are first used: the package itself costs nothing to import."""
    if name == "compare":
        from metrics_py.comparison.compare import compare

        return compare
    if name == "Comparison":
        from metrics_py.comparison.result import Comparison

        return Comparison
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
