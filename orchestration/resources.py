"""dbt as a resource, with one target folder per monitor; its manifest is parsed when stale."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import sightline
from orchestration.dagster_private.in_process_dbt import InProcessDbt
from sightline.durable import exclusive
from sightline.errors import SightlineError
from sightline.home import PARSED, Home, MonitorPaths

PROJECT_DIR = Path(sightline.__file__).resolve().parent.parent / "dbt_project"
DBT = Path(sysconfig.get_path("scripts")) / "dbt"
NO_TELEMETRY = {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"}
_PARSED_SUFFIXES = {".sql", ".yml", ".yaml", ".md", ".csv"}


DBT_KEY = "sightline_dbt"
"""Key of the resource; ``dbt`` is the one of the user's own project beside."""


@cache
def dbt_resource() -> InProcessDbt:
    """The bundled project: one object, for Dagster merges only definitions that share it."""
    return InProcessDbt(project_dir=os.fspath(PROJECT_DIR))


def dbt_environment(paths: MonitorPaths) -> dict[str, str]:
    """Environment variables that point dbt's profile at one monitor's warehouse, for a run in the monitor's folder.

    The path is relative: dbt parses its project anew where the profile differs, and so one parse serves all monitors.
    """
    return {"SIGHTLINE_WAREHOUSE": paths.warehouse.name, **NO_TELEMETRY}


def share_parsed_project(home: Home, target: Path) -> None:
    """Give a target folder without one the parsed project of `ensure_manifest`; dbt parses again what has changed."""
    parsed, own = home.root / ".sightline" / "dbt" / PARSED, target / PARSED
    if parsed.is_file() and not own.exists():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(parsed, own)


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the block (a child process started in it inherits them)."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)
"""Keep dbt's lines off this process's standard output (they stay in its log file)."""


def ensure_manifest(home: Home, project_dir: Path = PROJECT_DIR) -> Path:
    """The dbt manifest of the bundled project, parsed only when a model, macro, dbt or its adapter has changed.

    It lies under the home folder, because an installed package's folder may be read-only.

    Returns
    -------
    Path
        ``.sightline/dbt/manifest.json`` below the home folder.
    """
    folder = home.root / ".sightline" / "dbt"
    manifest, stamp = folder / "manifest.json", folder / "manifest.stamp"
    wanted = _stamp(project_dir)

    def is_fresh() -> bool:
        return manifest.exists() and stamp.exists() and stamp.read_text() == wanted

    if not is_fresh():
        with exclusive(folder / "lock"):
            if not is_fresh():
                _parse(project_dir, folder)
                stamp.write_text(wanted)
    return manifest


def _stamp(project_dir: Path) -> str:
    files = sorted(
        p for p in project_dir.rglob("*") if p.suffix in _PARSED_SUFFIXES and not {"target", "logs"} & set(p.parts)
    )
    facts = [(p.relative_to(project_dir).as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    versions = [importlib.metadata.version(name) for name in ("dbt-core", "dbt-duckdb", "dagster-dbt")]
    return hashlib.sha256(json.dumps([os.fspath(project_dir), facts, versions]).encode()).hexdigest()


def _parse(project_dir: Path, folder: Path) -> None:
    command = [DBT, "--quiet", "parse"]
    variables = {
        **os.environ,
        **NO_TELEMETRY,
        "SIGHTLINE_WAREHOUSE": "warehouse.duckdb",
        "DBT_PROJECT_DIR": os.fspath(project_dir),
        "DBT_PROFILES_DIR": os.fspath(project_dir),
        "DBT_TARGET_PATH": os.fspath(folder),
        "DBT_LOG_PATH": os.fspath(folder),
    }
    done = subprocess.run(  # noqa: S603 (our own command)
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SightlineError(
            "dbt cannot parse its project", where=os.fspath(project_dir), fix=(done.stdout + done.stderr).strip()
        )
