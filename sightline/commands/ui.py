"""`sightline ui`: the Dagster UI and the dashboard on this folder, with nothing to set up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import click

from sightline.commands.dashboard import check_port
from sightline.dagster_setup import dagster_program, environment, prepare
from sightline.dashboard.addresses import VARIABLE
from sightline.errors import SightlineError
from sightline.home import Home, MonitorPaths
from sightline.results.snapshots import read_snapshot
from sightline.spec.loader import load_monitors

LOOPBACK = "127.0.0.1"
QUIET = "ignore:Function `dev_command` is superseded:FutureWarning"
"""Dagster's word to people that start `dagster dev` by hand is none to those that type `sightline ui`."""
MOST_OPENED = 2
"""Monitors whose groups are open in the lineage that `sightline ui` names."""


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of the web server.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; the UI has no login.")
@click.option(
    "--dashboard-port",
    default=3001,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the dashboard, which listens on loopback; 0: none.",
)
def command(port: int, host: str, dashboard_port: int) -> None:
    """Open the Dagster UI and the dashboard on the monitors and data of this folder.

    The folder is SIGHTLINE_HOME, by default the working directory.
    """
    home = Home.from_env()
    workspace = prepare(home)
    program = dagster_program()
    check_port(host, port)
    _announce(home, host, port)
    own = environment(home)
    own["PYTHONWARNINGS"] = ",".join(filter(None, [QUIET, own.get("PYTHONWARNINGS")]))
    if dashboard_port:
        _start_dashboard(home, dashboard_port, f"http://{host}:{port}")
        own.setdefault(VARIABLE, f"http://{LOOPBACK}:{dashboard_port}")
    arguments = [str(program), "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    os.chdir(home.root)
    os.execve(program, arguments, own)  # noqa: S606 (Dagster beside this Python, without a shell)


def _start_dashboard(home: Home, port: int, dagster: str) -> None:
    """Beside Dagster, for as long as that runs: this process becomes Dagster's, and stays its parent."""
    try:
        check_port(LOOPBACK, port)
    except SightlineError as error:
        click.echo(f"warning: there is no dashboard, choose another --dashboard-port: {error}", err=True)
        return
    options = ["--port", str(port), "--host", LOOPBACK, "--dagster", dagster, "--with-parent"]
    own = {**os.environ, "SIGHTLINE_HOME": str(home.root)}
    subprocess.Popen([sys.executable, "-m", "sightline.cli", "dashboard", *options], env=own)  # noqa: S603 (our own)


def lineage_url(server: str, opened: Sequence[str]) -> str:
    """The page to begin with: the lineage, some monitors with their groups open, the others as one box each.

    Dagster folds every group unless the address says otherwise, or the browser has opened it before.

    Examples
    --------
    >>> lineage_url("http://127.0.0.1:3000", ["churn", "price"])
    'http://127.0.0.1:3000/asset-groups?expanded=global@global:churn,global@global:price'
    """
    groups = ",".join(f"global@global:{monitor}" for monitor in opened)
    return f"{server}/asset-groups" + (f"?expanded={groups}" if groups else "")


def to_open(home: Home, monitors: Sequence[str]) -> list[str]:
    """Monitors to look at first: the only one there is, else those with an open incident, few enough to be read."""
    if len(monitors) == 1:
        return list(monitors)
    return [monitor for monitor in monitors if _has_open_incident(home.monitor(monitor))][:MOST_OPENED]


def _has_open_incident(paths: MonitorPaths) -> bool:
    found = read_snapshot(paths, "incidents")
    return found is not None and not found.filter(status="open").is_empty()


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
    click.echo(
        f"Dagster UI: {lineage_url(f'http://{host}:{port}', to_open(home, list(specs)))} "
        "(ready in about 20 seconds; Ctrl-C stops it)"
    )
    sys.stdout.flush()
