"""Statistics of windows as streams of the alert engine, without a value where there are too few rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import MIN_ROWS, Stream
from metrics_py.multivariate.random_features import NullLaw
from metrics_py.multivariate.steady import shown, steady
from metrics_py.multivariate.window_sums import ReferenceSums

FloatArray = NDArray[np.float64]
UNDEFINED = "undefined: the values of the reference or of the window do not vary, or are missing"
THE_WINDOW = "the window"
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


def variance_of_shares(total: FloatArray, squares: FloatArray, step: FloatArray, n: FloatArray) -> FloatArray:
    """Variance of the sum of the shares of independent rows, known also where no share is above 0 yet.

    Parameters
    ----------
    total, squares : ndarray, shape (T,)
        Sums of the rows' shares and of their squares.
    step : ndarray, shape (T,)
        The least share above 0 of a usual row: 3/8 of it are added to the total (`Gauge.mean_share`).
    n : ndarray, shape (T,)
        Rows with a share, at least 1.

    Returns
    -------
    ndarray, shape (T,)
        The sample variance times n, and that of what is added.

    Examples
    --------
    >>> total, squares = np.array([1.0, 0.0]), np.array([0.5, 0.0])
    >>> variance_of_shares(total, squares, np.array([0.0, 0.1]), np.full(2, 4.0)).round(5)
    array([0.33333, 0.00375])
    """
    return np.maximum(squares - total**2 / n, 0.0) * n / np.maximum(n - 1, 1) + 0.375 * step**2


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
    period : str
        What the rows lie in, for the reasons.
    """

    n: FloatArray
    min_rows: int
    design_effect: float
    noun: str
    period: str = THE_WINDOW

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
        return f"{n:.0f} {self.noun} in {self.period}{clustered}, {self.min_rows} needed: judge longer windows"

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
        own = replace(self, n=n)
        return own.stream(statistic, value, self.design_effect / (4 * size), events / size)

    def mean_share(
        self, statistic: str, total: FloatArray, squares: FloatArray, step: FloatArray, n: FloatArray
    ) -> Stream:
        """Arcsine of a mean of shares, one of each row.

        Parameters
        ----------
        statistic : str
            Its name.
        total, squares : ndarray, shape (T,)
            Sums of the rows' shares and of their squares.
        step : ndarray, shape (T,)
            The least share above 0 of a usual row, that of one word among a text's words; 0 where there is no row.
        n : ndarray, shape (T,)
            Rows with a share.

        Returns
        -------
        Stream
            Shown is the mean share.

        Notes
        -----
        The variance is that of a mean, the sample variance of the shares over n, and not that of a rate: a text with
        one unknown word among forty tells more of the mean than a text that is known or not as a whole. By the delta
        method it is taken to the scale of the arcsine; as in Anscombe's transformation 3/8 of a step are added to the
        total, and their variance to that of the total. So it is known where no share is above 0 yet, and for
        independent words it is 1/4 over their number, however few of them are unknown.
        """
        size, step = np.maximum(n, 1), np.where(step > 0, step, 1.0)
        mean = (total + 0.375 * step) / (size + 0.75 * step)
        spread = variance_of_shares(total, squares, step, size)
        variance = self.design_effect * spread / ((size + 0.75 * step) ** 2 * 4 * mean * (1 - mean))
        own = replace(self, n=n)
        return own.stream(statistic, np.arcsin(np.sqrt(mean)), variance, total / size)
