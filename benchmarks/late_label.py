"""What one late label costs, beside a day's full run: seconds of both, one after the other in one run.

A year of predictions with their labels is loaded and worked up. Then the last day comes: its predictions and labels are
loaded, every model is built and everything is judged for its window. Then one label comes for a day three months ago:
it is loaded, the models of labels are built and quality is judged for the windows it touched. Intake and judging run in
this process, dbt in its own, as always; so both hold the start of dbt, which `dbt for no window` shows. Run:
``python -m benchmarks late_label [--rows 2000000]``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sysconfig
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.daily_path import ROOT, THREADS
from sightline.home import Home, MonitorPaths
from sightline.judging import data_quality, drift, model_quality
from sightline.judging.frames import Work
from sightline.lake.intake.load import intake
from sightline.lake.store.ledger import open_ledger
from sightline.spec.model import MonitorSpec
from sightline.warehouse import connect, ensure_reference, load_reference, prepare, write_control

START = datetime(2025, 1, 1, tzinfo=UTC)
DAYS, LATE_DAY = 365, 272
DAY = timedelta(days=1)
FEATURES = [f"x{i}" for i in range(5)]


def make_spec() -> MonitorSpec:
    """Binary classification, daily, five numbers, one segment."""
    return MonitorSpec.model_validate(
        {
            "model": {"id": "year", "task": "binary_classification"},
            "columns": {"score": "score", "features": dict.fromkeys(FEATURES, "numeric"), "segments": ["plan"]},
            "labels": {"column": "label", "observed_at": "known", "give_up_after": "30d"},
            "reference": {"start": START.isoformat(), "end": (START + 28 * DAY).isoformat()},
        }
    )


def land(paths: MonitorPaths, first: int, last: int, per_day: int) -> None:
    """The files of some days: predictions, and labels a day later; a label of `LATE_DAY` is held back."""
    rng = np.random.default_rng(first)
    n = (last - first) * per_day
    numbers = np.arange(first * per_day, last * per_day)
    seconds = numbers // per_day * 86_400 + numbers % per_day * 86_400 // per_day
    score = rng.random(n)
    frame = pl.DataFrame(
        {
            "prediction_id": pl.Series(numbers).cast(pl.String),
            "timestamp": (pl.Series(seconds) * 1_000_000 + int(START.timestamp() * 1e6)).cast(pl.Datetime("us")),
            "score": score,
            "plan": pl.Series(rng.integers(0, 4, n)).cast(pl.String),
            **{name: rng.normal(size=n) for name in FEATURES},
        }
    )
    labels = frame.select(
        "prediction_id", label=pl.Series((rng.random(n) < score).astype(int)), known=pl.col("timestamp") + DAY
    )
    for kind, rows in (("inferences", frame), ("labels", labels.filter(pl.Series(numbers != LATE_DAY * per_day)))):
        folder = paths.root / "landing" / kind
        folder.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(folder / f"from-{first:03d}.parquet")


def build(spec: MonitorSpec, paths: MonitorPaths, keys: list[str], *select: str) -> None:
    """Control tables and a dbt build of some windows."""
    with connect(paths) as con:
        prepare(con, spec, paths)
        write_control(con, spec, load_reference(paths), keys)
    target = paths.dbt / "target"
    target.mkdir(parents=True, exist_ok=True)
    project = str(ROOT / "dbt_project")
    call = [str(Path(sysconfig.get_path("scripts")) / "dbt"), "build", "--exclude-resource-type", "unit_test"]
    call += ["--project-dir", project, "--profiles-dir", project, "--target-path", str(target)]
    call += ["--log-path", str(paths.dbt / "logs"), *select]
    environment = {**os.environ, "SIGHTLINE_WAREHOUSE": str(paths.warehouse), "SIGHTLINE_THREADS": str(THREADS)}
    environment |= {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"}
    done = subprocess.run(call, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"dbt failed:\n{done.stdout[-4000:]}")


def judge(spec: MonitorSpec, paths: MonitorPaths, keys: list[str], *, everything: bool) -> None:
    """Judge quality, and everything else too if asked."""
    frozen = load_reference(paths)
    profiles = frozen.columns if frozen else {}
    with connect(paths, read_only=True) as con:
        work = Work(spec, paths, con, keys, profiles, START + (DAYS + 2) * DAY)
        if everything:
            data_quality.judge(work)
            drift.judge(spec, con, keys, profiles)
        model_quality.judge(work)


def run(rows: int, folder: Path) -> float:
    """Measure one size and print the table; the ratio."""
    spec, home = make_spec(), Home(folder)
    paths, per_day = home.monitor(spec.id), max(rows // DAYS, 1)
    begun = time.monotonic()
    for first in range(0, DAYS - 1, 30):
        land(paths, first, min(first + 30, DAYS - 1), per_day)
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    ensure_reference(spec, paths, home)
    keys = [spec.key(START + n * DAY) for n in range(DAYS)]
    build(spec, paths, keys[:-1])
    judge(spec, paths, keys[-3:-1], everything=True)  # imports are no one's cost
    print(f"{DAYS * per_day:,} predictions in {DAYS} days; loaded and worked up in {time.monotonic() - begun:.0f} s")

    begun = time.monotonic()
    build(spec, paths, [])
    nothing = time.monotonic() - begun
    land(paths, DAYS - 1, DAYS, per_day)
    begun = time.monotonic()
    for kind in ("inferences", "labels"):
        intake(spec, paths, kind, home)
    build(spec, paths, keys[-1:])
    judge(spec, paths, keys[-1:], everything=True)
    day = time.monotonic() - begun

    with open_ledger(paths.ledger) as ledger:
        _, position = ledger.windows_since("labels", 0)
    late = pl.DataFrame({"prediction_id": [str(LATE_DAY * per_day)], "label": [1], "known": [START + DAYS * DAY]})
    late.write_csv(paths.landing_labels / "late.csv")
    begun = time.monotonic()
    intake(spec, paths, "labels", home)
    loaded = time.monotonic() - begun
    with open_ledger(paths.ledger) as ledger:
        changed, _ = ledger.windows_since("labels", position)
    if list(changed) != [keys[LATE_DAY]]:
        raise SystemExit(f"one late label touched {sorted(changed)}")
    build(spec, paths, list(changed), "--select", "tag:delayed stg_inferences stg_quarantine")
    judge(spec, paths, list(changed), everything=False)
    cost = time.monotonic() - begun
    print(f"  dbt for no window    {nothing:6.1f} s")
    print(f"  a day's full run     {day:6.1f} s   1 window of {DAYS}, {per_day:,} predictions and labels")
    print(f"  one late label       {cost:6.1f} s   1 window of {DAYS}; {loaded:.2f} s of it to load")
    net = (cost - nothing) / (day - nothing)
    print(f"  ratio                {cost / day:6.2f}     without the start of dbt {net:.2f}")
    return cost / day


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks late_label", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sightline_bench_"))
    try:
        run(asked.rows, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
