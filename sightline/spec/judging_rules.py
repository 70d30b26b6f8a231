"""Rules of what a monitor's file says about judging and alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from metrics_py.class_names import class_text
from sightline.errors import nearest
from sightline.spec.durations import format_duration
from sightline.spec.flows import WEIGHTED_KINDS, is_estimated, weighted_inputs
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import JOINT, text_embeddings
from sightline.spec.problem import FUNCTION, Problem, repeated
from sightline.spec.stretches import ending
from sightline.spec.yaml_lines import KeyPath

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
    yield from repeated(("quality", "quantiles"), [f"{level:g}" for level in spec.quality.quantiles], "a quantile")
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
    yield from repeated(("metrics",), [metric.name for metric in spec.metrics], "a metric")
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
        if metric.python is not None and not FUNCTION.fullmatch(metric.python):
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
        yield from _pattern("weights", pattern, [*judged, *text_embeddings(spec), JOINT])
        if not 0 <= weight < float("inf"):
            yield Problem(
                ("alerts", "weights", pattern), f"the weight {weight:g} is negative or infinite", "write 0 or more"
            )
    for pattern, distance in spec.alerts.spikes.items():
        yield from _pattern("spikes", pattern, [*judged, *text_embeddings(spec), JOINT])
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
    yield from repeated(("upstream",), spec.upstream, "an asset upstream")
    for key in spec.upstream:
        path = key.split("/")
        if not all(part.strip() for part in path):
            fix = "write the parts of the key with slashes between them: warehouse/orders"
            yield Problem(("upstream",), f"{key!r} is no key of an asset", fix)
        elif path[0] == spec.id:
            yield Problem(("upstream",), f"{key!r} is an asset of this monitor itself", "name your own assets only")


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


JUDGING_RULES = (_drift, _quality, _metrics, _alerts, _thresholds, _causes)
"""In the order of the file's sections."""
