"""Sums of windows by name: they add up, travel as arrays, and a window can be taken out of the whole again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Sums = Mapping[str, FloatArray]


def stacked(windows: Sequence[Sums]) -> dict[str, FloatArray]:
    """Sums of several windows, one along the first axis of each array.

    Parameters
    ----------
    windows : sequence of mapping
        With the same names and shapes; at least one.

    Returns
    -------
    dict of str to ndarray
        By the names of the sums.
    """
    return {name: np.stack([window[name] for window in windows]) for name in windows[0]}


@dataclass(frozen=True, eq=False)
class ReferenceSums:
    """Sums of the reference: as a whole, and of its windows.

    Attributes
    ----------
    keys : tuple of str
        Names of the windows; empty where the reference has none.
    windows : dict of str to ndarray
        Stacked as by `stacked`.
    whole : dict of str to ndarray
        All rows together.
    """

    keys: tuple[str, ...]
    windows: dict[str, FloatArray]
    whole: dict[str, FloatArray]

    def others(self, keys: Sequence[str]) -> dict[str, FloatArray]:
        """What each window is compared with: the whole, without that window itself where it is of the reference.

        A window of the reference would else lie nearer than any later one.

        Parameters
        ----------
        keys : sequence of str
            Names of T windows.

        Returns
        -------
        dict of str to ndarray
            Stacked, T along the first axis.
        """
        at = {key: k for k, key in enumerate(self.keys)}
        found: dict[str, FloatArray] = {}
        for name, total in self.whole.items():
            rows = np.repeat(total[None], len(keys), axis=0)
            for t, key in enumerate(keys):
                if key in at and len(self.keys) > 1:
                    rows[t] = total - self.windows[name][at[key]]
            found[name] = rows
        return found


def reference_sums(keys: Sequence[str], windows: Sequence[Sums]) -> ReferenceSums:
    """Sums of a reference from those of its parts.

    Parameters
    ----------
    keys : sequence of str
        Names of the parts that are windows: none, where there is one part that is no window.
    windows : sequence of mapping
        Sums of the parts; at least one.

    Returns
    -------
    ReferenceSums
        The whole, and its windows.
    """
    stack = stacked(windows)
    whole = {name: array.sum(axis=0) for name, array in stack.items()}
    return ReferenceSums(tuple(keys), stack if keys else {}, whole)
