"""Imports point one way: metrics_py <- sightline <- orchestration <- demo; the client imports nothing of ours."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"metrics_py", "sightline", "orchestration", "demo", "sightline_client", "benchmarks"}
ALLOWED = {
    "metrics_py": {"metrics_py"},
    "sightline": {"metrics_py", "sightline"},
    "orchestration": {"metrics_py", "sightline", "orchestration"},
    "demo": {"metrics_py", "sightline", "orchestration", "demo", "sightline_client"},
    "client/sightline_client": {"sightline_client"},
}


def imported(path: Path) -> set[str]:
    """Top-level names that a module imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no modules under {package}"
    wrong = {str(f.relative_to(ROOT)): sorted((imported(f) & OURS) - ALLOWED[package]) for f in files}
    assert not {f: names for f, names in wrong.items() if names}


def test_metrics_py_needs_only_numpy_scipy_and_polars():
    allowed = {"numpy", "scipy", "polars", "metrics_py"} | (
        set(sys.stdlib_module_names) - {"logging", "os", "time", "socket"}
    )
    wrong = {
        str(f.relative_to(ROOT)): sorted(imported(f) - allowed) for f in sorted((ROOT / "metrics_py").rglob("*.py"))
    }
    assert not {f: names for f, names in wrong.items() if names}


def test_the_client_needs_only_the_standard_library():
    allowed = set(sys.stdlib_module_names) | {"sightline_client"}
    files = sorted((ROOT / "client" / "sightline_client").rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): sorted(imported(f) - allowed) for f in files}
    assert not {f: names for f, names in wrong.items() if names}
