"""Calibration: whether the candidate's scores come true, as a whole and in slices."""

from __future__ import annotations

import numpy as np
import polars as pl

from metrics_py.evaluation.calibration import calibration_line
from metrics_py.results import Estimate
from metrics_py.wording import number
from sightline.evaluation.sets.rows import Compared
from sightline.evaluation.suite.findings import Finding, Section, Status
from sightline.evaluation.suite.slices import slices_of, untrue
from sightline.spec.model import MonitorSpec

SLOPES, LARGE, BIAS = (0.8, 1.25), 0.2, 0.03
"""Nothing is said of a slope within these, of an intercept up to this, of a slice that is off by up to this."""
MOST_CLASSES = 12
METHOD = "logistic recalibration; the interval allows for rows of one entity that depend on each other"


def calibration(spec: MonitorSpec, compared: Compared) -> Section | None:
    """Intercept and slope of each class that has scores; None where the monitor has none."""
    if spec.model.task == "binary_classification":
        scored = {"": ("score", spec.positive_class)}
    elif spec.model.task == "multiclass_classification":
        scored = {name: (f"p_{name}", name) for name in list(spec.columns.class_scores)[:MOST_CLASSES]}
    else:
        return None
    findings: list[Finding] = []
    for name, (column, positive) in scored.items():
        new, old = (_line(frame, column, positive) for frame in (compared.challenger, compared.champion))
        if new is None:
            continue
        for k, metric in enumerate(("calibration_intercept", "calibration_slope")):
            findings.append(_finding(metric, name, new[k], old[k].value if old else None))
    if not findings:
        return None
    rows = compared.challenger.drop_nulls(["score", "label_value"]) if "" in scored else None
    if rows is not None and len(rows):
        slices = slices_of(spec, rows)
        score, outcome = (slices.frame[column].to_numpy().astype(np.float64) for column in ("score", "label_value"))
        findings += untrue(slices, score, outcome, BIAS)
    return Section(key="calibration", title="Calibration", findings=tuple(findings))


def _line(frame: pl.DataFrame, column: str, positive: str) -> tuple[Estimate, Estimate] | None:
    rows = frame.drop_nulls([column, "label_class"]).filter(pl.col(column).is_between(0, 1))
    if rows.is_empty():
        return None
    return calibration_line(rows[column], (rows["label_class"] == positive).to_numpy(), rows["bucket"])


def _finding(metric: str, of: str, found: Estimate, champion: float | None) -> Finding:
    if found.value is None or found.ci_low is None or found.ci_high is None:
        reason = found.reason or "not enough data"
        return Finding(name=metric, of=of, n=found.n, method=METHOD, status="insufficient_data", reason=reason)
    is_slope = metric == "calibration_slope"
    low, high = SLOPES if is_slope else (-LARGE, LARGE)
    status: Status = "ok"
    reason = "1 is ideal" if is_slope else "0 is ideal"
    if found.ci_high < low or found.ci_low > high:
        status = "warn"
        below, above = (
            ("scores are too extreme", "scores are too timid")
            if is_slope
            else ("scores are too high on the whole", "scores are too low on the whole")
        )
        reason = (
            f"{below if found.ci_high < low else above}; {reason}, {number(low, 2)} to {number(high, 3)} is let pass"
        )
    return Finding(
        name=metric,
        of=of,
        value=found.value,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        champion=champion,
        n=found.n,
        method=METHOD,
        status=status,
        reason=reason,
    )
