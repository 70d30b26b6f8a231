"""The latest windows of every stream: what change points, restarts and removals are made from."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metrics_py.alerting.baseline import Lesson
from metrics_py.alerting.columns import Columns

Floats = NDArray[np.float64]


class History(Columns):
    """Ring buffers of shape (streams, kept).

    `weight` is 0 for a window that is not part of the baseline. `pooled` is the probability of a score at least as high
    by the pooled tail of its day, NaN where the stream was not judged or has begun anew since.

    Parameters
    ----------
    size : int, default 0
        Streams.
    width : int, default 1
        Windows kept.
    """

    FIELDS: ClassVar = {
        "seen": (np.int64, 0, False),
        "window": (np.int64, 0, True),
        "value": (np.float64, np.nan, True),
        "variance": (np.float64, 0.0, True),
        "z": (np.float64, np.nan, True),
        "u": (np.float64, np.nan, True),
        "score": (np.float64, np.nan, True),
        "pooled": (np.float64, np.nan, True),
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
    score: Floats
    pooled: Floats
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
        """Add one untaught window per stream.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        window : integer ndarray, shape (k,)
            Window numbers.
        value, variance : ndarray, shape (k,)
            The value and its sampling variance.
        z : ndarray, shape (k,)
            Normal scores, NaN where there is none.
        """
        at = self.seen[i] % self.width
        self.window[i, at] = window
        self.value[i, at] = value
        self.variance[i, at] = variance
        self.z[i, at] = z
        self.u[i, at] = np.nan
        self.score[i, at] = np.nan
        self.pooled[i, at] = np.nan
        self.apart[i, at] = np.nan
        self.weight[i, at] = 0.0
        self.seen[i] += 1

    def note(self, i: NDArray[np.int64], lesson: Lesson, at: NDArray[np.int64] | None = None) -> None:
        """Record what a row has taught.

        Parameters
        ----------
        i : integer ndarray, shape (k,)
            Streams.
        lesson : Lesson
            Arrays of shape (k,).
        at : integer ndarray, shape (k,), optional
            Buffer positions. Default: the latest rows.
        """
        at = (self.seen[i] - 1) % self.width if at is None else at
        self.weight[i, at] = lesson.weight
        self.taught[i, at] = lesson.taught
        self.square[i, at] = lesson.square
        self.deviation[i, at] = lesson.deviation
        self.cross[i, at] = lesson.cross
        self.step[i, at] = lesson.step

    def set_latest(self, name: str, i: NDArray[np.int64], values: Floats) -> None:
        """Fill one field of the latest row of each stream.

        Parameters
        ----------
        name : str
            The field.
        i : integer ndarray, shape (k,)
            Streams.
        values : ndarray, shape (k,)
            What is put there.
        """
        getattr(self, name)[i, (self.seen[i] - 1) % self.width] = values

    def latest(self, name: str, i: NDArray[np.int64], n: int) -> Floats:
        """The last entries of a field, oldest first.

        Parameters
        ----------
        name : str
            The field.
        i : integer ndarray, shape (k,)
            Streams.
        n : int
            How many, at most as many as are kept.

        Returns
        -------
        ndarray, shape (k, n)
            NaN where the stream has seen fewer windows.
        """
        n = min(n, self.width)
        offset = np.arange(-n, 0)
        at = (self.seen[i, None] + offset) % self.width
        values = getattr(self, name)[i[:, None], at].astype(np.float64)
        values[self.seen[i, None] + offset < 0] = np.nan
        return values

    def rows(self, stream: int, since: int) -> NDArray[np.int64]:
        """Buffer positions of the windows of one stream from some window on.

        Parameters
        ----------
        stream : int
            Index of the stream.
        since : int
            Number of the first window.

        Returns
        -------
        integer ndarray
            Oldest first.
        """
        n = int(min(self.seen[stream], self.width))
        at = (self.seen[stream] + np.arange(-n, 0)) % self.width
        return at[self.window[stream, at] >= since]

    def lesson(self, stream: int, at: NDArray[np.int64]) -> Lesson:
        """The lessons recorded in rows of one stream.

        Parameters
        ----------
        stream : int
            Index of the stream.
        at : integer ndarray, shape (rows,)
            Buffer positions.

        Returns
        -------
        Lesson
            Arrays of shape (rows,).
        """
        return Lesson(
            weight=self.weight[stream, at],
            taught=self.taught[stream, at],
            square=self.square[stream, at],
            deviation=self.deviation[stream, at],
            cross=self.cross[stream, at],
            step=self.step[stream, at],
        )
