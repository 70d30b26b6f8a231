"""The whole daily path as a multiple of DuckDB's plain scan of the same columns: aggregates, drift, quality; 30 days.

30 days of 20 features (10 numeric, 10 categorical, with nulls), score and late labels lie in the lake. Every stage runs
in a process of its own, one after the other in one run; its CPU seconds (user + system) divided by the scan's are the
figure to trust on a shared machine. The scan counts every column with two threads, the dbt build has two threads and
700 MB for DuckDB. What dbt itself costs (the same build over no window) is measured and given apart.
Scans of one world measured minutes apart on a loaded machine differ by 40 %: quote ratios of one quiet run only. Run:
``python -m benchmarks daily_path [--rows 1000000 10000000]``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from sightline.home import Home, MonitorPaths
from sightline.spec.model import MonitorSpec
from sightline.warehouse import build_reference, connect, load_reference, write_control
from sightline.warehouse.views import CURRENT_LABELS

ROOT = Path(__file__).resolve().parent.parent
START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 30
REFERENCE_DAYS = 7
NUMERIC = [f"numeric {i}" for i in range(10)]
CATEGORICAL = [f"category {i}" for i in range(10)]
THREADS = 2
AIM = 6.0


@dataclass(frozen=True)
class Cost:
    """What one stage took."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float


def make_spec(segments: int) -> MonitorSpec:
    """The monitor of the benchmark."""
    features = dict.fromkeys(NUMERIC, "numeric") | dict.fromkeys(CATEGORICAL, "categorical")
    return MonitorSpec.model_validate(
        {
            "model": {"id": "bench", "task": "binary_classification"},
            "columns": {"score": "score", "latency_ms": "ms", "features": features, "segments": CATEGORICAL[:segments]},
            "labels": {"column": "label", "positive": 1, "observed_at": "observed_at"},
            "reference": {"start": START.isoformat(), "end": (START + timedelta(days=REFERENCE_DAYS)).isoformat()},
        }
    )


def keys_of(spec: MonitorSpec) -> list[str]:
    """Window keys of the 30 days."""
    return [spec.key(START + timedelta(days=day)) for day in range(DAYS)]


# ---------------------------------------------------------------- data


def uniform(salt: int) -> str:
    """SQL for a reproducible number in [0, 1) per row i of a day."""
    return f"((hash(i, day, {salt}) >> 11) / 9007199254740992.0)"


def numeric(index: int) -> str:
    """A roughly normal, a skewed or a zero-inflated column with 2 % nulls."""
    normal = f"({' + '.join(uniform(100 * index + j) for j in range(4))} - 2) * {index + 1}"
    value = [normal, f"exp({normal} / {index + 1})", f"if({uniform(7000 + index)} < 0.2, 0.0, {normal})"][index % 3]
    return f"if({uniform(8000 + index)} < 0.02, NULL, {value})"


def category(index: int) -> str:
    """5 to 113 values with falling frequencies, 1 % nulls."""
    return (
        f"if({uniform(9000 + index)} < 0.01, NULL, "
        f"'value ' || floor({5 + 12 * index} * {uniform(9100 + index)} ** 2)::INT)"
    )


def generate(spec: MonitorSpec, paths: MonitorPaths, rows: int) -> None:
    """Write the lake's Parquet, one part per window and kind, in the lake's columns."""
    per_day = rows // DAYS
    numbers = "".join(f', {numeric(i)} AS "f_{name}"' for i, name in enumerate(NUMERIC))
    categories = "".join(f', {category(i)} AS "f_{name}"' for i, name in enumerate(CATEGORICAL))
    segments = "".join(f', "f_{name}" AS "g_{name}"' for name in spec.columns.segments)
    with duckdb.connect() as con:
        con.execute(f"SET threads = {THREADS}; SET memory_limit = '1500MB'")
        for day, key in enumerate(keys_of(spec)):
            start = f"TIMESTAMP '{START + timedelta(days=day):%Y-%m-%d}'"
            con.execute(f"""CREATE OR REPLACE TEMP TABLE day_rows AS SELECT *{segments} FROM (
                SELECT printf('%016x', hash(i, day)) AS prediction_id,
                       {start} + to_microseconds((i * 86.4e9 / {per_day})::BIGINT) AS predicted_at,
                       {start} AS window_start, 'v1' AS model_version,
                       NULL::VARCHAR AS entity_id, NULL::VARCHAR AS query_id,
                       {uniform(1)} ** 2 AS score, NULL::DOUBLE AS prediction,
                       NULL::VARCHAR AS predicted_class, false AS is_error,
                       NULL::VARCHAR AS status, 5 + 100 * {uniform(2)} ** 3 AS latency_ms, 1.0::DOUBLE AS weight,
                       (hash(i, day) % 64)::UTINYINT AS bucket, {start} + INTERVAL 1 DAY AS received_at,
                       'b{day}' AS batch_id, i AS row_number
                       {numbers}{categories}
                FROM (SELECT i, {day} AS day FROM range({per_day}) AS ids(i)))""")  # noqa: S608 (its own names)
            label = f"if({uniform(3).replace('day', str(day)).replace('(i,', '(row_number,')} < score, 1, 0)"
            labels = f"""SELECT prediction_id, predicted_at, window_start,
                       {label}::VARCHAR AS label_class, {label}::DOUBLE AS label_value,
                       predicted_at + INTERVAL 20 HOUR AS observed_at, predicted_at + INTERVAL 30 HOUR AS received_at,
                       ({100 + day}::BIGINT << 32) + row_number AS revision_order, 'l{day}' AS batch_id,
                       false AS is_retracted
                FROM day_rows ORDER BY hash(prediction_id)"""  # noqa: S608 (its own names)
            for kind, query in {"inferences": "FROM day_rows", "labels": labels}.items():
                folder = paths.lake / kind / f"window={key}"
                folder.mkdir(parents=True, exist_ok=True)
                con.execute(
                    f"COPY ({query}) TO '{folder}/part.parquet' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
                )


def prepare(con: duckdb.DuckDBPyConnection, paths: MonitorPaths) -> None:
    """The views that sightline.warehouse.prepare makes, over parts that no intake wrote."""
    con.execute("CREATE SCHEMA IF NOT EXISTS raw")
    for kind in ("inferences", "labels"):
        scan = (
            f"read_parquet('{paths.lake / kind}/window=*/*.parquet', hive_partitioning = true, "
            "hive_types = {'window': VARCHAR})"
        )
        con.execute(
            f"CREATE OR REPLACE VIEW raw.{kind} AS "  # noqa: S608 (its own names)
            f'SELECT * EXCLUDE ("window"), "window" AS window_key FROM {scan}'
        )
    columns = {"kind": "VARCHAR", "column": "VARCHAR", "reason": "VARCHAR", "severity": "VARCHAR"}
    columns |= {"window_start": "TIMESTAMP", "received_at": "TIMESTAMP"}
    empty = ", ".join(f'NULL::{dtype} AS "{name}"' for name, dtype in columns.items())
    con.execute("CREATE OR REPLACE VIEW raw.production AS SELECT * FROM raw.inferences")
    con.execute(f"CREATE OR REPLACE VIEW raw.current_labels AS {CURRENT_LABELS}")
    con.execute(f"CREATE OR REPLACE VIEW raw.quarantine AS SELECT {empty} WHERE false")


# ---------------------------------------------------------------- stages, each in a process of its own


def scan(spec: MonitorSpec, paths: MonitorPaths, columns: Sequence[str], label_columns: Sequence[str]) -> None:
    """Count the non-null values of the columns: everything is decoded, nothing else is done."""
    with duckdb.connect() as con:
        con.execute(f"SET threads = {THREADS}")
        prepare(con, paths)
        for kind, names in {"inferences": columns, "labels": label_columns}.items():
            counts = ", ".join(f'count("{name}")' for name in names)
            con.sql(f"SELECT {counts} FROM raw.{kind}").fetchall()  # noqa: S608 (its own names)


def scan_stated(spec: MonitorSpec, paths: MonitorPaths) -> None:
    """Features, score and label."""
    scan(spec, paths, [*(f"f_{name}" for name in [*NUMERIC, *CATEGORICAL]), "score"], ["label_value"])


def scan_read(spec: MonitorSpec, paths: MonitorPaths) -> None:
    """Every column that the daily path reads: also ids (labels are joined), versions, buckets, times, latency."""
    features = [f"f_{name}" for name in [*NUMERIC, *CATEGORICAL]] + [f"g_{name}" for name in spec.columns.segments]
    service = ["predicted_at", "received_at", "latency_ms", "is_error", "weight"]
    keys = ["prediction_id", "window_start", "model_version", "bucket", "predicted_class", "score"]
    label = [
        "prediction_id",
        "window_start",
        "label_class",
        "observed_at",
        "received_at",
        "revision_order",
        "is_retracted",
    ]
    scan(spec, paths, [*features, *service, *keys], label)


def judge(spec: MonitorSpec, paths: MonitorPaths) -> None:
    """Data quality, drift and model quality of all windows."""
    import_judges()  # imports are not the path's work: they are measured in judge_nothing and taken off
    from sightline.judging import data_quality, drift, model_quality
    from sightline.judging.frames import Work

    frozen = load_reference(paths)
    profiles = frozen.columns if frozen else {}
    now = START + timedelta(days=DAYS + 2)
    with connect(paths, read_only=True) as con:
        con.execute(f"SET threads = {THREADS}")
        work = Work(spec, paths, con, keys_of(spec), profiles, now)
        data_quality.judge(work)
        drift.judge(spec, con, keys_of(spec), profiles)
        model_quality.judge(work)


def import_judges() -> None:
    """Import what judging needs."""
    import scipy.stats  # noqa: F401

    from sightline.judging import model_quality  # noqa: F401


def judge_nothing(spec: MonitorSpec, paths: MonitorPaths) -> None:
    """What a judging process costs before it judges."""
    import_judges()


def freeze(spec: MonitorSpec, paths: MonitorPaths) -> None:
    """Freeze the reference from the first days."""
    with connect(paths) as con:
        prepare(con, paths)
        build_reference(spec, paths, Home(paths.root.parent.parent), con)


def nothing(spec: MonitorSpec, paths: MonitorPaths) -> None:
    """What a process that imports this file costs."""


STAGES = {f.__name__: f for f in (freeze, scan_stated, scan_read, judge, judge_nothing, nothing)}


# ---------------------------------------------------------------- measuring


def measured(call: list[str], environment: dict[str, str], *, repeats: int = 1) -> Cost:
    """Run a command to its end; the cheapest of `repeats`."""
    costs = []
    for _ in range(repeats):
        begun = time.monotonic()
        child = subprocess.Popen(  # noqa: S603 (its own command)
            call, env={**os.environ, **environment}, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{' '.join(call)} failed:\n{output.decode()[-4000:]}")
        costs.append(Cost(used.ru_utime + used.ru_stime, time.monotonic() - begun, used.ru_maxrss / 1024))
    return min(costs, key=lambda cost: cost.cpu_seconds)


def stage(name: str, home: Path, segments: int, *, rows: int = 0, repeats: int = 1) -> Cost:
    """Measure one stage of this file."""
    call = [
        sys.executable,
        "-m",
        "benchmarks",
        "daily_path",
        "--stage",
        name,
        "--home",
        str(home),
        "--segments",
        str(segments),
        "--rows",
        str(rows),
    ]
    return measured(call, {}, repeats=repeats)


def dbt_build(paths: MonitorPaths) -> Cost:
    """Measure one dbt build of all models, tests included."""
    project, target = ROOT / "dbt_project", paths.dbt / "target"
    dbt = Path(sysconfig.get_path("scripts")) / "dbt"
    call = [
        str(dbt),
        "build",
        "--exclude-resource-type",
        "unit_test",
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
    ]
    call += [
        "--target-path",
        str(target),
        "--log-path",
        str(paths.dbt / "logs"),
    ]
    environment = {
        "SIGHTLINE_WAREHOUSE": str(paths.warehouse),
        "SIGHTLINE_THREADS": str(THREADS),
        "SIGHTLINE_MEMORY_LIMIT": "700MB",
    }
    return measured(call, environment | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "False", "DO_NOT_TRACK": "1"})


def slowest_models(paths: MonitorPaths, n: int = 6) -> list[tuple[str, float]]:
    """Models of the last build by wall seconds."""
    results = json.loads((paths.dbt / "target" / "run_results.json").read_text())["results"]
    models = [
        (r["unique_id"].split(".")[2], r["execution_time"]) for r in results if r["unique_id"].startswith("model.")
    ]
    return sorted(models, key=lambda model: -model[1])[:n]


def run(rows: int, segments: int, folder: Path) -> dict[str, object]:
    """Measure one size and print the table."""
    spec, home = make_spec(segments), Home(folder)
    paths = home.monitor(spec.id)
    generated = stage("generate", folder, segments, rows=rows)
    frozen = stage("freeze", folder, segments)
    print(f"\n{rows:,} rows, {segments} segment columns; data made in {generated.wall_seconds:.0f} s")
    print(
        f"reference of {REFERENCE_DAYS} days frozen, once: {frozen.cpu_seconds:.1f} CPU s, peak {frozen.peak_mb:.0f} MB"
    )
    costs = {name: stage(name, folder, segments, repeats=3) for name in ("scan_stated", "scan_read", "judge_nothing")}
    start = stage("nothing", folder, segments, repeats=3).cpu_seconds
    for name, keys in {"dbt_nothing": [], "dbt_nothing_again": [], "dbt": keys_of(spec)}.items():
        with connect(paths) as con:
            write_control(con, spec, load_reference(paths), keys, may_repeat_labels=())  # as the intake would know
        costs[name] = dbt_build(paths)
    models = slowest_models(paths)
    costs["judge"] = stage("judge", folder, segments)
    aggregates = costs["dbt"].cpu_seconds - costs["dbt_nothing_again"].cpu_seconds
    judged = costs["judge"].cpu_seconds - costs["judge_nothing"].cpu_seconds
    path = aggregates + judged
    print(f"{'CPU seconds':<46}{'':>8}  of the scan of")
    print(f"{'':<54}  stated   all read")
    floors = [costs[name].cpu_seconds - start for name in ("scan_stated", "scan_read")]
    for label, value in {
        "scan: 20 features, score, label": floors[0],
        "scan: every column the path reads": floors[1],
        "aggregates (dbt models and tests)": aggregates,
        "drift, data quality, model quality": judged,
        "the path": path,
    }.items():
        print(f"  {label:<44}{value:>8.2f}  {value / floors[0]:>5.1f} x  {value / floors[1]:>5.1f} x")
    print(
        f"  aim: {AIM:g} x. dbt itself, once per run whatever the rows: {costs['dbt_nothing_again'].cpu_seconds:.1f} "
        "CPU s"
    )
    print(f"  peak memory: dbt {costs['dbt'].peak_mb:.0f} MB, judging {costs['judge'].peak_mb:.0f} MB")
    print(
        f"  wall: dbt {costs['dbt'].wall_seconds:.1f} s, judging {costs['judge'].wall_seconds:.1f} s; load average "
        f"{os.getloadavg()[0]:.1f}"
    )
    print("  slowest models (wall s): " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in models))
    return {
        "rows": rows,
        "segments": segments,
        "ratio_stated": path / floors[0],
        "ratio_read": path / floors[1],
        "costs": {name: asdict(cost) for name, cost in costs.items()},
        "python_start_cpu_seconds": start,
        "models_wall_seconds": dict(models),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks daily_path", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--segments", type=int, default=0, help="how many of the categories are segment columns")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", type=Path, help="keep the data in this folder")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        spec = make_spec(asked.segments)
        paths = Home(asked.home).monitor(spec.id)
        if asked.stage == "generate":
            generate(spec, paths, asked.rows[0])
        else:
            STAGES[asked.stage](spec, paths)
        return
    results = []
    for rows in asked.rows:
        folder = asked.keep / str(rows) if asked.keep else Path(tempfile.mkdtemp(prefix="sightline_bench_"))
        try:
            results.append(run(rows, asked.segments, folder))
        finally:
            if not asked.keep:
                shutil.rmtree(folder, ignore_errors=True)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
