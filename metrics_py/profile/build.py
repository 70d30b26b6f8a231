"""Frozen reference profiles: bins that never move, and counts per bin that merge by addition.

A profile is made once, from the reference. Current data are only counted in its bins, so scores of different windows
can be compared, an outlier cannot move an edge, and the counts of shards, hours or days add up to the counts of the
whole, bit for bit. Nulls, infinities, values outside the reference's range and unseen categories have bins of their
own: nothing is dropped.

References
----------
Good (1953), Biometrika 40:237 (probability of unseen species: singletons / N).
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from hashlib import blake2b
from typing import cast, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from metrics_py.profile.column_profile import BIN_SCHEMA, SPECIAL_LABELS, BinKind, ColumnProfile, FloatArray
from metrics_py.profile.counts import count, counts_of_levels, levels_of
from metrics_py.profile.edges import just_below, numeric_edges
from metrics_py.profile.resolution import RESOLUTION, reach
from metrics_py.profile.values import WEEK_HOURS, Kind, categories_of, check_weights, numbers_of
from metrics_py.wording import numbers

__all__ = ["BIN_SCHEMA", "BinKind", "ColumnProfile", "build_profile", "count"]
MAX_KNOWN = 100_000
CHOOSING = 0.25


def build_profile(
    values: object,
    kind: str,
    *,
    column: str = "value",
    bins: int = 32,
    top: int = 50,
    weights: ArrayLike | None = None,
    design_effect: float = 1.0,
    rows_per_window: float | None = None,
    resolution: float = RESOLUTION,
) -> ColumnProfile:
    """Freeze the bins of one reference column.

    Parameters
    ----------
    values : array_like or polars.Series, shape (n,)
        Reference values; None is null. Any size, also empty, constant or all null.
    kind : {"numeric", "categorical", "boolean", "datetime"}
        A datetime is judged by its hour of the week (UTC), never as a number.
    column : str, default "value"
        Name of the column.
    bins : int, default 32
        Most numeric bins that carry reference mass; a value with more than ``1 / bins`` of it is an atom.
    top : int, default 50
        Categories with a bin of their own, most frequent first (ties in alphabetical order).
    weights : array_like, shape (n,), optional
        A row of weight w counts as w rows.
    design_effect : float, default 1
        See `ColumnProfile`.
    rows_per_window : float, optional
        Usual rows of one window; the reference's rows divided by its number of windows.
    resolution : float, default 2**-22
        Numbers so close to a value of the reference, relative to it, are that value (`metrics_py.profile.resolution`).

    Returns
    -------
    ColumnProfile
        With the reference counted in its own bins.

    Raises
    ------
    ValueError
        Unknown kind, weights that are negative, not finite or not one per row, fewer than 2 bins.
    TypeError
        Values that cannot be read as `kind`.

    Notes
    -----
    Numeric values: a value with more than ``1 / bins`` of the mass becomes an atom, a bin of its own; between atoms lie
    intervals ``(lower, upper]`` of about equal mass, whose edges are quantiles of the reference. A small reference gets
    fewer bins, of at least five rows. A number as close to a value of the reference as single precision can tell is
    that value: the same rows as 32-bit floats are in the same bins. Categories: the `top` most frequent, ``(other)``
    for the rest of the reference's, ``(unseen)`` for those it does not hold. Nulls, infinities and values below and
    above the reference's range have bins of their own.

    Where there are more than `top` categories, a quarter of the rows, drawn at random (always the same), chooses them,
    and distances compare with the other three quarters (`ColumnProfile.unchosen`): to the rows that chose them the
    chosen categories seem more frequent than they are, and every later window would differ. Weighted rows all choose.

    The share of rows to be expected outside what the reference holds is kept with the profile: Good and Turing's share
    of categories seen once, ``2 / (n + 1)`` for a range. Make a profile once, from a reference that is thought good: a
    profile of every window would follow the drift. Text and embeddings have no profile: pass lengths and norms.

    References
    ----------
    Good (1953), Biometrika 40:237. Wilks (1942), Annals of Mathematical Statistics 13:400 (range).

    Examples
    --------
    Twelve of twenty values are 0: an atom. The other eight make two intervals.

    >>> profile = build_profile([0] * 12 + [1, 2, 3, 4, 5, 6, 7, 8, None], "numeric", bins=4)
    >>> [(label, int(n)) for label, n in zip(profile.label, profile.n_reference)]
    [('< 0', 0), ('= 0', 12), ('(0, 4]', 4), ('(4, 8]', 4), ('> 8', 0), ('(null)', 1), ('(not finite)', 0)]
    """
    if kind not in get_args(Kind):
        close = difflib.get_close_matches(kind, get_args(Kind), n=1)
        raise ValueError(
            f"build_profile: column {column!r}: kind {kind!r} is not one of {', '.join(get_args(Kind))}"
            + (f"; did you mean {close[0]!r}?" if close else "; pass text as its length, an embedding as its norm")
        )
    if bins < 2 or top < 1:
        raise ValueError(f"build_profile: bins={bins} must be at least 2 and top={top} at least 1")
    if kind == "numeric":
        empty = _numeric_profile(values, weights, bins, column, resolution)
        profile = replace(empty, n_reference=count(empty, values, weights=weights))
    else:
        profile = _category_profile(values, weights, cast(Kind, kind), top, column)
    return replace(profile, design_effect=float(design_effect), rows_per_window=rows_per_window)


def _numeric_profile(
    values: object, weights: ArrayLike | None, bins: int, column: str, resolution: float
) -> ColumnProfile:
    series = numbers_of(values, column)
    numbers = series.fill_null(np.nan).to_numpy()
    finite = np.isfinite(numbers)
    if weights is None:
        distinct, rows = np.unique(numbers[finite] + 0.0, return_counts=True)
        mass = rows.astype(float)
    else:
        weight = check_weights(weights, len(numbers), column)
        kept = finite & (weight > 0)
        distinct, inverse = np.unique(numbers[kept] + 0.0, return_inverse=True)
        mass = np.bincount(inverse, weights=weight[kept], minlength=len(distinct)).astype(float)
    if not len(distinct):  # every finite value lies outside the range of a reference without any
        kinds: list[BinKind] = ["below", "above", "null", "not_finite"]
        lower, upper = np.array([np.nan, 0.0, np.nan, np.nan]), np.array([0.0, np.nan, np.nan, np.nan])
        labels = ("<= 0 (no reference values)", "> 0 (no reference values)", "(null)", "(not finite)")
        return ColumnProfile(
            column, "numeric", tuple(kinds), labels, lower, upper, np.zeros(4, np.int64), np.full(4, np.nan)
        )
    edges = numeric_edges(distinct, mass, bins)
    low, high = just_below(float(distinct[0])), float(distinct[-1])
    kinds = ["below", *cast("tuple[BinKind, ...]", edges.kinds), "above", "null", "not_finite"]
    lower = np.array([np.nan, *edges.lower, high, np.nan, np.nan])
    upper = np.array([low, *edges.upper, np.nan, np.nan, np.nan])
    total = float(mass.sum())
    clipped = np.clip(distinct, *_quantiles(distinct, mass, (0.005, 0.995)))
    share = mass / total
    unit = float(np.abs(clipped).max()) or 1.0  # squares of huge and tiny values stay in range
    mean = float((share * (clipped / unit)).sum())  # no @: it wakes a second thread, which then waits busily
    scale = unit * float(np.sqrt((share * (clipped / unit - mean) ** 2).sum()))
    profile = ColumnProfile(
        column,
        "numeric",
        tuple(kinds),
        _numeric_labels(kinds, lower, upper, float(distinct[0])),
        lower,
        upper,
        np.zeros(len(kinds), np.int64),
        np.full(len(kinds), np.nan),
        scale=scale if clipped[0] < clipped[-1] and scale > 0 else None,
        minimum=float(distinct[0]),
        maximum=high,
        mean=float((share * distinct).sum()),
        n_distinct=len(distinct),
        n_singletons=int((mass == 1).sum()),
        expected_unseen=2 / (total + 1),
        expected_unseen_error=float(np.sqrt(2)) / (total + 1),
        reach=_reach(reach(distinct, mass, scale, resolution), distinct, kinds, upper),
    )
    return replace(profile, center=_centers(profile, distinct, share, clipped))


def _reach(
    of_values: tuple[FloatArray, FloatArray], distinct: FloatArray, kinds: list[BinKind], upper: FloatArray
) -> FloatArray:
    """Reach of the value at the end of each bin; of the lowest value where the values below it end."""
    ends = np.where(np.array(kinds) == "below", distinct[0], upper)
    is_value = np.isfinite(ends)
    found = np.zeros((2, len(kinds)))
    found[:, is_value] = np.array(of_values)[:, np.searchsorted(distinct, ends[is_value])]
    return found


def _centers(profile: ColumnProfile, distinct: FloatArray, share: FloatArray, clipped: FloatArray) -> FloatArray:
    cuts, bin_of_cut = profile.cuts()
    ends = np.searchsorted(distinct, cuts, side="right")
    bin_of = np.repeat(bin_of_cut, np.diff(ends, prepend=0))
    weight = np.bincount(bin_of, weights=share, minlength=len(profile))
    sums = np.bincount(bin_of, weights=share * clipped, minlength=len(profile))
    center = profile.lower / 2 + profile.upper / 2
    center[weight > 0] = sums[weight > 0] / weight[weight > 0]
    center[profile.where("below")], center[profile.where("above")] = clipped[0], clipped[-1]
    return center


def _quantiles(distinct: FloatArray, mass: FloatArray, levels: tuple[float, ...]) -> FloatArray:
    cumulative = np.cumsum(mass)
    return distinct[np.searchsorted(cumulative, np.array(levels) * cumulative[-1] * (1 - 1e-12))]


def _numeric_labels(kinds: list[BinKind], lower: FloatArray, upper: FloatArray, minimum: float) -> tuple[str, ...]:
    words = {"below": "< {minimum}", "above": "> {lower}", "atom": "= {lower}"} | SPECIAL_LABELS
    ends = np.unique([minimum, *lower[(lower >= minimum)], *upper[upper >= minimum]])
    text = dict(zip(ends.tolist(), numbers(ends.tolist()), strict=True))
    first = "(" if "atom" in kinds and minimum in lower[np.array(kinds) == "atom"] else "["
    labels: list[str] = []
    for kind, low, high in zip(kinds, lower.tolist(), upper.tolist(), strict=True):
        interval = first + "{minimum}, {upper}]" if low < minimum else "({lower}, {upper}]"
        labels.append(
            words.get(kind, interval).format(lower=text.get(low), upper=text.get(high), minimum=text[minimum])
        )
    return tuple(labels)


def _category_profile(values: object, weights: ArrayLike | None, kind: Kind, top: int, column: str) -> ColumnProfile:
    texts = categories_of(values, kind, column)
    if weights is None:
        found = levels_of(texts)
    else:
        weight = check_weights(weights, len(texts), column)
        found = pl.DataFrame({"value": texts, "n": weight}).group_by("value").agg(pl.col("n").sum())
    levels = found.filter(pl.col("value").is_not_null() & (pl.col("n") > 0))
    levels = levels.sort(["n", "value"], descending=[True, False])
    total = float(levels["n"].sum())
    singletons = int((levels["n"] == 1).sum())
    doubletons = int((levels["n"] == 2).sum())
    error, choosing = 0.0, None
    if kind == "categorical":
        error = float(np.sqrt(singletons + 2 * doubletons) / total) if total else 0.0
        choosing = _choosing(levels) if levels.height > top and weights is None else None
        chosen = levels if choosing is None else choosing
        is_named = pl.col("value").is_in(chosen["value"].head(top).implode())
        named, rest = levels.filter(is_named)["value"].to_list(), levels.filter(~is_named)
        other = rest["value"].head(MAX_KNOWN).to_list()
        kinds = cast("list[BinKind]", [*["category"] * len(named), "other", "unseen", "null"])
        forgotten = float(rest["n"].slice(MAX_KNOWN).sum())
        unseen = min(1.0, (singletons + forgotten) / total) if total else 1.0
    else:
        named, other, unseen = list(WEEK_HOURS) if kind == "datetime" else ["false", "true"], [], 0.0
        kinds = cast("list[BinKind]", [*["category"] * len(named), "null"])
    labels = (*named, *(SPECIAL_LABELS[k] for k in kinds[len(named) :]))
    nothing = np.full(len(kinds), np.nan)
    profile = ColumnProfile(
        column,
        kind,
        tuple(kinds),
        labels,
        nothing,
        nothing.copy(),
        np.zeros(len(kinds), np.int64),
        nothing.copy(),
        n_distinct=len(levels),
        n_singletons=singletons,
        expected_unseen=unseen,
        expected_unseen_error=error,
        other=tuple(other),
    )
    profile = replace(profile, n_reference=counts_of_levels(profile, found))
    if choosing is None:
        return profile
    return replace(profile, n_choosing=counts_of_levels(profile, choosing))


def _choosing(levels: pl.DataFrame) -> pl.DataFrame:
    """Rows per category (value, n) of a random quarter of all rows, whatever their order, most frequent first."""
    by_name = levels.sort("value")
    counts = by_name["n"].to_numpy().astype(np.int64)
    seed = int.from_bytes(blake2b(counts.tobytes(), digest_size=16).digest(), "little")
    drawn = np.random.default_rng(seed).binomial(counts, CHOOSING)  # one seed for all would tie the draw to the counts
    return by_name.select("value", n=pl.Series(drawn)).sort(["n", "value"], descending=[True, False])
