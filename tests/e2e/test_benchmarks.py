"""The benchmarks of whole paths run to their end on a few rows; what they measure is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("daily_path", ("aggregates (dbt models and tests)", "drift, data quality, model quality", "slowest models")),
        ("intake", ("inferences", "labels", "a process that imports the intake")),
    ],
)
def test_a_benchmark_prints_its_table(name, told):
    call = [sys.executable, "-m", "benchmarks", name, "--rows", "3000"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert all(line in done.stdout for line in told), done.stdout
