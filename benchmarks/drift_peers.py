"""Drift of 20 features against a reference: Sightline beside Evidently, NannyML and plain scipy, in one run.

Each tool runs in a process of its own. Its CPU seconds (user + system, children included) are of the work alone: not of
imports, which a small run before has done for every tool, nor of reading; of short runs the median of three. They are
divided by ours. The peers get environments of their own with the pins that they need (`build/peers/`). ``python -m
benchmarks drift_peers --rows 1000000 [--days 30] [--statistics js] [--tools sightline,scipy,evidently,nannyml]``
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "peers"
PINS = {
    # Without the caps a fresh install of either fails at import: they use what pandas 3 removed, and NannyML does not
    # declare statsmodels.
    "evidently": ["evidently==0.7.21", "pandas<3", "pyarrow"],
    "nannyml": ["nannyml==0.13.1", "pandas<3", "statsmodels", "pyarrow"],
}
STEADY_SECONDS = 10
NUMERIC, CATEGORICAL = [f"n{i}" for i in range(10)], [f"c{i}" for i in range(10)]
PRELUDE = """
import json, os, resource, sys
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # threads of BLAS wait busily: that would be counted as work
ref_path, cur_path, days, same = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "js"
def cpu():
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in spent)
def report(spent, windows):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_seconds": spent, "peak_mb": peak, "windows_run": windows}))
"""
PANDAS = """
import pandas as pd
reference, current = pd.read_parquet(ref_path), pd.read_parquet(cur_path)
days_of = [day for _, day in current.groupby(current["at"].dt.date)] if days > 1 else [current]
groups = [day.drop(columns="at") for day in days_of]
timed = reference
reference = reference.drop(columns="at")
numeric = [c for c in reference if reference[c].dtype.kind == "f"]
categorical = [c for c in reference if c not in numeric]
"""
SCRIPTS = {
    "sightline": """
import polars as pl
from metrics_py import compare
reference, current = pl.read_parquet(ref_path), pl.read_parquet(cur_path)
compare(reference.head(100).drop("at"), current.head(100).drop("at"))  # imports
start = cpu()
metrics = ["js_distance"] if same else None
if days > 1:
    current = current.with_columns(day=pl.col("at").dt.date().cast(pl.String))
result = compare(reference.drop("at"), current.drop("at"), by="day" if days > 1 else None, metrics=metrics)
spent = cpu() - start
assert result.frame.height >= 20 * days, result.frame.height
report(spent, days)
""",
    "scipy": """
import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon
start = cpu()
for group in groups:
    for name in group:
        old, new = reference[name].dropna(), group[name].dropna()
        if name in numeric and same:
            edges = np.quantile(old, np.linspace(0, 1, 33))
            edges[[0, -1]] = -np.inf, np.inf
            jensenshannon(*(np.histogram(x, edges)[0] for x in (old, new)), base=2)
        elif name in numeric:
            stats.ks_2samp(old, new, method="asymp")
        else:
            counts = pd.concat([old.value_counts(), new.value_counts()], axis=1).fillna(0).T
            jensenshannon(*counts.to_numpy(), base=2) if same else stats.chi2_contingency(counts)
report(cpu() - start, len(groups))
""",
    "evidently": """
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
def judge(old, new):
    preset = DataDriftPreset(method="jensenshannon") if same else DataDriftPreset()
    return Report([preset]).run(Dataset.from_pandas(new, definition), Dataset.from_pandas(old, definition)).dict()
judge(reference.head(100), reference.head(100))  # imports
start = cpu()
for group in groups[:3]:
    judge(reference, group)
report((cpu() - start) * len(groups) / len(groups[:3]), len(groups[:3]))
""",
    "nannyml": """
import nannyml as nml
names = numeric + categorical
def judge(old, new, **chunks):
    calculator = nml.UnivariateDriftCalculator(
        column_names=names, treat_as_categorical=categorical, timestamp_column_name="at",
        continuous_methods=["jensen_shannon"], categorical_methods=["jensen_shannon"], **chunks)
    return calculator.fit(old).calculate(new).to_df()
judge(timed.head(1000), timed.head(1000), chunk_number=1)  # imports
start = cpu()
judge(timed, current, **({"chunk_period": "D"} if days > 1 else {"chunk_number": 1}))
report(cpu() - start, len(groups))
""",
}
STATISTICS = {
    "default": (
        "each tool's own: Sightline PSI with interval, null, not finite, out-of-range and unseen rates; NannyML JS "
        "distance; Evidently Wasserstein and JS distance; scipy KS and chi-square"
    ),
    "js": "the same for all: Jensen-Shannon distance of every column",
}


def sample(rows: int, days: int, seed: int) -> pl.DataFrame:
    """`rows` rows over `days` days: ten numeric columns (normal and heavy-tailed), ten categorical, 2 % nulls each."""
    rng = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    for i, name in enumerate(NUMERIC):
        values = rng.normal(size=rows) if i % 2 else np.exp(rng.normal(size=rows))
        values[rng.random(rows) < 0.02] = np.nan
        columns[name] = pl.Series(values).fill_nan(None)
    for i, name in enumerate(CATEGORICAL):
        codes = np.minimum(rng.geometric(0.15, size=rows), 5 + 3 * i)
        columns[name] = pl.Series(codes).cast(pl.String)
    start = np.datetime64("2026-01-01T00:00:00")
    at = start + (np.arange(rows) * (days * 86_400_000_000 // rows)).astype("timedelta64[us]")
    return pl.DataFrame({"at": at, **columns})


def environment(tool: str) -> Path:
    """Interpreter for a tool, installed on first use."""
    if tool not in PINS:
        return Path(sys.executable)
    folder = BUILD / tool
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINS[tool]], check=True)  # noqa: S603 (its own command)
        (folder / ".installed").touch()
    return python


def measure(tool: str, reference: Path, current: Path, days: int, statistics: str) -> dict[str, float]:
    """CPU seconds and peak memory of one tool."""
    script = PRELUDE + ("" if tool == "sightline" else PANDAS) + SCRIPTS[tool]
    command = [
        str(environment(tool)),
        "-W",
        "ignore",
        "-c",
        script,
        str(reference),
        str(current),
        str(days),
        statistics,
    ]
    done = subprocess.run(  # noqa: S603 (its own command)
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == -signal.SIGKILL and tool in PINS:
        raise MemoryError(f"{tool} was killed: there is not enough memory for this many rows")
    if done.returncode:
        sys.exit(f"{tool} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def steadied(tool: str, *arguments: Any) -> dict[str, float]:
    """The median of three runs of a tool that takes less than ten seconds.

    Other work on the machine weighs on short runs.
    """
    runs = [measure(tool, *arguments)]
    if runs[0]["cpu_seconds"] < STEADY_SECONDS:
        runs += [measure(tool, *arguments) for _ in range(2)]
    return sorted(runs, key=lambda run: run["cpu_seconds"])[len(runs) // 2]


def main(arguments: list[str] | None = None) -> None:
    """Generate, measure, print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks drift_peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of reference and of current, each")
    parser.add_argument("--days", type=int, default=1, help="daily windows the current rows are spread over")
    parser.add_argument(
        "--statistics",
        choices=STATISTICS,
        default="default",
        help="; ".join(f"{k}: {v}" for k, v in STATISTICS.items()),
    )
    parser.add_argument("--tools", default="sightline,scipy,evidently,nannyml")
    options = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        reference, current = Path(folder, "reference.parquet"), Path(folder, "current.parquet")
        sample(options.rows, 30, 1).write_parquet(reference)
        sample(options.rows, options.days, 2).write_parquet(current)
        found: dict[str, dict[str, float]] = {}
        for tool in options.tools.split(","):
            try:
                found[tool] = steadied(tool, reference, current, options.days, options.statistics)
            except MemoryError as error:
                print(f"  {error}")
    own = found.get("sightline", {}).get("cpu_seconds")
    print(
        f"{options.rows:,} rows against {options.rows:,}, 20 features, {options.days} window(s); CPU seconds of the "
        "work alone"
    )
    print(f"  statistics: {STATISTICS[options.statistics]}")
    for tool, result in found.items():
        note = f" (scaled from {result['windows_run']:.0f} windows)" if result["windows_run"] < options.days else ""
        ratio = f"{result['cpu_seconds'] / own:7.1f} x" if own else ""
        print(f"  {tool:<10} {result['cpu_seconds']:9.2f} s {ratio}  peak {result['peak_mb']:6.0f} MB{note}")


if __name__ == "__main__":
    main()
