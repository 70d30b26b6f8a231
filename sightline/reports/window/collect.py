"""What is known of one window, from published results: the one source of all formats of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from sightline.alerts.facts import member_rows, told_facts
from sightline.alerts.listing import jsonable, operations, whole
from sightline.clock import utc_now
from sightline.dashboard.charts.heat import no_drift_up_to
from sightline.dashboard.library import Library
from sightline.dashboard.pages.drifting import verdicts
from sightline.dashboard.pages.page import Subject, primary, subject_of
from sightline.dashboard.pages.standing import maturity
from sightline.dashboard.selection import SHOWN, Selection
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.judging import board
from sightline.spec import plan
from sightline.spec.model import MonitorSpec

LEVELS = {"error": "bad", "warn": "warn", "ok": "ok"}
WORDS = {"bad": "look", "warn": "watch", "ok": "quiet", "none": "no data"}
RANKS = {"alert": 0, "warn": 1, "provisional": 2, "ok": 2, "insufficient_data": 3}
LEAST_IMPORTANCE = 0.05
"""Weight of an input that the file's `importance` does not name, of that of the most important one."""
FIELDS = (
    "metric", "column", "value", "ci_low", "ci_high", "n", "reference_value", "bound_low", "bound_high", "status",
    "reason", "maturity", "naive_value",
)  # fmt: skip
ASSETS = ("model_quality", "estimated_quality", "drift", "data_quality")


@dataclass(frozen=True)
class WindowReport:
    """The report of one window.

    Parameters
    ----------
    facts : dict
        JSON-able; docs/reports.md describes it.
    rows : DataFrame
        All judgements of the window, of all versions and segments.
    subject : Subject
        The monitor with the windows that are drawn: up to the end of this one.
    start, end : datetime
        Of the window, naive UTC.
    """

    facts: dict[str, Any]
    rows: pl.DataFrame
    subject: Subject
    start: datetime
    end: datetime

    @property
    def in_window(self) -> Subject:
        """The same with this window alone."""
        return replace(self.subject, selection=replace(self.subject.selection, start=self.start, end=self.end))


Said = Mapping[str, list[dict[str, Any]]]
"""Window key -> what every check says of it."""


def collect(
    home: Home,
    monitor: str,
    window: str | None = None,
    *,
    library: Library | None = None,
    said: Said | None = None,
) -> WindowReport:
    """Read what is published about one window.

    Parameters
    ----------
    home : Home
    monitor : str
        Its id.
    window : str, optional
        Key, as in Dagster (`2026-01-31`); default: the newest one with predictions.
    library : Library, optional
        With another masking, or kept in memory.
    said : mapping, optional
        `said_of` many windows at once, which costs little more than that of one.

    Returns
    -------
    WindowReport

    Raises
    ------
    SightlineError
        There is no such monitor or window, or nothing has been judged of it.
    """
    library = library or Library(home)
    newest = subject_of(library, monitor, Selection()).newest
    spec = library.spec(monitor)
    if newest is None:
        raise SightlineError(
            f"{monitor} has no judged window",
            where=str(home.monitor(monitor).results),
            fix="run it first: `sightline backfill`",
        )
    start = newest if window is None else _start(spec, window)
    end = start + spec.window
    subject = subject_of(library, monitor, Selection(end - SHOWN[spec.schedule], end))
    parts = {asset: _judgements(library, monitor, asset, start, end) for asset in ASSETS}
    rows = pl.concat([part.select(pl.lit(asset).alias("asset"), pl.all()) for asset, part in parts.items()])
    if rows.is_empty():
        raise SightlineError(
            f"nothing has been judged of the window {spec.key(start)} of {monitor}",
            fix=f"name one up to {spec.key(newest)}; `sightline backfill {monitor}` works up what has landed",
        )
    key = spec.key(start)
    checks = said[key] if said is not None and key in said else said_of(spec, home, [key])[key]
    incidents = _incidents(library, spec, start, end)
    failing = _operations(home, monitor, library) if start == newest else []
    whole_rows = rows.filter(pl.col("segment") == "all", pl.col("model_version") == "all")
    facts: dict[str, Any] = {
        "monitor": monitor,
        "description": spec.model.description or "",
        "owner": spec.model.owner or "",
        "task": spec.model.task,
        "window": spec.key(start),
        "window_start": start,
        "window_end": end,
        "newest_window": spec.key(newest),
        "made_at": utc_now().replace(tzinfo=None),
        "health": _health(checks, incidents, failing),
        "checks": checks,
        "operations": failing,
        "incidents": incidents,
        "quality": _quality(whole_rows, spec),
        "newest_final": _newest_final(library, spec, end),
        "drift": _drift(whole_rows.filter(asset="drift").drop("asset"), spec, checks),
        "data_quality": _data_quality(whole_rows),
        "labels": _labels(library, spec, whole_rows),
        "not_judged": _not_judged(whole_rows),
    }
    return WindowReport(jsonable(facts), rows, subject, start, end)


def _start(spec: MonitorSpec, window: str) -> datetime:
    try:
        start = spec.window_start(window)
    except ValueError:
        example = spec.key(datetime(2026, 1, 31, 5))
        raise SightlineError(f"{window!r} names no window", fix=f"write one like {example}") from None
    if spec.floor(start) != start:
        raise SightlineError(f"no window begins at {window}", fix=f"it lies in that of {spec.key(start)}")
    return start.replace(tzinfo=None)


def _judgements(library: Library, monitor: str, asset: str, start: datetime, end: datetime) -> pl.DataFrame:
    return library.judgements(monitor, start=start, end=end, asset=asset, segment=None, version=None)


def said_of(spec: MonitorSpec, home: Home, keys: Sequence[str]) -> Said:
    """What every check says of each window, those that fail first."""
    by_asset: dict[str, list[plan.PlannedCheck]] = {}
    for check in plan.checks(spec):
        by_asset.setdefault(check.asset, []).append(check)
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    for asset, checks in by_asset.items():
        for check, key, verdict in board.evaluate(spec, home.monitor(spec.id), asset, checks, list(keys)):
            about = {"asset": asset, "check": check.name, "column": check.column or "", "metric": check.metric or ""}
            found[key].append({**about, "level": verdict.level, "cause": verdict.cause, "text": verdict.text})
    order = {"error": 0, "warn": 1, "ok": 2}
    return {key: sorted(rows, key=lambda row: order[row["level"]]) for key, rows in found.items()}


def _health(
    checks: list[dict[str, Any]], incidents: list[dict[str, Any]], failing: list[dict[str, Any]]
) -> dict[str, Any]:
    """The gravest of what was found, and why."""
    levels: set[str] = {LEVELS[row["level"]] for row in checks} | ({"bad"} if failing else set[str]())
    levels |= {LEVELS.get(str(row["severity"]), "warn") for row in incidents if row["is_open"]}
    level = next((name for name in ("bad", "warn", "ok") if name in levels), "none")
    reasons = [f"{row['state']} incident since {row['since']}: {row['what']}" for row in incidents if row["is_open"]]
    reasons += [str(row["words"]) for row in failing]
    loud = [row for row in checks if row["level"] != "ok"]
    of_rules = [row for row in loud if row["cause"] == "rule" and row["asset"] != board.ALERTS]
    reasons += [f"{row['asset']}/{row['check']}: {row['text']}" for row in of_rules]
    counts = {name: sum(row["level"] == name for row in checks) for name in LEVELS}
    return {"level": level, "word": WORDS[level], "reasons": reasons, "checks": counts}


def _operations(home: Home, monitor: str, library: Library) -> list[dict[str, Any]]:
    return [fact for fact in operations(library.paths(monitor)) if fact["is_failing"]]


def _incidents(library: Library, spec: MonitorSpec, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Incidents that had begun by the end of the window and had not ended before it, those still open first."""
    found: list[dict[str, Any]] = []
    paths = library.paths(spec.id)
    for row in library.incidents(spec.id):
        ended = None if row["is_open"] else row["ended_at"] or row["closed_at"]
        if row["change_point"] >= end or row["opened_at"] > end or (ended is not None and ended < start):
            continue
        members = member_rows(row["members"])
        told = told_facts(spec, row, members)
        known = whole(spec, paths, row["incident_id"])
        kept = ("incident_id", "state", "severity", "is_open", "change_point", "opened_at", "ended_at", "owner")
        causes = [{"words": c["words"], "evidence": c["evidence"]} for c in known["causes"] or ()]
        found.append(
            {name: row[name] for name in kept}
            | {name: told[name] for name in ("what", "since", "size", "sure", "budget", "n_streams")}
            | {"members": members, "causes": causes, "looked_for_causes": known["causes"] is not None}
            | {"todo": told["todo"] if row["is_open"] else []}
        )
    return sorted(found, key=lambda row: not row["is_open"])


def _quality(rows: pl.DataFrame, spec: MonitorSpec) -> list[dict[str, Any]]:
    """Realised quality and its estimate by metric, the primary one first."""
    realised = {row["metric"]: row for row in _rows(rows.filter(asset="model_quality", column=""))}
    guessed = {row["metric"]: row for row in _rows(rows.filter(asset="estimated_quality", column=""))}
    first, wanted = primary(spec), set(plan.quality_metrics(spec))
    names = [name for name in realised if name in wanted]
    names += [n.removeprefix(plan.ESTIMATED_AS) for n in guessed if n.startswith(plan.ESTIMATED_AS)]
    found: list[dict[str, Any]] = []
    for name in sorted(dict.fromkeys(names), key=lambda name: (name != first, name)):
        row = realised.get(name)
        found.append(
            {
                "metric": name,
                "stage": _stage(row),
                "realised": row,
                "estimated": guessed.get(f"{plan.ESTIMATED_AS}{name}"),
            }
        )
    return found


def _stage(row: Mapping[str, Any] | None) -> str:
    """How far a number has come: ``final``, ``provisional`` (labels are still coming) or ``none``."""
    if row is None or row["value"] is None:
        return "none"
    return "provisional" if row["status"] == "provisional" else "final"


def _newest_final(library: Library, spec: MonitorSpec, end: datetime) -> dict[str, Any] | None:
    """The newest window up to this one whose primary metric does not change any more."""
    metric = primary(spec)
    if metric is None:
        return None
    rows = library.judgements(spec.id, metric=metric, asset="model_quality", column="", end=end)
    known = rows.filter(pl.col("value").is_not_null(), pl.col("status") != "provisional").sort("window_start")
    if known.is_empty():
        return None
    row = known.row(-1, named=True)
    return {"window": spec.key(row["window_start"]), **{name: row[name] for name in FIELDS}}


def _drift(rows: pl.DataFrame, spec: MonitorSpec, checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The deciding distance of each column, what matters most first."""
    texts = {row["column"]: row["text"] for row in checks if row["asset"] == "drift"}
    most = max(spec.importance.values(), default=0.0)
    found: list[dict[str, Any]] = []
    for row in _rows(verdicts(rows, spec)):
        limit = no_drift_up_to(row, spec.drift.method, spec.drift.tolerance)
        times = row["value"] / limit if row["value"] is not None and limit else None
        share = max(spec.importance.get(row["column"], 0.0) / most, LEAST_IMPORTANCE) if most else 1.0
        weight = None if times is None else times * share
        about = {"times_tolerance": times, "importance": spec.importance.get(row["column"]), "weight": weight}
        found.append({**row, **about, "text": texts.get(row["column"], "")})
    return sorted(found, key=lambda row: (RANKS.get(row["status"], 3), -(row["weight"] or 0.0), row["column"]))


def _data_quality(rows: pl.DataFrame) -> dict[str, Any]:
    own = rows.filter(asset="data_quality")
    volume = own.filter(metric="n_rows", column="")
    beyond = own.filter(pl.col("status").is_in(["warn", "alert"]))
    return {
        "n_rows": None if volume.is_empty() else volume["value"][0],
        "n_judged": len(own),
        "beyond": sorted(_rows(beyond), key=lambda row: (RANKS[row["status"]], row["column"], row["metric"])),
    }


def _labels(library: Library, spec: MonitorSpec, rows: pl.DataFrame) -> dict[str, Any]:
    share = rows.filter(asset="model_quality", metric="labelled_rate", column="")
    known = maturity(library, spec)
    return {**known, "labelled_rate": None if share.is_empty() else share["value"][0]}


def _not_judged(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Judgements of all rows together that have no verdict, by reason."""
    gone = rows.filter(status="insufficient_data")
    by = gone.group_by("asset", "reason").agg(n=pl.len(), columns=pl.col("column").unique().sort().head(8))
    return by.sort(["n", "asset", "reason"], descending=[True, False, False]).to_dicts()


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.select(FIELDS).to_dicts()


def headline(facts: Mapping[str, Any]) -> str:
    """One sentence: which monitor, which window, how it is."""
    health = facts["health"]
    n_open = sum(row["is_open"] for row in facts["incidents"])
    told = [f"{n_open} open incident{'s' if n_open != 1 else ''}"] if n_open else []
    counts = health["checks"]
    told += [f"{counts['error']} checks fail"] if counts["error"] else []
    told += [f"{counts['warn']} warn"] if counts["warn"] else []
    told += [f"{len(facts['operations'])} operational failures"] if facts["operations"] else []
    if not told:
        told = ["nothing needs anybody"] if health["level"] == "ok" else ["no check has a verdict"]
    return f"{facts['monitor']}, {facts['window']}: {', '.join(told)}"
