"""A run in this process that the UI shows like any other, and whose events can be followed while it goes on.

Dagster's public ways do one half each: `execute_job` and ``JobDefinition.execute_in_process`` return when all is done
(no progress to show over minutes) and record no remote origin, without which the UI can neither open the run's job nor
launch it again; a run that is launched instead needs a running daemon and code server. Can go when `execute_job` takes
a remote origin and yields events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

LOCATION, REPOSITORY = "sightline", "__repository__"
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def start_run(
    job: dg.JobDefinition, instance: dg.DagsterInstance, keys: Collection[dg.AssetKey], tags: Mapping[str, str]
) -> tuple[dg.DagsterRun, Iterator[dg.DagsterEvent]]:
    """Create a run of a job over some assets; it goes on as its events are taken.

    Parameters
    ----------
    job : dagster.JobDefinition
        Already the subset of `keys`.
    instance : dagster.DagsterInstance
        Where it is recorded.
    keys : collection of dagster.AssetKey
        The assets.
    tags : mapping
        Which partitions.
    """
    run = instance.create_run_for_job(
        job_def=job,
        run_config=QUIET,
        tags={".dagster/repository": f"{REPOSITORY}@{LOCATION}", **tags},
        asset_selection=frozenset(keys),
        remote_job_origin=_origin(job.name),
        job_code_origin=None,
    )
    return run, execute_run_iterator(InMemoryJob(job), run, instance)


def _origin(job_name: str) -> RemoteJobOrigin:
    """Where the UI finds the job of this run, so that it can be started again from there."""
    target = LoadableTargetOrigin(module_name="orchestration.definitions")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(loadable_target_origin=target, location_name=LOCATION)
    return RemoteJobOrigin(
        repository_origin=RemoteRepositoryOrigin(code_location_origin=location, repository_name=REPOSITORY),
        job_name=job_name,
    )
