"""dbt in the process of the run, as dagster-dbt's events.

dagster-dbt's own resource starts ``dbt`` in a process of its own, which imports anew what the run has imported already:
6 CPU seconds for one flow over one small window; in process 3.6 with its import, and 1.9 when it is called again. dbt's
`dbtRunner` is public; what turns its events into Dagster's (`DbtCoreCliEventMessage`, dagster-dbt 0.29.27) is not. Can
go when dagster-dbt runs dbt in process.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dagster_dbt.errors import DagsterDbtCliRuntimeError

RESULTS = {"LogModelResult", "LogTestResult", "LogSeedResult", "LogSnapshotResult"}
"""dbt's events that `asset_events` reads: 1 in 20. Making a dictionary of an event costs more than most are worth."""


class InProcessDbt(dg.ConfigurableResource[Any]):
    """A dbt project that runs in this process.

    Parameters
    ----------
    project_dir : str
        Folder with ``dbt_project.yml`` and ``profiles.yml``.
    """

    project_dir: str

    def invoke(
        self, args: Sequence[str], target_path: Path, folder: Path
    ) -> tuple[list[dict[str, Any]], Exception | None]:
        """Run one dbt command; the project is parsed only as far as it has changed since the last one.

        Parameters
        ----------
        args : sequence of str
            Command and flags. Environment variables that the profile reads are the caller's.
        target_path : Path
            Where dbt keeps its parsed project, compiled SQL and log.
        folder : Path
            Where dbt runs; the profile's path of the warehouse may be relative to it.

        Returns
        -------
        events : list of dict
            dbt's structured events that tell a result or an error, in order.
        error : Exception or None
            Why dbt failed, with the texts of its errors.
        """
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.adapters.factory import reset_adapters
        from dbt.cli.main import dbtRunner
        from dbt_common.events.functions import msg_to_dict

        events: list[dict[str, Any]] = []

        def keep(message: Any) -> None:
            if message.info.level == "error" or message.info.name in RESULTS:
                events.append(msg_to_dict(message))

        folders = {"project-dir": self.project_dir, "profiles-dir": self.project_dir}
        folders |= {"target-path": str(target_path), "log-path": str(target_path)}
        flags = [text for name, value in folders.items() for text in (f"--{name}", value)]
        with contextlib.chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dbt's own business
            try:
                runner = dbtRunner(callbacks=[keep])
                done = runner.invoke([*args, *flags])
            finally:
                reset_adapters()
                DuckDBConnectionManager.close_all_connections()  # the file is free for others, in this process as well
        if done.exception is not None and not isinstance(done.exception, Exception):
            raise done.exception  # the run was cancelled
        if done.success:
            return events, None
        told = [event["info"]["msg"] for event in events if event["info"]["level"] == "error"]
        texts = told or [str(done.exception)]
        described = "\n\n".join([f"dbt {args[0]} failed (its log: {target_path / 'dbt.log'})", *texts])
        return events, DagsterDbtCliRuntimeError(description=described)


def asset_events(
    events: Sequence[dict[str, Any]],
    *,
    context: dg.AssetExecutionContext,
    manifest: Mapping[str, Any],
    translator: DagsterDbtTranslator,
    target_path: Path,
) -> Iterator[Any]:
    """Dbt's events as outputs of models and results of checks.

    Parameters
    ----------
    events : sequence of dict
        As `InProcessDbt.invoke` returns them.
    context : dagster.AssetExecutionContext
        The step that ran dbt.
    manifest : mapping
        dbt's manifest.
    translator : DagsterDbtTranslator
        Names of the assets.
    target_path : Path
        dbt's target folder.
    """
    for event in events:
        message = DbtCoreCliEventMessage(raw_event=cast("Any", event), event_history_metadata={})
        yield from message.to_default_asset_events(
            manifest=manifest,
            dagster_dbt_translator=translator,
            context=context,
            target_path=target_path,
            project=None,
        )
