"""`monitors/<id>.yaml` -> `MonitorSpec`: every mistake of a file at once, each with its line and the way out."""

from __future__ import annotations

import logging
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sightline.errors import SightlineError, nearest
from sightline.home import Home
from sightline.narrowing import Json, is_object
from sightline.spec import kinds
from sightline.spec.model import MonitorSpec
from sightline.spec.rules import problems
from sightline.spec.texts import with_descriptors
from sightline.spec.yaml_lines import Document, KeyPath, read_yaml

logger = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml")
PartT = TypeVar("PartT", bound=BaseModel)


class SpecError(SightlineError):
    """All mistakes found in one monitor file."""

    def __init__(self, problems: Sequence[SightlineError]) -> None:
        self.problems = list(problems)
        first = self.problems[0]
        what = f"{len(self.problems)} mistakes" if len(self.problems) > 1 else first.what
        super().__init__(what, where=first.where, fix=first.fix)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True)
class BrokenMonitor:
    """A monitor file that could not be read; the others go on."""

    path: Path
    error: SightlineError


def load_monitor(path: Path | str, *, home: Home | None = None, freeze: bool = False) -> MonitorSpec:
    """Read one monitor file; the budget is the strictest of its own and of its shares in `alerts/teams.yaml`.

    Parameters
    ----------
    path : Path
        The file; its name must be ``<model.id>.yaml``.
    home : Home, optional
        Where data lies, needed for features without a kind. Default: the parent of the file's folder if that is called
        ``monitors``, else `Home.from_env`.
    freeze : bool
        Write kinds inferred from the reference into the data folder, so that they never change again.

    Raises
    ------
    SpecError
        With all mistakes of the file.
    SightlineError
        If the file cannot be read, or is no YAML.
    """
    path = Path(path)
    home = home or (Home(path.resolve().parent.parent) if path.resolve().parent.name == "monitors" else Home.from_env())
    document = read_yaml(path)
    if not isinstance(document.value, dict):
        what = "the file is empty" if document.value is None else "the file is no mapping of keys to values"
        empty = SightlineError(what, where=document.where(()), fix="start with `sightline init`")
        raise SpecError([*document.problems, empty])
    _expand_features(document, document.value, home, path.stem, freeze)
    found = [*document.problems, *_empty_sections(document, document.value)]
    try:
        spec = MonitorSpec.model_validate(document.value)
    except ValidationError as error:
        told = {problem.where for problem in found}
        explained = [_explain(document, details) for details in error.errors()]
        found += [problem for problem in explained if problem.where not in told]
        raise SpecError(_in_order(found)) from None
    found += [SightlineError(p.what, where=document.where(p.key_path), fix=p.fix) for p in problems(spec)]
    if path.stem != spec.id:
        fix = f"rename the file to {spec.id}.yaml, or write `id: {path.stem}`"
        what = f"the file is called {path.name}, but model.id is {spec.id!r}"
        found.append(SightlineError(what, where=document.where(("model", "id")), fix=fix))
    if found:
        raise SpecError(_in_order(found))
    from sightline.spec.teams import with_share  # reads its own file by this module

    return with_share(spec.placed_in(home.root), home)


def load_monitors(home: Home, *, freeze: bool = True) -> tuple[dict[str, MonitorSpec], list[BrokenMonitor]]:
    """Read all monitors of a home folder, sorted by id; a broken file never stops the others."""
    specs: dict[str, MonitorSpec] = {}
    broken: list[BrokenMonitor] = []
    for path in monitor_files(home):
        try:
            spec = load_monitor(path, home=home, freeze=freeze)
            if spec.id in specs:
                what, fix = f"a second file describes the monitor {spec.id!r}", "keep one of .yaml and .yml"
                raise SightlineError(what, where=str(path), fix=fix)
        except SightlineError as error:
            broken.append(BrokenMonitor(path, error))
        except Exception as error:  # a defect that one file brings to light must not stop the other monitors
            logger.exception("the monitor file %s cannot be read", path)
            what = f"the file cannot be read: {type(error).__name__}: {error}"
            broken.append(BrokenMonitor(path, SightlineError(what, where=str(path))))
        else:
            specs[spec.id] = spec
    return specs, broken


def monitor_files(home: Home) -> list[Path]:
    """The YAML files in ``monitors/``, sorted; names that start with a dot or an underscore are left out."""
    if not home.monitors.is_dir():
        return []
    files = (p for p in home.monitors.iterdir() if p.suffix in SUFFIXES and p.name[0] not in "._")
    return sorted(p for p in files if p.is_file())


def find_monitor(home: Home, monitor_id: str) -> MonitorSpec:
    """Read the monitor with this id, for commands that take one by name."""
    for path in monitor_files(home):
        if path.stem == monitor_id:
            return load_monitor(path, home=home, freeze=True)
    names = [path.stem for path in monitor_files(home)]
    fix = nearest(monitor_id, names) if names else "write one with `sightline init SAMPLE`"
    raise SightlineError(f"there is no monitor {monitor_id!r}", where=str(home.monitors), fix=fix)


def _expand_features(document: Document, value: dict[str, Any], home: Home, monitor_id: str, freeze: bool) -> None:
    """Turn the list form of features into the mapping, and fill in kinds that were left out."""
    columns: Json = value.get("columns")
    features: Json = columns.get("features") if isinstance(columns, dict) else None
    base: KeyPath = ("columns", "features")
    if isinstance(columns, dict) and isinstance(features, list):
        names = [name if isinstance(name, str) else None for name in features]
        for index, name in enumerate(names):
            where = document.where((*base, index))
            if name is None:
                fix = "write a list of names, or a mapping `name: kind`"
                document.problems.append(SightlineError("an entry of features is no name", where=where, fix=fix))
            elif name in names[:index]:
                document.problems.append(SightlineError(f"the feature {name!r} stands here a second time", where=where))
            else:
                document.lines[(*base, name)] = document.lines[(*base, index)]
        named: dict[str, dict[str, Any]] = {name: {} for name in names if name is not None}
        features = columns["features"] = named
    if not isinstance(features, dict):
        return
    for name, feature in features.items():
        features[name] = {} if feature is None else feature
    features = with_descriptors(features)
    if isinstance(columns, dict):
        columns["features"] = features
    unknown = [name for name, feature in features.items() if is_object(feature) and feature.get("kind") is None]
    if not unknown:
        return
    try:
        known = kinds.resolve(value, unknown, home, monitor_id, freeze=freeze)
    except SightlineError as error:
        document.problems.append(SightlineError(error.what, where=document.where((*base, unknown[0])), fix=error.fix))
        known = dict.fromkeys(unknown, "numeric")  # stand-in, so that other mistakes are told too; the file is refused
    for name in unknown:
        features[name] = {**features[name], "kind": known[name]}


def _empty_sections(document: Document, value: dict[str, Any]) -> list[SightlineError]:
    """`labels:` with nothing below: does it mean none, or the defaults? Refused."""
    found: list[SightlineError] = []
    for key, field in MonitorSpec.model_fields.items():
        if key in value and value[key] is None and _models(field.annotation):
            fix = f"remove the line, or write `{key}: {{}}` for the defaults"
            found.append(SightlineError(f"the section {key!r} is empty", where=document.where((key,)), fix=fix))
    return found


def _in_order(found: Iterable[SightlineError]) -> list[SightlineError]:
    unique = {str(problem): problem for problem in found}

    def line(problem: SightlineError) -> int:
        tail = (problem.where or "").rpartition(":")[2]
        return int(tail) if tail.isdigit() else 0

    return sorted(unique.values(), key=line)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models inside an annotation such as ``Labels | None`` or ``dict[str, Feature]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) is typing.Annotated:
        return _models(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, dict, tuple, list):
        return [model for argument in typing.get_args(annotation) for model in _models(argument)]
    return []


def read_part(path: Path, model: type[PartT]) -> tuple[Document, PartT | None, list[SightlineError]]:
    """Read a file of another kind than a monitor's, with the same refusals.

    Parameters
    ----------
    path : Path
        The file.
    model : type
        What it describes.

    Returns
    -------
    document : Document
        With the lines of its keys.
    part : BaseModel or None
        None where the file does not fit the model.
    problems : list of SightlineError
        All mistakes, in the order of their lines. None of them repeats a text below `channels`: it may be a secret.

    Raises
    ------
    SightlineError
        If the file cannot be read, or is no YAML.
    """
    document = read_yaml(path)
    value: object = {} if document.value is None else document.value
    try:
        return document, model.model_validate(value), list(document.problems)
    except ValidationError as error:
        found = [_explain(document, _without_secrets(details), model) for details in error.errors()]
        return document, None, _in_order([*document.problems, *found])


def _without_secrets(error: ErrorDetails) -> ErrorDetails:
    is_open = error["loc"][:1] != ("channels",) or error["loc"][-1:] in (("kind",), ("template",))
    return error if is_open or not isinstance(error["input"], str) else {**error, "input": "***"}


def _allowed_keys(key_path: KeyPath, root: type[BaseModel] = MonitorSpec) -> list[str]:
    """Keys allowed in the section at `key_path`."""
    model = root
    for part in key_path:
        if isinstance(part, str) and part in model.model_fields:
            inner = _models(model.model_fields[part].annotation)
            model = inner[0] if inner else model
    return [field.alias or name for name, field in model.model_fields.items()]


def _explain(document: Document, error: ErrorDetails, root: type[BaseModel] = MonitorSpec) -> SightlineError:
    """One pydantic error as a `SightlineError` with its line."""
    path: KeyPath = tuple(error["loc"])
    what, fix = _words(error, path, ".".join(map(str, path)), root)
    return SightlineError(what, where=document.where(path), fix=fix)


def _words(error: ErrorDetails, path: KeyPath, key: str, root: type[BaseModel] = MonitorSpec) -> tuple[str, str | None]:
    """What is wrong, and the way out."""
    value, last, message = error["input"], str(path[-1]) if path else "", error["msg"]
    fix: str | None = None
    match error["type"]:
        case "extra_forbidden":
            what, fix = f"unknown key {last!r} {_in(path)}", nearest(last, _allowed_keys(path[:-1], root))
        case "missing":
            what, fix = f"the key {last!r} is missing {_in(path)}", _missing_fix(path)
        case "literal_error":
            what, fix = f"{key} is {value!r}", _literal_fix(path, value, error.get("ctx", {}))
        case "string_pattern_mismatch":
            fix = "use lower-case letters, digits and underscores, starting with a letter (at most 63)"
            what = f"{key} is {value!r}"
        case "value_error":
            what = f"{key}: {error.get('ctx', {})['error']}"
        case "string_type":
            what, fix = f"{key} must be text, not {_type(value)}", f"put it in quotes: {str(value)!r}"
        case "model_type" | "dict_type" | "model_attributes_type":
            keys = _allowed_keys(path, root)
            fix = (
                "write `name: value` pairs"
                if keys == _allowed_keys(path[:-1], root)
                else f"write keys: {', '.join(keys)}"
            )
            what = f"{key} must be a section, not {_type(value)}"
        case "tuple_type" | "list_type":
            what, fix = f"{key} must be a list, not {_type(value)}", "write it in brackets: [a, b]"
        case _:
            what = f"{key} is {_type(value)}: {message[:1].lower()}{message[1:]}"
    return what, fix


def _in(path: KeyPath) -> str:
    return f"in {'.'.join(map(str, path[:-1]))}" if len(path) > 1 else "at the top level"


def _missing_fix(path: KeyPath) -> str:
    examples: dict[KeyPath, str] = {
        ("model",): "add `model: {id: my_model, task: binary_classification}`",
        ("reference",): "add `reference: {kind: window, start: 2026-01-01, end: 2026-03-01}`",
        ("model", "task"): "add one of binary_classification, multiclass_classification, regression, ranking",
        ("model", "id"): "add the monitor's name; it is also the file's name",
    }
    return examples.get(tuple(path), f"add `{path[-1]}`")


def _literal_fix(path: KeyPath, value: object, context: dict[str, Any]) -> str:
    if path == ("version",):
        return "this release reads version 1; a higher version needs a newer Sightline"
    return nearest(str(value), re.findall(r"'([^']*)'", str(context.get("expected", ""))))


def _type(value: object) -> str:
    if value is None:
        return "empty"
    names: dict[type, str] = {
        bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a section",
    }  # fmt: skip
    shown = f" ({value!r})" if isinstance(value, (bool, int, float, str)) else ""
    return names.get(type(value), type(value).__name__) + shown
