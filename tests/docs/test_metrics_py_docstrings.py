"""The statistics are documented as scipy.stats is, and every example in a docstring runs.

Run as a script with the name of a package it runs the package's examples: each package in a process of its own, because
examples register metrics.
"""

from __future__ import annotations

import contextlib
import doctest
import functools
import importlib
import inspect
import io
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import Validator, validate

import metrics_py

ROOT = Path(__file__).resolve().parents[2]
CODES = {
    "GL06": "unknown section",
    "GL07": "sections in the wrong order",
    "GL08": "no docstring",
    "SS03": "summary does not end with a period or a question mark",
    "PR01": "parameters not documented",
    "PR02": "unknown parameters documented",
    "PR03": "parameters in another order",
    "PR04": "parameter without a type",
    "PR07": "parameter without a description",
    "PR10": "no space before the colon of a parameter",
    "RT01": "no Returns section",
    "RT03": "returns without a description",
    "YD01": "no Yields section",
}
SECTIONS = ("Notes", "References", "Examples")
FEWEST_EXAMPLES = {"metrics_py": 280, "sightline": 6, "orchestration": 1}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_of(package: str) -> list[ModuleType]:
    """Every module of a package, imported."""
    root = importlib.import_module(package)
    names = [package, *(found.name for found in pkgutil.walk_packages(root.__path__, f"{package}."))]
    return [importlib.import_module(name) for name in names]


def public_objects(module: ModuleType) -> dict[str, object]:
    """Public functions, classes, methods and properties that a module defines, by their dotted names."""
    found: dict[str, object] = {}
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            found[f"{module.__name__}.{name}"] = thing
        elif inspect.isclass(thing):
            found[f"{module.__name__}.{name}"] = thing
            for member, value in vars(thing).items():
                bare = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                if not member.startswith("_") and (
                    inspect.isfunction(bare) or isinstance(bare, property | functools.cached_property)
                ):
                    found[f"{module.__name__}.{name}.{member}"] = bare
    return found


def defects(thing: object) -> list[str]:
    """What numpydoc finds, as far as it matters here; a class may document its fields as attributes."""
    document = get_doc_object(thing)
    errors = {code: text for code, text in validate(document)["errors"] if code in CODES}
    if Validator(document).summary.endswith("?"):
        errors.pop("SS03", None)
    if inspect.isclass(thing) and "PR01" in errors:
        attributes = {name for names, _, _ in document["Attributes"] for name in names.split(", ")}
        missing = set(Validator(document).signature_parameters) - attributes - set(Validator(document).doc_parameters)
        if not missing or issubclass(thing, Exception):
            del errors["PR01"]
        else:
            errors["PR01"] = f"Fields {sorted(missing)} not documented"
    return [f"{code} {text}" for code, text in errors.items()]


def exported_functions() -> dict[str, object]:
    """Functions of `metrics_py.__all__`, and those of the modules in it."""
    found: dict[str, object] = {}
    for name in metrics_py.__all__:
        thing = getattr(metrics_py, name)
        if inspect.ismodule(thing):
            found |= {f"{name}.{function}": getattr(thing, function) for function in thing.__all__}
        elif inspect.isfunction(thing):
            found[name] = thing
    return found


EXPORTED_FUNCTIONS = exported_functions()
PUBLIC = {name: thing for module in modules_of("metrics_py") for name, thing in public_objects(module).items()}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert not defects(PUBLIC[name])


@pytest.mark.parametrize("name", EXPORTED_FUNCTIONS)
def test_exported_functions_say_what_they_are_where_it_stands_and_how_it_looks(name):
    document = get_doc_object(EXPORTED_FUNCTIONS[name])
    assert not [section for section in SECTIONS if not document[section]]


def test_the_check_finds_what_is_missing():
    def good(rows: int) -> int:
        """Rows, twice.

        Parameters
        ----------
        rows : int
            How many.

        Returns
        -------
        int
            Twice as many.
        """
        return 2 * rows

    def bad(rows, columns):
        """Rows, twice

        Parameters
        ----------
        rows : int
            How many.
        bins : int
            None.
        """
        return 2 * rows

    assert not defects(good)
    assert {defect[:4] for defect in defects(bad)} == {"SS03", "PR01", "PR02", "RT01"}


def test_every_exported_name_is_there_and_listed():
    assert len(metrics_py.__all__) == len(set(metrics_py.__all__))
    assert set(metrics_py.__all__) <= set(dir(metrics_py))
    assert all(getattr(metrics_py, name) is not None for name in metrics_py.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'compair'"):
        metrics_py.compair  # noqa: B018


def test_importing_the_package_loads_no_library():
    code = "import sys, metrics_py; print(sorted({'numpy', 'scipy', 'polars'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", FEWEST_EXAMPLES)
def test_examples_run_and_are_right(package, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SIGHTLINE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, __file__, package],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["failures"], found["failures"]
    assert found["modules"] == len(list((ROOT / package).rglob("*.py")))
    assert found["attempted"] >= FEWEST_EXAMPLES[package]


def run_examples(package: str) -> dict[str, object]:
    """Modules and examples of a package, and what the failed ones print."""
    modules, attempted, said = modules_of(package), 0, io.StringIO()
    with contextlib.redirect_stdout(said):
        for module in modules:
            attempted += doctest.testmod(module, optionflags=FLAGS).attempted
    return {"modules": len(modules), "attempted": attempted, "failures": said.getvalue()}


if __name__ == "__main__":
    print(json.dumps(run_examples(sys.argv[1])))
