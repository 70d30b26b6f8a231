"""A history that was delivered wrong, judged, corrected and judged again, beside one that was right from the start."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration.backfill import dagster_instance
from orchestration.backfill_command import backfill
from orchestration.dagster_private.event_storage import shown_evaluations
from sightline.commands.checks import verdict_rows
from sightline.home import Home
from sightline.judging.as_of import judgements_as_of
from sightline.results.evidence import read_evidence, read_revised
from sightline.results.judgements import JUDGEMENT_KEY, read_judgements
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.workshop import land, write

DAYS, PER_DAY, DAY = 16, 150, timedelta(days=1)
GONE, MOVED, VERSION, ACROSS = 12, 11, 10, 13
"""Days of which all rows are withdrawn, those of plan c are moved to plan a, those of v2 are withdrawn, and some are
moved to the day after."""
OF_ARRIVAL = ("label_arrivals", "estimation_error_roc_auc")
"""They tell of other windows too: those are not judged again for a correction of this one."""
COLUMNS = ["id", "at", "p", "x", "version", "plan"]


def yaml(first: datetime) -> str:
    return f"""\
version: 1
model: {{id: small, task: binary_classification}}
columns:
  {{prediction_id: id, timestamp: at, score: p, model_version: version, observed_at: known, features: {{x: numeric}},
    segments: [plan]}}
labels: {{column: y, observed_at: known, expected_delay: 1d, give_up_after: 2d}}
quality: {{min_labels: 30, windows: [1d, 3d]}}
reference: {{kind: window, start: {first:%Y-%m-%d}, end: {first + 8 * DAY:%Y-%m-%d}}}
"""


@dataclass(frozen=True)
class Case:
    """Homes that were corrected and right from the start, and what the first of them held before."""

    wrong: Home
    right: Home
    spec: MonitorSpec
    before: pl.DataFrame
    corrected_at: datetime

    def start(self, day: int) -> datetime:
        return (self.spec.first_window + day * DAY).replace(tzinfo=None)


def rows_of(first: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(515)
    n = DAYS * PER_DAY
    day, score = np.repeat(np.arange(DAYS), PER_DAY), rng.random(n)
    at = [
        first.replace(tzinfo=None) + timedelta(days=int(d), seconds=int(s))
        for d, s in zip(day, rng.integers(0, 86000, n), strict=True)
    ]
    made = pl.DataFrame(
        {
            "id": [f"i{k}" for k in range(n)],
            "at": at,
            "p": score,
            "x": rng.normal(size=n),
            "version": np.where(rng.random(n) < 0.6, "v1", "v2"),
            "plan": rng.choice(["a", "b", "c"], n),
            "day": day,
        }
    )
    known = [moment + timedelta(hours=float(h)) for moment, h in zip(at, rng.uniform(1, 12, n), strict=True)]
    return made, pl.DataFrame({"id": made["id"], "y": (rng.random(n) < score).astype(int), "known": known})


def home_of(root: Path, first: datetime) -> tuple[Home, MonitorSpec]:
    home = Home(root)
    home.monitors.mkdir(parents=True)
    return home, load_monitor(write(home, "small", yaml(first)), home=home)


def work_up(home: Home, spec: MonitorSpec, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    patch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    backfill(home, spec)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory):
    first = datetime(2026, 1, 5, tzinfo=UTC)
    made, labels = rows_of(first)
    day, corrected_at = pl.col("day"), first + (DAYS + 3) * DAY
    is_c = (day == MOVED) & (pl.col("plan") == "c")
    gone = made.filter((day == GONE) | ((day == VERSION) & (pl.col("version") == "v2")))
    is_across = pl.col("id").is_in(made.filter(day == ACROSS).head(50)["id"].implode())
    final = made.join(gone, on="id", how="anti").with_columns(
        plan=pl.when(is_c).then(pl.lit("a")).otherwise("plan"),
        at=pl.when(is_across).then(pl.col("at") + DAY).otherwise("at"),
    )
    fixed = final.join(made.filter(is_c | is_across), on="id", how="semi").select(COLUMNS)
    known = pl.lit(corrected_at.replace(tzinfo=None))
    with pytest.MonkeyPatch.context() as patch:
        wrong, spec = home_of(tmp_path_factory.mktemp("wrong"), first)
        land(wrong, "small", "inferences", "all", made.select(COLUMNS))
        land(wrong, "small", "labels", "all", labels)
        work_up(wrong, spec, patch)
        before = read_judgements(wrong.monitor("small"))
        land(wrong, "small", "inferences", "fixed", fixed.with_columns(known=known, supersedes=pl.lit(value=True)))
        land(
            wrong,
            "small",
            "inferences",
            "gone",
            gone.select("id", "version", known=known, withdrawn=pl.lit(value=True)),
        )
        work_up(wrong, spec, patch)
        right, _ = home_of(tmp_path_factory.mktemp("right"), first)
        land(right, "small", "inferences", "all", final.select(COLUMNS))
        land(right, "small", "labels", "all", labels)
        work_up(right, spec, patch)
        yield Case(wrong, right, spec, before, corrected_at)


def told(home: Home) -> pl.DataFrame:
    return read_judgements(home.monitor("small")).filter(~is_withdrawn()).sort(JUDGEMENT_KEY)


def test_the_same_judgements_stand_as_if_it_had_been_right_from_the_start(case: Case):
    found, wanted = told(case.wrong), told(case.right)
    assert_frame_equal(found.select(JUDGEMENT_KEY), wanted.select(JUDGEMENT_KEY))
    columns = [*JUDGEMENT_KEY, "value", "n", "status", "reason_code"]
    found, wanted = (each.filter(~pl.col("metric").is_in(OF_ARRIVAL)).select(columns) for each in (found, wanted))
    is_touched = pl.col("window_start").is_between(case.start(VERSION), case.start(ACROSS))
    both = (found.filter(is_touched), wanted.filter(is_touched))
    assert_frame_equal(*both, rel_tol=1e-3, abs_tol=1e-3)  # how labels come was learnt before the correction


def test_what_is_gone_is_withdrawn_and_nothing_else(case: Case):
    newest = read_judgements(case.wrong.monitor("small"))
    gone = newest.filter(is_withdrawn())
    assert set(gone["status"]) == {"insufficient_data"} and gone["value"].null_count() == len(gone)
    touched = {case.start(day) for day in (VERSION, MOVED, GONE)}
    assert touched <= set(gone["window_start"]) <= touched | {case.start(ACROSS)}
    groups = gone.filter(~pl.col("metric").is_in(OF_ARRIVAL))
    of_version, of_segment = (groups.filter(window_start=case.start(day)) for day in (VERSION, MOVED))
    assert len(of_version) > 100 and len(of_segment) > 50
    assert set(of_version["model_version"]) == {"v2"} and set(of_segment["segment"]) == {"plan=c"}
    known = case.before.select(JUDGEMENT_KEY)
    assert gone.join(known, on=JUDGEMENT_KEY, how="anti", nulls_equal=True).is_empty()
    assert read_judgements(case.right.monitor("small")).filter(is_withdrawn()).is_empty()


def test_until_the_correction_was_known_the_old_numbers_stand(case: Case):
    at = {"start": case.start(VERSION), "end": case.start(GONE) + DAY}
    key = ["window_start", "segment", "model_version", "column", "metric"]
    quality = pl.col("metric").is_in(["accuracy", "roc_auc", "accuracy@3d"])
    before = case.before.filter(quality, pl.col("window_start").is_between(at["start"], case.start(GONE)))
    columns = [*key, "value", "n", "status"]
    for shift, is_old in ((-1, True), (1, False)):
        found = judgements_as_of(case.spec, case.wrong.monitor("small"), case.corrected_at + shift * DAY / 4, **at)
        found = found.filter(quality).select(columns).sort(key)
        gone = found.filter(window_start=case.start(GONE), segment="all", model_version="all", metric="accuracy")
        if is_old:
            assert_frame_equal(found, before.select(columns).sort(key), rel_tol=1e-9)
            assert gone["n"].to_list() == [PER_DAY]
        else:
            assert gone.select("value", "n", "status").rows() == [(None, None, "insufficient_data")]


def test_no_check_passes_or_fails_by_what_was_withdrawn(case: Case):
    """Its volume is the one thing that fails: a closed window without predictions."""
    columns = ["window", "asset", "check", "level"]
    verdicts = [
        pl.DataFrame(verdict_rows(case.spec, home, None, None)).select(columns) for home in (case.wrong, case.right)
    ]
    window = case.spec.key(case.spec.first_window + GONE * DAY)
    of_gone = [
        set(
            each.filter(
                pl.col("window") == window, pl.col("asset").is_in(["drift", "data_quality", "model_quality"])
            ).rows()
        )
        for each in verdicts
    ]
    assert of_gone[0] == of_gone[1]
    assert {check for _, asset, check, _ in of_gone[0] if asset == "data_quality"} == {"row_volume"}
    assert not {check for _, asset, check, _ in of_gone[0] if asset == "drift"}


def test_working_the_touched_windows_up_again_writes_nothing(case: Case, monkeypatch):
    paths = case.wrong.monitor("small")
    before = read_judgements(paths, latest=False)
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(case.wrong.root))
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(case.wrong.dagster))
    keys = [case.spec.key(case.spec.first_window + day * DAY) for day in (VERSION, GONE)]
    backfill(case.wrong, case.spec, keys)
    assert len(read_judgements(paths, latest=False)) == len(before)
    with dagster_instance(case.wrong) as instance:
        done = instance.get_materialized_partitions(dg.AssetKey(["small", "model_quality"]))
    assert set(keys) <= done


def test_of_the_open_window_nothing_is_told_and_of_those_after_the_history_neither(case: Case):
    newest = case.start(DAYS - 1)
    assert {read_judgements(home.monitor("small"))["window_start"].max() for home in (case.wrong, case.right)} == {
        newest
    }


class TestOneDayLater:
    """Half of a Tuesday and all of the newest day are withdrawn, and only these two windows are worked up."""

    TUESDAY, SUNDAY, NEWEST = 8, 13, DAYS - 1

    @pytest.fixture(scope="class")
    def later(self, case: Case, tmp_path_factory: pytest.TempPathFactory):
        root = tmp_path_factory.mktemp("later") / "home"
        shutil.copytree(case.right.root, root)
        home, day = Home(root), pl.col("day")
        rows, _ = rows_of(case.spec.first_window)
        rows = rows.filter(day.is_in([self.TUESDAY, self.NEWEST]))
        of_tuesday = rows.filter(day == self.TUESDAY).head(PER_DAY // 2)
        gone = pl.concat([of_tuesday, rows.filter(day == self.NEWEST)])
        known = pl.lit(case.corrected_at.replace(tzinfo=None))
        withdrawn = gone.select("id", known=known, withdrawn=pl.lit(value=True))
        land(home, "small", "inferences", "gone", withdrawn)
        with pytest.MonkeyPatch.context() as patch:
            work_up(home, case.spec, patch)
            yield home

    def test_the_week_that_holds_it_is_judged_again_and_no_other(self, case: Case, later: Home):
        is_week = pl.col("reason").str.starts_with("over 7 days")
        before, found = (
            read_judgements(home.monitor("small"), asset="drift", metric="psi", column="x").filter(is_week)
            for home in (case.right, later)
        )
        n_before, n = (dict(frame.select("window_start", "n").rows()) for frame in (before, found))
        sunday = case.start(self.SUNDAY)
        assert n == {**n_before, sunday: n_before[sunday] - PER_DAY // 2}
        assert set(found.filter(pl.col("revision") > 0)["window_start"]) == {sunday}

    def test_what_was_decided_of_it_stands_and_what_it_is_by_now_is_kept(self, case: Case, later: Home):
        paths = later.monitor("small")
        assert_frame_equal(read_evidence(paths), read_evidence(case.right.monitor("small")))
        revised = read_revised(paths)
        of_week = revised.filter(window_start=case.start(self.SUNDAY))
        assert len(of_week) and of_week["stream"].str.contains("@(3|7)d$").all()
        assert of_week["value"].null_count() == 0 and not of_week.filter(is_withdrawn()).height
        gone = revised.filter(is_withdrawn())
        assert set(gone["window_start"]) == {case.start(self.NEWEST)}
        assert {"model_quality/roc_auc", "data_quality/rejected_rate"} <= set(gone["stream"])
        assert "data_quality/n_rows" not in gone["stream"], "no rows are a number"

    def test_a_check_shows_the_newest_window_that_has_a_verdict(self, case: Case, later: Home):
        key = dg.AssetCheckKey(dg.AssetKey(["small", "model_quality"]), "quality__roc_auc")
        partitions = []
        for home in (case.right, later):
            with dagster_instance(home) as instance:
                partitions.append(shown_evaluations(instance, [key])[key].partition)
        assert partitions == [
            case.spec.key(case.spec.first_window + day * DAY) for day in (self.NEWEST, self.NEWEST - 1)
        ]
