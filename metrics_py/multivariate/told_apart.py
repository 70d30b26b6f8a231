"""Whether a classifier tells a window's rows from a frozen sample of the reference, as a statistic of the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from metrics_py.drift.daily_statistics import Stream
from metrics_py.multivariate.domain_classifier import MIN_ROWS, domain_classifier
from metrics_py.multivariate.gauge import Gauge
from metrics_py.multivariate.window_sums import Sums

FloatArray = NDArray[np.float64]
DOMAIN_ROWS = 4_000
"""Rows of either side; half of them are learnt from."""
CLEAR = 1e-3
"""P-value of rows from which on the columns are asked which of them tell the tables apart."""
AREA = ("auc", "auc_variance", "importance")


@dataclass(frozen=True, eq=False)
class DomainSample:
    """A frozen sample of the reference's rows.

    Attributes
    ----------
    rows : ndarray of float32, shape (m, k)
        NaN: missing. Without rows nothing is told.
    window : ndarray of int, shape (m,)
        Number of the reference's window that a row is of; -1 where it has no windows.
    """

    rows: NDArray[np.float32]
    window: NDArray[np.int64]

    def area(self, rows: ArrayLike, own: int | None = None) -> dict[str, FloatArray]:
        """How well a classifier tells rows from the sample.

        Parameters
        ----------
        rows : array_like, shape (n, k)
            Of a window, in an order that has nothing to do with their content; the first 4,000 are looked at.
        own : int, optional
            Number of the window, if it is one of the reference's: its rows in the sample are left out, and columns are
            not asked.

        Returns
        -------
        dict of str to ndarray
            ``auc``; ``auc_variance``, that of its probit without dependence between rows; ``importance``, shape (k,),
            what the area loses where a column is shuffled, zeros where it is not clearly above .5. NaN with fewer than
            50 rows on either side.
        """
        k = self.rows.shape[1]
        nothing = {"auc": np.array(np.nan), "auc_variance": np.array(np.nan), "importance": np.zeros(k)}
        array = np.asarray(rows, dtype=np.float64)[:DOMAIN_ROWS]
        old = self.rows if own is None else self.rows[self.window != own]
        if not k or min(len(array), len(old)) < MIN_ROWS:
            return nothing
        found = domain_classifier(old, array, explain=CLEAR if own is None else 0.0)
        auc = min(max(found.auc, 0.5 / found.n_current), 1 - 0.5 / found.n_current)
        place = float(ndtri(auc))
        density = np.exp(-(place**2) / 2) / np.sqrt(2 * np.pi)
        lost = np.array([found.importance[str(j)] for j in range(k)]) if found.importance else np.zeros(k)
        return {
            "auc": np.array(found.auc),
            "auc_variance": np.array(found.variance / density**2),
            "importance": lost,
        }


def domain_sample(parts: Sequence[ArrayLike], keys: Sequence[str], most: int = DOMAIN_ROWS) -> DomainSample:
    """A sample of the reference, as many rows of each of its windows as there are.

    Parameters
    ----------
    parts : sequence of array_like, shape (n, k)
        Rows of its windows, each in an order that has nothing to do with their content; else one part.
    keys : sequence of str
        Names of the windows; none where it has no windows.
    most : int, default 4000
        Rows in all.

    Returns
    -------
    DomainSample
        Frozen.
    """
    share = -(-most // max(len(parts), 1))
    chosen = [np.asarray(part, dtype=np.float32)[:share] for part in parts]
    window = [np.full(len(rows), k if keys else -1, dtype=np.int64) for k, rows in enumerate(chosen)]
    return DomainSample(np.concatenate(chosen)[:most], np.concatenate(window)[:most])


def domain_stream(now: Sums, gauge: Gauge) -> Stream:
    """Areas of T windows as a stream: the probit of the area, which is even where days differ by a little or a lot.

    Parameters
    ----------
    now : mapping of str to ndarray
        Stacked sums of the windows, with those of `DomainSample.area`.
    gauge : Gauge
        Of the windows.

    Returns
    -------
    Stream
        ``domain_auc``; shown is the area.

    Notes
    -----
    A window's area is one number of one split: two quiet days may differ by .02, so only its own past says what is far.
    Areas do not merge: each is of its window's own rows.
    """
    auc = now["auc"]
    with np.errstate(invalid="ignore"):
        value = ndtri(np.clip(auc, 1e-4, 1 - 1e-4))
    return gauge.stream("domain_auc", value, gauge.design_effect * now["auc_variance"], auc)
