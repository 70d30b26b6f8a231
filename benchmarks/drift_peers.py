"""Drift of 20 features against a reference: Sightline beside Evidently, NannyML and plain scipy, in one run.

Each tool runs in a process of its own and its CPU seconds (user + system, of the work alone, without imports and reading)
are divided by ours. The peers get environments of their own with the pins that they need (`build/peers/`).
``python -m benchmarks drift_peers --rows 1000000 [--days 30] [--tools sightline,scipy,evidently,nannyml]``
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "peers"
PINS = {
    # Without the caps a fresh install of either fails at import: they use what pandas 3 removed, and NannyML does not declare statsmodels.
    "evidently": ["evidently==0.7.21", "pandas<3", "pyarrow"],
    "nannyml": ["nannyml==0.13.1", "pandas<3", "statsmodels", "pyarrow"],
}
NUMERIC, CATEGORICAL = [f"n{i}" for i in range(10)], [f"c{i}" for i in range(10)]
PRELUDE = "import json, resource, sys\nref_path, cur_path, days = sys.argv[1], sys.argv[2], int(sys.argv[3])\n"
CPU = "def cpu():\n    u = resource.getrusage(resource.RUSAGE_SELF)\n    return u.ru_utime + u.ru_stime\n"
REPORT = "print(json.dumps({'cpu_seconds': cpu() - start, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))\n"
PANDAS = (
    "import pandas as pd\nreference, current = pd.read_parquet(ref_path), pd.read_parquet(cur_path)\n"
    "groups = [g.drop(columns='at') for _, g in current.groupby(current['at'].dt.date)] if days > 1 else [current.drop(columns='at')]\n"
    "timed = reference\nreference = reference.drop(columns='at')\n"
)
SCRIPTS = {
    "sightline": PRELUDE + CPU + "import polars as pl\nfrom metrics_py import compare\n"
    "reference, current = pl.read_parquet(ref_path), pl.read_parquet(cur_path)\nstart = cpu()\n"
    "if days > 1:\n    result = compare(reference.drop('at'), current.with_columns(day=pl.col('at').dt.date().cast(pl.String)).drop('at'), by='day')\n"
    "else:\n    result = compare(reference.drop('at'), current.drop('at'))\n"
    "assert result.frame.height >= 20 * days, result.frame.height\n" + REPORT,
    "scipy": PRELUDE + CPU + PANDAS + "from scipy import stats\nstart = cpu()\n"
    "for group in groups:\n"
    "    for name in group:\n"
    "        if group[name].dtype.kind == 'f':\n            stats.ks_2samp(reference[name].dropna(), group[name].dropna(), method='asymp')\n"
    "        else:\n            stats.chi2_contingency(pd.concat([reference[name].value_counts(), group[name].value_counts()], axis=1).fillna(0).T)\n"
    + REPORT,
    "evidently": PRELUDE + CPU + PANDAS + "from evidently import Report, Dataset, DataDefinition\nfrom evidently.presets import DataDriftPreset\n"
    "start = cpu()\n"
    "for group in groups[:3]:\n"
    "    numeric = [c for c in group if group[c].dtype.kind == 'f']\n"
    "    definition = DataDefinition(numerical_columns=numeric, categorical_columns=[c for c in group if c not in numeric])\n"
    "    Report([DataDriftPreset()]).run(Dataset.from_pandas(group, definition), Dataset.from_pandas(reference, definition)).dict()\n"
    "spent = (cpu() - start) * len(groups) / len(groups[:3])\n"
    "print(json.dumps({'cpu_seconds': spent, 'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 'windows_run': len(groups[:3])}))\n",
    "nannyml": PRELUDE + CPU + PANDAS + "import nannyml as nml\nnumeric = [c for c in reference if reference[c].dtype.kind == 'f']\n"
    "categorical = [c for c in reference if c not in numeric]\nstart = cpu()\n"
    "calculator = nml.UnivariateDriftCalculator(column_names=numeric + categorical, treat_as_categorical=categorical, timestamp_column_name='at',\n"
    "    continuous_methods=['kolmogorov_smirnov', 'jensen_shannon'], categorical_methods=['chi2', 'jensen_shannon'],\n"
    "    **({'chunk_period': 'D'} if days > 1 else {'chunk_number': 1}))\n"
    "calculator.fit(timed).calculate(current).to_df()\n" + REPORT,
}  # fmt: skip


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
        subprocess.run([python, "-m", "pip", "install", "-q", *PINS[tool]], check=True)
        (folder / ".installed").touch()
    return python


def measure(tool: str, reference: Path, current: Path, days: int) -> dict[str, float]:
    """CPU seconds and peak memory of one tool."""
    command = [
        str(environment(tool)),
        "-W",
        "ignore",
        "-c",
        CPU_LIMITS + SCRIPTS[tool],
        str(reference),
        str(current),
        str(days),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{tool} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


CPU_LIMITS = "import os\nfor name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'): os.environ[name] = '1'\n"


def main(arguments: list[str] | None = None) -> None:
    """Generate, measure, print the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks drift_peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of reference and of current, each")
    parser.add_argument("--days", type=int, default=1, help="daily windows the current rows are spread over")
    parser.add_argument("--tools", default="sightline,scipy,evidently,nannyml")
    options = parser.parse_args(arguments)
    BUILD.mkdir(parents=True, exist_ok=True)
    reference, current = BUILD / "reference.parquet", BUILD / "current.parquet"
    sample(options.rows, 30, 1).write_parquet(reference)
    sample(options.rows, options.days, 2).write_parquet(current)
    found = {tool: measure(tool, reference, current, options.days) for tool in options.tools.split(",")}
    own = found.get("sightline", {}).get("cpu_seconds")
    print(
        f"{options.rows:,} rows against {options.rows:,}, 20 features, {options.days} window(s); CPU seconds of the work alone"
    )
    for tool, result in found.items():
        note = (
            f" (extrapolated from {result['windows_run']:.0f} windows)"
            if result.get("windows_run", options.days) < options.days
            else ""
        )
        ratio = f"{result['cpu_seconds'] / own:7.1f} x" if own else ""
        print(f"  {tool:<10} {result['cpu_seconds']:9.2f} s {ratio}  peak {result['peak_mb']:6.0f} MB{note}")


if __name__ == "__main__":
    main()
