"""Judgements of groups that are no longer there are withdrawn by a revision of their own."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.home import Home, MonitorPaths
from sightline.results.judgements import JUDGEMENT_KEY, JUDGEMENT_SCHEMA, append_judgements, read_judgements
from sightline.results.withdrawn import SCOPE, is_withdrawn

START, DAY = datetime(2026, 1, 5), timedelta(days=1)
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
OWN = ("revision", "computed_at", "run_id")
SCHEMA = {name: dtype for name, dtype in JUDGEMENT_SCHEMA.items() if name not in OWN}
Cell = tuple[int, str, str, str, str | None]


@pytest.fixture
def paths(tmp_path: Path) -> MonitorPaths:
    return Home(tmp_path).monitor("m")


def rows(values: dict[Cell, float]) -> pl.DataFrame:
    """Judgements by (day, version, segment, metric, column)."""
    told = [
        {
            "monitor": "m",
            "window_start": START + day * DAY,
            "window_end": START + (day + 1) * DAY,
            "model_version": version,
            "segment": segment,
            "metric": metric,
            "column": column,
            "value": value,
            "ci_low": value - 0.1,
            "n": 100,
            "reference_value": 0.5,
            "bound_low": 0.1,
            "naive_value": value,
            "maturity": 0.9,
            "status": "ok",
        }
        for (day, version, segment, metric, column), value in values.items()
    ]
    return pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in told], schema=SCHEMA)


def scope(*days: int, ending: str = "") -> pl.DataFrame:
    return pl.DataFrame({"window_start": [START + d * DAY for d in days], "ending": [ending] * len(days)}, schema=SCOPE)


def told(paths: MonitorPaths, **asked: object) -> dict[Cell, float]:
    """What is told by now, as `rows` takes it."""
    found = read_judgements(paths, **asked).filter(~is_withdrawn())  # pyright: ignore[reportArgumentType]
    day = (found["window_start"] - START).dt.total_days()
    cells = zip(day, *(found[name] for name in ("model_version", "segment", "metric", "column")), strict=True)
    return dict(zip(cells, found["value"], strict=True))


ALL: dict[Cell, float] = {
    (day, version, segment, metric, column): 0.5 + day / 100
    for day in range(4)
    for version in ("all", "v1", "v2")
    for segment in ("all", "plan=a")
    for metric, column in (("accuracy", None), ("accuracy@7d", None), ("psi", "age"))
}


def test_what_was_judged_again_and_not_found_has_no_number_any_more_and_says_why(paths):
    append_judgements(paths, "drift", rows(ALL), "first", NOON, scope(*range(4)))
    left = {cell: value for cell, value in ALL.items() if cell[0] == 1 and cell[1] != "v2"}
    assert append_judgements(paths, "drift", rows(left), "second", NOON + DAY, scope(1)) == 6
    assert told(paths) == {cell: value for cell, value in ALL.items() if cell[:2] != (1, "v2")}
    gone = read_judgements(paths, start=START + DAY, end=START + 2 * DAY).filter(model_version="v2")
    assert len(gone) == 6
    assert gone.select("status", "reason_code", "revision", "run_id").unique().rows() == [
        ("insufficient_data", "withdrawn", 1, "second")
    ]
    numbers = ("value", "ci_low", "ci_high", "n", "reference_value", "bound_low", "bound_high", "naive_value")
    assert gone.select(pl.col(*numbers, "maturity").is_null().all()).row(0) == (True,) * 9
    assert "nothing is left to compute it from" in gone["reason"][0]


def test_what_was_known_before_stands_and_the_withdrawal_is_told_after(paths):
    append_judgements(paths, "drift", rows(ALL), "first", NOON, scope(*range(4)))
    append_judgements(paths, "drift", rows({}), "second", NOON + DAY, scope(2))
    assert told(paths, processed_by=NOON) == ALL
    assert told(paths, processed_by=NOON + DAY) == {cell: v for cell, v in ALL.items() if cell[0] != 2}
    every = read_judgements(paths, "psi", start=START + 2 * DAY, end=START + 3 * DAY, latest=False, segment="all")
    assert every.filter(model_version="all").sort("revision")["value"].to_list() == [0.52, None]


def test_a_withdrawal_is_written_once_and_a_group_that_is_there_again_is_told_again(paths):
    append_judgements(paths, "drift", rows(ALL), "first", NOON, scope(*range(4)))
    append_judgements(paths, "drift", rows({}), "second", NOON, scope(0))
    assert append_judgements(paths, "drift", rows({}), "third", NOON, scope(0)) == 0
    back = {cell: value for cell, value in ALL.items() if cell[0] == 0}
    assert append_judgements(paths, "drift", rows(back), "fourth", NOON, scope(0)) == len(back)
    assert told(paths) == ALL
    assert set(read_judgements(paths, start=START, end=START + DAY)["revision"]) == {2}


def test_a_run_withdraws_nothing_of_other_windows_lengths_and_assets(paths):
    append_judgements(paths, "drift", rows(ALL), "first", NOON, scope(*range(4)))
    append_judgements(paths, "model_quality", rows(ALL), "first", NOON, scope(*range(4)))
    assert append_judgements(paths, "drift", rows(ALL), "daily", NOON + DAY, scope(*range(4))) == 0
    assert append_judgements(paths, "drift", rows({}), "nothing", NOON + DAY) == 0
    partial = pl.concat([scope(1), scope(3, ending="@7d")])
    append_judgements(paths, "drift", rows({}), "sliding", NOON + DAY, partial)
    is_gone = {cell for cell in ALL if cell[0] == 1 or (cell[0] == 3 and cell[3].endswith("@7d"))}
    assert told(paths, asset="drift") == {cell: v for cell, v in ALL.items() if cell not in is_gone}
    assert told(paths, asset="model_quality") == ALL


@pytest.mark.parametrize("seed", range(20))
def test_whatever_came_and_went_the_newest_revisions_are_what_was_judged_last(paths, tmp_path, seed):
    """Each run judges some windows in whole: what stands of them is what it found, as if nothing else had ever been."""
    chance = random.Random(seed)
    truth: dict[Cell, float] = {}
    history: list[tuple[datetime, dict[Cell, float]]] = []
    for run in range(12):
        days = chance.sample(range(4), chance.randint(1, 4))
        found = {cell: chance.choice((0.25, 0.5)) for cell in ALL if cell[0] in days and chance.random() < 0.6}
        truth = {cell: value for cell, value in truth.items() if cell[0] not in days} | found
        at = NOON + run * DAY
        append_judgements(paths, "drift", rows(found), f"run-{run}", at, scope(*days))
        history.append((at, truth))
    for at, then in history:
        assert told(paths, processed_by=at) == then
    clean = Home(tmp_path / "clean").monitor("m")
    append_judgements(clean, "drift", rows(truth), "once", NOON, scope(*range(4)))
    frames = [read_judgements(each).filter(~is_withdrawn()).drop(OWN).sort(JUDGEMENT_KEY) for each in (paths, clean)]
    assert_frame_equal(*frames)
    revisions = read_judgements(paths, latest=False)
    per_key = revisions.group_by(JUDGEMENT_KEY).agg(pl.col("revision").sort())
    assert all(list(numbers) == list(range(len(numbers))) for numbers in per_key["revision"])
