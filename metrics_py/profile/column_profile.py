"""A frozen reference profile of one column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metrics_py.profile.edges import just_below
from metrics_py.profile.values import WEEK_HOURS, Kind

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BinKind = Literal["interval", "atom", "below", "above", "null", "not_finite", "category", "other", "unseen"]
BIN_SCHEMA = pl.Schema(
    {
        "column_name": pl.String,
        "bin_id": pl.Int32,
        "bin_kind": pl.String,
        "label": pl.String,
        "lower": pl.Float64,
        "upper": pl.Float64,
        "n_reference": pl.Int64,
    }
)
SPECIAL_LABELS = {"null": "(null)", "not_finite": "(not finite)", "other": "(other)", "unseen": "(unseen)"}


@dataclass(frozen=True, eq=False)
class ColumnProfile:
    """Bins of one column and what the reference looked like in them. `bin_id` is the position in every array.

    Attributes
    ----------
    column : str
        Name of the column.
    kind : {"numeric", "categorical", "boolean", "datetime"}
    bin_kind : tuple of str, length K
        ``interval`` (lower, upper], ``atom`` (one value), ``below`` and ``above`` the reference's range, ``category``,
        ``other`` (seen in the reference, not among the most frequent), ``unseen``, ``null``, ``not_finite``.
    label : tuple of str, length K
        The category, or words for the bin.
    lower, upper : ndarray, shape (K,)
        Limits of numeric bins, NaN where there is none.
    n_reference : integer ndarray, shape (K,)
        Reference rows (rounded weights) per bin.
    center : ndarray, shape (K,)
        Mean of the reference values in each numeric bin, clipped to their 0.5 % and 99.5 % quantiles; NaN elsewhere.
    scale : float or None
        Standard deviation of the reference values clipped to the same quantiles: the "sd" of effect sizes.
    minimum, maximum, mean : float or None
        Of the finite reference values.
    n_distinct, n_singletons : int
        Distinct non-null reference values, and those seen once.
    expected_unseen : float
        Share of rows with a category that the reference does not hold (numeric: a value outside its range), expected
        without any drift: Good-Turing's singletons / n, for a range 2 / (n + 1).
    expected_unseen_error : float
        Standard error of `expected_unseen`, ``sqrt(singletons + 2 doubletons) / n``, for a range
        ``sqrt(2) / (n + 1)``.
    other : tuple of str
        Categories that count as ``other``, most frequent first.
    n_choosing : integer ndarray, shape (K,), optional
        Rows among `n_reference` by which the categories with a bin of their own were chosen; None where nothing was
        chosen, because all have one.
    design_effect : float
        Variance of bin counts relative to independent rows; see `metrics_py.drift.design_effects.design_effect`.
    rows_per_window : float or None
        Usual number of rows of one window, from the reference.
    reach : ndarray, shape (2, K)
        How far below and above the value at the end of a numeric bin a number is still that value
        (`metrics_py.profile.resolution`).
    is_imprecise : bool
        Different values of the reference are one and the same as 64-bit floats: the counts tell nothing.
    """

    column: str
    kind: Kind
    bin_kind: tuple[BinKind, ...]
    label: tuple[str, ...]
    lower: FloatArray
    upper: FloatArray
    n_reference: IntArray
    center: FloatArray
    scale: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    n_distinct: int = 0
    n_singletons: int = 0
    expected_unseen: float = 0.0
    expected_unseen_error: float = 0.0
    other: tuple[str, ...] = ()
    n_choosing: IntArray | None = None
    design_effect: float = 1.0
    rows_per_window: float | None = None
    reach: FloatArray = field(default_factory=lambda: np.zeros((2, 0)))
    is_imprecise: bool = False
    _lookup: dict[str, int] = field(init=False, repr=False, default_factory=dict[str, int])

    def __post_init__(self) -> None:
        if self.reach.shape != (2, len(self.bin_kind)):
            object.__setattr__(self, "reach", np.zeros((2, len(self.bin_kind))))
        for array in (self.lower, self.upper, self.n_reference, self.center, self.reach):
            array.setflags(write=False)
        for i, (kind, label) in enumerate(zip(self.bin_kind, self.label, strict=True)):
            if kind == "category":
                self._lookup[label] = i
        if self.other:
            self._lookup.update(dict.fromkeys(self.other, self.bin_kind.index("other")))

    def __len__(self) -> int:
        return len(self.bin_kind)

    def where(self, *kinds: BinKind) -> IntArray:
        """Ids of the bins of these kinds.

        Parameters
        ----------
        *kinds : str
            Of `bin_kind`.

        Returns
        -------
        ndarray of int, shape (k,)
            Ascending; empty where the profile has no such bin.
        """
        return np.array([i for i, kind in enumerate(self.bin_kind) if kind in kinds], dtype=np.int64)

    @property
    def n_rows(self) -> int:
        """Reference rows, nulls included."""
        return int(self.n_reference.sum())

    @property
    def group_bins(self) -> IntArray:
        """Bins that are groups of their own in `merged`, numeric ones in the order of the values."""
        found = self.where("interval", "atom", "category", "other").tolist()
        if self.kind == "numeric":
            if not found or self.bin_kind[found[0]] == "atom":
                found.insert(0, self.bin_kind.index("below"))
            if len(found) == 1 or self.bin_kind[found[-1]] == "atom":
                found.append(self.bin_kind.index("above"))
        return np.array(found, dtype=np.int64)

    def merged(self, counts: ArrayLike) -> IntArray:
        """Counts of the groups that distances compare: every value but nulls and infinities.

        Numeric values outside the reference's range join the interval at that end (beside an atom they stay on their
        own), unseen categories join ``other``: there such values of the reference itself have been counted.

        Parameters
        ----------
        counts : array_like of int, shape (..., K)
            Rows per bin; of the reference itself those of `unchosen`.

        Returns
        -------
        integer ndarray, shape (..., G)
            Rows per group, in the order of `group_bins`.

        Raises
        ------
        ValueError
            If the last axis does not hold the bins of the profile.
        """
        array = np.asarray(counts, dtype=np.int64)
        if array.shape[-1:] != (len(self),):
            raise ValueError(
                f"column {self.column!r}: counts have shape {array.shape}; the last axis must hold {len(self)} bins"
            )
        bins = self.group_bins
        groups = array[..., bins].copy()
        if self.kind == "numeric":
            for end, kind in ((0, "below"), (-1, "above")):
                if self.bin_kind[bins[end]] == "interval":
                    groups[..., end] += array[..., self.bin_kind.index(kind)]
        elif "unseen" in self.bin_kind:
            groups[..., -1] += array[..., self.bin_kind.index("unseen")]
        return groups

    def unchosen(self, counts: ArrayLike) -> IntArray:
        """Reference counts without the rows that chose the categories: chosen ones seem more frequent to those.

        Distances between the reference and other rows take these. Of `n_reference` they are exact; of a part of the
        reference (a segment, a bucket) each bin keeps the same share as of the whole, rounded.

        Parameters
        ----------
        counts : array_like of int, shape (..., K)
            Reference rows per bin.

        Returns
        -------
        integer ndarray, shape (..., K)
            The counts themselves where there are no such rows.

        Examples
        --------
        >>> from metrics_py.profile.build import build_profile
        >>> profile = build_profile(list("aaaaaaaabbbbbbcccd"), "categorical", top=2)
        >>> int(profile.n_reference.sum()), int(profile.unchosen(profile.n_reference).sum())
        (18, 14)
        """
        array = np.asarray(counts, dtype=np.int64)
        if self.n_choosing is None:
            return array
        kept = np.where(self.n_reference > 0, 1 - self.n_choosing / np.maximum(self.n_reference, 1), 1.0)
        return np.rint(array * kept).astype(np.int64)

    def ordered(self, counts: ArrayLike) -> tuple[IntArray, NDArray[np.bool_], NDArray[np.bool_]]:
        """Counts of all bins of finite values, in the order of the values, as `ks_bounds` takes them.

        Parameters
        ----------
        counts : array_like of int, shape (..., K)
            Rows per bin.

        Returns
        -------
        cells : integer ndarray, shape (..., C)
            Rows per bin.
        points : ndarray of bool, shape (C,)
            Bins that are one single value.
        loose : ndarray of bool, shape (C,)
            Intervals with an atom inside: their rows stand on both sides of it.

        Raises
        ------
        ValueError
            If the column is not numeric: its bins have no order.
        """
        if self.kind != "numeric":
            raise ValueError(f"column {self.column!r} is {self.kind}: its bins have no order")
        atoms, edges = self.where("atom").tolist(), self.where("below", "above").tolist()
        bins: list[int] = [*atoms, *edges, *self.where("interval").tolist()]
        bins.sort(key=lambda i: (np.inf if np.isnan(self.upper[i]) else self.upper[i], self.bin_kind[i] == "atom"))
        below_atom = np.array([just_below(float(x)) for x in self.lower[atoms]])
        loose = [
            self.bin_kind[i] == "interval"
            and bool(((self.lower[i] < below_atom) & (self.lower[atoms] < self.upper[i])).any())
            for i in bins
        ]
        cells = np.asarray(counts, dtype=np.int64)[..., bins]
        return cells, np.array([self.bin_kind[i] == "atom" for i in bins]), np.array(loose)

    def cuts(self) -> tuple[FloatArray, IntArray]:
        """Right ends of elementary intervals ``(previous, cut]`` of a numeric column and the bin of each.

        The last is infinity. A value belongs to the bin of the first cut that is not below it: one binary search, in
        Python and in SQL.

        Returns
        -------
        cuts : ndarray, shape (C,)
            Ascending.
        bin_of_cut : integer ndarray, shape (C,)
            Bin of the values up to each cut.
        """
        ends: dict[float, int] = {}
        for i in self.where("below", "interval", "above"):
            ends[self._end(int(i))] = int(i)
        spans = np.array(sorted(ends))
        for i in self.where("atom"):
            start = self._start(float(self.lower[i]), int(i))
            owner = ends[float(spans[np.searchsorted(spans, start)])]
            ends.setdefault(start, owner)
            ends[self._end(int(i))] = int(i)
        cuts = np.array(sorted(ends))
        return cuts, np.array([ends[c] for c in cuts], dtype=np.int64)

    def _end(self, i: int) -> float:
        """Largest value of a numeric bin."""
        if self.bin_kind[i] == "above":
            return np.inf
        if self.bin_kind[i] == "below":
            return float(self.upper[i]) if self.minimum is None else self._start(self.minimum, i)
        end = float(self.upper[i]) + float(self.reach[1, i])
        return end if np.isfinite(end) else float(self.upper[i])

    def _start(self, value: float, i: int) -> float:
        """Largest number that is not this value any more."""
        start = value - float(self.reach[0, i])
        return min(just_below(value), start) if np.isfinite(start) else just_below(value)

    def categories(self) -> pl.DataFrame:
        """Known categories (value, bin_id), those of ``other`` included; all the rest is ``unseen``.

        Returns
        -------
        polars.DataFrame
            One row per category: value (String), bin_id (Int32).
        """
        return pl.DataFrame(
            {"value": list(self._lookup), "bin_id": list(self._lookup.values())},
            schema={"value": pl.String, "bin_id": pl.Int32},
        )

    def to_frame(self) -> pl.DataFrame:
        """One row per bin: column_name, bin_id, bin_kind, label, lower, upper, n_reference.

        Returns
        -------
        polars.DataFrame
            In `BIN_SCHEMA`; null where a bin has no limit.
        """
        return pl.DataFrame(
            {
                "column_name": [self.column] * len(self),
                "bin_id": range(len(self)),
                "bin_kind": self.bin_kind,
                "label": self.label,
                "lower": self.lower,
                "upper": self.upper,
                "n_reference": self.n_reference,
            },
            schema=BIN_SCHEMA,
        ).with_columns(pl.col("lower", "upper").fill_nan(None))

    def facts(self) -> dict[str, Any]:
        """Everything `to_frame` does not hold, as JSON values.

        Returns
        -------
        dict
            By the names of the attributes.
        """
        return {
            "kind": self.kind,
            "center": [float(c) if np.isfinite(c) else None for c in self.center],
            "scale": self.scale,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": self.mean,
            "n_distinct": self.n_distinct,
            "n_singletons": self.n_singletons,
            "expected_unseen": self.expected_unseen,
            "expected_unseen_error": self.expected_unseen_error,
            "other": list(self.other),
            "n_choosing": None if self.n_choosing is None else self.n_choosing.tolist(),
            "design_effect": self.design_effect,
            "rows_per_window": self.rows_per_window,
            "reach": self.reach.tolist() if self.kind == "numeric" else [],
            **({"is_imprecise": True} if self.is_imprecise else {}),
        }

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, facts: Mapping[str, Any] | None = None) -> ColumnProfile:
        """Profile from the rows of `to_frame` for one column, and its `facts`.

        Without `facts` the bins count as before, but categories of ``other`` are taken for unseen, the centers are the
        middles of the bins, and there is no `scale`: nothing is told in standard deviations.

        Parameters
        ----------
        frame : polars.DataFrame
            All bins of one column, in any order.
        facts : mapping, optional
            As of `facts`.

        Returns
        -------
        ColumnProfile
            Counts and compares as the one that was written.

        Raises
        ------
        ValueError
            If rows are of several columns or the bin ids are not 0, 1, 2, ...
        """
        rows = frame.sort("bin_id")
        names = rows["column_name"].unique().to_list()
        if len(names) != 1 or rows["bin_id"].to_list() != list(range(len(rows))):
            raise ValueError(
                f"ColumnProfile.from_frame: rows of the columns {sorted(map(str, names))} with bin ids "
                f"{rows['bin_id'].to_list()[:5]}...; give all bins of one column, ids 0, 1, 2, ..."
            )
        bin_kind = tuple(cast("list[BinKind]", rows["bin_kind"].to_list()))
        labels = tuple("" if x is None else x for x in rows["label"].to_list())
        lower = rows["lower"].fill_null(np.nan).to_numpy().copy()
        upper = rows["upper"].fill_null(np.nan).to_numpy().copy()
        known = dict(facts or {"kind": _kind_of(bin_kind, labels)})
        center = known.pop("center", None)
        if center is None:
            inside = np.isin(bin_kind, ["interval", "atom"])
            center = np.where(inside, lower / 2 + upper / 2, np.nan)
        known["other"] = tuple(known.get("other", ()))
        choosing = known.pop("n_choosing", None)
        known["reach"] = np.array(known.get("reach") or np.zeros((2, 0)), dtype=float)
        return cls(
            column=names[0],
            bin_kind=bin_kind,
            label=labels,
            lower=lower,
            upper=upper,
            n_reference=rows["n_reference"].to_numpy().astype(np.int64),
            center=np.array([np.nan if c is None else c for c in center], dtype=float),
            n_choosing=None if choosing is None else np.array(choosing, dtype=np.int64),
            **known,
        )


def _kind_of(bin_kind: tuple[BinKind, ...], labels: tuple[str, ...]) -> Kind:
    if "above" in bin_kind:
        return "numeric"
    named = tuple(label for kind, label in zip(bin_kind, labels, strict=True) if kind == "category")
    if "unseen" not in bin_kind:
        return "datetime" if named == WEEK_HOURS else "boolean"
    return "categorical"
