"""YAML with line numbers, strict about what silently bites: duplicate keys, `no` read as false, `1:30` read as 90.

Scalars follow the YAML 1.2 core schema (only ``true``/``false`` are booleans, ``0o17`` is octal, dates stay text), and
mapping keys are always the text as written, so that columns named ``on``, ``no``, ``123`` or ``null`` need no quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from sightline.errors import SightlineError
from sightline.narrowing import Json

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
MAX_DIGITS = 400
"""A longer integer is beyond any double, and stays text."""

MAX_VALUES = 100_000
"""Of a file, aliases written out: a few lines of them can stand for billions."""

KeyPath = tuple[str | int, ...]

_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = {"", "~", "null", "Null", "NULL"}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass
class Document:
    """Plain values of a YAML file, the line of every key path, and what could not be read."""

    path: Path
    value: Json = None
    lines: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    problems: list[SightlineError] = field(default_factory=list[SightlineError])
    n_values: int = 0

    def where(self, key_path: KeyPath) -> str:
        """``file:line`` of the longest known beginning of `key_path`."""
        for length in range(len(key_path), -1, -1):
            if key_path[:length] in self.lines:
                return f"{self.path}:{self.lines[key_path[:length]]}"
        return f"{self.path}:1"


def read_yaml(path: Path) -> Document:
    """Read one YAML file.

    Raises
    ------
    SightlineError
        If the file cannot be opened, is not UTF-8, is no YAML, or is too large or too deep. Duplicate and complex keys
        are collected in ``Document.problems`` instead, so that all mistakes of a file can be told at once.
    """
    document = Document(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            fix = "a monitor file describes one model; data belong into files of their own"
            raise SightlineError(f"the file is larger than {MAX_BYTES} bytes", where=str(path), fix=fix)
        compose = cast("Any", yaml).compose  # it has no types
        node: yaml.Node | None = compose(content.decode("utf-8"), _BoundedLoader)
    except OSError as error:
        raise SightlineError(f"cannot read the file: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise SightlineError(
            f"byte {error.start} is not UTF-8", where=str(path), fix="save the file with the encoding UTF-8"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SightlineError(f"no valid YAML: {error.problem or error}", where=where, fix=_yaml_hint(error)) from error
    except yaml.YAMLError as error:
        raise SightlineError(f"no valid YAML: {error}", where=str(path)) from error
    if node is not None:
        document.lines[()] = node.start_mark.line + 1
        document.value = _build(node, (), document, frozenset())
    return document


class _BoundedLoader(yaml.SafeLoader):
    """PyYAML's loader, which goes down only so deep: it would otherwise end in a RecursionError."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node with all below it."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = cast("Any", self).peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        node: yaml.Node | None = cast("Any", super()).compose_node(parent, index)
        self._depth -= 1
        return node


def _yaml_hint(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if "\\t" in problem or "\t" in problem:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in problem:
        return "put text that contains `: ` in quotes, and check the indentation"
    if "undefined alias" in problem:
        return "put text that starts with * in quotes"
    if "cannot start any token" in problem:
        return "put text that starts with @, `, % or a tab in quotes"
    return "check indentation, brackets and quotes at this line"


def _build(node: yaml.Node, path: KeyPath, document: Document, parents: frozenset[int]) -> Any:
    where = f"{document.path}:{node.start_mark.line + 1}"
    if id(node) in parents:
        document.problems.append(SightlineError("an alias refers to the section it stands in", where=where))
        return None
    document.n_values += 1
    if document.n_values > MAX_VALUES or len(path) > MAX_DEPTH:
        what = f"with its aliases written out, the file holds more than {MAX_VALUES} values or {MAX_DEPTH} levels"
        raise SightlineError(what, where=where, fix="write out what is meant instead of aliases")
    parents = parents | {id(node)}
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        values: list[Any] = []
        for index, item in enumerate(node.value):
            document.lines[(*path, index)] = item.start_mark.line + 1
            values.append(_build(item, (*path, index), document, parents))
        return values
    assert isinstance(node, yaml.MappingNode)
    return _mapping(node, path, document, parents)


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document, parents: frozenset[int]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        where = f"{document.path}:{line}"
        problem = None
        if not isinstance(key_node, yaml.ScalarNode):
            problem = SightlineError("a key must be plain text", where=where, fix="remove the leading `? `")
        elif key_node.value in mapping:
            first = document.lines[(*path, key_node.value)]
            fix = f"keep one of the two (first: line {first})"
            problem = SightlineError(f"the key {key_node.value!r} stands here a second time", where=where, fix=fix)
        elif key_node.value == "<<" and key_node.style is None:
            problem = SightlineError("merge keys (<<) are not supported", where=where, fix="write the keys out")
        if problem is not None:
            document.problems.append(problem)
            continue
        document.lines[(*path, key_node.value)] = line
        mapping[key_node.value] = _build(value_node, (*path, key_node.value), document, parents)
    return mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    text, value = node.value, node.value
    if node.style is not None:
        value = text
    elif text in _NULLS:
        value = None
    elif text in _BOOLEANS:
        value = _BOOLEANS[text]
    elif _INTEGER.fullmatch(text) and len(text) <= MAX_DIGITS:
        value = int(text)
    elif _OCTAL.fullmatch(text):
        value = int(text[2:], 8)
    elif _HEXADECIMAL.fullmatch(text):
        value = int(text[2:], 16)
    elif _FLOAT.fullmatch(text):
        value = float(text)
    elif _SPECIAL_FLOAT.fullmatch(text):
        value = float(text.lower().replace(".", ""))
    return value
