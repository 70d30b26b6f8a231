"""Work up a range of windows at once, in this process, against the real Dagster instance.

For history, backfills and the demo.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from orchestration import jobs, partitions
from orchestration.dagster_private.in_process_run import start_run
from orchestration.monitor import Monitor
from orchestration.monitor_definitions import models_of, monitor_definitions
from orchestration.resources import IS_QUIET, ensure_manifest, environment
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.lake.store.progress import open_progress
from sightline.spec import names
from sightline.spec.flows import BACKFILL, DELAYED, flows_of
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import contiguous
from sightline.warehouse.reference import reference_id

OnProgress = Callable[[str, int, int], None]
"""Called when a step starts: its name, how many are done, how many there are; at the end with ``done``."""


def materialize_range(
    home: Home,
    spec: MonitorSpec,
    start_key: str,
    end_key: str,
    flows: Sequence[str] | None = None,
    on_progress: OnProgress | None = None,
) -> list[str]:
    """Materialize all assets and checks of a monitor for a range of windows; the run stays visible in the UI.

    Intake comes first, then the aggregates and judgements of each flow, then the alert engine over all of them at once,
    and last the checks. Earlier windows whose aggregates knew no reference yet are worked up too once it is frozen. The
    sensors see all these windows as done.

    Parameters
    ----------
    home : Home
        `home.dagster` is the Dagster instance (made if absent).
    spec : MonitorSpec
    start_key, end_key : str
        First and last window, both included.
    flows : sequence of {'immediate', 'delayed'}, optional
        Default: all the monitor has.
    on_progress : callable, optional
        See `OnProgress`.

    Returns
    -------
    list of str
        Ids of the runs.

    Raises
    ------
    SightlineError
        A run failed; its log is in the UI.
    """
    quiet = IS_QUIET.set(True)
    try:
        return _materialize(home, spec, start_key, end_key, tuple(flows or flows_of(spec)), on_progress)
    finally:
        IS_QUIET.reset(quiet)


def _materialize(
    home: Home, spec: MonitorSpec, start_key: str, end_key: str, wanted: tuple[str, ...], on_progress: OnProgress | None
) -> list[str]:
    """The runs of `materialize_range`."""
    manifest = ensure_manifest(home)
    monitor = Monitor(spec, home, models_of(manifest))
    defs = monitor_definitions(home, spec, manifest)
    job_def = defs.resolve_job_def(names.job_name(spec, BACKFILL))
    keys = {key for flow in wanted for key in jobs.asset_keys(monitor, flow)}
    run_ids = []
    with dagster_instance(home) as instance:
        run_ids.append(_run(job_def, instance, keys, start_key, end_key, on_progress))
        for first, last in _outdated(monitor, wanted, before=start_key):
            run_ids.append(_run(job_def, instance, keys, first, last, on_progress))
    return run_ids


def _outdated(monitor: Monitor, flows: Sequence[str], before: str) -> list[tuple[str, str]]:
    """Ranges of earlier windows that were binned by another reference than the current one."""
    found: set[str] = set()
    with open_progress(monitor.paths.ledger) as progress:
        for flow in flows:
            current = reference_id(monitor.paths, with_label=flow == DELAYED.name)
            found |= {key for key, done in progress.done(flow).items() if done.reference != current and key < before}
    return contiguous(monitor.spec, found, longest=10**6)


def _run(
    job_def: dg.JobDefinition,
    instance: dg.DagsterInstance,
    keys: set[dg.AssetKey],
    first: str,
    last: str,
    on_progress: OnProgress | None,
) -> str:
    """Execute the job over one range and report its steps."""
    job = job_def.get_subset(asset_selection=keys)
    run, events = start_run(job, instance, keys, partitions.run_tags(first, last))
    n_steps, done = len(job.nodes), 0
    failed: list[str] = []
    for event in events:
        if event.event_type is dg.DagsterEventType.STEP_START and on_progress:
            on_progress(str(event.step_key), done, n_steps)
        elif event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            done += 1
        elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
            failed.append(f"{event.step_key}: {_cause(event.step_failure_data.error)}")
    if failed or not _has_succeeded(instance, run.run_id):
        raise SightlineError(
            f"the run over {first} to {last} failed: {'; '.join(failed) or 'see its log'}",
            where=f"Dagster run {run.run_id}",
            fix="mend the cause and start again: windows that were done stay as they are",
        )
    if on_progress:
        on_progress("done", n_steps, n_steps)
    return run.run_id


def _has_succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_success


def _cause(error: Any) -> str:
    """The innermost message of a Dagster error."""
    while getattr(error, "cause", None) is not None:
        error = error.cause
    return str(getattr(error, "message", error)).strip()


@contextmanager
def dagster_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a home folder, made ready as `sightline ui` would."""
    from sightline.dagster_setup import ENVIRONMENT, prepare

    prepare(home)
    with environment({**ENVIRONMENT, "DAGSTER_HOME": os.fspath(home.dagster)}), dg.DagsterInstance.get() as instance:
        yield instance
