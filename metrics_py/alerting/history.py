"""The latest windows of every stream: what change points, restarts and removals are made from."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.baseline import Lesson
from metrics_py.alerting.columns import Columns

Floats = NDArray[np.float64]


class History(Columns):
    """Ring buffers of shape (streams, kept). `weight` is 0 for a window that is not part of the baseline."""

    FIELDS: ClassVar = {
        "seen": (np.int64, 0, False),
        "window": (np.int64, 0, True),
        "value": (np.float64, np.nan, True),
        "variance": (np.float64, 0.0, True),
        "z": (np.float64, np.nan, True),
        "u": (np.float64, np.nan, True),
        "apart": (np.float64, np.nan, True),
        "weight": (np.float64, 0.0, True),
        "taught": (np.float64, 0.0, True),
        "square": (np.float64, np.nan, True),
        "deviation": (np.float64, np.nan, True),
        "cross": (np.float64, np.nan, True),
        "step": (np.float64, 0.0, True),
    }
    seen: NDArray[np.int64]
    window: NDArray[np.int64]
    value: Floats
    variance: Floats
    z: Floats
    u: Floats
    apart: Floats
    weight: Floats
    taught: Floats
    square: Floats
    deviation: Floats
    cross: Floats
    step: Floats

    def append(
        self, i: NDArray[np.int64], window: NDArray[np.int64], value: Floats, variance: Floats, z: Floats
    ) -> None:
        """Add one untaught window per stream in `i`."""
        at = self.seen[i] % self.width
        self.window[i, at] = window
        self.value[i, at] = value
        self.variance[i, at] = variance
        self.z[i, at] = z
        self.u[i, at] = np.nan
        self.apart[i, at] = np.nan
        self.weight[i, at] = 0.0
        self.seen[i] += 1

    def note(self, i: NDArray[np.int64], lesson: Lesson, at: NDArray[np.int64] | None = None) -> None:
        """Record what a row (the latest one unless `at` is given) has taught."""
        at = (self.seen[i] - 1) % self.width if at is None else at
        self.weight[i, at] = lesson.weight
        self.taught[i, at] = lesson.taught
        self.square[i, at] = lesson.square
        self.deviation[i, at] = lesson.deviation
        self.cross[i, at] = lesson.cross
        self.step[i, at] = lesson.step

    def set_latest(self, name: str, i: NDArray[np.int64], values: Floats) -> None:
        """Fill one field of the latest row of streams `i`."""
        getattr(self, name)[i, (self.seen[i] - 1) % self.width] = values

    def latest(self, name: str, i: NDArray[np.int64], n: int) -> Floats:
        """The last `n` entries of a field, oldest first, shape (k, n); unseen entries are NaN."""
        n = min(n, self.width)
        offset = np.arange(-n, 0)
        at = (self.seen[i, None] + offset) % self.width
        values = getattr(self, name)[i[:, None], at].astype(np.float64)
        values[self.seen[i, None] + offset < 0] = np.nan
        return values

    def rows(self, stream: int, since: int) -> NDArray[np.int64]:
        """Buffer positions of one stream's windows numbered `since` or later, oldest first."""
        n = int(min(self.seen[stream], self.width))
        at = (self.seen[stream] + np.arange(-n, 0)) % self.width
        return at[self.window[stream, at] >= since]

    def lesson(self, stream: int, at: NDArray[np.int64]) -> Lesson:
        """The lessons recorded in rows `at` of one stream."""
        return Lesson(
            weight=self.weight[stream, at],
            taught=self.taught[stream, at],
            square=self.square[stream, at],
            deviation=self.deviation[stream, at],
            cross=self.cross[stream, at],
            step=self.step[stream, at],
        )
