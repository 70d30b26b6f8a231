"""The page of metrics is what the generator writes, names every metric, and its example works."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from metrics_py import registry
from metrics_py.suite.facts import COLUMN_FACTS, TABLE_FACTS
from sightline.spec import plan
from sightline.spec.judging_sections import CustomMetric
from sightline.spec.loader import load_monitor
from sightline.spec.metric_docs import EXAMPLE, FROM_SPEC, HEADING, RANKING_YAML, YAML, metrics_page
from sightline.spec.model import MonitorSpec
from sightline.user_metrics import python_metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_page_in_the_tree_is_current():
    assert PAGE.read_text(encoding="utf-8") == metrics_page(), "run `python -m sightline.spec.docs`"


@pytest.mark.parametrize("task", HEADING)
def test_every_metric_is_in_the_section_of_its_task(task):
    section = metrics_page().partition(f"## {HEADING[task]}\n")[2].partition("\n## ")[0]
    built_in = [e for e in registry.entries(task) if e.function.__module__.startswith("metrics_py.")]
    assert built_in
    for entry in built_in:
        [row] = [line for line in section.splitlines() if line.startswith(f"| `{entry.name}` |")]
        assert entry.summary.replace("|", "\\|") in row and all(source in row for source in entry.references)


def test_every_fact_of_a_suite_is_on_the_page():
    section = metrics_page().partition("## Facts for test suites\n")[2].partition("\n## ")[0]
    for fact in (*TABLE_FACTS.values(), *COLUMN_FACTS.values()):
        assert f"| `{fact.name}` | {fact.summary} |" in section


def test_every_quality_metric_of_a_monitor_is_on_the_page():
    columns = {
        "binary_classification": {"score": "p"},
        "multiclass_classification": {"prediction": "c", "class_scores": {"a": "pa", "b": "pb"}},
        "regression": {"prediction": "y"},
        "ranking": {"score": "p", "query_id": "q"},
    }
    from_spec = {name.replace("<quantile>", "0.5") for name in FROM_SPEC}
    matrix = {"a": {"a": 1, "b": 0}, "b": {"a": 0, "b": 1}}
    for task, named in columns.items():
        spec = MonitorSpec.model_validate(
            {
                "model": {"id": "m", "task": task},
                "columns": named,
                "labels": {},
                "reference": {"start": "2026-01-01", "end": "2026-02-01"},
                "value_matrix": None if task in ("regression", "ranking") else matrix,
            }
        )
        assert set(plan.quality_metrics(spec)) <= from_spec | set(registry.names(task))


def test_the_example_of_a_ranking_monitor_is_one(tmp_path):
    file = tmp_path / "shop_search.yaml"
    file.write_text(RANKING_YAML, encoding="utf-8")
    spec = load_monitor(file)
    assert RANKING_YAML in PAGE.read_text(encoding="utf-8")
    assert plan.primary_metric(spec) == "ndcg"
    assert plan.input_metrics(spec) == ["popularity_at_k", "novelty_at_k", "coverage_at_k"]


def test_the_example_works(tmp_path):
    (tmp_path / "my_metrics.py").write_text(EXAMPLE, encoding="utf-8")
    [python, sql] = [CustomMetric.model_validate(entry) for entry in yaml.safe_load(YAML)["metrics"]]
    with python_metrics.importable(tmp_path):
        entry = python_metrics.load(str(python.python))
    rows = pl.DataFrame({"f_refund": [4.0, 8.0, 100.0], "is_positive": [True, True, False]})
    assert (entry.function(rows), entry.unit, entry.direction) == (6.0, "EUR", "lower_is_better")
    assert python.columns == ("f_refund",) and sql.sql == '"f_price" > 100'
