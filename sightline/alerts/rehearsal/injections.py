"""Changes of stated sizes, put into the aggregates of past windows, and what the alert engine would have seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.drift.injected import lost, moved, replaced, swapped
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.quality.metrics import quality_metric
from sightline.alerts.rehearsal.whole_rows import WholeRows, read_whole_rows
from sightline.home import MonitorPaths
from sightline.judging.evidence import column_evidence, stream_name
from sightline.judging.stretches import Stretches, read_stretches
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.spec.stretches import sliding_windows
from sightline.warehouse.reference import ReferenceProfile

SCORE, LABEL = "@score", "@label"
SAME = 1e-9
MARTS = {"column_bins": "drift", "label_bins": "model_quality"}
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Injection:
    """One kind of change of one size.

    Parameters
    ----------
    kind : {'mean', 'spread', 'missing', 'unseen', 'score', 'label', 'quality', 'rows', ...}
        Those of texts, vectors and columns together: `sightline.alerts.rehearsal.whole_rows.MOVED`.
    size : float
        Standard deviations (mean, score, label of a regression), a factor (spread, an error), or a share.
    words : str
        As a person would say it.
    """

    kind: str
    size: float
    words: str


def planned(spec: MonitorSpec, profiles: Mapping[str, ColumnProfile]) -> list[Injection]:
    """What is rehearsed for a monitor.

    Parameters
    ----------
    spec : MonitorSpec
    profiles : mapping of column to ColumnProfile
        The frozen reference.

    Returns
    -------
    list of Injection
        By kind, smallest first.
    """
    found = [Injection("mean", x, f"mean of a number up by {x:g} sd") for x in (0.1, 0.25, 0.5, 1.0)]
    found += [Injection("spread", x, f"spread of a number {x:g} times") for x in (1.1, 1.25, 1.5)]
    found += [Injection("missing", x, f"{x:.0%} of a column missing") for x in (0.01, 0.05, 0.2)]
    found += [Injection("unseen", x, f"{x:.0%} with values never seen") for x in (0.01, 0.05, 0.2)]
    if SCORE in profiles and profiles[SCORE].scale:
        found += [Injection("score", x, f"mean of the score up by {x:g} sd") for x in (0.1, 0.25, 0.5)]
    label = profiles.get(LABEL)
    if label is not None and label.kind == "numeric" and label.scale:
        found += [Injection("label", x, f"mean of the label up by {x:g} sd") for x in (0.1, 0.25, 0.5)]
    elif label is not None and label.kind != "numeric" and len(label.where("category")) > 1:
        found += [Injection("label", x, f"{x:.0%} of the labels of another class") for x in (0.02, 0.05, 0.1)]
    found += [Injection("words", x, f"{x:.0%} of the texts in unknown words") for x in (0.01, 0.05, 0.2)]
    found += [Injection("copies", x, f"{x:.0%} of the texts sent again") for x in (0.01, 0.05, 0.2)]
    found += [Injection("vectors", x, f"{x:.0%} of the vectors of a new kind") for x in (0.02, 0.05, 0.2)]
    found += [Injection("together", x, f"{x:.0%} of the rows with unrelated values") for x in (0.05, 0.2, 0.5)]
    found += _of_quality(spec)
    return [*found, *(Injection("rows", x, f"{x:.0%} of the rows do not come") for x in (0.1, 0.3, 0.5))]


def _of_quality(spec: MonitorSpec) -> list[Injection]:
    name = plan.primary_metric(spec)
    if name is None:
        return []
    metric = quality_metric(name, spec.model.task)
    if metric.direction == "none":
        return []
    if metric.scale == "error":
        return [Injection("quality", x, f"{name} {x:g} times") for x in (1.05, 1.1, 1.25)]
    worse = "down" if metric.direction == "higher_is_better" else "up"
    return [Injection("quality", x, f"{name} {worse} by {x:g}") for x in (0.01, 0.02, 0.05)]


@dataclass(frozen=True)
class Aggregates:
    """What of a monitor's aggregates an injection changes.

    Parameters
    ----------
    spec : MonitorSpec
    profiles : mapping of column to ColumnProfile
    bins : mapping of mart to DataFrame
        ``window_start, segment, column_name, bin_id, n`` of all rows together.
    stretches : mapping of mart to Stretches
        Which columns are judged over several windows.
    log : DataFrame
        The evidence of the alert engine.
    rows : WholeRows or None
        Texts, vectors and columns together.
    """

    spec: MonitorSpec
    profiles: Mapping[str, ColumnProfile]
    bins: Mapping[str, pl.DataFrame]
    stretches: Mapping[str, Stretches]
    log: pl.DataFrame
    rows: WholeRows | None = None

    def targets(self, injection: Injection) -> list[str]:
        """Columns, or metrics, that a kind of change can be put into: those that the engine watches."""
        watched = set(self.log["column"].fill_null("").unique())
        columns = {name: p for name, p in self.profiles.items() if name in watched and not name.startswith("@")}
        match injection.kind:
            case "mean" | "spread":
                # of texts and embeddings a length or norm is kept, and nothing watches its mean
                located = set(self.log.filter(pl.col("statistic").str.starts_with("location"))["column"].unique())
                found = [n for n, p in columns.items() if p.kind == "numeric" and p.scale and n in located]
            case "missing":
                found = list(columns)
            case "unseen":
                found = [name for name, p in columns.items() if p.kind in ("numeric", "categorical")]
            case "score":
                found = [SCORE]
            case "label":
                found = [LABEL]
            case "words" | "copies" | "vectors" | "together":
                found = self.rows.targets(injection.kind) if self.rows else []
            case "quality":
                found = [str(plan.primary_metric(self.spec))]
            case _:
                found = ["n_rows"]
        return sorted(found)

    def changed(
        self, injection: Injection, target: str, start: datetime, rng: np.random.Generator
    ) -> tuple[pl.DataFrame, frozenset[str]]:
        """The log as it would be had a change begun with a window, and the streams that it moves.

        Parameters
        ----------
        injection : Injection
        target : str
            Of `targets`.
        start : datetime
            First changed window (naive UTC); all later ones are changed, too.
        rng : Generator

        Returns
        -------
        log : DataFrame
            Same rows.
        streams : frozenset of str
            Those with another value in any window.
        """
        match injection.kind:
            case "quality":
                fresh = self._worse(injection, target, start)
            case "words" | "copies" | "vectors" | "together":
                assert self.rows is not None  # there are targets
                fresh = self.rows.changed(injection.kind, target, injection.size, start, rng)
            case "rows":
                own = self.log.filter(pl.col("stream") == "data_quality/n_rows", pl.col("window_start") >= start)
                left = (pl.col("value").exp() - 1) * (1 - injection.size)
                fresh = own.select("stream", "window_start", value=(left + 1).log(), variance=1 / (left + 1))
            case _:
                mart = "label_bins" if target == LABEL else "column_bins"
                fresh = self._recounted(mart, target, start, lambda p, c: _dealt(injection, p, c, rng))
        new = fresh.rename({"value": "new_value", "variance": "new_variance"}).with_columns(is_new=pl.lit(value=True))
        joined = self.log.join(new, on=["stream", "window_start"], how="left", maintain_order="left")
        is_new = pl.col("is_new").fill_null(value=False) & pl.col("value").is_not_null()
        differs = is_new & ((pl.col("value") - pl.col("new_value")).abs() > SAME).fill_null(value=True)
        streams = frozenset(joined.filter(differs)["stream"].unique())
        log = joined.with_columns(
            value=pl.when(is_new).then("new_value").otherwise("value"),
            variance=pl.when(is_new).then("new_variance").otherwise("variance"),
        )
        return log.select(self.log.columns), streams

    def recomputed(self, target: str, start: datetime) -> pl.DataFrame:
        """Evidence of a column from its counts as they are: ``stream, window_start, value, variance``."""
        return self._recounted("label_bins" if target == LABEL else "column_bins", target, start, lambda _, c: c)

    def _recounted(
        self, mart: str, column: str, start: datetime, change: Callable[[ColumnProfile, Counts], Counts]
    ) -> pl.DataFrame:
        profile, stretches = self.profiles[column], self.stretches[mart]
        longest = 2 * stretches.stretch.n if stretches.stretch is not None else 0
        since = start - longest * self.spec.window
        rows = self.bins[mart].filter(pl.col("column_name") == column, pl.col("window_start") >= since)
        starts = rows["window_start"].unique().sort()
        counts = np.zeros((len(starts), len(profile)), dtype=np.int64)
        at = starts.search_sorted(rows["window_start"]).to_numpy()
        np.add.at(counts, (at, rows["bin_id"].to_numpy()), rows["n"].to_numpy())
        later = (starts >= start).to_numpy()
        counts[later] = change(profile, counts[later])
        window, bin_id = np.nonzero(counts)
        dealt = pl.DataFrame(
            {"window_start": starts.gather(window), "bin_id": bin_id.astype(np.int32), "n": counts[window, bin_id]}
        ).with_columns(column_name=pl.lit(column), segment=pl.lit("all"))
        if stretches.columns:
            stretches = replace(stretches, bins=stretches.pooled(dealt))
        judged = column_evidence(self.spec, dealt, {column: profile}, MARTS[mart], stretches)
        named = judged.filter(pl.col("window_start") >= start).with_columns(stream=stream_name())
        return named.select("stream", "window_start", "value", "variance")

    def _worse(self, injection: Injection, name: str, start: datetime) -> pl.DataFrame:
        """The primary metric, and the same over sliding windows as far as they hold changed ones."""
        metric = quality_metric(name, self.spec.model.task)
        side = -1.0 if metric.direction == "higher_is_better" else 1.0
        frames: list[pl.DataFrame] = []
        lengths = {"": 1, **{over.ending: over.n for over in sliding_windows(self.spec)}}
        for ending, n in lengths.items():
            own = self.log.filter(
                pl.col("stream") == f"model_quality/{name}{ending}", pl.col("window_start") >= start
            ).filter(pl.col("display_value").is_not_null())
            since = (pl.col("window_start") - start).dt.total_microseconds() / (self.spec.window.total_seconds() * 1e6)
            held = ((since + 1) / n).clip(0.0, 1.0)
            shown = pl.col("display_value")
            if metric.scale == "error":
                worse = shown * (1 + (injection.size - 1) * held)
            else:
                low, high = metric.range
                worse = (shown + side * injection.size * held).clip(low, high)
            moved_by = _on_scale(metric.scale, worse, pl.col("n")) - _on_scale(metric.scale, shown, pl.col("n"))
            frames.append(own.select("stream", "window_start", value=pl.col("value") + moved_by, variance="variance"))
        return pl.concat(frames)


def read_aggregates(
    spec: MonitorSpec,
    paths: MonitorPaths,
    con: duckdb.DuckDBPyConnection,
    reference: ReferenceProfile,
    log: pl.DataFrame,
) -> Aggregates:
    """Counts per bin of all windows, and the sums of whole rows; the connection is needed no longer afterwards.

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
    profiles, bins = reference.columns, dict[str, pl.DataFrame]()
    stretches: dict[str, Stretches] = {}
    for mart in MARTS:
        query = (
            "select window_start, segment, column_name, bin_id, sum(n)::bigint as n "  # noqa: S608 (our own name)
            f"from marts.{mart} where segment = 'all' and {production_sql(spec)} group by all"
        )
        bins[mart] = con.sql(query).pl()
        keys = [spec.key(start) for start in bins[mart]["window_start"].unique().sort()]
        own = {name: p for name, p in profiles.items() if (name == LABEL) == (mart == "label_bins")}
        is_pooled = mart == "column_bins" and keys
        stretches[mart] = read_stretches(spec, con, mart, keys, own) if is_pooled else Stretches(spec)
    return Aggregates(spec, profiles, bins, stretches, log, read_whole_rows(spec, paths, con, reference, log))


def _dealt(injection: Injection, profile: ColumnProfile, counts: Counts, rng: np.random.Generator) -> Counts:
    match injection.kind:
        case "spread":
            return moved(profile, counts, rng, spread=injection.size)
        case "missing":
            return lost(profile, counts, rng, injection.size)
        case "unseen":
            return replaced(profile, counts, rng, injection.size)
        case "label" if profile.kind != "numeric":
            return _of_another_class(profile, counts, rng, injection.size)
        case _:
            return moved(profile, counts, rng, shift=injection.size)


def _of_another_class(profile: ColumnProfile, counts: Counts, rng: np.random.Generator, share: float) -> Counts:
    """So many of all labels leave the most frequent class for the next one."""
    order: list[int] = sorted(profile.where("category").tolist(), key=lambda i: -int(profile.n_reference[i]))
    if len(order) < 2:
        return counts
    source, target = order[:2]
    held = float(profile.n_reference[source]) / max(int(profile.n_reference[order].sum()), 1)
    return swapped(profile, counts, rng, min(1.0, share / held), profile.label[source], profile.label[target])


def _on_scale(scale: str, value: pl.Expr, n: pl.Expr) -> pl.Expr:
    """As `metrics_py.quality.table` puts values on the scale of the engine."""
    if scale == "proportion":
        return ((value * n + 0.375) / (n + 0.75)).sqrt().arcsin()
    if scale == "unit":
        shrunk = (value * n + 0.5) / (n + 1)
        return (shrunk / (1 - shrunk)).log()
    if scale == "error":
        return value.log()
    if scale == "skill":
        return -(1 - value).log()
    return value
