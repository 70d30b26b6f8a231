"""A disk that takes nothing: the place and what to do are told, and never that healthy data are to be removed."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sightline.durable import replace_file
from sightline.errors import SightlineError, error_of_place
from sightline.lake.store.ledger import open_ledger

ROOT = Path(__file__).parents[3]
MONITOR = """\
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric}}
labels: {column: churned}
reference: {kind: window, start: 2026-01-01, end: 2026-01-15}
"""
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def obey_rights() -> None:
    """Rights of folders hold for root as well, from the next program on."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@contextmanager
def closed(folder: Path) -> Generator[None]:
    """Nothing can be made in this folder and below."""
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for each in folders:
        each.chmod(0o555)
    try:
        yield
    finally:
        for each in folders:
            each.chmod(0o755)


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline.cli", *words],
        env={**os.environ, "SIGHTLINE_HOME": str(home), "PYTHONPATH": str(ROOT)},
        cwd=home,
        capture_output=True,
        text=True,
        preexec_fn=obey_rights,
        check=False,
    )


def test_commands_name_the_place_and_work_once_it_is_writable(tmp_path: Path):
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "churn.yaml").write_text(MONITOR, encoding="utf-8")
    ledger = tmp_path / "data" / "churn" / "ledger.sqlite"
    with open_ledger(ledger):
        pass
    (ledger.parent / "results").mkdir()
    before = sorted(path for path in tmp_path.rglob("*"))
    calls = {("mark", "churn", "deployed 2"): ".lock", ("token", "create", "churn"): "tokens.json"}
    calls |= {("log", "stats", "churn"): "ledger.sqlite"}
    with closed(tmp_path / "data"):
        for words, place in calls.items():
            refused = run(tmp_path, *words)
            assert refused.returncode == 2, refused
            first, fix = refused.stderr.splitlines()
            assert first.startswith("error: ") and str(ledger.parent) in first and place in first
            assert "writable" in fix and "remove" not in fix
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert [run(tmp_path, *words).returncode for words in calls] == [0, 0, 0]


def test_only_a_damaged_ledger_is_said_to_be_removable(tmp_path: Path):
    shut, damaged = tmp_path / "shut.sqlite", tmp_path / "damaged.sqlite"
    shut.mkdir()
    damaged.write_bytes(b"no database" * 1000)
    for file, may_go in ((shut, False), (damaged, True)):
        with pytest.raises(SightlineError) as found, open_ledger(file):
            pass
        assert found.value.where == str(file) and ("remove it together" in str(found.value.fix)) is may_go


def test_a_full_disk_is_told_with_the_file_that_was_written(tmp_path: Path):
    def fill(path: Path) -> None:
        path.symlink_to("/dev/full")
        path.write_text("more")

    with pytest.raises(OSError) as found:
        replace_file(tmp_path / "results.json", fill)
    told = error_of_place(found.value)
    assert told is not None and told.where == str(tmp_path / "results.json") and "free disk space" in str(told.fix)
    assert list(tmp_path.iterdir()) == []
    assert error_of_place(OSError(errno.EPIPE, "Broken pipe")) is None
