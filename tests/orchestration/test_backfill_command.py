"""`sightline backfill` as a user types it, without a UI."""

from __future__ import annotations

import re
import subprocess
import sys

import polars as pl

from sightline.lake.store.progress import open_progress
from sightline.results.judgements import read_judgements
from tests.support.workshop import DAYS, ROWS_PER_DAY, SHIFT_DAY, Workshop, churn_rows, land, write


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
