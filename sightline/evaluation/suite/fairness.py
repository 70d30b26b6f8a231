"""Fairness: how differently the candidate treats the groups of the columns that the monitor's file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.evaluation.fairness import Disparity, Rate, gap_change, largest_gap
from metrics_py.evaluation.limits import Limit
from metrics_py.intervals import N_BUCKETS
from metrics_py.multiple_testing import holm
from metrics_py.quality.champion import PairedDifference
from metrics_py.wording import number
from sightline.evaluation.sets.rows import Compared
from sightline.evaluation.suite.findings import Finding, Section, Status
from sightline.spec.fairness import DEFAULT_METRICS, RATIO
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_quality import decided_class

FloatArray = NDArray[np.float64]
MOST_GROUPS, MOST_CLASSES = 50, 12
WIDENED_AT = 0.05
"""Two-sided, over all gaps of the section (Holm): a gap that grew against the champion's."""
MISSING = "(missing)"
METHOD = "largest gap of any two groups; the lower end holds for all pairs at once, rows of one entity may depend"
NO_MARGIN = "without `fairness.margin` no gap fails; one that is wider than the champion's warns"


@dataclass(frozen=True)
class _Found:
    """One gap, and what became of it."""

    metric: str
    column: str
    gap: Disparity
    champion: Disparity | None
    change: PairedDifference | None
    between: str


def fairness(spec: MonitorSpec, compared: Compared) -> Section | None:
    """Gaps between the groups of each column; None where the monitor's file names no column."""
    rules = spec.fairness
    if not rules.columns:
        return None
    metrics = rules.metrics or DEFAULT_METRICS[spec.model.task]
    told: list[Finding] = []
    found: list[_Found] = []
    for column in rules.columns:
        groups, reason = _groups(spec, compared, column)
        if reason:
            told.append(Finding(name="fairness", of=column, status="insufficient_data", reason=reason))
            continue
        for metric in metrics:
            found += _of_metric(spec, compared, column, metric, groups)
    adjusted = holm([f.change.p_value if f.change and f.change.p_value is not None else 1.0 for f in found])
    told += [_finding(spec, each, float(p)) for each, p in zip(found, adjusted, strict=True)]
    limits = [limit for each in found if (limit := _limit(spec, each)) is not None]
    notes = () if rules.margin is not None else (NO_MARGIN,)
    return Section(key="fairness", title="Fairness", findings=tuple(told), notes=notes, limits=tuple(limits))


def lake_column(spec: MonitorSpec, column: str) -> str:
    """Where the rows hold a column that the monitor's file names."""
    return f"g_{column}" if column in spec.columns.segments else f"f_{column}"


def _groups(spec: MonitorSpec, compared: Compared, column: str) -> tuple[list[str], str]:
    name = lake_column(spec, column)
    if name not in compared.challenger.columns:
        return [], f"the candidate's rows have no column {column!r}"
    values = compared.challenger[name].cast(pl.String)
    if values.null_count() == len(values):
        return [], f"the column {column!r} is empty in all rows"
    known = sorted(values.drop_nulls().unique().to_list())
    if len(known) > MOST_GROUPS:
        return [], f"{column!r} has {len(known):,} values: groups are at most {MOST_GROUPS}, such as bands of it"
    if len(known) < 2 and not values.null_count():
        return [], f"all rows are of one group: {known[0]}"
    return [*known, *([MISSING] if values.null_count() else [])], ""


def _of_metric(spec: MonitorSpec, compared: Compared, column: str, metric: str, groups: list[str]) -> list[_Found]:
    name, least = lake_column(spec, column), spec.fairness.min_rows
    new = rates(spec, compared.challenger, name, groups, metric)
    if not new:
        reason = "the candidate's rows have nothing to compute it from (a score, a decision)"
        nothing = Disparity(None, None, None, None, None, None, None, 0, (), "insufficient_data", reason)
        return [_Found(f"{metric}_difference", column, nothing, None, None, "")]
    old = rates(spec, compared.champion, name, groups, metric) if name in compared.champion.columns else {}
    gaps = [largest_gap(each, groups, min_rows=least) if each else None for each in (new, old)]
    change, between = None, ""
    if compared.how == "paired" and set(old) == set(new) and (moved := gap_change(old, new, groups, min_rows=least)):
        change, between = moved[0], f"{moved[2]} and {moved[3]}"
    assert gaps[0] is not None  # `new` holds rates
    found = [_Found(f"{metric}_difference", column, gaps[0], gaps[1], change, between)]
    if metric == "demographic_parity" and spec.model.task == "binary_classification":
        ratios = [largest_gap(each, groups, min_rows=least, as_ratio=True) if each else None for each in (new, old)]
        assert ratios[0] is not None
        found.append(_Found(RATIO, column, ratios[0], ratios[1], None, ""))
    return found


def rates(spec: MonitorSpec, frame: pl.DataFrame, column: str, groups: list[str], metric: str) -> dict[str, Rate]:
    """What a metric compares between the groups, by name; empty where the rows do not say it.

    Parameters
    ----------
    spec : MonitorSpec
    frame : DataFrame
        Labelled rows in lake columns.
    column : str
        Lake column with the group.
    groups : list of str
        Its values in order.
    metric : str
        As in the monitor's file.
    """
    group = pl.col(column).cast(pl.String).fill_null(MISSING)
    rows = frame.select(
        "bucket",
        "label_class",
        "label_value",
        group=group.replace_strict(groups, list(range(len(groups))), default=None, return_dtype=pl.Int64),
        decided=decided_class(spec) if spec.model.task != "regression" else pl.lit(None, pl.String),
        forecast="score" if spec.model.task == "binary_classification" else "prediction",
    ).drop_nulls("group")
    if metric in ("mean_error", "mae"):
        rows = rows.drop_nulls(["forecast", "label_value"])
        error = (rows["forecast"] - rows["label_value"]).to_numpy()
        each = np.abs(error) if metric == "mae" else error
        return {metric: _rate(rows, len(groups), each, np.ones(len(rows)), is_share=False)} if len(rows) else {}
    rows = rows.drop_nulls(["decided", "label_class"])
    if rows.is_empty():
        return {}
    decided, actual = rows["decided"], rows["label_class"]
    if spec.model.task == "binary_classification":
        classes = {"": spec.positive_class}
    else:
        common = actual.value_counts(sort=True).sort("count", "label_class", descending=[True, False])
        names = sorted(set(spec.columns.class_scores) or common["label_class"].head(MOST_CLASSES).to_list())
        classes = {f" of {name}": name for name in names}
    found: dict[str, Rate] = {}
    for suffix, name in classes.items():
        chosen, truth = (decided == name).to_numpy(), (actual == name).to_numpy()
        for rate, (counted, among) in _shares(metric, chosen, truth, (decided == actual).to_numpy()).items():
            found[rate if rate == "accuracy" else rate + suffix] = _rate(rows, len(groups), counted, among)
    return found


def _shares(
    metric: str, chosen: NDArray[np.bool_], truth: NDArray[np.bool_], right: NDArray[np.bool_]
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    every = np.ones_like(chosen)
    found = {
        "demographic_parity": {"selection_rate": (chosen, every)},
        "equal_opportunity": {"recall": (chosen & truth, truth)},
        "equalized_odds": {"recall": (chosen & truth, truth), "false_positive_rate": (chosen & ~truth, ~truth)},
        "predictive_parity": {"precision": (chosen & truth, chosen)},
        "accuracy": {"accuracy": (right, every)},
    }
    return found[metric]


def _rate(
    rows: pl.DataFrame,
    n_groups: int,
    counted: NDArray[np.bool_] | FloatArray,
    among: NDArray[np.bool_] | FloatArray,
    *,
    is_share: bool = True,
) -> Rate:
    cell = rows["group"].to_numpy() * N_BUCKETS + rows["bucket"].cast(pl.Int64).to_numpy() % N_BUCKETS
    shape = (n_groups, N_BUCKETS)

    def summed(part: NDArray[np.bool_] | FloatArray) -> FloatArray:
        weights = part.astype(np.float64)
        return np.bincount(cell, weights=weights, minlength=n_groups * N_BUCKETS).astype(np.float64).reshape(shape)

    return Rate(summed(counted), summed(among), is_share)


def _margin(spec: MonitorSpec, name: str) -> float | None:
    """The limit of a gap that the monitor's file names."""
    margin = spec.fairness.margin
    if isinstance(margin, Mapping):
        return margin.get(name, margin.get(name.removesuffix("_difference")))
    return None if name == RATIO else margin


def _limit(spec: MonitorSpec, found: _Found) -> Limit | None:
    margin = _margin(spec, found.metric)
    if margin is None:
        return None
    gap, old = found.gap, found.champion.value if found.champion else None
    return Limit(
        f"{found.metric} of {found.column}",
        gap.value,
        gap.ci_low,
        gap.ci_high,
        gap.n,
        margin,
        "higher_is_better" if found.metric == RATIO else "lower_is_better",
        old,
        gap.reason,
    )


def _finding(spec: MonitorSpec, found: _Found, p_adjusted: float) -> Finding:
    gap = found.gap
    parts = tuple(vars(group) for group in gap.groups)
    told = Finding(name=found.metric, of=found.column, n=gap.n, method=METHOD, parts=parts)
    if gap.status != "ok" or gap.value is None or gap.ci_low is None or gap.ci_high is None:
        return replace(told, status="insufficient_data", reason=gap.reason or "not enough data")
    status, words = _status(spec, found, p_adjusted)
    return replace(
        told,
        value=gap.value,
        ci_low=gap.ci_low,
        ci_high=gap.ci_high,
        champion=found.champion.value if found.champion else None,
        status=status,
        reason="; ".join([*words, *_described(found)]),
    )


def _status(spec: MonitorSpec, found: _Found, p_adjusted: float) -> tuple[Status, list[str]]:
    gap, margin = found.gap, _margin(spec, found.metric)
    assert gap.ci_low is not None and gap.ci_high is not None
    change = found.change
    widened = change is not None and (change.difference or 0.0) > 0 and p_adjusted <= WIDENED_AT
    words = [f"wider than the champion's between {found.between}"] if widened else []
    if margin is None:
        return ("warn" if widened else "ok"), words
    below = found.metric != RATIO
    if gap.ci_low > margin if below else gap.ci_high < margin:
        return "fail", [f"beyond the margin {margin:g}", *words]
    if gap.ci_high < margin if below else gap.ci_low > margin:
        return ("warn" if widened else "ok"), [f"within the margin {margin:g}", *words]
    return "warn", [f"cannot be told from the margin {margin:g}", *words]


def _described(found: _Found) -> list[str]:
    """Where the gap is, what chance alone would show, and what became of it."""
    gap, change = found.gap, found.change
    values = {(group.group, group.rate): group.value for group in gap.groups}
    told = [
        f"{gap.rate} {number(values[gap.highest or '', gap.rate or ''], 3)} of {gap.highest}, "
        f"{number(values[gap.lowest or '', gap.rate or ''], 3)} of {gap.lowest}"
    ]
    if gap.by_chance is not None and (gap.ci_low or 0.0) <= 0:
        told.append(f"equal groups of these sizes would show {number(gap.by_chance, 2)}")
    if change is not None and change.ci_low is not None and change.difference is not None:
        told.append(
            f"between {found.between} {change.difference:+.2g} against the champion "
            f"({change.ci_low:+.2g} to {change.ci_high:+.2g})"
        )
    small = list(dict.fromkeys(group.group for group in gap.groups if group.status != "ok"))
    if small:
        shown = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if len(small) > 5 else "")
        told.append(f"not enough data of {shown}")
    return told
