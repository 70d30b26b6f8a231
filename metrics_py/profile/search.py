"""Where do numbers lie between cuts? By a table of the leading bits of each number, exact at the cuts, block by block.

The distance of a number from the middle cut, as the 64 bits of a float, is cut off after sign, exponent and the first
bits of the mantissa. Neither subtraction nor this cut changes the order of two numbers. So a number in another cell of
the table than every cut lies on the same side of all cuts as its cell does, and only numbers that share a cell with a
cut are compared with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.signedinteger]
BLOCK_ROWS = 65_536
"""Rows that fit into the processor's cache with their intermediate results."""
TABLE_MIN_ROWS = 8_192
"""Below, a binary search for each number costs less than the table."""
SHIFT = 45
HALF = 1 << (63 - SHIFT)
NOT_FINITE_CELL = (0x7FF << 52) >> SHIFT
MAX_CENTER = 2.0**969
"""A finite number less a smaller one than this is finite."""


def blocks(cuts: FloatArray, numbers: FloatArray) -> Iterator[IntArray]:
    """Place of each number, for consecutive parts of the numbers.

    Parameters
    ----------
    cuts : ndarray, shape (C,)
        Ascending; the last is infinity.
    numbers : ndarray, shape (n,)
        Any floats.

    Yields
    ------
    integer ndarray
        Index of the first cut that is not below the number; C for NaN and infinities.
    """
    parts = (numbers[start : start + BLOCK_ROWS] for start in range(0, len(numbers), BLOCK_ROWS))
    center = float(cuts[(len(cuts) - 1) // 2])
    if len(numbers) < TABLE_MIN_ROWS or not abs(center) < MAX_CENTER:
        for part in parts:
            yield np.where(np.isfinite(part), np.searchsorted(cuts, part), len(cuts))
        return
    table = _Table.of(cuts, center)
    distance, cell = np.empty(BLOCK_ROWS), np.empty(BLOCK_ROWS, dtype=np.int64)
    for part in parts:
        n = len(part)
        np.subtract(part, center, out=distance[:n])
        np.right_shift(distance[:n].view(np.int64), SHIFT, out=cell[:n])
        found = table.places[cell[:n]]  # a negative number's cell is negative: it counts from the end of the table
        near = np.flatnonzero(found < 0)
        if len(near):
            rows = near if len(near) < n else slice(None)
            found[rows] = table.compared(-1 - found[rows], part[rows])
        yield found


def locate(cuts: FloatArray, numbers: FloatArray) -> IntArray:
    """Index of the first cut that is not below each number, shape (n,); ``len(cuts)`` for NaN and infinities.

    Parameters
    ----------
    cuts : ndarray, shape (C,)
        Ascending; the last is infinity.
    numbers : ndarray, shape (n,)
        Any floats.

    Returns
    -------
    integer ndarray, shape (n,)
        From 0 to C.

    Examples
    --------
    >>> locate(np.array([1.0, 2.0, np.inf]), np.array([0.5, 1.0, 1.5, 7.0, np.nan])).tolist()
    [0, 0, 1, 2, 3]
    """
    found = np.empty(len(numbers), dtype=np.int64)
    start = 0
    for part in blocks(cuts, numbers):
        found[start : start + len(part)] = part
        start += len(part)
    return found


def tally(cuts: FloatArray, numbers: FloatArray) -> IntArray:
    """How many numbers `locate` puts at each place, shape (C + 1,).

    Parameters
    ----------
    cuts : ndarray, shape (C,)
        Ascending; the last is infinity.
    numbers : ndarray, shape (n,)
        Any floats.

    Returns
    -------
    integer ndarray, shape (C + 1,)
        Adding up to n; the last entry counts NaN and infinities.

    Examples
    --------
    >>> tally(np.array([1.0, 2.0, np.inf]), np.array([0.5, 1.0, 1.5, 7.0, np.nan])).tolist()
    [2, 1, 1, 1]
    """
    total = np.zeros(len(cuts) + 1, dtype=np.int64)
    for part in blocks(cuts, numbers):
        total += np.bincount(part, minlength=len(total))
    return total


@dataclass(frozen=True, eq=False)
class _Table:
    """Place of every cell; -1 - i for the i-th cell with cuts, of which `first` is the index of its first cut.

    `lower` and `upper` are the first and second cut of such a cell (infinity without a second one), `crowded` tells
    which hold more than two.
    """

    cuts: FloatArray
    places: IntArray
    first: IntArray
    lower: FloatArray
    upper: FloatArray
    crowded: NDArray[np.bool_]

    @classmethod
    def of(cls, cuts: FloatArray, center: float) -> _Table:
        cells = (cuts[:-1] - center).view(np.int64) >> SHIFT
        order = (
            np.where(cells >= 0, cells, -1 - (cells + HALF)) + HALF
        )  # of negative numbers the largest cell is the first
        held, first, n_cuts = np.unique(order, return_index=True, return_counts=True)
        kind = np.int16 if len(cuts) < 2**15 else np.int32
        ordered = np.repeat(np.append(first, len(cuts) - 1).astype(kind), np.diff(held, prepend=0, append=2 * HALF))
        ordered[held] = -1 - np.arange(len(held))
        places = np.concatenate([ordered[HALF:], ordered[HALF - 1 :: -1]])
        places[NOT_FINITE_CELL:HALF] = places[HALF + NOT_FINITE_CELL :] = len(cuts)
        second = np.where(n_cuts > 1, cuts[np.minimum(first + 1, len(cuts) - 1)], np.inf)
        return cls(cuts, places, first.astype(kind), cuts[first], second, n_cuts > 2)

    def compared(self, held: IntArray, values: FloatArray) -> IntArray:
        """Places of values in cells with cuts."""
        i = held.astype(np.intp)
        found = self.first.take(i) + (values > self.lower.take(i))
        found += values > self.upper.take(i)
        if self.crowded.any():
            rows = np.flatnonzero(self.crowded.take(i))
            found[rows] = np.searchsorted(self.cuts, values[rows])
        return found
