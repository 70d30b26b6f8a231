"""The sensors of a monitor: look, `plan`, ask for runs."""

import os
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus

from orchestration import jobs, partitions
from orchestration.monitor import Monitor
from orchestration.sensors.estimates_to_come import taught, unestimated
from orchestration.sensors.run_requests import (
    MAX_ATTEMPTS,
    Cursor,
    Request,
    open_batches,
    plan,
)
from orchestration.sensors.stale_windows import Listing, RunState
from sightline.clock import utc_now
from sightline.lake.intake.affected_windows import label_windows_waiting, peek_windows
from sightline.lake.intake.fetching import fetch_new
from sightline.lake.intake.growing import is_being_written
from sightline.lake.intake.sources import Batch, pending
from sightline.lake.store.progress import open_progress
from sightline.lake.store.stored_spec import require_current
from sightline.results.actions import acted_at
from sightline.results.label_completion import mature_after, provisional_windows
from sightline.spec import names
from sightline.spec.flows import BACKFILL, DELAYED, FLOWS, IMMEDIATE
from sightline.spec.windows import is_key, keys_between
from sightline.warehouse.reference import reference_id

REQUEST_TAG = "sightline/request"
WAITING_LABELS = "waiting labels"
"""Stands for a batch: labels that once found no prediction, and would find one or be given up now."""
RECENT_FAILURES = 100
SENSOR_SECONDS = 10
"""Default interval of the sensors. Dagster's daemon looks every 5 s which of them are due."""

MAX_PEEKED_BATCHES = 400
"""A year of daily files at once; looking into one takes 10 ms."""
MAX_PEEKED_BYTES = 256 * 1024 * 1024
_STATES = {
    DagsterRunStatus.SUCCESS: RunState.SUCCEEDED,
    DagsterRunStatus.FAILURE: RunState.FAILED,
    DagsterRunStatus.CANCELED: RunState.FAILED,
}


def build(monitor: Monitor, flow: str, jobs_of: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor that starts runs of one flow.

    ``<id>__inferences`` for ``immediate``, ``<id>__labels`` for ``delayed``.
    """
    watched = FLOWS[flow].intake
    targets = (flow, BACKFILL) if flow == IMMEDIATE.name else (flow,)
    wanted = {names.job_name(monitor.spec, target) for target in targets}

    @dg.sensor(
        name=names.sensor_name(monitor.spec, watched),
        jobs=[job for job in jobs_of if job.name in wanted],
        minimum_interval_seconds=int(os.environ.get("SIGHTLINE_SENSOR_SECONDS", SENSOR_SECONDS)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"New {watched}, closed windows and a new reference start runs of just the affected windows.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        require_current(monitor.spec, monitor.paths)
        cursor = Cursor.load(context.cursor).of(monitor.spec)
        problem = fetched(monitor, flow)
        if problem:
            context.log.error(problem)
        decided = plan(monitor.current_spec, flow, cursor, look(monitor, flow, cursor, context.instance))
        requests = [run_request(monitor, flow, request) for request in decided.requests]
        reason = f"{problem}\n{decided.reason}" if problem else decided.reason
        return dg.SensorResult(
            run_requests=requests, cursor=decided.cursor.dump(), skip_reason=None if requests else reason
        )

    return watch


def fetched(monitor: Monitor, flow: str) -> str:
    """Fetch what is new in the flow's source, and why that did not go; empty if it did, or there is none."""
    found = fetch_new(monitor.spec, monitor.paths, FLOWS[flow].intake, monitor.home, waits=False)
    return str(found.problem) if found is not None and found.problem else ""


def run_request(monitor: Monitor, flow: str, request: Request) -> dg.RunRequest:
    """A run of the flow over the request's windows.

    Without new data it leaves the intake asset alone, so that this asset's freshness stays the age of the data.
    """
    return dg.RunRequest(
        run_key=request.run_key,
        job_name=names.job_name(monitor.spec, BACKFILL if request.is_history else flow),
        tags={REQUEST_TAG: request.run_key, **partitions.run_tags(request.first, request.last)},
        asset_selection=None if request.has_data else jobs.asset_keys(monitor, flow, with_intake=False),
    )


def look(monitor: Monitor, flow: str, cursor: Cursor, instance: dg.DagsterInstance) -> Listing:
    """What there is to see: waiting batches (a bounded number of them), the ledger, and the runs asked for."""
    spec, paths, watched = monitor.spec, monitor.paths, FLOWS[flow].intake
    runs = run_states(instance, [request.run_key for request in cursor.open])
    under_way = open_batches(cursor, runs)
    landed = [batch for batch in pending(spec, paths, watched, monitor.home) if batch.batch_id not in under_way]
    being_written = [batch.path for batch in landed if is_being_written(batch, monitor.home)]
    waiting = [batch for batch in landed if batch.path not in being_written]
    peeked = {batch.batch_id: frozenset(peek_windows(spec, paths, batch, monitor.home)) for batch in bounded(waiting)}
    if flow == DELAYED.name and (matched := label_windows_waiting(monitor.current_spec, paths, utc_now())):
        peeked[WAITING_LABELS] = frozenset(matched)
    with open_progress(paths.ledger) as progress:
        done = progress.done(flow)
        inferences = progress.changes(["inferences"])
        newest = max((key for key in inferences if is_key(spec, key)), default=None)
        fed_at = progress.first_received("inferences", newest) if newest else None
        changes = inferences
        if flow == DELAYED.name:
            changes = {key: position for key, position in inferences.items() if key in done}
            for key, position in progress.changes(["labels"]).items():
                changes[key] = max(position, changes.get(key, 0))
        judged = progress.done(IMMEDIATE.name)
        since = taught(monitor, progress, utc_now()) if flow == IMMEDIATE.name else None
    never_judged = {key for key in inferences if key not in judged} if flow == DELAYED.name else set()
    return Listing(
        pending=peeked,
        changes=changes,
        done=done,
        with_data=inferences,
        reference=reference_id(paths, with_label=flow == DELAYED.name),
        runs=runs,
        now=utc_now(),
        fed_at=fed_at,
        inputs_wait=never_judged - given_up_windows(monitor, instance) if never_judged else (),
        mature_after=mature_after(paths, spec.window) if flow == DELAYED.name else None,
        acted_at=acted_at(paths),
        provisional=provisional_keys(monitor) if flow == DELAYED.name else (),
        taught=since,
        unestimated=unestimated(monitor, judged, since),
        being_written=being_written,
    )


def provisional_keys(monitor: Monitor) -> set[str]:
    """Windows whose latest judgement is provisional."""
    return {monitor.spec.key(start.replace(tzinfo=UTC)) for start in provisional_windows(monitor.paths)}


def given_up_windows(monitor: Monitor, instance: dg.DagsterInstance) -> set[str]:
    """Windows whose run of the immediate flow failed as often as it is tried: labels need not wait for them."""
    tags = {"sightline/monitor": monitor.id}
    failed = instance.get_runs(dg.RunsFilter(tags=tags, statuses=[DagsterRunStatus.FAILURE]), limit=RECENT_FAILURES)
    found: set[str] = set()
    for run in failed:
        parts = run.tags.get(REQUEST_TAG, "").split("|")
        if parts[1:2] != [IMMEDIATE.name] or not parts[-1].endswith(f"#{MAX_ATTEMPTS}"):
            continue
        if is_key(monitor.spec, parts[2]) and is_key(monitor.spec, parts[3]):
            found.update(keys_between(monitor.spec, parts[2], parts[3]))
    return found


def bounded(batches: Iterable[Batch]) -> list[Batch]:
    """The first batches, up to a number and a size that one tick can look into; always at least one."""
    chosen: list[Batch] = []
    size = 0
    for batch in batches:
        size += batch.size
        if chosen and (len(chosen) >= MAX_PEEKED_BATCHES or size > MAX_PEEKED_BYTES):
            break
        chosen.append(batch)
    return chosen


def run_states(instance: dg.DagsterInstance, run_keys: list[str]) -> dict[str, RunState]:
    """State of the runs that were asked for, by run key; keys without a run are left out."""
    if not run_keys:
        return {}
    runs = instance.get_runs(dg.RunsFilter(tags={REQUEST_TAG: run_keys}))
    return {run.tags[REQUEST_TAG]: _STATES.get(run.status, RunState.ACTIVE) for run in reversed(runs)}
