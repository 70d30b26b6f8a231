"""`sightline backfill`: dates to windows, and the process it becomes."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from sightline.cli import cli
from sightline.commands.backfill import PROGRAM, range_of
from sightline.errors import SightlineError
from tests.support.lake import make_spec

NOW = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)
MONITOR = """\
model: {id: churn, task: binary_classification}
columns: {prediction_id: id, timestamp: at, score: p, features: {x: numeric}}
reference: {kind: window, start: 2026-01-05, end: 2026-01-12}
"""


@pytest.mark.parametrize(
    ("schedule", "start", "end", "wanted"),
    [
        ("daily", "2026-02-01", "2026-02-03", ("2026-02-01", "2026-02-03")),
        ("daily", "2026-02-01T23:30:00-05:00", None, ("2026-02-02", "2026-03-04")),
        ("daily", "2026-02-01", "2027-01-01", ("2026-02-01", "2026-03-04")),
        ("hourly", "2026-03-03", "2026-03-03", ("2026-03-03-00", "2026-03-03-23")),
        ("hourly", "2026-03-03-07", "2026-03-04", ("2026-03-03-07", "2026-03-04-05")),
        ("hourly", "2026-03-03T07:59", "2026-03-03T08:00:00Z", ("2026-03-03-07", "2026-03-03-08")),
        ("weekly", "2026-02-04", "2026-02-11", ("2026-02-02", "2026-02-09")),
    ],
)
def test_dates_and_windows_are_both_included(schedule, start, end, wanted):
    assert range_of(make_spec(schedule=schedule), start, end, NOW) == wanted


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("2025-12-31", None, r"begin with 2026-01-05"),
        ("2026-02-03", "2026-02-01", r"FROM lies after TO(.|\n)*earlier date first"),
        ("2026-04-01", "2026-04-03", r"newest window is 2026-03-04(.|\n)*begin with 2026-03-04"),
        ("yesterday", None, r"'yesterday' is no date(.|\n)*write 2026-01-31"),
    ],
)
def test_a_range_without_windows_is_told_with_the_fix(start, end, text):
    with pytest.raises(SightlineError, match=text):
        range_of(make_spec(), start, end, NOW)


def test_it_becomes_the_program_on_dagsters_side(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "churn.yaml").write_text(MONITOR)
    result = CliRunner().invoke(cli, ["backfill", "churn", "2026-01-05", "2026-01-07"])
    assert result.exit_code == 0, result.output
    [(program, arguments, environment)] = calls
    assert program == sys.executable
    assert arguments[1:] == ["-m", PROGRAM, "churn", "2026-01-05", "2026-01-07"]
    assert environment["SIGHTLINE_HOME"] == str(tmp_path)
    assert (tmp_path / "dagster_home" / "dagster.yaml").is_file()
    unknown = CliRunner().invoke(cli, ["backfill", "chrn"])
    assert isinstance(unknown.exception, SightlineError)
    assert "Did you mean 'churn'?" in str(unknown.exception)
