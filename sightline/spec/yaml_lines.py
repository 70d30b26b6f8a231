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
        If the file cannot be opened, is not UTF-8, or is no YAML. Duplicate and complex keys are collected in
        ``Document.problems`` instead, so that all mistakes of a file can be told at once.
    """
    document = Document(path)
    try:
        text = path.read_text(encoding="utf-8")
        compose = cast("Any", yaml).compose  # it has no types
        node: yaml.Node | None = compose(text, yaml.SafeLoader)
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
    elif _INTEGER.fullmatch(text):
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
