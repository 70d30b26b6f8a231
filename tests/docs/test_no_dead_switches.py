"""What is documented exists, and what exists is read: keys of the monitor's file, commands, targets, files, modules."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from sightline.cli import cli
from sightline.spec import columns, data_sections, judging_sections
from sightline.spec.model import MonitorSpec

ROOT = Path(__file__).parents[2]
VALIDATION = {
    "rules.py",
    "column_rules.py",
    "judging_rules.py",
    "problem.py",
    "docs.py",
    "schema.py",
    "loader.py",
    "infer.py",
    "metric_docs.py",
    "kinds.py",
}
"""Modules of `sightline/spec` that check or describe a file; reading a key there does not use it."""
SECTIONS: dict[str, type[BaseModel]] = {
    "spec": MonitorSpec, "model": data_sections.Model, "columns": columns.Columns, "labels": data_sections.Labels,
    "reference": data_sections.Reference,
    "sources": data_sections.Sources,
    "source": data_sections.Source, "drift": judging_sections.Drift, "quality": judging_sections.Quality,
    "alerts": judging_sections.Alerts,
    "given": judging_sections.Freshness, "feature": columns.Feature, "metric": judging_sections.CustomMetric,
}  # fmt: skip
"""Name under which code reads a section -> the section."""
EVENT_NAMES = {
    *("sightline.inference", "sightline.label", "sightline.label.retracted", "sightline.feature", "sightline.mark"),
    *(f"sightline.prediction.{name}" for name in ("supersedes", "withdrawn", "observed_at")),
    *(f"sightline.{name}" for name in ("verdict", "reason", "page", "evaluated_at", "alias_before")),
    "sightline.yaml",
}
"""A file; of CloudEvents, OTLP records and their attributes, and tags in registries: no modules."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def python_files() -> list[Path]:
    return [file for folder in ("sightline", "orchestration") for file in sorted((ROOT / folder).rglob("*.py"))]


@cache
def reads() -> list[tuple[Path, str, str, str]]:
    """(file, function, section, key) of every ``<section>.<key>`` in the product's code."""
    found = []
    for file in python_files():
        if file.parent.name == "spec" and file.name in VALIDATION:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute):
                    owner = node.value
                    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                    found.append((file, function.name, name, node.attr))
    return found


@cache
def everything_outside_spec() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in python_files() if file.parent.name != "spec")


def keys() -> Iterator[tuple[str, str]]:
    for section, part in SECTIONS.items():
        yield from ((section, key) for key in part.model_fields)


@pytest.mark.parametrize(("section", "key"), keys())
def test_every_key_of_the_file_is_read(section, key):
    """Outside `spec/`, or by one of its functions or properties that somebody outside calls.

    Private ones are called in their module.
    """
    if (section, key) == ("spec", "version"):
        return  # the loader refuses any other than 1: there is nothing else to read
    names = {section, *{"feature": {"f"}, "metric": {"m", "each"}, "spec": {"self"}}.get(section, set())}
    places = [(file, function) for file, function, owner, attribute in reads() if attribute == key and owner in names]
    outside = everything_outside_spec()
    used = [
        f"{file.name}:{function}"
        for file, function in places
        if file.parent.name != "spec"
        or re.search(rf"\b{re.escape(function)}\b", outside)
        or (function.startswith("_") and len(re.findall(rf"\b{function}\b", file.read_text(encoding="utf-8"))) > 1)
    ]
    assert used, f"{section}.{key} is documented and read by nothing: {places}"


def test_every_command_is_documented_and_every_documented_command_exists():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    known = set(cli.list_commands(None))  # type: ignore[arg-type]
    named = set(re.findall(r"(?:`|bin/|^|\s)sightline ([a-z]+)\b", text, re.MULTILINE))
    assert named - {"never", "log"} <= known | {"is"}, f"documented, but no command: {named - known}"
    assert known <= named, f"no page names: {known - named}"


def test_every_documented_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_file_exists(page):
    text = page.read_text(encoding="utf-8")
    folders = r"(?:metrics_py|sightline|orchestration|dbt_project|tests|demo|benchmarks|client|docs|schemas)"
    for path in re.findall(rf"`({folders}/[\w./-]+)`", text) + re.findall(r"\]\(((?!http)[\w./-]+)\)", text):
        found = [ROOT / path, page.parent / path]
        assert any(each.exists() for each in found), f"{page.name} names {path}, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_name_of_python_exists(page):
    for name in re.findall(r"`((?:metrics_py|sightline|orchestration)(?:\.\w+)+)", page.read_text(encoding="utf-8")):
        assert name in EVENT_NAMES or resolve(name), f"{page.name} names {name}, which does not exist"


def resolve(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
