"""Windows with fewer labels than is usual for their age: labels are on their way, or lost, and nobody knows which.

The delay law corrects for labels that come as late as they used to. Where a feed stops, delivers one class in batches,
or becomes slower, it takes for complete what is not; the number of labels tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.completed import MATURE_SHARE
from metrics_py.quality.delay_law import DelayLaw

FEWEST_WINDOWS = 10
"""Complete windows from which on a share of labels is known to be usual."""

NOISE = 3.0
"""Standard errors by which the share of labels must lie too low."""


MOST_NOISE = 0.25
"""Share of what is expected that noise may take, however the labels clump."""


@dataclass(frozen=True)
class LabelShares:
    """The share of predictions with a label, of each window beside what is usual for its age.

    Parameters
    ----------
    windows : DataFrame
        ``window_start, share, expected, lacking``: the share there is, what is usual for the age of the window, and
        whether it is lower than that beyond chance, by more than a mature window may lack.
    """

    windows: pl.DataFrame

    def lacking(self) -> list[datetime]:
        """Windows (naive UTC) that lack labels."""
        return self.windows.filter("lacking")["window_start"].to_list()


def label_shares(counts: pl.DataFrame, law: DelayLaw | None, give_up: float) -> LabelShares:
    """Compare the number of labels of each window with what is usual.

    Parameters
    ----------
    counts : DataFrame
        ``window_start, age, n_predictions, n_labelled``.
    law : DelayLaw or None
        How labels used to arrive.
    give_up : float
        Age from which on no label is waited for.

    Returns
    -------
    LabelShares
        None lacks while fewer than `FEWEST_WINDOWS` windows should have all of their labels.

    Notes
    -----
    Usual is the median share of the windows that should be complete, times the share of labels that comes by an age.
    Its noise is that of a proportion, widened like the arrivals around the law, and the spread of those windows
    (1.4826 times the median absolute deviation). Where nothing is known of delays, as of a history that was loaded at
    once, the older half of the windows is taken to be complete.
    """
    known = counts.filter(pl.col("n_predictions") > 0).sort("window_start")
    n = known["n_predictions"].to_numpy()
    ages = known["age"].to_numpy()
    share = known["n_labelled"].to_numpy() / np.maximum(n, 1)
    come = np.ones(len(known))
    if law is not None:
        come = np.array([float(law.mass @ law.completion(float(age))[0]) if age < give_up else 1.0 for age in ages])
    whole = come >= MATURE_SHARE if law is not None else _oldest_half(ages)
    base = known.select("window_start", share=pl.Series(share, dtype=pl.Float64))
    if whole.sum() < FEWEST_WINDOWS:
        return LabelShares(base.with_columns(expected=pl.lit(None, dtype=pl.Float64), lacking=pl.lit(value=False)))
    complete = share[whole] / come[whole]
    usual = float(np.median(complete))
    spread = 1.4826 * float(np.median(np.abs(complete - usual)))
    expected = np.minimum(usual * come, 1.0)
    overdispersion = law.overdispersion if law is not None else 1.0
    noise = np.sqrt(overdispersion * expected * (1 - expected) / n + (spread * come) ** 2)
    allowed = np.minimum(NOISE * noise, MOST_NOISE * expected)
    lacking = (share < MATURE_SHARE * expected - allowed) & (ages < give_up)
    return LabelShares(base.with_columns(expected=pl.Series(expected), lacking=pl.Series(lacking)))


def _oldest_half(ages: NDArray[np.float64]) -> NDArray[np.bool_]:
    return ages >= np.median(ages) if len(ages) else np.zeros(0, dtype=bool)
