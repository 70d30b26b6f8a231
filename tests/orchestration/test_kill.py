"""kill -9 at any step of a ranged run, again and again.

The run that gets through leaves what an undisturbed one leaves.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.home import Home
from sightline.results.evidence import read_evidence
from sightline.results.judgements import read_judgements
from sightline.results.snapshots import read_snapshot
from tests.support.workshop import DAYS, ROOT, Workshop

pytestmark = pytest.mark.long

RUN = """
import sys
from pathlib import Path
from orchestration.backfill import materialize_range
from sightline.home import Home
from sightline.spec.loader import find_monitor
home = Home(Path(sys.argv[1]))
spec = find_monitor(home, "churn")
materialize_range(home, spec, sys.argv[2], sys.argv[3], on_progress=lambda name, done, total: print(name, flush=True))
"""
STEPS = ("dbt_immediate", "drift", "dbt_delayed", "alerts", "drift_checks")


@pytest.fixture
def fresh(history: Workshop, tmp_path: Path) -> Home:
    """The same monitors and landed files, nothing worked up."""
    home = Home(tmp_path / "home")
    shutil.copytree(history.home.monitors, home.monitors)
    shutil.copytree(history.home.root / ".sightline", home.root / ".sightline")
    shutil.copytree(history.home.monitor("churn").root / "landing", home.monitor("churn").root / "landing")
    return home


def start(home: Home, first: str, last: str) -> subprocess.Popen:
    environment = {**os.environ, "SIGHTLINE_HOME": str(home.root), "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", RUN, str(home.root), first, last]
    with (home.root / "run.log").open("a") as log:
        return subprocess.Popen(
            arguments, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, cwd=home.root
        )


def kill_at(process: subprocess.Popen, step: str) -> bool:
    """Kill -9 as soon as the step starts; its children (dbt) live on, as they would."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == f"churn__{step}":
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return True
    process.wait()
    return False


def tables(home: Home) -> dict[str, pl.DataFrame]:
    paths = home.monitor("churn")
    key = ["window_start", "model_version", "segment", "column", "metric"]
    judgements = read_judgements(paths).drop("revision", "computed_at", "run_id").sort(key)
    own = ("written_at", "run_id", "reference")  # two homes name their references by what each one froze
    evidence = read_evidence(paths).drop(own).sort("stream", "window_start")
    snapshots = {name: read_snapshot(paths, name) for name in ("incidents", "incident_members", "alert_streams")}
    streams = snapshots["alert_streams"]
    assert streams is not None
    return {
        "judgements": judgements,
        "evidence": evidence,
        **snapshots,
        "alert_streams": streams.sort("stream", "window_start"),
    }


def test_kills_at_any_step_leave_the_same_tables(history: Workshop, fresh: Home):
    first, last = history.day(0), history.day(DAYS - 1)
    for step in STEPS:
        assert kill_at(start(fresh, first, last), step), (
            f"{step} never started: {(fresh.root / 'run.log').read_text()[-2000:]}"
        )
    final = start(fresh, first, last)
    final.communicate()
    assert final.returncode == 0, (fresh.root / "run.log").read_text()[-3000:]
    expected, found = tables(history.home), tables(fresh)
    for name, table in expected.items():
        assert_frame_equal(found[name], table, rel_tol=1e-9, abs_tol=1e-12)
