"""Two tables column by column: groups, entity buckets, and counts in bins that are frozen from the reference."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.comparison.tables import Table
from metrics_py.drift.pair import ColumnPair
from metrics_py.intervals import N_BUCKETS
from metrics_py.profile.build import build_profile
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.profile.counts import bins_of_categories, bins_of_numbers, counts_of_categories, counts_of_numbers
from metrics_py.profile.resolution import resolution_of, snap
from metrics_py.profile.values import Kind, categories_of, column_of, numbers_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MAX_GROUPS = 1000
PROFILE_ROWS = 50_000


@dataclass(frozen=True, eq=False)
class Side:
    """Rows of one table: group of every row (None: all are of every group) and bucket of its entity.

    Attributes
    ----------
    table : Table
        The rows.
    groups : integer ndarray, shape (n,), or None
        Position of each row's group.
    buckets : integer ndarray, shape (n,), or None
        Hash bucket of each row's entity, 0 to 63; None where rows count as independent.
    """

    table: Table
    groups: IntArray | None
    buckets: IntArray | None

    def count(self, profile: ColumnProfile, series: pl.Series, n_groups: int) -> tuple[IntArray, IntArray | None]:
        """Rows per group and bin, and per group, bucket of the entity and bin.

        Parameters
        ----------
        profile : ColumnProfile
            Frozen bins.
        series : polars.Series
            A column of the table, as `numbers_of` or `categories_of` gives it.
        n_groups : int
            T.

        Returns
        -------
        counts : integer ndarray, shape (T, K)
            Do not write to it: equal groups are one.
        buckets : integer ndarray, shape (T, 64, K), or None
            None without entities.
        """
        k = len(profile)
        if self.groups is None and self.buckets is None:
            return np.broadcast_to(_count(profile, series), (n_groups, k)), None
        bins = bins_of_numbers(profile, series) if profile.kind == "numeric" else bins_of_categories(profile, series)
        groups, own = (np.zeros(1, dtype=np.int64), 1) if self.groups is None else (self.groups, n_groups)
        if self.buckets is None:
            counts = np.bincount(groups * k + bins, minlength=own * k).reshape(own, k)
            return np.broadcast_to(counts, (n_groups, k)), None
        address = (groups * N_BUCKETS + self.buckets) * k + bins
        buckets = np.bincount(address, minlength=own * N_BUCKETS * k).reshape(own, N_BUCKETS, k)
        return np.broadcast_to(buckets.sum(axis=1), (n_groups, k)), np.broadcast_to(buckets, (n_groups, N_BUCKETS, k))


def _count(profile: ColumnProfile, series: pl.Series) -> IntArray:
    """Rows per bin of values as `numbers_of` or `categories_of` gives them."""
    return counts_of_numbers(profile, series) if profile.kind == "numeric" else counts_of_categories(profile, series)


@dataclass(frozen=True, eq=False)
class _Values:
    """Finite values of a column by group, sorted into groups once and only if a metric asks."""

    numbers: pl.Series
    groups: IntArray | None

    @cached_property
    def parts(self) -> list[FloatArray]:
        numbers = self.numbers.fill_null(np.nan).to_numpy()
        finite = np.isfinite(numbers)
        if self.groups is None:
            return [numbers[finite]]
        groups = self.groups[finite]
        order = np.argsort(groups, kind="stable")
        ends = np.searchsorted(groups[order], np.arange(1, int(self.groups.max(initial=-1)) + 2))
        return np.split(numbers[finite][order], ends[:-1])

    def __getitem__(self, t: int) -> FloatArray:
        if self.groups is None:
            return self.parts[0]
        return self.parts[t] if t < len(self.parts) else np.zeros(0)


def require_column(name: str, known: Sequence[str], option: str) -> None:
    """Refuse a name that is no column, with the nearest one.

    Parameters
    ----------
    name : str
        What was asked for.
    known : sequence of str
        Columns there are.
    option : str
        Option that named it, for the error.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(map(str, known))}"
        raise ValueError(f"compare: {option}: there is no column {name!r}; {hint}")


def make_sides(old: Table, new: Table, by: str | None, entity: str | None) -> tuple[list[str], tuple[Side, Side]]:
    """Names of the groups, and both tables with their groups and buckets.

    Parameters
    ----------
    old, new : Table
        Reference and current.
    by : str or None
        Column of the current table whose values are the groups; None is one group.
    entity : str or None
        Column of the current table that says which rows belong together.

    Returns
    -------
    labels : list of str, length T
        ``all``, or ``<column>=<value>`` in the order of the values.
    sides : (Side, Side)
        Reference and current.

    Raises
    ------
    ValueError
        If there is no such column, or it has no names for its values, no rows, or more than 1,000 values.
    """
    labels: list[str] = ["all"]
    groups: tuple[IntArray | None, IntArray | None] = (None, None)
    if by is not None:
        require_column(by, new.frame.columns, "by")
        labels, groups = _groups(old, new, by)
    buckets: list[IntArray | None] = [None, None]
    if entity is not None:
        require_column(entity, new.frame.columns, "entity")
        for i, table in enumerate((old, new)):
            if entity in table.frame.columns:
                hashed = _names_of(table, entity, "entity").hash(seed=0)
                buckets[i] = (hashed % N_BUCKETS).to_numpy().astype(np.int64)
    return labels, (Side(old, groups[0], buckets[0]), Side(new, groups[1], buckets[1]))


def _names_of(table: Table, column: str, option: str) -> pl.Series:
    """Values as texts; 1 and 1.0 are the same one."""
    try:
        return categories_of(column_of(table.frame, column), "categorical", column)
    except (TypeError, pl.exceptions.PolarsError) as error:
        dtype = table.frame[column].dtype
        raise ValueError(
            f"compare: {option}: the column {column!r} of type {dtype} has no names for its values; cast it to text"
        ) from error


def _groups(old: Table, new: Table, by: str) -> tuple[list[str], tuple[IntArray | None, IntArray]]:
    sides = [_names_of(t, by, "by").fill_null("(null)") for t in (old, new) if by in t.frame.columns]
    names = pl.concat(sides).unique().sort()
    if not names.len():
        raise ValueError(f"compare: by: the column {by!r} has no rows, so there is no group to judge")
    if names.len() > MAX_GROUPS:
        raise ValueError(
            f"compare: by: the column {by!r} has {names.len()} values, at most {MAX_GROUPS} are judged; "
            "group them first"
        )
    codes = [side.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy() for side in sides]
    return [f"{by}={name}" for name in names], (codes[0] if len(codes) == 2 else None, codes[-1])


def pair_column(
    name: str,
    kind: Kind,
    columns: tuple[pl.Series, pl.Series],
    sides: tuple[Side, Side],
    n_groups: int,
    bins: int,
) -> ColumnPair:
    """Bins of the reference, and both columns counted in them.

    Parameters
    ----------
    name : str
        Name of the column.
    kind : {"numeric", "categorical", "boolean", "datetime"}
        How to read the values.
    columns : (polars.Series, polars.Series)
        Reference and current values.
    sides : (Side, Side)
        Groups and buckets of their rows.
    n_groups : int
        T.
    bins : int
        Most numeric bins.

    Returns
    -------
    ColumnPair
        What the drift metrics measure.

    Raises
    ------
    TypeError
        If the values cannot be read as `kind`.
    """
    if kind == "numeric":
        old, new = (numbers_of(series, name).rechunk() for series in columns)
        resolution = resolution_of(*(series.dtype for series in columns))
        profile = _numeric_profile(name, old, bins, resolution)
        known = _Known(old, profile.scale, resolution)
        values = partial(_group_values, _Values(old, sides[0].groups), _Values(new, sides[1].groups), known)
    else:
        old, new = (categories_of(series, kind, name) for series in columns)
        profile = build_profile(columns[0], kind, column=name, bins=bins)
        values = None
    if sides[0].groups is None and sides[0].buckets is None:
        reference, reference_buckets = np.broadcast_to(profile.n_reference, (n_groups, len(profile))), None
    else:
        reference, reference_buckets = sides[0].count(profile, old, n_groups)
    current, current_buckets = sides[1].count(profile, new, n_groups)
    return ColumnPair(profile, reference, current, reference_buckets, current_buckets, values)


@dataclass(frozen=True, eq=False)
class _Known:
    """The distinct values of the reference: what is within their reach is no other value."""

    numbers: pl.Series
    scale: float | None
    resolution: float

    @cached_property
    def distinct(self) -> tuple[FloatArray, FloatArray]:
        found = self.numbers.filter(self.numbers.is_finite()).alias("x").value_counts().sort("x")
        return found["x"].to_numpy(), found["count"].to_numpy().astype(float)

    def snap(self, values: FloatArray) -> FloatArray:
        return snap(values, *self.distinct, self.scale, self.resolution)


def _group_values(old: _Values, new: _Values, known: _Known, t: int) -> tuple[FloatArray, FloatArray]:
    return old[t], known.snap(new[t])


def _numeric_profile(name: str, numbers: pl.Series, bins: int, resolution: float) -> ColumnProfile:
    """Bins of a long column from a random part of it and its extremes.

    The edges hardly move, and counts are of all rows anyway.
    """
    if numbers.len() <= 2 * PROFILE_ROWS:
        return build_profile(numbers, "numeric", column=name, bins=bins, resolution=resolution)
    extremes = [numbers.min(), numbers.max()]
    if not np.isfinite(np.array(extremes, dtype=float)).all():
        finite = numbers.filter(numbers.is_finite())
        extremes = [finite.min(), finite.max()]
    part = pl.concat([numbers.sample(PROFILE_ROWS, seed=0), pl.Series(numbers.name, extremes, dtype=pl.Float64)])
    profile = build_profile(part, "numeric", column=name, bins=bins, resolution=resolution)
    counts = counts_of_numbers(profile, numbers)
    n_finite = int(counts.sum() - counts[profile.where("null", "not_finite")].sum())
    unseen, error = 2 / (n_finite + 1), float(np.sqrt(2)) / (n_finite + 1)
    return replace(profile, n_reference=counts, expected_unseen=unseen, expected_unseen_error=error)
