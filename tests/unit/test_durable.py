"""Files replaced whole or not at all; locks that die with their holder."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from sightline.durable import exclusive, exclusive_if_free, naming, replace_file
from sightline.errors import SightlineError
from sightline.lake.store.parts import write_synced

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


def full(tmp_path: Path) -> Path:
    """A file on a disk that is full."""
    file = tmp_path / "full"
    file.symlink_to("/dev/full")
    return file


@pytest.mark.parametrize("rows", [1, 200_000])
def test_a_full_disk_is_told_with_the_file(tmp_path, rows):
    frame = pl.DataFrame({"x": range(rows)})
    file = full(tmp_path)
    with pytest.raises(OSError, match="No space left") as told:
        write_synced(frame, file)
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(file))

    def write(_: Path) -> None:
        with file.open("wb") as handle:
            frame.write_parquet(handle)

    with pytest.raises(OSError, match="No space left") as told:
        replace_file(tmp_path / "table", write)
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(tmp_path / "table"))


def test_other_errors_stay_as_they_are(tmp_path):
    with pytest.raises(ValueError, match="no such thing"), naming(tmp_path):
        raise ValueError("no such thing")
    with pytest.raises(FileNotFoundError) as told, naming(tmp_path):
        (tmp_path / "absent").read_text()
    assert told.value.filename == str(tmp_path / "absent")


def test_a_lock_on_a_full_disk_is_told_with_its_file_and_is_free(tmp_path, monkeypatch):
    def fail(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left") as told:
        patch.setattr("os.write", fail)
        with exclusive(tmp_path / "lock"):
            raise AssertionError
    assert told.value.filename == str(tmp_path / "lock")
    with exclusive_if_free(tmp_path / "lock") as free:
        assert free


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
