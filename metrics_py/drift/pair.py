"""One column of both tables, as drift methods take it, and what a method finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from metrics_py.drift.design_effects import design_effect
from metrics_py.drift.rare_bins import coarsen
from metrics_py.profile.column_profile import ColumnProfile

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def group_design_effect(counts: IntArray) -> float:
    """Design effect of one group.

    Parameters
    ----------
    counts : integer ndarray, shape (64, G)
        Rows per hash bucket of the entity and bin.

    Returns
    -------
    float
        At least 1; NaN where rows stand in fewer than 4 buckets.
    """
    occupied, used = (counts.sum(axis=1) > 0).sum(), (counts.sum(axis=0) > 0).sum()
    if occupied < 4:
        return np.nan
    return max(design_effect(counts).value, 1.0) if used >= 2 else 1.0


@dataclass(frozen=True, eq=False)
class ColumnPair:
    """One column of both tables, for T groups.

    Attributes
    ----------
    profile : ColumnProfile
        Bins frozen from the whole reference.
    reference, current : integer ndarray, shape (T, K)
        Rows per bin.
    reference_buckets, current_buckets : integer ndarray, shape (T, 64, K), optional
        The same per hash bucket of the entity.
    values : callable, optional
        Finite values of both sides of a group, for tests that need them (numeric columns).
    design_effect : float, default 1
        Of both sides, where there are no buckets to measure it by.
    has_own_reference : bool, default True
        Are the reference's rows those that the profile was made from? Then distances leave out the ones that chose the
        profile's categories.
    """

    profile: ColumnProfile
    reference: IntArray
    current: IntArray
    reference_buckets: IntArray | None = None
    current_buckets: IntArray | None = None
    values: Callable[[int], tuple[FloatArray, FloatArray]] | None = None
    design_effect: float = 1.0
    has_own_reference: bool = True

    @cached_property
    def compared(self) -> IntArray:
        """Reference rows per bin that distances compare with: none of those that chose the categories; shape (T, K)."""
        if self.profile.n_choosing is None or not self.has_own_reference:
            return self.reference
        return self.profile.unchosen(self.reference)

    @cached_property
    def merged(self) -> tuple[IntArray, IntArray]:
        """Counts of the groups that distances compare (no nulls), so coarse that none is nearly empty."""
        profile = self.profile
        both = (profile.merged(counts) for counts in (self.compared, self.current))
        if profile.kind == "numeric":
            return coarsen(*both, is_ordered=True)
        rest, shares = (-1 if "other" in profile.bin_kind else None), None
        if profile.n_choosing is not None:
            choosing = profile.merged(profile.n_choosing)
            shares = choosing / max(choosing.sum(), 1)
        return coarsen(*both, is_ordered=False, rest=rest, shares=shares)

    @property
    def hardly_repeats(self) -> NDArray[np.bool_]:
        """Groups in which every category is so rare that only all of them together can be compared; shape (T,)."""
        one = ((self.merged[0] > 0).sum(axis=-1) == 1) & (self.merged[0][..., -1] > 0)
        return one & (self.profile.kind == "categorical") & (self.profile.n_distinct > 1)

    @cached_property
    def clustering(self) -> tuple[FloatArray, FloatArray]:
        """Design effects of the merged counts of both sides, `design_effect` without buckets; shape (T,) each."""
        return self._effects(self.reference_buckets), self._effects(self.current_buckets)

    def _effects(self, buckets: IntArray | None) -> FloatArray:
        if buckets is None:
            return np.full(len(self.current), self.design_effect)
        return np.array([group_design_effect(self.profile.merged(counts)) for counts in buckets])


@dataclass(frozen=True)
class Findings:
    """Result of one method for T groups; NaN marks what is undefined or not given.

    Attributes
    ----------
    value, p_value, effect, ci_low, ci_high : ndarray, shape (T,)
        Statistic; p-value of no change; effect with its 95 % interval.
    n_reference, n_current : ndarray, shape (T,)
        Rows compared.
    reasons : tuple of (str or None)
        Why there is no verdict, one per group, or empty.
    """

    value: FloatArray
    p_value: FloatArray
    effect: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    n_reference: FloatArray
    n_current: FloatArray
    reasons: tuple[str | None, ...] = ()
