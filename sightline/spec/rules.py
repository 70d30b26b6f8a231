"""Rules of a monitor that the type of a field does not hold: between keys, and what a value may mean.

Each problem names its key path, so that the loader can tell the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sightline.errors import nearest
from sightline.spec import fairness
from sightline.spec.column_rules import COLUMN_RULES
from sightline.spec.durations import format_duration
from sightline.spec.judging_rules import JUDGING_RULES
from sightline.spec.model import MonitorSpec
from sightline.spec.problem import FUNCTION, Problem
from sightline.spec.yaml_lines import KeyPath

_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,7}\b")
"""What Dagster takes for an address: another one would stop the code location, all monitors with it."""
_TEAM = re.compile(r"team:[A-Za-z0-9_]+")


def problems(spec: MonitorSpec) -> list[Problem]:
    """All broken rules of a spec whose fields are each valid, in the order of the file's sections."""
    rules = (_model, _task_needs, _task_refuses, *COLUMN_RULES, *JUDGING_RULES, _fairness, _retraining, _registry)
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
    if task == "text_generation" and columns.llm is None:
        fix = "name the columns of the calls: `llm: {prompt: ..., response: ...}`"
        yield Problem(("columns",), "text_generation needs columns.llm", fix)
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
    for role in ("score", "prediction") if task == "text_generation" else ():
        if getattr(spec.columns, role) is not None:
            fix = "list the column under features to judge its drift; the answer's text is columns.llm.response"
            yield Problem(("columns", role), f"columns.{role} has no meaning for text_generation", fix)
    if task == "regression" and spec.columns.score:
        fix = "name the column under `prediction`, or list it under features to judge its drift"
        yield Problem(("columns", "score"), "columns.score has no meaning for regression", fix)


def _is_given(spec: MonitorSpec, key_path: KeyPath) -> bool:
    *sections, last = key_path
    part: Any = spec
    for section in sections:
        part = getattr(part, str(section))
    return part is not None and last in part.model_fields_set and getattr(part, str(last)) is not None


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
    if not FUNCTION.fullmatch(given.estimator):
        yield Problem(("retraining", "estimator"), f"{given.estimator!r} names no function", "write `module:function`")
    if not spec.columns.features:
        what = "the backtest trains on the monitor's features, and it has none"
        yield Problem(("retraining", "estimator"), what, "list them under columns.features")
    own = {metric.name for metric in spec.metrics}
    if (given.metric or primary_metric(spec)) in own:
        what = "the backtest computes no metric of your own"
        yield Problem(("retraining", "metric"), what, "name another one, such as the task's primary metric")


def _registry(spec: MonitorSpec) -> Iterator[Problem]:
    given = spec.registry
    if given is None:
        return
    from sightline.spec.plan import is_evaluated

    if not is_evaluated(spec):
        what = "without a metric of quality no version can be judged"
        yield Problem(("registry",), what, "declare `labels`, and a score or prediction; or remove `registry`")
    if given.kind == "python" and (given.python is None or not FUNCTION.fullmatch(given.python)):
        yield Problem(("registry", "python"), f"{given.python!r} names no function", "write `module:function`")
    if given.kind == "mlflow" and given.python is not None:
        yield Problem(("registry", "python"), "`python` belongs to `kind: python`", "remove one of the two")
    if given.kind == "mlflow" and not (given.url or "").startswith(("http://", "https://")):
        fix = "write the address of the tracking server, such as http://127.0.0.1:5000"
        yield Problem(("registry", "url"), f"{given.url!r} is no address", fix)
    elif given.kind == "mlflow" and "@" in (given.url or ""):
        fix = "name an environment variable: `token_env: MLFLOW_LOGIN`, holding user:password"
        yield Problem(("registry", "url"), "a secret does not belong into this file", fix)
    if given.kind == "python" and given.webhook_secret_env is not None:
        what = "signed calls are those of MLflow"
        yield Problem(("registry", "webhook_secret_env"), what, "remove it; the registry is looked at every minute")
    if given.passed_alias is not None and given.passed_alias == given.candidate_alias:
        what = "`passed_alias` and `candidate_alias` are the same: whatever passes would be a candidate again"
        yield Problem(("registry", "passed_alias"), what, "choose another alias")
