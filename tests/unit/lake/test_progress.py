"""Progress per window, in the ledger beside the batches."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from sightline.errors import SightlineError
from sightline.lake.store.progress import Done, open_progress

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def progress(home):
    with open_progress(home.monitor("churn").ledger) as opened:
        for kind, key in (("inferences", "w1"), ("inferences", "w2"), ("labels", "w1"), ("inferences", "w1")):
            opened.con.execute(
                "INSERT INTO window_changes(kind, window_key, batch_id, n_rows) VALUES (?, ?, 'b', 5)", [kind, key]
            )
        yield opened


def test_positions_and_rows(progress):
    assert progress.position() == 4
    assert progress.changes(["inferences"]) == {"w1": 4, "w2": 2}
    assert progress.changes(["labels"]) == {"w1": 3}
    assert progress.changes(["inferences", "labels"]) == {"w1": 4, "w2": 2}
    assert progress.rows("inferences", ["w1", "w3"]) == {"w1": 10}


def test_a_flow_is_done_when_all_its_assets_are_judged_and_the_engine_has_seen_them(progress):
    progress.write_aggregated("immediate", ["w1", "w2"], 4, "r")
    progress.write_judged("immediate", "data_quality", ["w1", "w2"], AT, "run1")
    assert progress.done("immediate") == {}
    progress.write_judged("immediate", "drift", ["w1"], AT + timedelta(hours=1), "run1")
    assert progress.done("immediate") == {}
    progress.write_alerted("run1")
    assert progress.done("immediate") == {"w1": Done(4, AT, "r")}
    assert progress.done("delayed") == {}


def test_judging_a_window_alone_does_not_undo_what_the_engine_saw_unless_the_aggregates_changed(progress):
    progress.write_aggregated("delayed", ["w1"], 3, "r")
    progress.write_judged("delayed", "model_quality", ["w1"], AT, "run1")
    progress.write_alerted("run1")
    progress.write_judged("delayed", "model_quality", ["w1"], AT + timedelta(days=1), "by hand")
    assert progress.done("delayed") == {"w1": Done(3, AT + timedelta(days=1), "r")}
    progress.write_aggregated("delayed", ["w1"], 4, "r")
    progress.write_judged("delayed", "model_quality", ["w1"], AT + timedelta(days=2), "by hand")
    assert progress.done("delayed") == {}


def test_judging_without_aggregates_counts_for_nothing(progress):
    progress.write_judged("delayed", "model_quality", ["w2"], AT, "run1")
    progress.write_alerted("run1")
    assert progress.done("delayed") == {}


def test_the_tables_live_beside_the_lakes_own_and_are_made_once(home, progress):
    with open_progress(home.monitor("churn").ledger) as again:
        assert again.position() == 4
        names = {name for (name,) in again.con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"judged", "aggregated", "batches", "window_changes"} <= names


def test_a_disk_that_fills_up_within_a_transaction_is_told_with_its_place(home):
    path = home.monitor("churn").ledger
    with open_progress(path) as progress:
        (pages,) = progress.con.execute("PRAGMA page_count").fetchone()
        progress.con.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(SightlineError, match=r"the ledger cannot be written .*full") as told:
            progress.write_aggregated("immediate", [f"w{i}" for i in range(10_000)], 4, "r" * 100)
        assert told.value.where == str(path)
        progress.con.execute("PRAGMA max_page_count = 1000000")
        assert progress.reference_of("immediate", ["w1"]) == {}
        progress.write_aggregated("immediate", ["w1"], 4, "r")
    with open_progress(path) as progress:
        assert progress.reference_of("immediate", ["w1"]) == {"w1": "r"}


def test_a_damaged_ledger_is_told_and_a_wrong_statement_is_not_blamed_on_it(home):
    path = home.monitor("churn").ledger
    with open_progress(path) as progress:
        with pytest.raises(sqlite3.OperationalError, match="no such table"), progress.ledger.transaction() as con:
            con.execute("INSERT INTO nowhere VALUES (1)")
        progress.write_aggregated("immediate", [f"w{i}" for i in range(5000)], 4, "r" * 100)
    with open_progress(path) as progress:
        content = bytearray(path.read_bytes())
        page = 4096
        content[3 * page :] = b"\xff" * (len(content) - 3 * page)
        path.write_bytes(content)
        with pytest.raises(SightlineError, match="cannot be read") as told:
            progress.forget()
        assert told.value.where == str(path)
