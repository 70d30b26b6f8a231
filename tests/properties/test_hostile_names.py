"""What a column is called changes no number: in a comparison, a test suite, a file that lands, a draft of a monitor."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from metrics_py import compare
from metrics_py.profile.values import categories_of, category_texts, column_of, decimal_texts, float_texts
from metrics_py.suite.checks import run_suite
from metrics_py.suite.draft import draft_suite
from sightline.lake.intake.load import intake
from sightline.lake.store.parts import scan_lake
from sightline.spec.columns import Columns, Feature
from sightline.spec.infer import infer_monitor
from tests.support.lake import START, land, make_paths, make_spec, rows

NAMES = ("^a.*$", "^$", "^b$", "*", 'a"b', "a'b", "a\\b", "{a}", "a, b", "a.b", "é\u0301", "a\nb", "n" * 3000)
"""Polars reads the first three as patterns and the fourth as every column; the others end quotes or paths."""
PLAIN = ("number", "category")


def table(names: tuple[str, str], seed: int, shift: float = 0.0) -> pl.DataFrame:
    """A column of numbers and one of texts, with nulls, under any two names."""
    rng = np.random.default_rng(seed)
    numbers = [None if i % 17 == 0 else float(v) for i, v in enumerate(rng.normal(shift, size=400))]
    texts = [None if i % 13 == 0 else str(v) for i, v in enumerate(rng.choice(["2.0", "b", "True"], 400))]
    return pl.DataFrame({names[0]: numbers, names[1]: texts})


def pairs() -> st.SearchStrategy[tuple[str, str]]:
    """Two names that differ: awkward ones, and patterns of any text."""
    patterns = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=6).map(lambda text: f"^{text}$")
    return st.lists(st.sampled_from(NAMES) | patterns, min_size=2, max_size=2, unique=True).map(lambda n: (n[0], n[1]))


@settings(deadline=None, max_examples=40, derandomize=True)
@given(pairs())
def test_a_comparison_gives_the_same_numbers(names: tuple[str, str]) -> None:
    found, expected = (compare(table(n, 1), table(n, 2, 0.7)).frame for n in (names, PLAIN))
    renamed = found.with_columns(pl.col("column").replace(dict(zip(names, PLAIN, strict=True))))
    order = ["column", "metric"]
    assert_frame_equal(renamed.sort(order), expected.sort(order))
    assert "drift" in expected["state"].to_list()


@settings(deadline=None, max_examples=20, derandomize=True)
@given(pairs())
def test_a_suite_gives_the_same_verdicts(names: tuple[str, str]) -> None:
    told = []
    for own in (names, PLAIN):
        result = run_suite(draft_suite(table(own, 1)), table(own, 1), table(own, 2, 3.0)).frame
        column = pl.col("column").replace(dict(zip(own, PLAIN, strict=True)))
        told.append(result.select(column, "metric", "value", "status").sort(pl.all()))
    assert_frame_equal(*told)
    assert {"pass", "fail"} <= set(told[1]["status"])


@pytest.mark.parametrize("ending", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_lands_keeps_its_values(tmp_path: Path, name: str, ending: str) -> None:
    features = {name: Feature(kind="numeric"), f"{name}2": Feature(kind="categorical")}
    columns = Columns(prediction_id="id", timestamp="ts", score="p", model_version="version", features=features)
    spec = make_spec(columns=columns)
    home, paths = make_paths(tmp_path)
    frame = rows(40).rename({"x": name, "c": f"{name}2"})
    land(paths.landing_inferences, f"a.{ending}", frame)
    report = intake(spec, paths, "inferences", home, now=START + timedelta(days=3))
    assert (report.accepted, report.quarantined_by_reason, list(report.refused)) == (40, {}, [])
    lake = scan_lake(spec, paths, "inferences").collect().sort("predicted_at")
    assert lake[f"f_{name}"].to_list() == frame[name].to_list()
    assert lake[f"f_{name}2"].to_list() == frame[f"{name}2"].to_list()


@settings(deadline=None, max_examples=100, derandomize=True)
@given(pairs())
def test_a_series_is_read_whatever_its_name(names: tuple[str, str]) -> None:
    frame = table(names, 3)
    assert column_of(frame, names[0]).drop_nulls().len() == 400 - frame[names[0]].null_count()
    for read, name in ((category_texts, names[1]), (float_texts, names[0])):
        assert read(frame[name]).to_list() == read(frame[name].alias("x")).to_list()
    decimals = pl.Series(names[0], ["1.50", None]).cast(pl.Decimal(10, 2))
    assert decimal_texts(decimals).to_list() == ["1.5", None]
    assert categories_of(frame[names[1]], "categorical", names[1]).drop_nulls().unique().sort().to_list() == [
        "2",
        "b",
        "true",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_finds_the_column(name: str) -> None:
    sample = rows(200).rename({"x": name})
    assert infer_monitor(sample, has_label=False).features[name].kind == "numeric"
