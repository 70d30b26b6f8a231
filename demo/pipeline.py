"""The year through Dagster: the same assets, jobs and checks that the UI shows, as one ranged run in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from sightline.dagster_setup import environment, prepare
from sightline.home import Home
from sightline.spec import names
from sightline.spec.model import MonitorSpec


def orchestrate(
    home: Home, spec: MonitorSpec, windows: Sequence[str], tell: Callable[[str], object] = lambda text: None
) -> None:
    """Materialize all windows in one ranged run.

    Both flows are judged before the alert engine decides once over all of them.

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
        Called with one line at the end of each step.

    Raises
    ------
    SightlineError
        If the run fails.
    """
    prepare(home)
    os.environ.update({**environment(home), "SIGHTLINE_HOME": str(home.root)})

    import dagster as dg

    from orchestration.backfill import materialize_range

    with dg.DagsterInstance.get() as instance:
        stale = [key for key in instance.all_asset_keys() if key.path[0] == names.asset_key(spec, "inferences")[0]]
        instance.wipe_assets(stale)
    step, started = "", time.monotonic()

    def progress(name: str, done: int, total: int) -> None:
        nonlocal step, started
        if step:
            tell(f"{step}: {time.monotonic() - started:.0f} s")
        step, started = name, time.monotonic()

    materialize_range(home, spec, windows[0], windows[-1], on_progress=progress)
