"""`sightline backfill` as a user types it, without a UI."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import polars as pl

from sightline.durable import exclusive_if_free
from sightline.lake.store.progress import open_progress
from sightline.results.judgements import read_judgements
from tests.support.workshop import DAYS, ROWS_PER_DAY, SHIFT_DAY, Workshop, churn_rows, land, make_workshop, write


def sightline(workshop: Workshop, *arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "sightline.cli", *arguments],
        capture_output=True, text=True, cwd=workshop.home.root, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def n_rows(workshop: Workshop, day: str) -> list[float]:
    found = read_judgements(workshop.home.monitor("churn"), metric="n_rows", segment="all")
    start = workshop.churn.window_start(day).replace(tzinfo=None)
    return found.filter(pl.col("model_version") == "all", pl.col("window_start") == start)["value"].to_list()


def test_what_is_stale_is_worked_up_and_nothing_twice(workshop):
    code, told = sightline(workshop, "backfill", "churn")
    assert code in (0, 1), told
    code, told = sightline(workshop, "backfill", "churn")
    assert (code, told) == (0, "churn: nothing to work up: no window has data newer than its judgement\n")
    more = churn_rows(workshop.churn.first_window)[0].head(7).with_columns(id=pl.format("n{}", "id"))
    land(workshop.home, "churn", "inferences", "more", more)
    day = workshop.day(0)
    code, told = sightline(workshop, "backfill", "churn")
    assert f"working up {day}\n" in told, told
    assert "worked up" in told
    assert n_rows(workshop, day) == [ROWS_PER_DAY + 7]
    with open_progress(workshop.home.monitor("churn").ledger) as progress:
        changes = progress.changes(["inferences", "labels"])
        assert all(progress.done(flow)[day].position >= changes[day] for flow in ("immediate", "delayed"))


def test_a_second_backfill_of_a_monitor_says_that_one_runs(workshop):
    with exclusive_if_free(workshop.home.monitor("churn").root / ".backfill.lock"):
        code, told = sightline(workshop, "backfill", "churn")
    assert code == 2
    assert "another backfill of churn runs" in told and "fix: wait until it has ended" in told
    assert "Traceback" not in told


def test_a_range_tells_the_checks_that_failed(workshop):
    first, last = workshop.day(SHIFT_DAY), workshop.day(DAYS - 1)
    code, told = sightline(workshop, "backfill", "churn", first, last)
    n = DAYS - SHIFT_DAY
    assert f"churn: {n} windows worked up ({first} to {last})\n" in told
    assert code == 1
    [line] = re.findall(r"  drift/drift__age in .*", told)
    assert re.search(rf"\({first}( to {workshop.day(DAYS - 1)})?", line) and "ncident" in line
    assert int(re.findall(r"checks that failed: (\d+)", told)[0]) == len(
        re.findall(r"^  \w+/\w+ in \d+ window", told, re.M)
    )


def test_another_file_of_the_monitor_is_refused_with_the_way_out(workshop):
    file = workshop.home.monitors / "churn.yaml"
    write(workshop.home, "churn", file.read_text().replace("schedule: daily", "") + "\nschedule: weekly\n")
    code, told = sightline(workshop, "backfill", "churn")
    assert code == 2
    assert "sightline migrate churn" in told
    assert "Traceback" not in told


def test_the_end_of_a_history_that_is_loaded_with_its_labels_is_no_outage(tmp_path, monkeypatch):
    """Which windows the labels are of is not known before their predictions are loaded."""
    loaded = make_workshop(tmp_path / "home", days=16, ended_days_ago=5)
    monkeypatch.setenv("DAGSTER_HOME", str(loaded.home.dagster))
    monkeypatch.setenv("SIGHTLINE_HOME", str(loaded.home.root))
    code, told = sightline(loaded, "backfill", "churn")
    assert code in (0, 1), told
    assert "row_volume" not in told
    with open_progress(loaded.home.monitor("churn").ledger) as progress:
        judged = sorted(progress.done("immediate"))
        assert [loaded.day(n) for n in range(16)] == [key for key in judged if key <= loaded.day(15)]
        assert not set(judged) & {loaded.day(n) for n in range(16, 20)}, "days after the end of the history"
        assert max(progress.changes(["labels"])) == loaded.day(13)


def test_a_feed_that_stopped_before_anybody_looked_is_told(tmp_path, monkeypatch):
    """Its file was received as the last day ended: the days after are an outage, today is open and not told yet."""
    stopped = make_workshop(tmp_path / "home", days=16, ended_days_ago=3)
    received = stopped.churn.window_start(stopped.day(16)).timestamp() + 3600
    for file in stopped.home.monitor("churn").landing_inferences.iterdir():
        os.utime(file, (received, received))
    monkeypatch.setenv("DAGSTER_HOME", str(stopped.home.dagster))
    monkeypatch.setenv("SIGHTLINE_HOME", str(stopped.home.root))
    code, told = sightline(stopped, "backfill", "churn")
    assert code == 1 and f"data_quality/row_volume in 3 windows ({stopped.day(16)} to {stopped.day(18)})" in told, told
    assert [n_rows(stopped, stopped.day(day)) for day in range(15, 20)] == [[ROWS_PER_DAY], [0], [0], [0], []]
