"""Files replaced whole or not at all; locks that die with their holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sightline.durable import exclusive, exclusive_if_free, replace_file
from sightline.errors import SightlineError

ROOT = Path(__file__).parents[2]


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "deep" / "file.json"
    replace_file(file, "first")
    replace_file(file, b"second", mode=0o600)
    assert file.read_text() == "second" and file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["file.json"]


def test_a_writer_that_fails_leaves_the_old_content(tmp_path):
    file = tmp_path / "file"
    replace_file(file, "old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        replace_file(file, fail)
    assert file.read_text() == "old" and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_given_once(tmp_path):
    with exclusive_if_free(tmp_path / "lock") as first, exclusive_if_free(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with exclusive_if_free(tmp_path / "lock") as again:
        assert again


def test_the_lock_is_freed_when_its_process_is_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from sightline.durable import exclusive\n"
        f"with exclusive(Path({str(tmp_path / 'lock')!r})):\n    print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    held = pytest.raises(SightlineError, match=rf"held this lock for 0.1 s: process {process.pid}")
    with held, exclusive(tmp_path / "lock", seconds=0.1):
        raise AssertionError("the lock was given twice")
    process.kill()
    process.wait()
    with exclusive(tmp_path / "lock", seconds=5):
        pass
