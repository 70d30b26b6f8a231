"""A version that answers in production beside another one: a verdict that holds at every look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from metrics_py.evaluation.confidence_sequence import SequentialDifference, days_needed
from metrics_py.evaluation.daily_differences import DAILY_SCHEMA, daily_differences
from metrics_py.evaluation.verdict import Criterion, EvaluationVerdict
from metrics_py.wording import count
from sightline.errors import SightlineError, nearest
from sightline.evaluation.live_suite import live_suite
from sightline.evaluation.run import verdict_of
from sightline.evaluation.suite.findings import Section, judged
from sightline.evaluation.suite.training import read_training
from sightline.evaluation.together import NEVER, Together, activity, both_ran, tables_of, together, unit
from sightline.evaluation.traffic import routed
from sightline.home import MonitorPaths
from sightline.results.learnt_delays import with_learnt_delays
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production
from sightline.warehouse.connection import connect

EVERY_LOOK = "intervals hold at every look: a verdict may be read daily, and acted on as soon as it is given"


@dataclass(frozen=True)
class LiveEvaluation:
    """What was found of a version that runs beside another one.

    Attributes
    ----------
    monitor, version, champion : str
        Of which monitor, which version, against which; the champion is empty where no other version was seen.
    together : Together
        Windows that count, and why others do not.
    table : DataFrame
        `metrics_py.evaluation.daily_differences.DAILY_SCHEMA`.
    verdict : EvaluationVerdict
    primary : str
        The metric that decides.
    unit : str
        ``day`` or ``week``.
    more_days : int or None
        Where it cannot be told: further days (weeks) after which it will be in 80 % of cases if the differences stay
        what they are; None where no number is known.
    notes : tuple of str
        What should be known.
    sections : tuple of Section
        What else was looked at.
    """

    monitor: str
    version: str
    champion: str
    together: Together
    table: pl.DataFrame
    verdict: EvaluationVerdict
    primary: str
    unit: str
    more_days: int | None
    notes: tuple[str, ...]
    sections: tuple[Section, ...] = ()

    @property
    def n_days(self) -> int:
        """Days (weeks) that count."""
        own = self.table.filter(segment="all", metric=self.primary)["n_days"]
        return int(own[0]) if len(own) else 0


def evaluate_live(
    spec: MonitorSpec,
    paths: MonitorPaths,
    version: str,
    *,
    now: datetime,
    champion: str | None = None,
    training: Path | None = None,
    with_sections: bool = True,
) -> LiveEvaluation:
    """Judge a version that answers in production (shadow, canary, A/B) against one that ran on the same days.

    Parameters
    ----------
    spec, paths
        The monitor.
    version : str
        The challenger, as in the log.
    now : datetime
        Decides whose labels are due.
    champion : str, optional
        Default: of the versions that ran beside it, the one with the most rows on these days.
    training : Path, optional
        What the challenger was trained on; it needs no score.
    with_sections : bool, default True
        Look at rows, too (`sightline.evaluation.live_suite`). Without, limits of fairness do not join the verdict.

    Returns
    -------
    LiveEvaluation
        ``cannot_tell`` where they never ran on the same days, answer other kinds of rows, or too few days are due.

    Raises
    ------
    SightlineError
        No version is logged, there is no such version, or the monitor has no metric that decides.

    Notes
    -----
    By the aggregates of windows whose labels are due: see `metrics_py.evaluation.confidence_sequence`.
    """
    spec = with_learnt_delays(spec, paths)
    primary = plan.primary_metric(spec)
    if spec.labels is None or primary is None:
        fix = "declare `labels`, and a score or prediction"
        raise SightlineError(f"{spec.id} has no metric of quality, so no version can be judged", fix=fix)
    with connect(paths, read_only=True) as con:
        health = activity(con)
        check_versions(spec, health, [version, *([champion] if champion is not None else [])])
        other = champion or beside(spec, con, health, version)
        if other is None:
            return _untold(spec, version, "", Together("", version, (), problem=NEVER), primary)
        found = together(spec, con, health, other, version, now)
        mix = routed(spec, con, found)
        tables, exact = tables_of(spec, con, found) if found.keys else ({}, None)
    if found.problem or not found.keys:
        return _untold(spec, version, other, found, primary)
    table = differences_of(spec, tables, exact)
    if table.filter(segment="all", metric=primary).is_empty():
        return _untold(spec, version, other, replace(found, problem=f"no row has what {primary} needs"), primary)
    verdict, more = _with_days(verdict_of(spec, table, primary), table, primary, unit(spec))
    notes = (*_notes(found, unit(spec)), *_left_out(spec))
    sections: tuple[Section, ...] = ()
    if with_sections:
        looked = table.filter(segment="all", metric=primary).row(0, named=True)
        sizes = {name: looked[name] for name in ("n_days", "effective_days")}
        trained = read_training(spec, training) if training is not None else None
        sections, told = live_suite(spec, paths, found, training=trained, **sizes)
        verdict, notes = judged(verdict, sections), (*notes, *told)
        more = more if verdict.outcome == "cannot_tell" else None
    if mix:
        problem = (
            f"they do not answer the same kind of rows ({'; '.join(mix[:3])}): compare them on rows chosen by chance"
        )
        verdict, more = EvaluationVerdict("cannot_tell", verdict.criteria, None, problem), None
    return LiveEvaluation(spec.id, version, other, found, table, verdict, primary, unit(spec), more, notes, sections)


def check_versions(spec: MonitorSpec, health: pl.DataFrame, versions: Sequence[str]) -> None:
    """Refuse versions that the log does not have, and one that is compared with itself.

    Raises
    ------
    SightlineError
    """
    if spec.columns.model_version is None:
        fix = "name the column under columns.model_version"
        raise SightlineError(f"{spec.id} logs no model version, so versions cannot be told apart", fix=fix)
    known = health.group_by("model_version").agg(at=pl.col("first_predicted_at").min()).sort("at", "model_version")
    names: list[str] = known["model_version"].to_list()
    for name in versions:
        if name not in names:
            what = f"the log has no row of the version {name!r}"
            raise SightlineError(what, fix=nearest(name, names) if names else f"sightline backfill {spec.id}")
    if len(set(versions)) < len(versions):
        raise SightlineError(f"{versions[0]!r} is compared with itself", fix="name two versions")


def beside(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, health: pl.DataFrame, version: str) -> str | None:
    """The version that ran beside another one: of several, that with the most rows in production."""
    own = health.filter(model_version=version)["window_key"].implode()
    others = health.filter(pl.col("window_key").is_in(own), pl.col("model_version") != version)
    own_rows = pl.col("n_rows").filter(is_production(spec)).sum()
    counted = others.group_by("model_version").agg(
        production=own_rows, n=pl.col("n_rows").sum(), at=pl.col("window_start").min()
    )
    ordered = counted.sort("production", "n", "at", "model_version", descending=[True, True, False, False])
    names: list[str] = ordered["model_version"].to_list()
    for name in names:
        if len(both_ran(spec, health, name, version, is_shadow=False)):
            return name
    return names[0] if names else _before(health, version)


def _before(health: pl.DataFrame, version: str) -> str | None:
    """The version that was the last to answer before another one did, else any."""
    seen = health.group_by("model_version").agg(at=pl.col("first_predicted_at").min()).sort("at")
    at = seen.filter(model_version=version)["at"][0]
    others = seen.filter(pl.col("model_version") != version)
    earlier = others.filter(pl.col("at") <= at)["model_version"]
    return earlier[-1] if len(earlier) else (others["model_version"][0] if len(others) else None)


def differences_of(spec: MonitorSpec, tables: Mapping[str, pl.DataFrame], exact: pl.DataFrame | None) -> pl.DataFrame:
    """Differences of the metrics of quality that are watched, and of the business value.

    Parameters
    ----------
    spec : MonitorSpec
    tables, exact
        As from `sightline.evaluation.together.tables_of`.
    """
    found = daily_differences(
        tables,
        task=spec.model.task,
        positive=spec.positive_class,
        min_rows=spec.quality.min_labels,
        metrics={*plan.quality_metrics(spec), "business_value", "value"},
        exact=exact,
    )
    return found if unit(spec) == "day" else found.with_columns(pl.col("reason").str.replace_all("days", "weeks"))


def _untold(spec: MonitorSpec, version: str, champion: str, found: Together, primary: str) -> LiveEvaluation:
    verdict = EvaluationVerdict("cannot_tell", (), None, found.problem)
    notes = _notes(found, unit(spec))
    empty = pl.DataFrame(schema=DAILY_SCHEMA)
    return LiveEvaluation(spec.id, version, champion, found, empty, verdict, primary, unit(spec), None, notes)


def _with_days(
    verdict: EvaluationVerdict, table: pl.DataFrame, primary: str, of: str
) -> tuple[EvaluationVerdict, int | None]:
    """The verdict with days in the place of rows: a sequence that is looked at daily needs more than one look does."""
    needed: list[int | None] = []
    criteria: list[Criterion] = []
    for c in verdict.criteria:
        if c.outcome != "cannot_tell" or c.found.status != "ok":
            criteria.append(c)
            needed += [None] if c.outcome == "cannot_tell" else []
            continue
        more, rows = _needed(c, table, primary)
        needed.append(more)
        told = "its difference lies at the margin: no number of rows would tell"
        if more is not None:
            many = f"{more:,} more {of}{'s' if more > 1 else ''} (about {count(rows or 0, 'labelled rows')})"
            told = f"{many} needed, if the difference stays {c.found.difference:+.3g}"
        criteria.append(replace(c, more_rows=rows, reason=told))
    if verdict.outcome != "cannot_tell":
        return replace(verdict, criteria=tuple(criteria)), None
    open_still = [c for c in criteria if c.outcome == "cannot_tell"]
    more_days = None if None in needed else max((n for n in needed if n is not None), default=None)
    rows_needed = [c.more_rows for c in open_still]
    more_rows = None if None in rows_needed else max((n for n in rows_needed if n is not None), default=None)
    reason = "; ".join(f"{c.name}: {c.reason}" for c in open_still[:3])
    rest = f"; and {len(open_still) - 3} more" if len(open_still) > 3 else ""
    return EvaluationVerdict("cannot_tell", tuple(criteria), more_rows, f"{reason}{rest}"), more_days


def _needed(c: Criterion, table: pl.DataFrame, primary: str) -> tuple[int | None, int | None]:
    """Further days, and labelled rows of the version with fewer, after which a criterion is decided."""
    metric, _, segment = c.name.partition(" | ")
    own = table.filter(metric=metric if segment else c.name, segment=segment or "all")
    row: dict[str, Any] = own.row(0, named=True)
    names = [each.name for each in fields(SequentialDifference)]
    found = SequentialDifference(**{name: row[name] for name in names})
    gain = row["difference"] if c.direction == "higher_is_better" else -row["difference"]
    days = days_needed(found, abs(gain + c.margin))
    fewest = min(row["n_champion"], row["n_challenger"])
    return days, None if days is None else max(ceil(days * fewest / row["n_days"]), 1)


def _notes(found: Together, of: str) -> tuple[str, ...]:
    told = [f"{n:,} {of}{'s' if n > 1 else ''} left out: {why}" for why, n in found.left_out.items()]
    if found.keys:
        how = "both answered the same requests" if found.is_shadow else "each answered its own part of the rows"
        told.insert(0, f"{how}, windows {found.keys[0]} to {found.keys[-1]}; every {of} weighs the same for both")
        told.insert(1, EVERY_LOOK)
    return tuple(told)


def _left_out(spec: MonitorSpec) -> list[str]:
    own = [metric.name for metric in spec.metrics if metric.needs_label and metric.python is not None]
    told = [f"Python metrics are no criteria, they need all rows at once: {', '.join(own)}"] if own else []
    if spec.columns.weight:
        told.append(f"every row counts once: columns.weight {spec.columns.weight!r} weighs nothing")
    return told
