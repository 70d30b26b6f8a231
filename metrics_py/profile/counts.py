"""Counting values in the bins of a frozen profile."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.profile.search import locate, tally
from metrics_py.profile.values import categories_of, check_weights, numbers_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def count(profile: ColumnProfile, values: object, *, weights: ArrayLike | None = None) -> IntArray:
    """Rows per bin of a profile.

    Parameters
    ----------
    profile : ColumnProfile
        Frozen bins.
    values : array_like or polars.Series, shape (n,)
        Values of the same column; None is null.
    weights : array_like, shape (n,), optional
        A row of weight w counts as w rows; sums per bin are rounded.

    Returns
    -------
    integer ndarray, shape (K,)
        Their sum is the number of rows: nothing is dropped.

    Raises
    ------
    ValueError
        Values that are not one-dimensional, weights that are negative, not finite or not one per row.
    TypeError
        Values that cannot be read as the kind of the profile.

    Notes
    -----
    A number belongs to the atom that it equals, else to the interval ``(lower, upper]`` that holds it; a text to its
    category, else to ``(other)`` or ``(unseen)``. Counts of parts (shards, hours, days) add up to the counts of the
    whole, to the last row; rounded weights do so but for the rounding.

    Counts alone do not tell values within a bin apart: for a distance that needs the values themselves take
    `metrics_py.drift.exact_distances`.

    References
    ----------
    Agarwal, Cormode, Huang, Phillips, Wei & Yi (2013), ACM Transactions on Database Systems 38(4):26 (mergeable
    summaries).

    Examples
    --------
    >>> from metrics_py.profile.build import build_profile
    >>> profile = build_profile(range(1, 21), "numeric", bins=4)
    >>> profile.label
    ('< 1', '[1, 5]', '(5, 10]', '(10, 15]', '(15, 20]', '> 20', '(null)', '(not finite)')
    >>> count(profile, [3, 20, 99, None, float("nan")]).tolist()
    [0, 1, 0, 0, 1, 1, 1, 1]
    >>> (count(profile, [3, 20]) + count(profile, [99, None, float("nan")])).tolist()
    [0, 1, 0, 0, 1, 1, 1, 1]
    """
    if profile.kind == "numeric":
        series = numbers_of(values, profile.column)
        if weights is None:
            return counts_of_numbers(profile, series)
        bin_of = bins_of_numbers(profile, series)
    else:
        texts = categories_of(values, profile.kind, profile.column)
        if weights is None:
            return counts_of_categories(profile, texts)
        bin_of = bins_of_categories(profile, texts)
    sums = np.bincount(bin_of, weights=check_weights(weights, len(bin_of), profile.column), minlength=len(profile))
    return np.rint(sums).astype(np.int64)


def counts_of_numbers(profile: ColumnProfile, series: pl.Series) -> IntArray:
    """Rows per bin of a Float64 series: no bin per row is kept.

    Parameters
    ----------
    profile : ColumnProfile
        Of a numeric column.
    series : polars.Series of Float64
        As `metrics_py.profile.values.numbers_of` gives it.

    Returns
    -------
    integer ndarray, shape (K,)
        Rows per bin.
    """
    cuts, bin_of_cut = profile.cuts()
    places = tally(cuts, _floats(series))
    counts = np.zeros(len(profile), dtype=np.int64)
    np.add.at(counts, bin_of_cut, places[:-1])
    counts[profile.bin_kind.index("null")] += series.null_count()
    counts[profile.bin_kind.index("not_finite")] += places[-1] - series.null_count()
    return counts


def bins_of_numbers(profile: ColumnProfile, series: pl.Series) -> IntArray:
    """Bin of each value of a Float64 series.

    Parameters
    ----------
    profile : ColumnProfile
        Of a numeric column.
    series : polars.Series of Float64, length n
        As `metrics_py.profile.values.numbers_of` gives it.

    Returns
    -------
    integer ndarray, shape (n,)
        Ids of bins.
    """
    cuts, bin_of_cut = profile.cuts()
    bin_of = np.append(bin_of_cut, profile.bin_kind.index("not_finite"))[locate(cuts, _floats(series))]
    if series.null_count():
        bin_of[series.is_null().to_numpy()] = profile.bin_kind.index("null")
    return bin_of


def _floats(series: pl.Series) -> FloatArray:
    """Values of a Float64 series; NaN for null."""
    return series.fill_null(np.nan).to_numpy() if series.null_count() else series.to_numpy()


def levels_of(texts: pl.Series) -> pl.DataFrame:
    """Distinct texts (value, null among them) and their rows (n).

    Parameters
    ----------
    texts : polars.Series of String
        As `metrics_py.profile.values.categories_of` gives it.

    Returns
    -------
    polars.DataFrame
        ``value, n`` in no particular order.
    """
    return texts.alias("value").value_counts(name="n")


def counts_of_categories(profile: ColumnProfile, texts: pl.Series) -> IntArray:
    """Rows per bin of a text series, by its distinct values: faster than a bin for every row.

    Parameters
    ----------
    profile : ColumnProfile
        Of a column that is not numeric.
    texts : polars.Series of String
        As `metrics_py.profile.values.categories_of` gives it.

    Returns
    -------
    integer ndarray, shape (K,)
        Rows per bin.
    """
    return counts_of_levels(profile, levels_of(texts))


def counts_of_levels(profile: ColumnProfile, levels: pl.DataFrame) -> IntArray:
    """Rows per bin, from distinct texts (value) and their rows or weights (n).

    Parameters
    ----------
    profile : ColumnProfile
        Of a column that is not numeric.
    levels : polars.DataFrame
        ``value, n`` as of `levels_of`.

    Returns
    -------
    integer ndarray, shape (K,)
        Sums per bin, rounded.
    """
    bin_of = bins_of_categories(profile, levels["value"])
    sums = np.bincount(bin_of, weights=levels["n"].to_numpy(), minlength=len(profile))
    return np.rint(sums).astype(np.int64)


def bins_of_categories(profile: ColumnProfile, texts: pl.Series) -> IntArray:
    """Bin of each value of a text series.

    Parameters
    ----------
    profile : ColumnProfile
        Of a column that is not numeric.
    texts : polars.Series of String, length n
        As `metrics_py.profile.values.categories_of` gives it.

    Returns
    -------
    integer ndarray, shape (n,)
        Ids of bins.
    """
    known = profile.categories()
    codes = texts.cast(pl.Enum(known["value"]), strict=False).to_physical()
    unknown = profile.bin_kind.index("unseen" if "unseen" in profile.bin_kind else "null")
    bin_of_code = np.append(known["bin_id"].to_numpy(), unknown).astype(np.int64)
    bin_of = bin_of_code[codes.fill_null(len(known)).to_numpy()]
    if texts.null_count():
        bin_of[texts.is_null().to_numpy()] = profile.bin_kind.index("null")
    return bin_of
