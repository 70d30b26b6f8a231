"""Test suites as YAML files: read with the line of every mistake, written from a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from metrics_py.class_names import class_text
from metrics_py.quality.rows import TASKS, Roles
from metrics_py.suite.checks import Check, Suite, check_metric
from sightline.errors import SightlineError, nearest
from sightline.narrowing import Json
from sightline.spec.yaml_lines import Document, KeyPath, read_yaml

TOP_KEYS = ("version", "quality", "checks")
QUALITY_KEYS = (
    "task",
    "label",
    "score",
    "prediction",
    "class_scores",
    "classes",
    "positive",
    "negative",
    "threshold",
    "entity",
    "min_labels",
    "query",
    "k",
)
CHECK_KEYS = (
    "metric", "column", "columns", "lt", "le", "gt", "ge", "eq", "between", "in", "relative_tolerance",
    "absolute_tolerance", "direction", "severity", "judge", "name",
)  # fmt: skip
NUMBERS = ("lt", "le", "gt", "ge", "eq", "relative_tolerance", "absolute_tolerance")
HEADER = """\
# Test suite for `sightline test SUITE REFERENCE CURRENT`. Bounds: lt, le, gt, ge, eq, between: [low, high], in: [...];
# relative_tolerance and absolute_tolerance allow so much worse than the reference's value (better never fails).
# judge: interval fails only when the whole 95 % interval is beyond the bound. severity: error (default) or warn.
"""


class SuiteError(SightlineError):
    """All mistakes found in one suite file."""

    def __init__(self, problems: list[SightlineError]) -> None:
        self.problems = problems
        super().__init__(problems[0].what, where=problems[0].where, fix=problems[0].fix)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def load_suite(path: Path | str) -> Suite:
    """Read a suite file.

    Raises
    ------
    SightlineError
        If the file cannot be read, or is no YAML; with all other mistakes at once, each with ``file:line``.
    """
    document = read_yaml(Path(path))
    reader = _Reader(document)
    suite = reader.suite()
    if reader.problems:
        raise SuiteError(sorted(reader.problems, key=lambda p: int(str(p.where).rpartition(":")[2] or 0)))
    assert suite is not None  # without problems there is one
    return suite


class _Reader:
    """Turns the plain values of a document into a suite, and collects every mistake."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[SightlineError] = list(document.problems)

    def refuse(self, what: str, path: KeyPath, fix: str | None = None) -> None:
        self.problems.append(SightlineError(what, where=self.document.where(path), fix=fix))

    def keys(self, given: dict[str, Any], allowed: tuple[str, ...], path: KeyPath) -> None:
        for key in given:
            if key not in allowed:
                self.refuse(f"unknown key {key!r}", (*path, key), nearest(key, allowed))

    def suite(self) -> Suite | None:
        value = self.document.value
        if not isinstance(value, dict):
            self.refuse(
                "the file is no mapping of keys to values", (), "start with `sightline test --generate REFERENCE`"
            )
            return None
        self.keys(value, TOP_KEYS, ())
        if value.get("version", 1) != 1:
            self.refuse(f"version {value['version']!r} of suite files is unknown", ("version",), "write version: 1")
        roles, min_labels = self.quality(value.get("quality"))
        given: Json = value.get("checks")
        if not isinstance(given, list) or not given:
            self.refuse(
                "there are no checks", ("checks",), "write a list under `checks:`, each with `metric:` and a bound"
            )
            return None
        checks = [self.check(item, ("checks", i), roles) for i, item in enumerate(given)]
        return Suite(tuple(check for check in checks if check), roles, min_labels)

    def quality(self, given: Json) -> tuple[Roles | None, int]:
        if given is None:
            return None, 100
        if not isinstance(given, dict):
            self.refuse("`quality` is no mapping", ("quality",), "write task, label and score or prediction under it")
            return None, 100
        self.keys(given, QUALITY_KEYS, ("quality",))
        for key, allowed in (("task", TASKS), ("label", None)):
            if given.get(key) is None:
                self.refuse(f"quality.{key} is missing", ("quality",), f"add `{key}:`")
            elif allowed and given[key] not in allowed:
                self.refuse(f"task {given[key]!r} is unknown", ("quality", key), nearest(str(given[key]), allowed))
        min_labels = self.number(given, "min_labels", ("quality",), 100)
        threshold = self.number(given, "threshold", ("quality",), 0.5)
        places = self.number(given, "k", ("quality",), 10)
        if places < 1 or places != int(places):
            self.refuse(
                f"`k` is {places!r}, no number of places", ("quality", "k"), "write a whole number of at least 1"
            )
        scores: Json = given.get("class_scores") or {}
        if not isinstance(scores, dict):
            self.refuse(
                "`class_scores` is no mapping", ("quality", "class_scores"), "write `class: column` lines under it"
            )
            scores = {}
        if self.problems:
            return None, 100
        texts = {
            key: str(given[key]) for key in ("score", "prediction", "entity", "query") if given.get(key) is not None
        }
        positive = class_text(given.get("positive", 1))
        others: Json = given.get("negative", [])
        negative = tuple(class_text(value) for value in (others if isinstance(others, list) else [others]))
        named: Json = given.get("classes") or []
        if not isinstance(named, list):
            self.refuse("`classes` is no list", ("quality", "classes"), "write classes: [a, b, c]")
            return None, 100
        class_scores = {str(name): str(column) for name, column in scores.items()}
        roles = Roles(
            str(given["task"]), str(given["label"]), class_scores=class_scores,
            classes=tuple(map(class_text, named)), positive=positive, negative=negative,
            threshold=threshold, k=int(places), **texts,
        )  # fmt: skip
        return roles, int(min_labels)

    def number(self, given: dict[str, Any], key: str, path: KeyPath, default: float) -> float:
        value = given.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(f"`{key}` is {value!r}, no number", (*path, key))
            return default
        return value

    def check(self, given: Json, path: KeyPath, roles: Roles | None) -> Check | None:
        if not isinstance(given, dict):
            self.refuse(f"a check is a mapping, not {given!r}", path, "write `- metric: ...` and a bound")
            return None
        before = len(self.problems)
        self.keys(given, CHECK_KEYS, path)
        if not isinstance(given.get("metric"), str):
            self.refuse("the check names no metric", path, "add `metric:`")
        for key in NUMBERS:
            if key in given:
                self.number(given, key, path, 0.0)
        fields = {key: given[key] for key in (*NUMBERS, "direction", "severity", "judge", "name") if key in given}
        for key, name, length in (("between", "between", 2), ("in", "among", None)):
            if key in given:
                fields[name] = self.numbers(given[key], key, path, length)
        columns = self.columns(given, path)
        if len(self.problems) > before:
            return None
        try:
            check = Check(given["metric"], columns, **fields)
            if not any(problem.where == self.document.where(("quality",)) for problem in self.problems):
                check_metric(check, roles)
        except ValueError as error:
            what, _, fix = str(error).partition("; ")
            named = next(
                (key for key in ("severity", "judge", "direction", "between") if what.startswith(f"{key}:")), "metric"
            )
            self.refuse(what, (*path, named), fix or None)
            return None
        return check

    def numbers(self, value: Json, key: str, path: KeyPath, length: int | None) -> tuple[float, ...] | None:
        items = value if isinstance(value, list) else []
        is_numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in items)
        if not is_numbers or not items or length not in (None, len(items)):
            wanted = "[low, high]" if length else "a list of numbers"
            self.refuse(f"`{key}` is {value!r}", (*path, key), f"write {key}: {wanted}")
            return None
        return tuple(items)

    def columns(self, given: dict[str, Any], path: KeyPath) -> tuple[str, ...]:
        if "column" in given and "columns" in given:
            self.refuse("`column` and `columns` are both given", (*path, "column"), "keep one of them")
        value: Json = given.get("columns", given.get("column"))
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        texts = [item for item in items if isinstance(item, str)]
        if len(texts) < len(items):
            key = "columns" if "columns" in given else "column"
            self.refuse(f"`{key}` is {value!r}", (*path, key), "column names are text: put numbers in quotes")
            return ()
        return tuple(texts)


def dump_suite(suite: Suite) -> str:
    """Suite as YAML text that `load_suite` reads back."""
    document: dict[str, Any] = {"version": 1}
    if suite.roles:
        roles = suite.roles
        quality: dict[str, Any] = {"task": roles.task, "label": roles.label}
        optional = {"score": roles.score, "prediction": roles.prediction, "entity": roles.entity, "query": roles.query}
        quality |= {key: value for key, value in optional.items() if value}
        if roles.class_scores:
            quality["class_scores"] = dict(roles.class_scores)
        if roles.classes:
            quality["classes"] = list(roles.classes)
        if roles.task == "binary_classification":
            quality |= {"positive": roles.positive, **({"negative": list(roles.negative)} if roles.negative else {})}
            quality |= {"threshold": roles.threshold}
        if roles.task == "ranking":
            quality["k"] = roles.k
        document["quality"] = quality | {"min_labels": suite.min_labels}
    document["checks"] = [_plain(check) for check in suite.checks]
    notes = "".join(f"# left out: {' '.join(note.split())}\n" for note in suite.notes)
    return (
        HEADER
        + notes
        + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    )


def _plain(check: Check) -> dict[str, Any]:
    item: dict[str, Any] = {"metric": check.metric}
    if check.columns:
        item |= {"column": check.columns[0]} if len(check.columns) == 1 else {"columns": list(check.columns)}
    item |= {key: value for key in NUMBERS if (value := getattr(check, key)) is not None}
    if check.between is not None:
        item["between"] = list(check.between)
    if check.among is not None:
        item["in"] = list(check.among)
    defaults = {"direction": None, "severity": "error", "judge": "value", "name": ""}
    return item | {key: getattr(check, key) for key, value in defaults.items() if getattr(check, key) != value}
