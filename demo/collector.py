"""The collector of the replay: Sightline's own, in a process of its own on loopback, with the replay's clock.

``python -m demo.collector CLOCK PORT``: without the clock every event of the year would count as received today,
and every label as months late.
"""

from __future__ import annotations

import http.client
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sightline.errors import SightlineError
from sightline.home import Home

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
START_SECONDS, DRAIN_SECONDS = 60, 60
_MOMENT = struct.Struct("=d")


class SharedClock:
    """A moment in a small file that two processes map; one sets it, the other reads it.

    Parameters
    ----------
    path : Path
        The file; made if it is absent.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_MOMENT.pack(0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _MOMENT.size)

    def set(self, moment: datetime) -> None:
        """From now on it is `moment`."""
        _MOMENT.pack_into(self._memory, 0, moment.timestamp())

    def __call__(self) -> datetime:
        """The time by this clock."""
        return datetime.fromtimestamp(_MOMENT.unpack_from(self._memory)[0], UTC)


@contextmanager
def collecting(home: Home, folder: Path) -> Iterator[tuple[str, SharedClock]]:
    """A running collector: its URL and its clock; drained at the end, so that every segment is sealed.

    Parameters
    ----------
    home : Home
        The home folder it serves.
    folder : Path
        Where its clock and its log of messages lie while it runs.

    Raises
    ------
    SightlineError
        If it does not start, or does not end in order.
    """
    clock_file, log_file = folder / "replay_clock", folder / "replay_collector.log"
    clock = SharedClock(clock_file)
    port = _free_port()
    environment = {**os.environ, "SIGHTLINE_HOME": str(home.root)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log_file.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 (its own command)
            [sys.executable, "-m", "demo.collector", str(clock_file), str(port)],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            _wait_until_ready(process, port, log_file)
            yield f"http://{HOST}:{port}", clock
        finally:
            _drain(process)
            clock_file.unlink()
    if process.returncode != 0:
        raise SightlineError("the collector did not end in order", where=str(log_file), fix="read its messages")
    log_file.unlink()


def _drain(process: subprocess.Popen[bytes]) -> None:
    """Let the collector seal its segments and end; kill it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(DRAIN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(0.05)
    raise SightlineError("the collector of the replay did not start", where=str(log_file), fix="read its messages")


def main(clock_file: str, port: str) -> None:
    """Serve the home folder until SIGTERM. No row guards: they judge what comes in now, not the past."""
    from sightline.collector.server import make_collector, serve

    collector = make_collector(
        Home.from_env(), host=HOST, seal_seconds=2.0, guards=False, clock=SharedClock(Path(clock_file))
    )
    serve(collector, HOST, int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
