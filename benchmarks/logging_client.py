"""What one logged prediction of 20 features costs the caller.

Beside the Sightline client: a bare call, an OpenTelemetry span, whylogs.

Each case is a process of its own; the peers live in a virtual environment that this benchmark makes (``build/``). Calls
are paced (a pause of 0.2 ms), as in a server, so that background threads run as they would there. Run:
``python -m benchmarks.logging_client``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("opentelemetry-sdk", "whylogs<2")
CASES = {
    "bare call": "the predict function alone",
    "sightline path": "client that writes segments",
    "sightline url": "client that sends to a collector",
    "sightline sync": "client with sync=True and path=: on disk when it returns",
    "opentelemetry span": "span with 20 attributes, BatchSpanProcessor, exporter that drops",
    "whylogs": "rolling logger, log(row)",
}
FEATURES = {f"x{i}": i * 1.37 for i in range(16)} | {"carrier": "UA", "origin": "EWR", "dest": "IAH", "plane": "N14228"}


def predict(features: dict[str, Any]) -> float:
    """A model as cheap as can be."""
    return features["x1"] * 0.25


def make_log(case: str, target: str) -> tuple[Callable[[int, dict[str, Any], float], None], Callable[[], Any]]:
    """The logging call of a case, and what ends it."""
    if case == "bare call":
        return lambda number, features, score: None, lambda: None
    if case.startswith("sightline"):
        sys.path.insert(0, str(ROOT / "client"))
        from sightline_client import Client

        place = {"url": target, "spool": False} if case.endswith("url") else {"path": target}
        client = Client("load", version="v3", sync=case.endswith("sync"), **place)

        def end() -> Any:
            client.close(30)
            return client.stats()

        return lambda number, features, score: client.prediction(number, features=features, score=score), end
    if case == "opentelemetry span":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Drop(SpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Drop()))
        tracer = provider.get_tracer("benchmark")

        def span(number: int, features: dict[str, Any], score: float) -> None:
            with tracer.start_as_current_span("predict") as current:
                current.set_attributes(features)
                current.set_attribute("score", score)

        return span, provider.shutdown
    import whylogs

    logger = whylogs.logger(mode="rolling", interval=5, when="M", base_name="benchmark")
    logger.append_writer("local", base_dir=target)
    return lambda number, features, score: logger.log({**features, "score": score}), logger.close


def run_case(case: str, target: str, calls: int) -> dict[str, Any]:
    """Time `calls` logging calls one by one."""
    log, end = make_log(case, target)
    nanoseconds = []
    for number in range(calls + 200):
        score = predict(FEATURES)
        started = time.perf_counter_ns()
        log(number, FEATURES, score)
        nanoseconds.append(time.perf_counter_ns() - started)
        time.sleep(0.0002)
    nanoseconds = sorted(nanoseconds[200:])
    at = {f"p{q}_us": nanoseconds[int(len(nanoseconds) * q / 100)] / 1000 for q in (50, 90, 99)}
    return {"case": case, **at, "max_us": nanoseconds[-1] / 1000, "calls": calls, "stats": end()}


def make_peers(folder: Path) -> Path | None:
    """A virtual environment with the peers; None if they cannot be installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS]
    done = subprocess.run(install, check=False, capture_output=True, text=True)  # noqa: S603 (its own command)
    if done.returncode:
        print(f"the peers cannot be installed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return python


def run_all(calls: int) -> list[dict[str, Any]]:
    """Every case in a process of its own."""
    from benchmarks.logging_load import MONITOR, free_port, server

    peers = make_peers(ROOT / "build" / "logging-peers")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "monitors").mkdir()
        (home / "monitors" / "load.yaml").write_text(MONITOR)
        port = free_port()
        with server(["-m", "sightline.cli", "collector", "--port", str(port)], port, home):
            for case in CASES:
                is_peer = case in ("opentelemetry span", "whylogs")
                if is_peer and peers is None:
                    continue
                target = f"http://127.0.0.1:{port}" if case.endswith("url") else str(home)
                command = [
                    str(peers) if is_peer else sys.executable,
                    str(Path(__file__).resolve()),
                    "--case",
                    case,
                    "--target",
                    target,
                ]
                done = subprocess.run(  # noqa: S603 (its own command)
                    [*command, "--calls", str(calls)], check=True, capture_output=True, text=True, cwd=home
                )
                results.append(json.loads(done.stdout.splitlines()[-1]))
    return results


def main() -> None:
    """Run one case (in its own process) or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--target", default="")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(options.case, options.target, options.calls), default=str))
        return
    results = run_all(options.calls)
    print(f"{'':22}{'p50 us':>10}{'p90 us':>10}{'p99 us':>10}{'max us':>12}")
    for r in results:
        print(
            f"{r['case']:22}{r['p50_us']:>10.2f}{r['p90_us']:>10.2f}{r['p99_us']:>10.2f}{r['max_us']:>12.0f}   "
            f"{CASES[r['case']]}"
        )
        if r["stats"]:
            print(f"{'':22}{ {name: n for name, n in r['stats'].items() if n} }")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
