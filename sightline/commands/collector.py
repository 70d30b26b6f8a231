"""`sightline collector`: take events over HTTP."""

from __future__ import annotations

import click

from sightline.home import Home


@click.command("collector")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; others than loopback need tokens."
)
@click.option(
    "--port",
    default=8700,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on (0: any free one).",
)
@click.option(
    "--seal-seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Age at which segments are sealed.",
)
@click.option(
    "--max-body-mb", default=8, show_default=True, type=click.IntRange(1, 1024), help="Largest body, as sent."
)
@click.option("--max-rows", default=10_000, show_default=True, type=click.IntRange(1), help="Rows per request at most.")
@click.option(
    "--min-free-mb",
    default=64,
    show_default=True,
    type=click.IntRange(0),
    help="Refuse events below this free disk space.",
)
@click.option(
    "--max-connections",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="Connections at a time, fewer where the process may not open as many files; others get a 503.",
)
@click.option(
    "--guards/--no-guards", default=True, show_default=True, help="Check each event against the monitor's contract."
)
@click.option(
    "--deliver/--no-deliver",
    default=True,
    show_default=True,
    help="Deliver the guards' alert lines, and all else that is due, by alerts/routes.yaml.",
)
@click.option(
    "--drain-seconds",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="Time for running requests at the end.",
)
@click.option(
    "--server",
    type=click.Choice(["direct", "plain"]),
    default="direct",
    show_default=True,
    help="plain: lead every request through ASGI; slower for small requests, the same limits.",
)
def command(
    host: str,
    port: int,
    seal_seconds: float,
    max_body_mb: int,
    max_rows: int,
    min_free_mb: int,
    max_connections: int,
    guards: bool,
    deliver: bool,
    drain_seconds: int,
    server: str,
) -> None:
    """Take inferences and labels over HTTP and log them; a 200 means they are on disk.

    POST /v1/monitors/<id>/inferences and /labels take JSON objects, arrays or NDJSON (gzip, zstd); /openapi.json
    describes the rest. SIGTERM drains: running requests are answered, segments sealed.
    """
    from sightline.collector.limits import Limits
    from sightline.collector.server import make_collector, serve

    megabyte = 1024 * 1024
    limits = Limits(
        max_body_bytes=max_body_mb * megabyte,
        max_decompressed_bytes=4 * max_body_mb * megabyte,
        max_drained_bytes=8 * max_body_mb * megabyte,
        max_held_bytes=max(256, 4 * max_body_mb) * megabyte,
        max_rows=max_rows,
        min_free_bytes=min_free_mb * megabyte,
        max_connections=max_connections,
    )
    collector = make_collector(
        Home.from_env(), host=host, limits=limits, seal_seconds=seal_seconds, guards=guards, deliver=deliver
    )
    serve(collector, host, port, drain_seconds, plain=server == "plain")
