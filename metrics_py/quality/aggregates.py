"""Label-side aggregate tables spread into dense arrays of shape (group, bucket, ...)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.definition import Aggregates
from metrics_py.quality.score_histograms import N_CALIBRATION_BINS, N_SCORE_BINS

FloatArray = NDArray[np.float64]

CELLS_PER_CHUNK = 3_000_000
CLASSIFICATION = ("binary_classification", "multiclass_classification")
SUMS = (
    "n",
    "n_score",
    "sum_label",
    "sum_label_sq",
    "sum_score",
    "sum_error",
    "sum_abs_error",
    "sum_squared_error",
    "sum_log_loss",
    "sum_brier",
    "n_improper",
)


@dataclass(frozen=True)
class Cells:
    """Rows of one aggregate table, sorted by group: where each count goes and how much it is.

    Attributes
    ----------
    group : integer ndarray, shape (r,)
        Group of each row, ascending.
    cell : integer ndarray, shape (r,)
        Place in the flattened array (buckets, *shape) of its group.
    amount : ndarray, shape (r,)
        Count or sum.
    shape : tuple of int
        Shape of one bucket.
    """

    group: NDArray[np.int64]
    cell: NDArray[np.int64]
    amount: FloatArray
    shape: tuple[int, ...]

    def dense(self, start: int, stop: int, n_buckets: int) -> FloatArray:
        """Array of shape (groups, buckets, *shape) of the groups in [start, stop).

        Parameters
        ----------
        start, stop : int
            Groups, half-open.
        n_buckets : int
            Buckets of a group.

        Returns
        -------
        ndarray of float, shape (stop - start, n_buckets, *shape)
            Amounts of equal address are added up.
        """
        low, high = np.searchsorted(self.group, (start, stop))
        size = n_buckets * int(np.prod(self.shape))
        index = (self.group[low:high] - start) * size + self.cell[low:high]
        flat: FloatArray = np.bincount(index, weights=self.amount[low:high], minlength=(stop - start) * size).astype(
            float, copy=False
        )
        return flat.reshape(stop - start, n_buckets, *self.shape)


def spread(tables: dict[str, pl.DataFrame], task: str, positive: str, n_buckets: int) -> dict[str, Cells]:
    """Address of every count in its dense array.

    Parameters
    ----------
    tables : dict of str to polars.DataFrame
        As `metrics_py.quality.table.quality_table` takes them, each with a column ``_group`` and sorted by it.
    task : str
        As of `quality_table`.
    positive : str
        The positive class (binary).
    n_buckets : int
        Buckets of a group.

    Returns
    -------
    dict of str to Cells
        By ``confusion, scores, score_sums, sums, custom``, as far as there are tables (columns) for them.

    Raises
    ------
    ValueError
        If a bucket or bin is out of its range, an amount is not finite, or a binary task has scores of several classes.
    """
    cells: dict[str, Cells] = {}
    if "confusion" in tables and task in CLASSIFICATION:
        table = tables["confusion"].drop_nulls(["predicted_class", "actual_class"])
        if task == "binary_classification":
            predicted = (table["predicted_class"] == positive).to_numpy().astype(np.int64)
            actual = (table["actual_class"] == positive).to_numpy().astype(np.int64)
            k = 2
        else:
            names = pl.concat([table["predicted_class"], table["actual_class"]]).cast(pl.String).unique().sort()
            predicted, actual = _codes(table["predicted_class"], names), _codes(table["actual_class"], names)
            k = max(names.len(), 1)
        bucket = _whole(table, "bucket", n_buckets)
        cells["confusion"] = Cells(
            table["_group"].to_numpy().astype(np.int64),
            (bucket * k + predicted) * k + actual,
            as_numbers(table["n"]),
            (k, k),
        )
    if "score_bins" in tables and task in CLASSIFICATION:
        table = tables["score_bins"]
        names = table["class_name"].cast(pl.String).unique().sort()
        n_classes = max(names.len(), 1)
        if task == "binary_classification" and names.len() > 1:
            raise ValueError(
                f"quality_table: score_bins has the classes {', '.join(map(repr, names.to_list()))}; "
                "a binary task has one"
            )
        bucket, score_bin = _whole(table, "bucket", n_buckets), _whole(table, "score_bin", N_SCORE_BINS)
        outcome = table["is_positive"].cast(pl.Int64).to_numpy()
        address = ((bucket * 2 + outcome) * n_classes + _codes(table["class_name"], names)) * N_SCORE_BINS + score_bin
        group = table["_group"].to_numpy().astype(np.int64)
        cells["scores"] = Cells(group, address, as_numbers(table["n"]), (2, n_classes, N_SCORE_BINS))
        if "sum_score" in table.columns:
            wide = (bucket * n_classes + _codes(table["class_name"], names)) * N_CALIBRATION_BINS
            wide += score_bin // (N_SCORE_BINS // N_CALIBRATION_BINS)
            cells["score_sums"] = Cells(group, wide, as_numbers(_score_sums(table)), (n_classes, N_CALIBRATION_BINS))
    if "sums" in tables:
        cells["sums"] = _wide(tables["sums"], [c for c in SUMS if c in tables["sums"].columns], n_buckets)
    if "custom" in tables:
        table = tables["custom"]
        names = table["metric"].cast(pl.String).unique().sort()
        bucket, code = _whole(table, "bucket", n_buckets), _codes(table["metric"], names)
        address = np.stack([(bucket * names.len() + code) * 2 + i for i in range(2)], axis=1).ravel()
        amount = np.stack([as_numbers(table["sum_value"]), as_numbers(table["n"])], axis=1).ravel()
        group = np.repeat(table["_group"].to_numpy().astype(np.int64), 2)
        cells["custom"] = Cells(group, address, amount, (names.len(), 2))
    return cells


def _score_sums(table: pl.DataFrame) -> pl.Series:
    """Sums of scores; where a row of an earlier release has none, by the middle of its bin."""
    middles = pl.col("n") * (pl.col("score_bin") + 0.5) / N_SCORE_BINS
    return table.select(sum_score=pl.coalesce(pl.col("sum_score").cast(pl.Float64), middles))["sum_score"]


def _wide(table: pl.DataFrame, columns: list[str], n_buckets: int) -> Cells:
    """Cells of a table with one amount per column; absent columns stay zero."""
    bucket = _whole(table, "bucket", n_buckets)
    positions = np.array([SUMS.index(c) for c in columns])
    address = (bucket[:, None] * len(SUMS) + positions).ravel()
    amount = np.stack([as_numbers(table[c]) for c in columns], axis=1).ravel()
    return Cells(np.repeat(table["_group"].to_numpy().astype(np.int64), len(columns)), address, amount, (len(SUMS),))


def _whole(table: pl.DataFrame, column: str, limit: int) -> NDArray[np.int64]:
    values = table[column]
    low, high = cast("tuple[float | None, float | None]", (values.min(), values.max()))
    if values.null_count() or (low is not None and high is not None and not 0 <= int(low) <= int(high) < limit):
        raise ValueError(
            f"quality_table: the column {column!r} must hold whole numbers from 0 to {limit - 1}, found "
            f"{low} to {high} and {values.null_count()} nulls"
        )
    return values.cast(pl.Int64).to_numpy()


def as_numbers(values: pl.Series) -> FloatArray:
    """Amounts as doubles; an absent sum (null) is a sum over no rows.

    Parameters
    ----------
    values : polars.Series
        Numbers.

    Returns
    -------
    ndarray of float
        0 for null.

    Raises
    ------
    ValueError
        If an amount is NaN or infinite.
    """
    array = values.cast(pl.Float64).fill_null(0.0).to_numpy()
    if not np.isfinite(array).all():
        raise ValueError(f"quality_table: the column {values.name!r} holds NaN or infinity; aggregates must be finite")
    return array


def _codes(values: pl.Series, names: pl.Series) -> NDArray[np.int64]:
    return values.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()


def chunks(n_groups: int, cells: dict[str, Cells], n_buckets: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of groups whose dense arrays fit into memory together.

    Parameters
    ----------
    n_groups : int
        Groups.
    cells : dict of str to Cells
        As of `spread`.
    n_buckets : int
        Buckets of a group.

    Yields
    ------
    start, stop : int
        Half-open.
    """
    per_group = n_buckets * max([int(np.prod(c.shape)) for c in cells.values()], default=1)
    size = max(1, CELLS_PER_CHUNK // per_group)
    for start in range(0, n_groups, size):
        yield start, min(start + size, n_groups)


def name_aggregates(buckets: dict[str, FloatArray], task: str) -> dict[str, FloatArray]:
    """Named aggregates of shape (groups, buckets, ...) as the metric definitions read them.

    Parameters
    ----------
    buckets : dict of str to ndarray
        Dense arrays by ``confusion, scores, score_sums, sums``.
    task : str
        As of `metrics_py.quality.table.quality_table`.

    Returns
    -------
    dict of str to ndarray
        By ``confusion, positives, negatives, score_sums`` and the names of the sums.
    """
    result: dict[str, FloatArray] = {}
    if "confusion" in buckets:
        result["confusion"] = buckets["confusion"]
    if "scores" in buckets:
        scores = buckets["scores"]
        result["negatives"], result["positives"] = scores[:, :, 0], scores[:, :, 1]
        if task == "binary_classification":
            result["negatives"], result["positives"] = result["negatives"][:, :, 0], result["positives"][:, :, 0]
    if "score_sums" in buckets:
        sums = buckets["score_sums"]
        result["score_sums"] = sums[:, :, 0] if task == "binary_classification" else sums
    if "sums" in buckets:
        result |= {name: buckets["sums"][..., i] for i, name in enumerate(SUMS)}
    return result


def available_needs(cells: dict[str, Cells]) -> set[str]:
    """Aggregates that were given (`QualityMetric.needs`).

    Parameters
    ----------
    cells : dict of str to Cells
        As of `spread`.

    Returns
    -------
    set of str
        Of ``confusion, scores, n, n_score``.
    """
    return (set(cells) & {"confusion", "scores"}) | ({"n", "n_score"} if "sums" in cells else set())


class Buckets:
    """Bucket sums of a chunk of groups, with their totals and delete-one replicates computed once for all metrics.

    Parameters
    ----------
    aggregates : mapping of str to ndarray, shape (groups, buckets, ...)
        As of `name_aggregates`.

    Attributes
    ----------
    total : dict of str to ndarray, shape (groups, ...)
        Sums over the buckets.
    replicates : dict of str to ndarray, shape (groups, buckets, ...)
        Sums without each bucket.
    """

    def __init__(self, aggregates: Aggregates) -> None:
        self.total: Aggregates = {name: array.sum(axis=1) for name, array in aggregates.items()}
        self.replicates: Aggregates = {name: self.total[name][:, None] - array for name, array in aggregates.items()}
        self._rows = _rows_per_bucket(aggregates)

    def rows(self, needs: str) -> FloatArray:
        """Rows per (group, bucket) behind one aggregate (`QualityMetric.needs`).

        Parameters
        ----------
        needs : str
            ``confusion, scores, n`` or ``n_score``.

        Returns
        -------
        ndarray, shape (groups, buckets)
            Rows.
        """
        return self._rows[needs]

    def labelled(self) -> FloatArray:
        """Labelled rows per group, by the aggregate that knows most of them.

        Returns
        -------
        ndarray, shape (groups,)
            Rows.
        """
        return np.maximum.reduce([rows.sum(axis=1) for needs, rows in self._rows.items() if needs != "n_score"])


def _rows_per_bucket(aggregates: Aggregates) -> dict[str, FloatArray]:
    rows = {name: aggregates[name] for name in ("n", "n_score") if name in aggregates}
    if "confusion" in aggregates:
        rows["confusion"] = aggregates["confusion"].sum(axis=(-2, -1))
    if "positives" in aggregates:
        scored = aggregates["positives"].sum(axis=-1) + aggregates["negatives"].sum(axis=-1)
        rows["scores"] = scored if scored.ndim == 2 else scored.max(axis=-1)
    return rows
