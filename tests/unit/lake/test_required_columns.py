"""A file without a column that would be counted wrongly for good is refused as a whole, with the column named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from sightline.spec.data_sections import Model
from sightline.spec.model import MonitorSpec
from tests.support.lake import START, land, make_paths, make_spec, quarantine, rows

NAMES = {"prediction_id": "id", "timestamp": "ts"}


def spec_with(task: str = "binary_classification", **columns: object) -> MonitorSpec:
    return make_spec(model=Model(id="m", task=task), columns=Columns(**{**NAMES, **columns}))  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize(
    ("spec", "column"),
    [
        (spec_with(score="p"), "p"),
        (spec_with("regression", prediction="p"), "p"),
        (spec_with("multiclass_classification", class_scores={"a": "p", "b": "x"}), "p"),
        (spec_with(score="x", weight="p"), "p"),
        (spec_with(score="x", features={"p": Feature(kind="numeric", nullable=False)}), "p"),
    ],
    ids=["score", "prediction", "class score", "weight", "never missing"],
)
def test_a_renamed_column_refuses_the_file(tmp_path: Path, suffix: str, spec: MonitorSpec, column: str) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, f"a.{suffix}", rows(30).rename({column: "renamed"}))
    report = intake(spec, paths, "inferences", home)
    assert (report.accepted, report.rejected) == (0, 30)
    assert report.quarantined_by_reason == {"missing_column": 1}
    noted = quarantine(tmp_path).row(0, named=True)
    assert (noted["column"], noted["severity"]) == (column, "file")
    assert f"there is no column '{column}'; the file has " in noted["payload"] and "'renamed'" in noted["payload"]
    land(paths.landing_inferences, f"a.{suffix}", rows(30), START + timedelta(days=31))
    assert intake(spec, paths, "inferences", home).accepted == 30


def test_a_nullable_feature_may_be_absent(tmp_path: Path) -> None:
    home, paths = make_paths(tmp_path)
    land(paths.landing_inferences, "a.parquet", rows(30).drop("x"))
    assert intake(make_spec(), paths, "inferences", home).accepted == 30
    assert scan_lake(make_spec(), paths, "inferences").collect()["f_x"].null_count() == 30


@pytest.mark.parametrize(("status", "accepted"), [("500", 2), ("200", 0), (None, 0)])
def test_calls_that_all_failed_may_lack_the_answer(tmp_path: Path, status: str | None, accepted: int) -> None:
    home, paths = make_paths(tmp_path)
    failed = rows(2).drop("p").with_columns(status=pl.Series(["503", status], dtype=pl.String))
    land(paths.landing_inferences, "a.ndjson", failed)
    assert intake(spec_with(score="p", status="status"), paths, "inferences", home).accepted == accepted
