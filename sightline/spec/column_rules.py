"""Rules of the columns, labels, reference and sources of a monitor's file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from metrics_py.class_names import class_text
from sightline.spec import llm, texts
from sightline.spec.data_sections import Labels, remotes
from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import mistakes as embedding_mistakes
from sightline.spec.problem import Problem, repeated
from sightline.spec.source_sections import REMOTE, mistakes
from sightline.spec.yaml_lines import KeyPath

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
    yield from repeated(("columns", "class_scores"), list(columns.class_scores.values()), "the column of a class")
    yield from _case_twins(("columns", "class_scores"), columns.class_scores, "classes")
    for index, name in enumerate(columns.segments):
        yield from _column_name(("columns", "segments", index), name)
        if "=" in name:
            fix = "rename the column in the data: segments are called `<column>=<value>`"
            yield Problem(("columns", "segments", index), f"the segment column {name!r} holds an equals sign", fix)
    yield from repeated(("columns", "segments"), columns.segments, "a segment column")
    yield from _case_twins(("columns", "segments"), columns.segments, "segment columns")
    for key_path, what, fix in llm.mistakes(columns):
        yield Problem(key_path, what, fix)


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


def _shadows(spec: MonitorSpec) -> Iterator[Problem]:
    if spec.shadow_ends and spec.columns.model_version is None:
        fix = "name the column with the version under `columns.model_version`"
        yield Problem(("shadows",), "no model version is logged, so no row can be told from a shadow's", fix)
    if isinstance(spec.shadows, tuple):
        for name, n in Counter(spec.shadows).items():
            if n > 1:
                yield Problem(("shadows",), f"{name!r} is named twice", "name it once")


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
        if feature.kind == "boolean" and not set(feature.allowed or ()) <= {"true", "false"}:
            what = f"{name!r} is boolean and can be true or false, not one of {', '.join(feature.allowed or ())}"
            yield Problem((*path, "allowed"), what, "write `allowed: [true]`, or leave it out")
        if feature.allowed is not None and feature.kind not in ("categorical", "boolean"):
            yield Problem((*path, "allowed"), f"`allowed` has no meaning for a {feature.kind} feature", "remove it")
        if feature.allowed == ():
            yield Problem(
                (*path, "allowed"), "`allowed` is empty: every row would break the contract", "list the values"
            )
        yield from repeated((*path, "allowed"), feature.allowed or (), "an allowed value")
    for key_path, what, fix in (*texts.mistakes(spec), *embedding_mistakes(spec)):
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
    for key_path, what, fix in llm.feedback_mistakes(spec):
        yield Problem(key_path, what, fix)
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
    yield from repeated(path, names, "a class")
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
        named = [*(["parquet"] if source.parquet else []), *(["duckdb"] if source.duckdb or source.table else [])]
        named += remotes(source)
        if len(named) > 1:
            listed = " and ".join(f"`{name}`" for name in named)
            yield Problem(path, f"sources.{kind} names several places: {listed}", "keep one of them")
        elif not named or (named == ["duckdb"] and not (source.duckdb and source.table)):
            fix = (
                "write `parquet: folder/*.parquet`, or both `duckdb: file.duckdb` and `table: name`, or a section "
                f"{', '.join(f'`{name}`' for name in REMOTE)}"
            )
            yield Problem(path, f"sources.{kind} names no data", fix)
        for name, remote in remotes(source).items():
            for keys, what, fix in mistakes(remote):
                yield Problem((*path, name, *keys), f"sources.{kind}.{name}: {what}", fix)


COLUMN_RULES = (_columns, _shadows, _features, _labels, _reference, _sources)
"""In the order of the file's sections."""
