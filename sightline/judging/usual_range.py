"""What a window's value is compared with in a report: the same statistic of the reference's own windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.judging.reference_bounds import MIN_REFERENCE_WINDOWS

FloatArray = NDArray[np.float64]
FAR = 3.5
"""Standard deviations of the reference's windows that are usual, if none of them lies farther out."""
NOT_KNOWN = "the reference has too few windows to tell what is usual; incidents are told by the windows before this one"


@dataclass(frozen=True)
class UsualRange:
    """Range of the reference's windows and their median; None where too few are known."""

    low: float | None
    high: float | None
    middle: float | None

    def columns(self) -> dict[str, float | None]:
        """As columns of judgements."""
        return {"reference_value": self.middle, "bound_low": self.low, "bound_high": self.high}


def usual_range(values: FloatArray, *, two_sided: bool = False) -> UsualRange:
    """What is usual for a window.

    Parameters
    ----------
    values : ndarray, shape (k,)
        Of the reference's windows, each compared with the others.
    two_sided : bool, default False
        Whether small values are unusual as well.

    Returns
    -------
    UsualRange
        From the smallest to the largest, or to `FAR` standard deviations (widened for their number) from their mean
        where that is farther out.
    """
    known = values[np.isfinite(values)]
    if len(known) < MIN_REFERENCE_WINDOWS:
        return UsualRange(None, None, None)
    reach = FAR * float(known.std(ddof=1)) * np.sqrt(1 + 1 / len(known))
    low = min(float(known.min()), float(known.mean() - reach)) if two_sided else None
    return UsualRange(low, max(float(known.max()), float(known.mean() + reach)), float(np.median(known)))
