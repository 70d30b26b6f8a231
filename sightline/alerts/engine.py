"""The alert engine over a monitor's published evidence: settings from the spec, replay, snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from metrics_py.alerting import EngineConfig, Replay, replay
from sightline.home import MonitorPaths
from sightline.spec.model import MonitorSpec
from sightline.warehouse.results import read_actions, read_evidence, read_snapshot, write_snapshot

DEFAULT_WEIGHTS = {"model_quality/*": 8.0, "data_quality/*": 3.0, "drift/*": 1.0}
"""A column has many drift streams, a model few of quality: so weighted, each of the three assets holds about a third of the budget
(15 columns), and what costs money is heard first. The spec's own patterns come before these."""

STREAMS, INCIDENTS, MEMBERS = "alert_streams", "incidents", "incident_members"


def config(spec: MonitorSpec) -> EngineConfig:
    """Settings of the engine: the budget is the promise, the weights and holidays are the user's."""
    return EngineConfig.from_budget(
        spec.alerts.budget.incidents,
        spec.alerts.budget.per,
        window=spec.window,
        warmup=spec.warmup_windows,
        holidays=frozenset(spec.alerts.holidays),
        weights={**{p: weight for p, weight in spec.alerts.weights.items() if weight > 0}, **default_weights(spec)},
    )


def default_weights(spec: MonitorSpec) -> dict[str, float]:
    """Default weights of the patterns that the spec does not set itself."""
    return {pattern: weight for pattern, weight in DEFAULT_WEIGHTS.items() if pattern not in spec.alerts.weights}


def is_silenced(spec: MonitorSpec, stream: str) -> bool:
    """Does the spec give this stream the weight 0? The first pattern that matches decides."""
    for pattern, weight in spec.alerts.weights.items():
        if fnmatchcase(stream, pattern):
            return weight == 0
    return False


def run(spec: MonitorSpec, paths: MonitorPaths) -> Replay:
    """Replay all evidence with all actions, and publish streams, incidents and their members.

    The result is a function of the evidence and the actions alone: a run killed half-way, repeated or done again after a
    backfill publishes the same.
    """
    evidence = read_evidence(paths)
    silenced = [name for name in evidence["stream"].unique() if is_silenced(spec, name)]
    log = evidence.filter(~pl.col("stream").is_in(silenced)).with_columns(
        group=group_of(pl.col("asset"), pl.col("column"))
    )
    found = replay(log, config(spec), [read_action(action) for action in read_actions(paths)])
    write_snapshot(paths, STREAMS, found.streams)
    write_snapshot(paths, INCIDENTS, found.incidents)
    write_snapshot(paths, MEMBERS, found.members)
    return found


def group_of(asset: pl.Expr, column: pl.Expr) -> pl.Expr:
    """Streams of one column belong together, its data quality apart from its drift: a feed that breaks must not hide in a
    season's open incident. Streams without a column belong to their asset."""
    return pl.when(column == "").then(asset).otherwise(pl.concat_str(asset, column, separator="/"))


def read_action(action: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``actions.jsonl`` as the engine wants it."""
    at = action.get("effective_at") or action["at"]
    return {"action": action["kind"], "incident": action["incident"], "at": datetime.fromisoformat(at)}


def published_through(paths: MonitorPaths) -> datetime | None:
    """Start of the last window decided so far (naive UTC): evidence that comes later is decided after it, so that
    published decisions never change."""
    streams = read_snapshot(paths, STREAMS)
    return None if streams is None or streams.is_empty() else streams["decided_at"].max()  # type: ignore[return-value]
