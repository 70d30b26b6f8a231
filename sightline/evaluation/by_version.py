"""The model versions of the log side by side: traffic, service, quality, and what tells each from the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import polars as pl

from metrics_py.evaluation.confidence_sequence import SequentialDifference
from metrics_py.evaluation.daily_differences import DAILY_SCHEMA, difference_of_days
from metrics_py.quality.score_histograms import N_SCORE_BINS
from metrics_py.quality.table import quality_table
from sightline.errors import SightlineError
from sightline.evaluation.live import check_versions, differences_of
from sightline.evaluation.together import (
    NEVER,
    TABLES,
    Together,
    activity,
    answers_same_requests,
    both_ran,
    days,
    not_due,
    tables_of,
    together,
    unit,
)
from sightline.evaluation.traffic import Moved, moved_columns, routed
from sightline.home import MonitorPaths
from sightline.judging.marts import has_mart
from sightline.judging.service import LATENCY_STEP
from sightline.results.learnt_delays import with_learnt_delays
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import shadow_until
from sightline.warehouse.connection import connect

MOST_PAIRS, MOST_MOVED = 8, 5
QUANTILE = 0.95
VALUES = ("metric", "value", "ci_low", "ci_high", "n", "status", "reason")


@dataclass(frozen=True)
class VersionSeen:
    """One version of the log.

    Attributes
    ----------
    version : str
    role : str
        ``production``, ``shadow``, or ``shadow until`` a window.
    first_at, last_at : datetime
        Its first and last prediction (naive UTC).
    n_rows, n_windows : int
    share : float
        Of the rows of all versions.
    error_rate, latency_mean_ms, latency_p95_ms : float or None
        None where the log says nothing of it.
    quality : list of dict
        ``metric, value, ci_low, ci_high, n, status, reason``, of its own windows whose labels are due.
    n_due : int
        So many windows.
    """

    version: str
    role: str
    first_at: datetime
    last_at: datetime
    n_rows: int
    n_windows: int
    share: float
    error_rate: float | None
    latency_mean_ms: float | None
    latency_p95_ms: float | None
    quality: list[dict[str, Any]]
    n_due: int


@dataclass(frozen=True)
class VersionPair:
    """A version against an earlier one, on the days on which both ran.

    Attributes
    ----------
    version, against : str
    n_days : int
        Days (weeks) on which both ran.
    is_shadow : bool
        Both answered the same requests.
    quality : DataFrame
        `DAILY_SCHEMA`: of days whose labels are due; the champion is the earlier version.
    service : dict of str to SequentialDifference
        ``error_rate``, ``latency_mean_ms``.
    moved : list of Moved
        Columns whose values differ most.
    routed : list of str
        Inputs of which they answer other shares, in words: quality then differs by that, too.
    problem : str
        Why quality cannot be compared; empty if it can.
    notes : list of str
    """

    version: str
    against: str
    n_days: int
    is_shadow: bool
    quality: pl.DataFrame
    service: Mapping[str, SequentialDifference]
    moved: list[Moved]
    routed: list[str]
    problem: str
    notes: list[str]


@dataclass(frozen=True)
class Versions:
    """All versions of the log in a range of windows.

    Attributes
    ----------
    monitor : str
    windows : tuple of str
        First and last window with a row.
    primary : str or None
        The metric that matters most.
    unit : str
        ``day`` or ``week``.
    seen : list of VersionSeen
        The first one first.
    pairs : list of VersionPair
        The newest version first.
    """

    monitor: str
    windows: tuple[str, str]
    primary: str | None
    unit: str
    seen: list[VersionSeen]
    pairs: list[VersionPair]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `sightline versions --format json` prints them."""
        pairs: list[dict[str, Any]] = []
        for pair in self.pairs:
            service = {name: asdict(found) for name, found in pair.service.items()}
            own = pair.quality.drop("p_value").to_dicts()
            pairs.append({**vars(pair), "quality": own, "service": service, "moved": [asdict(m) for m in pair.moved]})
        return {**vars(self), "seen": [asdict(each) for each in self.seen], "pairs": pairs}


def versions(
    spec: MonitorSpec,
    paths: MonitorPaths,
    *,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    against: str | None = None,
) -> Versions:
    """Compare the model versions of the log.

    Parameters
    ----------
    spec, paths
        The monitor.
    now : datetime
        Decides whose labels are due.
    start, end : datetime, optional
        Windows that begin from `start` on and before `end`; default all.
    against : str, optional
        Compare every other version with this one; default: each with the one that appeared before it.

    Returns
    -------
    Versions
        From the aggregates by version; differences by the days on which both ran, with intervals that hold at every
        look (`metrics_py.evaluation.confidence_sequence`).

    Raises
    ------
    SightlineError
        No version is logged, there is no row, or no such version.
    """
    spec = with_learnt_delays(spec, paths)
    with connect(paths, read_only=True) as con:
        health = activity(con)
        check_versions(spec, health, [] if against is None else [against])
        if start is not None:
            health = health.filter(pl.col("window_start") >= start.astimezone(UTC).replace(tzinfo=None))
        if end is not None:
            health = health.filter(pl.col("window_start") < end.astimezone(UTC).replace(tzinfo=None))
        if health.is_empty():
            fix = f"widen --from and --to, or work up the log: sightline backfill {spec.id}"
            raise SightlineError(f"{spec.id} has no row of any version in these windows", fix=fix)
        seen = _seen(spec, con, health, now)
        names = [each.version for each in seen]
        if against is not None and against not in names:
            raise SightlineError(f"{against!r} has no row in these windows", fix="widen --from and --to")
        if against is None:
            wanted = list(zip(names[1:], names[:-1], strict=True))
        else:
            wanted = [(name, against) for name in names if name != against]
        pairs = [_pair(spec, con, health, new, old, now) for new, old in wanted[::-1][:MOST_PAIRS]]
    keys = health["window_key"]
    primary = plan.primary_metric(spec) if spec.labels is not None else None
    return Versions(spec.id, (keys[0], keys[-1]), primary, unit(spec), seen, pairs)


# ---------------------------------------------------------------- one version


def _seen(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, health: pl.DataFrame, now: datetime) -> list[VersionSeen]:
    keys = health["window_key"].unique().sort().to_list()
    p95 = _p95(con, keys)
    waits = set(not_due(spec, con, keys, now)) if spec.labels is not None else set(keys)
    due = [key for key in keys if key not in waits]
    quality = _quality(spec, con, due)
    shadows = shadow_until(spec)
    is_failing = spec.columns.status is not None or bool(health["n_errors"].sum())
    total = int(health["n_rows"].sum())
    found: list[VersionSeen] = []
    by_version = health.group_by("model_version").agg(
        first=pl.col("first_predicted_at").min(),
        last=pl.col("last_predicted_at").max(),
        windows=pl.col("window_key"),
        **{name: pl.col(name).sum() for name in ("n_rows", "n_errors", "n_latency", "sum_latency_ms")},
    )
    for row in by_version.sort("first", "model_version").iter_rows(named=True):
        name, n = row["model_version"], row["n_rows"]
        own = quality.filter(model_version=name).select(VALUES).to_dicts() if len(quality) else []
        found.append(
            VersionSeen(
                version=name,
                role=_role(shadows, name),
                first_at=row["first"],
                last_at=row["last"],
                n_rows=n,
                n_windows=len(row["windows"]),
                share=n / total,
                error_rate=row["n_errors"] / n if is_failing else None,
                latency_mean_ms=row["sum_latency_ms"] / row["n_latency"] if row["n_latency"] else None,
                latency_p95_ms=p95.get(name),
                quality=own,
                n_due=len(set(row["windows"]) & set(due)),
            )
        )
    return found


def _role(shadows: Mapping[str, str | None], version: str) -> str:
    if version not in shadows:
        return "production"
    until = shadows[version]
    return "shadow" if until is None else f"shadow until {until}"


def _p95(con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> dict[str, float]:
    """95th percentile of the latency, exact to 1 %."""
    if not has_mart(con, "latency_bins"):
        return {}
    bins = con.sql(
        "select model_version, bin, sum(n)::bigint as n from marts.latency_bins where segment = 'all' "
        "and window_key in (select unnest(?::varchar[])) group by all order by model_version, bin",
        params=[list(keys)],
    ).pl()
    running = bins.with_columns(
        rank=pl.col("n").cum_sum().over("model_version"), total=pl.col("n").sum().over("model_version")
    )
    reached = running.filter(pl.col("rank") >= (QUANTILE * pl.col("total")).ceil())
    return {
        name: LATENCY_STEP ** (at - 0.5)
        for name, at in reached.group_by("model_version").agg(pl.col("bin").min()).iter_rows()
    }


def _quality(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """Metrics of each version over all of its windows together; empty where nothing is known."""
    tables = {TABLES[mart]: _summed(con, mart, keys) for mart in TABLES if has_mart(con, mart)} if keys else {}
    present = {name: table for name, table in tables.items() if not table.is_empty()}
    if not present:
        return pl.DataFrame()
    found = quality_table(
        present.get("confusion"),
        present.get("score_bins"),
        present.get("sums"),
        present.get("custom"),
        task=spec.model.task,
        positive=spec.positive_class,
        min_labels=spec.quality.min_labels,
        by=["model_version"],
    )
    return found.filter(pl.col("metric").is_in(plan.quality_metrics(spec)))


def _summed(con: duckdb.DuckDBPyConnection, mart: str, keys: Sequence[str]) -> pl.DataFrame:
    """A mart of the whole, summed over windows."""
    names = [str(row[0]) for row in con.sql(f"describe marts.{mart}").fetchall()]
    of_keys = [name for name in names if name not in ("window_key", "window_start", "segment")]
    amounts = [name for name in of_keys if name == "n" or name.startswith(("n_", "sum_"))]
    kept = [name for name in of_keys if name not in amounts]
    values = {name: f'"{name}"' for name in amounts}
    if "score_bin" in kept and "sum_score" in values:  # null in rows of an earlier release
        values["sum_score"] = f"coalesce(sum_score, n * (score_bin + 0.5) / {N_SCORE_BINS})"
    summed = ", ".join(f'sum({value})::double as "{name}"' for name, value in values.items())
    grouped = ", ".join(f'"{name}"' for name in kept)
    query = (
        f"select {grouped}, {summed} from marts.{mart} where segment = 'all' "  # noqa: S608 (names of columns)
        "and window_key in (select unnest(?::varchar[])) group by all"
    )
    return con.sql(query, params=[list(keys)]).pl()


# ---------------------------------------------------------------- two versions


def _pair(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, health: pl.DataFrame, new: str, old: str, now: datetime
) -> VersionPair:
    is_shadow = answers_same_requests(con, health, old, new)
    ran = both_ran(spec, health, old, new, is_shadow=is_shadow)
    own = health.filter(pl.col("model_version").is_in([old, new])).with_columns(day=days(spec))
    own = own.filter(pl.col("day").is_in(ran.implode()))
    keys = tuple(own["window_key"].unique().sort())
    everything = Together(old, new, keys, is_shadow)
    quality, problem, notes = pl.DataFrame(schema=DAILY_SCHEMA), "" if keys else NEVER, list[str]()
    if keys and spec.labels is not None:
        found = together(spec, con, health, old, new, now)
        notes = [f"{n:,} {unit(spec)}{'s' if n > 1 else ''} left out: {why}" for why, n in found.left_out.items()]
        problem = found.problem
        if found.keys and not problem:
            quality = differences_of(spec, *tables_of(spec, con, found, ["all"]))
    moved = moved_columns(spec, con, everything)[:MOST_MOVED]
    mix = routed(spec, con, everything)
    service = _service(spec, own, old, new)
    return VersionPair(new, old, len(ran), is_shadow, quality, service, moved, mix, problem, notes)


def _service(spec: MonitorSpec, own: pl.DataFrame, old: str, new: str) -> dict[str, SequentialDifference]:
    """Differences of the failures and the mean latency by day."""
    wanted = {"error_rate": ("n_errors", "n_rows"), "latency_mean_ms": ("sum_latency_ms", "n_latency")}
    found: dict[str, SequentialDifference] = {}
    for name, (total, n) in wanted.items():
        summed = own.group_by("day", "model_version").agg(pl.col(total, n).sum())
        sides = [summed.filter(model_version=v).select("day", x=total, n=n) for v in (old, new)]
        both = sides[0].join(sides[1], on="day", suffix="_new").sort("day")
        is_told = both["x"].sum() or both["x_new"].sum() or (name == "error_rate" and spec.columns.status)
        if both.is_empty() or not is_told:
            continue
        of = [both.select(c, f"{c}_new").to_numpy().T.astype(np.float64) for c in ("x", "n")]
        told = difference_of_days(*of)
        found[name] = replace(told, reason=told.reason and told.reason.replace("days", f"{unit(spec)}s"))
    return found
