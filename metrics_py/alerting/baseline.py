"""Recursive one-step residuals against an expanding seasonal mean, over all streams at once.

References
----------
Brown, Durbin & Evans (1975), JRSS B 37:149 (recursive residuals).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.columns import Columns
from metrics_py.alerting.correlation import lag_one

Floats = NDArray[np.float64]
CLIP = 8.0
"""A window farther than this many sigma from its expectation teaches as if it were this far."""
MIN_DF = 8
"""Fewest residuals behind a scale that is used: a t with 8 degrees of freedom is the lightest tail ever assumed."""
MAX_LAG = 7
ROUNDING = 1e-12
"""Differences smaller than this share of the values are rounding, not variation."""


@dataclass(frozen=True)
class Prediction:
    """What the past says about one value of each stream; arrays of shape (streams,), NaN where the past says nothing.

    Attributes
    ----------
    expected : ndarray, shape (streams,)
        The seasonal mean plus the autoregressive term, in units of the value.
    level : ndarray, shape (streams,)
        The seasonal mean alone, in units of the value.
    residual : ndarray, shape (streams,)
        w = d - rho times the d before it = (value - expected) / sqrt(1 + 1/n).
    sigma : ndarray, shape (streams,)
        Scale of `residual`, from past residuals only.
    score : ndarray, shape (streams,)
        u = w / sigma.
    floored : ndarray of bool, shape (streams,)
        The past shows less than a quarter of the sampling variance, so u is no standardised residual.
    deviation : ndarray, shape (streams,)
        d = (value - seasonal mean) / sqrt(1 + 1/n), without the autoregressive term.
    deviation_sigma : ndarray, shape (streams,)
        Scale of `deviation`.
    level_variance, usual_variance : ndarray, shape (streams,)
        Variance around `level` of a window as certain as is usual, and the part of it that is sampling.
    precision : ndarray, shape (streams,)
        Weight with which the value teaches: its usual variance over that of this window, at most 1.
    """

    expected: Floats
    level: Floats
    residual: Floats
    sigma: Floats
    score: Floats
    floored: NDArray[np.bool_]
    deviation: Floats
    deviation_sigma: Floats
    level_variance: Floats
    usual_variance: Floats
    precision: Floats

    def is_pooled(self, square_count: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the score is a standardised residual from which tails may be learnt.

        Parameters
        ----------
        square_count : integer ndarray, shape (streams,)
            Residuals behind each scale.

        Returns
        -------
        ndarray of bool, shape (streams,)
            False also where there is no score.
        """
        return np.isfinite(self.score) & (self.score != 0) & (square_count >= MIN_DF) & ~self.floored

    def take(self, mask: NDArray[np.bool_]) -> Prediction:
        """The part of the streams under `mask`.

        Parameters
        ----------
        mask : ndarray of bool, shape (streams,)
            Streams to keep.

        Returns
        -------
        Prediction
            Of those streams, in their order.
        """
        return Prediction(**{item.name: getattr(self, item.name)[mask] for item in fields(self)})


@dataclass(frozen=True)
class Lesson:
    """What `Baseline.teach` added per stream, so that `Baseline.forget` can take it back.

    Attributes
    ----------
    weight : ndarray, shape (streams,)
        Weight of the window, 1 unless it was noisier than usual.
    taught : ndarray, shape (streams,)
        Value added to the seasonal sum, relative to the center of the stream.
    square : ndarray, shape (streams,)
        Squared residual added, NaN where there was none.
    deviation : ndarray, shape (streams,)
        Squared deviation added, NaN where there was none.
    cross : ndarray, shape (streams,)
        Product of consecutive deviations added, NaN where there was none.
    step : ndarray, shape (streams,)
        What the followed level moved, 0 for a stream that does not follow.
    """

    weight: Floats
    taught: Floats
    square: Floats
    deviation: Floats
    cross: Floats
    step: Floats


def _snap(value: Floats, rounding: Floats) -> Floats:
    return np.where(np.abs(value) <= rounding, 0.0, value)


def weight_of(prediction: Prediction) -> Floats:
    """What windows count for in a baseline: 1, less where they are noisier than usual.

    Parameters
    ----------
    prediction : Prediction
        Of the windows.

    Returns
    -------
    ndarray, shape (k,)
        In (0, 1].
    """
    return np.where(np.isfinite(prediction.precision), prediction.precision, 1.0)


class Baseline(Columns):
    """Expanding seasonal means, lag-one correlation and scale of every stream.

    Values are kept relative to the first value of the stream (`center`), so that sums lose no digits.

    A stream with `near` > 0 *follows*: an exponentially weighted level of its deviations (`local`) is added to the
    seasonal mean, so a slow wander is expected and a sudden change is not. `near` is the number of windows behind that
    level; its weight for a new window is 1 / (near + 1), at least 1 / `follow_windows`.

    A stream's values are `stride` windows apart; gaps and lags are counted in values.

    Parameters
    ----------
    size : int, default 0
        Streams.
    width : int, default 1
        Seasonal slots.
    """

    FIELDS: ClassVar = {
        "center": (np.float64, np.nan, False),
        "count": (np.float64, 0.0, True),
        "total": (np.float64, 0.0, True),
        "history": (np.int64, 0, False),
        "square_sum": (np.float64, 0.0, False),
        "square_count": (np.int64, 0, False),
        "deviation_sum": (np.float64, 0.0, False),
        "deviation_count": (np.int64, 0, False),
        "cross_sum": (np.float64, 0.0, False),
        "cross_count": (np.int64, 0, False),
        "variance_sum": (np.float64, 0.0, False),
        "variance_count": (np.int64, 0, False),
        "last_window": (np.int64, 0, False),
        "last_deviation": (np.float64, np.nan, False),
        "last_weight": (np.float64, 1.0, False),
        "local": (np.float64, 0.0, False),
        "near": (np.int64, 0, False),
        "follow_windows": (np.int64, 1, False),
        "stride": (np.int64, 1, False),
    }
    KEPT: ClassVar = ("center", "near", "follow_windows", "stride")
    center: Floats
    count: Floats
    total: Floats
    history: NDArray[np.int64]
    square_sum: Floats
    square_count: NDArray[np.int64]
    deviation_sum: Floats
    deviation_count: NDArray[np.int64]
    cross_sum: Floats
    cross_count: NDArray[np.int64]
    variance_sum: Floats
    variance_count: NDArray[np.int64]
    last_window: NDArray[np.int64]
    last_deviation: Floats
    last_weight: Floats
    local: Floats
    near: NDArray[np.int64]
    follow_windows: NDArray[np.int64]
    stride: NDArray[np.int64]

    def correlations(self, i: NDArray[np.int64], pool: NDArray[np.int64]) -> Floats:
        """Lag-one correlation of the deviations of streams (see `metrics_py.alerting.correlation.lag_one`).

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        pool : integer ndarray, shape (streams,)
            Those of one pool may resemble each other.

        Returns
        -------
        ndarray, shape (k,)
            0 before the first pair of a pool.
        """
        asked = np.isin(pool, np.unique(pool[i]))
        spread = self.deviation_sum[asked] / np.maximum(self.deviation_count[asked], 1)
        product = self.cross_sum[asked] / np.maximum(self.cross_count[asked], 1)
        raw = np.where(spread > 0, product / np.where(spread > 0, spread, 1.0), 0.0)
        return lag_one(raw, self.cross_count[asked], pool[asked])[np.cumsum(asked)[i] - 1]

    def _factor(self, i: NDArray[np.int64], slot: Any) -> Floats:
        """sqrt(1 + 1/n) for a seasonal mean of n windows; + 1/m for a followed level of m windows."""
        n, near = self.count[i, slot], self.near[i]
        followed = np.where(near > 0, 1.0 / np.maximum(near, 1), 0.0)
        return np.sqrt(1.0 + 1.0 / np.where(n > 0, n, 1.0) + followed)

    def sampling_variance(self, i: NDArray[np.int64]) -> Floats:
        """Mean sampling variance of the taught windows.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.

        Returns
        -------
        ndarray, shape (k,)
            0 where none was given.
        """
        return self.variance_sum[i] / np.maximum(self.variance_count[i], 1)

    def predict(
        self,
        i: NDArray[np.int64],
        value: Floats,
        variance: Floats,
        slot: Any,
        window: NDArray[np.int64],
        rho: Floats,
    ) -> Prediction:
        """One-step prediction from the past of streams `i` and how far the value is from it.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        value, variance : ndarray, shape (k,)
            The value (finite) and its sampling variance (0 = unknown).
        slot : int or integer ndarray, shape (k,)
            Seasonal slot.
        window : integer ndarray, shape (k,)
            Window numbers, for the gap to the previous value.
        rho : ndarray, shape (k,)
            Lag-one correlations.

        Returns
        -------
        Prediction
            Arrays of shape (k,), NaN where the past says nothing.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            n = self.count[i, slot]
            seen = n > 0
            mean = np.where(seen, self.total[i, slot] / np.where(seen, n, 1.0), np.nan) + self.local[i]
            factor = self._factor(i, slot)
            gap = np.clip((window - self.last_window[i]) // self.stride[i], 1, MAX_LAG + 1)
            linked = np.isfinite(self.last_deviation[i]) & (gap <= MAX_LAG)
            decay = np.where(linked, rho**gap, 0.0)
            carried = np.where(linked, decay * self.last_deviation[i], 0.0)
            spreading = (1.0 - decay**2) / (1.0 - rho**2)  # a residual after a gap is known less well
            level = mean + self.center[i]
            rounding = ROUNDING * np.maximum(np.abs(value), np.abs(self.center[i]))
            deviation = _snap((value - self.center[i] - mean) / factor, rounding)
            residual = _snap(deviation - carried, rounding)
            df, mean_variance = self.square_count[i], self.sampling_variance(i)
            past = np.where(df > 0, self.square_sum[i] / np.maximum(df, 1), np.nan)
            excess = np.maximum(variance - mean_variance, 0.0)
            base = np.maximum(past, mean_variance)
            base = np.where(np.isfinite(past), base, np.nan)
            sigma = np.sqrt(base * spreading + excess)
            spread = np.maximum(self.deviation_sum[i] / np.maximum(self.deviation_count[i], 1), mean_variance)
            precision = np.where(sigma > 0, base / sigma**2, 1.0)
            return Prediction(
                expected=level + carried * factor,
                level=level,
                residual=residual,
                sigma=sigma,
                score=np.where(residual == 0, 0.0, residual / sigma),
                floored=~(past > 0.25 * (mean_variance + excess)),
                deviation=deviation,
                deviation_sigma=np.sqrt(spread + excess),
                level_variance=spread,
                usual_variance=mean_variance,
                precision=precision,
            )

    def teach(
        self,
        i: NDArray[np.int64],
        value: Floats,
        variance: Floats,
        slot: Any,
        window: NDArray[np.int64],
        prediction: Prediction,
    ) -> Lesson:
        """Add one window of streams `i` to their baselines; noisy (small) windows count for less.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        value, variance : ndarray, shape (k,)
            The value (finite) and its sampling variance (0 = unknown).
        slot : int or integer ndarray, shape (k,)
            Seasonal slot.
        window : integer ndarray, shape (k,)
            Window numbers.
        prediction : Prediction
            What `predict` said of these values.

        Returns
        -------
        Lesson
            What was added, for `forget`.
        """
        x = value - self.center[i]
        w = prediction.residual
        firm = (self.square_count[i] >= MIN_DF) & (prediction.sigma > 0)
        clipped = np.where(firm, np.clip(w, -CLIP * prediction.sigma, CLIP * prediction.sigma), w)
        excess = np.where(np.isfinite(w), w - clipped, 0.0)
        factor = self._factor(i, slot)
        taught = x - excess * factor
        deviation = prediction.deviation - excess
        consecutive = window - self.last_window[i] == self.stride[i]
        consecutive &= np.isfinite(self.last_deviation[i]) & np.isfinite(deviation)
        weight = weight_of(prediction)
        both = np.sqrt(weight * self.last_weight[i])  # as its squares: else a noisy pair is a correlation beyond 1
        cross = np.where(consecutive, both * deviation * np.where(consecutive, self.last_deviation[i], 0.0), np.nan)
        near = self.near[i]
        gap = np.where((near > 0) & np.isfinite(deviation), deviation, 0.0) * factor
        lesson = Lesson(
            weight=weight,
            taught=taught - self.local[i],
            square=weight * clipped**2,
            deviation=weight * deviation**2,
            cross=cross,
            step=weight * gap / np.minimum(near + 1, self.follow_windows[i]),
        )
        self._add(i, slot, lesson, variance)
        self.remember(i, window, deviation, weight)
        return lesson

    def remember(self, i: NDArray[np.int64], window: NDArray[np.int64], deviation: Floats, weight: Floats) -> None:
        """Note the latest deviation for the autoregressive term; nothing is taught.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        window : integer ndarray, shape (k,)
            Window numbers.
        deviation : ndarray, shape (k,)
            As in `Prediction`.
        weight : ndarray, shape (k,)
            What the window counts for (`Lesson`).
        """
        self.last_deviation[i] = deviation
        self.last_weight[i] = weight
        self.last_window[i] = window

    def forget(self, stream: int, slot: NDArray[np.int64], lesson: Lesson, variance: Floats) -> None:
        """Take several lessons of one stream back.

        Parameters
        ----------
        stream : int
            Index of the stream.
        slot : integer ndarray, shape (lessons,)
            Seasonal slots.
        lesson : Lesson
            What `teach` returned, arrays of shape (lessons,).
        variance : ndarray, shape (lessons,)
            Sampling variances given with them.
        """
        np.subtract.at(self.count[stream], slot, lesson.weight)
        np.subtract.at(self.total[stream], slot, lesson.weight * lesson.taught)
        self.history[stream] -= len(slot)
        self.local[stream] -= lesson.step.sum()
        if self.near[stream]:
            self.near[stream] = max(self.near[stream] - len(slot), 1)
        for name, part in (("square", lesson.square), ("deviation", lesson.deviation), ("cross", lesson.cross)):
            known = np.isfinite(part)
            count = getattr(self, f"{name}_count")
            count[stream] -= known.sum()
            total = getattr(self, f"{name}_sum")
            total[stream] = total[stream] - part[known].sum() if count[stream] else 0.0
        self.variance_count[stream] -= (variance > 0).sum()
        left = self.variance_sum[stream] - variance.sum()
        self.variance_sum[stream] = max(left, 0.0) if self.variance_count[stream] else 0.0
        self.square_sum[stream] = max(self.square_sum[stream], 0.0)
        self.deviation_sum[stream] = max(self.deviation_sum[stream], 0.0)
        empty = self.count[stream] < 1e-9
        self.count[stream, empty] = 0.0
        self.total[stream, empty] = 0.0
        self.last_deviation[stream] = np.nan

    def _add(self, i: NDArray[np.int64], slot: Any, lesson: Lesson, variance: Floats) -> None:
        self.count[i, slot] += lesson.weight
        self.total[i, slot] += lesson.weight * lesson.taught
        self.history[i] += 1
        self.local[i] += lesson.step
        self.near[i] = np.where(self.near[i] > 0, np.minimum(self.near[i] + 1, self.follow_windows[i]), 0)
        for name, part in (("square", lesson.square), ("deviation", lesson.deviation), ("cross", lesson.cross)):
            known = np.isfinite(part)
            getattr(self, f"{name}_sum")[i] += np.where(known, part, 0.0)
            getattr(self, f"{name}_count")[i] += known
        self.variance_sum[i] += variance
        self.variance_count[i] += variance > 0

    def restart(self, i: NDArray[np.int64]) -> None:
        """Empty the baselines of streams `i`; the center stays, and so do their pace and whether they follow.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        """
        for name, (_, fill, _) in self.FIELDS.items():
            if name not in self.KEPT:
                getattr(self, name)[i] = fill

    def follow(self, i: NDArray[np.int64], near: NDArray[np.int64] | int, shift: Floats | float = 0.0) -> None:
        """From here on streams `i` follow their level, which is now `shift` higher and known from `near` windows.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        near : int or integer ndarray, shape (k,)
            Windows behind the level; taken as at least 1 and at most `follow_windows`.
        shift : float or ndarray, shape (k,), default 0.0
            Added to the level.
        """
        self.local[i] += shift
        self.near[i] = np.clip(near, 1, self.follow_windows[i])
