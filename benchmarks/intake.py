"""From landing files to the lake: CPU seconds per million predictions and labels, beside a plain read and write.

30 days of the monitor of `daily_path` (20 features, score, late labels) lie in the landing folders, one Parquet file
per day and kind. The plain copy reads each file with Polars and writes it back compressed as the lake is: what any
loader must do. Every stage runs in a process of its own, one after the other in one run. Run:
``python -m benchmarks intake [--rows 1000000]``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb
import polars as pl

from benchmarks.daily_path import DAYS, THREADS, Cost, generate, make_spec, measured
from sightline.home import Home, MonitorPaths
from sightline.spec.model import MonitorSpec

AIM = 1.5


def land(spec: MonitorSpec, paths: MonitorPaths, rows: int) -> None:
    """Write the landing files, made from what `daily_path` makes for the lake."""
    generate(spec, paths, rows)
    features = ", ".join(f'"f_{name}" AS "{name}"' for name in spec.columns.features)
    queries = {
        "inferences": f"prediction_id, predicted_at AS timestamp, score, latency_ms AS ms, {features}",
        "labels": "prediction_id, label_value::INT AS label, observed_at",
    }
    with duckdb.connect() as con:
        con.execute(f"SET threads = {THREADS}")
        for kind, columns in queries.items():
            target = paths.root / "landing" / kind
            target.mkdir(parents=True)
            for part in sorted((paths.lake / kind).glob("*/part.parquet")):
                con.execute(
                    f"COPY (SELECT {columns} FROM '{part}') TO '{target}/{part.parent.name}.parquet'"  # noqa: S608
                )
    shutil.rmtree(paths.lake)


def copy(paths: MonitorPaths, kind: str) -> None:
    """Read and write the landing files of a kind, nothing else."""
    target = paths.root / "copy"
    target.mkdir(exist_ok=True)
    for file in sorted((paths.root / "landing" / kind).glob("*.parquet")):
        pl.read_parquet(file).write_parquet(target / file.name, compression="zstd", compression_level=1)


def load(spec: MonitorSpec, paths: MonitorPaths, home: Home, kind: str, rows: int) -> None:
    """The intake of a kind."""
    from sightline.lake.intake.load import intake

    report = intake(spec, paths, kind, home)
    if report.accepted != rows // DAYS * DAYS or report.quarantined_by_reason:
        raise SystemExit(f"not every row was accepted: {report}"[:4000])


def nothing() -> None:
    """What a process costs that imports the intake."""
    import sightline.lake.intake.load  # noqa: F401


def stage(name: str, kind: str, home: Path, rows: int = 0) -> Cost:
    """Measure one stage of this file."""
    call = [sys.executable, "-m", "benchmarks", "intake", "--stage", name, "--kind", kind]
    return measured([*call, "--home", str(home), "--rows", str(rows)], {"POLARS_MAX_THREADS": str(THREADS)})


def run(rows: int, folder: Path) -> None:
    """Measure one size and print the table."""
    stage("land", "inferences", folder, rows)
    start = stage("nothing", "inferences", folder).cpu_seconds
    print(f"{rows:,} predictions, {rows:,} labels. CPU seconds per million rows:")
    print(f"  {'':<12}{'intake':>8}{'copy':>8}{'ratio':>8}{'peak MB':>9}   (aim {AIM:g})")
    for kind in ("inferences", "labels"):
        plain, loaded = stage("copy", kind, folder), stage("load", kind, folder, rows)
        cost, floor = ((c.cpu_seconds - start) / rows * 1e6 for c in (loaded, plain))
        print(f"  {kind:<12}{cost:>8.2f}{floor:>8.2f}{cost / floor:>7.1f}x{loaded.peak_mb:>9.0f}")
    print(f"  a process that imports the intake: {start:.1f} CPU s, taken off")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks intake", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.stage:
        folder = Path(tempfile.mkdtemp(prefix="sightline_bench_"))
        try:
            run(asked.rows, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    spec, home = make_spec(0), Home(asked.home)
    paths = home.monitor(spec.id)
    if asked.stage == "land":
        land(spec, paths, asked.rows)
    elif asked.stage == "copy":
        copy(paths, asked.kind)
    elif asked.stage == "load":
        load(spec, paths, home, asked.kind, asked.rows)
    else:
        nothing()


if __name__ == "__main__":
    main()
