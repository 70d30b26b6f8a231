"""Marks: kept durably, told by the command, torn lines left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.results.marks import MARKS, append_mark, read_marks

MONITOR = """
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric}}
labels: {column: churned}
reference: {kind: window, start: 2026-01-01, end: 2026-01-11}
"""


def test_marks_are_kept_by_time_in_utc(home):
    paths = home.monitor("churn")
    later = datetime(2026, 2, 2, 8, tzinfo=timezone(timedelta(hours=2)))
    append_mark(paths, "  rolled \n back ", at=later, source="ci")
    append_mark(paths, "deployed 4.2", at=datetime(2026, 2, 1, tzinfo=UTC))
    found = read_marks(paths)
    assert found.select("at", "text", "source").rows() == [
        (datetime(2026, 2, 1), "deployed 4.2", ""),
        (datetime(2026, 2, 2, 6), "rolled back", "ci"),
    ]


def test_a_line_that_a_kill_tore_is_left_out_and_the_next_one_is_whole(home):
    paths = home.monitor("churn")
    append_mark(paths, "deployed 4.2")
    with (paths.results / MARKS).open("ab") as file:
        file.write(b'{"at": "2026-02-0')
    append_mark(paths, "deployed 4.3")
    assert read_marks(paths)["text"].to_list() == ["deployed 4.2", "deployed 4.3"]


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [(" ", None, "needs words"), ("x" * 501, None, "more than 500"), ("x", datetime(2026, 1, 1), "no time zone")],
)
def test_what_is_no_mark_is_refused(home, text, at, what):
    with pytest.raises(SightlineError, match=what):
        append_mark(home.monitor("churn"), text, at=at)
    assert read_marks(home.monitor("churn")).is_empty()


def test_the_command_marks_a_monitor(home, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_HOME", str(home.root))
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(MONITOR)
    run = CliRunner().invoke(cli, ["mark", "churn", "deployed 4.2", "--at", "2026-02-01", "--source", "ci"])
    assert run.exit_code == 0, run.output
    assert run.output == "marked churn at 2026-02-01T00:00:00.000000+00:00: deployed 4.2\n"
    assert read_marks(home.monitor("churn"))["source"].to_list() == ["ci"]
    wrong = CliRunner().invoke(cli, ["mark", "churn", "deployed", "--at", "yesterday"])
    assert "is no date or time" in wrong.output
