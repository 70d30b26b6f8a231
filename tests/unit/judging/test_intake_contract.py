"""The check `contract` of `inferences` and `labels`: what was taken, refused and repeated."""

from __future__ import annotations

import os
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


@pytest.fixture
def verdict_of(home, make_spec):
    """Takes in what lies in the landing folder, and gives what the check says of some days."""
    spec = make_spec(columns={"prediction_id": "id", "timestamp": "at", "score": "p", "features": {"age": "numeric"}})

    def of(*days: str, now: datetime = NOW, windows: tuple[str, ...] = ()):
        intake(spec, home.monitor("churn"), "inferences", home, now=now, windows=windows)
        check = PlannedCheck("inferences", "contract", "", blocking=True)
        found = intake_verdicts(spec, home.monitor("churn"), "inferences", [check], days)
        return {key: verdict for _, key, verdict in found}

    return of


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
    assert found.text.startswith("4 rows accepted, 4 refused: ")
    assert found.facts["reasons"] == "conflicting_duplicate (4)"


def test_a_column_of_another_type_breaks_the_contract(contract):
    text = rows().with_columns(pl.col("age").cast(pl.String))
    found = contract(text)
    assert (found.level, found.cause, found.stops) == ("error", "rule", False)
    told = "Not one value of age has the type of its kind. 4 rows accepted, 0 refused; values read as missing: "
    assert found.text == told + "age 4 (bad_type, such as '30.0')."
    assert "sightline reload churn" in found.facts["what to do"]


def test_single_values_read_as_missing_are_told(contract):
    found = contract(rows().with_columns(p=pl.Series([0.2, 1.5, 0.3, 0.4])))
    assert (found.level, found.cause) == ("ok", "")
    assert found.text == "4 rows accepted, 0 refused; values read as missing: p 1 (score_out_of_range, such as '1.5')."


class TestRefusedFiles:
    def test_it_fails_the_days_of_its_times_with_its_reason_until_it_is_mended(self, home, verdict_of):
        land(home, "churn", "inferences", "a", rows().rename({"id": "key"}))
        found = verdict_of("2026-01-12", "2026-01-13")
        verdict = found["2026-01-12"]
        assert verdict.level == "error" and verdict.stops
        assert "a.parquet: missing_column (there is no column 'id'" in verdict.text
        assert found["2026-01-13"].level == "ok"
        land(home, "churn", "inferences", "a", rows())
        assert verdict_of("2026-01-12")["2026-01-12"].text == "4 rows accepted, 0 refused."

    def test_beside_accepted_rows_it_is_told_and_stops_nothing(self, home, verdict_of):
        land(home, "churn", "inferences", "a", rows().rename({"id": "key"}))
        land(home, "churn", "inferences", "b", rows())
        verdict = verdict_of("2026-01-12")["2026-01-12"]
        assert (verdict.level, verdict.stops) == ("error", False)
        assert verdict.text.endswith("4 rows accepted, 0 refused.")

    @pytest.mark.parametrize(
        ("windows", "told_in"),
        [
            ((), "2026-01-20"),
            (("2026-01-19", "2026-01-20"), "2026-01-20"),
            (("2026-01-11", "2026-01-12"), "2026-01-12"),
        ],
    )
    def test_one_without_readable_times_is_told_by_the_run_that_met_it(self, home, verdict_of, windows, told_in):
        landing = home.monitor("churn").landing_inferences
        landing.mkdir(parents=True)
        (landing / "junk.parquet").write_bytes(b"PAR1 half a file")
        os.utime(landing / "junk.parquet", (1_600_000_000, 1_600_000_000))
        verdict = verdict_of(told_in, windows=windows)[told_in]
        assert verdict.level == "error"
        assert "junk.parquet: unreadable_file (" in verdict.text
        (landing / "junk.parquet").unlink()
        assert verdict_of(told_in)[told_in].level == "ok"


def test_a_corrected_file_that_came_again_names_the_command_that_lets_it_in(contract):
    found = contract(rows(), rows().with_columns(age=31.0))
    assert found.level == "warn"
    assert found.text.endswith("sightline reload churn --replace data/churn/landing/inferences/file1.parquet")


def test_a_file_that_has_grown_and_changed_is_only_counted(contract):
    found = contract(rows(), rows(6).with_columns(age=31.0))
    assert (found.level, found.text) == ("ok", "6 rows accepted, 4 refused.")


def test_a_day_without_labels_says_that_none_came(home, make_spec):
    spec = make_spec()
    paths = home.monitor("churn")
    land(home, "churn", "inferences", "one", rows().rename({"id": "prediction_id", "at": "timestamp"}))
    intake(spec, paths, "inferences", home, now=NOW)
    for asset, told in (("labels", "No labels came: 0 rows accepted, 0 refused."), ("inferences", "4 rows accepted,")):
        [(_, _, verdict)] = intake_verdicts(spec, paths, asset, [PlannedCheck(asset, "contract", "")], ["2026-01-12"])
        assert verdict.level == "ok" and verdict.text.startswith(told)
