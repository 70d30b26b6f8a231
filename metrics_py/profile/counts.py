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
        Their sum is the number of rows: nothing is dropped. Counts of parts add up to the counts of the whole.
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
    """Rows per bin of a Float64 series: no bin per row is kept."""
    cuts, bin_of_cut = profile.cuts()
    places = tally(cuts, _floats(series))
    counts = np.zeros(len(profile), dtype=np.int64)
    np.add.at(counts, bin_of_cut, places[:-1])
    counts[profile.bin_kind.index("null")] += series.null_count()
    counts[profile.bin_kind.index("not_finite")] += places[-1] - series.null_count()
    return counts


def bins_of_numbers(profile: ColumnProfile, series: pl.Series) -> IntArray:
    """Bin of each value of a Float64 series."""
    cuts, bin_of_cut = profile.cuts()
    bin_of = np.append(bin_of_cut, profile.bin_kind.index("not_finite"))[locate(cuts, _floats(series))]
    if series.null_count():
        bin_of[series.is_null().to_numpy()] = profile.bin_kind.index("null")
    return bin_of


def _floats(series: pl.Series) -> FloatArray:
    """Values of a Float64 series; NaN for null."""
    return series.fill_null(np.nan).to_numpy() if series.null_count() else series.to_numpy()


def levels_of(texts: pl.Series) -> pl.DataFrame:
    """Distinct texts (value, null among them) and their rows (n)."""
    return texts.alias("value").value_counts(name="n")


def counts_of_categories(profile: ColumnProfile, texts: pl.Series) -> IntArray:
    """Rows per bin of a text series, by its distinct values: faster than a bin for every row."""
    return counts_of_levels(profile, levels_of(texts))


def counts_of_levels(profile: ColumnProfile, levels: pl.DataFrame) -> IntArray:
    """Rows per bin, from distinct texts (value) and their rows or weights (n)."""
    bin_of = bins_of_categories(profile, levels["value"])
    sums = np.bincount(bin_of, weights=levels["n"].to_numpy(), minlength=len(profile))
    return np.rint(sums).astype(np.int64)


def bins_of_categories(profile: ColumnProfile, texts: pl.Series) -> IntArray:
    """Bin of each value of a text series."""
    known = profile.categories()
    codes = texts.cast(pl.Enum(known["value"]), strict=False).to_physical()
    unknown = profile.bin_kind.index("unseen" if "unseen" in profile.bin_kind else "null")
    bin_of_code = np.append(known["bin_id"].to_numpy(), unknown).astype(np.int64)
    bin_of = bin_of_code[codes.fill_null(len(known)).to_numpy()]
    if texts.null_count():
        bin_of[texts.is_null().to_numpy()] = profile.bin_kind.index("null")
    return bin_of
