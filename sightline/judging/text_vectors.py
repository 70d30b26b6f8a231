"""Vectors of a text column: by the frozen model of word frequencies, or by a function of the user's within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

import numpy as np
import polars as pl

from metrics_py.failures import AnswerError
from metrics_py.multivariate.text_vectors import Embedded, TextModel, embed_texts
from metrics_py.multivariate.vectors import Vectors
from sightline.errors import SightlineError
from sightline.judging.time_limit import TimeLimitExceeded, metric_seconds, time_limit
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import text_embeddings
from sightline.user_metrics.python_functions import load
from sightline.user_metrics.python_metrics import importable


class TextVectors:
    """Makes vectors of a monitor's texts.

    Parameters
    ----------
    spec : MonitorSpec
        Names text columns and what makes vectors of them (``embedding``).
    """

    def __init__(self, spec: MonitorSpec) -> None:
        self.spec = spec
        self.sources = text_embeddings(spec)

    def __call__(
        self, name: str, model: TextModel | None, parts: Sequence[pl.Series], dimension: int | None = None
    ) -> list[Embedded]:
        """Vectors of some parts of a column.

        Parameters
        ----------
        name : str
            Of the embedding (`text_embeddings`).
        model : TextModel or None
            The frozen model; None asks the user's function, for at most ``SIGHTLINE_METRIC_SECONDS`` a part.
        parts : sequence of Series of String
            Null: no text.
        dimension : int, optional
            Expected length of a vector; default: that of most, all parts together.
        """
        if model is not None:
            return [_known(model, part) for part in parts]
        found = self._asked(self.sources[name][1], parts, dimension)
        if dimension is None and found:
            counts: dict[int, int] = {}
            for each in found:
                for length, n in each.vectors.dimensions.items():
                    counts[length] = counts.get(length, 0) + n
            usual = max(counts, key=lambda length: (counts[length], length), default=0)
            if any(set(each.vectors.dimensions) - {usual} for each in found):
                return self._asked(self.sources[name][1], parts, usual)
        return found

    def _asked(self, path: str, parts: Sequence[pl.Series], dimension: int | None) -> list[Embedded]:
        home = self.spec.home_folder
        if home is None:
            return [embed_texts(_failing("no home folder to import from"), part, dimension) for part in parts]
        with importable(home):
            try:
                function: Any = load(path)
            except SightlineError as error:
                function = _failing(error.what)
            return [embed_texts(_Limited(function, metric_seconds()), part, dimension) for part in parts]


def _known(model: TextModel, texts: pl.Series) -> Embedded:
    rows = model.transform(texts.drop_nulls())
    places = np.flatnonzero(texts.is_not_null().to_numpy())
    return Embedded(Vectors(rows, len(rows), 0, 0, {rows.shape[1]: len(rows)}), {}, places)


def _failing(why: str) -> Any:
    def fail(_: list[str]) -> object:
        raise AnswerError(why)

    return fail


class _Limited:
    """A function that has so many seconds for all of its batches."""

    def __init__(self, function: Any, seconds: float) -> None:
        self.function, self.seconds, self.ends = function, seconds, monotonic() + seconds

    def __call__(self, texts: list[str]) -> object:
        left = self.ends - monotonic()
        if left > 0:
            try:
                with time_limit(left):
                    return self.function(texts)
            except TimeLimitExceeded:
                pass
        raise AnswerError(f"no vectors within {self.seconds:g} s for a window's texts")
