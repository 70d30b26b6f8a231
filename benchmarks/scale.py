"""The aggregates of 30 days on DuckDB and on Spark, on the same cores: cost per row, memory, and where the lines cross.

The world is that of `daily_path`: 20 features, a score, late labels. Both engines build the same dbt models over the
same Parquet files, one after the other; CPU seconds are those of the whole process tree (user + system). Run:
``python -m benchmarks scale [--rows 1000000 10000000] [--engines duckdb spark]``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from benchmarks.daily_path import ROOT, keys_of, make_spec, prepare, stage
from sightline.home import Home, MonitorPaths
from sightline.lake.store.ledger import open_ledger
from sightline.lake.store.schema import fingerprint
from sightline.warehouse import connect, load_reference, write_control

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Used:
    """What a process and all that it started took."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


class Watch(threading.Thread):
    """Adds up CPU seconds and memory of a process tree while it runs; Linux."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.cpu, self.peak_mb = root, {}, 0.0
        self.is_over = threading.Event()

    def run(self) -> None:
        """Look four times a second, until the tree is gone."""
        while not self.is_over.wait(0.25):
            tree, memory = {self.root}, 0.0
            rows = sorted(self._rows())
            for _ in range(4):  # children may have smaller numbers than their parents
                tree |= {pid for pid, parent, _, _ in rows if parent in tree}
            for pid, _, ticks, pages in rows:
                if pid in tree:
                    self.cpu[pid] = ticks / TICKS
                    memory += pages * PAGE_MB
            self.peak_mb = max(self.peak_mb, memory)

    @staticmethod
    def _rows() -> list[tuple[int, int, int, int]]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found.append((int(folder.name), int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21])))
        return found


def watched(call: list[str]) -> Used:
    """Run a command to its end and say what its tree took."""
    begun = time.monotonic()
    child = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 (its own)
    watch = Watch(child.pid)
    watch.start()
    output, _ = child.communicate()
    watch.is_over.set()
    watch.join()
    if child.returncode:
        raise SystemExit(f"{' '.join(call)} failed:\n{output.decode()[-4000:]}")
    return Used(sum(watch.cpu.values()), time.monotonic() - begun, watch.peak_mb)


def make_world(rows: int, folder: Path) -> float:
    """Data, ledger and reference; bytes of the lake."""
    spec, paths = make_spec(0), Home(folder).monitor("bench")
    stage("generate", folder, 0, rows=rows)
    with open_ledger(paths.ledger, create=True) as ledger, duckdb.connect() as con:
        for kind in ("inferences", "labels"):
            files = sorted((paths.lake / kind).glob("window=*/part.parquet"))
            found = con.sql(f"FROM read_parquet('{files[0]}', hive_partitioning = false) LIMIT 0")
            columns = dict(zip(found.columns, map(str, found.types), strict=True))
            mark = fingerprint(columns)
            ledger.con.execute("INSERT INTO schemas VALUES (?, ?)", [mark, json.dumps(columns)])
            for file in files:
                named = file.rename(file.with_name(f"part-{mark}.parquet"))
                part = [named.relative_to(paths.root).as_posix(), kind, file.parent.name.partition("=")[2]]
                ledger.con.execute("INSERT INTO parts VALUES (?, ?, ?, 'live', 0, ?, 0)", [*part, mark])
        ledger.con.commit()
    stage("freeze", folder, 0)
    with connect(paths) as con:
        prepare(con, paths)
        write_control(con, spec, load_reference(paths), keys_of(spec))
    return float(sum(file.stat().st_size for file in paths.lake.rglob("*.parquet")))


def build(engine: str, paths: MonitorPaths, memory: str) -> None:
    """One dbt build of all models; runs in a process of its own."""
    if engine == "duckdb":
        from dbt.cli.main import dbtRunner

        os.environ |= {"SIGHTLINE_WAREHOUSE": str(paths.warehouse), "SIGHTLINE_MEMORY_LIMIT": "4GB"}
        flags = {"project-dir": ROOT / "dbt_project", "profiles-dir": ROOT / "dbt_project"}
        flags |= {"target-path": paths.dbt / "target", "log-path": paths.dbt / "logs"}
        args = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
        done = dbtRunner().invoke(["build", "--exclude-resource-type", "unit_test", *args])
        raise SystemExit(0 if done.success else str(done.exception))
    from orchestration.resources import ensure_manifest
    from sightline.engines import spark
    from sightline.spec.home_file import EngineSettings

    home = Home(paths.root.parent.parent)
    settings = EngineSettings(kind="spark", master="local[2]", memory=memory)
    args = ["build", "--exclude-resource-type", "unit_test"]
    manifest = json.loads(ensure_manifest(home).read_text())
    built = spark.build(make_spec(0), paths, settings, args, project=ROOT / "dbt_project", manifest=manifest)
    if built.error is not None:
        raise built.error


def run(rows: int, engines: list[str], folder: Path, memory: str) -> dict[str, object]:
    """Measure one size."""
    size = make_world(rows, folder)
    found: dict[str, Used] = {}
    for engine in engines:
        call = ["--build", engine, "--home", str(folder), "--memory", memory]
        found[engine] = watched([sys.executable, "-m", "benchmarks", "scale", *call])
        used = found[engine]
        print(
            f"{rows:>13,} {engine:<8}{used.cpu_seconds:>10.1f}{used.cpu_seconds / rows * 1e6:>12.2f}"
            f"{used.wall_seconds:>9.1f}{used.peak_mb:>9.0f}{size / 2**20:>11.0f}{os.getloadavg()[0]:>8.1f}",
            flush=True,
        )
    return {"rows": rows, "lake_bytes": size, **{engine: asdict(used) for engine, used in found.items()}}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--engines", nargs="+", default=["duckdb", "spark"], choices=["duckdb", "spark"])
    parser.add_argument("--memory", default="4g", help="of Spark's driver, which is all of it on one machine")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.build:
        build(asked.build, Home(asked.home).monitor("bench"), asked.memory)
        return
    heads = ("engine", "CPU s", "per M rows", "wall s", "peak MB", "lake MB", "load")
    print(
        f"{'rows':>13} {heads[0]:<8}{heads[1]:>10}{heads[2]:>12}{heads[3]:>9}{heads[4]:>9}{heads[5]:>11}{heads[6]:>8}"
    )
    results = []
    for rows in asked.rows:
        folder = Path(tempfile.mkdtemp(prefix="sightline_scale_"))
        try:
            results.append(run(rows, asked.engines, folder, asked.memory))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
