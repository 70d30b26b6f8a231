"""The year through Dagster: the same assets, jobs and checks that the UI shows, as ranged runs in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from sightline.commands.ui import environment, prepare
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec import names, plan
from sightline.spec.model import MonitorSpec


def orchestrate(
    home: Home, spec: MonitorSpec, windows: Sequence[str], tell: Callable[[str], object] = lambda text: None
) -> None:
    """Materialize the reference, then both flows over all windows, one ranged run each.

    Earlier materializations of the monitor's assets are wiped from Dagster's storage first: the data are new.

    Parameters
    ----------
    home : Home
        Must be what ``SIGHTLINE_HOME`` says: the code location reads it when it is imported.
    spec : MonitorSpec
        The monitor.
    windows : sequence of str
        Window keys, in order and without gaps.
    tell : callable
        Called with one line per run.

    Raises
    ------
    SightlineError
        If a run fails.
    """
    prepare(home)
    os.environ.update({**environment(home), "SIGHTLINE_HOME": str(home.root)})

    import dagster as dg

    from orchestration import partitions
    from orchestration.definitions import defs

    tags = {**partitions.run_tags(windows[0], windows[-1]), "sightline/demo": "replay"}
    keys = [key for key in defs.resolve_all_asset_keys() if key.path[0] == spec.id]
    with dg.DagsterInstance.get() as instance:
        instance.wipe_assets([key for key in keys if instance.has_asset_key(key)])
        reference = dg.AssetKey(names.asset_key(spec, "reference"))
        whole = defs.resolve_implicit_global_asset_job_def()
        _run(whole, instance, "reference", tell, asset_selection=[reference])
        for flow in plan.FLOWS if spec.labels else plan.FLOWS[:1]:
            job = defs.resolve_job_def(names.job_name(spec, flow))
            _run(job, instance, job.name, tell, tags=tags)


def _run(job, instance, title: str, tell: Callable[[str], object], **options) -> None:  # type: ignore[no-untyped-def]
    started = time.monotonic()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = job.execute_in_process(run_config=quiet, instance=instance, raise_on_error=False, **options)
    if not result.success:
        steps = [event for event in result.all_events if event.is_failure]
        reasons = [event.message or "" for event in steps[:3]]
        fix = f"open the UI (sightline ui) and look at the run {result.run_id}"
        raise SightlineError(f"the run of {title} failed: {'; '.join(reasons)}", where=result.run_id, fix=fix)
    evaluations = result.get_asset_check_evaluations()
    failed = sum(not evaluation.passed for evaluation in evaluations)
    tell(f"{title}: {time.monotonic() - started:.0f} s, {len(evaluations):,} check results, {failed:,} failed")
