"""Rules of a monitor that the type of a field does not hold: between keys, and what a value may mean.

Each problem names its key path, so that the loader can tell the line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from metrics_py.class_names import class_text
from sightline.errors import nearest
from sightline.spec import fairness, texts
from sightline.spec.durations import format_duration
from sightline.spec.flows import WEIGHTED_KINDS, is_estimated, weighted_inputs
from sightline.spec.model import Labels, MonitorSpec
from sightline.spec.multivariate import JOINT
from sightline.spec.stretches import ending
from sightline.spec.yaml_lines import KeyPath

_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,7}\b")
"""What Dagster takes for an address: another one would stop the code location, all monitors with it."""
_TEAM = re.compile(r"team:[A-Za-z0-9_]+")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


JUDGED_ASSETS = ("data_quality", "drift", "model_quality")
"""What the names of the alert engine's streams begin with."""
SERVICE_METRICS = (
    *("n_rows", "error_rate", "rejected_rate", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
    *("null_rate", "not_finite_rate", "unseen_rate", "out_of_range_rate", "is_constant", "contract_rate"),
)
LONGEST_SLIDING, MOST_SLIDING = 92, 4
"""Windows of the schedule in the longest sliding window, and how many lengths there may be."""
LABEL_METRICS = ("labelled_rate", "label_arrivals", "value", "business_value", "business_value_total")
"""Metrics that no function of the registry gives; `value` is what the marts call the business value."""


@dataclass(frozen=True)
class Problem:
    """One broken rule."""

    key_path: KeyPath
    what: str
    fix: str


def problems(spec: MonitorSpec) -> list[Problem]:
    """All broken rules of a spec whose fields are each valid, in the order of the file's sections."""
    rules = (
        _model,
        _task_needs,
        _task_refuses,
        _columns,
        _features,
        _labels,
        _reference,
        _sources,
        _drift,
        _quality,
        _metrics,
        _alerts,
        _thresholds,
        _causes,
        _fairness,
        _retraining,
        _registry,
    )
    return [problem for rule in rules for problem in rule(spec)]


def _fairness(spec: MonitorSpec) -> Iterator[Problem]:
    for key_path, what, fix in fairness.mistakes(spec):
        yield Problem(key_path, what, fix)


def _model(spec: MonitorSpec) -> Iterator[Problem]:
    owner = spec.model.owner
    if owner is not None and not (_EMAIL.fullmatch(owner) or _TEAM.fullmatch(owner)):
        yield Problem(
            ("model", "owner"),
            f"{owner!r} is no owner",
            "write an e-mail address, or `team:name` (letters, digits, underscore)",
        )


def _task_needs(spec: MonitorSpec) -> Iterator[Problem]:
    columns, task = spec.columns, spec.model.task
    if task == "binary_classification" and columns.score is None and columns.prediction is None:
        fix = "name the column with P(positive) as `score`, or the column with the predicted class as `prediction`"
        yield Problem(("columns",), "binary_classification needs columns.score or columns.prediction", fix)
    if task == "multiclass_classification" and columns.prediction is None and not columns.class_scores:
        fix = "name the column with the predicted class as `prediction`, or one column per class under `class_scores`"
        yield Problem(("columns",), "multiclass_classification needs columns.prediction or columns.class_scores", fix)
    if task == "multiclass_classification" and len(columns.class_scores) == 1:
        fix = "name a column for every class, or leave class_scores out"
        yield Problem(("columns", "class_scores"), "class_scores names only one class", fix)
    if task == "regression" and columns.prediction is None:
        fix = "name the column with the predicted value as `prediction`"
        yield Problem(("columns",), "regression needs columns.prediction", fix)
    if task == "ranking" and (columns.score is None or columns.query_id is None):
        fix = "name the ranking score as `score` and the query or session as `query_id`"
        yield Problem(("columns",), "ranking needs columns.score and columns.query_id", fix)


def _task_refuses(spec: MonitorSpec) -> Iterator[Problem]:
    """Keys that would be silently without effect under this task."""
    task = spec.model.task
    only = {
        ("columns", "class_scores"): {"multiclass_classification"},
        ("columns", "query_id"): {"ranking"},
        ("labels", "positive"): {"binary_classification"},
        ("labels", "negative"): {"binary_classification"},
        ("labels", "classes"): {"multiclass_classification"},
        ("quality", "threshold"): {"binary_classification"},
        ("quality", "estimation"): {"binary_classification"},
        ("quality", "quantiles"): {"regression"},
        ("quality", "k"): {"ranking"},
        ("quality", "item"): {"ranking"},
        ("value_matrix",): {"binary_classification", "multiclass_classification"},
    }
    for key_path, tasks in only.items():
        if task not in tasks and _is_given(spec, key_path):
            key = ".".join(map(str, key_path))
            yield Problem(
                key_path, f"{key} has no meaning for {task}", f"remove it (it is for {' and '.join(sorted(tasks))})"
            )
    if task == "regression" and spec.columns.score:
        fix = "name the column under `prediction`, or list it under features to judge its drift"
        yield Problem(("columns", "score"), "columns.score has no meaning for regression", fix)


def _is_given(spec: MonitorSpec, key_path: KeyPath) -> bool:
    *sections, last = key_path
    part: Any = spec
    for section in sections:
        part = getattr(part, str(section))
    return part is not None and last in part.model_fields_set and getattr(part, str(last)) is not None


ROLES = (
    "prediction_id",
    "timestamp",
    "score",
    "prediction",
    "model_version",
    "entity_id",
    "query_id",
    "status",
    "latency_ms",
    "weight",
)


def _columns(spec: MonitorSpec) -> Iterator[Problem]:
    columns = spec.columns
    used: dict[str, str] = {}
    for role in ROLES:
        name = getattr(columns, role)
        if name is None:
            continue
        yield from _column_name(("columns", role), name)
        may_share = {"entity_id", "query_id", "prediction_id"}
        if name in used and not {role, used[name]} <= may_share:
            fix = "name another column, or remove one of the two keys"
            yield Problem(("columns", role), f"the column {name!r} is already columns.{used[name]}", fix)
        used.setdefault(name, role)
    for label, name in columns.class_scores.items():
        yield from _column_name(("columns", "class_scores", label), name)
    yield from _repeated(("columns", "class_scores"), list(columns.class_scores.values()), "the column of a class")
    yield from _case_twins(("columns", "class_scores"), columns.class_scores, "classes")
    for index, name in enumerate(columns.segments):
        yield from _column_name(("columns", "segments", index), name)
        if "=" in name:
            fix = "rename the column in the data: segments are called `<column>=<value>`"
            yield Problem(("columns", "segments", index), f"the segment column {name!r} holds an equals sign", fix)
    yield from _repeated(("columns", "segments"), columns.segments, "a segment column")
    yield from _case_twins(("columns", "segments"), columns.segments, "segment columns")


def _column_name(key_path: KeyPath, name: str) -> Iterator[Problem]:
    if not name.strip():
        yield Problem(key_path, "a column name is empty", "write the name of the column as it stands in the data")
    elif name.startswith("@"):
        fix = "rename the column in the data (Sightline calls its own columns @score, @prediction, @label)"
        yield Problem(key_path, f"the column name {name!r} starts with @", fix)
    elif "\x00" in name:
        yield Problem(key_path, "a column name holds a NUL character", "rename the column in the data")


def _case_twins(key_path: KeyPath, names: Iterable[str], what: str) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            text = f"the {what} {twin!r} and {name!r} differ only in case, and SQL cannot tell them apart"
            yield Problem((*key_path, name), text, "rename one of them in the data")


def _repeated(key_path: KeyPath, names: Iterable[str], what: str) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(key_path, f"{name!r} is named {count} times as {what}", "name it once")


def _features(spec: MonitorSpec) -> Iterator[Problem]:
    features = spec.columns.features
    yield from _case_twins(("columns", "features"), features, "features")
    for name, feature in features.items():
        path: KeyPath = ("columns", "features", name)
        yield from _column_name(path, name)
        for bound in ("min", "max"):
            if getattr(feature, bound) is not None and feature.kind != "numeric":
                yield Problem((*path, bound), f"`{bound}` has no meaning for a {feature.kind} feature", "remove it")
        if feature.min is not None and feature.max is not None and feature.min > feature.max:
            yield Problem((*path, "min"), f"min {feature.min:g} is above max {feature.max:g}", "swap the two")
        if feature.allowed is not None and feature.kind != "categorical":
            yield Problem((*path, "allowed"), f"`allowed` has no meaning for a {feature.kind} feature", "remove it")
        if feature.allowed == ():
            yield Problem(
                (*path, "allowed"), "`allowed` is empty: every row would break the contract", "list the values"
            )
        yield from _repeated((*path, "allowed"), feature.allowed or (), "an allowed value")
    for key_path, what, fix in texts.mistakes(spec):
        yield Problem(key_path, what, fix)


def _labels(spec: MonitorSpec) -> Iterator[Problem]:
    labels = spec.labels
    if labels is None:
        if spec.sources.labels:
            yield Problem(
                ("sources", "labels"), "sources.labels without a section `labels`", "add `labels: {column: ...}`"
            )
        if "labels" in spec.freshness.model_fields_set:
            yield Problem(("freshness", "labels"), "freshness.labels without a section `labels`", "remove it")
        return
    for key in ("column", "prediction_id", "observed_at"):
        name = getattr(labels, key)
        if name is not None:
            yield from _column_name(("labels", key), name)
    if spec.model.task == "binary_classification" and labels.positive is None:
        yield Problem(
            ("labels", "positive"),
            "binary classification needs a positive value",
            "write the value, e.g. `positive: 1`",
        )
    if spec.model.task == "binary_classification" and spec.positive_class in spec.negative_classes:
        what = f"{spec.positive_class!r} is the positive value and a negative one"
        yield Problem(("labels", "negative"), what, "name the other class")
    yield from _classes(spec, labels.classes)
    yield from _silence(spec, labels)
    given = (labels.give_up_after, labels.expected_delay)
    if given[0] is not None and given[1] is not None and given[0] < given[1]:
        fix = "give_up_after must not be shorter than the usual delay"
        yield Problem(("labels", "give_up_after"), "labels are given up before they are expected", fix)


def _silence(spec: MonitorSpec, labels: Labels) -> Iterator[Problem]:
    """Negatives that are never reported: of two classes, and known only once a time to report has passed."""
    if labels.silence != "negative":
        return
    path: KeyPath = ("labels", "silence")
    if spec.model.task not in ("binary_classification", "ranking"):
        what = f"labels.silence: negative has no meaning for {spec.model.task}"
        yield Problem(path, what, "remove it (it is for binary_classification and ranking)")
    elif labels.give_up_after is None:
        what = "labels.silence: negative without labels.give_up_after: nobody could tell when silence means no"
        yield Problem(path, what, "say how long a positive may take to be reported, e.g. `give_up_after: 30d`")


def _classes(spec: MonitorSpec, given: Iterable[object] | None) -> Iterator[Problem]:
    """Classes that are named one by one: each once, and those with a column of probabilities among them."""
    if given is None:
        return
    path: KeyPath = ("labels", "classes")
    names = [class_text(name) for name in given]
    if len(set(names)) < 2:
        yield Problem(path, "labels.classes names fewer than two classes", "name all classes, or leave it out")
    yield from _repeated(path, names, "a class")
    for key, named in (("columns.class_scores", spec.columns.class_scores), ("value_matrix", spec.value_matrix or {})):
        for name in map(class_text, named):
            if name not in names:
                yield Problem(path, f"{name!r} of {key} is not among labels.classes", "name all classes")


def _reference(spec: MonitorSpec) -> Iterator[Problem]:
    reference, kind = spec.reference, spec.reference.kind
    belongs = {"window": {"start", "end"}, "file": {"path"}, "rolling": {"length"}}
    for key in sorted({"start", "end", "path", "length"} & reference.model_fields_set - belongs[kind]):
        fix = f"remove it, or change `kind` ({kind} reads {', '.join(sorted(belongs[kind]))})"
        yield Problem(("reference", key), f"reference.{key} has no meaning for kind {kind}", fix)
    if kind == "window":
        if reference.start is None or reference.end is None:
            fix = "write both, e.g. `start: 2026-01-01` and `end: 2026-03-01` (end is exclusive)"
            yield Problem(("reference",), "a reference window needs start and end", fix)
        elif reference.start >= reference.end:
            fix = "end is exclusive and must be later than start"
            yield Problem(("reference", "end"), "the reference window is empty: end is not after start", fix)
    if kind == "file" and not reference.path:
        yield Problem(("reference",), "a reference file needs `path`", "write the path, relative to the home folder")
    if kind == "rolling" and reference.length < spec.window:
        yield Problem(
            ("reference", "length"), f"reference.length is shorter than one {spec.schedule} window", "lengthen it"
        )
    if kind != "window" and spec.start is None:
        fix = "add `start: 2026-01-01`: the first moment to be monitored"
        yield Problem((), f"`start` is missing (a reference of kind {kind} does not tell it)", fix)


def _sources(spec: MonitorSpec) -> Iterator[Problem]:
    for kind in ("inferences", "labels"):
        source = getattr(spec.sources, kind)
        if source is None:
            continue
        path: KeyPath = ("sources", kind)
        if source.parquet and (source.duckdb or source.table):
            yield Problem(path, f"sources.{kind} names a Parquet glob and a DuckDB table", "keep one of the two")
        elif not source.parquet and not (source.duckdb and source.table):
            fix = "write `parquet: folder/*.parquet`, or both `duckdb: file.duckdb` and `table: name`"
            yield Problem(path, f"sources.{kind} names no data", fix)


def _drift(spec: MonitorSpec) -> Iterator[Problem]:
    if "method" not in spec.drift.model_fields_set:
        return
    from metrics_py.drift.methods import METHODS  # costs scipy: only where the file names a method

    able = [method.name for method in METHODS if method.can_decide]
    if spec.drift.method not in able:
        what = f"{spec.drift.method!r} cannot decide about drift from counts of every kind of column"
        yield Problem(("drift", "method"), what, nearest(spec.drift.method, able))


def _quality(spec: MonitorSpec) -> Iterator[Problem]:
    if not 0 <= spec.quality.threshold <= 1:
        yield Problem(("quality", "threshold"), "the threshold is no probability", "write a number from 0 to 1")
    for index, level in enumerate(spec.quality.quantiles):
        if not 0 < level < 1:
            yield Problem(
                ("quality", "quantiles", index), f"{level:g} is no quantile level", "write a number between 0 and 1"
            )
    yield from _repeated(("quality", "quantiles"), [f"{level:g}" for level in spec.quality.quantiles], "a quantile")
    item = spec.quality.item
    if item is not None and (item not in spec.columns.features or spec.columns.features[item].kind != "categorical"):
        what = f"quality.item {item!r} is no categorical feature"
        yield Problem(
            ("quality", "item"), what, f"list it: `features: {{{item}: {{kind: categorical, drift: false}}}}`"
        )
    if spec.quality.primary is not None:
        from sightline.spec.plan import quality_metrics

        known = quality_metrics(spec)
        if spec.quality.primary not in known:
            what = f"{spec.quality.primary!r} is no quality metric of this monitor"
            fix = (
                nearest(spec.quality.primary, known)
                if known
                else "remove it: the monitor has no labels to judge quality by"
            )
            yield Problem(("quality", "primary"), what, fix)
    yield from _windows(spec)
    if spec.quality.estimation is not None and spec.model.task == "binary_classification":
        yield from _weighted(spec)
    if spec.value_matrix is not None and spec.labels is None:
        yield Problem(
            ("value_matrix",), "a value matrix needs labels", "add a section `labels`, or remove value_matrix"
        )
    if spec.value_matrix is not None and spec.model.task in ("binary_classification", "multiclass_classification"):
        yield from _value_matrix(spec, spec.value_matrix)


def _weighted(spec: MonitorSpec) -> Iterator[Problem]:
    """Estimates by weighted reference rows need labels, a score, and inputs to weigh by."""
    path: KeyPath = ("quality", "estimation")
    if not is_estimated(spec):
        what = "quality is estimated where there are labels and a score"
        yield Problem(path, what, "add a section `labels` and columns.score, or remove it")
    elif not weighted_inputs(spec):
        what = "there are no inputs to weigh the reference's rows by"
        kinds = ", ".join(WEIGHTED_KINDS)
        yield Problem(path, what, f"name inputs of kind {kinds} under columns.features (without `drift: false`)")


def _windows(spec: MonitorSpec) -> Iterator[Problem]:
    """Sliding windows are sums of the schedule's windows, few and not too long: each window adds up all of them."""
    given, own = spec.quality.windows, format_duration(spec.window)
    path: KeyPath = ("quality", "windows")
    for index, length in enumerate(given):
        told = format_duration(length)
        if length < spec.window or length % spec.window:
            what = f"{told} is no multiple of the schedule's window of {own}"
            yield Problem((*path, index), what, f"write a multiple of {own}")
        elif length in given[:index]:
            yield Problem((*path, index), f"a length of {told} is named twice", "name it once")
        elif length > LONGEST_SLIDING * spec.window:
            most = format_duration(LONGEST_SLIDING * spec.window)
            yield Problem((*path, index), f"{told} is longer than {LONGEST_SLIDING} windows", f"write at most {most}")
    longer = [length for length in given if length > spec.window]
    if len(longer) > MOST_SLIDING:
        what = f"{len(longer)} lengths beside the schedule's own: each is one stream more per metric"
        yield Problem(path, what, f"name at most {MOST_SLIDING}")
    if longer and spec.labels is None:
        yield Problem(path, "there are no labels to judge quality by", "add a section `labels`, or remove it")
    own_names = {metric.name for metric in spec.metrics}
    built_in = _built_in(spec) if longer and own_names else set[str]()  # costs scipy
    taken = own_names & {f"{name}{ending(length).replace('@', '_')}" for name in built_in for length in longer}
    for name in sorted(taken):
        yield Problem(path, f"your metric {name!r} would share its check with a sliding window", "rename the metric")


def _value_matrix(spec: MonitorSpec, matrix: Mapping[str, Mapping[str, float]]) -> Iterator[Problem]:
    """Square: each predicted class tells the value under every actual class, and both sides name the same classes."""
    classes = set(matrix)
    for predicted, row in matrix.items():
        if set(row) != classes:
            lost, extra = sorted(classes - set(row)), sorted(set(row) - classes)
            parts = [f"lacks {', '.join(lost)}"] if lost else []
            parts += [f"names {', '.join(extra)}, which is no predicted class here"] if extra else []
            fix = f"every predicted class needs a value for each actual class: {', '.join(sorted(classes))}"
            yield Problem(
                ("value_matrix", predicted), f"the row of predicted class {predicted!r} {' and '.join(parts)}", fix
            )
    if spec.model.task == "binary_classification":
        if len(classes) != 2:
            yield Problem(
                ("value_matrix",), f"a binary value matrix has two classes, not {len(classes)}", "name both classes"
            )
        elif spec.positive_class not in classes:
            fix = f"name the classes as the labels spell them; labels.positive is {spec.positive_class!r}"
            yield Problem(
                ("value_matrix",), f"the value matrix does not name the positive class {spec.positive_class!r}", fix
            )
    elif len(classes) < 2:
        yield Problem(("value_matrix",), "a value matrix needs at least two classes", "name all classes")
    known = {class_text(name) for name in spec.columns.class_scores}
    for name in sorted(classes - known) if known else ():
        yield Problem(("value_matrix", name), f"{name!r} is no class of columns.class_scores", nearest(name, known))


def _built_in(spec: MonitorSpec) -> set[str]:
    """Names that Sightline gives to judgements of this monitor itself."""
    from metrics_py import registry

    task = spec.model.task
    found = {*SERVICE_METRICS, *LABEL_METRICS, *(f"pinball_{level:g}" for level in spec.quality.quantiles)}
    found |= {entry.name for entry in registry.entries(task) if entry.function.__module__.startswith("metrics_py.")}
    return found


def _metrics(spec: MonitorSpec) -> Iterator[Problem]:
    yield from _repeated(("metrics",), [metric.name for metric in spec.metrics], "a metric")
    built_in = _built_in(spec) if spec.metrics else set[str]()
    for index, metric in enumerate(spec.metrics):
        path: KeyPath = ("metrics", index)
        if metric.name in built_in:
            what = f"{metric.name!r} is the name of a metric that Sightline has itself"
            yield Problem((*path, "name"), what, f"call it otherwise, such as `own_{metric.name}`")
        if (metric.sql is None) == (metric.python is None):
            yield Problem(
                path, f"the metric {metric.name!r} needs either `sql` or `python`", "write exactly one of the two"
            )
        if metric.python is not None and not _FUNCTION.fullmatch(metric.python):
            yield Problem((*path, "python"), f"{metric.python!r} names no function", "write `package.module:function`")
        if metric.columns is not None and metric.python is None:
            fix = "remove `columns`; an SQL expression names its columns itself"
            yield Problem((*path, "columns"), "`columns` is for Python metrics", fix)
        if metric.needs_label and spec.labels is None:
            yield Problem((*path, "needs_label"), f"the metric {metric.name!r} needs labels", "add a section `labels`")


def _alerts(spec: MonitorSpec) -> Iterator[Problem]:
    if spec.alerts.budget.windows(spec.window) < 1:
        window = format_duration(spec.window)
        what = f"a budget of {spec.alerts.budget} is more than one false incident per window of {window}"
        yield Problem(("alerts", "budget"), what, f"write at most `1 per {window}`; `1 per 90d` is usual")
    if spec.warnings.windows(spec.window) > spec.alerts.budget.windows(spec.window):
        what = f"fewer warnings ({spec.warnings}) than incidents ({spec.alerts.budget})"
        yield Problem(("alerts", "warnings"), what, "write a softer budget than `budget`, e.g. ten times as many")
    judged = judged_columns(spec)
    for pattern, weight in spec.alerts.weights.items():
        yield from _pattern("weights", pattern, [*judged, JOINT])
        if not 0 <= weight < float("inf"):
            yield Problem(
                ("alerts", "weights", pattern), f"the weight {weight:g} is negative or infinite", "write 0 or more"
            )
    for pattern, distance in spec.alerts.spikes.items():
        yield from _pattern("spikes", pattern, [*judged, JOINT])
        if not 3 <= distance < float("inf"):
            what = f"{distance:g} standard deviations are no spike: ordinary windows lie that far out"
            yield Problem(("alerts", "spikes", pattern), what, "write 3 or more; 6 is usual")
    for column, share in spec.alerts.max_null_rate.items():
        if column not in judged:
            yield Problem(("alerts", "max_null_rate", column), f"{column!r} is no feature", nearest(column, judged))
        if not 0 <= share <= 1:
            yield Problem(("alerts", "max_null_rate", column), f"{share:g} is no share", "write a number from 0 to 1")


def _thresholds(spec: MonitorSpec) -> Iterator[Problem]:
    """A threshold that no check would ever look at is refused."""
    if not spec.alerts.thresholds:
        return
    from sightline.spec import plan  # it needs this module

    known: dict[str, list[str]] = {}
    for check in plan.checks(spec):
        for metric in plan.metrics_of(check):
            known.setdefault(check.column or "", []).append(metric)
    for k, threshold in enumerate(spec.alerts.thresholds):
        path = ("alerts", "thresholds", k)
        limits = [getattr(threshold, name) for name in ("fail_above", "fail_below", "warn_above", "warn_below")]
        if all(limit is None for limit in limits):
            yield Problem(
                path, "the threshold has no limit", "write `fail_above`, `fail_below`, `warn_above` or `warn_below`"
            )
        if threshold.column not in known:
            what = f"{threshold.column!r} is no judged column"
            yield Problem((*path, "column"), what, nearest(threshold.column, [name for name in known if name]))
        elif threshold.metric not in known[threshold.column]:
            about = f"of the column {threshold.column!r}" if threshold.column else "of the whole model"
            what = f"no check judges a metric {threshold.metric!r} {about}"
            yield Problem((*path, "metric"), what, nearest(threshold.metric, known[threshold.column]))


def _causes(spec: MonitorSpec) -> Iterator[Problem]:
    features = list(spec.columns.features)
    for column, weight in spec.importance.items():
        if column not in features:
            yield Problem(("importance", column), f"{column!r} is no feature", nearest(column, features))
        if not 0 <= weight < float("inf"):
            yield Problem(
                ("importance", column), f"the importance {weight:g} is negative or infinite", "write 0 or more"
            )
    yield from _repeated(("upstream",), spec.upstream, "an asset upstream")
    for key in spec.upstream:
        path = key.split("/")
        if not all(part.strip() for part in path):
            fix = "write the parts of the key with slashes between them: warehouse/orders"
            yield Problem(("upstream",), f"{key!r} is no key of an asset", fix)
        elif path[0] == spec.id:
            yield Problem(("upstream",), f"{key!r} is an asset of this monitor itself", "name your own assets only")


def _retraining(spec: MonitorSpec) -> Iterator[Problem]:
    given = spec.retraining
    if given is None:
        return
    from sightline.spec.plan import decay_metrics, primary_metric

    if spec.labels is None or primary_metric(spec) is None:
        what = "without a metric of quality nobody can tell whether a retraining pays"
        yield Problem(("retraining",), what, "declare `labels`, and a score or prediction; or remove `retraining`")
        return
    for name, other in (("cost", "value_per_point"), ("value_per_point", "cost")):
        if getattr(given, name) is None and getattr(given, other) is not None:
            fix = f"add `{name}`: neither says alone whether a retraining pays"
            yield Problem(("retraining",), f"`{other}` without `{name}`", fix)
    if given.metric is not None and given.metric not in decay_metrics(spec):
        what = f"{given.metric!r} is no quality metric of this monitor of which one way is better"
        yield Problem(("retraining", "metric"), what, nearest(given.metric, decay_metrics(spec)))
    for name in ("horizon", "training_window"):
        length = getattr(given, name)
        if length is not None and length < spec.window:
            what = f"`{name}` is shorter than one window"
            yield Problem(("retraining", name), what, f"at least {format_duration(spec.window)}")
    if given.estimator is None:
        return
    if not _FUNCTION.fullmatch(given.estimator):
        yield Problem(("retraining", "estimator"), f"{given.estimator!r} names no function", "write `module:function`")
    if not spec.columns.features:
        what = "the backtest trains on the monitor's features, and it has none"
        yield Problem(("retraining", "estimator"), what, "list them under columns.features")
    own = {metric.name for metric in spec.metrics}
    if (given.metric or primary_metric(spec)) in own:
        what = "the backtest computes no metric of your own"
        yield Problem(("retraining", "metric"), what, "name another one, such as the task's primary metric")


def _pattern(key: str, pattern: str, judged: list[str]) -> Iterator[Problem]:
    """What keeps a pattern from matching any stream."""
    first, slash, rest = pattern.partition("/")
    is_literal = not any(sign in first for sign in "*?[")
    if is_literal and not (slash and first in JUDGED_ASSETS):
        what = f"the pattern {pattern!r} matches no stream: they begin with {', '.join(JUDGED_ASSETS)}"
        yield Problem(("alerts", key, pattern), what, f"write it like `drift/*`. {nearest(first, JUDGED_ASSETS)}")
    column, has_statistic, _ = rest.partition("/")
    # a stream of a column has three parts; a column whose name holds a slash cannot be told from them
    if first in JUDGED_ASSETS and has_statistic and not any(fnmatchcase(c, column) or "/" in c for c in judged):
        what = f"the pattern {pattern!r} matches no stream: there is no column {column!r}"
        yield Problem(("alerts", key, pattern), what, nearest(column, judged))


def judged_columns(spec: MonitorSpec) -> list[str]:
    """Features, then the special columns: ``@score``, ``@prediction``, ``@class_score:<class>``, ``@label``."""
    columns = list(spec.columns.features)
    columns += ["@score"] if spec.columns.score else []
    columns += ["@prediction"] if spec.columns.prediction else []
    columns += [f"@class_score:{name}" for name in spec.columns.class_scores]
    return columns + (["@label"] if spec.labels else [])


def _registry(spec: MonitorSpec) -> Iterator[Problem]:
    given = spec.registry
    if given is None:
        return
    from sightline.spec.plan import is_evaluated

    if not is_evaluated(spec):
        what = "without a metric of quality no version can be judged"
        yield Problem(("registry",), what, "declare `labels`, and a score or prediction; or remove `registry`")
    if given.kind == "python" and (given.python is None or not _FUNCTION.fullmatch(given.python)):
        yield Problem(("registry", "python"), f"{given.python!r} names no function", "write `module:function`")
    if given.kind == "mlflow" and given.python is not None:
        yield Problem(("registry", "python"), "`python` belongs to `kind: python`", "remove one of the two")
    if given.kind == "mlflow" and not (given.url or "").startswith(("http://", "https://")):
        fix = "write the address of the tracking server, such as http://127.0.0.1:5000"
        yield Problem(("registry", "url"), f"{given.url!r} is no address", fix)
    elif given.kind == "mlflow" and "@" in (given.url or ""):
        fix = "name an environment variable: `token_env: MLFLOW_LOGIN`, holding user:password"
        yield Problem(("registry", "url"), "a secret does not belong into this file", fix)
    if given.passed_alias is not None and given.passed_alias == given.candidate_alias:
        what = "`passed_alias` and `candidate_alias` are the same: whatever passes would be a candidate again"
        yield Problem(("registry", "passed_alias"), what, "choose another alias")
