"""A file that is loaded again in place of its rows, and a changed file of the monitor: nothing old is left standing."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration.backfill_command import backfill
from sightline.home import Home
from sightline.lake.intake.migrate import migrate
from sightline.lake.intake.reload import reload
from sightline.results.judgements import JUDGEMENT_KEY, read_judgements
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.workshop import land, write

pytestmark = pytest.mark.long

DAYS, PER_DAY, DAY, WRONG = 7, 120, timedelta(days=1), 5
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
OF_OTHERS = ("label_arrivals", "estimation_error_roc_auc")
"""They tell of other windows too."""


def yaml(segments: str = "segments: [plan]") -> str:
    return f"""\
version: 1
model: {{id: small, task: binary_classification}}
columns: {{prediction_id: id, timestamp: at, score: p, features: {{x: numeric}}, {segments}}}
labels: {{column: y, observed_at: known, expected_delay: 1d, give_up_after: 2d}}
quality: {{min_labels: 30, windows: [1d, 3d]}}
reference: {{kind: window, start: {FIRST:%Y-%m-%d}, end: {FIRST + 3 * DAY:%Y-%m-%d}}}
"""


def rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(818)
    n = DAYS * PER_DAY
    score = rng.random(n)
    at = [FIRST.replace(tzinfo=None) + k // PER_DAY * DAY + timedelta(seconds=700 * (k % PER_DAY)) for k in range(n)]
    plan = rng.choice(["a", "b", "c"], n)
    made = pl.DataFrame(
        {"id": [f"i{k}" for k in range(n)], "at": at, "p": score, "x": rng.normal(size=n), "plan": plan}
    )
    known = [moment + timedelta(hours=float(h)) for moment, h in zip(at, rng.uniform(1, 12, n), strict=True)]
    return made, pl.DataFrame({"id": made["id"], "y": (rng.random(n) < score).astype(int), "known": known})


def home_of(root, patch: pytest.MonkeyPatch) -> tuple[Home, MonitorSpec]:
    home = Home(root)
    home.monitors.mkdir(parents=True)
    return home, load_monitor(write(home, "small", yaml()), home=home)


def told(home: Home) -> pl.DataFrame:
    found = read_judgements(home.monitor("small")).filter(~is_withdrawn())
    return found.filter(~pl.col("metric").is_in(OF_OTHERS)).sort(JUDGEMENT_KEY)


def assert_same_until(day: int, found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    """The same keys everywhere; windows after `day` are not judged again, and know the delays as they were learnt."""
    assert_frame_equal(found.select(JUDGEMENT_KEY), wanted.select(JUDGEMENT_KEY))
    columns, end = [*JUDGEMENT_KEY, "value", "n", "status"], (FIRST + day * DAY).replace(tzinfo=None)
    both = (each.filter(pl.col("window_start") <= end).select(columns) for each in (found, wanted))
    assert_frame_equal(*both, rel_tol=1e-3, abs_tol=1e-3)


def test_reload_and_migrate_leave_the_judgements_of_a_history_that_was_right(tmp_path, monkeypatch):
    made, labels = rows()
    by_day = made.with_columns(day=pl.col("at").dt.truncate("1d")).partition_by("day", include_key=False)
    right = [*by_day[:WRONG], by_day[WRONG].filter(pl.col("plan") != "c"), *by_day[WRONG + 1 :]]

    def work_up(home: Home, spec: MonitorSpec) -> None:
        monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
        monkeypatch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
        backfill(home, spec)

    wrong, spec = home_of(tmp_path / "wrong", monkeypatch)
    for day, frame in enumerate(by_day):
        land(wrong, "small", "inferences", f"day-{day}", frame)
    land(wrong, "small", "labels", "all", labels)
    work_up(wrong, spec)
    paths = wrong.monitor("small")
    before = read_judgements(paths)
    land(wrong, "small", "inferences", f"day-{WRONG}", right[WRONG])
    [file] = paths.landing_inferences.glob(f"day-{WRONG}*")
    report = reload(spec, paths, wrong, [file])
    assert spec.key(FIRST + WRONG * DAY) in report.windows
    work_up(wrong, spec)

    fresh, _ = home_of(tmp_path / "fresh", monkeypatch)
    for day, frame in enumerate(right):
        land(fresh, "small", "inferences", f"day-{day}", frame)
    land(fresh, "small", "labels", "all", labels)
    work_up(fresh, spec)
    assert_same_until(WRONG, told(wrong), told(fresh))
    gone = read_judgements(paths).filter(is_withdrawn())
    of_plan = gone.filter(segment="plan=c")
    assert len(of_plan) > 15 and gone["value"].null_count() == len(gone)
    assert of_plan["window_start"].min() == (FIRST + WRONG * DAY).replace(tzinfo=None)
    assert of_plan.join(before, on=JUDGEMENT_KEY, how="anti", nulls_equal=True).is_empty()

    work = {home: load_monitor(write(home, "small", yaml("model_version: plan")), home=home) for home in (wrong, fresh)}
    for home, changed in work.items():
        migrate(changed, home.monitor("small"), home)
        work_up(home, changed)
    now = told(wrong)
    assert_same_until(DAYS, now, told(fresh))
    assert set(now["segment"]) == {"all"} and set(now["model_version"]) == {"all", "a", "b", "c"}
    gone = read_judgements(paths).filter(is_withdrawn())
    assert set(gone["segment"]) == {"plan=a", "plan=b", "plan=c"} and gone["value"].null_count() == len(gone)
