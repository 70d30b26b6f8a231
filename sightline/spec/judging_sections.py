"""Sections ``drift``, ``quality``, ``metrics``, ``alerts`` and ``freshness``: what is judged, and what is told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from sightline.spec.budget import Budget, parse_budget
from sightline.spec.field_types import Duration, Severity
from sightline.spec.part import Part


class Drift(Part):
    """Defaults of drift judgement."""

    tolerance: float = Field(
        default=0.1,
        gt=0,
        description="PSI that is no drift yet (states: drift, stable, unclear); where the reference's own windows lie "
        "farther from the rest of it, the farthest of them is the limit: what is usual for a day is no drift.",
    )
    method: str = Field(
        default="psi",
        description=(
            "Distance that decides: psi, kl_divergence, js_divergence, js_distance or hellinger. Each is tolerated "
            "as far as the shift that has the tolerated PSI."
        ),
    )
    bins: int = Field(default=32, ge=4, le=256, description="Reference-quantile bins per numeric column.")
    min_rows: int = Field(default=200, ge=1, description="Fewer effective rows in a window: too few to judge it alone.")
    multivariate: bool = Field(
        default=True,
        description="Watch the numeric and boolean features together as well: correlations and joint distances "
        "(`multivariate_drift`).",
    )


class Quality(Part):
    """Defaults of realised quality."""

    threshold: float = Field(default=0.5, description="Score at and above which the decision is positive (binary).")
    min_labels: int = Field(default=100, ge=1, description="Fewer labelled rows in a window: insufficient_data.")
    primary: str | None = Field(
        default=None,
        description=(
            "The metric that matters most: shown first and named so; default by task (roc_auc, roc_auc_macro, mae, "
            "ndcg, or what the columns allow)."
        ),
    )
    estimation: Literal["pape"] | None = Field(
        default=None,
        description=(
            "How quality is estimated before labels. Default: from the scores or predictions alone, as if scores came "
            "true as often as in the reference. `pape` (two classes with a score): from the reference's labelled rows, "
            "weighted to each window's inputs, as if inputs did; it reads 20,000 rows of a window at most."
        ),
    )
    quantiles: tuple[float, ...] = Field(default=(0.5,), description="Regression: quantiles of the pinball loss.")
    k: int = Field(
        default=10, ge=1, le=1000, description="Ranking: places of a query that are looked at (`ndcg`, `recall_at_k`)."
    )
    item: str | None = Field(
        default=None,
        description="Ranking: the categorical feature that names the recommended item. With it popularity, novelty and "
        "coverage of what is recommended are judged, without labels; mark it `drift: false` where there are many.",
    )
    windows: tuple[Duration, ...] = Field(
        default=(),
        description=(
            "Lengths over which quality is judged: with `[1d, 7d, 28d]` every day also over the last 7 and 28 days "
            "(`roc_auc@7d`), for monitors with few labels a day. Multiples of the schedule, up to 92 windows; the "
            "schedule's own window is always judged."
        ),
    )


class CustomMetric(Part):
    """A metric of one's own: a SQL expression over the joined rows (aggregated by dbt), or a Python function."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name in the judgement table.")
    sql: str | None = Field(
        default=None, description="SQL expression per row over lake columns, `label` and `is_positive`; averaged."
    )
    python: str | None = Field(
        default=None,
        description=(
            "`package.module:function`, decorated with `@metric`; the module lies in the home folder or is installed."
        ),
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Python: lake columns the function reads (`score`, `f_age`); default: all but text and embeddings.",
    )
    unit: str = Field(default="", max_length=30, description="Unit shown beside the value.")
    direction: Literal["higher_is_better", "lower_is_better", "none"] = Field(
        default="none", description="Which way is better."
    )
    needs_label: bool = Field(default=False, description="Count labelled rows only.")
    scale: Literal["identity", "log", "logit", "arcsine"] = Field(
        default="identity",
        description=(
            "Scale on which alerts see the window's value: `log` for a positive, skewed amount, `logit` or `arcsine` "
            "for a share. A value that the scale is not defined for (0 on `log`) is no evidence: insufficient_data, "
            "with the reason."
        ),
    )


BudgetField = Annotated[
    Budget,
    BeforeValidator(parse_budget),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s+per\s+\S+\s*$", "examples": ["1 per 90d"]}),
]


class Threshold(Part):
    """A fixed threshold on one judged value: a hard rule, outside of the budget."""

    metric: str = Field(description="Name of the metric, as in the judgements (`roc_auc`, `null_rate`, `psi`, yours).")
    column: str = Field(default="", description="The column it is about; left out for metrics of the whole model.")
    fail_above: float | None = Field(default=None, description="A value above fails the check.")
    fail_below: float | None = Field(default=None, description="A value below fails the check.")
    warn_above: float | None = Field(default=None, description="A value above warns.")
    warn_below: float | None = Field(default=None, description="A value below warns.")

    def broken(self, value: float) -> tuple[Severity, str] | None:
        """The level and the words of the broken limit; None where all hold."""
        verbs: tuple[tuple[Severity, str], ...] = (("error", "fail"), ("warn", "warn"))
        for level, verb in verbs:
            above, below = getattr(self, f"{verb}_above"), getattr(self, f"{verb}_below")
            if above is not None and value > above:
                return level, f"above {verb}_above: {above:g}"
            if below is not None and value < below:
                return level, f"below {verb}_below: {below:g}"
        return None


class Alerts(Part):
    """The promise: how many false incidents at most, and who hears of the rest."""

    budget: BudgetField = Field(
        default=Budget(incidents=1, per=timedelta(days=90)),
        description="Expected false incidents at most, e.g. `1 per 90d`.",
    )
    warnings: BudgetField | None = Field(
        default=None,
        description=(
            "Expected false warnings at most, over the same evidence: a softer budget. Default ten times `budget`: "
            "`1 per 9d` for `1 per 90d`."
        ),
    )
    thresholds: tuple[Threshold, ...] = Field(
        default=(),
        description=(
            "Fixed thresholds on judged values: hard rules, outside of the budget. They alarm as often as they are "
            "crossed."
        ),
    )
    settle_after: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Windows after a change for which an incident may keep checks failed; from then on it has settled: it is "
            "listed, and fails nothing, until somebody says what it was. Default 14 daily, 72 hourly, 4 weekly."
        ),
    )
    not_judged: tuple[str, ...] = Field(
        default=(),
        description=(
            "Patterns of checks or columns (`carrier`, `drift__*`) that are known not to be judged: the check "
            "`coverage` stays silent about them."
        ),
    )
    notify: tuple[str, ...] = Field(
        default=(),
        description=(
            "Channels or named routes of `alerts/routes.yaml` that are told, and names of people: all are shown on "
            "incidents and on checks that fail."
        ),
    )
    weights: dict[str, float] = Field(
        default={},
        description=(
            "Stream pattern (`drift/*`, `*/carrier/*`) -> relative weight; the first that matches counts, 0 silences."
        ),
    )
    spikes: dict[str, float] = Field(
        default={},
        description=(
            "Stream pattern (`data_quality/*`, `*/amount/*`) -> standard deviations; the first that matches counts. A "
            "single window at least this far from what its past expects fails its check, outside of the budget: for "
            "those who must hear of one bad day, which the budget spends its evidence on changes that last."
        ),
    )
    holidays: tuple[date, ...] = Field(default=(), description="Days that neither alarm nor teach the baseline.")
    warmup: int | None = Field(
        default=None,
        ge=8,
        description=(
            "Windows a stream must teach before it may alarm; default 28 daily (4 weeks), 336 hourly (2 weeks), 12 "
            "weekly."
        ),
    )
    max_null_rate: dict[str, float] = Field(
        default={}, description="Hard contract per column: null share above it fails the check."
    )


class Freshness(Part):
    """Deadlines on the clock; defaults follow the schedule and the expected label delay."""

    inferences: Duration | None = Field(default=None, description="No new inferences for this long fails.")
    labels: Duration | None = Field(default=None, description="No new labels for this long fails.")
    judgements: Duration | None = Field(default=None, description="No new judgements for this long fails.")
