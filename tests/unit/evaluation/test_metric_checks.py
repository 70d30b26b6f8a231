"""The check of each metric: a criterion by its margin, others as warnings that seldom come by chance."""

from __future__ import annotations

import numpy as np
import polars as pl

from sightline.evaluation.metric_checks import LEVEL, check_name, compared_metrics, metric_checks, worse
from sightline.spec.loader import find_monitor
from tests.unit.evaluation.test_evaluate import MONITOR, production, run, scored, write_monitor  # noqa: F401


def checks(production, found):  # noqa: F811 (a fixture)
    home, _ = production
    return {check.metric: check for check in metric_checks(find_monitor(home, "m"), found)}


def test_every_compared_metric_has_one_and_none_that_has_no_better(production, tmp_path):  # noqa: F811
    home, _ = production
    wanted = compared_metrics(find_monitor(home, "m"))
    found = checks(production, run(production, tmp_path, scored(5, 0.1)))
    assert list(found) == wanted
    assert "calibration_bias" not in wanted
    assert "labelled_rate" not in wanted
    assert len({check_name(name) for name in wanted}) == len(wanted)
    assert (found["roc_auc"].level, found["accuracy"].level) == ("ok", "ok")
    assert found["roc_auc"].text.startswith("v2: ")


def test_a_guardrail_fails_and_another_metric_warns(production, tmp_path):  # noqa: F811
    home, _ = production
    write_monitor(home, {**MONITOR, "evaluation": {"margin": 0.03, "guardrails": {"log_loss": 0.01}}})
    found = checks(production, run(production, tmp_path, scored(5, 3.0)))
    assert (found["roc_auc"].level, found["log_loss"].level) == ("error", "error")
    assert "inferior (margin 0.01)" in found["log_loss"].text
    assert found["brier"].level == "warn"
    assert found["brier"].facts["difference"] > 0


def test_not_enough_data_is_no_pass(production, tmp_path):  # noqa: F811
    few = scored(5, 3.0).head(60).with_columns(id=pl.format("new-{}", "id"))
    found = checks(production, run(production, tmp_path, few))
    assert {check.level for check in found.values()} == {"warn"}
    assert found["roc_auc"].text == "v2: not enough data: 60 labelled rows, 100 needed"
    home, _ = production
    write_monitor(home, {**MONITOR, "evaluation": {"margin": 1e-6}})
    jitter = pl.Series(np.random.default_rng(42).normal(0, 1e-3, len(scored(5, 0.5))))
    nearly = scored(5, 0.5).with_columns(p=(pl.col("p") + jitter).clip(0, 1))
    open_still = checks(production, run(production, tmp_path, nearly))["roc_auc"]
    assert open_still.level == "warn" and "cannot tell (margin 1e-06)" in open_still.text


def row(metric: str, p: float | None, difference: float, direction: str = "higher_is_better") -> dict[str, object]:
    return {"metric": metric, "p_value": p, "difference": difference, "direction": direction}


def test_warnings_are_those_of_holm_and_only_on_the_worse_side():
    rows = [row("a", 0.001, -1), row("b", 0.02, -1), row("c", 0.03, -1), row("d", None, -1), row("e", 0.9, -1)]
    assert worse(rows) == {"a"}, "0.02 > 0.05 / 3"
    assert worse([row("a", 0.001, 1), row("b", 0.001, 1, "lower_is_better")]) == {"b"}
    assert worse([row("a", 0.03, -1), row("b", 0.04, -1)]) == set()
    assert worse([row("a", 0.02, -1), row("b", 0.04, -1)]) == {"a", "b"}
    assert worse([]) == set()


def test_equal_candidates_seldom_warn():
    """Of ten metrics without a difference any warns in at most 2.5 % of evaluations: half of Holm's 5 %."""
    rng, n = np.random.default_rng(41), 4000
    draws = zip(rng.random((n, 10)), rng.choice([-1.0, 1.0], (n, 10)), strict=True)
    warned = sum(bool(worse([row(str(k), p, d) for k, (p, d) in enumerate(zip(*each, strict=True))])) for each in draws)
    assert 0.5 * n * LEVEL / 2 < warned < 1.4 * n * LEVEL / 2
