"""Two versions that run beside each other, from aggregates by day: every metric of the task, in every segment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metrics_py.evaluation.confidence_sequence import SequentialDifference, sequential_difference, weights_of_days
from metrics_py.evaluation.differences import SCHEMA, TABLES, improper_rows
from metrics_py.intervals import N_BUCKETS, N_SEGMENT_BUCKETS
from metrics_py.quality.aggregates import Cells, available_needs, name_aggregates, spread
from metrics_py.quality.definition import UNDEFINED, QualityMetric
from metrics_py.quality.metrics import BY_TASK, metric_of_sums
from metrics_py.quality.probabilities import improper_words
from metrics_py.wording import count

FloatArray = NDArray[np.float64]
OF_FILES = ("se_champion", "se_challenger", "n_agreeing")
DAILY_SCHEMA = pl.Schema(
    {
        **{name: dtype for name, dtype in SCHEMA.items() if name not in OF_FILES},
        "standard_error": pl.Float64,
        "n_days": pl.Int64,
        "effective_days": pl.Float64,
    }
)
WIDEST_BINNING = 0.02
"""Where bins of scores leave a metric more room than this, they hide too much of what tells two models apart."""

LEAST_KNOWN = 0.5
"""Share of the weight of the days whose exact areas must be known to put the binned ones right."""

VERSIONS = ("champion", "challenger")


def daily_differences(
    tables: Mapping[str, pl.DataFrame],
    *,
    task: str,
    positive: str = "1",
    min_rows: int = 100,
    metrics: Collection[str] | None = None,
    exact: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Challenger minus champion of every metric that the aggregates allow, with intervals that hold at every look.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        ``confusion, score_bins, sums, custom`` as `metrics_py.quality.table.quality_table` takes them, each with
        ``segment``, ``version`` ('champion' or 'challenger') and ``day`` (any ordered type); one that is absent or
        empty is left out.
    task : str
        As of `quality_table`.
    positive : str, default "1"
        The positive class (binary).
    min_rows : int, default 100
        Fewer rows of either version: ``insufficient_data``.
    metrics : collection of str, optional
        Only these; default all.
    exact : DataFrame, optional
        ``segment, version, day, metric, value``: metrics of the scores themselves on single days.

    Returns
    -------
    DataFrame
        As `metrics_py.evaluation.differences.differences` (without a p-value), and ``standard_error, n_days,
        effective_days``. Segment 'all' first.

    Raises
    ------
    ValueError
        As `quality_table`.

    Notes
    -----
    `metrics_py.evaluation.confidence_sequence.sequential_difference` of each. Areas are those of binned scores, put
    right by how far they are on single days from those of the scores themselves (`exact`), in the mean over the days.
    Without these the interval is wider by how far each can be. There is none where that is more than 0.02: the bins
    then hide part of what makes it wide.

    References
    ----------
    Waudby-Smith et al. (2024), Annals of Statistics 52:2613.
    """
    present = {name: tables[name] for name in TABLES if name in tables and not tables[name].is_empty()}
    segments = sorted({name for t in present.values() for name in t["segment"]}, key=lambda name: (name != "all", name))
    rows: list[dict[str, Any]] = []
    for segment in segments:
        own = {name: t.filter(pl.col("segment") == segment) for name, t in present.items()}
        n_buckets = N_BUCKETS if segment == "all" else N_SEGMENT_BUCKETS
        cells = _Days({name: t for name, t in own.items() if not t.is_empty()}, task, positive, n_buckets)
        of_days = None if exact is None else exact.filter(pl.col("segment") == segment)
        for metric, found in cells.found(task, metrics, of_days):
            rows.append({"segment": segment, **_told(metric, found, min_rows)})
    return pl.DataFrame(rows, schema=DAILY_SCHEMA, orient="row")


class _Days:
    """Aggregates of one segment by version, day and bucket."""

    def __init__(self, tables: dict[str, pl.DataFrame], task: str, positive: str, n_buckets: int) -> None:
        days = pl.concat([t.select("day") for t in tables.values()]).unique().sort("day").with_row_index("_day")
        self.n_days, self.n_buckets, self._task, self._named = len(days), n_buckets, task, days
        is_new = (pl.col("version") == VERSIONS[1]).cast(pl.Int64)
        keyed = {
            name: t.join(days, on="day")
            .with_columns(_group=is_new * self.n_days + pl.col("_day").cast(pl.Int64))
            .sort("_group")
            for name, t in tables.items()
        }
        self._cells: dict[str, Cells] = spread(keyed, task, positive, n_buckets)
        self._needs = available_needs(self._cells)
        self._custom: list[str] = []
        if "custom" in keyed:
            self._custom = keyed["custom"]["metric"].cast(pl.String).unique().sort().to_list()

    def found(
        self, task: str, wanted: Collection[str] | None, exact: pl.DataFrame | None
    ) -> list[tuple[QualityMetric, _Found]]:
        """Every metric with its difference, and how far bins leave it open."""
        known = [metric for metric in BY_TASK.get(task, ()) if set(metric.needs) <= self._needs]
        found = [(m, self._difference(m, None, exact)) for m in known if wanted is None or m.name in wanted]
        for k, name in enumerate(self._custom):
            metric = metric_of_sums(name, task)
            if wanted is None or metric.name in wanted:
                found.append((metric, self._difference(metric, k, None)))
        return found

    def _arrays(self, group: int, custom: int | None) -> dict[str, FloatArray]:
        """Aggregates of one version and day, shape (1, buckets, ...)."""
        names = ("custom",) if custom is not None else tuple(name for name in self._cells if name != "custom")
        dense = {name: self._cells[name].dense(group, group + 1, self.n_buckets) for name in names}
        if custom is not None:
            return {"sum_value": dense["custom"][..., custom, 0], "n": dense["custom"][..., custom, 1]}
        return name_aggregates(dense, self._task)

    def _difference(self, metric: QualityMetric, custom: int | None, exact: pl.DataFrame | None) -> _Found:
        names = _used(metric, custom, self._arrays(0, custom))

        def arrays(group: int) -> list[FloatArray]:
            own = self._arrays(group, custom)
            return [own[name][0] for name in names]

        def statistic(*sums: FloatArray) -> FloatArray:
            return np.asarray(metric.value(dict(zip(names, sums, strict=True))), dtype=float)

        rows = np.zeros((2, self.n_days, self.n_buckets))
        binned = np.full((2, self.n_days), np.nan)
        whole: list[list[FloatArray]] = [[], []]
        for v, t in product((0, 1), range(self.n_days)):
            own = arrays(v * self.n_days + t)
            rows[v, t] = _rows(metric, dict(zip(names, own, strict=True)))
            if metric.binning is not None:
                sums = [a.sum(axis=0) for a in own]
                whole[v] = sums if not whole[v] else [a + b for a, b in zip(whole[v], sums, strict=True)]
                with np.errstate(divide="ignore", invalid="ignore"):
                    binned[v, t] = float(statistic(*sums))
        found = sequential_difference(statistic, lambda t: (arrays(t), arrays(self.n_days + t)), rows)
        if found.n_days and None in (found.champion, found.challenger):
            found = self._with_reason(metric, found)
        if metric.binning is None:
            return _Found(found)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = sum(float(np.max(metric.binning(dict(zip(names, total, strict=True))))) for total in whole)
        return _Found(found, room, self._shift(metric, exact, binned, rows))

    def _with_reason(self, metric: QualityMetric, found: SequentialDifference) -> SequentialDifference:
        """Why a metric is undefined, by its definition, or because scores are no probabilities."""
        improper: dict[str, float] = dict.fromkeys(VERSIONS, 0.0)
        for (i, v), t in product(enumerate(VERSIONS), range(self.n_days if metric.needs_probabilities else 0)):
            improper[v] += improper_rows(metric, {v: self._arrays(i * self.n_days + t, None)})[v]
        if any(improper.values()):
            return replace(found, reason=improper_words(improper))
        return found if metric.undefined == UNDEFINED else replace(found, reason=f"{found.reason}: {metric.undefined}")

    def _shift(
        self, metric: QualityMetric, exact: pl.DataFrame | None, binned: FloatArray, rows: FloatArray
    ) -> FloatArray | None:
        """What bins take from the value of each version, in the mean over the days; None where too few are known."""
        if exact is None:
            return None
        own = exact.filter(pl.col("metric") == metric.name).join(self._named, on="day")
        known = np.full((2, self.n_days), np.nan)
        place = (own["version"] == VERSIONS[1]).cast(pl.Int64).to_numpy(), own["_day"].to_numpy().astype(np.int64)
        known[place] = own["value"].to_numpy()
        weights = weights_of_days(*rows.sum(axis=2))
        is_known = np.isfinite(known - binned).all(axis=0)
        if not weights[is_known].sum() > LEAST_KNOWN * weights.sum():
            return None
        return (known - binned)[:, is_known] @ weights[is_known] / weights[is_known].sum()


@dataclass(frozen=True)
class _Found:
    """A difference, how far bins can move it, and how far they do move the value of each version, if that is known."""

    of: SequentialDifference
    room: float = 0.0
    shift: FloatArray | None = None


def _used(metric: QualityMetric, custom: int | None, arrays: Mapping[str, FloatArray]) -> list[str]:
    """Aggregates that a metric may read: of counts of decisions or bins only those, of sums all of them."""
    if custom is not None:
        return sorted(arrays)
    kinds = {"confusion": ("confusion",), "scores": ("positives", "negatives", "score_sums")}
    wanted = [name for need in metric.needs for name in kinds.get(need, ()) if name in arrays]
    if any(need not in kinds for need in metric.needs):
        wanted += [name for name in arrays if name not in ("confusion", "positives", "negatives", "score_sums")]
    return list(dict.fromkeys(wanted))


def _rows(metric: QualityMetric, arrays: Mapping[str, FloatArray]) -> FloatArray:
    """Rows by bucket behind a metric."""
    match metric.needs[0]:
        case "confusion":
            return arrays["confusion"].sum(axis=(-2, -1))
        case "scores":
            scored = arrays["positives"].sum(axis=-1) + arrays["negatives"].sum(axis=-1)
            return scored if scored.ndim == 1 else scored.max(axis=-1)
        case needs:
            return arrays[needs]


def _told(metric: QualityMetric, found: _Found, min_rows: int) -> dict[str, Any]:
    of, status, reason = found.of, found.of.status, found.of.reason
    old, new = (0.0, 0.0) if found.shift is None else (float(each) for each in found.shift)
    n = min(of.n_champion, of.n_challenger)
    if status == "ok" and n < min_rows:
        status, reason = "insufficient_data", f"{count(n, metric.counted or 'labelled rows')}, {min_rows:,} needed"
    elif status == "ok" and not found.room <= WIDEST_BINNING:
        reason = f"most scores lie in few of the bins: they leave {found.room:.2g} of the difference open"
        status = "insufficient_data"
    room = 0.0 if found.shift is not None else found.room
    is_ok = status == "ok"
    return {
        "metric": "business_value" if metric.name == "value" else metric.name,
        "direction": metric.direction,
        "champion": None if of.champion is None else of.champion + old,
        "challenger": None if of.challenger is None else of.challenger + new,
        "difference": None if of.difference is None else of.difference + new - old,
        "ci_low": of.ci_low + new - old - room if is_ok and of.ci_low is not None else None,
        "ci_high": of.ci_high + new - old + room if is_ok and of.ci_high is not None else None,
        "p_value": None,
        "n_champion": of.n_champion,
        "n_challenger": of.n_challenger,
        "status": status,
        "reason": reason,
        "standard_error": of.standard_error if is_ok else None,
        "n_days": of.n_days,
        "effective_days": of.effective_days,
    }


def difference_of_days(total: ArrayLike, n: ArrayLike) -> SequentialDifference:
    """Difference of a mean (of calls that failed, of latencies) from sums by day alone, valid at every look.

    Parameters
    ----------
    total, n : array_like, shape (2, T)
        Sums and rows of champion and challenger.

    Returns
    -------
    SequentialDifference
        Means at the same mixture of days.

    Notes
    -----
    As `metrics_py.evaluation.confidence_sequence.sequential_difference`, with the days as the only units: what entities
    keep from day to day is not allowed for.

    References
    ----------
    Waudby-Smith et al. (2024), Annals of Statistics 52:2613.

    Examples
    --------
    >>> found = difference_of_days([[1, 2, 1, 2, 1, 2, 1], [3, 2, 3, 2, 3, 2, 3]], [[100] * 7, [100] * 7])
    >>> round(found.champion, 4), round(found.difference, 4), found.ci_low < 0 < found.ci_high
    (0.0143, 0.0114, True)
    """
    sums, rows = np.asarray(total, dtype=float), np.asarray(n, dtype=float)
    halves = np.stack([rows, rows], axis=-1) / 2

    def mean(s: FloatArray, m: FloatArray) -> FloatArray:
        return s / m

    def day(t: int) -> tuple[list[FloatArray], list[FloatArray]]:
        old, new = ([np.full(2, sums[v, t] / 2), halves[v, t]] for v in (0, 1))
        return old, new

    found = sequential_difference(mean, day, halves)
    return replace(found, n_champion=int(rows[0].sum()), n_challenger=int(rows[1].sum()))
