"""One run of the dbt models on Spark: control tables out, a session beside this process, marts in.

Nothing is published before dbt has ended: a session that is killed leaves the warehouse as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import sightline
from sightline.durable import replace_file
from sightline.engines.spark import requirements
from sightline.engines.spark.failures import of_session
from sightline.engines.spark.marts import load_marts
from sightline.engines.spark.sql_metrics import METRICS_VIEW, TRANSLATED, Translated, in_spark, probes
from sightline.engines.spark.tables import control_statements, glob_literal, raw_statements
from sightline.errors import SightlineError
from sightline.home import MonitorPaths
from sightline.spec.home_file import EngineSettings
from sightline.spec.model import MonitorSpec
from sightline.warehouse.connection import connect

CODE = Path(sightline.__file__).resolve().parent.parent
LOCAL_START_S = 180.0
"""A session on this machine needs no cluster: it may take as long as a loaded machine makes it."""


@dataclass(frozen=True)
class Built:
    """What a run of dbt did.

    Attributes
    ----------
    events : list of dict
        dbt's structured events that tell a result or an error, in order.
    error : SightlineError or None
        Why it failed.
    rows : dict
        Mart -> rows that were loaded for the windows of the run.
    """

    events: list[dict[str, Any]]
    error: SightlineError | None
    rows: dict[str, int]


def build(
    spec: MonitorSpec,
    paths: MonitorPaths,
    settings: EngineSettings,
    args: Sequence[str],
    *,
    project: Path,
    manifest: Mapping[str, Any],
) -> Built:
    """Run dbt on Spark over the control tables of the warehouse, and load the marts that it made.

    Parameters
    ----------
    spec : MonitorSpec
        The monitor.
    paths : MonitorPaths
        Its lake and warehouse; `sightline.warehouse.write_control` has been called, and the warehouse is closed.
    settings : EngineSettings
        Where Spark is.
    args : sequence of str
        dbt's command: ``build``, ``--select`` and the like.
    project : Path
        dbt's project.
    manifest : mapping
        Its manifest: the contracts of the marts.

    Returns
    -------
    Built
        Marts of models that succeeded are in the warehouse, all in one transaction.

    Raises
    ------
    SightlineError
        Spark is not installed, does not answer or has ended; a mart is not what its contract says. Nothing is loaded.
    """
    requirements.require(settings)
    root = (settings.work or paths.root / "spark").resolve()
    if glob_literal(root) != root.as_posix():
        fix = "set `engine.work` in sightline.yaml to a folder without such signs"
        raise SightlineError(
            "Spark takes the signs []{}*?\\ of a folder's name for a pattern", where=str(root), fix=fix
        )
    _forget_ended(root)
    folder = root / f"{spec.id}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        job = _job(spec, paths, settings, args, project, folder)
        replace_file(folder / "job.json", json.dumps(job))
        told = _drive(folder, settings, kept=paths.dbt / "spark" / "session.log")
        done = {event["data"]["node_info"]["unique_id"] for event in told["events"] if _is_success(event)}
        rows = load_marts(
            spec, paths, manifest, done, folder / "warehouse" / "marts.db", {**job["refused"], **told["refused"]}
        )
    finally:
        with suppress(OSError):
            shutil.copyfile(folder / "session.log", paths.dbt / "spark" / "session.log")
        shutil.rmtree(folder, ignore_errors=True)
    return Built(told["events"], None if told["is_success"] else _dbt_error(told, paths), rows)


def _is_success(event: dict[str, Any]) -> bool:
    return event["info"]["name"] == "LogModelResult" and event["data"]["status"].lower() in ("success", "ok")


def _dbt_error(told: dict[str, Any], paths: MonitorPaths) -> SightlineError:
    texts = [event["info"]["msg"].strip() for event in told["events"] if event["info"]["level"] == "error"]
    what = "\n".join(texts or [told["exception"] or "it ended without a reason"])
    return SightlineError(f"dbt failed on Spark: {what}", where=str(paths.dbt / "spark" / "dbt.log"))


def _forget_ended(root: Path) -> None:
    """Remove folders of runs whose process is gone."""
    if not root.is_dir():
        return
    for folder in root.iterdir():
        parts = folder.name.rsplit("-", 2)
        if len(parts) == 3 and parts[1].isdigit() and not Path(f"/proc/{parts[1]}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _job(
    spec: MonitorSpec, paths: MonitorPaths, settings: EngineSettings, args: Sequence[str], project: Path, folder: Path
) -> dict[str, Any]:
    target = paths.dbt / "spark"
    target.mkdir(parents=True, exist_ok=True)
    flags = {
        "target": "spark",
        "project-dir": project,
        "profiles-dir": project,
        "target-path": target,
        "log-path": target,
    }
    control, schemas, translated = _write_control(paths, folder / "control")
    statements = [*raw_statements(spec, paths), *control_statements(control, schemas)]
    return {
        "folder": str(folder),
        "refused": translated.refused,
        "conf": session_conf(settings, folder),
        "statements": statements,
        "probes": probes(spec, translated.metrics),
        "last": [METRICS_VIEW],
        "dbt": [*args, *(text for name, value in flags.items() for text in (f"--{name}", os.fspath(value)))],
    }


def session_conf(settings: EngineSettings, folder: Path) -> dict[str, str]:
    """Settings of a session: those that its numbers and its catalogue depend on win over the user's."""
    local = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return {
        "spark.app.name": "sightline",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "16",
        "spark.sql.maxPlanStringLength": "2000",
        **(local if settings.master.startswith("local") else {}),
        **settings.conf,
        "spark.master": settings.master,
        "spark.driver.memory": settings.memory,
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.hive.manageFilesourcePartitions": "false",
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
        "spark.sql.warehouse.dir": f"file:{folder / 'warehouse'}",  # Hadoop decodes no URI
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",
        "spark.sql.variable.substitute": "false",  # a category may be called ${x}
        "spark.sql.parser.escapedStringLiterals": "false",
        "spark.sql.caseSensitive": "false",
        "spark.sql.parquet.compression.codec": "snappy",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }


def _write_control(paths: MonitorPaths, folder: Path) -> tuple[dict[str, Path], dict[str, dict[str, str]], Translated]:
    """The control tables as Parquet, with the order of their rows: their files, their types, and the SQL metrics."""
    folder.mkdir()
    files: dict[str, Path] = {}
    schemas: dict[str, dict[str, str]] = {}
    translated = Translated(pl.DataFrame(), {})
    with connect(paths, read_only=True) as con:
        named = con.sql("select table_name from duckdb_tables() where schema_name = 'control' order by 1").fetchall()
        for (name,) in named:
            found = con.sql(f"select * from control.{name} order by rowid")  # noqa: S608 (our own name)
            schemas[name] = dict(zip(found.columns, map(str, found.types), strict=True))
            frame = found.pl()
            if name == "custom_metrics":
                translated = in_spark(frame)
                frame, name = translated.metrics, TRANSLATED  # noqa: PLW2901 (under another name in Spark)
                schemas[name] = schemas["custom_metrics"]
            files[name] = folder / f"{name}.parquet"
            frame.with_columns(row_order=pl.int_range(pl.len(), dtype=pl.Int64)).write_parquet(files[name])
    return files, schemas, translated


def session_answers(settings: EngineSettings) -> None:
    """Start a session over nothing, and end it when an executor has answered.

    Raises
    ------
    SightlineError
        None did, with the reason that its log gives.
    """
    requirements.require(settings)
    with tempfile.TemporaryDirectory(prefix="sightline_spark_") as name:
        folder = Path(name)
        job: dict[str, Any] = {
            "folder": name,
            "conf": session_conf(settings, folder),
            "statements": [],
            "probes": {},
            "last": [],
            "dbt": None,
        }
        (folder / "job.json").write_text(json.dumps(job))
        _drive(folder, settings)


def _drive(folder: Path, settings: EngineSettings, kept: Path | None = None) -> dict[str, Any]:
    """Start the session, wait for it, and read what dbt told; `kept`: where its log will be found afterwards."""
    log, told = folder / "session.log", folder / "events.json"
    is_local = settings.master.startswith("local")
    deadline = time.monotonic() + (LOCAL_START_S if is_local else settings.start_within.total_seconds())
    code = [os.fspath(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, **requirements.variables(settings), "PYTHONPATH": os.pathsep.join(code)}
    variables |= {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "False"}
    command = [sys.executable, "-m", "sightline.engines.spark.session", os.fspath(folder / "job.json")]
    with log.open("wb") as written:
        child = subprocess.Popen(  # noqa: S603 (our own command)
            command,
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=written,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )
        try:
            while child.poll() is None:
                if time.monotonic() > deadline and not (folder / "ready").exists():
                    has_started = (folder / "started").exists()
                    raise of_session(log, settings, "gave no executor in time", lacks_workers=has_started, kept=kept)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(0.1)
        finally:
            assert child.stdin is not None
            child.stdin.close()  # ends the session and its JVM
            child.wait()
    if not told.is_file():
        raise of_session(log, settings, f"has ended (exit {child.returncode}) before dbt had", kept=kept)
    return json.loads(told.read_text())
