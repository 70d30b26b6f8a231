"""`sightline dashboard`: pages about the models of this folder."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
import time

import click

from sightline.errors import SightlineError
from sightline.home import Home


@click.command()
@click.option("--port", default=3001, show_default=True, type=click.IntRange(1, 65535), help="Port of the web server.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--dagster", help="Address of Dagster's UI, for links; default: `links.dagster` of alerts/routes.yaml.")
@click.option("--allow-host", "hosts", multiple=True, help="Another name by which it is called (behind a proxy).")
@click.option("--read-token", "read", metavar="ENV", help="Environment variable with the token that may look.")
@click.option("--act-token", "act", metavar="ENV", help="Environment variable with the token that may act, too.")
@click.option("--proxy-header", "header", help="Header by which a trusted proxy names the person.")
@click.option("--mask", "masked", multiple=True, help="Column whose values are never shown.")
@click.option("--show-personal", is_flag=True, help="Show values of columns that the monitor marks as personal.")
@click.option("--with-parent", is_flag=True, hidden=True, help="Stop when the process that started this one has ended.")
def command(
    port: int,
    host: str,
    dagster: str | None,
    hosts: tuple[str, ...],
    read: str | None,
    act: str | None,
    header: str | None,
    masked: tuple[str, ...],
    show_personal: bool,
    with_parent: bool,
) -> None:
    """Serve the dashboard of this folder; it reads published results and never waits for a writer."""
    import uvicorn

    from sightline.dashboard.masking import Masking
    from sightline.dashboard.pages.overview import overview
    from sightline.dashboard.server.app import Settings, create_app
    from sightline.dashboard.server.security import Access

    home = Home.from_env()
    access = Access(frozenset((*hosts, host)), _token(read), _token(act), header)
    if access.is_open and not _is_loopback(host):
        fix = "name --read-token ENV or --act-token ENV, or --proxy-header NAME behind a proxy that sets it"
        raise SightlineError("only loopback may be served without a token", where=host, fix=fix)
    masking = Masking(frozenset(masked), show_personal)
    settings = Settings(home, access, dagster or linked_dagster(home), masking)
    if with_parent:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    else:
        check_port(host, port)
    click.echo(f"Dashboard: http://{'[' + host + ']' if ':' in host else host}:{port}/ (Ctrl-C stops it)")
    app = create_app(settings)
    threading.Thread(target=overview, args=(app.state.library,), daemon=True).start()  # so that the first page is there
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)


def linked_dagster(home: Home) -> str | None:
    """Address of Dagster's UI that `alerts/routes.yaml` names; None without one, or where that file has mistakes."""
    from sightline.spec.routes import load_routes

    try:
        given = load_routes(home).links.dagster
    except SightlineError as error:
        click.echo(f"warning: links to Dagster are left out: {error}", err=True)
        return None
    return given.rstrip("/") if given else None


def _end_with(parent: int) -> None:
    """Stop as Ctrl-C does once the process `parent` is not the parent any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)


def check_port(host: str, port: int) -> None:
    """Raise a `SightlineError` where nothing can listen on a port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            fix = "stop what listens there, or choose another port with --port"
            raise SightlineError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix=fix) from error


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    found = os.environ.get(variable, "")
    if len(found) < 16:
        fix = "set it to a random text of at least 16 characters"
        raise SightlineError("the variable holds no token", where=variable, fix=fix)
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
