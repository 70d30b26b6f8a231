"""`sightline ui`: the Dagster UI on this folder, with nothing to set up."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import click

import sightline
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.loader import load_monitors

ENVIRONMENT = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
    "DO_NOT_TRACK": "1",
}
"""Telemetry of Dagster and dbt off."""


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of the web server.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; the UI has no login.")
def command(port: int, host: str) -> None:
    """Open the Dagster UI on the monitors and data of this folder.

    The folder is SIGHTLINE_HOME, by default the working directory.
    """
    home = Home.from_env()
    workspace = prepare(home)
    program = dagster_program()
    _check_port(host, port)
    _announce(home, host, port)
    arguments = [str(program), "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    os.chdir(home.root)
    os.execve(program, arguments, environment(home))  # noqa: S606 (Dagster beside this Python, without a shell)


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
    """Environment of Dagster's processes: where home is, and this interpreter's programs (dbt) first in the path."""
    inherited = dict(os.environ)
    scripts = str(Path(sys.executable).parent)
    code = str(Path(sightline.__file__).resolve().parent.parent)
    return {
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


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fix = "stop what listens there, or choose another port with --port"
            raise SightlineError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix=fix) from error


def _announce(home: Home, host: str, port: int) -> None:
    specs, broken = load_monitors(home)
    for monitor in broken:
        click.echo(f"error: {monitor.error}\n", err=True)
    if broken:
        click.echo("These monitors are left out; the others are shown.\n", err=True)
    if specs:
        click.echo(
            f"Monitors: {', '.join(specs)} (after a change of their files: Deployment > Code locations > Reload)"
        )
    elif not broken:
        click.echo(
            f"There is no monitor in {home.monitors} yet. Write one from a file of predictions:\n"
            "  sightline init SAMPLE.parquet\n"
            "then choose Reload in the UI (Deployment > Code locations). Or see a finished one: python -m demo (in "
            "a checkout)."
        )
    click.echo(f"Dagster UI: http://{host}:{port} (ready in about 20 seconds; Ctrl-C stops it)")
    sys.stdout.flush()
