"""Times by their hour of the week, in windows shorter than a week: compared with the same weekdays of the reference.

Where the rows of a window lie on some weekdays only, most of the reference's hours are
empty, whatever the rows are like.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metrics_py.profile.column_profile import ColumnProfile

Counts = NDArray[np.int64]


def lacks_weekdays(profile: ColumnProfile, reference: Counts, counts: Counts) -> NDArray[np.bool_]:
    """Whether there is a weekday of the reference on which the window has no row.

    Parameters
    ----------
    profile : ColumnProfile
        Of a datetime column: its categories are hours of the week (``Mon 00``).
    reference, counts : integer ndarray, shape (G, K)
        Rows per bin.

    Returns
    -------
    boolean ndarray, shape (G,)
        False for windows without any row.
    """
    before, now = (_by_weekday(profile, each) for each in (reference, counts))
    return ((before > 0) & (now == 0)).any(axis=1) & now.any(axis=1)


def same_weekdays(profile: ColumnProfile, reference: Counts, counts: Counts) -> Counts:
    """The reference's rows on the weekdays of each window, weighted like the window's.

    Parameters
    ----------
    profile, reference, counts
        As in `lacks_weekdays`.

    Returns
    -------
    integer ndarray, shape (G, K)
        Of windows that lack a weekday: as many rows of the reference as can be had without counting
        any twice. Others as they are.
    """
    found = reference.copy()
    before, now = (_by_weekday(profile, each) for each in (reference, counts))
    weekdays = _weekdays(profile)
    for g in np.flatnonzero(lacks_weekdays(profile, reference, counts)):
        shared = (before[g] > 0) & (now[g] > 0)
        share = np.where(shared, now[g], 0) / max(now[g][shared].sum(), 1)
        rows = np.min(before[g][shared] / share[shared]) if shared.any() else 0.0
        factor = np.divide(share * rows, before[g], out=np.zeros(len(share)), where=before[g] > 0)
        for weekday, kept in zip(weekdays, factor, strict=True):
            found[g, weekday] = np.round(reference[g, weekday] * kept)
    return found


def _weekdays(profile: ColumnProfile) -> list[NDArray[np.int64]]:
    """Bins of each weekday."""
    bins: dict[str, list[int]] = {}
    for i, (kind, label) in enumerate(zip(profile.bin_kind, profile.label, strict=True)):
        if kind == "category":
            bins.setdefault(label[:3], []).append(i)
    return [np.array(each) for each in bins.values()]


def _by_weekday(profile: ColumnProfile, counts: Counts) -> Counts:
    """Rows per weekday, shape (G, up to 7)."""
    columns = [counts[:, each].sum(axis=1) for each in _weekdays(profile)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(counts), 0), dtype=np.int64)
