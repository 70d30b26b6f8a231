"""Reading what is known of an incident from published results, the marts and the lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import numpy as np
import polars as pl

from metrics_py.wording import number
from sightline.alerts.causes.case import (
    MOST_AFTER,
    SUMS,
    VERSIONS,
    BrokenRule,
    Case,
    LabelledRows,
    Mark,
    OperationalFact,
    Quality,
    is_metric,
)
from sightline.alerts.causes.kinds import binned
from sightline.alerts.causes.operations import facts_of
from sightline.alerts.operational import read as read_operations
from sightline.collector.guard_log import read_alerts
from sightline.home import MonitorPaths
from sightline.judging.marts import ALL_VERSIONS, has_mart
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.results.marks import read_marks
from sightline.results.snapshots import read_snapshot
from sightline.results.upstream import read_upstream
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql
from sightline.spec.stretches import split
from sightline.warehouse.row_samples import drawn_labelled, drawn_scored

MOST_ROWS = 4_000
"""Labelled rows of each side."""

NEEDED = 200
Sums = dict[str, tuple[str, str, str, str, str]]
"""Outcome -> mart, condition, and expressions of n, total and squares."""


class Results:
    """Published results that all incidents of a monitor share, read once."""

    def __init__(self, spec: MonitorSpec, paths: MonitorPaths) -> None:
        self.spec, self.paths = spec, paths
        self.evidence = read_evidence(paths)
        decided = read_snapshot(paths, "alert_streams")
        self.loud = (
            self.evidence.select("stream", "window_start").clear()
            if decided is None
            else decided.filter("in_incident").select("stream", "window_start")
        )
        self.marks = [Mark(at, text, source) for at, text, source, _ in read_marks(paths).iter_rows()]
        self.upstream = read_upstream(paths)
        told_as_rules = {f"check:{c.asset}:{c.name}" for c in plan.checks(spec) if c.name != "contract"}
        self.operations = facts_of(spec, read_operations(paths), told_as_rules)

    def case(self, incident: Mapping[str, Any], members: pl.DataFrame) -> Case:
        """What published results know of an incident; marts and rows come by `with_marts`."""
        own = members.filter(pl.col("incident_id") == incident["incident_id"])
        early = own.filter(pl.col("joined_at") <= incident["opened_at"])
        rows = early if len(early) else own
        streams = {stream: evidence or 0.0 for stream, evidence in rows.select("stream", "evidence").iter_rows()}
        began, opened, window = incident["change_point"], incident["opened_at"], self.spec.window
        quality = self._quality(own, began, incident["closed_at"])
        first = min(began, quality.began) if quality else began
        last = max(opened, quality.known) if quality else opened
        near = self.evidence.filter(pl.col("window_start").is_between(first - self._before() * window, last))
        is_own = pl.col("stream") == pl.lit(f"model_quality/{quality.metric}" if quality else "")
        begins = pl.when(is_own).then(quality.began if quality else began).otherwise(began)
        calm = near.filter(pl.col("window_start") < begins).join(self.loud, on=["stream", "window_start"], how="anti")
        rows = pl.concat([calm, near.filter(pl.col("window_start") >= begins)]).sort("window_start")
        marks = [mark for mark in self.marks if mark.at < opened + self.spec.window]
        return Case(
            incident["incident_id"],
            began,
            opened,
            self.spec.window,
            self._before(),
            streams,
            rows,
            broken=self._broken(began - self._before() * window, opened + window),
            operations=self._operations(began - self._before() * window, opened),
            marks=marks,
            upstream=self.upstream.filter(pl.col("materialized_at") < opened + self.spec.window),
            importance=dict(self.spec.importance),
            quality=quality,
            personal=self.spec.columns.personal,
        )

    def _broken(self, first: datetime, end: datetime) -> list[BrokenRule]:
        """Hard rules that were broken in windows from `first` to before `end`, and alerts of row guards, by time."""
        judged = read_judgements(self.paths, start=first, end=end, segment="all")
        judged = judged.filter(pl.col("status") == "alert", pl.col("model_version") == ALL_VERSIONS)
        found: list[BrokenRule] = []
        for row in judged.sort("window_start").iter_rows(named=True):
            of = f" of {row['column']}" if row["column"] else ""
            words = f"a hard rule is broken: {row['metric'].replace('_', ' ')}{of} is {number(row['value'] or 0.0, 3)}"
            found.append(BrokenRule(row["window_start"], "rule", row["metric"], row["column"], words))
        for row in read_alerts(self.paths, first.replace(tzinfo=UTC), end.replace(tzinfo=UTC)).iter_rows(named=True):
            found.append(
                BrokenRule(row["at"], "guard", row["rule"], row["column"] or "", row["message"] or row["rule"])
            )
        return found

    def _operations(self, first: datetime, last: datetime) -> list[OperationalFact]:
        """What failed about windows from `first` to `last`, or at the time of these and the next."""
        end = last + 2 * self.spec.window
        return [
            fact
            for fact in self.operations
            if (any(first <= at <= last for at in fact.windows) if fact.windows else first <= fact.at < end)
        ]

    def _quality(self, members: pl.DataFrame, first: datetime, closed: datetime | None) -> Quality | None:
        """The metric of quality with the most evidence, and how far its windows are known."""
        own = [
            row for row in members.sort("evidence", descending=True).iter_rows(named=True) if is_metric(row["stream"])
        ]
        if not own:
            return None
        stream, began, joined = (own[0][name] for name in ("stream", "change_point", "joined_at"))
        last = joined + MOST_AFTER * self.spec.window
        end = last if closed is None else min(last, closed - self.spec.window)
        return Quality(split(stream)[0].partition("/")[2], max(began, first), joined, max(end, joined))

    def _before(self) -> int:
        return self.spec.warmup_windows


def with_marts(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, case: Case) -> Case:
    """The case with sums by segment, versions, refused rows, importance, and a way to the rows."""
    span = [case.first_before, case.opened]
    importance = case.importance or measured_importance(spec, con, case)
    can_read = spec.model.task == "binary_classification" and spec.labels is not None and spec.columns.score is not None
    why = "" if can_read else "rows are compared for two classes with a score only"
    return replace(
        case,
        sums=_sums(spec, con, span),
        versions=_versions(spec, con, span),
        rejections=_rejections(con, span),
        importance=importance,
        rows=partial(_labelled, spec, con, case) if can_read else None,
        no_rows=why,
    )


def _sums(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, span: list[datetime]) -> pl.DataFrame:
    task = spec.model.task
    wanted: Sums = {"rows": ("service_health", "true", "n_rows", "n_rows", "0")}
    wanted["failures"] = ("service_health", "true", "n_rows", "n_errors", "n_errors")
    for name in ("score", "prediction"):
        n = "n_rows - n_null - coalesce(n_not_finite, 0)"
        wanted[name] = ("column_moments", f"column_name = '@{name}' and sum_x is not null", n, "sum_x", "sum_xx")
    if spec.labels is not None and task in ("binary_classification", "regression"):
        wanted["error"] = ("quality_sums", "n_score > 0", "n_score", "sum_error", "sum_squared_error")
    if spec.labels is not None and task == "binary_classification":  # of a number from 0 to 1 the square is no larger
        wanted["loss"] = ("quality_sums", "n_score > 0", "n_score", "sum_squared_error", "sum_squared_error")
    elif spec.labels is not None and task == "regression":
        wanted["absolute_error"] = ("quality_sums", "n_score > 0", "n_score", "sum_abs_error", "sum_squared_error")
    elif spec.labels is not None and task == "multiclass_classification":  # one of a number from 0 to 2: twice it
        wanted["brier"] = ("quality_sums", "n_score > 0", "n_score", "sum_brier", "2 * sum_brier")
    frames = [pl.DataFrame(schema=SUMS)]
    for outcome, (mart, where, n, total, squares) in wanted.items():
        if not has_mart(con, mart):
            continue
        query = (
            f"select segment, window_start, sum({n})::double n, sum({total})::double total, "  # noqa: S608 (our own)
            f"sum({squares})::double squares from marts.{mart} "
            f"where window_start between ? and ? and {where} and {production_sql(spec)} group by all"
        )
        if outcome == "brier" and _has_improper(con, span):
            continue
        rows = con.sql(query, params=span).pl().filter(pl.col("n") > 0)
        column = pl.col("segment").str.extract(r"^([^=]+)=", 1).fill_null("")
        rows = rows.with_columns(outcome=pl.lit(outcome), segment_column=column).drop_nulls("total")
        if outcome == "failures" and not rows["total"].sum():
            continue
        frames.append(rows.select(pl.col(name).cast(kind) for name, kind in SUMS.items()))
    return pl.concat(frames).sort("outcome", "segment", "window_start")


def _has_improper(con: duckdb.DuckDBPyConnection, span: list[datetime]) -> bool:
    """Whether class scores do not sum to 1, which leaves the Brier score without a meaning."""
    [(has,)] = con.sql(
        "select count(*) from duckdb_columns() where schema_name = 'marts' and table_name = 'quality_sums' "
        "and column_name = 'n_improper'"  # an earlier release has not counted them
    ).fetchall()
    query = "select sum(n_improper) from marts.quality_sums where segment = 'all' and window_start between ? and ?"
    return bool(has and con.sql(query, params=span).fetchall()[0][0])


def _versions(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, span: list[datetime]) -> pl.DataFrame:
    if not has_mart(con, "service_health"):
        return pl.DataFrame(schema=VERSIONS)
    query = (
        "select model_version, window_start, sum(n_rows)::double n from marts.service_health "  # noqa: S608 (quoted)
        f"where segment = 'all' and window_start between ? and ? and {production_sql(spec)} group by all order by all"
    )
    return con.sql(query, params=span).pl().select(pl.col(name).cast(kind) for name, kind in VERSIONS.items())


def _rejections(con: duckdb.DuckDBPyConnection, span: list[datetime]) -> pl.DataFrame:
    if not has_mart(con, "rejections"):
        return pl.DataFrame(schema={"window_start": pl.Datetime("us"), "reason": pl.String, "n": pl.Float64})
    query = (
        "select window_start, concat_ws(' of ', reason, nullif(column_name, '')) as reason, sum(n)::double n "
        "from marts.rejections where segment = 'all' and window_start between ? and ? group by all order by all"
    )
    return con.sql(query, params=span).pl()


def _keys(spec: MonitorSpec, first: datetime, last: datetime) -> list[str]:
    start = spec.floor(first)
    n = int((last - start.replace(tzinfo=None)) / spec.window) + 1
    return [spec.key(start + i * spec.window) for i in range(max(n, 1))]


def _labelled(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, case: Case, began: datetime, first: datetime, last: datetime
) -> LabelledRows | None:
    """Labelled rows of the windows before `began`, and from `first` to `last`; None where either has too few."""
    before = drawn_labelled(con, spec, _keys(spec, began - case.before_windows * spec.window, began - spec.window))
    after = drawn_labelled(con, spec, _keys(spec, first, last))
    if min(len(before), len(after)) < NEEDED:
        return None
    return LabelledRows(before.head(MOST_ROWS), after.head(MOST_ROWS))


def measured_importance(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, case: Case) -> dict[str, float]:
    """Share of the score's variance that the bins of each input explain alone, in the windows before the change.

    The squared correlation ratio less what bins of chance explain (Kelley's epsilon squared). It is an association, not
    what the model would lose: without the model nothing can be permuted. Empty without a score, or with too few rows.
    """
    if spec.columns.score is None or spec.model.task != "binary_classification":
        return {}
    rows = drawn_scored(con, spec, _keys(spec, case.first_before, case.began - spec.window)).head(MOST_ROWS)
    if len(rows) < NEEDED:
        return {}
    score = rows["score"].to_numpy()
    return {
        name.removeprefix("f_"): correlation_ratio(binned(rows[name], rows[name])[0], score)
        for name in rows.columns
        if name.startswith("f_")
    }


def correlation_ratio(code: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of y that lies between the groups of a code, adjusted for their number; from 0 to 1.

    Examples
    --------
    >>> correlation_ratio(np.array([0, 0, 1, 1]), np.array([1.0, 1.0, 3.0, 3.0]))
    1.0
    """
    n = np.bincount(code)
    groups = n[n > 0]
    means = np.bincount(code, weights=y)[n > 0] / groups
    whole = float(((y - y.mean()) ** 2).sum())
    if whole == 0 or len(groups) < 2 or len(groups) >= len(y):
        return 0.0
    within = whole - float((groups * (means - y.mean()) ** 2).sum())
    adjusted = 1 - within / (len(y) - len(groups)) / (whole / (len(y) - 1))
    return float(np.clip(adjusted, 0.0, 1.0))
