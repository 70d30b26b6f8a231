"""An event log whose databases stay open reads and writes what one does that opens them each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dagster._core.events.log import EventLogEntry
from sqlalchemy import text

from orchestration.dagster_private.event_storage import BatchedSqliteEventLogStorage
from orchestration.dagster_private.open_databases import MAX_OPEN, OpenDatabases


def entry(run_id: str, message: str) -> EventLogEntry:
    return EventLogEntry(
        error_info=None,
        level=20,
        user_message=message,
        run_id=run_id,
        timestamp=1.0,
        job_name="job",
        dagster_event=None,
    )


def messages(storage: BatchedSqliteEventLogStorage, run_id: str) -> list[str]:
    return [found.user_message for found in storage.get_logs_for_run(run_id)]


def open_files(folder: Path) -> set[str]:
    links = (fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.exists())
    return {link.name for link in links if link.is_relative_to(folder) and link.suffix == ".db"}


def test_two_processes_worth_of_storages_see_each_other(tmp_path: Path):
    one, other = (BatchedSqliteEventLogStorage(str(tmp_path)) for _ in range(2))
    for i in range(20):
        (one, other)[i % 2].store_event(entry("r1", f"event {i}"))
        assert messages((other, one)[i % 2], "r1") == [f"event {k}" for k in range(i + 1)]
    one.dispose()
    other.dispose()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_few_files_stay_open_and_none_after_the_end(tmp_path: Path):
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    for i in range(3 * MAX_OPEN):
        storage.store_event(entry(f"r{i}", "told"))
    assert 1 <= len(open_files(tmp_path)) <= MAX_OPEN
    assert [messages(storage, f"r{i}") for i in range(3 * MAX_OPEN)] == [["told"]] * 3 * MAX_OPEN
    storage.dispose()
    assert open_files(tmp_path) == set()


def test_a_wiped_log_is_empty_and_can_be_written_again(tmp_path: Path):
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    storage.store_event(entry("r1", "before"))
    storage.wipe()
    assert messages(storage, "r1") == []
    storage.store_event(entry("r1", "after"))
    assert messages(storage, "r1") == ["after"]
    storage.dispose()


def test_another_file_in_the_place_of_one_is_opened_instead(tmp_path: Path):
    path, databases = str(tmp_path / "a.db"), OpenDatabases()
    Path(path).touch()
    with databases.engine(path).connect() as connection, connection.begin():
        connection.execute(text("CREATE TABLE first (x)"))
    Path(path).rename(tmp_path / "old.db")
    Path(path).touch()
    found: Any
    with databases.engine(path).connect() as connection:
        found = connection.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    databases.close()
    assert found == []
