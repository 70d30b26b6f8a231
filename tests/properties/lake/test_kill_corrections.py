"""A process killed (SIGKILL) while corrections and withdrawals load leaves the tables of an undisturbed one."""

from __future__ import annotations

import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sightline.log.events import InferenceEvent
from sightline.log.writer import SegmentWriter
from tests.properties.lake.test_kill import assert_same, finish, start
from tests.support.lake import START, ledger_adds_up, load_all, make_paths, make_spec, mixed_traffic, rows, tables

DAY = timedelta(days=1)


def traffic_with_corrections(root: Path) -> None:
    """Rows that change, that move to another day, that are taken back in files and in a segment; labels among them."""
    mixed_traffic(root)
    _, paths = make_paths(root)
    known = pl.lit((START + 9 * DAY).replace(tzinfo=None))
    changed = rows(40, first=210, start=START + DAY, seed=71)
    moved = rows(30, first=440, start=START + 3 * DAY, seed=72)
    fixed = pl.concat([changed, moved]).with_columns(supersedes=True, observed_at=known)
    gone = pl.DataFrame({"id": [f"id-{i}" for i in range(600, 660)]}).with_columns(withdrawn=True, observed_at=known)
    again = rows(10, first=210, start=START + DAY, seed=73)
    again = again.with_columns(supersedes=True, observed_at=known + timedelta(hours=1))
    for name, frame, day in (("fixed", fixed, 10), ("gone", gone, 11), ("fixed-again", again, 12)):
        file = paths.landing_inferences / f"z-{name}.parquet"
        frame.write_parquet(file)
        moment = (START + day * DAY).timestamp()
        os.utime(file, (moment, moment))
    clock = START + 8 * DAY
    with SegmentWriter(paths.log, "m", "inferences") as log:
        log.append(
            [InferenceEvent(id=f"seg-{i}", at=clock, version="v2", withdrawn=True) for i in range(30, 50)],
            received_at=clock,
        )


def kept(root: Path) -> dict[str, pl.DataFrame]:
    """What no longer counts, and what was said."""
    lake = make_paths(root)[1].lake
    found: dict[str, pl.DataFrame] = {}
    for folder in ("replaced", "revisions"):
        parts = [pl.read_parquet(file, hive_partitioning=False) for file in sorted((lake / folder).rglob("*.parquet"))]
        whole = pl.concat(parts, how="diagonal_relaxed")
        found[folder] = whole.select(sorted(whole.columns)).sort(pl.all())
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pl.DataFrame]]:
    traffic = tmp_path_factory.mktemp("traffic")
    traffic_with_corrections(traffic)
    calm = tmp_path_factory.mktemp("calm")
    shutil.copytree(traffic, calm, dirs_exist_ok=True)
    load_all(calm)
    return traffic, {**tables(make_spec(), make_paths(calm)[1]), **kept(calm)}


def test_the_traffic_corrects_moves_and_withdraws(undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    found = undisturbed[1]
    ids = found["inferences"]["prediction_id"]
    assert not ids.is_in([f"id-{i}" for i in range(600, 660)]).any() and not ids.is_in(["seg-30", "seg-49"]).any()
    moved = found["inferences"].filter(pl.col("prediction_id") == "id-440")
    assert moved["window_start"].to_list() == [(START + 3 * DAY).replace(tzinfo=None)]
    assert found["replaced"].height >= 40 + 30 + 60 + 20 and found["revisions"].height >= 40 + 30 + 60 + 10


def kill(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]], step: int) -> bool:
    """Whether the process was killed before it was through; what it left is compared after another one."""
    traffic, expected = undisturbed
    root = tmp_path / str(step)
    shutil.copytree(traffic, root)
    child = start(root, str(step))
    was_killed = child.wait(timeout=120) == -signal.SIGKILL
    finish(root)
    assert_same(root, {name: table for name, table in expected.items() if name not in ("replaced", "revisions")})
    for name, table in kept(root).items():
        assert_frame_equal(table, expected[name])
    ledger_adds_up(root)
    shutil.rmtree(root)
    return was_killed


@pytest.mark.parametrize("step", [35, 70, 90, 110, 130])
def test_killed_at_chosen_steps(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]], step: int) -> None:
    assert kill(tmp_path, undisturbed, step)


@pytest.mark.long
def test_killed_at_every_seventh_step(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    for step in range(3, 2000, 7):
        if not kill(tmp_path, undisturbed, step):
            assert step > 100
            return
    raise AssertionError("no start got through")
