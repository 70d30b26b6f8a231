"""The collector behind its own short cut, behind ASGI with the same bounds, behind bare uvicorn, and behind granian.

All servers run at once, on the first core, with homes of their own, and are driven in turns of a second: what else the
machine does meets all of them. Told are events per second of processor time, and the median over the turns of the ratio
to ASGI with the same bounds (``--server plain``). Bare uvicorn and granian lack these bounds (heads, time, bodies that
are refused, requests sent ahead). granian is no dependency of Sightline: it takes part where it can be imported.

Run: ``python -m benchmarks collector_servers [--rounds 15] [--json FILE]``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.logging_load import cpu_seconds, drive, free_port, monitor, server

CASES = {"single events": (128, 1, 20), "batches of 50": (8, 50, 20), "batches of 500": (4, 500, 20)}
"""Connections, events per request, features."""

START = """\
import gc, sys
import uvicorn
from sightline.collector.server import SWITCH_SECONDS, make_collector, serve
from sightline.home import Home
collector, port = make_collector(Home.from_env(), guards=False), int(sys.argv[1])
"""
TUNED = START + "sys.setswitchinterval(SWITCH_SECONDS); gc.freeze(); gc.set_threshold(20_000, 20, 50)\n"
SERVERS = {
    "direct": START + "serve(collector, '127.0.0.1', port)",
    "plain": START + "serve(collector, '127.0.0.1', port, plain=True)",
    "bare uvicorn": TUNED + "uvicorn.run(collector, port=port, http='httptools', log_config=None, access_log=False)",
    "granian": TUNED
    + """
import asyncio
from granian.constants import Interfaces
from granian.server.embed import Server
try:
    from uvloop import run
except ImportError:
    from asyncio import run
async def main():
    granian = Server(collector, port=port, interface=Interfaces.ASGI, log_enabled=False, websockets=False, backlog=4096)
    await granian.serve()
run(main())
""",
}


def main() -> None:
    """Run all cases and print a table, or write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = [name for name in SERVERS if name != "granian" or importlib.util.find_spec("granian")]
    results: dict[str, dict[str, dict[str, float]]] = {}
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        processes = {}
        for name in names:
            home = Path(folder) / name
            (home / "monitors").mkdir(parents=True)
            (home / "monitors" / "load20.yaml").write_text(monitor(20))
            port = free_port()
            processes[name] = running.enter_context(server(["-c", SERVERS[name], str(port)], port, home)), port
        os.sched_setaffinity(0, {cores[-1]})
        number = 0
        for _, port in processes.values():
            _, number = drive(port, "warm-up", (4, 1, 20), 0.5, number)
        for case, load in CASES.items():
            rates: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(options.rounds):
                for name, (process, port) in processes.items():
                    used = cpu_seconds(process)
                    result, number = drive(port, name, load, 1.0, number)
                    assert not result.failed, result
                    rates[name].append(result.events_per_second / (cpu_seconds(process) - used))
            results[case] = {
                name: {
                    "events_per_cpu_second": statistics.median(found),
                    "ratio": statistics.median([a / b for a, b in zip(found, rates["plain"], strict=True)]),
                }
                for name, found in rates.items()
            }
        os.sched_setaffinity(0, set(cores))
    print(f"{'':16}" + "".join(f"{name:>24}" for name in names))
    for case, found in results.items():
        cells = (f"{each['events_per_cpu_second']:,.0f}/cpu s  x{each['ratio']:.2f}" for each in found.values())
        print(f"{case:16}" + "".join(f"{cell:>24}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
