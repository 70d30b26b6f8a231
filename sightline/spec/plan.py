"""What a monitor file creates, as data: assets, checks, jobs, sensors, and what is not built yet.

`sightline validate` prints it and the code location builds it, so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sightline
from sightline.spec import names
from sightline.spec.durations import format_duration
from sightline.spec.field_types import FeatureKind
from sightline.spec.flows import (
    BACKFILL,
    ESTIMATES,
    EVALUATION,
    FLOWS,
    REGISTRY_SYNC,
    flows_of,
    is_estimated,
    is_value_estimated,
    is_weighted,
)
from sightline.spec.judging_rules import judged_columns
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import (
    EMBEDDING_METRICS,
    JOINT,
    JOINT_METRICS,
    embedding_columns,
    joint_columns,
    text_embeddings,
)
from sightline.spec.stretches import sliding_windows, split
from sightline.spec.words import TEXT_METRICS, text_columns

DRIFT_KINDS: tuple[FeatureKind, ...] = ("numeric", "categorical", "boolean", "datetime")
"""Feature kinds whose distribution is judged by bins; embeddings have distances of their own."""


@dataclass(frozen=True)
class PlannedCheck:
    """One asset check. `column` is a feature or a special column; `metric` a name of the judgement table."""

    asset: str
    name: str
    description: str
    column: str | None = None
    metric: str | None = None
    blocking: bool = False
    unit: str = ""
    """Unit of the metric's values, for those of the user's."""


ESTIMATED_AS, AUDITED_AS = "estimated_", "estimation_error_"
"""How the metrics of an estimate, and of what became of it, begin."""

FAMILY_METRICS: dict[str, tuple[str, ...]] = {
    "column": ("null_rate", "not_finite_rate", "unseen_rate", "out_of_range_rate", "is_constant"),
    "contract": ("contract_rate", "null_rate"),
    "multivariate_drift": JOINT_METRICS,
}


def family(check: PlannedCheck) -> str:
    """Kind of a check: its name, or what stands before the double underscore."""
    return check.name.partition("__")[0]


def metrics_of(check: PlannedCheck) -> tuple[str, ...]:
    """Metrics of the judgement table that a check speaks for, the most telling first."""
    if family(check) == "drift" and check.metric == EMBEDDING_METRICS[0]:
        return EMBEDDING_METRICS
    if family(check) == "drift" and check.metric == TEXT_METRICS[0]:
        return TEXT_METRICS
    return FAMILY_METRICS.get(family(check), (check.metric or "",))


def assets(spec: MonitorSpec) -> dict[str, str]:
    """Assets of a monitor besides the dbt models: name -> description."""
    plan = {
        "inferences": "Logged predictions, deduplicated, one partition per window.",
        "reference": "The frozen profile that production is compared with.",
        "data_quality": "Volume, errors, latency; per column missing, unseen, out-of-range and constant values.",
        "drift": "How far each column is from the reference, with interval and three states.",
        "alerts": "Evidence per stream and the incidents under the alert budget.",
    }
    if spec.labels:
        plan["labels"] = "The truth, filed under the window of its prediction; every revision kept."
        plan["model_quality"] = "Realised quality by window, segment and model version, with intervals."
    if is_evaluated(spec):
        plan["evaluation"] = "A candidate version against the champion: differences with intervals, and a verdict."
    if is_retraining_advised(spec):
        plan["retraining"] = "How fast the model ages, whether and when a retraining pays; runs on request."
    if spec.report is not None:
        plan["report"] = "One HTML file per window: health, incidents with causes, quality, drift, data, labels."
    if is_estimated(spec):
        plan[ESTIMATES] = f"Quality before labels, by what the reference's labels taught; {assumption(spec)}."
    return plan


def dbt_models() -> list[str]:
    """Names of the dbt models that every monitor gets an instance of (staging, intermediate, marts)."""
    folder = Path(sightline.__file__).parent.parent / "dbt_project" / "models"
    return sorted(path.stem for path in folder.rglob("*.sql"))


def quality_metrics(spec: MonitorSpec) -> list[str]:
    """Realised-quality metrics of the task that the spec's columns allow, as named in the judgement table."""
    if spec.labels is None:
        return []
    from metrics_py.quality.metrics import BUSINESS_VALUE, BY_TASK, OF_LABELS, PINBALL  # costs scipy
    from metrics_py.quality.ranking_metrics import RANKING

    columns, task = spec.columns, spec.model.task
    has_forecast = task == "regression" or bool(columns.score or columns.class_scores)
    metrics = [m.name for m in BY_TASK[task] if m.is_watched and (has_forecast or m.needs == ("confusion",))]
    if task == "regression":
        metrics += [f"{PINBALL}{level:g}" for level in spec.quality.quantiles]
    if task == "ranking":
        metrics += [metric.name for metric in RANKING if metric.is_watched]
    metrics += [BUSINESS_VALUE] if spec.value_matrix else []
    metrics += [metric.name for metric in OF_LABELS]
    return metrics + [metric.name for metric in spec.metrics if metric.needs_label]


def sliding_metrics(spec: MonitorSpec) -> list[str]:
    """Realised-quality metrics that are also judged over sliding windows, without their endings.

    Those that follow from sums: Python functions see rows, and what is about the labels needs no longer window.
    """
    from metrics_py.quality.metrics import OF_LABELS

    left_out = {metric.name for metric in (*OF_LABELS, *(m for m in spec.metrics if m.python is not None))}
    return [name for name in quality_metrics(spec) if name not in left_out]


def estimated_metrics(spec: MonitorSpec) -> list[str]:
    """Realised-quality metrics that are estimated before labels come, without `ESTIMATED_AS`; each has a check."""
    if not is_estimated(spec):
        return []
    from metrics_py.estimation import cbpe, dle, multiclass
    from metrics_py.quality.business_value import BUSINESS_VALUE

    known = {
        "regression": dle.ESTIMATED,
        "binary_classification": cbpe.ESTIMATED,
        "multiclass_classification": multiclass.ESTIMATED,
    }[spec.model.task]
    if is_value_estimated(spec):
        known = (*known, BUSINESS_VALUE)
    return [name for name in quality_metrics(spec) if name in known]


def assumption(spec: MonitorSpec) -> str:
    """What estimates assume, in words."""
    if spec.model.task == "regression":
        return "assumes errors at each predicted value as large as in the reference"
    if spec.model.task == "multiclass_classification":
        return "assumes P(y | score, decision) of each class as in the reference"
    if is_weighted(spec):
        return "assumes P(y | inputs) as in the reference, whose rows are weighted to each window's inputs (PAPE)"
    return "assumes P(y | score) as in the reference"


def audited_metric(spec: MonitorSpec) -> str | None:
    """The metric whose realised value is compared with its estimate: the primary one if it is estimated."""
    known = estimated_metrics(spec)
    wanted = (primary_metric(spec), "roc_auc", "roc_auc_macro")
    return next((name for name in wanted if name in known), None)


def primary_metric(spec: MonitorSpec) -> str | None:
    """The quality metric that matters most: the spec's, else the first of its task's that the columns allow."""
    known = quality_metrics(spec)
    wanted = (spec.quality.primary, "roc_auc", "roc_auc_macro", "mae", "ndcg", "f1", "f1_macro")
    return next((name for name in wanted if name in known), None)


def decay_metrics(spec: MonitorSpec) -> list[str]:
    """Quality metrics of which one way is better: those whose change with the age of a model means something."""
    from metrics_py.quality.metrics import OF_LABELS, quality_metric  # costs scipy

    own = {metric.name: metric.direction for metric in spec.metrics}
    about_labels = {metric.name for metric in OF_LABELS}
    found: list[str] = []
    for name in quality_metrics(spec):
        direction = own.get(name) or quality_metric(name, spec.model.task).direction
        if direction in ("higher_is_better", "lower_is_better") and name not in about_labels:
            found.append(name)
    return found


def input_metrics(spec: MonitorSpec) -> list[str]:
    """The user's metrics that need no label, and of ranking what is told of the recommended items."""
    found = [metric.name for metric in spec.metrics if not metric.needs_label]
    return found + list(item_texts(spec))


def item_texts(spec: MonitorSpec) -> dict[str, str]:
    """What the metrics of recommended items are, by name."""
    if spec.model.task != "ranking" or spec.quality.item is None:
        return {}
    from metrics_py.quality.ranking_metrics import RECOMMENDED

    return {metric.name: metric.summary for metric in RECOMMENDED}


def contract(spec: MonitorSpec, column: str) -> list[str]:
    """The hard rules on a column, in words; empty if it has none."""
    rules: list[str] = []
    feature = spec.columns.features.get(column)
    if feature is not None:
        rules += [f"at least {feature.min:g}"] if feature.min is not None else []
        rules += [f"at most {feature.max:g}"] if feature.max is not None else []
        if feature.allowed is not None:
            n = len(feature.allowed)
            rules.append(f"one of {n} values" if feature.personal and n > 1 else f"one of {', '.join(feature.allowed)}")
        rules += ["never missing"] if not feature.nullable else []
    if column in spec.alerts.max_null_rate:
        rules.append(f"missing in at most {spec.alerts.max_null_rate[column]:.3g} of the rows")
    return rules


def checks(spec: MonitorSpec) -> list[PlannedCheck]:
    """Every asset check of a monitor, in the order of its assets."""
    columns = judged_columns(spec)
    slugs = names.check_slugs([*columns, *text_embeddings(spec)])
    return [
        *_intake_checks(spec),
        *_service_checks(spec),
        *_column_checks(spec, columns, slugs),
        *_drift_checks(spec, columns, slugs),
        *_quality_checks(spec),
        *_traffic_light(spec),
    ]


def _intake_checks(spec: MonitorSpec) -> Iterator[PlannedCheck]:
    """Nothing is built on a window whose rows were all refused: only `contract` blocks. The row guards only tell."""
    for asset in _intakes(spec):
        text = "Some rows of every window fit the monitor's columns: a window whose rows are all refused stops here."
        yield PlannedCheck(asset, "contract", text, blocking=True)
    text = (
        "No event that came in through the collector broke a hard rule of its column, and no guarded rate left its "
        "usual level."
    )
    yield PlannedCheck("inferences", "row_guards", text)


def _service_checks(spec: MonitorSpec) -> Iterator[PlannedCheck]:
    yield PlannedCheck("data_quality", "row_volume", "As many predictions as usual.", metric="n_rows")
    yield PlannedCheck("data_quality", "rejected_rows", "Rows refused at intake, by reason.", metric="rejected_rate")
    if spec.columns.status:
        yield PlannedCheck("data_quality", "error_rate", "Share of calls that failed.", metric="error_rate")
    if spec.columns.latency_ms:
        yield PlannedCheck("data_quality", "latency", "95 % quantile of the latency.", metric="latency_p95_ms")


def _column_checks(spec: MonitorSpec, columns: list[str], slugs: dict[str, str]) -> Iterator[PlannedCheck]:
    for column in columns:
        if column == "@label":
            continue
        text = f"{column}: missing, unseen, out-of-range and constant values as usual."
        yield PlannedCheck("data_quality", names.check_name("column", slugs[column]), text, column)
        rules = contract(spec, column)
        if rules:
            name = names.check_name("contract", slugs[column])
            yield PlannedCheck("data_quality", name, f"{column}: {'; '.join(rules)}.", column)


def _drift_checks(spec: MonitorSpec, columns: list[str], slugs: dict[str, str]) -> Iterator[PlannedCheck]:
    for column in columns:
        feature = spec.columns.features.get(column)
        if feature is None or (feature.drift and feature.kind in DRIFT_KINDS):
            name = names.check_name("drift", slugs[column])
            asset = "model_quality" if column == "@label" else "drift"  # judged when the labels come
            yield PlannedCheck(asset, name, f"{column}: distribution against the reference.", column, spec.drift.method)
    for column in embedding_columns(spec):
        name, text = names.check_name("drift", slugs[column]), f"{column}: embeddings against the reference's."
        yield PlannedCheck("drift", name, text, column, EMBEDDING_METRICS[0])
    for column in text_columns(spec):
        name, text = names.check_name("drift", slugs[column]), f"{column}: words and copies against the reference's."
        yield PlannedCheck("drift", name, text, column, TEXT_METRICS[0])
    if joint_columns(spec):
        text = "Numeric features together: correlations and joint distances from the reference."
        yield PlannedCheck("drift", "multivariate_drift", text, JOINT, JOINT_METRICS[0])


def _quality_checks(spec: MonitorSpec) -> Iterator[PlannedCheck]:
    units, primary = {metric.name: metric.unit for metric in spec.metrics}, primary_metric(spec)
    of_items = item_texts(spec)
    for metric in input_metrics(spec):
        name = names.check_name("metric", names.slug(metric))
        text = of_items.get(metric) or f"Your metric {metric.replace('_', ' ')}."
        yield PlannedCheck("data_quality", name, text, metric=metric, unit=units.get(metric, ""))
    of_labels = label_texts(spec)
    for metric in quality_metrics(spec):
        name = names.check_name("quality", names.slug(metric))
        matters = ": the metric that matters most" if metric == primary else ""
        text = of_labels.get(metric) or f"Realised {metric.replace('_', ' ')}{matters}."
        yield PlannedCheck("model_quality", name, text, metric=metric, unit=units.get(metric, ""))
    for window in sliding_windows(spec):
        yield from _sliding_checks(spec, window.ending, units)
    audited = audited_metric(spec)
    if audited:
        name = names.check_name("quality", names.slug(AUDITED_AS + audited))
        text = (
            f"Realised minus estimated {audited.replace('_', ' ')}: what no estimate can see is a change of P(y | x)."
        )
        yield PlannedCheck("model_quality", name, text, metric=AUDITED_AS + audited)
    for metric in estimated_metrics(spec):
        name = names.check_name("estimate", names.slug(metric))
        text = f"Estimated {metric.replace('_', ' ')}, before labels; {assumption(spec)}."
        yield PlannedCheck(ESTIMATES, name, text, metric=ESTIMATED_AS + metric)


def _sliding_checks(spec: MonitorSpec, ending: str, units: dict[str, str]) -> Iterator[PlannedCheck]:
    """``quality__roc_auc_7d``; a name of Dagster holds no ``@``."""
    for metric in sliding_metrics(spec):
        name = names.check_name("quality", names.slug(metric) + ending.replace("@", "_"))
        text = f"Realised {metric.replace('_', ' ')} of the last {split(ending)[1]}, with every window."
        yield PlannedCheck("model_quality", name, text, metric=metric + ending, unit=units.get(metric, ""))


def label_texts(spec: MonitorSpec) -> dict[str, str]:
    """What the metrics that are about the labels themselves are, by name."""
    if spec.labels is None:
        return {}
    from metrics_py.quality.metrics import OF_LABELS  # costs scipy

    return {metric.name: metric.summary for metric in OF_LABELS}


def _traffic_light(spec: MonitorSpec) -> Iterator[PlannedCheck]:
    """Who looks at one thing only looks here."""
    text = "No incident is open: none whose streams changed within `alerts.settle_after` and nobody has dealt with."
    yield PlannedCheck("alerts", "open_incidents", text)
    yield PlannedCheck("alerts", "hard_rules", "No rule of the monitor's file is broken, by any check of the monitor.")
    text = "What is not judged, and why; warns when that begins or changes. Known ones: `alerts.not_judged`."
    yield PlannedCheck("alerts", "coverage", text)
    if spec.labels is not None:
        text = "Labels came within the time that is usual, or within `freshness.labels` of the monitor's file."
        yield PlannedCheck("alerts", "label_freshness", text)


def _intakes(spec: MonitorSpec) -> tuple[str, ...]:
    return tuple(FLOWS[flow].intake for flow in flows_of(spec))


def jobs(spec: MonitorSpec) -> list[str]:
    """Names of the jobs: one per flow, one for both, and that of candidates."""
    evaluation = [EVALUATION] if is_evaluated(spec) else []
    evaluation += [REGISTRY_SYNC] if has_registry(spec) else []
    return [names.job_name(spec, flow) for flow in (*flows_of(spec), BACKFILL, *evaluation)]


def sensors(spec: MonitorSpec) -> list[str]:
    """Names of the sensors."""
    candidates = ["candidates"] if is_evaluated(spec) else []
    candidates += ["registry"] if has_registry(spec) else []
    return [names.sensor_name(spec, what) for what in (*_intakes(spec), *candidates)]


def is_evaluated(spec: MonitorSpec) -> bool:
    """Whether candidates can be judged: there is a metric of quality that decides."""
    return spec.labels is not None and primary_metric(spec) is not None


def is_retraining_advised(spec: MonitorSpec) -> bool:
    """Whether the file asks for it, and quality can be judged."""
    return spec.retraining is not None and is_evaluated(spec)


def has_registry(spec: MonitorSpec) -> bool:
    """Whether new versions of a model registry are evaluated."""
    return spec.registry is not None and is_evaluated(spec)


def windows(spec: MonitorSpec, now: datetime | None = None) -> int:
    """Number of windows from the first one to the last complete one."""
    now = now or datetime.now(UTC)
    return max(0, (spec.floor(now) - spec.first_window) // spec.window)


def promise(spec: MonitorSpec) -> str:
    """The alert budget in words."""
    budget = spec.alerts.budget
    incidents = "incident" if budget.incidents == 1 else "incidents"
    note = f" ({spec.budget_note})" if spec.budget_note else ""
    return (
        f"at most {budget.incidents:g} false {incidents} per {format_duration(budget.per)} expected{note}, over all "
        "streams of this monitor together and however they depend on each other; no alarm in the first "
        f"{spec.warmup_windows} windows of a stream"
    )
