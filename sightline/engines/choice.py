"""Which engine computes the aggregates: the one place that knows, by ``engine`` in ``sightline.yaml``.

Whatever the engine, its marts end in the monitor's DuckDB file, from where judging goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.home import Home
from sightline.spec.home_file import EngineSettings, load_home_file
from sightline.spec.model import MonitorSpec

Told = tuple[list[dict[str, Any]], Exception | None]
"""dbt's structured events that tell a result or an error, and why it failed."""


def engine_of(home: Home) -> EngineSettings:
    """The engine of a home folder.

    Raises
    ------
    SpecError
        `sightline.yaml` has mistakes.
    """
    return load_home_file(home).engine


def build_models(
    home: Home,
    spec: MonitorSpec,
    args: Sequence[str],
    *,
    in_process: Callable[[Sequence[str]], Told],
    project: Path,
    manifest: Mapping[str, Any],
) -> Told:
    """Run a command of dbt over the windows of the control tables.

    Parameters
    ----------
    home : Home
        Whose engine it is.
    spec : MonitorSpec
        The monitor; its warehouse must be closed.
    args : sequence of str
        dbt's command and flags.
    in_process : callable
        Runs it on DuckDB in this process.
    project : Path
        dbt's project.
    manifest : mapping
        Its manifest.

    Returns
    -------
    events : list of dict
        dbt's structured events that tell a result or an error, in order.
    error : Exception or None
        Why dbt failed. Marts of models that succeeded are in the warehouse all the same.

    Raises
    ------
    SightlineError
        The engine is not there, does not answer or has ended: nothing is published then.
    """
    settings = engine_of(home)
    if settings.kind == "duckdb":
        return in_process(args)
    from sightline.engines import spark

    built = spark.build(spec, home.monitor(spec.id), settings, args, project=project, manifest=manifest)
    return built.events, built.error
