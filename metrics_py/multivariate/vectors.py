"""Rows of one embedding column: those that fit, and how many do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.multivariate.random_features import SEED

Matrix = NDArray[np.float32]
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Vectors:
    """Rows of one embedding column.

    Attributes
    ----------
    rows : ndarray of float32, shape (n, d)
        Finite vectors of the expected dimension.
    n_given : int
        Vectors there were.
    n_wrong : int
        Of another dimension.
    n_not_finite : int
        With an element that is missing, NaN or infinite.
    dimensions : dict of int to int
        Vectors by dimension, the most frequent first.
    """

    rows: Matrix
    n_given: int
    n_wrong: int
    n_not_finite: int
    dimensions: dict[int, int]


def read_vectors(column: pl.Series, dimension: int | None = None) -> Vectors:
    """A column of lists as a matrix; what does not fit is counted.

    Parameters
    ----------
    column : Series of lists or arrays of numbers
        Null: no vector, not counted.
    dimension : int, optional
        Expected length; default: that of most vectors.

    Returns
    -------
    Vectors
        The rows that fit, and how many did not.

    Examples
    --------
    >>> found = read_vectors(pl.Series([[1.0, 2.0], [3.0], None, [float("nan"), 0.0]]))
    >>> found.rows.tolist(), found.n_given, found.n_wrong, found.n_not_finite
    ([[1.0, 2.0]], 3, 1, 1)
    """
    held = column.drop_nulls()
    held = held.arr.to_list() if isinstance(held.dtype, pl.Array) else held
    lengths = held.list.len()
    counts = lengths.value_counts(sort=True).rows()
    dimensions = {int(length): int(n) for length, n in counts}
    if dimension is None:
        # of equally frequent ones the longest, whatever the order of the rows
        dimension = max(dimensions, key=lambda length: (dimensions[length], length), default=0)
    fitting = held.filter(lengths == dimension) if len(dimensions) > 1 or dimension not in dimensions else held
    flat = fitting.explode(empty_as_null=False).cast(pl.Float32, strict=False).fill_null(float("nan")).to_numpy()
    rows = flat.reshape(len(fitting), dimension)
    finite = np.isfinite(rows).all(axis=1)
    n_bad = int((~finite).sum())
    return Vectors(rows[finite] if n_bad else rows, len(held), len(held) - len(fitting), n_bad, dimensions)


def n_duplicates(rows: Matrix) -> int:
    """Rows that are, bit for bit, one of the rows before; by a hash of 64 bits.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, d)
        Finite vectors.

    Returns
    -------
    int
        The first of equal rows is not counted.

    Examples
    --------
    >>> n_duplicates(np.array([[1, 2], [1, 2], [2, 1]], dtype=np.float32))
    1
    """
    if not rows.size:
        return max(len(rows) - 1, 0)
    random = np.random.Generator(np.random.PCG64(SEED))
    weight = np.frombuffer(random.bytes(8 * rows.shape[1]), dtype=np.uint64) | np.uint64(1)
    codes = np.empty(len(rows), dtype=np.uint64)
    for first in range(0, len(rows), BLOCK):
        block = rows[first : first + BLOCK] + np.float32(0)  # minus zero is zero
        codes[first : first + BLOCK] = np.sum(block.view(np.uint32) * weight, axis=1)  # modulo 2^64
    return len(rows) - len(np.unique(codes))
