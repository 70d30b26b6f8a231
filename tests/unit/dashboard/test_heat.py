"""The grid of drift: a cell is shaded by what its own statistic is measured by, and by nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from sightline.dashboard.charts.heat import STEPS, Heat, heat

DAY = timedelta(days=1)
START = datetime(2026, 3, 2)


def row(column: str, metric: str, value: float | None, bound: float | None = None, status: str = "ok", day: int = 0):
    about = {"column": column, "metric": metric, "value": value, "bound_high": bound, "status": status}
    return {**about, "window_start": START + day * DAY, "reason": None if value is not None else "12 rows"}


def grid(*rows: dict) -> Heat:
    schema = {"value": pl.Float64, "bound_high": pl.Float64, "reason": pl.String}
    return heat(pl.DataFrame(list(rows), schema_overrides=schema), DAY, "psi", 0.1)


@pytest.mark.parametrize(
    ("given", "shade"),
    [
        (row("age", "psi", 0.02), 0),
        (row("age", "psi", 0.15), sum(step < 1.5 for step in STEPS)),
        (row("age", "psi", 0.15, bound=1.0), 0),
        (row("@features", "domain_auc", 0.999), -1),
        (row("@features", "domain_auc", 0.6, bound=0.55), sum(step < 0.6 / 0.55 for step in STEPS)),
        (row("age", "psi", None, status="insufficient_data"), -1),
        (row("review", "unknown_word_share", 0.0, bound=0.0), 0),
        (row("review", "unknown_word_share", 0.019, bound=0.0, status="warn"), len(STEPS)),
        (row("age", "psi", 0.02, bound=0.0), 0),
    ],
)
def test_a_shade_is_a_multiple_of_what_is_no_drift_yet(given, shade):
    [[cell]] = grid(given).cells
    assert cell.shade == shade
    assert cell.words.startswith("2026-03-02: ")


def test_of_a_statistic_without_a_bound_it_is_told_that_nothing_is_known():
    [[cell]] = grid(row("@features", "domain_auc", 0.999)).cells
    assert cell.words == "2026-03-02: domain_auc 0.999, nothing is known of what is usual"
    assert not cell.is_far


def test_where_none_is_usual_any_is_far():
    [[cell]] = grid(row("review", "duplicate_text_rate", 0.06, bound=0.0, status="warn")).cells
    assert cell.words == "2026-03-02: 0.06 (no drift up to 0), drift"
    assert cell.is_far


def test_a_day_without_a_judgement_is_empty_and_the_farthest_column_comes_first():
    found = grid(row("age", "psi", 0.02), row("fare", "psi", 0.3, status="warn"), row("fare", "psi", 0.3, day=2))
    assert list(found.columns) == ["fare", "age"]
    assert [cell.shade for cell in found.cells[1]] == [0, -2, -2]
    assert found.cells[0][0].is_far
