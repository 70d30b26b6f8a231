"""Suite files: written and read back alike, whatever the columns are called."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.quality.rows import Roles
from metrics_py.suite.checks import Check, Suite, run_suite
from metrics_py.suite.draft import draft_suite
from sightline.errors import SightlineError
from sightline.suites import dump_suite, load_suite

CHECKS = (
    Check("row_count", ge=1),
    Check("duplicate_rate", ("a", "b: c"), le=0),
    Check("null_rate", ("no", "1", "ünï", "with 'quotes\""), le=0.1, judge="interval", severity="warn", name="known"),
    Check("mean", ("x",), between=(-1.5, 2)),
    Check("n_distinct", ("x",), among=(2, 3)),
    Check("sd", ("*",), relative_tolerance=0.1, absolute_tolerance=0.5, direction="lower_is_better", lt=9, gt=-9),
)
ROLES = Roles(
    "multiclass_classification", "label", prediction="pred", class_scores={"on time": "p_0", "1": "p_1"}, entity="user"
)
NAMED = Roles("multiclass_classification", "label", prediction="pred", classes=("1", "on time"))


@pytest.mark.parametrize(
    "roles", [None, ROLES, NAMED, Roles("binary_classification", "y", score="p", positive="true", threshold=0.3)]
)
def test_a_suite_survives_being_written(roles, tmp_path):
    suite = Suite(CHECKS, roles, 100 if roles is None else 50)
    (tmp_path / "suite.yaml").write_text(dump_suite(suite), encoding="utf-8")
    assert load_suite(tmp_path / "suite.yaml") == suite


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no mapping"),
        ("checks: []", "there are no checks"),
        ("version: 2\nchecks: [{metric: row_count, ge: 1}]", "version 2"),
        ("checks: [{ge: 1}]", "names no metric"),
        ("checks: [row_count]", "a check is a mapping"),
        ("checks: [{metric: mean, column: [1], ge: 1}]", "column names are text"),
        ("checks: [{metric: mean, column: a, columns: [b], ge: 1}]", "both given"),
        ("checks: [{metric: row_count, in: 3}]", "write in: a list of numbers"),
        ("quality: 3\nchecks: [{metric: row_count, ge: 1}]", "`quality` is no mapping"),
        ("quality: {task: binary}\nchecks: [{metric: row_count, ge: 1}]", "task 'binary' is unknown"),
        (
            "quality: {task: regression, label: y, threshold: high}\nchecks: [{metric: mae, le: 1}]",
            "`threshold` is 'high'",
        ),
        (
            "quality: {task: regression, label: y, class_scores: 1}\nchecks: [{metric: mae, le: 1}]",
            "`class_scores` is no mapping",
        ),
        ("checks: [{metric: row_count, ge: 1}]\nchecks: []", "a second time"),
    ],
)
def test_malformed_files_are_refused(text, message, tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SightlineError) as error:
        load_suite(path)
    assert message in str(error.value)
    assert f"{path}:" in str(error.value)


def test_a_suite_of_a_ranking_model_is_drafted_written_read_and_run(tmp_path):
    rng = np.random.default_rng(4)

    def table(quality):
        relevance = rng.integers(0, 3, 3000)
        score = quality * relevance + rng.normal(size=3000)
        return pl.DataFrame({"session": np.arange(3000) // 10, "p": score, "clicks": relevance})

    roles = Roles("ranking", "clicks", score="p", query="session", k=5)
    old = table(1.0)
    file = tmp_path / "suite.yaml"
    file.write_text(dump_suite(draft_suite(old, roles)), encoding="utf-8")
    suite = load_suite(file)
    assert suite.roles == roles
    assert run_suite(suite, old, table(1.0)).passed
    worse = run_suite(suite, old, table(0.0))
    failed = {row["metric"] for row in worse.to_dicts() if row["status"] == "fail"}
    assert {"ndcg", "mrr"} <= failed
    file.write_text(file.read_text().replace("k: 5", "k: 0"))
    with pytest.raises(SightlineError, match="no number of places"):
        load_suite(file)


def test_the_last_column_of_a_file_without_an_end_says_that_its_last_row_may_be_cut(tmp_path):
    for name, end in (("whole", "\n"), ("cut", "")):
        (tmp_path / f"{name}.csv").write_text("a,b\n1,10\n2,20\n3,30" + end, encoding="utf-8")
    suite = Suite((Check("mean", ("a",), ge=0), Check("mean", ("b",), ge=0), Check("row_count", ge=1)))
    found = run_suite(suite, str(tmp_path / "whole.csv"), str(tmp_path / "cut.csv"))
    assert [row["reason"] for row in found.to_dicts()] == [
        None,
        "the last line of cut.csv has no end: row 3 may be cut",
        None,
    ]
