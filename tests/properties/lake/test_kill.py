"""A process killed (SIGKILL) at any moment of an intake and started again leaves the tables of an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.support.lake import load_all, make_paths, make_spec, mixed_traffic, tables

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pl.DataFrame]]:
    """The traffic before loading, and the tables after loading it in peace."""
    traffic = tmp_path_factory.mktemp("traffic")
    mixed_traffic(traffic)
    calm = tmp_path_factory.mktemp("calm")
    shutil.copytree(traffic, calm, dirs_exist_ok=True)
    load_all(calm)
    return traffic, tables(make_spec(), make_paths(calm)[1])


def start(root: Path, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.lake", str(root), *args]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def finish(root: Path) -> None:
    child = start(root)
    assert child.wait(timeout=120) == 0


def assert_same(root: Path, expected: dict[str, pl.DataFrame]) -> None:
    found = tables(make_spec(), make_paths(root)[1])
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame)
    leftovers = list((root / "data").rglob(".*.tmp"))
    assert leftovers == []


def test_traffic_exercises_every_path(undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    expected = undisturbed[1]
    assert len(expected["inferences"]) == 6 * 200 + 100 + 1
    assert len(expected["halves"]) == 2
    assert len(expected["unmatched"]) > 0
    reasons = set(expected["quarantine"]["reason"])
    assert {"duplicate", "conflicting_duplicate", "conflicting_label", "unreadable_file", "bad_type"} <= reasons


def kill_and_compare(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]], steps: list[int]) -> int:
    traffic, expected = undisturbed
    shutil.copytree(traffic, tmp_path, dirs_exist_ok=True)
    killed = 0
    for step in steps:
        child = start(tmp_path, str(step))
        killed += child.wait(timeout=120) == -signal.SIGKILL
    finish(tmp_path)
    assert_same(tmp_path, expected)
    return killed


@pytest.mark.parametrize("steps", [[1, 2], [5, 9, 14], [23, 31, 40], [60, 17]])
def test_killed_at_chosen_steps(
    tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]], steps: list[int]
) -> None:
    assert kill_and_compare(tmp_path, undisturbed, steps) >= 1


def killed_at(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]], first: int, stride: int) -> None:
    """Each start is killed `stride` steps later than the one before, until one gets through."""
    for step in range(first, 400, stride):
        root = tmp_path / str(step)
        if kill_and_compare(root, undisturbed, [step]) == 0:
            assert step > 50
            return
        shutil.rmtree(root)
    raise AssertionError("no start got through")


@pytest.mark.long
def test_killed_at_every_tenth_step(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    killed_at(tmp_path, undisturbed, first=4, stride=10)


@pytest.mark.full
def test_killed_at_every_step(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    killed_at(tmp_path, undisturbed, first=1, stride=1)


@pytest.mark.long
def test_killed_at_random_moments(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    kill_at_random(tmp_path, undisturbed, trials=3, seed=11)


@pytest.mark.full
def test_killed_at_many_random_moments(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    kill_at_random(tmp_path, undisturbed, trials=30, seed=12)


def kill_at_random(tmp_path: Path, undisturbed: tuple[Path, dict[str, pl.DataFrame]], trials: int, seed: int) -> None:
    traffic, expected = undisturbed
    rng = random.Random(seed)
    for trial in range(trials):
        root = tmp_path / str(trial)
        shutil.copytree(traffic, root)
        for _ in range(6):
            child = start(root)
            deadline = time.monotonic() + rng.uniform(0.0, 0.6)
            while time.monotonic() < deadline and child.poll() is None:
                pass
            child.kill()
            child.wait(timeout=60)
        finish(root)
        assert_same(root, expected)
