"""Many monitors on one machine: a month worked up, then one live day through the daemon; memory, ticks, storage.

Each monitor has 6 features and 400 predictions a day. 29 days are worked up by ``sightline backfill``, two monitors at
a time; then ``sightline ui`` runs while the 30th day's predictions and labels land for all monitors at once, until all
of them are judged. Memory (shared pages counted in each process) and CPU seconds are those of Dagster's processes;
Linux. Run:
``python -m benchmarks many_monitors [--monitors 50]``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.daily_path import ROOT
from benchmarks.scale import Watch
from sightline.dagster_setup import environment
from sightline.home import Home

DAYS, ROWS = 30, 400
PATIENCE_S = 3600.0
SPEC = """\
version: 1
model: {{id: {id}, task: binary_classification}}
columns:
  prediction_id: id
  timestamp: at
  score: score
  features: {{x0: numeric, x1: numeric, x2: numeric, c0: categorical, c1: categorical, c2: categorical}}
  segments: [c0]
labels: {{column: label, positive: 1, expected_delay: 1h, give_up_after: 1d}}
reference: {{kind: window, start: {start}, end: {end}}}
schedule: daily
"""


def land(home: Home, monitor: str, first: datetime, days: range) -> None:
    """Predictions and labels of some days, as files in landing."""
    for kind in ("inferences", "labels"):
        (home.monitor(monitor).root / "landing" / kind).mkdir(parents=True, exist_ok=True)
    for day in days:
        rng = np.random.default_rng([day, int(monitor[1:])])
        score = rng.beta(2, 3, ROWS)
        seconds = np.sort(rng.random(ROWS)) * 82_800
        rows = pl.DataFrame(
            {
                "id": [f"{day}-{i}" for i in range(ROWS)],
                "at": [(first + timedelta(days=day, seconds=float(s))).replace(tzinfo=None) for s in seconds],
                "score": score,
                **{f"x{i}": rng.normal(size=ROWS) for i in range(3)},
                **{f"c{i}": rng.choice(list("abcd"), ROWS) for i in range(3)},
            }
        )
        labels = rows.select("id", label=pl.Series((rng.random(ROWS) < score).astype(int)))
        for kind, frame in (("inferences", rows), ("labels", labels)):
            file = home.monitor(monitor).root / "landing" / kind / f"{day:03d}.parquet"
            beside = file.with_suffix(".tmp")
            frame.write_parquet(beside)
            beside.rename(file)


def backfill(home: Home, monitor: str) -> None:
    """Work up what has landed."""
    call = [sys.executable, "-m", "sightline.cli", "backfill", monitor]
    done = subprocess.run(call, cwd=ROOT, env=environment(home), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode == 2:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])


def is_judged(home: Home, monitor: str, day: datetime) -> bool:
    """Whether the day's quality is published, of both flows."""
    from sightline.results.judgements import read_judgements

    paths = home.monitor(monitor)
    return all(read_judgements(paths, start=day, asset=asset).height for asset in ("data_quality", "model_quality"))


def live_day(home: Home, monitors: list[str], first: datetime) -> tuple[float, Watch]:
    """Land the last day for all while the daemon runs; seconds until all is judged, and what the processes took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = [sys.executable, "-m", "sightline.cli", "ui", "--port", str(port)]
    with (home.root / "ui.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 (its own command)
            call, cwd=ROOT, env=environment(home), stdout=log, stderr=log, start_new_session=True
        )
    watch = Watch(process.pid)
    watch.start()
    try:
        begun = time.monotonic()
        for monitor in monitors:
            land(home, monitor, first, range(DAYS - 1, DAYS))
        day = first + timedelta(days=DAYS - 1)
        missing = set(monitors)
        while missing:
            if time.monotonic() - begun > PATIENCE_S or process.poll() is not None:
                raise SystemExit(f"not judged: {sorted(missing)}\n{(home.root / 'ui.log').read_text()[-3000:]}")
            time.sleep(2)
            missing = {monitor for monitor in missing if not is_judged(home, monitor, day)}
        return time.monotonic() - begun, watch
    finally:
        watch.is_over.set()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def tick_seconds(home: Home) -> list[float]:
    """How long each look of a sensor took."""
    from dagster import DagsterInstance

    os.environ |= {"DAGSTER_HOME": str(home.dagster)}
    found: list[float] = []
    with DagsterInstance.get() as instance:
        for state in instance.all_instigator_state():
            for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=500):
                if tick.end_timestamp is not None:
                    found.append(tick.end_timestamp - tick.timestamp)
    return found


def size_mb(folder: Path) -> float:
    """All files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks many_monitors", description=__doc__)
    parser.add_argument("--monitors", type=int, default=50)
    asked = parser.parse_args()
    home = Home(Path(tempfile.mkdtemp(prefix="sightline_many_")))
    monitors = [f"m{i}" for i in range(asked.monitors)]
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=DAYS)
    try:
        home.monitors.mkdir()
        for monitor in monitors:
            text = SPEC.format(id=monitor, start=f"{first:%Y-%m-%d}", end=f"{first + timedelta(days=14):%Y-%m-%d}")
            (home.monitors / f"{monitor}.yaml").write_text(text)
            land(home, monitor, first, range(DAYS - 1))
        begun = time.monotonic()
        backfill(home, monitors[0])  # parses dbt's project once
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda monitor: backfill(home, monitor), monitors[1:]))
        month = time.monotonic() - begun
        before = size_mb(home.dagster)
        seconds, watch = live_day(home, monitors, first)
        ticks = np.array(tick_seconds(home))
        print(f"{len(monitors)} monitors, {DAYS} days; load average {os.getloadavg()[0]:.1f}")
        print(f"  29 days of all by backfill: {month:.0f} s")
        print(
            f"  one live day of all: {seconds:.0f} s, {sum(watch.cpu.values()) / len(monitors):.1f} CPU s per monitor"
        )
        print(f"  peak memory of all of Dagster's processes: {watch.peak_mb:.0f} MB")
        print(
            f"  {len(ticks)} looks of sensors: median {np.median(ticks):.2f} s, 95 % {np.quantile(ticks, 0.95):.2f} s"
        )
        print(
            f"  Dagster's storage: {before:.0f} MB after the month, {size_mb(home.dagster):.0f} MB after the live day"
        )
        print(f"  data of a monitor: {size_mb(home.data) / len(monitors):.1f} MB")
    finally:
        shutil.rmtree(home.root, ignore_errors=True)


if __name__ == "__main__":
    main()
