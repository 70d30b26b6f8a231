"""The check `contract` of `inferences` and `labels`: what was taken, refused and repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sightline.judging.intake_contract import intake_verdicts
from sightline.lake.intake.load import intake
from sightline.spec.plan import PlannedCheck
from tests.support.workshop import land

DAY = datetime(2026, 1, 12)
NOW = datetime(2026, 1, 20, tzinfo=UTC)


@pytest.fixture
def contract(home, make_spec):
    """Lands files of predictions, takes them in, and gives what the check says of their day."""
    spec = make_spec(columns={"prediction_id": "id", "timestamp": "at", "score": "p", "features": {"age": "numeric"}})
    paths = home.monitor("churn")

    def after(*files: pl.DataFrame):
        for number, rows in enumerate(files):
            land(home, "churn", "inferences", f"file{number}", rows)
            intake(spec, paths, "inferences", home, now=NOW)
        check = PlannedCheck("inferences", "contract", "")
        [(_, _, verdict)] = intake_verdicts(spec, paths, "inferences", [check], ["2026-01-12"])
        return verdict

    return after


def rows(n: int = 4) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": [f"p{i}" for i in range(n)], "at": [DAY + timedelta(hours=i) for i in range(n)], "p": 0.2, "age": 30.0}
    )


def test_a_day_that_came_once(contract):
    found = contract(rows())
    assert (found.level, found.text) == ("ok", "4 rows accepted, 0 refused.")
    assert "rows repeated" not in found.facts


def test_a_day_that_came_twice_is_told(contract):
    found = contract(rows(), rows().with_columns(age=pl.col("age")))
    assert (found.level, found.text) == ("ok", "4 rows accepted, 0 refused, 4 repeated (known already, left out).")
    assert found.facts["rows repeated"] == 4


def test_the_same_rows_with_other_content_are_refused(contract):
    found = contract(rows(), rows().with_columns(age=31.0))
    assert found.text == "4 rows accepted, 4 refused."
    assert found.facts["reasons"] == "conflicting_duplicate (4)"
