"""Days on which two versions ran beside each other and whose labels are due: what may be compared, and what may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import duckdb
import polars as pl

from metrics_py.quality.areas import exact_values
from metrics_py.wording import percent
from sightline.evaluation.suite import answers
from sightline.judging import maturity
from sightline.judging.marts import has_mart, read_areas, read_mart
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import settled_at

LEAST_TOGETHER = 0.5
"""Of the time in which either version answered on a day, so much both must have: else one took over from the other."""

SAME_REQUESTS = 0.9
"""Of the rows of either version, so many have an id that the other has answered, too: a shadow."""

LATE_BY, LATE_STANDARD_ERRORS = 0.05, 4.0
"""Shares of labelled rows that differ by more, and beyond chance: the labels of one version are late on that day."""

LABELS_DIFFER_BY = 0.02
TABLES = {
    "confusion": "confusion",
    "score_label_bins": "score_bins",
    "quality_sums": "sums",
    "custom_sums": "custom",
}
NEVER = "they never ran in the same windows: a difference would be one of their times"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Together:
    """Windows in which two versions can be compared.

    Attributes
    ----------
    champion, challenger : str
        Model versions.
    keys : tuple of str
        Windows that count.
    is_shadow : bool
        Both answered the same requests (prediction ids).
    left_out : mapping of str to int
        Why windows in which both have rows do not count -> how many days (weeks) it is.
    problem : str
        Why nothing can be compared though there are such windows; empty if it can.
    """

    champion: str
    challenger: str
    keys: tuple[str, ...]
    is_shadow: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    problem: str = ""


def unit(spec: MonitorSpec) -> str:
    """What counts as one: a day, or a week where windows are weeks."""
    return "week" if spec.schedule == "weekly" else "day"


def days(spec: MonitorSpec) -> pl.Expr:
    """Start of the unit of a window."""
    return pl.col("window_start").dt.truncate("1d") if spec.schedule == "hourly" else pl.col("window_start")


def activity(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Rows of the mart `service_health` of all segments together; empty without one."""
    if not has_mart(con, "service_health"):
        return pl.DataFrame(
            schema={
                "window_key": pl.String,
                "window_start": pl.Datetime("us"),
                "model_version": pl.String,
                "n_rows": pl.Int64,
                "n_errors": pl.Int64,
                "n_latency": pl.Int64,
                "sum_latency_ms": pl.Float64,
                "first_predicted_at": pl.Datetime("us"),
                "last_predicted_at": pl.Datetime("us"),
            }
        )
    return con.sql("select * from marts.service_health where segment = 'all' order by window_start, model_version").pl()


def both_ran(spec: MonitorSpec, health: pl.DataFrame, champion: str, challenger: str, *, is_shadow: bool) -> pl.Series:
    """Days on which both versions answered in the same hours, not one after the other.

    Parameters
    ----------
    spec : MonitorSpec
    health : DataFrame
        As from `activity`.
    champion, challenger : str
    is_shadow : bool
        They answered the same requests, whenever it was.

    Returns
    -------
    Series
        Starts of days (weeks).
    """
    found = health.with_columns(day=days(spec)).group_by("day", "model_version")
    spans = found.agg(first=pl.col("first_predicted_at").min(), last=pl.col("last_predicted_at").max())
    old, new = (spans.filter(model_version=name).drop("model_version") for name in (champion, challenger))
    both = old.join(new, on="day", suffix="_new").sort("day")
    if is_shadow:
        return both["day"]
    together = pl.min_horizontal("last", "last_new") - pl.max_horizontal("first", "first_new")
    either = pl.max_horizontal("last", "last_new") - pl.min_horizontal("first", "first_new")
    at_once = pl.max_horizontal(pl.col("last") - pl.col("first"), pl.col("last_new") - pl.col("first_new"))
    is_batch = at_once <= spec.window / 24
    share = together.dt.total_microseconds() / pl.max_horizontal(either.dt.total_microseconds(), 1)
    return both.filter(is_batch | (share >= LEAST_TOGETHER))["day"]


def answers_same_requests(con: duckdb.DuckDBPyConnection, health: pl.DataFrame, champion: str, challenger: str) -> bool:
    """Whether both answer the same requests: by the ids of the newest window of both."""
    own = health.filter(pl.col("model_version").is_in([champion, challenger]))
    common = own.group_by("window_key").agg(n=pl.col("model_version").n_unique()).filter(pl.col("n") == 2)
    newest = common["window_key"].max()
    if newest is None:
        return False
    found = con.sql(
        "with ids as (select distinct prediction_id, model_version from raw.inferences where window_key = $key), "
        "a as (select prediction_id from ids where model_version = $old), "
        "b as (select prediction_id from ids where model_version = $new) "
        "select (select count(*) from a semi join b using (prediction_id)), "
        "(select count(*) from a), (select count(*) from b)",
        params={"key": newest, "old": champion, "new": challenger},
    ).fetchall()
    [(same, n, m)] = found
    return same >= SAME_REQUESTS * max(n, m) > 0


def together(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    health: pl.DataFrame,
    champion: str,
    challenger: str,
    now: datetime,
) -> Together:
    """Windows in which two versions can be compared by their labels.

    Parameters
    ----------
    spec : MonitorSpec
        With learnt delays.
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    health : DataFrame
        As from `activity`, of the windows that may count.
    champion, challenger : str
        Model versions.
    now : datetime
        Decides whose labels are due.
    """
    is_shadow = answers_same_requests(con, health, champion, challenger)
    ran = both_ran(spec, health, champion, challenger, is_shadow=is_shadow)
    own = health.filter(pl.col("model_version").is_in([champion, challenger])).with_columns(day=days(spec))
    shared = own.group_by("window_key").agg(pl.col("day").first(), n=pl.col("model_version").n_unique())
    n_shared = shared.filter(pl.col("n") == 2)["day"].n_unique()
    left_out: dict[str, int] = {}
    if n_shared > len(ran):
        left_out["one took over from the other, they did not answer in the same hours"] = n_shared - len(ran)
    if not len(ran):
        return Together(champion, challenger, (), is_shadow, left_out, NEVER)
    windows = own.filter(pl.col("day").is_in(ran.implode())).select("window_key", "day").unique().sort("window_key")
    early = not_due(spec, con, windows["window_key"].to_list(), now)
    waits = windows.filter(pl.col("window_key").is_in(early))["day"].unique()
    due = windows.filter(~pl.col("day").is_in(waits.implode()))
    if len(waits):
        left_out["their labels are not all due"] = len(waits)
    if due.is_empty():
        problem = f"none of the {len(waits)} {unit(spec)}s on which both ran has all of its labels yet"
        return Together(champion, challenger, (), is_shadow, left_out, problem)
    late, problem = ([], "") if is_shadow else _late(spec, con, due, champion, challenger)
    if late:
        left_out["labels of one version are later, or fewer, than those of the other"] = len(late)
        due = due.filter(~pl.col("day").is_in(late))
    problem = problem or _unanswered(spec, con, due["window_key"].to_list(), champion, challenger)
    return Together(champion, challenger, tuple(due["window_key"]), is_shadow, left_out, problem)


def _unanswered(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], champion: str, challenger: str
) -> str:
    """Why nothing can be said where one version leaves more labelled rows unanswered; else empty."""
    if not keys or spec.model.task == "ranking" or spec.is_silence_negative:
        return ""
    judged = "quality_sums" if spec.model.task == "regression" else "confusion"
    silent: list[tuple[int, int]] = []
    for version in (champion, challenger):
        counts = [
            read_mart(con, mart, keys).filter(segment="all", model_version=version)[column].sum()
            for mart, column in ((judged, "n"), ("label_counts", "n_labelled"))
        ]
        silent.append((max(int(counts[1]) - int(counts[0]), 0), int(counts[1])))
    return answers.words(*silent) if answers.differs(silent[0], silent[1]) else ""


def not_due(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], now: datetime) -> list[str]:
    """Windows with labels still to come."""
    known = maturity.delays(spec, con, now)
    late = {*maturity.immature(spec, keys, now, known), *known.lacking()}
    return [k for k in keys if now < settled_at(spec, k) or spec.window_start(k).replace(tzinfo=None) in late]


def _late(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, due: pl.DataFrame, champion: str, challenger: str
) -> tuple[list[datetime], str]:
    """Days on which a smaller share of one version's rows has a label, and why nothing can be said at all."""
    if spec.is_silence_negative:  # a row without a label has an answer
        return [], ""
    counts = read_mart(con, "label_counts", due["window_key"].to_list())
    own = counts.filter(pl.col("segment") == "all", pl.col("model_version").is_in([champion, challenger]))
    by_day = own.join(due, on="window_key").group_by("day", "model_version")
    summed = by_day.agg(pl.col("n_labelled", "n_predictions").sum().cast(pl.Float64))
    old, new = (summed.filter(model_version=name).drop("model_version") for name in (champion, challenger))
    both = old.join(new, on="day", suffix="_new").sort("day")
    names = ("n_labelled", "n_predictions", "n_labelled_new", "n_predictions_new")
    late = [row[0] for row in both.select("day", *names).iter_rows() if _differs(row[1:], LATE_BY)]
    kept = both.filter(~pl.col("day").is_in(late))
    if 2 * len(kept) < len(both):
        total = both.select(pl.col(*names).sum()).row(0)
    elif not kept.is_empty() and _differs(kept.select(pl.col(*names).sum()).row(0), LABELS_DIFFER_BY):
        total = kept.select(pl.col(*names).sum()).row(0)
    else:
        return late, ""
    shares = f"{percent(total[0] / total[1])} of the rows of {champion}, {percent(total[2] / total[3])} of {challenger}"
    return late, f"labels are known of {shares}: who has one is part of the difference"


def _differs(counts: Sequence[float], by: float) -> bool:
    labelled, n, labelled_new, m = counts
    pooled = (labelled + labelled_new) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)) ** 0.5
    return abs(labelled / n - labelled_new / m) > max(by, LATE_STANDARD_ERRORS * error)


def tables_of(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, found: Together, segments: Sequence[str] | None = None
) -> tuple[dict[str, pl.DataFrame], pl.DataFrame | None]:
    """Aggregates of both versions, and areas of the scores themselves, as `daily_differences` takes them.

    Parameters
    ----------
    spec, con, found
        As of `together`.
    segments : sequence of str, optional
        Only these; default all.
    """
    versions = {found.champion: "champion", found.challenger: "challenger"}

    def own(frame: pl.DataFrame) -> pl.DataFrame:
        frame = frame.filter(pl.col("model_version").is_in(list(versions)))
        frame = frame if segments is None else frame.filter(pl.col("segment").is_in(list(segments)))
        return frame.with_columns(version=pl.col("model_version").replace_strict(versions), day=days(spec))

    tables = {name: own(read_mart(con, mart, found.keys)) for mart, name in TABLES.items() if has_mart(con, mart)}
    if "custom" in tables and not tables["custom"].is_empty():
        tables["custom"] = tables["custom"].with_columns(pl.col("metric").cast(pl.String))
    task = spec.model.task
    if spec.schedule == "hourly" or task not in ("binary_classification", "multiclass_classification"):
        return tables, None
    areas = own(read_areas(spec, con, found.keys))
    return tables, exact_values(areas, ("segment", "version", "day"), task)
