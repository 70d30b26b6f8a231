"""SQL metrics are checked before dbt sees them: one number per row, of columns that exist, and of nothing else."""

from __future__ import annotations

import pytest

from sightline.spec.model import MonitorSpec
from sightline.user_metrics import sql_metrics


def spec_of(*entries: dict[str, object]) -> MonitorSpec:
    return MonitorSpec.model_validate(
        {
            "model": {"id": "orders", "task": "binary_classification"},
            "columns": {
                "prediction_id": "id",
                "timestamp": "at",
                "score": "p",
                "features": {
                    "amount": "numeric",
                    "debt ratio": "numeric",
                    "region": "categorical",
                    "is_new": "boolean",
                },
            },
            "labels": {"column": "returned"},
            "reference": {"kind": "window", "start": "2026-01-01", "end": "2026-02-01"},
            "metrics": list(entries),
        }
    )


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("", "is empty"),
        ("f_amount +", "is no SQL"),
        ("f_amount; drop table x", "is no SQL"),
        ("{{ config() }}", "is no SQL"),
        ("f_amout * 2", '"f_amout" not found'),
        ("is_positive", '"is_positive" not found'),
        ("nosuch(f_amount)", "nosuch does not exist"),
        ("sum(f_amount) over ()", "a window function"),
        ("row_number() over ()", "a window function"),
        ("(select max(f_amount) from raw.inferences)", "a subquery"),
        ("f_amount in (select 1)", "a subquery"),
        ("exists (select 1)", "a subquery"),
        ("avg(f_amount)", "avg(), an aggregate"),
        ("count(*)", "an aggregate"),
        ("unnest([1, 2])", "unnest(), which makes rows"),
        ("f_amount * random()", "random(), which gives another value each time"),
        ("columns('f_.*')", "a star"),
        ("?", "a parameter"),
        ("1), (2", "goes on with something else"),
        ("f_amount) where (true", "goes on with something else"),
        ("1) union all select (2", "goes on with something else"),
        ("f_region", "gives VARCHAR, no number"),
        ("predicted_at", "gives TIMESTAMP, no number"),
    ],
)
def test_what_is_no_number_per_row_is_told(expression, what):
    found = sql_metrics.mistakes(spec_of({"name": "good", "sql": "1"}, {"name": "bad", "sql": expression}))
    assert list(found) == ["bad"]
    assert what in found["bad"].what and "\n" not in found["bad"].what and found["bad"].fix


@pytest.mark.parametrize(
    "expression",
    [
        "f_amount",
        "f_amount / 0 -- undefined, no mistake",
        '"f_debt ratio" * 2',
        "f_amount > 100 and f_is_new",
        "case when f_region = 'north' then 1 else 0 end",
        "case\n  when score > 0.5 then 1\nend",
        "list_sum(list_transform([f_amount], lambda x: x + 1))",
        "date_part('hour', predicted_at)",
        "cast(f_amount as utinyint)",
        "greatest(f_amount, 3)",
        "cast(f_region as double)",
        "null",
    ],
)
def test_expressions_per_row_are_taken(expression):
    assert sql_metrics.mistakes(spec_of({"name": "good", "sql": expression})) == {}


def test_labels_are_known_to_those_that_need_them():
    good = [{"name": f"m{i}", "sql": sql, "needs_label": True} for i, sql in enumerate(["is_positive", "label = '1'"])]
    assert sql_metrics.mistakes(spec_of(*good)) == {}
    assert (
        "gives VARCHAR" in sql_metrics.mistakes(spec_of({"name": "m", "sql": "label", "needs_label": True}))["m"].what
    )
    assert (
        "label_value"
        in sql_metrics.mistakes(spec_of({"name": "m", "sql": "label_value", "needs_label": True}))["m"].what
    )
