"""What Dagster's processes of a home folder need: its settings and workspace file, their environment, its command."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import sightline
from sightline.errors import SightlineError
from sightline.home import Home

ENVIRONMENT = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    "DO_NOT_TRACK": "1",
}
"""Telemetry of Dagster and dbt off."""


def bundled(name: str) -> Path:
    """A file that travels with Sightline: in a wheel below the package, in a checkout at the top."""
    package = Path(sightline.__file__).resolve().parent
    for path in (package / "_bundled" / name, package.parent / name):
        if path.is_file():
            return path
    raise SightlineError(f"{name} is missing from the installation", where=str(package), fix="install Sightline again")


def prepare(home: Home) -> Path:
    """Make the folders that Dagster needs and return the workspace file.

    ``dagster.yaml`` is copied to ``DAGSTER_HOME`` once and then belongs to the user; ``workspace.yaml`` in the home
    folder wins over the bundled one.
    """
    home.monitors.mkdir(parents=True, exist_ok=True)
    home.data.mkdir(parents=True, exist_ok=True)
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        own = home.root / "dagster.yaml"
        shutil.copyfile(own if own.is_file() else bundled("dagster.yaml"), settings)
    own = home.root / "workspace.yaml"
    return own if own.is_file() else bundled("workspace.yaml")


def environment(home: Home) -> dict[str, str]:
    """Environment of Dagster's processes.

    It says where home is, puts this interpreter's programs (dbt) first in the path, and lets runs be forked from a warm
    process unless ``SIGHTLINE_WARM_START`` says otherwise.
    """
    inherited = dict(os.environ)
    scripts = str(Path(sys.executable).parent)
    code = str(Path(sightline.__file__).resolve().parent.parent)
    return {
        "SIGHTLINE_WARM_START": "1",
        **inherited,
        **ENVIRONMENT,
        "DAGSTER_HOME": str(home.dagster),
        "SIGHTLINE_HOME": str(home.root),
        "PATH": os.pathsep.join(filter(None, [scripts, inherited.get("PATH", "")])),
        "PYTHONPATH": os.pathsep.join(filter(None, [code, inherited.get("PYTHONPATH", "")])),
    }


def dagster_program() -> Path:
    """The ``dagster`` command of this interpreter's environment."""
    program = Path(sys.executable).parent / ("dagster.exe" if os.name == "nt" else "dagster")
    if not program.is_file():
        fix = "install Sightline with pip into this environment: it brings dagster"
        raise SightlineError("there is no dagster command beside this Python", where=str(program.parent), fix=fix)
    return program
