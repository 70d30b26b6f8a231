"""Changes of whole rows, put into the sums of past windows: texts, vectors, and columns together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.daily_statistics import Stream
from metrics_py.multivariate.injected import NOT_SUMS, unrelated_row, vector_of_new_kind, with_others
from metrics_py.multivariate.joint import JointModel
from metrics_py.text.injected import in_unknown_words, sent_again
from metrics_py.text.window_texts import text_streams
from sightline.home import MonitorPaths
from sightline.judging.multivariate import design_effect_of, distances_of
from sightline.judging.periods import Periods
from sightline.judging.text_vectors import TextVectors
from sightline.results.window_sums import read_window_sums
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import JOINT, embedding_columns, joint_columns
from sightline.spec.stretches import stretch_of
from sightline.spec.words import text_columns
from sightline.warehouse.joint_reference import JointReference, ensure_joint_reference
from sightline.warehouse.reference import ReferenceProfile
from sightline.warehouse.text_reference import TextReference, ensure_text_reference

FloatArray = NDArray[np.float64]
Sums = dict[str, FloatArray]
MOVED = {
    "words": ("word_distance", "unknown_word_share"),
    "copies": ("duplicate_text_rate", "near_duplicate_text_rate"),
    "vectors": ("norm", "centroid_distance", "rff_distance", "hotelling"),
    "together": ("correlation_distance", "rff_distance", "pca_error"),
}
"""Statistics that each kind of change moves; `domain_auc` is made of rows, and stays as it was."""


@dataclass(frozen=True)
class WholeRows:
    """What is kept of a monitor's texts, vectors and columns together.

    Parameters
    ----------
    spec : MonitorSpec
    reference : ReferenceProfile
    joint : JointReference or None
    texts : TextReference or None
    sums : mapping of column to mapping of window to sums
        Of vectors and of columns together, by window.
    words : mapping of column to mapping of window to sums
        Of texts, by window or by the last window of a stretch.
    log : DataFrame
        The evidence of the alert engine.
    """

    spec: MonitorSpec
    reference: ReferenceProfile
    joint: JointReference | None
    texts: TextReference | None
    sums: Mapping[str, Mapping[str, Sums]]
    words: Mapping[str, Mapping[str, Sums]]
    log: pl.DataFrame

    def targets(self, kind: str) -> list[str]:
        """Columns that a kind of change can be put into: those whose every window with evidence has its sums."""
        match kind:
            case "words" | "copies":
                names: Iterable[str] = self.texts.models if self.texts else ()
            case "vectors":
                names = self.joint.embeddings if self.joint else ()
            case _:
                is_there = self.joint and self.joint.joint and len(self.joint.joint.sample.rows)
                names = [JOINT] if is_there else []
        return [name for name in names if self._is_complete(kind, name)]

    def _is_complete(self, kind: str, column: str) -> bool:
        held = self._held(kind).get(column, {})
        told = [self._told(column, kind, ending) for ending in self._endings]
        needed = {
            key
            for periods, frame in zip(self._periods, told, strict=True)
            for end in frame["window_start"].unique()
            for key in self._asked(kind, periods, end)
            if key not in self._empty
        }
        return bool(needed) and needed <= set(held)

    @cached_property
    def _empty(self) -> set[str]:
        """Windows without rows: they have no sums."""
        rows = self.log.filter(pl.col("stream") == "data_quality/n_rows", pl.col("display_value") == 0)
        return {self.spec.key(start) for start in rows["window_start"]}

    @cached_property
    def _periods(self) -> list[Periods]:
        stretch = stretch_of(self.spec)
        return [Periods(self.spec, ()), *([] if stretch is None else [Periods(self.spec, (), stretch)])]

    @property
    def _endings(self) -> list[str]:
        return ["" if each.stretch is None else each.stretch.ending for each in self._periods]

    def _held(self, kind: str) -> Mapping[str, Mapping[str, Sums]]:
        return self.words if kind in ("words", "copies") else self.sums

    def _asked(self, kind: str, periods: Periods, end: datetime) -> list[str]:
        """Windows whose sums make those of the period that ends with one: those of texts are kept together."""
        key = self.spec.key(end)
        return [key] if kind in ("words", "copies") else periods.windows(key)

    def _told(self, column: str, kind: str, ending: str) -> pl.DataFrame:
        names = [f"drift/{column}/{statistic}{ending}" for statistic in MOVED[kind]]
        return self.log.filter(pl.col("stream").is_in(names), pl.col("value").is_not_null())

    def changed(self, kind: str, column: str, share: float, start: datetime, rng: np.random.Generator) -> pl.DataFrame:
        """Evidence of the streams that a change moves, from a window on.

        Parameters
        ----------
        kind : {'words', 'copies', 'vectors', 'together'}
        column : str
            Of `targets`.
        share : float
            Of the rows of each changed window, between 0 and 1.
        start : datetime
            First changed window (naive UTC); of a stretch that begins before it only the later windows are changed.
        rng : Generator

        Returns
        -------
        DataFrame
            ``stream, window_start, value, variance``.
        """
        change = self._change(kind, column, rng)
        frames = [pl.DataFrame(schema={"stream": pl.String, "window_start": pl.Datetime("us"), **VALUES})]
        for periods, ending in zip(self._periods, self._endings, strict=True):
            own = self._told(column, kind, ending).filter(pl.col("window_start") >= start)
            ends: list[datetime] = own["window_start"].unique().sort().to_list()
            if not ends:
                continue
            sums = [self._of_period(kind, column, periods, end, start, share, change, rng) for end in ends]
            frames += self._frames(kind, column, periods, ending, ends, sums)
        return pl.concat(frames)

    def _change(self, kind: str, column: str, rng: np.random.Generator) -> Callable[[Sums, int], Sums]:
        """Replaces so many of the rows of one window or stretch."""
        if kind == "words":
            return in_unknown_words
        if kind == "copies":
            return sent_again
        assert self.joint is not None  # it is one of the targets
        model = self.joint.model(column)
        other = unrelated_row(model, rng) if isinstance(model, JointModel) else vector_of_new_kind(model, rng)
        name = "rows" if isinstance(model, JointModel) else "n"
        return lambda sums, k: with_others(sums, name, k, other)

    def _of_period(
        self,
        kind: str,
        column: str,
        periods: Periods,
        end: datetime,
        start: datetime,
        share: float,
        change: Callable[[Sums, int], Sums],
        rng: np.random.Generator,
    ) -> Sums:
        held = self._held(kind)[column]
        if kind in ("words", "copies"):
            sums, n = held[self.spec.key(end)], periods.stretch.n if periods.stretch else 1
            changed = min(1.0, ((end - start) // self.spec.window + 1) / n)
            return change(
                sums, int(rng.binomial(int(sums["n_spelled" if kind == "words" else "n_looked"]), share * changed))
            )
        count = "rows" if column == JOINT else "n"
        parts: list[Sums] = []
        for key in (key for key in periods.windows(self.spec.key(end)) if key in held):
            is_changed = self.spec.window_start(key).replace(tzinfo=None) >= start
            own = held[key]
            parts.append(change(own, int(rng.binomial(int(own[count]), share))) if is_changed else own)
        if len(parts) == 1:
            return parts[0]
        merged = {name: np.asarray(np.sum([part[name] for part in parts], axis=0)) for name in parts[0]}
        return merged | {name: parts[-1][name] for name in NOT_SUMS if name in merged}

    def _frames(
        self, kind: str, column: str, periods: Periods, ending: str, ends: Sequence[datetime], sums: Sequence[Sums]
    ) -> list[pl.DataFrame]:
        keys = [self.spec.key(end) for end in ends]
        found = self._streams(kind, column, periods, keys, sums)
        return [
            pl.DataFrame(
                {
                    "stream": [f"drift/{column}/{stream.statistic}{ending}"] * len(ends),
                    "window_start": pl.Series(ends, dtype=pl.Datetime("us")),
                    "value": pl.Series(stream.value, dtype=pl.Float64).fill_nan(None),
                    "variance": pl.Series(stream.variance, dtype=pl.Float64).fill_nan(None),
                }
            )
            for stream in found
            if stream.statistic in MOVED[kind]
        ]

    def _streams(
        self, kind: str, column: str, periods: Periods, keys: Sequence[str], sums: Sequence[Sums]
    ) -> list[Stream]:
        profiles = self.reference.columns
        if kind in ("words", "copies"):
            assert self.texts is not None  # it is one of the targets
            design = profiles[column].design_effect if column in profiles else 1.0
            model = self.texts.models[column]
            return text_streams(model, keys, sums, min_rows=periods.least, design_effect=design)
        assert self.joint is not None
        model = self.joint.model(column)
        source = TextVectors(self.spec).sources.get(column, (column,))[0]
        return distances_of(model, keys, sums, periods.least, design_effect_of(profiles, source, model)).streams


VALUES = {"value": pl.Float64, "variance": pl.Float64}


def read_whole_rows(
    spec: MonitorSpec,
    paths: MonitorPaths,
    con: duckdb.DuckDBPyConnection,
    reference: ReferenceProfile,
    log: pl.DataFrame,
) -> WholeRows:
    """Sums of all windows with evidence; the connection is needed no longer afterwards.

    Parameters
    ----------
    spec, paths
        The monitor.
    con : duckdb.DuckDBPyConnection
        Its warehouse.
    reference : ReferenceProfile
    log : DataFrame
        The evidence of the alert engine.
    """
    watched = set(log["column"].fill_null("").unique())
    stretch = stretch_of(spec)
    longest = 1 if stretch is None else stretch.n
    ends = log["window_start"].unique()
    keys = sorted({spec.key(end - k * spec.window) for end in ends for k in range(longest)})
    joint: JointReference | None = None
    texts: TextReference | None = None
    if watched & {*embedding_columns(spec), *([JOINT] if joint_columns(spec) else [])}:
        joint = ensure_joint_reference(spec, paths, con, TextVectors(spec))
    if watched & set(text_columns(spec)):
        texts = ensure_text_reference(spec, paths, con)
    sums = read_window_sums(paths, keys, joint.id) if joint else {}
    words = read_window_sums(paths, keys, texts.id, "texts") if texts else {}
    return WholeRows(spec, reference, joint, texts, sums, words, log)
