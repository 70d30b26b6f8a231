"""Statistics of windows as streams of the alert engine, without a value where there are too few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import MIN_ROWS, Stream
from metrics_py.multivariate.random_features import NullLaw
from metrics_py.multivariate.steady import shown, steady
from metrics_py.multivariate.window_sums import ReferenceSums

FloatArray = NDArray[np.float64]
UNDEFINED = "undefined: the values of the reference or of the window do not vary, or are missing"
USUAL_PARTS = 28
"""A reference without windows counts as so many."""


def usual_rows(sums: ReferenceSums, name: str) -> float:
    """Rows of a window of the usual size.

    Parameters
    ----------
    sums : ReferenceSums
        Of the reference.
    name : str
        Of the sum that counts rows.

    Returns
    -------
    float
        At least 1.
    """
    if sums.keys:
        return max(float(np.median(sums.windows[name])), 1.0)
    return max(float(sums.whole[name]) / USUAL_PARTS, MIN_ROWS)


@dataclass(frozen=True, eq=False)
class Gauge:
    """Makes streams of T windows.

    Attributes
    ----------
    n : ndarray, shape (T,)
        Rows judged.
    min_rows : int
        Fewer effective ones (rows / design effect): not enough data.
    design_effect : float
        Of rows that depend on each other.
    noun : str
        What is counted, for the reasons.
    """

    n: FloatArray
    min_rows: int
    design_effect: float
    noun: str

    def stream(self, statistic: str, value: FloatArray, variance: FloatArray, display: FloatArray) -> Stream:
        """One statistic.

        Parameters
        ----------
        statistic : str
            Its name.
        value, variance, display : ndarray, shape (T,)
            As of `Stream`; the variance is NaN where it is not known, the value where it is undefined.

        Returns
        -------
        Stream
            Without a value where there are too few rows.
        """
        few = self.n / self.design_effect < self.min_rows
        values = [np.where(few, np.nan, x) for x in (value, variance, display)]
        reasons = tuple(
            self._reason(float(n)) if is_few else None if np.isfinite(x) else UNDEFINED
            for n, is_few, x in zip(self.n, few, value, strict=True)
        )
        return Stream(statistic, values[0], values[1], values[2], self.n, reasons)

    def _reason(self, n: float) -> str:
        clustered = "" if self.design_effect == 1 else f" count as {n / self.design_effect:.0f} independent ones"
        return f"{n:.0f} {self.noun} in the window{clustered}, {self.min_rows} needed: judge longer windows"

    def distance(
        self, statistic: str, squared: FloatArray, law: NullLaw, unit: FloatArray, usual_unit: float
    ) -> Stream:
        """A squared distance, on a scale that does not move with the volume.

        Parameters
        ----------
        statistic : str
            Its name.
        squared : ndarray, shape (T,)
            Squared distances.
        law : NullLaw
            What they are without any change.
        unit : ndarray, shape (T,)
            ``1/n + 1/m`` times the design effect.
        usual_unit : float
            That of a window of the usual size.

        Returns
        -------
        Stream
            Shown is the distance itself, without what sampling alone gives to it.
        """
        noise = law.mean(unit)
        value, slope = steady(squared, noise, float(law.mean(usual_unit)))
        direction = np.sqrt(max(law.square_trace, 0.0))
        variance = law.variance(unit) + 4 * unit * direction * np.maximum(squared - noise, 0.0)
        return self.stream(statistic, value, variance * slope**2, shown(squared, noise))

    def rate(self, statistic: str, events: FloatArray, n: FloatArray) -> Stream:
        """Arcsine of a share.

        Parameters
        ----------
        statistic : str
            Its name.
        events, n : ndarray, shape (T,)
            Rows with the property, of how many.

        Returns
        -------
        Stream
            Shown is the share.
        """
        size = np.maximum(n, 1)
        value = np.arcsin(np.sqrt((events + 0.375) / (size + 0.75)))
        own = Gauge(n, self.min_rows, self.design_effect, self.noun)
        return own.stream(statistic, value, self.design_effect / (4 * size), events / size)
