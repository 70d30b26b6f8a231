"""Shares of rows that are missing, not finite, out of range or of an unseen category, from bin counts.

Each takes a `ColumnProfile` and counts of shape (..., K); NaN where there are no rows to take a share of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.profile.column_profile import BinKind, ColumnProfile

FloatArray = NDArray[np.float64]
INVALID: tuple[BinKind, ...] = ("null", "not_finite")


def _share(
    profile: ColumnProfile, counts: ArrayLike, kinds: tuple[BinKind, ...], without: tuple[BinKind, ...]
) -> FloatArray:
    table = np.asarray(counts, dtype=np.int64)
    if table.shape[-1:] != (len(profile),) or (table < 0).any():
        raise ValueError(
            f"column {profile.column!r}: counts have shape {table.shape}; "
            f"pass counts of at least 0, the last axis with {len(profile)} bins"
        )
    rows = table.sum(axis=-1) - table[..., profile.where(*without)].sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return table[..., profile.where(*kinds)].sum(axis=-1) / np.where(rows > 0, rows, np.nan)


def null_rate(profile: ColumnProfile, counts: ArrayLike) -> FloatArray:
    """Share of rows without a value.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen reference.
    counts : array_like of int, shape (..., K)
        Rows per bin.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN where there are no rows.

    Raises
    ------
    ValueError
        If the last axis does not hold the bins of the profile, or a count is negative.

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile, count
    >>> profile = build_profile([1.0, 2.0, 3.0], "numeric")
    >>> float(null_rate(profile, count(profile, [2.0, None, 5.0, float("nan")])))
    0.25
    """
    return _share(profile, counts, ("null",), ())


def not_finite_rate(profile: ColumnProfile, counts: ArrayLike) -> FloatArray:
    """Share of rows with NaN or infinity.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen reference.
    counts : array_like of int, shape (..., K)
        Rows per bin.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], 0 of columns that are not numeric; NaN where there are no rows.

    Raises
    ------
    ValueError
        If the last axis does not hold the bins of the profile, or a count is negative.

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile, count
    >>> profile = build_profile([1.0, 2.0, 3.0], "numeric")
    >>> float(not_finite_rate(profile, count(profile, [2.0, None, 5.0, float("nan")])))
    0.25
    """
    return _share(profile, counts, ("not_finite",), ())


def out_of_range_rate(profile: ColumnProfile, counts: ArrayLike) -> FloatArray:
    """Share of the finite values that lie outside the range of the reference.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen reference.
    counts : array_like of int, shape (..., K)
        Rows per bin.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], 0 of columns that are not numeric; NaN where there are no finite values.

    Raises
    ------
    ValueError
        If the last axis does not hold the bins of the profile, or a count is negative.

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile, count
    >>> profile = build_profile([1.0, 2.0, 3.0], "numeric")
    >>> float(out_of_range_rate(profile, count(profile, [2.0, None, 5.0, float("nan")])))
    0.5
    """
    return _share(profile, counts, ("below", "above"), INVALID)


def unseen_rate(profile: ColumnProfile, counts: ArrayLike) -> FloatArray:
    """Share of the values that are of a category the reference does not hold; `expected_unseen` of them are no drift.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen reference.
    counts : array_like of int, shape (..., K)
        Rows per bin.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], 0 of columns that are not categorical; NaN where there are no values.

    Raises
    ------
    ValueError
        If the last axis does not hold the bins of the profile, or a count is negative.

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile, count
    >>> profile = build_profile(["a", "a", "b", "b"], "categorical")
    >>> float(unseen_rate(profile, count(profile, ["a", "b", "c", None])).round(3))
    0.333
    """
    return _share(profile, counts, ("unseen",), INVALID)
