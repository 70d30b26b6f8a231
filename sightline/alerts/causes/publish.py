"""Publishing the causes of incidents: after the engine has decided, for those of which something new is known."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict

import polars as pl

from sightline.alerts.causes.case import Case, Cause
from sightline.alerts.causes.rank import rank
from sightline.alerts.causes.reading import Results, with_marts
from sightline.durable import exclusive
from sightline.home import MonitorPaths
from sightline.results.snapshots import read_snapshot, write_snapshot
from sightline.spec.model import MonitorSpec
from sightline.warehouse import connect

NAME = "incident_causes"
SCHEMA = pl.Schema(
    {
        "incident_id": pl.String,
        "rank": pl.Int64,
        "kind": pl.String,
        "words": pl.String,
        "evidence": pl.String,
        "score": pl.Float64,
        "column": pl.String,
        "segment": pl.String,
        "p_value": pl.Float64,
        "known": pl.String,
    }
)
"""`known` changes with whatever the causes rest on."""

MOST_INCIDENTS = 50
"""So many are looked into in one run, the newest first; the next run goes on."""

FORMAT = 1


def publish(spec: MonitorSpec, paths: MonitorPaths) -> pl.DataFrame:
    """Look for the causes of incidents and publish them: those that are open, and those that nobody looked into yet.

    An incident is looked into again when its members, its change point, or evidence, marks, operational facts or facts
    upstream of its windows have changed. What is published is a function of these alone, so a run that was killed is
    simply repeated.

    Parameters
    ----------
    spec : MonitorSpec
        Of the monitor.
    paths : MonitorPaths
        Its folders; without a warehouse only published results are looked at.

    Returns
    -------
    DataFrame
        Shape `SCHEMA`: all incidents, by rank within each.
    """
    with exclusive(paths.results / ".causes.lock"):
        return _publish(spec, paths)


def _publish(spec: MonitorSpec, paths: MonitorPaths) -> pl.DataFrame:
    incidents, members = read_snapshot(paths, "incidents"), read_snapshot(paths, "incident_members")
    before = read_snapshot(paths, NAME)
    if before is None or before.schema != SCHEMA:
        before = pl.DataFrame(schema=SCHEMA)
    if incidents is None or members is None:
        return before
    results = Results(spec, paths)
    known = dict(before.select("incident_id", "known").unique().iter_rows())
    due: dict[str, tuple[Case, str]] = {}
    for incident in incidents.sort("opened_at", descending=True).iter_rows(named=True):
        name = incident["incident_id"]
        if (incident["status"] != "open" and name in known) or len(due) >= MOST_INCIDENTS:
            continue
        case = results.case(incident, members)
        mark = _fingerprint(case)
        if known.get(name) != mark:
            due[name] = case, mark
    fresh = [pl.DataFrame(schema=SCHEMA)]
    if due:
        with connect(paths, read_only=True) if paths.warehouse.exists() else nullcontext() as con:
            for case, mark in due.values():
                whole = case if con is None else with_marts(spec, con, case)
                fresh.append(_frame(case.incident_id, rank(whole), mark))
    gone = ~pl.col("incident_id").is_in(incidents["incident_id"].to_list())
    kept = before.filter(~pl.col("incident_id").is_in(list(due)) & ~gone)
    rows = pl.concat([kept, *fresh]).sort("incident_id", "rank")
    if due or len(kept) < len(before) or read_snapshot(paths, NAME) is None:
        write_snapshot(paths, NAME, rows)
    return rows


def _frame(incident: str, causes: list[Cause], mark: str) -> pl.DataFrame:
    rows = [{**asdict(cause), "incident_id": incident, "known": mark} for cause in causes]
    return pl.DataFrame(rows, schema=SCHEMA)


def _fingerprint(case: Case) -> str:
    """Changes with whatever of published results a case rests on."""
    content = [
        FORMAT,
        case.began,
        case.opened,
        sorted(case.members.items()),
        case.before_windows,
        case.quality,
        str(case.evidence.select("stream", "window_start", "value").hash_rows(seed=1).sum()),
        [[item.at, item.rule, item.column] for item in case.broken],
        [[fact.at, fact.until, fact.cause, fact.words, fact.windows] for fact in case.operations],
        [[mark.at, mark.text, mark.source] for mark in case.marks if mark.at >= case.first_before],
        str(case.upstream.filter(pl.col("materialized_at") >= case.first_before).hash_rows(seed=1).sum()),
        sorted(case.importance.items()),
    ]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def of_incident(spec: MonitorSpec, paths: MonitorPaths, incident_id: str) -> list[Cause]:
    """Published causes of an incident, the likeliest first.

    Parameters
    ----------
    spec : MonitorSpec
        Of the monitor.
    paths : MonitorPaths
        `paths.results`.
    incident_id : str
        Its id.

    Returns
    -------
    list of Cause
        Of the kind ``none`` where none was found; empty where nobody has looked yet.
    """
    found = read_snapshot(paths, NAME)
    if found is None or found.schema != SCHEMA:
        return []
    own = found.filter(pl.col("incident_id") == incident_id).sort("rank").drop("incident_id", "known")
    return [Cause(**row) for row in own.iter_rows(named=True)]
