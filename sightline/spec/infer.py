"""A monitor file from a sample of predictions: which column plays which role, and what was assumed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast, get_args

import polars as pl

from metrics_py.class_names import class_text, counterpart, several_classes
from metrics_py.profile.values import column_of
from sightline.errors import SightlineError, nearest
from sightline.spec.field_types import Task
from sightline.spec.infer_llm import CALL_ROLES, feedback_of, find_calls, find_feedback
from sightline.spec.infer_truth import WORD_TYPES, may_be_truth
from sightline.spec.kinds import TEXT_TYPES, Inferred, infer_kind, parse_times

NAMES: dict[str, tuple[str, ...]] = {
    "prediction_id": ("prediction_id", "inference_id", "request_id", "event_id", "row_id", "uuid", "id"),
    "timestamp": (
        "timestamp", "predicted_at", "prediction_time", "prediction_timestamp", "scored_at", "inference_time",
        "event_time", "event_timestamp", "ts", "time", "datetime", "created_at", "date",
    ),
    "score": ("score", "probability", "prob", "proba", "prediction_score", "p", "y_score", "y_prob", "y_proba"),
    "prediction": (
        "prediction", "predicted", "pred", "y_pred", "y_hat", "yhat", "predicted_class", "predicted_value", "forecast",
    ),
    "label": ("label", "target", "y", "y_true", "actual", "ground_truth", "truth", "outcome"),
    "model_version": ("model_version", "version", "model_id"),
    "entity_id": (
        "entity_id", "user_id", "customer_id", "account_id", "client_id", "device_id", "session_id", "user", "customer",
    ),
    "query_id": ("query_id", "search_id", "qid", "query"),
    "status": ("status", "status_code", "http_status"),
    "latency_ms": ("latency_ms", "duration_ms", "response_time_ms"),
    "weight": ("sample_weight", "row_weight"),
    "observed_at": (
        "observed_at", "label_observed_at", "labelled_at", "labeled_at", "label_time", "label_timestamp", "label_at",
        "label_date", "outcome_at", "outcome_time", "outcome_date", "truth_at", "known_at", "resolved_at",
    ),
}  # fmt: skip
"""Usual names of the roles, best first; compared without case, spaces and punctuation."""

OUTCOMES = {
    "ok", "success", "succeeded", "true", "200", "error", "err", "fail", "failed", "failure", "false", "timeout", "500",
}  # fmt: skip
"""Words that a column of call outcomes may hold."""

CLASS_SCORE_PREFIXES = ("p_", "prob_", "proba_", "probability_", "score_")
MAX_CLASSES = 50
SEGMENT_MAX_VALUES = 12
MOST_VERSIONS = 20
"""So many different numbers with a fraction at most are versions (`2.0` in a CSV file); more are a measurement."""


@dataclass
class Draft:
    """What `infer_monitor` found: roles, features, task, and one line of reasoning for each."""

    task: Task = "binary_classification"
    task_reason: str = ""
    roles: dict[str, str] = field(default_factory=dict[str, str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    class_scores: dict[str, str] = field(default_factory=dict[str, str])
    llm: dict[str, str] = field(default_factory=dict[str, str])
    feedback: str | None = None
    features: dict[str, Inferred] = field(default_factory=dict[str, Inferred])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    segments: list[str] = field(default_factory=list[str])
    observed_at: str | None = None
    positive: object = 1
    negative: object = None
    classes: list[str] = field(default_factory=list[str])
    schedule: str = "daily"
    first: str = ""
    last: str = ""
    notes: list[str] = field(default_factory=list[str])


def infer_monitor(
    sample: pl.DataFrame, *, task: str | None = None, given: dict[str, str] | None = None, has_label: bool = True
) -> Draft:
    """Tell the roles of the columns of a sample.

    Parameters
    ----------
    sample : polars.DataFrame
        Rows of inferences, with or without the label.
    task : str, optional
        The task, if known.
    given : dict of str to str, optional
        Role -> column, as told by the user; never doubted.
    has_label : bool
        False: no column is the truth, whatever it looks like.

    Raises
    ------
    SightlineError
        If a given column does not exist, or no column can be the timestamp.
    """
    draft = Draft(roles={}, reasons={})
    for role, column in (given or {}).items():
        if column not in sample.columns:
            fix = nearest(column, sample.columns)
            raise SightlineError(f"the sample has no column {column!r} (given as {role})", fix=fix)
        draft.roles[role], draft.reasons[role] = column, "as given"
    draft.llm = {} if draft.roles.keys() & {"score", "prediction"} else find_calls(sample, task)
    if draft.llm and has_label and "label" not in draft.roles and (said := find_feedback(sample)) is not None:
        draft.roles["label"], draft.reasons["label"] = said, "by its name"
    roles = ("label",) if has_label else ()
    for role in (*roles, "model_version", "entity_id", "status", "latency_ms", "weight", "query_id", "prediction"):
        _by_name(draft, sample, role)
    _find_timestamp(draft, sample)
    if "label" in draft.roles:
        times = (c for c in _candidates(draft, sample, "observed_at") if parse_times(column_of(sample, c)) is not None)
        draft.observed_at = next(times, None)
    _find_id(draft, sample)
    if draft.llm:
        task = task or "text_generation"
        draft.roles.pop("prediction", None)
    else:
        _find_class_scores(draft, sample, task)
        _find_score(draft, sample, task)
    if has_label and task in (None, "binary_classification"):
        _find_truth(draft, sample)
    _find_task(draft, sample, task)
    _find_features(draft, sample)
    return draft


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def _free(draft: Draft, sample: pl.DataFrame) -> list[str]:
    used = {*draft.roles.values(), *draft.class_scores.values(), *draft.llm.values(), draft.observed_at}
    return [name for name in sample.columns if name not in used]


def _candidates(draft: Draft, sample: pl.DataFrame, role: str) -> list[str]:
    """Free columns with a usual name of the role, best first."""
    names = (*NAMES[role], *(CALL_ROLES.get(role, ()) if draft.llm else ()))
    return sorted((c for c in _free(draft, sample) if _plain(c) in names), key=lambda c: names.index(_plain(c)))


def _fits(column: pl.Series, role: str) -> bool:
    numeric = column.dtype.is_numeric()
    if role in ("latency_ms", "weight"):
        return numeric
    if role == "status":
        return _is_outcome(column)
    if role in ("entity_id", "query_id", "model_version"):
        is_version = role == "model_version" and column.dtype.is_float() and column.n_unique() <= MOST_VERSIONS
        return column.dtype in TEXT_TYPES or column.dtype.is_integer() or is_version
    return numeric or column.dtype in WORD_TYPES


def _is_outcome(column: pl.Series) -> bool:
    """HTTP status codes, or words for success and failure: a feature called `status` (married, open) is no outcome."""
    values = column.drop_nulls().unique()
    if not len(values):
        return False
    if values.dtype.is_integer():
        return bool(values.is_between(100, 599).all())
    words = {class_text(value).lower() for value in values.to_list()}
    return values.dtype in WORD_TYPES and words <= OUTCOMES


def _by_name(draft: Draft, sample: pl.DataFrame, role: str) -> None:
    if role in draft.roles:
        return
    for column in _candidates(draft, sample, role):
        if _fits(column_of(sample, column), role):
            draft.roles[role], draft.reasons[role] = column, "by its name"
            return


def _find_timestamp(draft: Draft, sample: pl.DataFrame) -> None:
    columns = [draft.roles["timestamp"]] if "timestamp" in draft.roles else _candidates(draft, sample, "timestamp")
    reason = "by its name"
    if "timestamp" not in draft.roles:
        columns += [c for c in _free(draft, sample) if c not in columns]
    for index, column in enumerate(columns):
        times = parse_times(column_of(sample, column))
        if times is None:
            continue
        if _plain(column) not in NAMES["timestamp"]:
            reason = "the first column with times" if index or len(columns) > 1 else "the only column with times"
        draft.roles["timestamp"] = column
        draft.reasons.setdefault("timestamp", reason)
        first, last = times.min(), times.max()
        draft.first, draft.last = f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"
        draft.schedule = _schedule(times, sample.height)
        n_null = times.null_count()
        if n_null:
            draft.notes.append(f"{n_null} rows of the sample have no {column}: such rows will be refused")
        return
    fix = "name it with --timestamp; it must hold times (ISO 8601 if it is text)"
    raise SightlineError("no column of the sample can be the time of the prediction", fix=fix)


def _schedule(times: pl.Series, n_rows: int) -> str:
    """Daily, unless a day has too few rows to be judged and a week has enough."""
    n_days = max(1, times.dt.date().n_unique())
    return "weekly" if n_days >= 14 and n_rows / n_days < 100 else "daily"


def _find_id(draft: Draft, sample: pl.DataFrame) -> None:
    if "prediction_id" in draft.roles:
        column = draft.roles["prediction_id"]
    else:
        free = [c for c in _free(draft, sample) if sample[c].dtype in TEXT_TYPES or sample[c].dtype.is_integer()]
        named = [c for c in _candidates(draft, sample, "prediction_id") if c in free]
        ending = [c for c in free if c not in named and re.search(r"(^|_)(id|uuid|key)$", _plain(c))]
        unique = [c for c in (*named, *ending, *free) if sample[c].n_unique() == sample.height]
        chosen = unique or named or ending
        if not chosen:
            fix = "add an id to each prediction (labels refer to it), or name the column with --prediction-id"
            raise SightlineError("no column of the sample can be the prediction's id", fix=fix)
        column = draft.roles["prediction_id"] = chosen[0]
        draft.reasons["prediction_id"] = "by its name" if column in named else "its values are unique"
    n_repeated = sample.height - sample[column].n_unique()
    if n_repeated:
        draft.notes.append(f"{column} repeats in {n_repeated} rows of the sample: repeats are counted and left out")


def _find_class_scores(draft: Draft, sample: pl.DataFrame, task: str | None) -> None:
    """Columns with a common prefix, values in [0, 1] and sum 1: one probability per class."""
    if task in ("binary_classification", "regression", "ranking") or "score" in draft.roles:
        return
    for prefix in CLASS_SCORE_PREFIXES:
        columns = [c for c in _free(draft, sample) if c.lower().startswith(prefix) and _is_share(column_of(sample, c))]
        if len(columns) < (2 if task else 3):
            continue
        total = sample.select(pl.sum_horizontal(pl.col(columns).cast(pl.Float64))).to_series()
        if ((total - 1).abs() < 1e-3).sum() > 0.99 * sample.height:
            draft.class_scores = {c[len(prefix) :]: c for c in columns}
            draft.reasons["class_scores"] = f"they start with {prefix} and add up to 1"
            return


def _is_share(column: pl.Series) -> bool:
    if not column.dtype.is_numeric() or column.null_count() == len(column):
        return False
    low, high = cast("float | None", column.min()), cast("float | None", column.max())
    return low is not None and high is not None and float(low) >= 0 and float(high) <= 1


def _find_score(draft: Draft, sample: pl.DataFrame, task: str | None) -> None:
    if "score" in draft.roles or draft.class_scores:
        return
    endings = re.compile(r"(^p_|^prob_|^proba_|_score$|_prob$|_proba$|_probability$)")
    named = _candidates(draft, sample, "score")
    similar = [c for c in _free(draft, sample) if c not in named and endings.search(_plain(c))]
    for column in (*named, *similar):
        if task == "ranking" and sample[column].dtype.is_float():
            draft.roles["score"], draft.reasons["score"] = column, "by its name"
            return
        if _is_share(column_of(sample, column)) and sample[column].dtype.is_float():
            draft.roles["score"] = column
            draft.reasons["score"] = "by its name, and its values lie between 0 and 1"
            return


def _find_truth(draft: Draft, sample: pl.DataFrame) -> None:
    """Keep what may be the label of a scored sample, and is called nothing like it, out of the features."""
    score = draft.roles.get("score")
    if score is not None and "label" not in draft.roles:
        free = [column_of(sample, name) for name in _free(draft, sample)]
        draft.left_out |= may_be_truth(column_of(sample, score), free)


def _find_task(draft: Draft, sample: pl.DataFrame, task: str | None) -> None:
    if task is not None:
        if task not in get_args(Task):
            raise SightlineError(f"unknown task {task!r}", fix=nearest(task, get_args(Task)))
        draft.task, draft.task_reason = cast("Task", task), "as given, or by the names of prompt and answer"
        if draft.task == "text_generation":
            _require_answer(draft, sample)
            return
        draft.task_reason = "as given"
    else:
        draft.task, draft.task_reason = _guess_task(draft, sample)
    _drop_roles(draft)
    label = draft.roles.get("label")
    if draft.task == "multiclass_classification" and label and not draft.class_scores:
        draft.classes = _classes(sample, [label, *filter(None, [draft.roles.get("prediction")])])
    if draft.task == "binary_classification":
        values = sorted(column_of(sample, label).drop_nulls().unique().to_list(), key=class_text) if label else []
        draft.positive = _positive(values)
        if len(values) == 2 and draft.positive in values and counterpart(class_text(draft.positive)) is None:
            draft.negative = next(value for value in values if value != draft.positive)
        if label and len(values) != 2:
            draft.notes.append(
                f"{label} has {len(values)} values in the sample: all but {draft.positive!r} count as negative"
            )


def _require_answer(draft: Draft, sample: pl.DataFrame) -> None:
    if not draft.llm:
        fix = "rename the column with the answers to `response`, or write columns.llm by hand (docs/llm.md)"
        raise SightlineError("no column of the sample can be the answer of a language model", fix=fix)
    label = draft.roles.get("label")
    draft.feedback = feedback_of(column_of(sample, label)) if label else None


def _classes(sample: pl.DataFrame, columns: Iterable[str]) -> list[str]:
    """Classes of labels and predictions, without words for no answer."""
    names = several_classes()
    texts = {
        class_text(value) for column in columns for value in column_of(sample, column).drop_nulls().unique().to_list()
    }
    return sorted({name for text in texts if (name := names.read(text)) is not None})


def _guess_task(draft: Draft, sample: pl.DataFrame) -> tuple[Task, str]:
    outcome = draft.roles.get("label") or draft.roles.get("prediction")
    if draft.class_scores:
        return "multiclass_classification", f"{len(draft.class_scores)} class probabilities"
    score = draft.roles.get("score")
    is_probability = score is not None and _is_share(column_of(sample, score))
    if score is not None and not is_probability and "query_id" in draft.roles:
        return "ranking", f"{score} is no probability, and {draft.roles['query_id']} is called like a query"
    if outcome is None:
        if score is not None and not is_probability:
            fix = "give probabilities; or say --task ranking, or the output of a regression with --prediction"
            raise SightlineError(f"{score} is no probability: its values do not lie between 0 and 1", fix=fix)
        if score is not None:
            return "binary_classification", "a score between 0 and 1 and no label in the sample"
        fix = "name the model's output with --score or --prediction"
        raise SightlineError("no column of the sample can be the model's output", fix=fix)
    values = column_of(sample, outcome).drop_nulls()
    n = values.n_unique()
    if n <= 2:
        return "binary_classification", f"{outcome} has {n} values"
    if values.dtype.is_float() or (values.dtype.is_integer() and n > MAX_CLASSES):
        return "regression", f"{outcome} holds numbers"
    return "multiclass_classification", f"{outcome} has {n} values"


def _drop_roles(draft: Draft) -> None:
    """Roles without a meaning for the task become ordinary columns again, unless the user gave them."""
    useless = {"regression": ["score", "query_id"], "multiclass_classification": ["score", "query_id"]}
    for role in useless.get(draft.task, ["query_id"] if draft.task != "ranking" else []):
        if role in draft.roles and draft.reasons[role] != "as given":
            del draft.roles[role], draft.reasons[role]
    if draft.task != "multiclass_classification":
        draft.class_scores = {}
    needs = {
        "binary_classification": ("score", "prediction"), "regression": ("prediction",),
        "multiclass_classification": ("prediction",), "ranking": ("score",),
    }[draft.task]  # fmt: skip
    if not draft.class_scores and not any(role in draft.roles for role in needs):
        fix = " or ".join(f"--{role}" for role in needs)
        raise SightlineError(
            f"no column of the sample can be the output of a {draft.task} model", fix=f"name it with {fix}"
        )
    if draft.task == "ranking" and "query_id" not in draft.roles:
        raise SightlineError(
            "no column of the sample can be the query of a ranking model", fix="name it with --query-id"
        )


def _positive(values: Iterable[object]) -> object:
    usual = {"1", "true", "yes", "y", "positive", "pos", "t"}
    found = [value for value in values if class_text(value).lower() in usual]
    return found[0] if found else 1


def _find_features(draft: Draft, sample: pl.DataFrame) -> None:
    seen: dict[str, str] = {}
    for name in _free(draft, sample):
        if name in draft.left_out:
            continue
        inferred = infer_kind(column_of(sample, name))
        twin = seen.setdefault(name.casefold(), name)
        if inferred.kind is None:
            draft.left_out[name] = inferred.reason
        elif not name.strip() or name.startswith("@"):
            draft.left_out[name] = "the name is empty or starts with @; rename the column"
        elif twin != name:
            draft.left_out[name] = f"it differs from {twin!r} only in case; rename one of them"
        else:
            draft.features[name] = inferred
            values = (
                column_of(sample, name).drop_nulls().n_unique() if inferred.kind in ("categorical", "boolean") else 0
            )
            if 2 <= values <= SEGMENT_MAX_VALUES and len(draft.segments) < 2:
                draft.segments.append(name)
