"""What a check of each metric says of a candidate: a criterion by its margin, the others as a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from metrics_py.evaluation.verdict import Criterion
from metrics_py.quality.metrics import OF_LABELS, quality_metric
from metrics_py.wording import number
from sightline.evaluation import render
from sightline.evaluation.run import Evaluation
from sightline.spec import names, plan
from sightline.spec.model import MonitorSpec

FAMILY = "evaluation"
LEVEL = 0.05
"""How often any of the metrics that decide nothing may warn of equal candidates (Holm 1979)."""
Level = Literal["ok", "warn", "error"]
LEVELS: Mapping[str, Level] = {"inferior": "error", "cannot_tell": "warn"}
"""Of a criterion by its outcome; others pass."""

DIRECTED = ("higher_is_better", "lower_is_better")


@dataclass(frozen=True)
class MetricCheck:
    """What the check of one metric says.

    Attributes
    ----------
    metric : str
    level : {"ok", "warn", "error"}
        ``error``: a criterion that is lost by more than its margin; ``warn``: another metric that is worse, a criterion
        that is open, and whatever has not enough data: that is no pass.
    text : str
        One line for people.
    facts : mapping
        Numbers for the UI.
    """

    metric: str
    level: Level
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def compared_metrics(spec: MonitorSpec) -> list[str]:
    """Metrics of which an evaluation has a check: those that models are compared by and of which one way is better."""
    left_out = {metric.name for metric in OF_LABELS} | {metric.name for metric in spec.metrics}
    return [
        name
        for name in plan.quality_metrics(spec)
        if name not in left_out and quality_metric(name, spec.model.task).direction in DIRECTED
    ]


def check_name(metric: str) -> str:
    """Name of the check of a metric."""
    return names.check_name(FAMILY, names.slug(metric))


def metric_checks(spec: MonitorSpec, found: Evaluation) -> list[MetricCheck]:
    """What each check of `compared_metrics` says."""
    rows = {row["metric"]: row for row in render.of_segment(found, "all")}
    criteria = {c.name: c for c in found.verdict.criteria}
    wanted = compared_metrics(spec)
    lost = worse([rows[name] for name in wanted if name in rows and name not in criteria])
    return [_check(found, name, rows.get(name), criteria.get(name), is_worse=name in lost) for name in wanted]


def untold(version: str, reason: str) -> str:
    """What a check says of which nothing is known.

    Parameters
    ----------
    version : str
        Of the candidate.
    reason : str
        Why.
    """
    return f"{version}: not enough data: {reason}"


def worse(rows: Sequence[dict[str, Any]]) -> set[str]:
    """Metrics that are worse, so that equal candidates show any with a probability of at most `LEVEL` (Holm)."""
    found: set[str] = set()
    tested = sorted((row for row in rows if row.get("p_value") is not None), key=lambda row: row["p_value"])
    for k, row in enumerate(tested):
        if row["p_value"] > LEVEL / (len(tested) - k):
            break
        sign = 1.0 if row["direction"] == "higher_is_better" else -1.0
        if row["difference"] * sign < 0:
            found.add(row["metric"])
    return found


def _check(
    found: Evaluation, metric: str, row: dict[str, Any] | None, criterion: Criterion | None, *, is_worse: bool
) -> MetricCheck:
    if row is None:
        return MetricCheck(metric, "warn", untold(found.version, "its rows do not have this metric"))
    facts = {
        "version": found.version,
        "champion": row["champion"],
        "challenger": row["challenger"],
        "difference": row["difference"],
        "ci_low": row["ci_low"],
        "ci_high": row["ci_high"],
        "labelled rows": min(row["n_champion"], row["n_challenger"]),
        "margin": criterion.margin if criterion else None,
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    if row["ci_low"] is None or row["difference"] is None:
        return MetricCheck(metric, "warn", untold(found.version, row["reason"] or "not defined"), facts)
    told = (
        f"{found.version}: {number(row['challenger'])}, champion {number(row['champion'])}: "
        f"difference {render.difference(row)}"
    )
    if criterion is not None:
        state = render.criterion_row(criterion)[-1]
        level = LEVELS.get(criterion.outcome, "ok")
        return MetricCheck(metric, level, f"{told}; {state} (margin {criterion.margin:g})", facts)
    if is_worse:
        return MetricCheck(metric, "warn", f"{told}; worse, but it decides nothing", facts)
    return MetricCheck(metric, "ok", f"{told}; decides nothing", facts)
